"""Severity: known answers, one scale for all, and words in equal fifths."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from patina.synth.degradations.jpeg_compressed import JpegCompressed
from patina.synth.degradations.noisy import Noisy
from patina.synth.rng import Rng
from patina.synth.severity import LEVELS, Reference, at_clip_size, band_of, level_of, measure
from patina.synth.strips import watched
from tests.synth.pictures import flat, photo


def test_nothing_done_measures_nothing() -> None:
    measured = measure(photo(), photo())
    assert (measured.psnr, measured.structure, measured.residual_std, measured.score) == (100.0, 1.0, 0.0, 0.0)
    assert measured.level == "slight"


@pytest.mark.parametrize("difference", [1, 5, 100])
def test_a_constant_difference(difference: int) -> None:
    dark, light = flat(40, 56, 20), flat(40, 56, 20 + difference)
    measured = measure(dark, light)
    assert measured.psnr == pytest.approx(20 * math.log10(255 / difference), abs=1e-4)
    assert (measured.residual_mean, measured.residual_std) == (difference, 0.0)
    assert measure(light, dark).residual_mean == -difference
    c1 = (0.01 * 255) ** 2  # flat images differ in the luminance term alone
    x, y = 20.0, 20.0 + difference
    assert measured.structure == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1), abs=1e-4)


def test_structure_is_scikit_images_where_windows_are_alike() -> None:
    """Its uniform windows are of odd size and ours of 8, so the two agree closely and not exactly."""
    from skimage.metrics import structural_similarity

    image = photo()[:256, :256].copy()
    noisy = Noisy(sigma=25)
    lq = noisy.apply(image, noisy.draw(Rng("1"), image)).image
    grey = [cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (image, lq)]
    theirs = structural_similarity(*grey, win_size=7, use_sample_covariance=False)
    assert measure(image, lq).structure == pytest.approx(theirs, abs=0.03)


def test_more_is_more_and_types_share_the_scale() -> None:
    image = photo()

    def score(degradation: Noisy | JpegCompressed) -> float:
        return measure(image, degradation.apply(image, degradation.draw(Rng("1"), image)).image).score

    noise = [score(Noisy(sigma=s)) for s in (2, 15, 25, 50, 100)]
    blocks = [score(JpegCompressed(quality=q)) for q in (95, 50, 20, 10, 2)]
    assert noise == sorted(noise)
    assert blocks == sorted(blocks)
    assert noise[0] < blocks[3] < noise[3]  # quality 10 is worse than a trace of noise, and far from σ = 50


def test_noise_fades_at_clips_size_and_darkness_stays() -> None:
    image = np.tile(photo(), (2, 2, 1))
    noisy = Noisy(sigma=50)
    lq = noisy.apply(image, noisy.draw(Rng("1"), image)).image
    dark = (image // 4).astype(np.uint8)
    small = at_clip_size(image)
    assert min(small.shape[:2]) == 224
    assert measure(small, at_clip_size(lq)).score < 0.8 * measure(image, lq).score
    assert measure(small, at_clip_size(dark)).score == pytest.approx(measure(image, dark).score, abs=5)


def test_a_small_image_is_not_enlarged() -> None:
    assert at_clip_size(flat(16, 501, 9)).shape == (16, 501, 3)


def test_words_are_equal_fifths() -> None:
    assert [level_of(score) for score in (0, 19.9, 20, 45, 61, 80, 100)] == [
        *("slight", "slight", "mild", "moderate", "severe", "extreme", "extreme")
    ]
    assert [band_of(level) for level in LEVELS] == [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100)]
    assert band_of("mild..severe") == (20, 80)
    for wrong in ("severe..mild", "bad", "mild...severe", ""):
        with pytest.raises(ValueError, match=r"expected one of slight, .*found"):
            band_of(wrong)


def test_a_stop_is_heard_between_the_two_sizes() -> None:
    asked: list[float] = []
    reference = Reference(photo())
    with watched(asked.append):
        reference.measure(photo())
        assert len(asked) == 1
        reference.at_clip_size.measure(at_clip_size(photo()))
    assert len(asked) == 2
