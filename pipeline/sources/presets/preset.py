"""What is known of a public set: where to get it, what may be done with it, and how its files are named.

A layout is written as two templates of names, one for degraded and one for clean images, without their suffixes:

    train/{scene}/blur/{frame}      {scene} and {frame} are parts of names; what both templates name must be equal
    {id:\\d+}                        a part of a name that this regular expression describes
    [part{n:\\d+}/]                  may be missing
    (gt|clear)                      one or the other
    <variant>                       the folder's name for the variant that was asked for

Any folders may stand before a template, and capitals do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

UNKNOWN = "unknown: ask the authors"

TOKEN = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}|(<variant>)|([\[\]()|])|([^\[\](){}|<]+)")
MEANING = {"[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|"}


@dataclass(frozen=True)
class Layout:
    """One way in which a part of a set is known to lie on the disk.

    title    whose way it is: "as downloaded", "MPRNet's".
    lq, gt   templates of the degraded and the clean images' names; `lq` is empty for a set of clean images.
    example  one name for each template, LQ first.
    count    how many pairs (or images) it has where that differs from the part's own number.
    variants those that it holds, if not all.
    """

    title: str
    lq: str
    gt: str
    example: tuple[str, ...]
    count: int | None = None
    variants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of a set that stands on one side: its training pairs, one of its test sets.

    label    the pairs' degradations by name; composites in the order in which light meets them.
    labels   instead, the label by what the template's {kind} matched.
    count    the published number of pairs, or of clean images; None: not known.
    border   the clean images may be larger by so many pixels on every side.
    facts    named parts of the names that are numbers and tell how a pair was degraded.
    asked    taken only where it is asked for by name.
    spare    clean images without a degraded one belong to it, and are passed over.
    sizes    of all its published clean images, in px, either way up; empty: they have many, or are not known.
    colour   whether all of them are in colour, so that a grey one is of another set.
    """

    name: str
    split: str
    layouts: tuple[Layout, ...]
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None
    border: int = 0
    facts: tuple[str, ...] = ()
    asked: bool = False
    spare: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    colour: bool = False

    @property
    def paired(self) -> bool:
        """Whether it brings LQ/GT pairs."""
        return bool(self.layouts[0].lq)

    @property
    def unit(self) -> str:
        """What its count counts."""
        return "pairs" if self.paired else "images"

    def every_label(self) -> tuple[str, ...]:
        """The labels that its pairs may have."""
        return tuple(self.labels.values()) or ((self.label,) if self.label else ())


@dataclass(frozen=True)
class Variant:
    """A choice among a set's images: a folder of another name, or those names alone that `only` is found in.

    counts  the published number by part, where it is known and another than the part's own; None: not known.
    """

    name: str
    what: str
    folder: str = ""
    only: str = ""
    counts: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A public set.

    name             its name in recipes.
    title, what      its name among people, and what it holds.
    page             where to get it.
    licence          what its page or card states; None: nothing that we could find.
    redistributable  whether the licence lets its images be passed on; None: not known.
    citation         whom to name.
    facts            where counts, names and licence come from, and which of them could not be confirmed.
    parts            what it consists of.
    variants         the first is taken unless another is asked for.
    traps            what people trip over.
    masks            it holds masks of holes and no photographs; `parts` are its folders.
    wrong_pairs      names, without folder and suffix, of clean images that are reported to be paired with other scenes,
                     and `reported` where.
    """

    name: str
    title: str
    what: str
    page: str
    licence: str | None
    redistributable: bool | None
    citation: str
    facts: str
    parts: tuple[Part, ...]
    variants: tuple[Variant, ...] = ()
    traps: tuple[str, ...] = ()
    masks: bool = False
    wrong_pairs: tuple[str, ...] = ()
    reported: str = ""

    @property
    def terms(self) -> str:
        """Its licence, or that there is none to be found."""
        return self.licence or UNKNOWN

    def part(self, name: str) -> Part:
        """The part of that name. Raises KeyError."""
        return {part.name: part for part in self.parts}[name]

    def variant(self, name: str) -> Variant | None:
        """The variant of that name, or the first one; None for a set that has no variants. Raises KeyError."""
        if not name:
            return self.variants[0] if self.variants else None
        return {variant.name: variant for variant in self.variants}[name]

    def expected(self, part: Part, layout: Layout | None, variant: Variant | None) -> int | None:
        """The published number of pairs or images; None where none is known."""
        if variant and part.name in variant.counts:
            return variant.counts[part.name]
        return layout.count if layout and layout.count is not None else part.count


@cache
def compiled(template: str, variant: str = "") -> re.Pattern[str]:
    """A template as a regular expression for a whole name without suffix. Raises ValueError for a bad template."""
    pieces, end = [], 0
    for token in TOKEN.finditer(template):
        if token.start() != end:
            break
        name, pattern, placeholder, sign, text = token.groups()
        end = token.end()
        if name:
            pieces.append(f"(?P<{name}>{pattern or '[^/]+?'})")
        elif placeholder:
            pieces.append(re.escape(variant))
        else:
            pieces.append(MEANING[sign] if sign else re.escape(text))
    if end != len(template):
        raise ValueError(f"template {template!r}: cannot be understood from {template[end:]!r} on")
    return re.compile(f"(?:.*/)?{''.join(pieces)}", re.IGNORECASE)


def shown(template: str, variant: str = "") -> str:
    """A template for people: without the regular expressions in it."""
    plain = re.sub(r"\{(\w+):(?:[^{}]|\{[^{}]*\})+\}", r"{\1}", template)
    return plain.replace("<variant>", variant or "<variant>")
