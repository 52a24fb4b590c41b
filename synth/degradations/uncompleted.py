"""`uncompleted`: an image with a hole to inpaint, of thin free-form strokes or of a user's masks."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from synth.degradation import Degradation, Degraded, Params, Place, SettingError, Stage
from synth.image import Image, Map
from synth.rng import Rng

KEEP, HOLE = 255, 0
MASK_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

# Hole ratios follow Kumaraswamy's distribution on LEAST..MOST, whose inverse is one line. a and b solve two
# equations, mean = 0.297 and standard deviation = 0.122 (its moments are b·B(1 + n/a, b)): the figures of RePaint's
# hundred thin masks, which DA-CLIP uses. Theirs run from 0.035 to 0.499 with a median of 0.308, these have 0.306.
LEAST, MOST = 0.035, 0.5
A, B = 1.4381, 1.1273

# Strokes at 256 px, after LaMa's thin masks (arXiv 2109.07161): lengths and widths in pixels, turns in radians.
LENGTH, WIDTH, TURN, SEGMENTS = (10.0, 40.0), (4.0, 10.0), 2.5, (4, 12)


@dataclass(frozen=True)
class Uncompleted(Degradation):
    """lq = gt where the mask keeps, `fill` in the hole.

    fill        the hole's colour, three levels 0..255, RGB; white as in DA-CLIP (arXiv 2310.01018).
    masks       a folder of mask images to use instead of strokes, each stretched to its image; "" for strokes.
    masks_keep  what those masks keep: "white" (RePaint, DA-CLIP: 255 = keep) or "black" (LaMa: 255 = hole).

    Raises SettingError for a setting out of its range and for a folder of masks that cannot be used.
    """

    name: ClassVar[str] = "uncompleted"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "loss"
    truth: ClassVar[tuple[str, ...]] = ("mask",)

    fill: Sequence[int] = (255, 255, 255)
    masks: str = field(default="", metadata={"folder": True})
    masks_keep: str = "white"

    def __post_init__(self) -> None:
        fill: Any = self.fill
        levels = list(fill) if isinstance(fill, Sequence) and not isinstance(fill, str) else []
        if len(levels) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in levels):
            raise SettingError(f"fill: expected three whole numbers 0..255 (red, green, blue), found {fill!r}")
        if self.masks_keep not in ("white", "black"):
            raise SettingError(f'masks_keep: expected "white" or "black", found {self.masks_keep!r}')
        _ = self._files  # a folder that cannot work is found here, before any work starts

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with one digest over all masks for their folder: it may move, a mask may not change."""
        digest = hashlib.sha256("".join(self._files).encode()).hexdigest() if self._files else ""
        return {"fill": list(self.fill), "masks": digest, "masks_keep": self.masks_keep}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`hole_ratio` (0..1) and a `seed` for strokes or the `mask`'s sha256 for a file, `masks_keep` and `fill`.

        A stroke's ratio is the one aimed at; a file's is that of the mask at its own size.
        """
        params: dict[str, Any] = {"fill": list(self.fill), "masks_keep": self.masks_keep, "mask": "", "seed": ""}
        if self._files:
            params["mask"] = rng.choice(list(self._files))
            return params | {"hole_ratio": self._files[params["mask"]][1]}
        ratio = LEAST + (MOST - LEAST) * (1 - (1 - rng.uniform()) ** (1 / B)) ** (1 / A)
        # Rounded, because the last digit of a power is another machine's other digit.
        return params | {"hole_ratio": round(ratio, 6), "seed": rng.seed()}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out; truth `mask` is H×W uint8, 255 = keep and 0 = hole, nothing between.

        Raises SettingError if `params` name a mask file that the folder no longer holds.
        """
        height, width = image.shape[:2]
        if params["mask"]:
            own = self._load(params["mask"], params["masks_keep"])  # two-valued, and nearest neighbour keeps it so
            mask = cv2.resize(own, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
        else:
            mask = _strokes(height, width, params["hole_ratio"], Rng(params["seed"]))
        lq = np.empty_like(image, order="C")
        # A row at a time: three levels at a time would take longer than all the rest.
        lq.reshape(height, -1)[:] = np.tile(np.array(params["fill"], np.uint8), width)
        cv2.copyTo(image, mask, lq)
        return Degraded(lq, truth={"mask": mask})

    @cached_property
    def _files(self) -> dict[str, tuple[Path, float]]:
        """Path and hole ratio of every mask by the sha256 of its file, sorted by that: names and order never count."""
        if not self.masks:
            return {}
        folder = Path(self.masks)
        if not folder.is_dir():
            raise SettingError(f"masks: expected a folder of mask images, found no folder at {folder}")
        found = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in MASK_SUFFIXES or path.name.startswith(".") or not path.is_file():
                continue
            digest, mask = _read_mask(path, self.masks_keep)
            ratio = 1 - cv2.countNonZero(mask) / mask.size
            if ratio in (0, 1):
                raise SettingError(
                    f"masks: expected a hole and something to keep in every mask, found {path} with "
                    f"{'no hole' if ratio == 0 else 'nothing kept'} at masks_keep = {self.masks_keep!r}, where levels "
                    "from 128 up are white; mend it or remove it"
                )
            found[digest] = (path, ratio)
        if not found:
            kinds = ", ".join(sorted(MASK_SUFFIXES))
            raise SettingError(
                f"masks: expected mask images ({kinds}) in {folder}, found none; add some or unset masks"
            )
        return dict(sorted(found.items()))

    def _load(self, digest: str, keep: str) -> Map:
        """The mask whose file has this sha256, at its own size."""
        if digest not in self._files:
            where = f"{len(self._files)} others in {self.masks}" if self.masks else "no folder: masks is not set"
            raise SettingError(f"masks: expected a file of sha256 {digest}, found {where}; put that file back")
        path = self._files[digest][0]
        found, mask = _read_mask(path, keep)
        if found != digest:
            raise SettingError(f"masks: {path} has changed: expected sha256 {digest}, found {found}; start again")
        return mask


def _read_mask(path: Path, keep: str) -> tuple[str, Map]:
    """A mask file's sha256, and the mask as H×W uint8, 255 = keep and 0 = hole, cut at level 128."""
    try:
        data = path.read_bytes()
        with PIL.Image.open(io.BytesIO(data)) as picture:  # unlike OpenCV, refuses a file that ends too early
            white = np.asarray(picture.convert("L")) >= 128
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise SettingError(f"masks: expected an image at {path}, found {error}; put a whole one there") from error
    return hashlib.sha256(data).hexdigest(), np.where(white == (keep == "white"), np.uint8(KEEP), np.uint8(HOLE))


def _strokes(height: int, width: int, hole_ratio: float, rng: Rng) -> Map:
    """Chains of strokes until the hole has its size; the last chain ends at the stroke that reaches it."""
    mask, before = np.full((2, height, width), KEEP, np.uint8)
    most_kept = (1 - hole_ratio) * mask.size
    for points, thickness in _chains(height, width, rng):
        np.copyto(before, mask)
        cv2.polylines(mask, [points], False, HOLE, thickness)
        if cv2.countNonZero(mask) <= most_kept:
            break
    for end in range(2, len(points) + 1):
        np.copyto(mask, before)
        cv2.polylines(mask, [points[:end]], False, HOLE, thickness)
        if cv2.countNonZero(mask) <= most_kept:
            break
    return mask.copy()  # of its own, so that it does not keep `before` alive


def _chains(height: int, width: int, rng: Rng) -> Iterator[tuple[NDArray[np.int32], int]]:
    """Endless chains: corners as V×2 (x, y) in pixels, some of them outside the image, and a thickness in pixels."""
    scale = math.sqrt(height * width) / 256
    most = SEGMENTS[1]
    while True:
        chance = iter(rng.uniforms(4 + 2 * most).tolist())
        x, y = next(chance) * width, next(chance) * height
        thickness = max(1, round(_between(WIDTH, next(chance)) * scale))
        segments = SEGMENTS[0] + int(next(chance) * (most - SEGMENTS[0] + 1))
        heading, points = 0.0, [(round(x), round(y))]
        for i in range(segments):
            turn = math.pi if i == 0 else TURN
            heading += turn * (2 * next(chance) - 1)
            length = max(1.0, _between(LENGTH, next(chance)) * scale)
            x, y = x + length * math.cos(heading), y + length * math.sin(heading)
            points.append((round(x), round(y)))
        yield np.array(points, np.int32), thickness


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * share
