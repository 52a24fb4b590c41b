"""A public set that patina knows: its layouts, its names, its splits and its licence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import locations
from patina.pipeline.sources.passed_over import passed_over
from patina.pipeline.sources.reader import Candidate, Found, Refusal, check_entries, list_images

if TYPE_CHECKING:  # what is known of public sets is read where one of them is: most recipes name none
    from patina.pipeline.sources.presets.match import Recognition
    from patina.pipeline.sources.presets.preset import Part, Preset, Variant


@repr_without_secrets
@dataclass(frozen=True)
class FromPreset:
    """The images of the set `name` below `path`, paired, labelled and split as published. Nothing is downloaded.

    part          one of its parts or several, such as "train"; empty: all, each on its own side.
    variant       which of its variants, where it has several, such as GoPro's "blur_gamma"; empty: the first.
    keep_order    take each pair's images as they are named, even where most of them look exchanged.
    split         the side for all of them instead of their own.
    degradations  names of the recipe's [degradations] tables that apply to its clean images; empty: all of them.
    """

    kind: ClassVar[str] = "preset"
    name: str
    path: str = field(metadata={"folder": True})
    part: str | tuple[str, ...] = ()
    variant: str = ""
    keep_order: bool = False
    split: str = ""
    degradations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.part, str):
            object.__setattr__(self, "part", (self.part,) if self.part else ())
        check_entries(self.degradations)
        from patina.pipeline.sources.presets import PRESETS

        if self.name not in PRESETS:
            raise SourceError(f"name: there is no preset {self.name!r}; known: {', '.join(PRESETS)}")
        parts = [part.name for part in self.preset.parts]
        if not isinstance(self.part, tuple) or any(name not in parts for name in self.part):
            raise SourceError(f"part: expected one or a list of {', '.join(parts)}, found {self.part!r}")
        if self.preset.masks:
            first = self.preset.parts[0].name
            raise SourceError(
                f"name: {self.name} holds masks of holes and no photographs; take no [[sources]] table for it, but "
                f'name its folder where holes are made: [degradations.uncompleted] masks = "{self.path}/{first}"'
            )
        variants = [variant.name for variant in self.preset.variants]
        if self.variant and self.variant not in variants:
            known = f"expected one of {', '.join(variants)}" if variants else f"{self.name} has none"
            raise SourceError(f"variant: {known}, found {self.variant!r}")

    @property
    def preset(self) -> Preset:
        """What is known of the set."""
        from patina.pipeline.sources.presets import PRESETS

        return PRESETS[self.name]

    @property
    def title(self) -> str:
        """The set's name."""
        return self.preset.title

    @property
    def has_pairs(self) -> bool:
        """Whether one of the parts that were asked for has pairs."""
        return any(part.paired for part in self.parts)

    @property
    def licence(self) -> str:
        """The set's licence; in words, that none is known."""
        return self.preset.terms

    @property
    def attribution(self) -> str:
        """The set's citation."""
        return self.preset.citation

    @property
    def degradation(self) -> str:
        """Empty: each candidate brings its own."""
        return ""

    @property
    def root(self) -> str:
        """The folder itself."""
        return self.path

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that were asked for."""
        return tuple(p for p in self.preset.parts if (p.name in self.part if self.part else not p.asked))

    def find(self) -> Found:
        """Recognise the layout and pair the files. Raises SourceError if no known layout, or not a part that was asked
        for, is there, and for more images than the set has."""
        from patina.pipeline.sources.presets.match import notes, too_many

        chosen = self.preset.variant(self.variant)
        if not locations.is_remote(self.path) and not Path(self.path).exists():
            raise SourceError(
                f"path: expected {self.preset.title} at {self.path}, found nothing; unpack it there (`patina sources "
                f"{self.name}` tells where to get it and how it may lie), or leave its table out of the recipe"
            )
        listing = list_images(self.path, "path")
        places = dict(listing.files)
        found = look(self.preset, list(places), self.path, self.parts, chosen)
        asked_for = [part for part in found.missing if part.name in self.part]
        if asked_for or not found.matches:
            raise SourceError(unrecognised(self.preset, list(places), self.path, asked_for or self.parts, chosen))
        if surplus := too_many(self.preset, found, self.path, chosen):
            raise SourceError(surplus)
        candidates = [
            Candidate(
                pair.gt,
                places[pair.gt],
                places[pair.lq] if pair.lq else "",
                degradation=pair.label,
                split=match.part.split,
                params=pair.params,
                border=match.part.border,
                published=self.title,
                sizes=match.part.sizes,
                colour=match.part.colour,
            )
            for match in found.matches
            for pair in match.pairs
        ]
        refusals = [Refusal(name, reason) for match in found.matches for name, reason in match.unpaired]
        told = [*notes(self.preset, found, chosen), passed_over(self.title, listing.unread)]
        candidates.sort(key=lambda c: (c.name, c.lq))
        return Found(candidates, refusals, listing.ignored + found.ignored, [note for note in told if note])


def look(
    preset: Preset, names: Sequence[str], folder: str, parts: Sequence[Part], variant: Variant | None
) -> Recognition:
    """What of these parts is among the image files `names` below `folder`, which may be an address."""
    from patina.pipeline.sources.presets.match import recognise

    return recognise(preset, names, folder.partition("://")[2] or folder, parts, variant)


def unrecognised(
    preset: Preset, names: Sequence[str], folder: str, parts: Sequence[Part], variant: Variant | None
) -> str:
    """The message that none of these parts is there: what was found, what was expected, what to do."""
    from patina.pipeline.sources.presets.match import census, in_number, layouts

    what = f"{preset.title} ({', '.join(part.name for part in parts)}{f'; {variant.name}' if variant else ''})"
    found = f"{in_number(len(names), 'images')} in none of its known layouts:" if names else "no image at all"
    lines = [f"path: expected {what} below {folder}, found {found}"]
    halves = look(preset, names, folder, parts, variant).halves
    lines += [*census(names), *(f"part {p.name}: only {halves[p.name]}" for p in parts if p.name in halves)]
    lines += ["known layouts, below any folder, with any image suffix:", *layouts(parts, variant)]
    lines += ['unpack it in one of these, or describe your own with kind = "pairs" or "folder";']
    lines += [f"it is to be had from {preset.page}"]
    return "\n".join(lines)
