"""OUT/strip.jpg: the card's picture, photographs of the dataset beside what became of them, cut out at 1:1.

It follows from the samples alone, whatever was built before. The file's comment says of which samples it was drawn and
what its bytes are, so that a build that changes none of them takes a picture that is whole as it is.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa

from patina.pipeline.format.manifest import SampleRow
from patina.pipeline.format.pictures import Box, broken, busiest, cut_out, lines_of, lq_and_gt, sheet
from patina.pipeline.format.statistics import numbered
from patina.synth.image import Image

SIDE = 160
"""Side of what is shown of an image, px; less where an image is smaller."""

SEARCHED = 2048
"""Side of the middle of a photograph in which that part is looked for, px: looking takes 30 bytes a pixel."""

MOST = 20
"""Degraded images in the picture at the most."""

VERSION = 1
"""Raised whenever the same samples are drawn otherwise."""


@dataclass(frozen=True)
class Strip:
    """The card's picture: the bytes of a JPEG file, and the samples that it shows, by photograph."""

    picture: bytes
    shown: Sequence[Sequence[SampleRow]]


def draw_strip(
    samples: pa.Table, sources: pa.Table, read: Callable[[SampleRow], Mapping[str, bytes]], before: Path
) -> Strip:
    """The picture of a dataset.

    samples, sources  its tables, sources in the order of their digests.
    read    gives a sample's members. before: a picture drawn earlier, which is taken if it shows the same; or nothing.
    Raises DamagedShardError or OSError for a sample that cannot be read.
    """
    shown = chosen(samples, sources)
    drawn_of = _digest(shown)
    earlier = before.read_bytes() if before.is_file() else b""
    if earlier and earlier == _signed(_unsigned(earlier), drawn_of):
        return Strip(earlier, shown)
    cells = []
    for rows in shown:
        for row in rows:
            lq, gt = lq_and_gt(read(row), row)
            if row is rows[0]:
                box = _worth_showing(gt)
                cells.append([("clean", cut_out(gt, box))])
            cells[-1].append((row.entry, cut_out(lq, box)))
    lines = lines_of([part for line in cells for part in broken(line)])
    return Strip(_signed(sheet(lines), drawn_of), shown)


def chosen(samples: pa.Table, sources: pa.Table) -> list[list[SampleRow]]:
    """The samples that the picture shows: of a photograph one under each entry, of further ones what it lacks.

    Of photographs that show as many further entries, one whose licence is stated comes first, one of the split `train`
    before others, and then the one whose digest is the least.
    """
    entries, origins = (numbered(samples[name]) for name in ("entry", "source_sha256"))
    names, digests = entries.dictionary.to_pylist(), origins.dictionary.to_pylist()
    rank = _ranks(origins.dictionary, sources)
    pairs = np.unique(origins.indices.to_numpy().astype(np.int64) * len(names) + entries.indices.to_numpy())
    source_of, entry_of = np.divmod(pairs, max(len(names), 1))
    missing = np.ones(len(names), bool)
    found: list[list[SampleRow]] = []
    while missing.any() and (room := MOST - sum(map(len, found))) > 0:
        gains = np.bincount(source_of, missing[entry_of], len(digests))
        best = np.flatnonzero(gains == gains.max())
        source = int(best[rank[best].argmin()])
        wanted = [int(e) for e in entry_of[source_of == source] if missing[e]]
        found.append(_rows(samples, digests[source], sorted(names[e] for e in wanted)[:room]))
        missing[wanted] = False
    return found


def _ranks(digests: pa.Array, sources: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which of the sources of these digests are shown first: lower numbers."""
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    from patina.pipeline.sources.presets.preset import UNKNOWN  # which brings every preset

    place = pc.index_in(digests, sources["digest"].combine_chunks())
    licence = pc.utf8_trim_whitespace(sources["licence"].take(place))
    silent = pc.is_in(licence, pa.array(["", UNKNOWN]))
    held = pc.not_equal(sources["split"].take(place), "train")
    order = np.lexsort([np.asarray(column) for column in (place, held, silent)])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _rows(samples: pa.Table, digest: str, entries: Sequence[str]) -> list[SampleRow]:
    """A row of a photograph for each of these entries: the first variant of the tile in its middle."""
    import pyarrow.compute as pc

    own = samples.filter(pc.equal(samples["source_sha256"], digest))
    tiles: dict[tuple[int, int], dict[str, SampleRow]] = defaultdict(dict)
    for row in (SampleRow(**row) for row in own.sort_by([("variant", "ascending")]).to_pylist()):
        tiles[row.y, row.x].setdefault(row.entry, row)
    full = [tile for _, tile in sorted(tiles.items()) if all(entry in tile for entry in entries)]
    middle = full[len(full) // 2] if full else {e: row for tile in tiles.values() for e, row in tile.items()}
    return [middle[entry] for entry in entries]


def _worth_showing(gt: Image) -> Box:
    """The part of a photograph that is shown: the busiest of its middle."""
    height, width = gt.shape[:2]
    top, left = max(0, height - SEARCHED) // 2, max(0, width - SEARCHED) // 2
    x, y, wide, high = busiest(gt[top : top + SEARCHED, left : left + SEARCHED], SIDE, SIDE)
    return left + x, top + y, wide, high


def _digest(shown: Sequence[Sequence[SampleRow]]) -> str:
    """What decides the picture's bytes."""
    lines = [f"{VERSION} {PIL.__version__}", *(f"{row.key} {row.fingerprint}" for rows in shown for row in rows)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _signed(picture: bytes, drawn_of: str) -> bytes:
    """A JPEG file with a comment behind its JFIF header: what it was drawn of, and the digest of its other bytes."""
    text = f"patina strip {drawn_of} {hashlib.sha256(picture).hexdigest()}".encode()
    end = _header_end(picture)
    return picture[:end] + b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text + picture[end:]


def _unsigned(file: bytes) -> bytes:
    """The other bytes of a file that `_signed` gave; of another file, anything."""
    end = _header_end(file)
    return file[:end] + file[end + 2 + int.from_bytes(file[end + 2 : end + 4], "big") :]


def _header_end(picture: bytes) -> int:
    return 4 + int.from_bytes(picture[4:6], "big")
