"""What photographs lose on their way into a dataset, told once for each kind of loss."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from patina.pipeline.codec.lost import told_of_many
from patina.pipeline.scan.columns import Sources
from patina.pipeline.scan.digests import ScannedFiles
from patina.pipeline.text import counted, printable


def lost_notes(sources: Sources, files: ScannedFiles) -> list[str]:
    """A sentence for each kind of loss, with the number of images of these sources that have it and the first of them
    by name; none for images of 8 bits in RGB or grey."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    lossy = [bool(example.info.lost or example.lq) for example in sources.examples]
    for source in sources.take(np.flatnonzero(sources.by_kind(lossy, np.bool_))) if any(lossy) else ():
        for path, name in ((source.path, source.names[0]), (source.lq, source.lq_name)):
            for loss in files[path].info.lost if path else ():
                found[loss][path] = name
    return [_sentence(loss, sorted(named.values())) for loss, named in sorted(found.items())]


def _sentence(loss: str, names: list[str]) -> str:
    first = printable(names[0])
    what = f"{counted(len(names), 'image')}, {first}" if len(names) == 1 else f"{len(names):,} images, such as {first}"
    return f"{what}: {told_of_many(loss)}"
