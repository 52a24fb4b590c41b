"""Pictures made some rows at a time, so that a photograph of 24 megapixels takes little more memory than its result.

A picture's floats are twelve bytes a pixel, and a dozen operations on whole ones are as many fresh arrays, whose page
faults take longer than the arithmetic. So a degradation makes its small fields once and then any rows of the picture
from them: `InStrips`. The rows that are made together must not matter: each is a function of the picture alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compiled import functions
from patina.synth.degradation import Degraded, Params, Rendered, Rendering
from patina.synth.image import FloatImage, Image, Map, as_floats, to_encoded_levels, to_float, to_uint8
from patina.synth.resampling import cuts, usual_rows

Watcher: TypeAlias = Callable[[float], None]
"""Told what share of a picture is done, 0..1, after each strip or more often. What it raises ends the work."""


@dataclass
class _Watch:
    """A watcher, and what it was told last."""

    watcher: Watcher
    done: float = 0.0


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@dataclass(frozen=True)
class Strip:
    """Some rows of a degraded picture.

    pixels  h×W×3, or three planes h×W: red, green, blue, which saves taking them apart and together again. float32, in
            the domain of the `Strips` that they come from; or levels of 8 or 16 bits, if its `levels` and `floats` say
            how to read them. The caller may change them.
    truth   the same rows of each truth map, h×W uint8 or uint16.
    """

    pixels: FloatImage | Image | Sequence[FloatImage] | Sequence[NDArray[np.uint16]]
    truth: Mapping[str, Map] = field(default_factory=dict)


@dataclass(frozen=True)
class Strips:
    """What makes any rows of one degraded picture.

    rows       rows top to bottom, the last not included; the same pixels whichever rows are asked for together.
    is_linear  as of a `Rendering`: pixels are linear light, and sRGB-encoded in [0, 1] otherwise.
    truth      truth maps that are no rows of the picture (a blur's `kernel`), or that were made before.
    count      how many rows are best asked for together, where that is not the usual number: a filter that needs many
               rows around takes more of them.
    levels     how pixels, or three planes of them, become 8-bit levels, if there is a shorter way than by `is_linear`;
               and `floats` how pixels, or one plane, become the floats of a `Rendering`, if they are in another domain
               than its. Both or neither, but for strips of which no rendering is made (`keeps_levels`): `as_levels` and
               `as_floats` where `rows` gives levels of levels, and floats of floats.
    level_rows the same as `rows`, as 8-bit levels H×W×3, if compiled loops make them sooner than by way of floats.
    """

    rows: Callable[[int, int], Strip]
    is_linear: bool = False
    truth: Mapping[str, Map] = field(default_factory=dict)
    count: int = 0
    levels: Callable[[Any], Image] | None = None
    floats: Callable[[Any], FloatImage] | None = None
    level_rows: Callable[[int, int], Strip] | None = None


@runtime_checkable
class InStrips(Rendered, Protocol):
    """A degradation that gives `strips`, and of them both `render` and `apply`.

    Example, the whole of a degradation that dims a picture and tells by how much:

        def strips(self, image, params):
            share = stretched_rows(small_field(image, params), *image.shape[:2])  # of patina.synth.resampling

            def rows(top, bottom):
                part = share(top, bottom)
                light = to_linear(image[top:bottom])
                light *= cv2.merge([part, part, part])
                return Strip(light, {"share": np.rint(part * np.float32(65535)).astype(np.uint16)})

            return Strips(rows, is_linear=True)

    keeps_levels  whether strips of 8-bit levels are rounded to levels again. `render`, which rounds nothing, then works
                  on floats.
    """

    keeps_levels: ClassVar[bool] = False

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        """What makes rows of `image` (H×W×3 float32 sRGB in [0, 1], or its levels if `reads_levels`; unchanged) as
        `params` say. Pure and free of chance."""
        ...

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 in [0, 1], or 8-bit levels, to floats and truth maps."""
        return rendered(self.strips(as_floats(image) if self.keeps_levels else image, params), image.shape)

    def apply(self, image: Image, params: Params) -> Degraded:
        """8-bit levels to 8-bit levels; beside the result, only strips and small fields are held."""
        return applied(self.strips(image if self.reads_levels else to_float(image), params), image.shape)


def rendered(strips: Strips, shape: tuple[int, ...]) -> Rendering:
    """A whole picture of this shape, H×W×3, as floats."""
    pixels = np.empty(shape, np.float32)
    truth = _made(strips, strips.rows, shape, lambda part, top, end: _put(pixels, strips.floats, part, top, end))
    return Rendering(pixels, truth, strips.is_linear)


def applied(strips: Strips, shape: tuple[int, ...]) -> Degraded:
    """A whole picture of this shape, H×W×3, as 8-bit levels."""
    lq = np.empty(shape, np.uint8)
    levels = strips.levels or (to_encoded_levels if strips.is_linear else to_uint8)

    compiled = functions() is not None
    at_once = strips.level_rows if compiled else None

    def put(part: Any, top: int, end: int) -> None:
        if at_once:
            lq[top:end] = part
        elif compiled:
            lq[top:end] = levels(part)
        else:
            _put(lq, levels, part, top, end)

    return Degraded(lq, _made(strips, at_once or strips.rows, shape, put))


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within it, `watcher` is told what share of each picture is done, from 0 to 1, after each strip; in this thread.

    What it raises stops `apply` and comes out of it: so progress is shown within a large photograph, and a cancel is
    heard soon.
    """
    token = _watch.set(_Watch(watcher))
    try:
        yield
    finally:
        _watch.reset(token)


def tell(done: float) -> None:
    """Tell this thread's watcher, if there is one, that the share `done` of the picture is made."""
    watch = _watch.get()
    if watch is not None:
        watch.done = done
        watch.watcher(done)


def heed() -> None:
    """Let this thread's watcher end the work here, within a strip that takes long: it is told the same share again."""
    watch = _watch.get()
    if watch is not None:
        watch.watcher(watch.done)


def _put(whole: NDArray[Any], convert: Callable[[Any], NDArray[Any]] | None, part: Any, top: int, end: int) -> None:
    """Put some rows, an image or its planes, into the whole."""
    if isinstance(part, np.ndarray):
        whole[top:end] = convert(part) if convert else part
    else:
        cv2.merge([convert(plane) if convert else plane for plane in part], dst=whole[top:end])


def _made(
    strips: Strips, rows_of: Callable[[int, int], Strip], shape: tuple[int, ...], put: Callable[[Any, int, int], None]
) -> Mapping[str, Map]:
    """Make all strips in turn by `rows_of` and `put` their pixels; the truth maps."""
    truth: dict[str, Any] = dict(strips.truth)
    for top, end in cuts(shape[0], strips.count or usual_rows(shape[1])):
        strip = rows_of(top, end)
        put(strip.pixels, top, end)
        for name, rows in strip.truth.items():
            if name not in truth:
                truth[name] = np.empty(shape[:2], rows.dtype)
            truth[name][top:end] = rows
        tell(end / shape[0])
    return truth
