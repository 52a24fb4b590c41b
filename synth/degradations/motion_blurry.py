"""`motion-blurry`: the camera shook while the shutter was open."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.convolution import convolve, reflected
from patina.synth.degradation import Knob, Params, Place, Rendered, Rendering, Stage, Values, check_values, draw_value
from patina.synth.image import FloatImage, Image, Map, to_encoded, to_linear
from patina.synth.rng import Rng, normal_table

STEPS = 500
"""Steps of a simulated movement. Boracchi and Foi take 2000; the constants below are theirs, for four at a time."""

LUMINANCE = np.array([[0.2126, 0.7152, 0.0722]], np.float32)
KNEE, BRIGHT = 0.85, 0.3
"""From what luminance light may really have been brighter than white, and what mean of it all around says no."""


@dataclass(frozen=True)
class MotionBlurry(Rendered):
    """lq = k * gt in linear light, highlights included, with a kernel k that a random shake of the camera draws.

    The shake is Boracchi and Foi's (IEEE TIP 21(8), 2012): a particle of constant speed whose heading is disturbed by
    tremor (Gaussian), by sudden jerks that nearly reverse it, and by a pull back to where it started. The shutter
    closes after a share of the movement. A roll around the frame's centre makes the kernel vary over the frame.

    length      px that a point travels over the whole movement, for an image of 512 px short side; 0..300.
    exposure    the share of the movement that the open shutter sees, 0..1.
    shake       0..4: 0 is a straight line, 1 their usual hand, 4 a shiver; the stronger, the closer together the path.
    rotation    degrees between the extremes of the roll while the shutter is open, 0..2. 0: one kernel for all.
    highlights  stops by which what the photograph shows as white was brighter, 0..6, so that lamps and glints leave
                streaks. What is white amid bright things, such as a cloud, is left as it is.

    Truth: `kernel`, the centre's, k×k uint16 with k odd, Σ = 65535 exactly, centroid at its middle within half a pixel,
    drawn as a point of light would draw it. Without roll it is the very kernel that was applied.
    Defaults give GoPro's input on photographs: 25.6 dB. Raises SettingError for a setting out of its range.
    """

    name: ClassVar[str] = "motion-blurry"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "optics"
    truth: ClassVar[tuple[str, ...]] = ("kernel",)
    knob: ClassVar[Knob | None] = Knob("length", 1, 300)

    length: Values = field(default_factory=lambda: {"min": 10, "max": 52})
    exposure: Values = field(default_factory=lambda: {"min": 0.25, "max": 1})
    shake: Values = field(default_factory=lambda: {"min": 0.1, "max": 1})
    rotation: Values = field(default_factory=lambda: {"min": 0, "max": 0.5})
    highlights: Values = field(default_factory=lambda: {"min": 0, "max": 4})

    def __post_init__(self) -> None:
        check_values("length", self.length, 0, 300)
        check_values("exposure", self.exposure, 0, 1)
        check_values("shake", self.shake, 0, 4)
        check_values("rotation", self.rotation, 0, 2)
        check_values("highlights", self.highlights, 0, 6)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`length`, `exposure`, `shake`, `rotation` and `highlights` as above, and the movement's `seed`."""
        return {
            "length": draw_value(rng, self.length),
            "exposure": draw_value(rng, self.exposure),
            "shake": draw_value(rng, self.shake),
            "rotation": draw_value(rng, self.rotation),
            "highlights": draw_value(rng, self.highlights),
            "seed": rng.seed(),
        }

    def render(self, image: FloatImage, params: Params) -> Rendering:
        """H×W×3 float32 sRGB in [0, 1] in and out; truth `kernel`."""
        height, width = image.shape[:2]
        scale = min(height, width) / 512
        movement = _Movement.of(params, scale)
        truth, kernel = _whole(movement.kernel(0j))
        light = to_linear(image)
        _brighten(light, params["highlights"])
        # From one tile to the next the roll moves a point by 4 px more at most; odd counts put a tile in the middle.
        apart = 8 * max(scale, 1)
        rows, columns = (math.ceil(side * movement.turn / apart - 0.05) * 2 + 1 for side in (height, width))
        if rows * columns == 1:
            blurred = convolve(reflected(light, len(kernel) // 2), kernel)
        else:
            blurred = _blend(light, movement, rows, columns)
        return Rendering(to_encoded(blurred), {"kernel": truth})


@dataclass(frozen=True)
class _Movement:
    """Where the image went while the shutter was open, at equal steps along the way.

    shift   px, complex: x + iy with y downwards. roll: radians. weight: the time spent there, Σ = 1.
    Both shift and roll are centred on their mean in time, so that the blurred image stays where the clean one is.
    """

    shift: NDArray[np.complex128]
    roll: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, params: Params, scale: float) -> _Movement:
        """From the drawn parameters; `scale` is the image's short side over 512 px."""
        rng, exposure = Rng(params["seed"]), params["exposure"]
        paths = [_shaken(rng, params["shake"]) for _ in range(2)]
        length = params["length"] * scale
        time = np.linspace(0, exposure * STEPS, 64 + math.ceil(4 * length * exposure))  # a quarter of a pixel at most
        shift, roll = (np.interp(time, np.arange(STEPS + 1), path) for path in paths)
        # Hands linger and hurry, unlike their particle: kernels of real shake have bright spots.
        pace = normal_table()[rng.levels(9)] * 0.7 * min(params["shake"], 1)
        weight = np.exp(np.interp(time, np.linspace(0, STEPS, 9), pace))
        weight /= weight.sum()
        roll = roll.real - roll.real.min()
        roll *= math.radians(params["rotation"]) / max(float(roll.max()), 1e-9)
        shift *= length
        return cls(shift - weight @ shift, roll - weight @ roll, weight)

    @property
    def turn(self) -> float:
        """Radians between the extremes of the roll."""
        return float(np.ptp(self.roll))

    def kernel(self, place: complex) -> NDArray[np.float32]:
        """The kernel `place` away from the frame's centre, px, k×k, Σ = 1: every position spread over four pixels."""
        way = self.shift + 1j * self.roll * place
        radius = math.ceil(max(np.abs(way.real).max(), np.abs(way.imag).max()) - 1e-9)
        side, kernel = 2 * radius + 1, np.zeros((2 * radius + 2) ** 2)
        x, y = way.real + radius, way.imag + radius
        left, top = np.floor(x), np.floor(y)
        at = (top * (side + 1) + left).astype(np.intp)
        for down in (0, 1):
            for right in (0, 1):
                share = (1 - np.abs(top + down - y)) * (1 - np.abs(left + right - x)) * self.weight
                kernel += np.bincount(at + down * (side + 1) + right, share, len(kernel))
        return kernel.reshape(side + 1, side + 1)[:side, :side].astype(np.float32)


def _shaken(rng: Rng, shake: float) -> NDArray[np.complex128]:
    """A path of length 1 from 0, STEPS + 1 complex positions: Boracchi and Foi's random motion."""
    pull, jerks, tremor = rng.uniform(0, 0.7), rng.uniform(0, 0.2), rng.uniform(0, 10)
    first = cmath.rect(1, rng.uniform(0, 2 * math.pi))
    anxiety, coarser = 0.005 * shake, 2000 / STEPS
    shocks = (normal_table()[rng.levels(2 * STEPS)] * (anxiety * tremor * math.sqrt(coarser))).tolist()
    jerk, turned = rng.uniforms(STEPS) < anxiety * jerks * coarser, rng.uniforms(STEPS) - 0.5
    place, heading, path = 0j, first, [0j]
    for step in range(STEPS):
        heading += complex(shocks[2 * step], shocks[2 * step + 1]) - anxiety * pull * coarser * 60 * place
        if jerk[step]:
            heading -= 2 * first * cmath.rect(1, turned[step])
        heading /= abs(heading)
        place += heading / STEPS
        path.append(place)
    return np.array(path)


def _whole(kernel: NDArray[np.float32]) -> tuple[Map, NDArray[np.float32]]:
    """`kernel` in steps of 1/65535 that sum to 1 exactly: as a truth map, and as what is applied."""
    exact = kernel.astype(np.float64).ravel() * (65535 / kernel.sum(dtype=np.float64))
    steps = np.floor(exact)
    short = 65535 - int(steps.sum())
    steps[np.argsort(steps - exact, kind="stable")[:short]] += 1
    truth = steps.astype(np.uint16).reshape(kernel.shape)
    return truth, (truth / 65535).astype(np.float32)


def _brighten(light: FloatImage, stops: float) -> None:
    """Make what is nearly white amid darker things up to 2^stops times as bright, in place; H×W×3, linear.

    A file ends at white and a lamp does not. How far it went on is lost, so this is a guess.
    """
    luminance = cv2.transform(light, LUMINANCE)
    if stops == 0 or luminance.max() <= KNEE:
        return
    white = np.clip((luminance - np.float32(KNEE)) / np.float32(1 - KNEE), 0, 1)
    side = min(light.shape[:2]) // 16 * 2 + 1
    around = cv2.blur(luminance, (side, side), borderType=cv2.BORDER_REFLECT)
    gain = white * white * np.clip(1 - around / np.float32(BRIGHT), 0, 1)
    gain *= np.float32(2**stops - 1)
    gain += np.float32(1)
    cv2.multiply(light, cv2.merge([gain, gain, gain]), dst=light)


def _blend(light: FloatImage, movement: _Movement, rows: int, columns: int) -> FloatImage:
    """Each tile's own convolution, faded into its neighbours' from one tile's middle to the next."""
    height, width = light.shape[:2]
    spots = [
        (complex(x - width / 2, y - height / 2), *_hat(i, rows, height), *_hat(j, columns, width))
        for i in range(rows)
        for j in range(columns)
        for y, x in [((i + 0.5) * height / rows, (j + 0.5) * width / columns)]
    ]
    kernels = [_whole(movement.kernel(spot[0]))[1] for spot in spots]
    border = max(len(kernel) for kernel in kernels) // 2
    framed, blended = reflected(light, border), np.zeros_like(light)
    for kernel, (_, top, fade_y, left, fade_x) in zip(kernels, spots, strict=True):
        bottom, right, inner = top + len(fade_y), left + len(fade_x), border - len(kernel) // 2
        part = framed[top + inner : bottom + 2 * border - inner, left + inner : right + 2 * border - inner]
        blurred = convolve(part, kernel)
        rows_of_levels = blurred.reshape(len(fade_y), -1)  # numpy is slow at three levels at a time
        rows_of_levels *= fade_y[:, None]
        rows_of_levels *= fade_x.repeat(3)
        blended[top:bottom, left:right] += blurred
    return blended


def _hat(index: int, count: int, size: int) -> tuple[int, NDArray[np.float32]]:
    """Where tile `index` of `count` along `size` px begins to be seen, and its share of each px from there on."""
    middle = (np.arange(-1, 2) + index + 0.5) * size / count
    first = max(math.floor(middle[0]), 0) if index else 0
    last = min(math.ceil(middle[2]), size) if index < count - 1 else size
    share = np.interp(np.arange(first, last) + 0.5, middle, [index == 0, 1, index == count - 1])
    return first, share.astype(np.float32)
