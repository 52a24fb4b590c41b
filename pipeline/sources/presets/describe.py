"""What is known of a public set, and what a folder holds of it, in words: lines for `patina sources`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from patina.pipeline.sources.presets.match import Match, in_number, layouts, passed_over, recognise, twice
from patina.pipeline.sources.presets.preset import Part, Preset, Variant

REDISTRIBUTABLE = {True: "yes", False: "no", None: "unknown"}
PASSED_ON = {True: "; redistributable", False: "; not redistributable", None: ""}
SHOWN = 5
"""Files without a partner that are named."""


def rows(presets: Mapping[str, Preset]) -> list[dict[str, str]]:
    """One row a set, for a table of all."""
    return [
        {
            "name": preset.name,
            "what": "masks" if preset.masks else ", ".join(labels(preset)) or "clean images",
            "images": " + ".join(f"{part.count or '?'} {part.name}" for part in preset.parts if not part.asked),
            "licence": (preset.licence or "unknown") + PASSED_ON[preset.redistributable],
        }
        for preset in presets.values()
    ]


def labels(preset: Preset) -> list[str]:
    """The labels that its pairs may have; of a long list its beginning."""
    found = list(dict.fromkeys(label for part in preset.parts if not part.asked for label in part.every_label()))
    return found if len(found) <= 4 else [*found[:4], f"{len(found) - 4} more"]


def story(preset: Preset) -> list[str]:
    """All that is known of a set."""
    lines = [
        f"{preset.title} ({preset.name})",
        f"what      {preset.what}",
        f"page      {preset.page}",
        f"licence   {preset.terms}; redistributable: {REDISTRIBUTABLE[preset.redistributable]}",
        f"cite      {preset.citation}",
        "parts",
        *(f"  {_part(part)}" for part in preset.parts),
    ]
    if preset.variants:
        lines += ["variants", *(f"  {variant.name}: {variant.what}" for variant in preset.variants)]
    lines += ["known layouts, below any folder, with any image suffix", *layouts(preset.parts, preset.variant(""))]
    if preset.traps:
        lines += ["beware", *(f"  {trap}" for trap in preset.traps)]
    return [*lines, f"known from  {preset.facts}"]


def _part(part: Part) -> str:
    side = f", into {part.split}" if part.split else ""
    told = f"{part.name}: {_number(part.count)} {part.unit}{side}"
    every = part.every_label()
    told += f", {', '.join(every)}" if every else ""
    return told + (", only if asked for by `part`" if part.asked else "")


def _number(count: int | None) -> str:
    return "an unknown number of" if count is None else str(count)


def table(preset: Preset, path: str) -> list[str]:
    """What to write into a recipe."""
    if preset.masks:
        first = preset.parts[0].name
        return ["[degradations.uncompleted]", f"masks = {json.dumps(f'{path}/{first}')}", 'masks_keep = "white"']
    names = [part.name for part in preset.parts]
    lines = ["[[sources]]", 'kind = "preset"', f"name = {json.dumps(preset.name)}", f"path = {json.dumps(path)}"]
    if len(names) > 1:
        lines.append(f'# part = "{names[0]}"   # or {", ".join(names[1:])}, or a list; without it, all')
    if preset.variants:
        names = [variant.name for variant in preset.variants]
        lines.append(f'# variant = "{names[0]}"   # or {", ".join(names[1:])}')
    if not all(part.paired for part in preset.parts):
        lines.append('# degradations = ["noisy"]   # which of the recipe\'s [degradations]; without it, all')
    return lines


def inventory(preset: Preset, names: Sequence[str], place: str) -> tuple[list[str], bool]:
    """What the image files `names` below the folder `place` hold of a set, and whether they hold anything of it."""
    lines: list[str] = []
    found = False
    for variant in preset.variants or (None,):
        recognition = recognise(preset, names, place, preset.parts, variant)
        found = found or bool(recognition.matches)
        if variant:
            lines.append(f"variant {variant.name}")
        for match in recognition.matches:
            lines += _counted(preset, match, variant)
            if preset.masks:
                folder = match.pairs[0].gt.rpartition("/")[0]
                lines.append(f"          masks = {json.dumps(f'{place}/{folder}' if folder else place)}")
        for part in recognition.missing:
            expected = preset.expected(part, None, variant)
            lines.append(f"missing   {part.name}: {_number(expected)} {part.unit}")
            lines += [f"          only {recognition.halves[part.name]}"] if part.name in recognition.halves else []
        if recognition.ignored:
            lines.append(f"besides   {in_number(recognition.ignored, 'images')} in no part")
    return lines, found


def _counted(preset: Preset, match: Match, variant: Variant | None) -> list[str]:
    part, count = match.part, len(match.pairs)
    expected = preset.expected(part, match.layout, variant)
    number = f"{count} of {expected} {part.unit}"
    if expected is None:
        number = f"{in_number(count, part.unit)}; how many are published is unknown"
    lines = [f"found     {part.name}: {number}; layout: {match.layout.title}"]
    if part.labels:
        each = Counter(pair.label for pair in match.pairs)
        lines += [f"          {label}: {each[label]}" for label in part.every_label()]
    if match.copies:
        lines.append(f"          {twice(match)}")
    if match.spare:
        lines.append(f"          {passed_over(match)}")
    lines += [f"          {name}: {reason}" for name, reason in match.unpaired[:SHOWN]]
    if len(match.unpaired) > SHOWN:
        lines.append(f"          … and {len(match.unpaired) - SHOWN} more without a partner")
    return lines
