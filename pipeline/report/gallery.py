"""Shows a dataset: one HTML page to look through it, and one picture of a few samples for READMEs and artifacts.

Nothing is ever resized here: noise, compression blocks and thin strokes vanish when a picture is scaled down. What is
too large is cut.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from patina.pipeline.codec.decode import decode_map
from patina.pipeline.codec.png import encode_png
from patina.pipeline.disk_errors import explain_errors, explaining_errors
from patina.pipeline.errors import BadImageError, DamagedShardError, ManifestError
from patina.pipeline.files import write_page
from patina.pipeline.format.layout import ROLES, SAMPLES, SPLITS
from patina.pipeline.format.manifest import (
    Manifest,
    SampleRow,
    load_manifest,
    read_members,
    read_samples,
    sources_by_digest,
)
from patina.pipeline.format.pictures import (
    Box,
    broken,
    busiest,
    cut_out,
    data_uri,
    decoded,
    jpeg,
    lq_and_gt,
    one_of,
    sheet,
)
from patina.pipeline.format.statistics import read_samples_table
from patina.pipeline.report.gallery_page import LARGEST, Shown, page
from patina.pipeline.versions.lease import OpenDataset, open_dataset
from patina.pipeline.versions.version import called, current_or_none
from patina.synth.image import Image
from patina.synth.severity import level_of

DETAIL = (192, 140)
"""Width and height of the busiest part of a preview, which the page shows at 1:1 where it must scale the whole."""

CROP, RUNG = 224, 144
"""Sides of what is shown of an image in the contact sheet and in the ladder, px."""

GENERIC = frozenset({"", "out", "output", "dataset", "data", "ds", "build"})
"""Names of folders, in small letters, that say nothing about what is in them."""

LESS = "show fewer samples (--limit, --rows), or work where there is more"


@explaining_errors(LESS)
def write_gallery(folder: Path, out: Path | None, limit: int) -> Path:
    """Write one self-contained HTML page about the dataset in `folder`, with `limit` of its samples at the most.

    `folder` may name a version (OUT@VERSION). The page goes to `out`, or to gallery.html in the dataset's folder, of an
    earlier version to gallery-NUMBER.html there, and appears there whole. Gives its path. Raises ManifestError
    or DamagedShardError for a dataset that cannot be read.
    """
    with open_dataset(folder) as opened:
        manifest = _manifest(opened.folder)
        table = read_samples_table(opened.folder)
        sources = sources_by_digest(opened.folder)
        previews = _Previews(opened.folder, sources)
        shown = [previews.of(row) for row in spread(table, limit)]
        number = opened.version.number if opened.version else 0
        text = page(
            manifest, table, list(sources.values()), shown, name=dataset_name(opened.home, manifest), version=number
        )
        place = out if out is not None else _page_of(opened)
    with explain_errors(place, LESS):
        return write_page(place, text)


def dataset_name(folder: Path, manifest: Manifest) -> str:
    """What to call a dataset on a page: its folder's name, or where that says nothing, its recipe's."""
    return folder.name if folder.name.lower() not in GENERIC else str(manifest.recipe["name"])


def _page_of(opened: OpenDataset) -> Path:
    current = current_or_none(opened.home)
    earlier = opened.version is not None and opened.version != current
    return opened.home / (f"gallery-{opened.version.number}.html" if earlier and opened.version else "gallery.html")


def spread(table: pa.Table, limit: int) -> list[SampleRow]:
    """At most `limit` rows of the samples' table: as many of each degradation in each split as there is room for, at
    equal distances, so that they show the same photographs under every degradation. Always the same ones."""
    cells: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, (split, entry) in enumerate(zip(table["split"].to_pylist(), table["entry"].to_pylist(), strict=True)):
        cells[SPLITS.index(split), entry].append(i)
    order = sorted(cells)
    share = dict.fromkeys(order, 0)
    left = min(limit, table.num_rows)
    while left:
        for cell in order:
            if left and share[cell] < len(cells[cell]):
                share[cell] += 1
                left -= 1
    most = max(share.values(), default=0)
    chosen: list[int] = []
    for cell in order:
        rows = cells[cell]
        steps = min(most, len(rows))  # not share[cell]: a cell with one sample less still shows the same photographs
        chosen += [rows[i * len(rows) // steps] for i in range(share[cell])]
    return [SampleRow(**row) for row in table.take(pa.array(chosen, pa.int64())).to_pylist()]


@explaining_errors(LESS)
def contact_sheet(folder: Path, rows: int = 3) -> bytes:
    """A JPEG picture of a few photographs in `rows` rows at the most: GT, then its LQ under every degradation, all of
    them the same square at 1:1, where the photograph has most detail. Where no photograph has all degradations
    (pairs have one each), a row holds several photographs; one that is longer than COLUMNS is broken into several.
    Raises like `write_gallery`."""
    with open_dataset(folder) as opened:
        return _contact_sheet(opened.folder, rows)


def _contact_sheet(folder: Path, rows: int) -> bytes:
    views = _views(folder, rows)
    lines: list[list[tuple[str, Image]]] = [[] for _ in range(min(rows, len(views)))]
    for i, view in enumerate(views):
        lines[i % len(lines)] += _cells(folder, view, CROP)
    return sheet([part for line in lines for part in broken(line)])


@explaining_errors(LESS)
def ladder_sheet(folder: Path) -> bytes:
    """A JPEG picture of one photograph: a row for each degradation, GT first, then its LQs from mild to strong as
    measured, each with its level and score. Raises like `write_gallery`."""
    with open_dataset(folder) as opened:
        return _ladder_sheet(opened.folder)


def _ladder_sheet(folder: Path) -> bytes:
    rows = _first_samples(folder, _manifest(folder))
    most = Counter(row.source_sha256 for row in rows).most_common(1)[0][0]
    labels = sorted({row.degradation for row in rows if row.source_sha256 == most})
    lines = []
    for label in labels:
        same = sorted((r for r in rows if (r.source_sha256, r.degradation) == (most, label)), key=lambda r: r.severity)
        cells = _cells(folder, {f"{level_of(row.severity)} {row.severity:.0f}": row for row in same}, RUNG)
        lines.append([(label, cells[0][1]), *cells[1:]])
    return sheet(lines)


# ---------------------------------------------------------------------------------------------------------------------


def _manifest(folder: Path) -> Manifest:
    manifest = load_manifest(folder)
    if manifest is None:
        raise ManifestError(f"{called(folder)}: expected a dataset, found no manifest.json")
    return manifest


class _Previews:
    """Makes what the page shows of a sample."""

    def __init__(self, folder: Path, sources: Mapping[str, Mapping[str, Any]]) -> None:
        self._folder, self._sources = folder, sources

    def of(self, row: SampleRow) -> Shown:
        """A sample with its pictures as data: URIs."""
        members = read_members(self._folder, row)
        lq_name, gt_name = one_of(members, ROLES["lq"], row), one_of(members, ROLES["gt"], row)
        lq, gt = lq_and_gt(members, row)
        box = _middle(row.width, row.height)
        truth = {
            name.removesuffix(".png"): _map(body, name, row, box)
            for name, body in members.items()
            if name not in {lq_name, gt_name} and name.endswith(".png")
        }
        return Shown(
            row=row,
            source=self._sources[row.source_sha256],
            box=box,
            detail=busiest(cut_out(gt, box), *DETAIL),
            lq=data_uri("jpeg", jpeg(lq, box, members[lq_name])),
            gt=data_uri("jpeg", jpeg(gt, box, members[gt_name])),
            truth=truth,
        )


def _middle(width: int, height: int) -> Box:
    """The whole of an image, or its middle where a side is too long."""
    w, h = min(width, LARGEST), min(height, LARGEST)
    return (width - w) // 2, (height - h) // 2, w, h


def _map(stored: bytes, name: str, row: SampleRow, box: Box) -> str:
    """A truth map or an intermediate target as it is shown: 8 bits, cut like the image. A blur kernel is no part of the
    image: it is shown whole, its brightest point white."""
    if name.startswith("step-"):
        return data_uri("jpeg", jpeg(decoded(stored, name, row), box, b""))
    try:
        values = decode_map(stored)
    except BadImageError as error:
        raise DamagedShardError(f"{row.shard} {row.key}.{name}: {error}; `patina check` finds all of these") from None
    if name.endswith("kernel.png"):
        scaled = values.astype(np.float64) * (255 / max(int(values.max()), 1))
        return data_uri("png", encode_png(np.rint(scaled).astype(np.uint8)))
    levels = (values >> 8 if values.dtype == np.uint16 else values).astype(np.uint8)
    x, y, width, height = box
    return data_uri("png", encode_png(levels[y : y + height, x : x + width].copy()))


# ---------------------------------------------------------------------------------------------------------------------


def _views(folder: Path, count: int) -> list[dict[str, SampleRow]]:
    """A row by degradation for each of a few photographs: first one that has most degradations, then those that add
    some; at least `count` of them, if there are, and as many as show all degradations."""
    manifest = _manifest(folder)
    sources = sources_by_digest(folder)
    photographs: dict[str, dict[Box, dict[str, SampleRow]]] = defaultdict(lambda: defaultdict(dict))
    for row in _first_samples(folder, manifest):
        tile = (row.x, row.y, row.width, row.height)
        photographs[sources[row.source_sha256]["content"]][tile].setdefault(row.entry, row)  # the first of its variants
    left = {photo: _fullest(list(tiles.values())) for photo, tiles in sorted(photographs.items())}
    missing = {shard.degradation for shard in manifest.shards}
    chosen: list[dict[str, SampleRow]] = []
    while left and (missing or len(chosen) < count):
        best = max(left, key=lambda photo: (len(left[photo].keys() & missing), len(left[photo])))
        chosen.append(dict(sorted(left.pop(best).items())))
        missing -= chosen[-1].keys()
    return chosen


def _first_samples(folder: Path, manifest: Manifest) -> list[SampleRow]:
    """Rows to choose from for a picture of a few samples. Raises ManifestError if there are none."""
    rows = read_samples(folder, _first_shards(manifest))
    if not rows:
        raise ManifestError(
            f"{called(folder)}: expected samples to show, found none of its shards in {SAMPLES}; run `patina check`"
        )
    return rows


def _first_shards(manifest: Manifest, enough: int = 500) -> list[str]:
    """Shards with so many samples of each degradation, and the same buckets of each: they hold the same photographs."""
    have: Counter[str] = Counter()
    names = []
    for shard in sorted(manifest.shards, key=lambda s: (SPLITS.index(s.split), s.bucket)):
        if have[shard.degradation] < enough:
            names.append(shard.name)
            have[shard.degradation] += shard.count
    return names


def _fullest(views: Sequence[dict[str, SampleRow]]) -> dict[str, SampleRow]:
    """Of a photograph's tiles, one with most degradations; among equals, the one in the middle."""
    most = max(len(view) for view in views)
    full = [view for view in views if len(view) == most]
    return full[len(full) // 2]


def _cells(folder: Path, view: Mapping[str, SampleRow], side: int) -> list[tuple[str, Image]]:
    """GT and every LQ of one photograph, cut to the same square."""
    cells: list[tuple[str, Image]] = []
    for text, row in view.items():
        lq, gt = lq_and_gt(read_members(folder, row), row)
        if not cells:
            box = busiest(gt, side, side)
            cells.append(("GT", cut_out(gt, box)))
        cells.append((text, cut_out(lq, box)))
    return cells
