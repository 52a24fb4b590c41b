"""The columns of a local folder of WebDataset tars, as Hugging Face's `datasets` should see them.

The library goes by the first five samples: a member of another suffix behind them is passed over without a word, and
samples of different members among them are an error. So where samples differ, their columns are told to it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.sources.reader import walk
from patina.pipeline.sources.tar_index import SUFFIXES as TARS
from patina.pipeline.sources.tar_index import tar_index, uncompressed
from patina.pipeline.sources.webdataset import split_name

TEXTS = frozenset({"txt", "text", "transcript", "caption"})
OBJECTS = frozenset({"json", "jsn"})
LOOKED_AT = 1000  # members json that tell the keys of all
LARGEST = 1 << 20  # bytes of a member json that is looked at

Place = tuple[str, int, int]
"""A tar, and the offset and size of a member in it."""


def tar_features(datasets: ModuleType, folder: str, name: str, split: str) -> Any:
    """The features of the tars in a local folder whose samples differ in their members; None for all others, of which
    the library finds out by itself."""
    if not any(path.lower().endswith(TARS) for path in walk(folder, "path", datasets=True)):
        return None
    builder = datasets.load_dataset_builder(folder, name or None)
    if builder.info.features or "WebDataset" not in {kind.__name__ for kind in type(builder).__mro__}:
        return None
    wanted = re.split(r"[\[+]", split, maxsplit=1)[0]  # it may be a part, train[:10%]
    files = builder.config.data_files or {}
    tars = [str(path) for path in files.get(wanted, ()) if Path(str(path)).is_file()]
    samples, members = _samples(tars)
    if len({frozenset(extensions) for extensions in samples.values()}) < 2:
        return None
    return _features(datasets, members)


def _samples(tars: Sequence[str]) -> tuple[Mapping[tuple[str, str], set[str]], Mapping[str, list[Place]]]:
    """The extensions of each sample, and the members of each extension. A tar that cannot be read is left to the
    library, which says so."""
    samples: dict[tuple[str, str], set[str]] = {}
    members: dict[str, list[Place]] = {}
    for tar in tars:
        try:
            file = uncompressed(Path(tar))
            index = tar_index(file)
        except OSError:
            continue
        for path, offset, size in index.members:
            key, _ = split_name(path)
            if key:
                extension = path.rpartition("/")[2].partition(".")[2]  # in the case in which the library has it
                samples.setdefault((tar, key), set()).add(extension)
                members.setdefault(extension, []).append((str(file), offset, size))
    return samples, members


def _features(datasets: ModuleType, members: Mapping[str, Sequence[Place]]) -> Any:
    found: dict[str, Any] = {}
    for extension, places in members.items():
        kind = extension.rpartition(".")[2].lower()
        if f".{kind}" in SUFFIXES:
            found[extension] = datasets.Image()
        elif kind in TEXTS:
            found[extension] = datasets.Value("string")
        elif kind in OBJECTS and (feature := _object(datasets, extension, places)) is not None:
            found[extension] = feature
    return datasets.Features({**found, "__key__": datasets.Value("string"), "__url__": datasets.Value("string")})


def _object(datasets: ModuleType, extension: str, places: Sequence[Place]) -> Any:
    """What members json hold, all keys together; None if they agree in nothing."""
    rows = []
    for file, offset, size in places[:LOOKED_AT]:
        if size > LARGEST:
            continue
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
            data = os.pread(opened.fileno(), size, offset)
        try:
            rows.append({extension: json.loads(data)})
        except (ValueError, RecursionError):
            continue
    try:
        schema = pa.Table.from_pylist(rows).schema
        return datasets.Features.from_arrow_schema(schema)[extension]
    except (pa.ArrowException, ValueError, KeyError):
        return None
