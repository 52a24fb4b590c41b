"""`video-compressed`: a frame of a video after H.264: a key frame, or one that was predicted from those before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import (
    Degradation,
    Degraded,
    Knob,
    Params,
    Place,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.image import Image
from patina.synth.opencv import interpolated
from patina.synth.resampling import cuts, usual_rows
from patina.synth.rng import Rng
from patina.synth.scales import Scale
from patina.synth.wording import Known, Said, Wording, on_scale

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Y of the full size, Cb and Cr of half of it, limited range (16 to 235, 16 to 240)."""

X264 = (
    "threads=1:lookahead-threads=1:sliced-threads=0:cpu-independent=1:bframes=0:rc-lookahead=0:sync-lookahead=0:"
    "scenecut=0:keyint=infinite:aq-mode=0:mbtree=0:subme=0:weightp=0:ref=1"
)
"""One thread, and a quantiser that nothing changes. Without `cpu-independent` x264 takes other ways where there is no
SSSE3, and writes other bytes; with it plain C and every instruction set agree, which a test holds. Motion is not
searched between pixels: the pan goes by whole ones, and the planes for it are twice the memory."""

PRESET = "superfast"
"""Deblocks and predicts as all of x264's do but `ultrafast`, in the least time."""

INSTALL = "pip install 'patina-ir[video]'"

WHOLE = 1 << 14
TO_YCC = np.array([[4207, 8260, 1604], [-2428, -4768, 7196], [7196, -6026, -1170]], np.float32)
TO_RGB = np.array([[19077, 0, 26149], [19077, -6419, -13320], [19077, 33050, 0]], np.float32)
"""BT.601's matrices of the limited range, in 1/WHOLE: of levels, all sums are whole numbers below 2^24."""

COMPRESSION = Scale(
    (
        (0, "very light video compression"),
        (22, "light video compression"),
        (27, "medium video compression"),
        (32, "strong video compression"),
        (37, "very strong video compression"),
        (44, "extreme video compression"),
    )
)
"""H.264's quantiser: 22, 27, 32 and 37 are the four of the video experts' common test conditions; six more double its
step. The names are ours."""


def _said(known: Known) -> Said:
    qp = known.number("qp")
    if qp is None:
        return Said("video compression", "video compression")
    age = known.number("age")
    frame = "" if age is None else ", a key frame" if not age else f", {age:g} frame{'s' * (age > 1)} after a key frame"
    return on_scale(COMPRESSION, qp, f"H.264 at a quantiser of {qp:g}{frame}", "video compression")


@dataclass(frozen=True)
class VideoCompressed(Degradation):
    """The last of some frames after x264 at a constant quantiser, as any H.264 decoder shows it.

    The photograph is the last frame of a short pan: in those before it, it lies a few pixels away, mirrored at its
    border. Colours have half the size, as in all common video (4:2:0).

    qp      H.264's quantiser of predicted frames, 10..51, whole; key frames have 3 less. Each 6 more double its step.
    age     frames since the key frame, 0..6, whole: 0 is a key frame itself. Each of them takes as long as one picture.
    motion  of the pan, pixels a frame, 0..24, in any direction.

    It takes PyAV, which brings x264 and a decoder: `pip install 'patina-ir[video]'`. There is no truth map and no
    file: the LQ is stored as pixels. `settings` has a digest of what this x264 writes, so that another build's samples
    are made anew. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "video-compressed"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "codec"
    knob: ClassVar[Knob | None] = Knob("qp", 14, 51, whole=True)
    ways: ClassVar[tuple[Mapping[str, Any], ...]] = ({"age": 0}, {"age": 3, "motion": 9})
    wording: ClassVar[Wording | None] = Wording(
        _said, ("undo the {}", "repair the compression artefacts", "restore the frame")
    )

    qp: Values = field(default_factory=lambda: {"min": 27, "max": 42})
    age: Values = (0, 1)
    motion: Values = field(default_factory=lambda: {"min": 0, "max": 8})

    def __post_init__(self) -> None:
        check_values("qp", self.qp, 10, 51, whole=True)
        check_values("age", self.age, 0, 6, whole=True)
        check_values("motion", self.motion, 0, 24)

    def settings(self) -> dict[str, Any]:
        """As the protocol says, and what this x264 makes of a small clip."""
        age = list(self.age) if isinstance(self.age, tuple) else self.age
        return super().settings() | {"age": age, "encoder": _encoder()}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`qp` and `age`, whole numbers, and the pan's `step` to the right and down, whole pixels a frame."""
        length = draw_value(rng, self.motion)
        right, down = (rng.uniform(-1, 1) for _ in range(2))
        most = max(abs(right), abs(down), 1e-9)
        return {
            "qp": int(draw_value(rng, self.qp, whole=True)),
            "age": int(draw_value(rng, self.age, whole=True)),
            "step": [round(length * right / most), round(length * down / most)],
        }

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out. Raises SettingError where PyAV is not installed."""
        height, width = image.shape[:2]
        stream = encoded(_pan(image, params["age"], *params["step"]), params["qp"])
        y, cb, cr = decoded(stream, params["age"] + 1)
        return Degraded(np.ascontiguousarray(_to_rgb(y, cb, cr)[:height, :width]))


def _pan(image: Image, age: int, right: int, down: int) -> list[Planes]:
    """The frames, the photograph itself the last; their sides are even numbers."""
    height, width = (side + side % 2 for side in image.shape[:2])
    # A mirror takes no more than there is; a picture of 16 px pans in small steps.
    right, down = (
        max(-(side - 1) // max(age, 1), min((side - 1) // max(age, 1), step))
        for side, step in ((image.shape[1], right), (image.shape[0], down))
    )
    above, left = max(0, -down * age), max(0, -right * age)
    below, beside = max(0, down * age), max(0, right * age)
    whole = cv2.copyMakeBorder(
        image,
        above,
        below + height - image.shape[0],
        left,
        beside + width - image.shape[1],
        cv2.BORDER_REFLECT,
    )
    y, cb, cr = _to_ycc(whole)
    frames: list[Planes] = []
    for before in range(age, -1, -1):
        top, first = above + down * before, left + right * before
        part = np.s_[top : top + height, first : first + width]
        half = (width // 2, height // 2)
        small = [np.asarray(cv2.resize(c[part], half, interpolation=cv2.INTER_AREA), np.uint8) for c in (cb, cr)]
        frames.append((y[part], small[0], small[1]))
    return frames


def _to_ycc(image: Any) -> Planes:
    """Y, Cb and Cr of an RGB image, all of its size."""
    height, width = image.shape[:2]
    found = [np.empty((height, width), np.uint8) for _ in range(3)]
    for top, bottom in cuts(height, usual_rows(width)):
        values = np.asarray(cv2.transform(image[top:bottom].astype(np.float32), TO_YCC), np.float32)
        values *= np.float32(1 / WHOLE)
        np.rint(values, out=values)
        for plane, part, zero in zip(found, cv2.split(values), (16, 128, 128), strict=True):
            np.add(part, zero, out=plane[top:bottom], casting="unsafe")
    return found[0], found[1], found[2]


def _to_rgb(y: NDArray[np.uint8], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> Image:
    """RGB of a frame, its colours enlarged by straight lines, as players show it."""
    height, width = y.shape
    planes = [y, *(interpolated(c, (width, height)) for c in (cb, cr))]
    image = np.empty((height, width, 3), np.uint8)
    for top, bottom in cuts(height, usual_rows(width)):
        values = np.asarray(cv2.merge([plane[top:bottom] for plane in planes])).astype(np.float32)
        values -= np.array([16, 128, 128], np.float32)
        values = np.asarray(cv2.transform(values, TO_RGB), np.float32)
        values *= np.float32(1 / WHOLE)
        np.rint(values, out=values)
        image[top:bottom] = np.clip(values, 0, 255, out=values)
    return image


def encoded(frames: list[Planes], qp: int, more: str = "") -> bytes:
    """The frames, all of one even size, as an H.264 stream; `more` are further options of x264."""
    av = _av()
    height, width = frames[0][0].shape
    coder = av.CodecContext.create("libx264", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = width, height, "yuv420p", Fraction(1, 25)
    coder.thread_count = 1
    coder.options = {"preset": PRESET, "x264-params": f"qp={qp}:{X264}{more}"}
    stream = []
    for i, planes in enumerate(frames):
        frame = av.VideoFrame(width, height, "yuv420p")
        for held, plane in zip(frame.planes, planes, strict=True):
            lines = np.frombuffer(held, np.uint8).reshape(-1, held.line_size)
            lines[: plane.shape[0], : plane.shape[1]] = plane
        frame.pts = i
        stream += [bytes(packet) for packet in coder.encode(frame)]
    return b"".join([*stream, *(bytes(packet) for packet in coder.encode(None))])


def decoded(stream: bytes, count: int) -> Planes:
    """The last of `count` frames of an H.264 stream; every decoder gives the same, by the standard. Raises ValueError
    if the stream has another number of frames."""
    av = _av()
    coder = av.CodecContext.create("h264", "r")
    coder.thread_count = 1
    packets = [*coder.parse(stream), *coder.parse(None)]
    seen, last, found = 0, None, []
    for packet in [*packets, None]:
        shown = coder.decode(packet)
        seen += len(shown)
        last = shown[-1] if shown else last  # no other is kept
    if last is None or seen != count:
        raise ValueError(f"expected {count} frames from the decoder, found {seen}")
    for plane, shift in zip(last.planes, (0, 1, 1), strict=True):
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        found.append(lines[: last.height >> shift, : last.width >> shift].copy())
    return found[0], found[1], found[2]


@cache
def _encoder() -> str:
    """8 hex digits of what this x264 writes for a small clip: another build's may be other bytes."""
    y = (np.add.outer(np.arange(48) * 5, np.arange(64) * 3) % 220 + 16).astype(np.uint8)
    clip: list[Planes] = [(np.roll(y, i, axis=1), y[::2, ::2], y[1::2, 1::2]) for i in range(3)]
    return hashlib.sha256(encoded(clip, 30)).hexdigest()[:8]


def _av() -> Any:
    """PyAV, which is imported on first use."""
    try:
        import av
    except ImportError:
        raise SettingError(f"video-compressed takes PyAV, which is not installed; {INSTALL}") from None
    return av
