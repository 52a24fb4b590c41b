"""How photographs are restored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from patina.pipeline.machine import is_out_of_memory
from patina.training.errors import ModelInputError, RunFailedError
from patina.training.images import Pixels, to_bytes
from patina.training.models.unet import UNet
from patina.training.restore.restorer import Condition, Progress, Restorer
from patina.training.restore.tiles import Tiling

MAX_WHOLE_PIXELS = 1_000_000
"""Pixels up to which a network of one pass gets the whole photograph, unless told otherwise."""

TILE, OVERLAP = 512, 32
"""Tiles of larger ones, and of all by a sampler, px."""

ATTENTION_TILE_MULTIPLES = 32
"""Times a U-Net's multiple: tiles of those with attention. 512 px at the published depth, where the lowest level has
64 x 64 positions; a shallower one has more of them, and attention takes the square of their number."""

SMALLEST_TILE = 64
"""Below it little of a photograph is seen at once, and overlaps cost more than they save. px."""


@dataclass(frozen=True)
class RestoreOptions:
    """How photographs are restored.

    sampler  of `patina.training.diffusion.samplers`, steps: its network calls; empty and 0: as the stage has it.
    tile     side, px; 0: never in tiles; None: whole if it is small, see `MAX_WHOLE_PIXELS`.
    overlap  of tiles, px; None: 32, or less if tiles are small.
    strip    leave EXIF data out. quality: of JPEG, WebP and AVIF files, 1 to 100.
    """

    sampler: str = ""
    steps: int = 0
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    strip: bool = False
    quality: int = 95

    def check(self, restorer: Restorer) -> None:
        """Raise ModelInputError if that cannot be done with this restorer."""
        if not restorer.is_diffusion and (self.sampler or self.steps):
            raise ModelInputError(f"{restorer.stage.name} restores in one pass; leave out the sampler and its steps")
        restorer.calls(self.sampler, self.steps)
        if self.seed < 0:
            raise ModelInputError(f"seed {self.seed}; expected 0 or more")
        if self.tile is not None and 0 < self.tile < SMALLEST_TILE:
            raise ModelInputError(f"tiles of {self.tile} px; expected {SMALLEST_TILE} or more, or 0 for none")
        if not 1 <= self.quality <= 100:
            raise ModelInputError(f"quality {self.quality}; expected 1 to 100")
        self.tiling(MAX_WHOLE_PIXELS, MAX_WHOLE_PIXELS, restorer)

    def tiling(self, height: int, width: int, restorer: Restorer, most: int = 0) -> Tiling:
        """The tiles of a photograph of this size. most: side that memory allows, 0: any."""
        side = self.tile
        if side is None:
            side = (
                0 if not restorer.is_diffusion and height * width <= MAX_WHOLE_PIXELS else default_tile_side(restorer)
            )
        overlap = min(OVERLAP, side // 4) if self.overlap is None else self.overlap
        if most and (side == 0 or side > most):
            side, overlap = most, min(OVERLAP if self.overlap is None else self.overlap, most // 4)
        return Tiling(side, overlap)


def default_tile_side(restorer: Restorer) -> int:
    """Side of the tiles that suit a network, px."""
    net = restorer.net
    if isinstance(net, UNet) and net.settings.image_context is not None:
        return min(TILE, ATTENTION_TILE_MULTIPLES * net.settings.multiple)
    return TILE


class PhotoRestorer:
    """Restores one photograph after the other, and remembers the largest tile that memory allows."""

    def __init__(self, restorer: Restorer, options: RestoreOptions) -> None:
        """Raises ModelInputError for what the restorer cannot do."""
        options.check(restorer)
        self.restorer, self.options = restorer, options
        self._most = 0

    def calls(self, height: int, width: int) -> int:
        """Network calls that a photograph of this size takes."""
        windows = self.options.tiling(height, width, self.restorer, self._most).windows(height, width)
        return len(windows) * self.restorer.calls(self.options.sampler, self.options.steps)

    def restore(self, image: Pixels, progress: Progress | None = None) -> tuple[Pixels, Condition, list[str]]:
        """The restored image, H x W x 3 uint8 as `image` is, what it looked like, and what there is to say.

        Too little memory halves the tiles. Raises RunFailedError where the smallest do not fit,
        NotFiniteError where no picture comes out.
        """
        condition, options = self.restorer.look(image), self.options
        height, width = image.shape[:2]
        notes: list[str] = []
        while True:
            tiling = options.tiling(height, width, self.restorer, self._most)
            try:
                restored = self.restorer.restore(
                    image,
                    condition=condition,
                    seed=options.seed,
                    sampler=options.sampler,
                    steps=options.steps,
                    tiling=tiling,
                    progress=progress,
                )
                return np.ascontiguousarray(to_bytes(restored)), condition, notes
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self._most = self._smaller(min(tiling.side or max(height, width), max(height, width)))
            notes = [f"in tiles of {self._most} px, for lack of memory"]
            if self.restorer.device.type == "cuda":
                torch.cuda.empty_cache()

    def _smaller(self, side: int) -> int:
        half = side // 32 * 16  # whole multiples, so that networks need not pad
        if half < SMALLEST_TILE:
            raise RunFailedError(
                f"too little memory on {self.restorer.device} even for tiles of {side} px; end what else uses it, or "
                "choose another --device"
            )
        return half
