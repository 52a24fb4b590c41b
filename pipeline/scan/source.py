"""Source, and what a scan knows of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.scan.leaks.types import Leaks
from patina.pipeline.sources import locations
from patina.pipeline.sources.reader import NO_PARAMS, Candidate, Refusal
from patina.pipeline.text import printable


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the inspection of an image file found; or, with `problem`, why it is refused.

    Sizes in pixels after EXIF rotation; `mean` is the mean level of R, G and B; `phash` 16 hex digits; `suffix` and
    `lost` as in `Decoded`; `extra` the format, `HEIF` or `JXL`, of one that a library of the extra [formats] decoded.
    """

    problem: str = ""
    width: int = 0
    height: int = 0
    suffix: str = ""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    phash: str = ""
    lost: tuple[str, ...] = ()
    extra: str = ""


@repr_without_secrets
@dataclass(frozen=True, slots=True)
class Source:
    """One clean image, or one LQ/GT pair, that may be used.

    digest        SHA-256 of the clean image's bytes; for a pair, of its label and both files' digests. Names
                  the source.
    content       SHA-256 of the clean image's bytes. Decides the split, so that one clean image never stands on
                  two sides.
    names         every relative name under which these bytes were found, in order; `path` is the first one's location.
    roots         the folder that each of the names is relative to; captions: what the source itself brings for each.
    source_index  which [[sources]] table it came from, counted from 0.
    named         whether its split was named by that table or by the source, and not drawn from its digest.
    entries       the recipe's degradations that apply to it; empty: all.
    lq            location of the degraded image and `lq_digest` its SHA-256, for a pair; empty otherwise.
    lq_extra      its format, as `ImageInfo.extra`.
    degradation   the pair's label, and `params` what its source tells of it.
    border        pixels to cut from every side of the clean image, so that it fits the degraded one; `info` is after
                  that.
    licence, attribution  what its source states of it; what the recipe states stands above it.
    """

    digest: str
    content: str
    names: tuple[str, ...]
    roots: tuple[str, ...]
    path: str
    source_index: int
    split: str
    bytes: int
    info: ImageInfo
    captions: tuple[str, ...] = ("",)
    named: bool = False
    entries: tuple[str, ...] = ()
    lq: str = ""
    lq_digest: str = ""
    lq_suffix: str = ""
    lq_name: str = ""
    lq_extra: str = ""
    degradation: str = ""
    params: Mapping[str, float | int | str] = field(default_factory=lambda: NO_PARAMS, hash=False)
    border: int = 0
    licence: str = ""
    attribution: str = ""

    @property
    def extras(self) -> tuple[str, ...]:
        """The formats of its files, in order, that a library of the extra [formats] decodes."""
        return tuple(sorted({self.info.extra, self.lq_extra} - {""}))

    @property
    def is_pair(self) -> bool:
        """Whether it brings its own degraded image."""
        return bool(self.lq)


@dataclass(frozen=True)
class Scan:
    """The sources of a recipe as they are now.

    sources   in digest order, each made when it is looked at.
    refusals  set aside, with reasons. notes: things to know that stop nothing.
    leaks     photographs that show the same scene, and what was done to keep them on one side of every split.
    seen      how many inputs the readers found, refused ones included; ignored: how many other files. hashed: how many
    had to be read.
    """

    sources: Sequence[Source]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    seen: int
    ignored: int
    hashed: int
    leaks: Leaks = field(default_factory=Leaks)


def display_name(name: str, lq_name: str) -> str:
    """A source's name for people; a pair's names both files, since one clean image may serve several degraded ones."""
    return f"{name} with {lq_name}" if lq_name else name


def lq_display_name(candidate: Candidate) -> str:
    """The name of a pair's degraded file, for people."""
    return candidate.lq_name or printable(locations.base_name(candidate.lq))
