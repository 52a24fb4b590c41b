"""`uncompleted`: an image with a hole to inpaint, of strokes, text, scratches or blocks, or of a user's masks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

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
from patina.synth.elementary import power_of
from patina.synth.holes import SHAPES, hole
from patina.synth.image import Image, Map
from patina.synth.mask_files import MASK_SUFFIXES, read_mask
from patina.synth.rng import Rng

# Hole ratios follow Kumaraswamy's distribution on LEAST..MOST, whose inverse is one line. a and b solve two
# equations, mean = 0.297 and standard deviation = 0.122 (its moments are b·B(1 + n/a, b)): the figures of RePaint's
# hundred thin masks, which DA-CLIP uses. Theirs run from 0.035 to 0.499 with a median of 0.308, these have 0.306.
# Other shapes have the same distribution between bounds of their own.
LEAST, MOST = SHAPES["strokes"].least, SHAPES["strokes"].most
A, B = 1.4381, 1.1273


@dataclass(frozen=True)
class Uncompleted(Degradation):
    """lq = gt where the mask keeps, `fill` in the hole.

    fill        the hole's colour, three levels 0..255, RGB; white as in DA-CLIP (arXiv 2310.01018).
    shapes      what the hole is of, one of them or a list to choose from, with the shares of the image that it covers:
                "strokes", thin and free-form as in RePaint and DA-CLIP (0.035..0.5), "text", lines of letters
                (0.02..0.3), "scratches", with dust, as on old film (0.005..0.12), "blocks" of 16 px (0.035..0.5).
    ratio       share of the image that a shape covers, 0.003..0.95; an empty list draws it from the reference's.
    masks       a folder of mask images to use instead, each stretched to its image; "" for shapes. Of 8 or 16 bits, or
                floats; what lies in the upper half of the range is white (`patina.synth.mask_files`).
    masks_keep  what those masks keep: "white" (RePaint, DA-CLIP: 255 = keep) or "black" (LaMa: 255 = hole).

    Raises SettingError for a setting out of its range and for a folder of masks that cannot be used.
    """

    name: ClassVar[str] = "uncompleted"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "loss"
    truth: ClassVar[tuple[str, ...]] = ("mask",)

    fill: Sequence[int] = (255, 255, 255)
    shapes: str | Sequence[str] = "strokes"
    ratio: Values = ()
    masks: str = field(default="", metadata={"folder": True, "suffixes": MASK_SUFFIXES})
    masks_keep: str = "white"

    @property
    def knob(self) -> Knob | None:  # type: ignore[override]
        """`ratio`; none where masks decide."""
        return None if self.masks else Knob("ratio", 0.003, 0.95)

    def __post_init__(self) -> None:
        fill: Any = self.fill
        levels = list(fill) if isinstance(fill, Sequence) and not isinstance(fill, str) else []
        if len(levels) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in levels):
            raise SettingError(f"fill: expected three whole numbers 0..255 (red, green, blue), found {fill!r}")
        if not isinstance(self.shapes, str | Sequence):
            raise SettingError(f"shapes: expected one or a list of {', '.join(SHAPES)}, found {self.shapes!r}")
        if not self._shapes or any(shape not in SHAPES for shape in self._shapes):
            raise SettingError(f"shapes: expected one or a list of {', '.join(SHAPES)}, found {self.shapes!r}")
        if self._asked:
            check_values("ratio", self.ratio, 0.003, 0.95)
        if self.masks_keep not in ("white", "black"):
            raise SettingError(f'masks_keep: expected "white" or "black", found {self.masks_keep!r}')
        _ = self._files  # a folder that cannot work is found here, before any work starts

    def settings(self) -> dict[str, Any]:
        """As the protocol says, with one digest over all masks for their folder: it may move, a mask may not change."""
        told = "".join(f"{digest}{mask.reading}" for digest, mask in self._files.items())
        digest = hashlib.sha256(told.encode()).hexdigest() if told else ""
        own = {"shapes": self._shapes, "masks": digest, "masks_keep": self.masks_keep}
        ratio = list(self.ratio) if isinstance(self.ratio, Sequence) else self.ratio
        return {"fill": list(self.fill), "ratio": ratio, **own}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`hole_ratio` (0..1), `shape` and a `seed` for it or the `mask`'s sha256 for a file, `masks_keep` and `fill`.

        A shape's ratio is the one aimed at; a file's is that of the mask at its own size.
        """
        params: dict[str, Any] = {"fill": list(self.fill), "masks_keep": self.masks_keep, "mask": "", "seed": ""}
        if self._files:
            params["mask"] = rng.choice(list(self._files))
            return params | {"hole_ratio": self._files[params["mask"]].hole_ratio}
        shape = rng.choice(self._shapes) if len(self._shapes) > 1 else self._shapes[0]
        if self._asked:
            ratio = draw_value(rng, self.ratio)
        else:
            least, most = SHAPES[shape].least, SHAPES[shape].most
            ratio = least + (most - least) * power_of(1 - power_of(1 - rng.uniform(), 1 / B), 1 / A)
        return params | {"hole_ratio": round(ratio, 6), "shape": shape, "seed": rng.seed()}

    def apply(self, image: Image, params: Params) -> Degraded:
        """H×W×3 uint8 RGB in and out; truth `mask` is H×W uint8, 255 = keep and 0 = hole, nothing between.

        Raises SettingError if `params` name a mask file that the folder no longer holds.
        """
        height, width = image.shape[:2]
        if params["mask"]:
            own = self._load(params["mask"], params["masks_keep"])  # two-valued, and nearest neighbour keeps it so
            mask = cv2.resize(own, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
        else:
            shape = params.get("shape", "strokes")  # samples of before there was a choice name none
            mask = hole(shape, height, width, params["hole_ratio"], Rng(params["seed"]))
        lq = np.empty_like(image, order="C")
        # A row at a time: three levels at a time would take longer than all the rest.
        lq.reshape(height, -1)[:] = np.tile(np.array(params["fill"], np.uint8), width)
        cv2.copyTo(image, mask, lq)
        return Degraded(lq, truth={"mask": mask})

    @property
    def _asked(self) -> bool:
        """Whether a ratio was asked for."""
        return not isinstance(self.ratio, Sequence) or len(self.ratio) > 0

    @property
    def _shapes(self) -> list[str]:
        return [self.shapes] if isinstance(self.shapes, str) else list(self.shapes)

    @cached_property
    def _files(self) -> dict[str, _Known]:
        """Every mask by the sha256 of its file, sorted by that: names and order never count."""
        if not self.masks:
            return {}
        folder = Path(self.masks)
        if not folder.is_dir():
            raise SettingError(f"masks: expected a folder of mask images, found no folder at {folder}")
        found = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in MASK_SUFFIXES or path.name.startswith(".") or not path.is_file():
                continue
            file = read_mask(path, self.masks_keep)
            ratio = 1 - cv2.countNonZero(file.mask) / file.mask.size
            if ratio in (0, 1):
                raise SettingError(
                    f"masks: expected a hole and something to keep in every mask, found {path} with "
                    f"{'no hole' if ratio == 0 else 'nothing kept'} at masks_keep = {self.masks_keep!r}, where levels "
                    "from 128 up are white; mend it or remove it"
                )
            found[file.digest] = _Known(path, ratio, file.reading)
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
        path = self._files[digest].path
        file = read_mask(path, keep)
        if file.digest != digest:
            raise SettingError(f"masks: {path} has changed: expected sha256 {digest}, found {file.digest}; start again")
        return file.mask


@dataclass(frozen=True)
class _Known:
    """A mask file: where it lies, its share of hole at its own size, and its `MaskFile.reading`."""

    path: Path
    hole_ratio: float
    reading: str
