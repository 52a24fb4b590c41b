"""Measures of form: known answers on pictures whose damage is known."""

import math

import cv2
import numpy as np
import pytest

from patina.synth.form import (
    blobs,
    changed,
    flat_noise,
    lean,
    line_fit,
    local_contrast,
    mean_change,
    psnr_y,
    shade,
)
from patina.synth.image import Image, to_encoded_levels, to_linear
from tests.synth.pictures import cut, flat, photo


def levels(values: np.ndarray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def test_an_even_veil_is_one_line_and_keeps_its_share_of_contrast() -> None:
    for t in (0.3, 0.6, 1.0):
        hazy = levels(photo() * t + 200 * (1 - t))
        assert line_fit(photo(), hazy) > 0.999
        assert local_contrast(photo(), hazy) == pytest.approx(t, abs=0.02)


def test_a_line_explains_half_of_two() -> None:
    """Two halves of the same picture, one inverted: no slope at all fits."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))[..., None].repeat(3, 2)
    turned = ramp.copy()
    turned[32:] = 255 - turned[32:]
    assert line_fit(ramp, turned) == pytest.approx(0, abs=1e-9)
    assert line_fit(ramp, ramp) == 1 and line_fit(ramp, flat(64, 256, 9)) == 1 and line_fit(flat(64, 256, 9), ramp) == 0


def test_brightness_and_share_of_changed_pixels() -> None:
    gt = flat(40, 50, 100)
    lq = gt.copy()
    lq[:10] = 140
    lq[10:20] = 107  # seven levels are not seen
    assert changed(gt, lq) == 0.25
    assert mean_change(gt, lq) == pytest.approx(40 / 4 + 7 / 4)


def test_luma_is_the_papers() -> None:
    """Grey that is n levels brighter has 219/255 of it in luma: 1.32 dB more than RGB has."""
    gt, lq = flat(32, 32, 100), flat(32, 32, 110)
    rgb = 10 * math.log10(255**2 / 100)
    assert psnr_y(gt, lq) == pytest.approx(rgb + 20 * math.log10(255 / 219), abs=1e-4)
    assert psnr_y(gt, gt) == 100


@pytest.mark.parametrize("gain", [1, 5])
def test_white_noise_of_a_flat_picture_is_found_after_brightening(gain: int) -> None:
    rng = np.random.default_rng(0)
    gt = levels(np.full((200, 300, 3), 120) + 20 * np.sin(np.arange(300) / 40)[:, None])
    grey = rng.normal(0, 6, (200, 300, 1)) / gain
    found = flat_noise(gt, levels(gt / gain + grey))
    assert found.luma == pytest.approx(6, rel=0.15 if gain == 1 else 0.3)
    assert found.correlation == pytest.approx(0, abs=0.03)
    coloured = flat_noise(gt, levels(gt / gain + rng.normal(0, 6, (200, 300, 3)) / gain))
    # Luma of three independent ones: √(0.299² + 0.587² + 0.114²) = 0.669 of one.
    assert coloured.luma == pytest.approx(0.669 * 6, rel=0.2 if gain == 1 else 0.4)
    assert coloured.chroma > 2 * found.chroma


def test_blurred_noise_is_correlated() -> None:
    rng = np.random.default_rng(0)
    gt, noise = flat(200, 300, 120), rng.normal(0, 20, (200, 300)).astype(np.float32)
    blurred = cv2.filter2D(noise, -1, np.full((2, 2), 0.25, np.float32))  # neighbours share half: 0.5
    assert flat_noise(gt, levels(gt + blurred[..., None])).correlation == pytest.approx(0.5, abs=0.07)
    assert flat_noise(gt, gt).luma == 0


def test_blobs_are_counted_and_measured() -> None:
    gt, lq = flat(321, 481, 60), flat(321, 481, 60).copy()
    for i in range(20):
        cv2.circle(lq, (20 + 22 * i, 100), 3 if i < 15 else 8, (200, 200, 200), -1)
    lq[200, 200:203] = 200  # three pixels are none
    lq[250:260, 100:110] = 70  # ten levels are none
    found = blobs(gt, lq)
    assert found.count == 20
    assert found.median == pytest.approx(6.5, abs=0.8) and found.ninetieth == pytest.approx(16.5, abs=1.2)
    assert blobs(gt, gt).count == 0
    assert blobs(cut(642, 962), levels(cut(642, 962) + 0.0)).count == 0


@pytest.mark.parametrize("degrees", [-30, -10, 0, 12, 40])
def test_streaks_lean_as_drawn(degrees: float) -> None:
    gt, lq = flat(300, 400, 60), flat(300, 400, 60).copy()
    across = 100 * math.tan(math.radians(degrees))
    for x in range(-100, 500, 35):
        for y in (20, 160):
            cv2.line(lq, (x, y), (round(x + across), y + 100), (180, 180, 180), 2, cv2.LINE_AA)
    assert lean(gt, lq) == pytest.approx(degrees, abs=3)
    assert lean(gt, gt) == 0


def test_a_shade_is_what_is_left_of_the_light() -> None:
    gt = np.maximum(photo(), 60)
    light = to_linear(gt)
    dark = light * np.array([0.15, 0.2, 0.3], np.float32)
    half = light.copy()
    half[:300] = dark[:300]
    found = shade(gt, to_encoded_levels(half))
    assert found.green == pytest.approx(0.2, abs=0.01) and found.blue_over_red == pytest.approx(2, abs=0.06)
    assert shade(gt, gt).green == 1
