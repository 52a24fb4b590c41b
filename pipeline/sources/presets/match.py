"""Which layout of a public set is it, and which files belong together? From the files' names alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from patina.pipeline.sources.presets.preset import Layout, Part, Preset, Variant, compiled, shown

LINES = 12
"""Folders that a message lists at the most."""


@dataclass(frozen=True)
class Pair:
    """Names of a pair's two images; of a clean image alone, with an empty `lq`. `params`: what the name tells."""

    gt: str
    lq: str
    label: str
    params: Mapping[str, float]


@dataclass(frozen=True)
class Match:
    """A part that was found: in which layout, its pairs, and the files that have no partner, each with the reason.

    copies  how many degraded (or clean) images lie there a second time and were passed over, and one of them.
    spare   clean images that were passed over because no degraded one belongs to them.
    """

    part: Part
    layout: Layout
    pairs: tuple[Pair, ...]
    unpaired: tuple[tuple[str, str], ...]
    copies: tuple[str, ...] = ()
    spare: int = 0


@dataclass(frozen=True)
class Recognition:
    """What was found of a set: its parts, those that are not there, and how many images belong to none.

    halves  of parts that are not there but have images of one side: what is wrong, by the part's name.
    """

    matches: tuple[Match, ...]
    missing: tuple[Part, ...]
    ignored: int
    halves: Mapping[str, str] = field(default_factory=dict)


def recognise(
    preset: Preset, names: Sequence[str], place: str, parts: Sequence[Part], variant: Variant | None
) -> Recognition:
    """Find `parts` of `preset` among image files with these relative names, in name order.

    `place` is the path of the folder that the names are relative to: its last two steps count as if they were part of
    the names, so that a folder below the set's own may be given.
    """
    above = "/".join([step for step in place.split("/") if step][-2:])
    texts = {name: f"{above}/{name.rpartition('.')[0] or name}" for name in names}
    matches, missing, used, halves = [], [], set[str](), dict[str, str]()
    for part in parts:
        fitting = [layout for layout in part.layouts if _holds(layout, variant)]
        tried = [_match(part, layout, texts, variant) for layout in fitting]
        best = max(tried, key=lambda match: (len(match.pairs), -len(match.unpaired)), default=None)
        if best is None or not best.pairs:
            missing.append(part)
            half = max(tried, key=lambda match: len(match.unpaired), default=None)
            if half and half.unpaired:
                name, reason = half.unpaired[0]
                halves[part.name] = (
                    f"{in_number(len(half.unpaired), 'images')} without a partner, such as {name}: {reason}"
                )
            continue
        matches.append(best)
        used |= {name for pair in best.pairs for name in (pair.gt, pair.lq) if name}
        used |= {name for name, _ in best.unpaired}
    return Recognition(tuple(matches), tuple(missing), len(names) - len(used), halves)


def in_number(count: int, unit: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {unit.removesuffix('s') if count == 1 else unit}"


def _holds(layout: Layout, variant: Variant | None) -> bool:
    return variant is None or not layout.variants or variant.name in layout.variants


def _match(part: Part, layout: Layout, texts: Mapping[str, str], variant: Variant | None) -> Match:
    """All that this layout makes of the files."""
    folder, only = (variant.folder, variant.only) if variant else ("", "")
    clean = _named(layout.gt, texts, folder, only)
    if not layout.lq:
        firsts, copies = _firsts(clean)
        return Match(part, layout, tuple(Pair(name, "", "", {}) for name in firsts), (), copies)
    degraded = _named(layout.lq, texts, folder, only)
    shared = sorted(set(compiled(layout.lq, folder).groupindex) & set(compiled(layout.gt, folder).groupindex))
    partners: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, groups in clean.items():
        partners[tuple(groups[group] for group in shared)].append(name)
    firsts, copies = _firsts(degraded)
    pairs, unpaired, with_one = [], [], set()
    for name in firsts:
        groups = degraded[name]
        key = tuple(groups[group] for group in shared)
        nearest = _nearest(name, partners.get(key, []))
        if len(nearest) == 1:
            label = part.labels[groups["kind"].lower()] if part.labels else part.label
            pairs.append(Pair(nearest[0], name, label, {fact: float(groups[fact]) for fact in part.facts}))
            with_one.add(key)
        elif nearest:
            unpaired.append((name, f"several clean images match it: {nearest[0]} and {nearest[1]}"))
            with_one.add(key)
        else:
            unpaired.append((name, f"no clean image matches it; expected {shown(layout.gt, folder)}"))
    alone = [name for key, found in partners.items() if key not in with_one for name in found]
    if not part.spare:
        what = f"no degraded image matches it; expected {shown(layout.lq, folder)}"
        unpaired += [(name, what) for name in alone]
    ordered = tuple(sorted(pairs, key=lambda pair: (pair.gt, pair.lq)))
    return Match(part, layout, ordered, tuple(unpaired), copies, len(alone) if part.spare else 0)


def _named(template: str, texts: Mapping[str, str], folder: str, only: str) -> dict[str, dict[str, str]]:
    """The files whose names fit the template, with what its named parts matched."""
    pattern = compiled(template, folder)
    found = {}
    for name, text in texts.items():
        fit = pattern.fullmatch(text)
        if fit and (not only or only in PurePosixPath(name).name):
            found[name] = {group: value or "" for group, value in fit.groupdict().items()}
    return found


def _firsts(found: Mapping[str, Mapping[str, str]]) -> tuple[list[str], tuple[str, ...]]:
    """One name for each image, and the others: some archives hold the same files in two folders."""
    firsts: dict[tuple[tuple[str, str], ...], str] = {}
    copies = []
    for name, groups in found.items():
        if firsts.setdefault(tuple(sorted(groups.items())), name) != name:
            copies.append(name)
    return list(firsts.values()), tuple(copies)


def _nearest(name: str, partners: Sequence[str]) -> list[str]:
    """Of several partners those that share most folders with `name`: a second copy of a set has its own."""
    if len(partners) < 2:
        return list(partners)
    steps = name.split("/")[:-1]

    def shared(other: str) -> int:
        count = 0
        for one, two in zip(steps, other.split("/")[:-1], strict=False):
            if one != two:
                break
            count += 1
        return count

    most = max(map(shared, partners))
    return [partner for partner in partners if shared(partner) == most]


def notes(preset: Preset, recognition: Recognition, variant: Variant | None) -> list[str]:
    """Things to know about what was found: other numbers than published, copies, parts that are not there."""
    told = []
    for match in recognition.matches:
        part, where = match.part, f"{preset.name}, part {match.part.name}"
        expected = preset.expected(part, match.layout, variant)
        if expected is not None and expected != len(match.pairs):
            found = in_number(len(match.pairs), part.unit)
            told.append(f"{where}: {found} found, {expected} are published ({match.layout.title})")
        if match.copies:
            told.append(f"{where}: {twice(match)}")
        if match.spare:
            told.append(f"{where}: {passed_over(match)}")
    for part in recognition.missing:
        half = f", only {recognition.halves[part.name]}" if part.name in recognition.halves else ""
        told.append(f"{preset.name}: its part {part.name} is not there{_of(part)}{half}")
    return told


def too_many(preset: Preset, recognition: Recognition, place: str, variant: Variant | None) -> str:
    """The message that a part has more images than are published; empty if none has."""
    for match in recognition.matches:
        expected, found = preset.expected(match.part, match.layout, variant), len(match.pairs)
        if expected is None or found <= expected:
            continue
        folders = Counter(pair.gt.rpartition("/")[0] or "." for pair in match.pairs)
        most = "; ".join(f"{name}: {count}" for name, count in folders.most_common(LINES))
        return (
            f"path: expected {in_number(expected, match.part.unit)} at most of {preset.title}, part {match.part.name} "
            f"({match.layout.title}), below {place}, found {found}, in {most}; another set or a second copy lies there "
            'too: give the folder of this set alone, or describe the folder with kind = "folder" or "pairs"'
        )
    return ""


def twice(match: Match) -> str:
    """That some images lie there a second time."""
    count = len(match.copies)
    lie = "image lies" if count == 1 else "images lie"
    return f"{count} {lie} there twice, such as {match.copies[0]}; one is taken"


def passed_over(match: Match) -> str:
    """That some clean images are spare."""
    have, are = ("image has", "is") if match.spare == 1 else ("images have", "are")
    return f"{match.spare} clean {have} no degraded one and {are} passed over"


def _of(part: Part) -> str:
    return f" ({part.count} {part.unit})" if part.count is not None else ""


def census(names: Sequence[str]) -> list[str]:
    """How many images lie where, by their first two folders: a line each, the fullest first when there are many."""
    counts = Counter("/".join(name.split("/")[:-1][:2]) or "." for name in names)
    shown_folders = sorted(counts, key=lambda folder: (-counts[folder], folder))[:LINES]
    lines = [f"  {folder}: {in_number(counts[folder], 'images')}" for folder in sorted(shown_folders)]
    return lines + ([f"  … and {len(counts) - LINES} folders more"] if len(counts) > LINES else [])


def layouts(parts: Sequence[Part], variant: Variant | None) -> list[str]:
    """The known layouts of these parts: in each whose it is, what the names look like, and an example."""
    folder = variant.folder if variant else ""
    lines = []
    for part in parts:
        for layout in part.layouts:
            if _holds(layout, variant):
                sides = [shown(side, folder) for side in (layout.lq, layout.gt) if side]
                lines.append(f"  {part.name}, {layout.title}")
                lines += [f"    {side}, such as {name}" for side, name in zip(sides, layout.example, strict=True)]
    return lines
