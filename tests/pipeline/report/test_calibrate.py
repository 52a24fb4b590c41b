"""Calibration: every degradation of the catalogue is measured, on the photographs given, beside published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import SourceError
from patina.pipeline.report.calibrate import ANCHORS, UNKNOWN, calibrate
from patina.synth.degradations import CATALOGUE, EVERY
from patina.synth.figures import figures
from patina.synth.rng import Rng, sample_seed
from tests.pipeline.making import photos


def test_every_degradation_is_measured_and_has_its_anchors(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5, 96, 80)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"nothing")
    seen: list[tuple[int, int]] = []
    found = calibrate(tmp_path / "photos", 6, 2, lambda done, total: seen.append((done, total)))
    assert [figures.name for figures in found] == list(CATALOGUE)
    assert {figures.photographs for figures in found} == {5}
    assert seen[-1] == (6, 6)
    noisy = next(figures for figures in found if figures.name == "noisy")
    assert 13.5 < noisy.psnr < 17
    assert noisy.row["published inputs, RGB"] == "CBSD68, σ = 50 15.00/0.219 (measured, SSIM by 7×7 windows)"
    assert noisy.row["published inputs, luma"] == ""
    dusty = next(figures for figures in found if figures.name == "dusty")
    assert dusty.row["published inputs, RGB"].startswith("none known; SIE")
    assert {*ANCHORS, *UNKNOWN} <= set(EVERY) and not set(ANCHORS) & set(UNKNOWN)


def test_like_is_laid_beside_like(tmp_path: Path) -> None:
    """Deraining papers print luma, the others RGB; a photograph's figures are those of `figures`."""
    (path,) = photos(tmp_path / "photos", 1, 96, 80)
    rainy = next(one for one in calibrate(tmp_path / "photos", 1) if one.name == "rainy")
    assert "Rain100H 13.56/0.371 (recalled)" in rainy.row["published inputs, luma"]
    assert "Rain100" not in rainy.row["published inputs, RGB"] and "CDD-11" in rainy.row["published inputs, RGB"]
    image, rain = decode(path.read_bytes()).image, CATALOGUE["rainy"]()
    lq = rain.apply(image, rain.draw(Rng(sample_seed(0, path.name, "rainy", 0, (0, 0, 96, 80))), image)).image
    theirs = figures(image, lq)
    assert (rainy.psnr, rainy.ssim, rainy.psnr_y, rainy.ssim_y) == (
        *(theirs.psnr, theirs.ssim, theirs.psnr_y, theirs.ssim_y),
    )
    assert rainy.row["luma"] == f"{theirs.psnr_y:.2f} / {theirs.ssim_y:.3f}"


def test_the_same_photographs_give_the_same_figures(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3, 64, 48)
    assert calibrate(tmp_path / "photos", 2, 1) == calibrate(tmp_path / "photos", 2, 3)


def test_no_photographs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a folder of photographs"):
        calibrate(tmp_path / "nothing", 2)
