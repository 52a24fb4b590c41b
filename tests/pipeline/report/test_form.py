"""Figures of form beside published ones: each measure has a figure of its own, and rows say what is inside."""

from __future__ import annotations

import numpy as np
import pytest

from patina.pipeline.report.form import MEASURES, form_of, form_rows
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng
from tests.synth.pictures import cut


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_measure_has_its_figure(name: str) -> None:
    gt = cut(96, 128)
    lq = CATALOGUE[name]().apply(gt, CATALOGUE[name]().draw(Rng("2a"), gt)).image
    found = form_of(name, gt, lq)
    assert len(found) == len(MEASURES.get(name, ()))
    assert np.isfinite(found).all()


def test_ranges_and_quantiles_are_told_and_compared() -> None:
    rows = form_rows({"snowy": [(float(x),) for x in range(11)], "noisy": [(), ()], "motion-blurry": [(0.1,), (0.2,)]})
    assert [row["degradation"] for row in rows] == ["snowy", "motion-blurry"]
    assert rows[0]["ours: 10 %, median, 90 %"] == "1.0, 5.0, 9.0" and rows[0]["median"] == "below"
    assert rows[0]["published"] == "7.5 to 9.5 px (Snow100K)" and rows[0]["form"] == "large flakes, px"
    assert rows[1]["median"] == "inside"


def test_published_ranges_are_ranges() -> None:
    assert all(measure.low <= measure.high and measure.known for all_ in MEASURES.values() for measure in all_)
