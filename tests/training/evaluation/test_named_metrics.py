"""Metrics of pyiqa by name, with a stand-in for that library: what is passed to it, and what becomes of its answers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from patina.pipeline.builder.build import build
from patina.training.errors import ModelInputError, StageError
from patina.training.evaluation.evaluate import evaluate
from patina.training.evaluation.layout import flat
from patina.training.evaluation.metrics import UnavailableMetricError
from patina.training.evaluation.named_metrics import NamedMetric
from patina.training.evaluation.results import Evaluation
from patina.training.jobs.evaluation import Options
from patina.training.stages.plan import load_plan
from tests.pipeline.making import photos, tiny_recipe
from tests.training.evaluation.test_evaluate import PLAIN, doing


class Brightness:
    """Of one picture: the mean of its levels. 1×3×H×W floats in [0, 1] alone are taken, as pyiqa's networks do."""

    metric_mode, lower_better = "NR", True

    def __call__(self, image: Tensor) -> Tensor:
        assert image.shape[:2] == (1, 3) and image.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1
        if image.shape[-1] == 40:
            raise RuntimeError("a picture of 40 px is too small\nand more")
        return image.mean() * 255


class Difference:
    """Of two pictures: the mean difference in levels."""

    metric_mode, lower_better = "FR", False

    def __call__(self, image: Tensor, gt: Tensor) -> Tensor:
        return (image - gt).abs().mean() * 255


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """A stand-in for pyiqa; what it was asked for."""
    calls: list[tuple[str, Any]] = []

    def create_metric(name: str, as_loss: bool, device: torch.device) -> Any:
        calls.append((name, str(device)))
        if name == "needsweights":
            raise OSError("no route to the server")
        return {"brightness": Brightness, "difference": Difference}[name]()

    module = ModuleType("pyiqa")
    stand_in = SimpleNamespace(
        create_metric=create_metric, list_models=lambda: ["brightness", "difference", "fid", "needsweights"]
    )
    module.__dict__.update(stand_in.__dict__)
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return calls


def test_values_are_those_of_the_clipped_picture(asked: list[tuple[str, Any]]) -> None:
    gt = np.full((20, 30, 3), 51, np.uint8)
    image = torch.full((3, 20, 30), 0.4)
    image[:, :10] = 1.5  # which a file would show as 1
    assert NamedMetric("brightness")(image, gt) == pytest.approx(255 * 0.7)
    assert NamedMetric("difference")(image, gt) == pytest.approx(255 * 0.5)
    metric = NamedMetric("brightness")
    assert (metric.lower_is_better, metric.with_gt) == (True, False)
    assert (NamedMetric("difference").lower_is_better, NamedMetric("difference").with_gt) == (False, True)
    assert set(asked) == {("brightness", "cpu"), ("difference", "cpu")}


@pytest.mark.parametrize(
    ("name", "says"),
    [("brightnes", "did you mean 'brightness'"), ("fid", "it measures sets, expected one of pictures")],
)
def test_other_names_are_refused(asked: list[tuple[str, Any]], name: str, says: str) -> None:
    with pytest.raises(StageError, match=says):
        NamedMetric(name)
    assert asked == []


def test_what_cannot_be_had_is_told(asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableMetricError, match="no route to the server"):
        NamedMetric("needsweights")
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UnavailableMetricError, match=r"pip install 'patina-ir\[metrics\]'"):
        NamedMetric("brightness")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_an_error(
    asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(Brightness, "__call__", lambda self, image: torch.tensor(value))
    with pytest.raises(ModelInputError, match="no number"):
        NamedMetric("brightness")(torch.zeros(3, 20, 20), np.zeros((20, 20, 3), np.uint8))


def test_an_evaluation_has_them_beside_its_own(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    photos(tmp_path / "photos", 1, width=40, first=2)[0].rename(tmp_path / "photos" / "small.png")
    build(tiny_recipe(tmp_path, degradations={"noisy": {}}, split={"val": 1.0}), tmp_path / "out")
    wanted = ("difference", "brightness", "needsweights")
    found = evaluate(doing(torch.zeros_like), tmp_path / "out", metrics=wanted, **PLAIN)
    (row,) = found.rows
    assert row.others["brightness"] == 0 and 0 < row.others["input_brightness"] < 255
    assert row.others["difference"] > row.others["input_difference"] > 0
    assert found.mean.others == row.others
    assert any("needsweights: not computed: pyiqa cannot make it" in note for note in found.notes)
    small = [note for note in found.notes if "brightness cannot measure 40 x 48 px" in note]
    assert len(small) == 1 and "and more" not in small[0]
    assert Evaluation.from_json(found.to_json()) == found
    assert "### difference, by pyiqa" in found.markdown() and "needsweights, by" not in found.markdown()


@pytest.mark.parametrize(
    ("metrics", "says"), [(("brightness", "brightness"), "asked for twice"), (("lpips",), "patina measures it anyway")]
)
def test_metrics_are_asked_for_once(
    asked: list[tuple[str, Any]], tmp_path: Path, metrics: tuple[str, ...], says: str
) -> None:
    photos(tmp_path / "photos", 1)
    build(tiny_recipe(tmp_path, degradations={"noisy": {}}, split={"val": 1.0}), tmp_path / "out")
    with pytest.raises(StageError, match=says):
        evaluate(doing(lambda lq: lq), tmp_path / "out", metrics=metrics, **PLAIN)


def test_options_decide_what_is_current_only_where_metrics_are_asked_for() -> None:
    """An evaluation of before there were any is still of these options."""
    stage = next(stage for stage in load_plan("tiny").values() if not stage.names_degradations)
    assert "metrics" not in Options().deciding(stage)
    assert Options(metrics=("niqe",)).deciding(stage)["metrics"] == ("niqe",)


def test_a_reports_rows_have_them_beside_the_other_numbers() -> None:
    assert flat({"psnr": 1.0, "others": {"niqe": 2.0}}) == {"psnr": 1.0, "niqe": 2.0}
    assert flat({"psnr": 1.0, "others": "damaged"}) == {"psnr": 1.0}  # a report shows what can be read
    assert flat({"psnr": 1.0}) == {"psnr": 1.0}
