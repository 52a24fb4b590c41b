"""The truth kernel as others use it: torch's conv2d and OpenCV's filter2D, which correlate, and deepinv's Blur."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from patina.synth.degradations.motion_blurry import MotionBlurry
from patina.synth.image import FloatImage, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import photo

EVEN = {"rotation": 0, "highlights": 0, "length": 150, "exposure": 1}
"""One kernel for the whole frame."""

CLOSE = 2e-4
"""Of linear light: what is convolved has twelve bits."""


def blurred(**settings: Any) -> tuple[FloatImage, FloatImage, FloatImage]:
    """Linear light of GT and of LQ before it is quantised, and the kernel, Σ = 1; H×W×3 and k×k float32."""
    fields = MotionBlurry.__dataclass_fields__
    degradation = MotionBlurry(**{**EVEN, **({"zoom": 0} if "zoom" in fields else {}), **settings})
    gt = np.minimum(photo()[60:220, 150:350], 230)
    params = degradation.draw(Rng("2b"), gt)
    kernel = degradation.apply(gt, params).truth["kernel"].astype(np.float32) / 65535
    assert not np.allclose(kernel, kernel[::-1, ::-1], atol=0.01), "a kernel that is its own mirror image shows nothing"
    return to_linear(gt), degradation.render(to_float(gt), params).pixels, kernel


def inner(image: Any, kernel: FloatImage) -> Any:
    """What no border reaches."""
    border = len(kernel) // 2
    return image[border:-border, border:-border]


def test_flipped_it_is_what_conv2d_and_filter2d_take() -> None:
    gt, lq, kernel = blurred()
    for turned, close in ((np.ascontiguousarray(kernel[::-1, ::-1]), True), (kernel, False)):
        weights = torch.from_numpy(turned.copy()).expand(3, 1, *kernel.shape)
        planes = torch.nn.functional.conv2d(torch.from_numpy(gt.transpose(2, 0, 1).copy())[None], weights, groups=3)
        by_torch = planes[0].permute(1, 2, 0).numpy()
        by_opencv = inner(cv2.filter2D(gt, -1, turned), kernel)
        for found in (by_torch, by_opencv):
            away = np.abs(found - inner(lq, kernel)).max()
            assert (away < CLOSE) == close and (close or away > 20 * CLOSE)


def test_in_levels_or_before_the_highlights_it_is_not_what_was_applied() -> None:
    gt, lq, kernel = blurred()
    turned = np.ascontiguousarray(kernel[::-1, ::-1])
    levels = np.where(gt <= 0.0031308, 12.92 * gt, 1.055 * np.maximum(gt, 1e-9) ** (1 / 2.4) - 0.055).astype(np.float32)
    encoded = np.where(lq <= 0.0031308, 12.92 * lq, 1.055 * np.maximum(lq, 1e-9) ** (1 / 2.4) - 0.055)
    assert np.abs(inner(cv2.filter2D(levels, -1, turned) - encoded, kernel)).max() > 0.02


def test_deepinvs_blur_takes_it_as_it_is() -> None:
    physics = pytest.importorskip("deepinv.physics", reason="deepinv is no dependency; docs/figures.md has the command")
    gt, lq, kernel = blurred()
    blur = physics.Blur(filter=torch.from_numpy(kernel)[None, None], padding="reflect")
    found = blur(torch.from_numpy(gt.transpose(2, 0, 1).copy())[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(inner(found - lq, kernel)).max() < CLOSE
