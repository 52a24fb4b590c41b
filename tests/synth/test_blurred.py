from typing import Any

import cv2
import numpy as np
import pytest

from patina.synth.degradations.blurred import KERNELS, SPREAD, TOP, Blurred, chosen, kernel_of
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

_ROUND = {"kind": "gaussian", "size": 41, "angle": 0.0, "beta": 0.0, "cutoff": 0.0}
STRENGTHS = [{**_ROUND, "sigma": sigma, "across": sigma} for sigma in (0.3, 0.6, 1.0, 2.0, 4.0, 6.0)]
WIDE = Blurred(sigma={"min": 0, "max": 6}, kernels=dict.fromkeys(KERNELS, 1), size={"min": 3, "max": 41}, round=0.3)
TOLD = {"sigma": (SPREAD, r"about ([\d.]+) px", 1)}
BAD = [
    ({"sigma": 13}, "sigma: expected 0 to 12, found 13"),
    ({"aspect": 0}, "aspect: expected 0.05 to 1, found 0"),
    ({"kernels": {"gauss": 1}}, "kernels: expected a table with odds of gaussian, generalised, plateau, sinc, disc"),
    ({"kernels": {"gaussian": 0}}, "kernels: all odds are 0; give one of them more"),
    ({"kernels": {"gaussian": -1}}, "kernels gaussian: expected 0 to 1e+06, found -1"),
    ({"size": 43}, "size: expected 3 to 41, found 43"),
    ({"round": 2}, "round: expected 0 to 1, found 2"),
    ({"cutoff": 4}, "cutoff: expected 0.3 to 3.14, found 4"),
]


def params(kind: str, **settings: Any) -> dict[str, Any]:
    sigma = settings.pop("sigma", 2.0)
    own = {"kind": kind, "size": 21, "sigma": sigma, "across": sigma, "angle": 0.0, "beta": 1.0, "cutoff": 0.0}
    return own | settings


def moments(kernel: np.ndarray) -> tuple[float, float, float, float, float]:
    """Mean x and y, and the variances along x, y, and of both."""
    weights = kernel / kernel.sum()
    x = np.arange(len(kernel)) - len(kernel) // 2
    y = x[:, None]
    mx, my = float((weights * x).sum()), float((weights * y).sum())
    return mx, my, float((weights * x * x).sum()), float((weights * y * y).sum()), float((weights * x * y).sum())


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels_are_centred_and_only_a_sinc_goes_below_0(kind: str) -> None:
    for seed in range(40):
        drawn = Blurred(kernels={kind: 1}, size={"min": 7, "max": 31}).draw(Rng(f"{seed:x}"), photo())
        kernel = kernel_of(drawn)
        assert kernel.max() in (TOP, TOP**2) and len(kernel) % 2 == 1
        assert kind == "sinc" or kernel.min() >= 0
        mx, my, *_ = moments(kernel)
        assert abs(mx) < 0.05 and abs(my) < 0.05


def test_a_gaussian_has_the_widths_and_the_angle_that_were_asked_for() -> None:
    _, _, along, across, both = moments(kernel_of(params("gaussian", sigma=2.5, across=1.0, angle=0.0, size=31)))
    assert along == pytest.approx(6.25, rel=0.02) and across == pytest.approx(1, rel=0.02) and abs(both) < 0.01
    _, _, x, y, both = moments(kernel_of(params("gaussian", sigma=2.5, across=1.0, angle=45.0, size=31)))
    assert x == pytest.approx(y, rel=0.01) and both == pytest.approx((6.25 - 1) / 2, rel=0.03)


@pytest.mark.parametrize("kind", ["disc", "box", "gaussian"])
def test_kinds_of_one_sigma_are_equally_wide(kind: str) -> None:
    _, _, x, y, _ = moments(kernel_of(params(kind, sigma=3.0, size=41)))
    assert np.sqrt(x) == pytest.approx(3, rel=0.05) and np.sqrt(y) == pytest.approx(3, rel=0.05)


def test_a_line_is_as_long_as_its_sigma_says_in_its_direction() -> None:
    for angle, axis in ((0.0, 2), (90.0, 3)):
        found = moments(kernel_of(params("line", sigma=3.0, size=41, angle=angle)))
        assert np.sqrt(found[axis]) == pytest.approx(3, rel=0.05) and found[5 - axis] < 0.3


def test_a_generalised_gaussian_of_one_is_a_gaussian_and_a_plateau_is_flat_at_its_top() -> None:
    one, other = (Blurred().apply(photo(), params(kind)).image.astype(int) for kind in ("generalised", "gaussian"))
    assert np.abs(one - other).max() <= 1
    kinds = ("plateau", "gaussian")
    plateau, gaussian = (kernel_of(params(kind, beta=4.0, sigma=4.0, size=31)) for kind in kinds)
    middle, other = len(plateau) // 2, len(gaussian) // 2
    assert plateau[middle, middle + 2] > 0.95 * plateau[middle, middle]
    assert gaussian[other, other + 2] < 0.9 * gaussian[other, other]


def test_a_sinc_keeps_what_lies_below_its_cutoff_and_takes_what_lies_above() -> None:
    """Its frequency response along x, of the whole kernel: near 1 below, near 0 above."""
    kernel = kernel_of(params("sinc", cutoff=1.2, size=41))
    kernel = kernel / kernel.sum()
    x = np.arange(len(kernel)) - len(kernel) // 2
    low, high = (abs(float((kernel * np.cos(frequency * x)).sum())) for frequency in (0.6, 2.0))
    assert low > 0.9 and high < 0.1
    assert kernel.min() < 0, "edges ring"


def test_it_is_opencvs_gaussian_and_filter() -> None:
    ours = Blurred().apply(photo(), params("gaussian", sigma=1.5)).image.astype(int)
    theirs: Any = cv2.GaussianBlur(photo(), (21, 21), 1.5, borderType=cv2.BORDER_REFLECT)
    assert np.abs(ours - theirs).max() <= 1
    turned = params("gaussian", sigma=3.0, across=0.8, angle=30.0)
    kernel = kernel_of(turned)[::-1, ::-1]
    kernel = kernel / kernel.sum()
    theirs = cv2.filter2D(photo().astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT)
    assert np.abs(Blurred().apply(photo(), turned).image - theirs).max() < 0.7


@pytest.mark.parametrize("shape", [(16, 16), (16, 300), (300, 17)])
def test_a_kernel_larger_than_the_picture_mirrors_it(shape: tuple[int, int]) -> None:
    even: Image = flat(*shape, 90)
    assert np.array_equal(Blurred().apply(even, params("box", sigma=11.0, size=41)).image, even)


def test_bands_do_not_show() -> None:
    tall = np.ascontiguousarray(np.tile(photo(), (3, 2, 1)))
    one = Blurred().apply(tall, params("disc", sigma=3.0)).image
    other = Blurred().apply(np.ascontiguousarray(tall[100:]), params("disc", sigma=3.0)).image
    assert np.array_equal(one[130:], other[30:])


def test_without_width_nothing_happens() -> None:
    for kind in ("gaussian", "disc", "line"):
        assert np.array_equal(Blurred().apply(photo(), params(kind, sigma=0.0)).image, photo())


def test_the_map_is_the_kernel() -> None:
    degraded = Blurred().apply(cut(40, 40), params("gaussian", sigma=1.0))
    kernel = degraded.truth["kernel"]
    assert kernel.dtype == np.uint16 and kernel.max() == 65535 and kernel[len(kernel) // 2, len(kernel) // 2] == 65535


def test_kinds_come_by_their_odds() -> None:
    found = [chosen(Rng(f"{i:x}"), {"gaussian": 3, "sinc": 1, "box": 0}) for i in range(400)]
    assert 0.18 < found.count("sinc") / 400 < 0.32 and "box" not in found
    drawn = [Blurred(round=0.25).draw(Rng(f"{i:x}"), photo()) for i in range(300)]
    assert 0.15 < np.mean([one["across"] == one["sigma"] for one in drawn]) < 0.35


def test_stronger_is_smoother() -> None:
    figures = [psnr(photo(), Blurred().apply(photo(), params("line", sigma=s, size=41)).image) for s in (1.0, 3.0, 6.0)]
    assert figures == sorted(figures, reverse=True)
