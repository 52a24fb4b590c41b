"""`motion-blurry`: the camera shook while the shutter was open."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.convolution import convolve, reflected
from patina.synth.degradation import (
    Knob,
    Params,
    Place,
    Rendering,
    SettingError,
    Stage,
    Values,
    check_values,
    draw_value,
)
from patina.synth.depth import Depth, FromDepth
from patina.synth.elementary import cosine_of, exp, interpolated, power_of, sine_of
from patina.synth.image import FloatImage, Image, as_floats, to_linear
from patina.synth.resampling import means, shortened, stretched
from patina.synth.rng import Rng, normal_table

LIGHTS = ("linear", "encoded")

STEPS = 500
"""Steps of a simulated movement. Boracchi and Foi take 2000; the constants below are theirs, for four at a time."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
WHOLE = 65535
KNEE, BRIGHT = 0.85, 0.3
"""From what luminance light may really have been brighter than white, and what mean of it all around says no."""


@dataclass(frozen=True)
class MotionBlurry(FromDepth):
    """lq = k * gt in linear light, highlights included, with a kernel k that a random shake of the camera draws.

    The shake is Boracchi and Foi's (IEEE TIP 21(8), 2012): a particle of constant speed whose heading is disturbed by
    tremor (Gaussian), by sudden jerks that nearly reverse it, and by a pull back to where it started. The shutter
    closes after a share of the movement. A roll around the frame's centre and a move forwards make the kernel vary over
    the frame, and so does depth: what is near moves more.

    With `light = "encoded"` it is GoPro's way, the mean of levels, of all or of some `frames`. Its exposures take some
    40 ms, less than half a swing of a hand's tremor (about 10 Hz): with them goes `shake = { min = 0, max = 0.15 }`.

    length      px that a point travels over the whole movement, for an image of 512 px short side; 0..300.
    exposure    the share of the movement that the open shutter sees, 0..1.
    shake       0..4: 0 is a straight line, 1 their usual hand, 4 a shiver; the stronger, the closer together the path.
    rotation    degrees between the extremes of the roll while the shutter is open, 0..2. 0: one kernel for all.
    zoom        per cent by which the frame grows while the shutter is open, as the camera moves forwards, 0..10.
    parallax    by which share less the farthest things move than the nearest do, 0..1; 0 asks for no depth.
    frames      of which the picture is the mean, 2..64, whole, or 0 for all that the open shutter sees.
    light       "linear", where light adds, or "encoded": the mean of levels, as GoPro's `blur` has it; then the mean
                level stays, and `highlights` says nothing.
    depth       for parallax: a folder of depth maps (see `patina.synth.depth.Depths`), or "" for its prior.
    highlights  stops by which what the photograph shows as white was brighter, 0..6, so that lamps and glints leave
                streaks. What is white amid bright things, such as a cloud, is left as it is.

    Truth: `kernel`, the centre's, k×k uint16 with k odd, Σ = 65535 exactly, centroid at its middle within half a pixel,
    drawn as a point of light would draw it. Without roll it is the very kernel that was applied.
    Defaults give GoPro's input on photographs: 25.6 dB. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "motion-blurry"
    version: ClassVar[int] = 3
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("kernel",)
    knob: ClassVar[Knob | None] = Knob("length", 1, 300)

    length: Values = field(default_factory=lambda: {"min": 10, "max": 52})
    exposure: Values = field(default_factory=lambda: {"min": 0.25, "max": 1})
    shake: Values = field(default_factory=lambda: {"min": 0.1, "max": 1})
    rotation: Values = field(default_factory=lambda: {"min": 0, "max": 0.7})
    zoom: Values = field(default_factory=lambda: {"min": 0, "max": 1.2})
    parallax: Values = 0
    frames: Values = 0
    light: str = "linear"
    depth: str = field(default="", metadata={"folder": True})
    highlights: Values = field(default_factory=lambda: {"min": 0, "max": 4})

    def __post_init__(self) -> None:
        check_values("length", self.length, 0, 300)
        check_values("exposure", self.exposure, 0, 1)
        check_values("shake", self.shake, 0, 4)
        check_values("rotation", self.rotation, 0, 2)
        check_values("zoom", self.zoom, 0, 10)
        check_values("parallax", self.parallax, 0, 1)
        check_values("frames", self.frames, 0, 64, whole=True)
        if self.light not in LIGHTS:
            raise SettingError(f"light: expected one of {', '.join(LIGHTS)}, found {self.light!r}")
        _ = self.depths
        check_values("highlights", self.highlights, 0, 6)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`length`, `exposure`, `shake`, `rotation`, `zoom`, `parallax`, `frames`, `light` and `highlights` as above,
        the movement's `seed`, and of parallax where depth comes from: see `Depths.draw`."""
        parallax = draw_value(rng, self.parallax)
        return {
            "length": draw_value(rng, self.length),
            "exposure": draw_value(rng, self.exposure),
            "shake": draw_value(rng, self.shake),
            "rotation": draw_value(rng, self.rotation),
            "zoom": draw_value(rng, self.zoom),
            "parallax": parallax,
            "frames": int(draw_value(rng, self.frames, whole=True)),
            "light": self.light,
            "highlights": draw_value(rng, self.highlights) if self.light == "linear" else 0.0,
            "seed": rng.seed(),
            **(self.depths.draw(rng, place) if parallax else {}),
        }

    def render(self, image: FloatImage | Image, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `kernel`."""
        height, width = image.shape[:2]
        scale = min(height, width) / 512
        movement = _Movement.of(params, scale)
        truth = _whole(movement.kernel(0, 0))
        linear = params["light"] == "linear"
        light = to_linear(image) if linear else np.array(as_floats(image))
        _brighten(light, params["highlights"])
        shortened(light)
        blurred = _blurred(light, movement)
        if params["parallax"]:
            near = _nearness(self.depths.of(image, params))
            far = _blurred(light, movement.less(1 - params["parallax"]))
            blurred -= far
            blurred *= np.asarray(cv2.merge([near, near, near]))
            blurred += far
        return Rendering(blurred if linear else np.clip(blurred, 0, 1, out=blurred), {"kernel": truth}, linear)


def _blurred(light: FloatImage, movement: _Movement) -> FloatImage:
    """`light`, shortened, as it looks after the movement."""
    height, width = light.shape[:2]
    # From one tile to the next a point moves by 4 px more at most; odd counts put a tile in the middle.
    apart = 8 * max(min(height, width) / 512, 1)
    rows, columns = (math.ceil(side * movement.turn / apart - 0.05) * 2 + 1 for side in (height, width))
    if rows * columns > 1:
        return _blend(light, movement, rows, columns)
    kernel = _whole(movement.kernel(0, 0))
    blurred = convolve(reflected(light, len(kernel) // 2), kernel)
    blurred *= np.float32(1 / WHOLE)
    return blurred


def _nearness(depth: Depth) -> NDArray[np.float32]:
    """How much of the nearest things' movement each pixel has, H×W, 0..1: one over its metres, over that of the nearest
    twentieth. Smooth, since blurred edges of depth would need what is behind them."""
    step = max(1, min(depth.shape) // 64)
    coarse = np.float32(1) / depth[step // 2 :: step, step // 2 :: step]
    nearest = float(np.sort(coarse, axis=None)[int(0.95 * (coarse.size - 1))])
    return stretched(means(np.minimum(coarse * np.float32(1 / nearest), 1), 3), depth.shape[0], depth.shape[1])


@dataclass(frozen=True)
class _Movement:
    """Where the image went while the shutter was open, at equal steps along the way.

    right, down  px. roll: radians. growth: of the frame, over its size. weight: the time spent there, Σ = 1.
    Shift, roll and growth are centred on their mean in time, so that the blurred image stays where the clean one is.
    """

    right: NDArray[np.float64]
    down: NDArray[np.float64]
    roll: NDArray[np.float64]
    growth: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, params: Params, scale: float) -> _Movement:
        """From the drawn parameters; `scale` is the image's short side over 512 px."""
        rng, exposure = Rng(params["seed"]), params["exposure"]
        (right, down), (roll, growth) = (_shaken(rng, params["shake"]) for _ in range(2))
        length = params["length"] * scale
        # A quarter of a pixel at most, or what so many frames see.
        time = np.linspace(0, exposure * STEPS, params["frames"] or 64 + math.ceil(4 * length * exposure))
        steps = np.arange(STEPS + 1)
        right, down, roll, growth = (interpolated(time, steps, path) for path in (right, down, roll, growth))
        # Hands linger and hurry, unlike their particle: kernels of real shake have bright spots.
        pace = normal_table()[rng.levels(9)] * 0.7 * min(params["shake"], 1)
        weight = exp(interpolated(time, np.linspace(0, STEPS, 9), pace))
        weight = np.ones_like(weight) if params["frames"] else weight
        weight /= weight.sum()
        most = math.radians(params["rotation"]), params["zoom"] / 100
        roll, growth = (_ranging(path, end) for path, end in zip((roll, growth), most, strict=True))
        right *= length
        down *= length
        right, down, roll, growth = (path - (weight * path).sum() for path in (right, down, roll, growth))
        return cls(right, down, roll, growth, weight)

    def less(self, share: float) -> _Movement:
        """The movement of what is so far that it makes a share of it alone; a roll has no parallax."""
        return replace(self, right=self.right * share, down=self.down * share, growth=self.growth * share)

    @property
    def turn(self) -> float:
        """How much farther apart two points' ways are at most, over their distance: by the roll or the growth."""
        return float(max(np.ptp(self.roll), np.ptp(self.growth)))

    def kernel(self, x: float, y: float) -> NDArray[np.float64]:
        """The kernel (x, y) px away from the frame's centre, k×k, Σ = 1: every position spread over four pixels."""
        right = self.right - self.roll * y + self.growth * x
        down = self.down + self.roll * x + self.growth * y
        radius = math.ceil(max(np.abs(right).max(), np.abs(down).max()) - 1e-9)
        side, kernel = 2 * radius + 1, np.zeros((2 * radius + 2) ** 2)
        right, down = (np.clip(way + radius, 0, 2 * radius) for way in (right, down))
        left, top = np.floor(right), np.floor(down)
        at = (top * (side + 1) + left).astype(np.intp)
        for below in (0, 1):
            for beside in (0, 1):
                share = (1 - np.abs(top + below - down)) * (1 - np.abs(left + beside - right)) * self.weight
                kernel += np.bincount(at + below * (side + 1) + beside, share, len(kernel))
        return kernel.reshape(side + 1, side + 1)[:side, :side]


def _ranging(path: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """`path`, moved and scaled to run from 0 to `most`."""
    path = path - path.min()
    return np.asarray(path * (most / max(float(path.max()), 1e-9)))


def _shaken(rng: Rng, shake: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A path of length 1 from (0, 0), STEPS + 1 positions in x and in y: Boracchi and Foi's random motion."""
    pull, jerks, tremor = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 10)
    first = rng.uniform(0, 2 * math.pi)
    first_x, first_y = cosine_of(first), sine_of(first)
    anxiety, coarser = 0.005 * shake, 2000 / STEPS
    shocks = (normal_table()[rng.levels(2 * STEPS)] * (anxiety * tremor * math.sqrt(coarser))).tolist()
    jerk, turned = (rng.uniforms(STEPS) < anxiety * jerks * coarser).tolist(), (rng.uniforms(STEPS) - 0.5).tolist()
    back = anxiety * pull * coarser * 60
    x, y, to_x, to_y = 0.0, 0.0, first_x, first_y
    xs, ys = [x], [y]
    for step in range(STEPS):
        to_x += shocks[2 * step] - back * x
        to_y += shocks[2 * step + 1] - back * y
        if jerk[step]:
            c, s = cosine_of(turned[step]), sine_of(turned[step])
            to_x -= 2 * (first_x * c - first_y * s)
            to_y -= 2 * (first_x * s + first_y * c)
        speed = math.sqrt(to_x * to_x + to_y * to_y)
        to_x /= speed
        to_y /= speed
        x += to_x / STEPS
        y += to_y / STEPS
        xs.append(x)
        ys.append(y)
    return np.array(xs), np.array(ys)


def _whole(kernel: NDArray[np.float64]) -> NDArray[np.uint16]:
    """`kernel` in steps of 1/65535 that sum to 1 exactly: the truth map, and what is applied."""
    exact = kernel.ravel() * (WHOLE / kernel.sum())
    steps = np.floor(exact)
    short = WHOLE - int(steps.sum())
    steps[np.argsort(steps - exact, kind="stable")[:short]] += 1
    return np.asarray(steps.astype(np.uint16).reshape(kernel.shape))


def _brighten(light: FloatImage, stops: float) -> None:
    """Make what is nearly white amid darker things up to 2^stops times as bright, in place; H×W×3, linear.

    A file ends at white and a lamp does not. How far it went on is lost, so this is a guess.
    """
    if stops == 0:
        return
    red, green, blue = cv2.split(light)
    luminance = np.multiply(red, LUMINANCE[0])
    for plane, share in zip((green, blue), LUMINANCE[1:], strict=True):
        luminance += np.multiply(plane, share)
    bright = luminance > np.float32(KNEE)  # few, mostly
    if not bright.any():
        return
    side = min(light.shape[:2]) // 16 * 2 + 1
    around = _around(luminance, side)
    white = luminance[bright]
    white -= np.float32(KNEE)
    white *= np.float32(1 / (1 - KNEE))
    np.minimum(white, 1, out=white)
    dark = around[bright]
    dark *= np.float32(-1 / BRIGHT)
    dark += np.float32(1)
    gain = white * white
    gain *= np.clip(dark, 0, 1, out=dark)
    gain *= np.float32(power_of(2, stops) - 1)
    gain += np.float32(1)
    light[bright] *= gain[:, None]


def _around(luminance: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Means over side×side pixels, taken of every so many in either direction that some sixteen fall on a side."""
    step = max(1, side // 16)
    height, width = luminance.shape
    rows, columns = (np.arange(step // 2, length + step // 2, step).clip(0, length - 1) for length in (height, width))
    coarse = means(luminance[rows][:, columns], max(1, side // step // 2 * 2 + 1))
    return stretched(coarse, len(rows) * step, len(columns) * step)[:height, :width].copy()


def _blend(light: FloatImage, movement: _Movement, rows: int, columns: int) -> FloatImage:
    """Each tile's own convolution, faded into its neighbours' from one tile's middle to the next."""
    height, width = light.shape[:2]
    spots = [
        (x - width / 2, y - height / 2, *_hat(i, rows, height), *_hat(j, columns, width))
        for i in range(rows)
        for j in range(columns)
        for y, x in [((i + 0.5) * height / rows, (j + 0.5) * width / columns)]
    ]
    kernels = [_whole(movement.kernel(spot[0], spot[1])) for spot in spots]
    border = max(len(kernel) for kernel in kernels) // 2
    framed, blended = reflected(light, border), np.zeros_like(light)
    for kernel, (_, _, top, fade_y, left, fade_x) in zip(kernels, spots, strict=True):
        bottom, right, inner = top + len(fade_y), left + len(fade_x), border - len(kernel) // 2
        part = framed[top + inner : bottom + 2 * border - inner, left + inner : right + 2 * border - inner]
        blurred = convolve(part, kernel)
        rows_of_levels = blurred.reshape(len(fade_y), -1)  # numpy is slow at three levels at a time
        rows_of_levels *= fade_y[:, None] * np.float32(1 / WHOLE)
        rows_of_levels *= fade_x.repeat(3)
        blended[top:bottom, left:right] += blurred
    return blended


def _hat(index: int, count: int, size: int) -> tuple[int, NDArray[np.float32]]:
    """Where tile `index` of `count` along `size` px begins to be seen, and its share of each px from there on."""
    middle = (np.arange(-1, 2) + index + 0.5) * size / count
    first = max(math.floor(middle[0]), 0) if index else 0
    last = min(math.ceil(middle[2]), size) if index < count - 1 else size
    share = interpolated(np.arange(first, last) + 0.5, middle, [index == 0, 1, index == count - 1])
    return first, share.astype(np.float32)
