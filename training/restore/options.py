"""How photographs are restored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from patina.pipeline.machine import is_out_of_memory
from patina.training.errors import ModelInputError, RunFailedError
from patina.training.images import Pixels, to_bytes
from patina.training.models.unet import UNet
from patina.training.restore.restorer import Condition, Precision, Progress, Restorer, check_precision
from patina.training.restore.symmetries import SYMMETRIES, mean_of_symmetries
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
    degradations  that a photograph bears, in place of what the CLIP sees; empty: what it sees.
    passes   how often a photograph is restored at the most: each pass is told of the likeliest degradation alone. It
             ends before where the CLIP calls the picture clean, or names one for the second time.
    ensemble the mean over the eight symmetries of the square, for eight times the network calls.
    precision  "bf16": faster, with less memory, where the processor has bfloat16; the result differs a little.
    strip    leave EXIF data out. quality: of JPEG, WebP and AVIF files, 1 to 100.
    """

    sampler: str = ""
    steps: int = 0
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    degradations: tuple[str, ...] = ()
    passes: int = 1
    ensemble: bool = False
    precision: Precision = "fp32"
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
        if self.passes < 1:
            raise ModelInputError(f"passes {self.passes}; expected 1 or more")
        if self.passes > 1 and self.degradations:
            raise ModelInputError(
                "--passes and --degradation: the passes follow what the CLIP sees; leave one of them out"
            )
        if self.passes > 1 and not restorer.degradations:
            raise ModelInputError(f"{restorer.stage.name} has no CLIP that names degradations; leave out --passes")
        if self.degradations:
            restorer.expect_known(self.degradations)
        check_precision(self.precision)
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
        """Network calls that a photograph of this size takes at the most."""
        windows = self.options.tiling(height, width, self.restorer, self._most).windows(height, width)
        once = len(windows) * self.restorer.calls(self.options.sampler, self.options.steps)
        return once * self.options.passes * (SYMMETRIES if self.options.ensemble else 1)

    def restore(self, image: Pixels, progress: Progress | None = None) -> tuple[Pixels, Condition, list[str]]:
        """The restored image, H x W x 3 uint8 as `image` is, what it looked like, and what there is to say.

        A picture that the CLIP calls clean is left as it is, unless its degradations are given. Too little memory
        halves the tiles. Raises RunFailedError where the smallest do not fit, NotFiniteError where no picture comes
        out.
        """
        options, restorer = self.options, self.restorer
        found = restorer.look(image)
        notes: list[str] = []
        if restorer.is_grey and not np.array_equal(image, image[..., :1].repeat(3, axis=2)):
            notes.append("restored in grey, as the network knows no colours")
        if options.degradations:
            found = restorer.told(found, options.degradations)
        elif found.is_clean:
            return image.copy(), found, ["looks clean, so it is left as it is; --degradation restores it all the same"]
        if options.passes == 1:
            return self._restored(image, found, notes, progress), found, notes
        return self._in_passes(image, found, notes, progress), found, notes

    def _in_passes(self, image: Pixels, condition: Condition, notes: list[str], progress: Progress | None) -> Pixels:
        """The picture after the passes that it needs, `options.passes` at the most: the strongest degradation first."""
        told: list[str] = []
        height, width = image.shape[:2]
        each = self.calls(height, width) // self.options.passes
        while len(told) < self.options.passes:
            strongest = next(iter(condition.degradations))
            if condition.is_clean or strongest in told:
                break
            part = None if progress is None else _part(progress, len(told) * each, self.options.passes * each)
            image = self._restored(image, self.restorer.told(condition, [strongest]), notes, part)
            told.append(strongest)
            condition = self.restorer.look(image)
        notes.append(f"in {len(told)} {'pass' if len(told) == 1 else 'passes'}: {', '.join(told)}")
        return image

    def _restored(self, image: Pixels, condition: Condition, notes: list[str], progress: Progress | None) -> Pixels:
        """The picture after one pass, in tiles that memory allows."""
        height, width = image.shape[:2]
        while True:
            tiling = self.options.tiling(height, width, self.restorer, self._most)
            try:
                return np.ascontiguousarray(to_bytes(self._once(image, condition, tiling, progress)))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            self._most = self._smaller(min(tiling.side or max(height, width), max(height, width)))
            notes[:] = [note for note in notes if not note.endswith(LACK)]
            notes.append(f"in tiles of {self._most} px, {LACK}")
            if self.restorer.device.type == "cuda":
                torch.cuda.empty_cache()

    def _once(self, image: Pixels, condition: Condition, tiling: Tiling, progress: Progress | None) -> torch.Tensor:
        """3 x H x W floats: one pass, over the eight symmetries where they are asked for."""
        options = self.options

        def restored(photo: Pixels, progress: Progress | None) -> torch.Tensor:
            return self.restorer.restore(
                photo,
                condition=condition,
                seed=options.seed,
                sampler=options.sampler,
                steps=options.steps,
                tiling=tiling,
                precision=options.precision,
                progress=progress,
            )

        if not options.ensemble:
            return restored(image, progress)
        each = self.restorer.calls(options.sampler, options.steps) * len(tiling.windows(*image.shape[:2]))

        def one_of_eight(photo: Pixels, number: int) -> torch.Tensor:
            return restored(photo, None if progress is None else _part(progress, number * each, SYMMETRIES * each))

        return mean_of_symmetries(one_of_eight, image)

    def _smaller(self, side: int) -> int:
        half = side // 32 * 16  # whole multiples, so that networks need not pad
        if half < SMALLEST_TILE:
            raise RunFailedError(
                f"too little memory on {self.restorer.device} even for tiles of {side} px; end what else uses it, or "
                "choose another --device"
            )
        return half


LACK = "for lack of memory"


def _part(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part of the calls, as that of all of them."""
    return lambda done, _: progress(before + done, total)
