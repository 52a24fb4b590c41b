"""Calibration: every degradation of the catalogue is measured, on the photographs given, beside published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.pipeline.errors import SourceError
from patina.pipeline.report.calibrate import ANCHORS, calibrate
from patina.synth.degradations import CATALOGUE, DACLIP_DEGRADATIONS
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
    assert noisy.row["published inputs, PSNR/SSIM"] == "CBSD68, σ = 50 15.00/0.219 (measured)"
    assert set(ANCHORS) == set(DACLIP_DEGRADATIONS)


def test_the_same_photographs_give_the_same_figures(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3, 64, 48)
    assert calibrate(tmp_path / "photos", 2, 1) == calibrate(tmp_path / "photos", 2, 3)


def test_no_photographs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a folder of photographs"):
        calibrate(tmp_path / "nothing", 2)
