"""A difference as one HTML page: what changed in words, and pictures of some samples, cut out and never resized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from patina.pipeline.errors import DamagedShardError
from patina.pipeline.files import write_page
from patina.pipeline.format.earlier import key_now
from patina.pipeline.format.manifest import SampleRow, read_members
from patina.pipeline.format.pictures import Box, busiest, data_uri, jpeg, lq_and_gt, strongest
from patina.pipeline.format.rows import table_now
from patina.pipeline.format.statistics import read_samples_table
from patina.pipeline.format.untrusted import facts_of, params_of
from patina.pipeline.report.diff import Diff, EntryChange, Listed, Rows, Snapshot, settings
from patina.pipeline.report.gallery import dataset_name, spread
from patina.pipeline.report.html import is_digest, render
from patina.pipeline.report.table import Table
from patina.pipeline.text import counted, decibels
from patina.synth.image import Image
from patina.synth.severity import level_of

CROP = (320, 240)
"""Width and height in pixels of the part that is shown: where most changed, or where the picture is busiest."""

STRONGEST = 16
"""A difference is multiplied until its largest levels fill the scale, but never by more: single levels are no news."""

CHANGED = "Cut out at 1:1, where most changed. The difference is amplified; grey is none."
ALONE = "Cut out at 1:1, where the photograph is busiest."


def write_diff_page(old: Snapshot, new: Snapshot, found: Diff, path: Path, limit: int = 24) -> Path:
    """Write one self-contained page about the difference `found` of two datasets; gives its path.

    Of samples with other pixels, of added and of dropped ones it shows `limit` each at the most, as many of each entry
    as there is room for, always the same. Pictures need the datasets' shards; where one is not there, the page says so.
    Raises ManifestError, DamagedShardError, OSError.
    """
    sections = [
        _section("Recipe", [("", Listed(len(found.recipe), found.recipe))]),
        _section("Built with other tools", [("", Listed(len(found.tools), found.tools))]),
        _entries(found),
        _section("Captions", [("", found.captions)], "Each photograph once, however many samples it has."),
        _samples("Other pixels", found.changed[0].size, _changed(old, new, found.changed, limit), CHANGED),
        _samples("Samples added", found.added.size, _alone(new, found.added, limit), ALONE),
        _samples("Samples dropped", found.dropped.size, _alone(old, found.dropped, limit), ALONE),
        _section("Sources", found.sources.items()),
        _section("Shards", found.shards.items()),
        _section("Inputs set aside", found.set_aside.items()),
    ]
    names = [dataset_name(one.opened.home, one.manifest) for one in (old, new)]
    sides = [
        {"name": _side_name(one), "samples": counted(samples, "sample"), "shards": counted(shards, "shard")}
        | {"digest": digest[:16]}
        for one, (samples, shards), digest in zip((old, new), found.counts, found.digests, strict=True)
    ]
    text = render(
        "diff.html",
        title=names[1] if names[0] == names[1] else f"{names[0]} → {names[1]}",
        card=CROP[0],
        sides=sides,
        is_empty=found.is_empty,
        sections=[section for section in sections if section],
    )
    return write_page(path, text)


def _side_name(one: Snapshot) -> str:
    """A dataset's name, with its version where it has versions."""
    name = dataset_name(one.opened.home, one.manifest)
    return f"{name}, version {one.opened.version.number}" if one.opened.version else name


@dataclass(frozen=True)
class _Shown:
    """One sample on the page: a heading, facts, and pictures by what stands below them."""

    head: str
    facts: tuple[str, ...]
    pictures: Mapping[str, tuple[str, Box]] = field(repr=False)


@dataclass(frozen=True)
class _Section:
    """What stands under one heading: lists by what happened to their items, a table, or samples."""

    title: str
    note: str = ""
    lists: Sequence[tuple[str, Listed]] = ()
    table: Table | None = None
    samples: Sequence[_Shown] = ()


def _section(title: str, groups: Iterable[tuple[str, Listed]], note: str = "") -> _Section | None:
    """Lists under one heading, each with what happened to its items; nothing where nothing did."""
    lists = [(what, one) for what, one in groups if one.total]
    return _Section(title, note, lists) if lists else None


def _entries(found: Diff) -> _Section | None:
    """Samples by entry, one row for each that changed."""
    columns: dict[str, Callable[[EntryChange], int]] = {
        "added": lambda e: e.added,
        "dropped": lambda e: e.dropped,
        "other pixels": lambda e: e.pixels,
        "other caption": lambda e: e.captions,
        "other words": lambda e: e.reworded,
        "other split": lambda e: e.moved,
        "as before": lambda e: e.same,
    }
    changed = [entry for entry in found.samples if not entry.is_same]
    if not changed:
        return None
    columns = {name: number for name, number in columns.items() if any(number(e) for e in changed)}
    rows = [[e.entry, *(str(number(e) or "–") for number in columns.values()), _drift(e)] for e in changed]
    return _Section("Samples", table=Table.of_texts("Samples", ["entry", *columns, "median severity"], rows))


def _drift(entry: EntryChange) -> str:
    before, after = ("–" if np.isnan(value) else f"{value:.1f}" for value in entry.severity)
    return before if before == after else f"{before} → {after}"


def _samples(title: str, total: int, shown: Sequence[_Shown], note: str) -> _Section | None:
    """Samples with pictures under one heading; nothing where there are none."""
    if not total:
        return None
    some = "" if len(shown) == total else f"{len(shown):,} of {total:,}, spread over all of them. "
    return _Section(title, some + note, samples=shown)


# ---------------------------------------------------------------------------------------------------------------------


def _changed(old: Snapshot, new: Snapshot, rows: tuple[Rows, Rows], limit: int) -> list[_Shown]:
    """Samples that both have, with old LQ, new LQ and their difference."""
    if not rows[0].size or not limit:
        return []
    before, after = read_samples_table(old.folder).take(rows[0]), read_samples_table(new.folder).take(rows[1])
    known = table_now(before.select(["entry", "key", "fingerprint"]))
    shown = []
    for now in spread(after, limit):
        same = pc.and_(pc.equal(known["entry"], now.entry), pc.equal(known["key"], key_now(now.key, now.entry)))
        was = SampleRow(**before.filter(same).to_pylist()[0])
        facts = [
            f"severity {level_of(was.severity)} {was.severity:.0f} → {level_of(now.severity)} {now.severity:.0f}, "
            f"PSNR {decibels(was.psnr)} → {decibels(now.psnr)}",
            *settings(*(_readable(params_of(row.params, f"{row.shard} {row.key}")) for row in (was, now))),
        ]
        pairs = [_open(one.folder, row) for one, row in ((old, was), (new, now))]
        pictures: dict[str, tuple[str, Box]] = {}
        if pairs[0] and pairs[1] and pairs[0][0].shape == pairs[1][0].shape:
            pictures = _compared(pairs[0][0], pairs[1][0])
        else:
            for side, pair in zip(("old", "new"), pairs, strict=True):
                if pair:
                    box = busiest(pair[1], *CROP)
                    pictures[f"{side} LQ"] = _picture(pair[0], box)
                else:
                    facts.append(f"no picture of the {side} one: its shard is not there, or is another")
        shown.append(_Shown(_head(new, now), tuple(facts), pictures))
    return shown


def _readable(value: Any) -> Any:
    """Parameters for people: floats of six digits, and no digests or seeds, which differ and say nothing."""
    if isinstance(value, dict):
        return {name: _readable(inner) for name, inner in value.items() if not is_digest(inner)}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _alone(one: Snapshot, rows: Rows, limit: int) -> list[_Shown]:
    """Samples that one side alone has, with LQ and GT."""
    if not rows.size or not limit:
        return []
    shown = []
    for row in spread(read_samples_table(one.folder).take(rows), limit):
        facts = [f"severity {level_of(row.severity)} {row.severity:.0f}, PSNR {decibels(row.psnr)}", row.sentence]
        pair = _open(one.folder, row)
        pictures = {}
        if pair:
            box = busiest(pair[1], *CROP)
            pictures = {"LQ": _picture(pair[0], box), "GT": _picture(pair[1], box)}
        else:
            facts.append("no picture: its shard is not there, or is another")
        shown.append(_Shown(_head(one, row), tuple(facts), pictures))
    return shown


def _head(one: Snapshot, row: SampleRow) -> str:
    """What a sample is called on the page: entry, photograph, key."""
    found = one.sources.filter(pc.field("digest") == row.source_sha256).to_pylist()
    return f"{row.entry} · {found[0]['names'][0] if found else 'an unknown photograph'} · {row.key}"


def _open(folder: Path, row: SampleRow) -> tuple[Image, Image] | None:
    """A sample's LQ and GT; None where its shard is gone, damaged, or of another time than the tables."""
    try:
        members = read_members(folder, row)
        if facts_of(members, row.shard).get("fingerprint") != row.fingerprint:
            return None
        return lq_and_gt(members, row)
    except (DamagedShardError, OSError, KeyError):
        return None


def _picture(image: Image, box: Box) -> tuple[str, Box]:
    return data_uri("jpeg", jpeg(image, box, b"")), box


def _compared(was: Image, now: Image) -> dict[str, tuple[str, Box]]:
    """Old and new picture and their difference, where most changed: grey is none, and levels are multiplied."""
    difference = now.astype(np.int16) - was.astype(np.int16)
    amount = np.abs(difference).max(axis=2)
    box = strongest(amount, *CROP)
    pictures = {"old LQ": _picture(was, box), "new LQ": _picture(now, box)}
    if not amount.any():
        return {f"{side}, no pixel differs": picture for side, picture in pictures.items()}
    factor = int(np.clip(127 // max(np.percentile(amount, 99.5), 1), 1, STRONGEST))
    amplified = np.clip(difference * factor + 128, 0, 255).astype(np.uint8)
    return {**pictures, f"difference ×{factor}, at most {amount.max()} levels": _picture(amplified, box)}
