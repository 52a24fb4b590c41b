"""The figures of papers: PSNR and SSIM over RGB and luma, against scikit-image and what the evaluation measures."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import metrics
from skimage.color import rgb2ycbcr

from patina.synth import figures as module
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import Figures, figures, luma
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.strips import watched
from patina.training.evaluation.metrics import ssim_gaussian
from tests.synth.pictures import cut, flat, photo

theirs_psnr: Any = metrics.peak_signal_noise_ratio
theirs_ssim: Any = metrics.structural_similarity

every = pytest.mark.parametrize("name", CATALOGUE)


def degraded(name: str, image: Image) -> Image:
    degradation = CATALOGUE[name]()
    return degradation.apply(image, degradation.draw(Rng("2b"), image)).image


def rows_of(theirs: NDArray[np.float64], step: int, first: int) -> float:
    """The mean of H×W indices of windows over every `step`-th row, each for all rows that are nearest to it."""
    measured = np.arange(first, len(theirs), step)
    nearest = np.abs(np.arange(len(theirs))[:, None] - measured)
    shares = nearest == nearest.min(axis=1, keepdims=True)  # a row half way belongs to both
    return float((shares / shares.sum(axis=1, keepdims=True)).sum(axis=0) @ theirs[measured].mean(axis=1)) / len(theirs)


def of_windows(x: Any, y: Any) -> NDArray[np.float64]:
    """scikit-image's index of every window that lies within, channels last."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    axis = {"channel_axis": 2} if x.ndim == 3 else {}
    _, full = theirs_ssim(x, y, full=True, **options, **axis)
    return np.asarray(full[5:-5, 5:-5], np.float64)


@every
def test_ssim_is_scikit_images_in_the_same_windows(name: str) -> None:
    gt = cut(217, 260)
    lq = degraded(name, gt)
    found, theirs = figures(gt, lq), of_windows(gt, lq)
    rgb = [rows_of(theirs[..., c], module.RGB_STEP, first) for c, first in enumerate(module.RGB_FIRST)]
    assert found.ssim == pytest.approx(np.mean(rgb), abs=3e-4)
    y = rows_of(of_windows(luma(gt), luma(lq)), module.LUMA_STEP, module.LUMA_FIRST)
    assert found.ssim_y == pytest.approx(y, abs=3e-4)


@every
def test_and_nearly_that_of_all_windows(name: str) -> None:
    """Every third or fifth row of windows stands for all: papers print three digits."""
    gt = photo()
    lq = degraded(name, gt)
    found = figures(gt, lq)
    assert found.ssim == pytest.approx(of_windows(gt, lq).mean(), abs=5e-4)
    assert found.ssim_y == pytest.approx(of_windows(luma(gt), luma(lq)).mean(), abs=5e-4)


def test_rows_that_are_left_out_are_counted_for_their_neighbours() -> None:
    """Noise below a clean half: without that, the half in which the first row lies would count more."""
    gt = cut(211, 90)
    lq = gt.copy()
    lq[105:] = degraded("noisy", gt)[105:]
    found, theirs = figures(gt, lq), of_windows(luma(gt), luma(lq))
    assert found.ssim_y == pytest.approx(theirs.mean(), abs=1e-3)
    assert found.ssim == pytest.approx(of_windows(gt, lq).mean(), abs=1e-3)


@pytest.mark.parametrize("size", [(40, 30), (217, 260), (5, 40)])
def test_what_is_kept_of_a_clean_image_changes_no_figure(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gt = cut(*size)
    reference = module.Reference(gt)
    alone = {name: figures(gt, degraded(name, gt)) for name in ("noisy", "low-light", "rainy")}
    assert {name: reference.figures(degraded(name, gt)) for name in alone} == alone
    monkeypatch.setattr(module, "KEPT", 0)
    sparing = module.Reference(gt)
    assert {name: sparing.figures(degraded(name, gt)) for name in alone} == alone


def test_a_large_image_is_measured_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    gt = cut(230, 250)
    lq = degraded("jpeg-compressed", gt)
    whole = figures(gt, lq)
    for widest, at_once in ((40, 1 << 30), (1 << 10, 1 << 12), (33, 1 << 10)):
        monkeypatch.setattr(module, "WIDEST", widest)
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        found = figures(gt, lq)
        assert found == Figures(whole.psnr, whole.psnr_y, pytest.approx(whole.ssim, abs=1.1e-4), whole.ssim_y)


class CancelError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5])
def test_a_stop_is_heard_within_a_plane_of_a_large_image(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1 << 12)  # as a photograph of 24 megapixels has more blocks
    gt = cut(230, 250)
    measured, asked = list[int](), list[float]()
    index = module.Reference._ssim
    monkeypatch.setattr(
        module.Reference, "_ssim", lambda self, i, *more: (measured.append(i), index(self, i, *more))[1]
    )

    def cancel(done: float) -> None:
        asked.append(done)
        if len(asked) == after:
            raise CancelError

    with watched(cancel), pytest.raises(CancelError):
        figures(gt, gt)
    assert measured == [0], "red alone"
    with watched(asked.append):
        assert figures(gt, gt) == Figures(100.0, 100.0, 1.0, 1.0)
    assert measured == [0, *range(4)] and len(asked) > after + 4 * 5


def test_small_images_are_measured_in_every_window() -> None:
    gt = cut(module.LEAST_ROWS + module.SIDE - 2, 40)
    lq = degraded("noisy", gt)
    assert figures(gt, lq).ssim == pytest.approx(of_windows(gt, lq).mean(), abs=3e-4)
    assert figures(gt, lq).ssim == pytest.approx(ssim_gaussian(gt, lq), abs=3e-4)  # as patina evaluate has it


@pytest.mark.parametrize(("height", "width"), [(1, 1), (11, 11), (5, 300), (300, 5), (16, 16)])
def test_any_size_can_be_measured(height: int, width: int) -> None:
    gt = cut(height, width)
    assert figures(gt, gt) == Figures(100.0, 100.0, 1.0, 1.0)
    found = figures(gt, np.asarray(255 - gt, np.uint8))
    assert -1 <= found.ssim < 1 and -1 <= found.ssim_y < 1 and found.psnr < 15


@pytest.mark.parametrize(("x", "y"), [(0, 255), (255, 0), (20, 21), (128, 30), (255, 254)])
def test_flat_images_differ_by_luminance_alone(x: int, y: int) -> None:
    c1 = (0.01 * 255) ** 2
    found = figures(flat(120, 60, x), flat(120, 60, y))
    assert found.ssim == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1), abs=2e-4)
    assert found.psnr == pytest.approx(20 * math.log10(255 / abs(x - y)), abs=1e-4)


@every
def test_psnr_of_luma_is_that_of_rounded_bt601(name: str) -> None:
    gt = cut(90, 70)
    lq = degraded(name, gt)
    theirs = [np.rint(rgb2ycbcr(image)[..., 0]) for image in (gt, lq)]
    assert np.array_equal(luma(gt), theirs[0])
    assert figures(gt, lq).psnr_y == pytest.approx(theirs_psnr(*theirs, data_range=255), abs=1e-4)
    assert figures(gt, lq).psnr == pytest.approx(theirs_psnr(gt, lq), abs=1e-4)


def test_luma_is_rounded_as_exact_fractions_are() -> None:
    levels = (0, 1, 2, 17, 100, 128, 199, 254, 255)
    colours = np.array(list(itertools.product(levels, repeat=3)), np.uint8)[None]
    exact = colours.astype(np.int64) @ np.array([65481, 128553, 24966])  # of 255000
    away = np.abs(exact % 255_000 - 127_500)
    assert np.array_equal(luma(colours)[away > 5], ((2 * exact + 255_000) // 510_000 + 16)[away > 5])
    assert (away > 5).mean() > 0.99
    assert (luma(flat(1, 1, 0)).item(), luma(flat(1, 1, 255)).item()) == (16, 235)


def test_luma_of_grey_noise_has_a_psnr_1_32_db_above_rgb() -> None:
    grey = np.repeat(np.clip(photo()[..., 1:2], 60, 190), 3, axis=2)
    noise = np.rint(np.random.default_rng(1).normal(0, 12, (512, 512, 1))).astype(np.int64)
    found = figures(grey, np.clip(grey + noise, 0, 255).astype(np.uint8))
    assert found.psnr_y - found.psnr == pytest.approx(20 * math.log10(255 / 219), abs=0.01)


def test_the_windows_weights_are_whole_numbers_whose_sums_a_float32_holds() -> None:
    taps = np.array(module.TAPS) / module.WHOLE
    place = np.arange(-5, 6)
    gauss = np.exp(-(place**2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    assert np.abs(taps - gauss).max() < 1e-3
    assert (taps * place**2).sum() == pytest.approx((gauss * place**2).sum(), abs=2e-3)
    assert taps @ taps == pytest.approx(gauss @ gauss, abs=2e-4)
    assert module.MIDDLE**2 * module.WHOLE <= 2**24
    assert module.LUMA_STEP % 2 and module.RGB_STEP % 2, "JPEG's blocks are 8 px"


def test_nothing_is_lost_at_the_ends_of_the_range() -> None:
    """Black and white in turns, where the sums are largest: as scikit-image has it."""
    gt = np.where(np.indices((110, 90)).sum(axis=0)[..., None] % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    for lq in (255 - gt, np.roll(gt, 1, axis=0), np.zeros_like(gt), gt // 2):
        found = figures(gt, np.asarray(lq, np.uint8))
        assert found.ssim == pytest.approx(of_windows(gt, lq).mean(), abs=3e-4)
