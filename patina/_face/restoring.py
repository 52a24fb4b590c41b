"""A trained restorer, on photographs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import PIL.Image

from patina._face.arguments import AnyPath, photo_of
from patina.synth.image import Image
from patina.training.restore.load import load_model
from patina.training.restore.options import PhotoRestorer, RestoreOptions


class Restorer:
    """A trained model that restores photographs. `Restorer.load` makes one.

    Examples:
        >>> import numpy as np, patina
        >>> restorer = patina.Restorer.load("RUN", device="cpu")
        >>> photo = np.full((48, 64, 3), 120, np.uint8)
        >>> restored, found = restorer.restore(photo)
        >>> restored.shape, restored.dtype
        ((48, 64, 3), dtype('uint8'))
        >>> sorted(found)
        ['jpeg-compressed', 'low-light', 'noisy']
    """

    def __init__(self, worker: PhotoRestorer) -> None:
        self._worker = worker

    @classmethod
    def load(
        cls,
        path: AnyPath,
        *,
        device: str = "",
        stage: str = "",
        steering: AnyPath | None = None,
        sampler: str = "",
        steps: int = 0,
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        sde: str = "",
        degradations: Sequence[str] = (),
        passes: int = 1,
        ensemble: bool = False,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> Restorer:
        """Load a restorer.

        Args:
            path: A run's folder, the folder of a stage in it, a model.safetensors, or a published .pth, .pt or .ckpt
                file.
            device: The device, such as "cuda:0" or "cpu"; empty: a GPU if there is one, else the CPU.
            stage: The stage of a run with several restorers; empty: the last one finished.
            steering: The published file that steers a published restorer, such as daclip_ViT-B-32.pt.
            sampler: The sampler of a diffusion model; empty: the one that it was validated with.
            steps: How often the sampler calls the network; 0: its own number.
            seed: The seed of a diffusion model's noise.
            tile: The side of the tiles that photographs are restored in, px; 0: never in tiles; None: as suits the
                model.
            overlap: By how many px two tiles overlap; None: as suits the model.
            sde: The equation that a published diffusion model was trained with, such as "max_sigma=10,T=100"; it is
                remembered beside the file.
            degradations: Degradations that the photographs bear, such as ["rainy"], whatever the CLIP sees.
            passes: How often a photograph is restored at the most, each time from its likeliest degradation.
            ensemble: Whether to average over the eight turns and mirrorings, for eight times the work.
            precision: What the network computes in. "bf16" is faster and needs less memory where the processor has it,
                and the result differs a little.

        Raises:
            CheckpointError, StageError, ModelInputError: ValueErrors: the model cannot be loaded, or cannot be combined
                with what was asked for.
        """
        restorer = load_model(
            Path(path), steering=None if steering is None else Path(steering), stage=stage, sde=sde, device=device
        )
        options = RestoreOptions(
            sampler=sampler,
            steps=steps,
            seed=seed,
            tile=tile,
            overlap=overlap,
            degradations=tuple(degradations),
            passes=passes,
            ensemble=ensemble,
            precision=precision,
        )
        return cls(PhotoRestorer(restorer, options))

    @overload
    def restore(self, photo: Image) -> tuple[Image, dict[str, float]]: ...
    @overload
    def restore(self, photo: PIL.Image.Image) -> tuple[PIL.Image.Image, dict[str, float]]: ...
    def restore(self, photo: Image | PIL.Image.Image) -> tuple[Image | PIL.Image.Image, dict[str, float]]:
        """The restored photograph, and how much it looked like each degradation.

        Args:
            photo: H×W×3 uint8 RGB of any size from 16 px, or an upright Pillow image of mode RGB or L. It is not
                changed.

        Returns:
            An array for an array and a Pillow image for a Pillow image, of the same size and mode; and a table from
            each known degradation to its probability, 0 to 1, the likeliest first: empty for models that no CLIP
            steers. The same model and seed give the same result whatever was restored before, unless memory asks for
            smaller tiles.

        Raises:
            TypeError, ValueError: The photograph is of another kind.
            TrainingError: A RuntimeError: there is too little memory, or the model's numbers are not finite, which are
                no picture.
        """
        restored, condition, _ = self._worker.restore(photo_of(photo))
        if isinstance(photo, PIL.Image.Image):
            return PIL.Image.fromarray(restored).convert(photo.mode), dict(condition.degradations)
        return restored, dict(condition.degradations)
