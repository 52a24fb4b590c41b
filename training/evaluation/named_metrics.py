"""Metrics of pyiqa by their names: `niqe`, `musiq`, `maniqa`, `dists` and what else that library lists.

They come with the extra `metrics` and are asked for one by one, since most fetch a network of their own. Where one
needs no clean image, it looks at the restored picture alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patina.pipeline.text import nearest
from patina.training.errors import ModelInputError, StageError
from patina.training.evaluation.metrics import UnavailableMetricError
from patina.training.images import Pixels

OF_SETS = ("fid", "inception_score")
"""What pyiqa measures of whole folders and not of pictures; `--fid` is patina's own."""


class NamedMetric:
    """One metric of pyiqa.

    name            as `pyiqa.list_models()` has it.
    lower_is_better as pyiqa says. with_gt: whether it compares with the clean image.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        """Raises UnavailableMetricError where the library, or the weights of that metric, cannot be had; StageError
        for a name that pyiqa does not know, and for a metric of whole sets."""
        try:
            pyiqa = import_module("pyiqa")
        except ImportError as error:
            raise UnavailableMetricError(
                f"the library pyiqa is not installed ({error}); pip install 'patina-ir[metrics]'"
            ) from None
        if name in OF_SETS:
            raise StageError(f"metric {name}: it measures sets, expected one of pictures; for FID use --fid")
        known = list(pyiqa.list_models())
        if name not in known:
            raise StageError(f"pyiqa has no metric {name!r}; {nearest(name, known)}")
        try:
            metric: Any = pyiqa.create_metric(name, as_loss=False, device=torch.device(device))
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnavailableMetricError(f"pyiqa cannot make it ({reason}); go online once for its weights") from None
        self.name, self._metric, self._device = name, metric, device
        self.lower_is_better = bool(metric.lower_better)
        self.with_gt = metric.metric_mode == "FR"

    @torch.no_grad()
    def __call__(self, image: Tensor, gt: Pixels) -> float:
        """The metric of one picture. image: 3 x H x W, about [0, 1], RGB; gt: H x W x 3 uint8.

        Pictures are clipped to [0, 1] first, as a file would be. Raises ModelInputError for what it cannot measure.
        """
        shown = image.float().clamp(0, 1)[None].to(self._device)
        clean = torch.from_numpy(gt.transpose(2, 0, 1) / np.float32(255))[None].to(self._device)
        try:
            found = float(self._metric(shown, clean) if self.with_gt else self._metric(shown))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # such as a picture that is too small
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelInputError(f"{self.name} cannot measure {gt.shape[1]} x {gt.shape[0]} px ({reason})") from error
        if not math.isfinite(found):
            raise ModelInputError(f"{self.name} of {gt.shape[1]} x {gt.shape[0]} px is {found}, no number")
        return found


def expect_distinct(names: Sequence[str]) -> None:
    """Raises StageError for a metric that is asked for twice, or that patina measures itself."""
    own = {"psnr", "ssim", "psnry", "ssimc", "lpips"}
    for i, name in enumerate(names):
        if name in names[:i]:
            raise StageError(f"metric {name}: asked for twice; name it once")
        if name in own:
            raise StageError(f"metric {name}: patina measures it anyway, as the papers do; leave it out")
