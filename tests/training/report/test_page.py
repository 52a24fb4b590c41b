"""The report: curves at the right places, bands that hold every value, the papers' order, texts that stay texts, and a
page for every run, however little of it is there."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patina.pipeline.builder.build import build
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import DONE, METRICS, MODEL, STAGE
from patina.training.checkpoints.model import Checkpoint
from patina.training.checkpoints.resume import StageFolder
from patina.training.errors import StageError
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation import results
from patina.training.evaluation.paper_rows import Row as PaperRow
from patina.training.evaluation.paper_rows import Table
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.models.daclip import DEGRADATIONS
from patina.training.report.charts import (
    BOTTOM,
    LEFT,
    POINTS,
    RIGHT,
    TOP,
    Axis,
    Curve,
    axis_of,
    chart,
    curve_of,
    thinned,
)
from patina.training.report.page import summary_markdown, write_report
from patina.training.report.pictures import encode_pictures
from patina.training.report.record import read_run
from patina.training.stages.stage import Data, Ema, Optimiser, Stage
from tests.pipeline.making import photos, picture, tiny_recipe

ALERT = "<script>alert('1')</script>"

NAMED = "Degradation named, and time"

CONTROLLER = Stage(
    "controller", "contrastive", "daclip-b32", Data(10, order="scenes", view="photo"), Optimiser(3e-5), 1000
)
RESTORER = Stage(
    "irsde", "sde", "unet-daclip", Data(10, crop=64, view="patch"), Optimiser(2e-4), 2000, after="controller"
)


def make_stage(
    run: Path,
    stage: Stage,
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    done: Mapping[str, Any] | None = None,
    dataset: str = "d" * 64,
    start: str = "",
) -> StageFolder:
    """A stage's folder as the loop leaves it; finished with `done`: what done.json says beside the usual."""
    folder = StageFolder(run / stage.name)
    fingerprint = stage.fingerprint(dataset, start)
    folder.open(stage, dataset, start)
    for row in rows:
        folder.log(row)
    if done is not None:
        notes = {
            "stage": json.dumps(stage.table()),
            "fingerprint": fingerprint,
            "dataset": dataset,
            "dataset_folder": "photos-built",
            "start": start,
            "seen": str(stage.max_images),
            "words": json.dumps(["hazy", "noisy"]),
            "patina": "0.1.0",
        }
        weights = {"weight": torch.full((2,), float(len(stage.name)))}
        digest = checkpoint.write(Checkpoint(stage.network, {}, weights, notes), folder.path / MODEL)
        folder.finish({"fingerprint": fingerprint, "model": digest, "seen": stage.max_images, **done})
    return folder


def steps(images: int, every: int, **terms: float) -> list[dict[str, float]]:
    """Lines of a training: at 50 images/s, a tenth of the time waited; the loss is 100 over the images seen."""
    return [
        {"seen": n, "loss": 100 / n, **terms, "rate": 1e-4, "images_per_s": 50.0, "waited": 0.1}
        for n in range(every, images + 1, every)
    ]


class Page(HTMLParser):
    """A page as a browser reads it: tags with attributes, all text, and its tables as rows of cells."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] = []
        self._inside = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.tags.append((tag, held))
        self._inside = tag
        if held.get("role") == "region":
            self._table = self.tables.setdefault(held["aria-label"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("th", "td"):
            self._table[-1].append("")

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data
        if self._inside in ("th", "td"):
            self._table[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def column(self, table: str, head: str) -> dict[str, str]:
        """A table's column by the first cell of each row."""
        heads, *rows = self.tables[table]
        return {row[0]: row[heads.index(head)] for row in rows}

    def all(self, tag: str, **held: str) -> list[dict[str, str]]:
        return [a for name, a in self.tags if name == tag and all(a.get(k) == v for k, v in held.items())]


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    return [points(found) for found in re.findall(r'<polyline class="run" points="([^"]*)"', svg)]


def svg_of(*drawn: Any) -> str:
    """The picture of a chart that has points; arguments as of `chart`."""
    found = chart(*drawn)
    assert found is not None
    return found.svg


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


# Curves


def test_known_values_lie_at_known_points() -> None:
    curve = Curve("loss", np.array([0.0, 500.0, 1000.0]), np.array([0.0, 5.0, 10.0]))
    drawn = svg_of("Loss", "", [curve], Axis(0, 10), 1000, str)
    assert polylines(drawn) == [[(LEFT, BOTTOM), ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2), (RIGHT, TOP)]]


def test_an_unfinished_training_ends_where_it_stopped() -> None:
    curve = Curve("loss", np.array([0.0, 250.0]), np.array([0.0, 10.0]))
    ((_, last),) = polylines(svg_of("Loss", "", [curve], Axis(0, 10), 1000, str))
    assert last == (LEFT + (RIGHT - LEFT) / 4, TOP)


def test_decades_are_evenly_spaced_on_a_logarithmic_axis() -> None:
    curve = Curve("loss", np.array([0.0, 1.0, 2.0]), np.array([1e-3, 1e-1, 10.0]))
    axis = axis_of([curve], log=True)
    assert axis.log
    (low, middle, high) = (float(v) for v in axis.at(curve.y))
    assert middle - low == pytest.approx(high - middle)
    assert not axis_of([replace(curve, y=np.array([-1.0, 1e-1, 10.0]))], log=True).log


def test_a_long_curve_is_thinned_to_means_in_order() -> None:
    curve = Curve("loss", np.arange(1000.0), np.arange(1000.0) * 2)
    thin = thinned(curve, 10)
    assert thin.x.tolist() == [49.5 + 100 * k for k in range(10)]
    assert np.array_equal(thin.y, 2 * thin.x)
    assert len(thinned(Curve("", np.arange(12_345.0), np.arange(12_345.0))).x) == POINTS


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 20))
def test_bands_hold_every_value(values: list[float], most: int) -> None:
    curve = Curve("loss", np.arange(len(values), dtype=np.float64), np.array(values))
    thin = thinned(curve, most)
    assert len(thin.x) == min(most, len(values))
    for x, y in zip(curve.x, curve.y, strict=True):
        (k,) = np.flatnonzero((thin.first <= x) & (x <= thin.last))  # one stretch alone has it
        assert thin.low[k] <= y <= thin.high[k]
    assert np.all((thin.low <= thin.y + 1e-6) & (thin.y <= thin.high + 1e-6))


def test_the_band_as_it_is_drawn_holds_every_value() -> None:
    rng = np.random.default_rng(0)
    curve = Curve("loss", np.arange(5000.0), rng.normal(size=5000))
    axis = axis_of([curve])
    drawn = svg_of("Loss", "", [curve], axis, 5000, str)
    outline = np.array(points(re.findall(r'class="spread" points="([^"]*)"', drawn)[0]), np.float32)
    x = LEFT + (RIGHT - LEFT) * curve.x / 5000
    y = BOTTOM - (BOTTOM - TOP) * axis.at(curve.y)
    # 0.1 for the rounding of the outline's coordinates
    assert all(cv2.pointPolygonTest(outline, (a, b), True) > -0.1 for a, b in zip(x.tolist(), y.tolist(), strict=True))


def test_a_short_curve_has_no_band_and_shows_its_points() -> None:
    drawn = svg_of("PSNR", "dB", [Curve("", np.array([5.0]), np.array([20.0]))], Axis(0, 40), 10, str)
    assert "spread" not in drawn
    assert 'cx="245.0" cy="103.0"' in drawn


def test_values_that_are_no_finite_numbers_are_left_out() -> None:
    rows = [{"seen": 1, "loss": math.inf}, {"seen": 2, "loss": "1"}, {"seen": 3}, {"seen": 4, "loss": 2.0}]
    rows += [{"seen": 5, "loss": math.nan}, {"seen": 6, "loss": True}, {"seen": 7, "loss": None}]
    curve = curve_of(rows, "loss", "loss", scale=10)
    assert (curve.x.tolist(), curve.y.tolist()) == ([4.0], [20.0])


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0, 29_003_800), ["0", "10,000,000", "20,000,000"]),
        (Axis(0, 1000), ["0", "200", "400", "600", "800", "1,000"]),
        (Axis(0, 2e-4), ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]),
        (Axis(19.97, 20.31), ["20.0", "20.1", "20.2", "20.3"]),
        (Axis(-1.2, 1.3), ["−1.0", "−0.5", "0", "0.5", "1.0"]),
        (Axis(1e-3, 20, log=True), ["0.001", "0.01", "0.1", "1", "10"]),
        (Axis(0.1, 0.9, log=True), ["0.1", "0.2", "0.5"]),
    ],
)
def test_ticks_are_round_and_few(axis: Axis, labels: list[str]) -> None:
    most = 6 if axis.high == 1000 else 5
    assert [label for _, label in axis.ticks(most)] == labels


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
def test_ticks_lie_on_their_axis(low: float, span: float, most: int) -> None:
    axis = Axis(low, low + span)
    if axis.high - axis.low < 1e-9 * abs(low):
        return
    values = [value for value, _ in axis.ticks(most)]
    assert len(values) <= most
    assert all(axis.low - 1e-6 * span <= v <= axis.high + 1e-6 * span for v in values)


# The page


def test_stages_stand_after_what_they_start_from_and_tell_how_far_they_came(tmp_path: Path) -> None:
    controller = replace(CONTROLLER, name="z-controller")
    make_stage(
        tmp_path,
        controller,
        steps(1000, 100),
        done={"seconds": 31.5, "notes": ["stage z-controller: out of memory once"]},
    )
    restorer = replace(RESTORER, after="z-controller")
    folder = make_stage(tmp_path, restorer, steps(800, 100))
    (folder.path / "state-000000000750.safetensors").touch()
    plan = {"z-controller": controller, "irsde": restorer, "nafnet": replace(restorer, name="nafnet")}
    page = Page(write_report(tmp_path, plan=plan, skipped=["z-controller"]))
    states = page.column("Stages of the run", "state")
    assert list(states) == ["z-controller", "irsde", "nafnet"]
    assert states == {
        "z-controller": "finished, skipped: nothing had changed",
        "irsde": "stopped at 800 of 2,000 images; goes on after 750",
        "nafnet": "not begun",
    }
    assert page.column("Stages of the run", "images seen") == {"z-controller": "1,000", "irsde": "800", "nafnet": "–"}
    assert page.column("Stages of the run", "time") == {"z-controller": "32 s", "irsde": "16 s", "nafnet": "–"}
    assert page.column("Stages of the run", "images/s")["irsde"] == "50"
    assert page.column("Stages of the run", "waited for data")["irsde"] == "10%"
    assert "z-controller: out of memory once" in page.text
    assert "3 stages: 1 finished, 1 stopped, 1 not begun." in page.text


def test_speed_is_of_all_steps_and_not_a_mean_of_lines(tmp_path: Path) -> None:
    rows = [
        {"seen": 100, "loss": 1.0, "images_per_s": 10.0, "waited": 0.5},  # 10 s, half waited
        {"seen": 400, "loss": 1.0, "images_per_s": 100.0, "waited": 0.0},  # 3 s
    ]
    make_stage(tmp_path, CONTROLLER, rows)
    (record,) = read_run(tmp_path)
    assert record.pace == pytest.approx((13.0, 400 / 13, 5 / 13))


def test_what_frozen_parts_saved_is_told(tmp_path: Path) -> None:
    saved = {"texts asked for": 20_000, "texts computed": 50}
    make_stage(tmp_path, CONTROLLER, done={"saved": saved})
    text = Page(write_report(tmp_path)).text
    assert "saved by frozen parts: texts asked for 20,000, texts computed 50 (99.7 % not computed again)" in text


def test_every_chart_has_its_curve(tmp_path: Path) -> None:
    rows = [
        *steps(1000, 100, caption=2.0, degradation=1.0),
        {"seen": 500, "val_accuracy": 0.5, "val_accuracy/noisy": 0.5},
    ]
    rows += [{"seen": 1000, "val_accuracy": 0.9, "val_accuracy/noisy": 1.0, "val_accuracy/hazy": 0.8}]
    make_stage(tmp_path, CONTROLLER, rows)
    source = Page(write_report(tmp_path)).source
    charts = dict(re.findall(r'<figure class="curve"><figcaption><b>([^<]*)</b>(.*?)</figure>', source, re.DOTALL))
    assert list(charts) == ["Loss", "Named rightly", "Learning rate", "Speed", "Time waited for data"]
    assert len(polylines(charts["Loss"])) == 3
    assert charts["Loss"].index('class="c2"><poly') < charts["Loss"].index('class="c0"><poly')
    ((first, last),) = polylines(charts["Named rightly"])
    assert first == ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)  # half of all images, half of them rightly named
    assert last == (RIGHT, pytest.approx(BOTTOM - 0.9 * (BOTTOM - TOP), abs=0.05))
    assert "<desc>loss: 1 at first, 0.1 at last; caption: 2 at first" in charts["Loss"]
    each = source.partition("Validation by degradation")[2].partition("</ul>")[0]
    assert [name for name in DEGRADATIONS if name in each] == ["hazy", "noisy"]
    assert each.index(">hazy<") < each.index(">noisy<")
    assert "50 → 100 %" in each


def test_psnr_of_batches_is_a_score_and_no_loss(tmp_path: Path) -> None:
    rows = [*steps(1000, 500, psnr=18.0), {"seen": 1000, "val_psnr": 21.5, "val_psnr_input": 17.25}]
    make_stage(tmp_path, replace(CONTROLLER, name="restorer"), rows)
    page = Page(write_report(tmp_path))
    loss = page.source.partition("<b>Loss</b>")[2].partition("</figure>")[0]
    psnr = page.source.partition("<b>PSNR</b>")[2].partition("</figure>")[0]
    assert len(polylines(loss)) == 1
    assert [len(line) for line in polylines(psnr)] == [2, 1, 1]  # validation lies over batches and input
    assert page.column("Stages of the run", "score")["restorer"] == "21.50 dB, degraded 17.25"
    assert page.column("restorer: training in numbers", "psnr") == {"500": "18", "1,000": "18"}


EVALUATION: dict[str, Any] = {
    "stage": "controller",
    "split": "val",
    "protocol": "daclip",
    "sampler": "posterior",
    "steps": 20,
    "seed": 0,
    "rows": [
        {
            "entry": "snowy",
            "count": 4,
            "psnr": 24.126,
            "input_psnr": 25.0,
            "gain": -0.874,
            "ssim": 0.81234,
            "fid": None,
        },
        {"entry": "noisy", "count": 1200, "psnr": 27.0, "input_psnr": 20.0, "gain": 7.0, "dists": 0.25},
        {"entry": "hazy", "count": 2, "psnr": math.inf, "input_psnr": 20.0, "accuracy": 0.5},
    ],
    "mean": {"entry": "mean", "psnr": 25.5, "gain": 3.1},
    "notes": ["LPIPS: not computed: no weights"],
}

TABLE = Table(
    "A paper, Table 1",
    "psnr",
    ("hazy", "noisy", "snowy"),
    (
        PaperRow("Known", {"hazy": 29.1, "noisy": 24.36}, 27.01, 2),
        PaperRow("Its mean alone", {}, 25.0, 1),
    ),
)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Table:
    """One table of one paper, for the protocol `daclip`."""

    def tables(protocol: str, entries: Collection[str]) -> dict[str, Table]:
        return {"psnr": TABLE} if protocol == "daclip" and entries else {}

    monkeypatch.setattr(published, "tables", tables)
    return TABLE


def test_an_evaluation_stands_in_the_papers_order_beside_its_figures(tmp_path: Path, paper: Table) -> None:
    folder = make_stage(tmp_path, CONTROLLER)
    (folder.path / "evaluation.json").write_text(json.dumps(EVALUATION))
    page = Page(write_report(tmp_path))
    assert [name for name in page.tables if name.startswith("controller: ")] == [
        f"controller: {what}" for what in ("PSNR, dB", "SSIM", NAMED, "Other figures")
    ]
    heads, *rows = page.tables["controller: PSNR, dB"]
    methods = ["Known, paper", "Its mean alone, paper"]
    assert heads == ["degradation", "images", "degraded", "restored", "gain", *methods]
    assert rows == [
        ["hazy", "2", "20.00", "∞", "–", "29.10", "–"],
        ["noisy", "1,200", "20.00", "27.00", "+7.00", "24.36", "–"],
        ["snowy", "4", "25.00", "24.13", "−0.87", "–", "–"],
        ["mean", "–", "–", "25.50", "+3.10", "27.01", "25.0"],
    ]
    assert page.tables["controller: SSIM"][3] == ["snowy", "4", "0.812"]
    assert page.tables[f"controller: {NAMED}"][1] == ["hazy", "2", "50.0 %"]
    assert page.column("controller: Other figures", "dists")["noisy"] == "0.25"
    assert [row["class"] for row in page.all("td", **{"class": "worse"})] == ["worse"]
    assert "Split val, sampler posterior, 20 steps, measured as DA-CLIP's paper does, seed 0." in page.text
    assert "LPIPS: not computed: no weights" in page.text
    assert "Figures of papers: A paper, Table 1; they are of the papers' own test sets" in page.text


def test_a_papers_mean_stands_beside_a_mean_over_the_same_entries_alone(tmp_path: Path, paper: Table) -> None:
    make_stage(tmp_path, CONTROLLER)
    fewer = {**EVALUATION, "rows": EVALUATION["rows"][:2]}
    page = Page(write_report(tmp_path, evaluations={"controller": fewer}))
    heads, *rows = page.tables["controller: PSNR, dB"]
    assert heads[-1] == "Known, paper"
    assert rows[-1] == ["mean", "–", "–", "25.50", "+3.10", "–"]


def test_the_papers_tables_that_come_with_patina_fit(tmp_path: Path) -> None:
    make_stage(tmp_path, CONTROLLER)
    known = {m: t for m, t in published.tables("vlunet", ["hazy", "rainy", "noisy-15"]).items() if m == "psnr"}
    rows = [{"entry": entry, "psnr": 20.0} for entry in known["psnr"].entries]
    page = Page(write_report(tmp_path, evaluations={"controller": {"protocol": "vlunet", "rows": rows}}))
    for row in known["psnr"].rows:
        column = page.column("controller: PSNR, dB", f"{row.method}, paper")
        assert column == {entry: row.text(row.of(entry)) for entry in known["psnr"].entries}


def test_what_this_patinas_evaluation_writes_is_read(tmp_path: Path) -> None:
    numbers = dict.fromkeys(("psnr", "psnr_y", "input_psnr", "input_psnr_y"), 20.0)
    numbers |= dict.fromkeys(("ssim", "ssim_y", "input_ssim", "input_ssim_y"), 0.5)
    row = results.Row("noisy", "noisy", 3, **numbers, gain=1.5, worst_gain=-0.5, best_gain=2.0, lost=1, seconds=0.25)
    whole = results.Evaluation("irsde", "d", "val", "vlunet", "", 0, 0, (row,), replace(row, entry="mean"), ("a note",))
    folder = make_stage(tmp_path, RESTORER)
    (folder.path / "evaluation.json").write_text(whole.to_json())
    (folder.path / "evaluation").mkdir()
    cv2.imwrite(str(folder.path / "evaluation" / "noisy.png"), picture())
    page = Page(write_report(tmp_path))
    assert [name for name in page.tables if name.startswith("irsde: ")] == [
        f"irsde: {what}" for what in ("PSNR, dB", "SSIM", "Luma", NAMED)
    ]
    heads, noisy, mean = page.tables["irsde: PSNR, dB"]
    assert heads[:8] == [
        *("degradation", "images", "degraded", "restored", "gain"),
        *("worst image", "best image", "images that lost"),
    ]
    assert noisy[:8] == ["noisy", "3", "20.00", "20.00", "+1.50", "−0.50", "+2.00", "1"]
    assert mean[0] == "mean"
    assert "restored in one pass" in page.text.lower()
    assert "noisy: +1.50 dB in the mean, −0.50 to +2.00" in page.text


def test_what_a_clip_takes_for_what_is_told(tmp_path: Path) -> None:
    rows = (results.NamedRow("noisy", "noisy", 4, 0.75, (("noisy", 3), ("snowy", 1))),)
    rows += (results.NamedRow("hazy", "hazy", 4, 1.0, (("hazy", 4),)),)
    named = results.Classification("c", "d", "val", ("hazy", "noisy"), rows, results.NamedRow("mean", "", 8, 0.875))
    make_stage(tmp_path, CONTROLLER)
    page = Page(write_report(tmp_path, evaluations={"controller": json.loads(named.to_json())}))
    assert page.tables[f"controller: {NAMED}"][1:] == [
        ["hazy", "4", "100.0 %", "–"],
        ["noisy", "4", "75.0 %", "noisy 3, snowy 1"],
        ["mean", "8", "87.5 %", "–"],
    ]


def test_an_evaluation_that_is_given_comes_before_the_file(tmp_path: Path) -> None:
    folder = make_stage(tmp_path, CONTROLLER)
    (folder.path / "evaluation.json").write_text(json.dumps(EVALUATION))
    given = {"controller": {"rows": [{"entry": "rainy", "psnr": 31.0}]}}
    page = Page(write_report(tmp_path, evaluations=given))
    assert page.tables["controller: PSNR, dB"] == [["degradation", "restored"], ["rainy", "31.00"]]


@pytest.mark.parametrize("strange", [{}, {"rows": None}, {"rows": [5]}, {"rows": [{}], "mean": 3, "notes": "no list"}])
def test_an_evaluation_that_lacks_much_still_gives_a_page(tmp_path: Path, strange: dict[str, Any]) -> None:
    make_stage(tmp_path, CONTROLLER)
    assert "Evaluation" in Page(write_report(tmp_path, evaluations={"controller": strange})).text
    assert "controller" in summary_markdown(tmp_path, {"controller": strange})


def test_orders_of_both_papers() -> None:
    names = ["low-light", "noisy-50", "rainy", "hazy+rainy", "noisy-15", "hazy", "noisy-5", "motion-blurry"]
    ours = ["motion-blurry", "hazy", "low-light", "noisy-5", "noisy-15", "noisy-50", "rainy", "hazy+rainy"]
    vlunet = ["noisy-5", "noisy-15", "noisy-50", "hazy", "rainy", "motion-blurry", "low-light", "hazy+rainy"]
    assert in_papers_order(names) == ours
    assert in_papers_order(names, "sde") == ours
    assert in_papers_order(names, "described") == vlunet
    assert in_papers_order(names, "prompts") == vlunet


def test_texts_of_files_are_no_markup(tmp_path: Path) -> None:
    run = tmp_path / "run <b>"
    stage = replace(CONTROLLER, name="stage&<i>", prompts={"noisy": ALERT})
    rows = [{"seen": 10, "loss": 1.0, ALERT: 2.0, f"val_psnr/{ALERT}": 20.0, "val_psnr": 20.0}]
    folder = make_stage(run, stage, rows, done={"notes": [ALERT], "saved": {ALERT: 3}}, dataset=ALERT)
    evaluation = {"rows": [{"entry": ALERT, ALERT: 1.0}], "notes": [ALERT], "sampler": ALERT, "split": ALERT}
    (folder.path / "evaluation.json").write_text(json.dumps(evaluation))
    for name in ("samples/<u>.png", "evaluation/<u>.png"):
        (folder.path / name).parent.mkdir()
        cv2.imwrite(str(folder.path / name), picture())
    page = Page(write_report(run))
    assert page.source.count("<script") == 1, "the page's own, which copies tables"
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert {tag for tag, _ in page.tags}.isdisjoint({"i", "u"})
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert page.text.count(ALERT) >= 8
    assert "run <b>" in page.text
    told = summary_markdown(run)
    assert "<" not in told
    rows_of_table = [line for line in told.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows_of_table[:3]}
    assert len(widths) == 1


def test_a_page_asks_for_nothing(tmp_path: Path) -> None:
    folder = make_stage(tmp_path, CONTROLLER, steps(1000, 100))
    (folder.path / "samples").mkdir()
    cv2.imwrite(str(folder.path / "samples" / "000000000100.png"), picture())
    page = Page(write_report(tmp_path))
    policies = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    script = page.source.partition("<script>")[2].partition("</script>")[0]
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{own}'; base-uri 'none'; "
        "form-action 'none'"
    ]
    assert all(a["src"].startswith("data:") for _, a in page.tags if "src" in a)
    assert all(a["href"].startswith("#") for _, a in page.tags if "href" in a)
    assert {a["href"][1:] for a in page.all("a")} == {a["id"] for a in page.all("section")}
    assert "$" not in page.source.partition("<style>")[2].partition("</style>")[0]


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    make_stage(tmp_path, CONTROLLER, steps(1000, 100), done={})
    first = write_report(tmp_path, out=tmp_path / "elsewhere" / "one.html").read_bytes()
    assert first == write_report(tmp_path).read_bytes()
    assert str(tmp_path).encode() not in first


# Pictures


def test_the_latest_samples_and_all_of_the_evaluation_are_shown(tmp_path: Path) -> None:
    folder = make_stage(tmp_path, CONTROLLER)
    for name in (
        "samples/000000000900.png",
        "samples/000000001200.png",
        "evaluation/noisy-best.jpg",
        "evaluation/b.png",
    ):
        (folder.path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder.path / name), np.full((20, 60, 3), len(name), np.uint8))
    (folder.path / "evaluation" / "broken.png").write_bytes(b"no picture")
    page = Page(write_report(tmp_path))
    whats = ["validation after 1,200 images", "noisy-best", "b"]
    assert [a["alt"] for a in page.all("img")] == [f"LQ, restored and GT side by side: {what}" for what in whats]
    assert "evaluation/broken.png could not be read" in page.text
    data = base64.b64decode(page.all("img")[0]["src"].partition(",")[2])
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (20, 60, 3)
    assert np.all(np.abs(decoded.astype(int) - len("samples/000000001200.png")) <= 2)


def test_pictures_share_the_room_there_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for k, (height, width) in enumerate([(100, 300), (500, 1500), (400, 3000)]):
        paths.append(tmp_path / f"{k}.png")
        cv2.imwrite(str(paths[-1]), rng.integers(0, 256, (height, width, 3), np.uint8))  # noise: nothing is smaller
    found = encode_pictures(paths, room=900_000)
    assert sum(len(p.uri) for p in found.values()) <= 900_000
    small, large, wide = found.values()
    assert (small.width, small.height, small.remark) == (300, 100, "")
    assert large.width < 1500
    assert large.remark == f"scaled to {100 * large.width / 1500:.0f} %"
    assert large.height == pytest.approx(large.width / 3, abs=1)
    assert wide.width <= 1600
    none = encode_pictures(paths, room=1000)
    assert {p.uri for p in none.values()} == {""}
    assert {p.remark for p in none.values()} == {"left out, as the page would be too large"}


# Lineage


def test_models_tell_where_they_come_from(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    digest = json.loads((tmp_path / "out" / "manifest.json").read_text())["digest"]
    run = tmp_path / "run"
    controller = make_stage(run, CONTROLLER, done={}, dataset=digest)
    start = controller.done()["model"]
    restorer = make_stage(run, RESTORER, done={}, dataset=digest, start=start)
    page = Page(write_report(run, tmp_path / "out"))
    assert "Trained on the dataset tiny, 2 samples" in page.text
    titles = [a["title"] for a in page.all("abbr")]
    assert {digest, start, restorer.done()["model"]} <= set(titles)
    assert f"{start[:16]}…" in page.text
    assert f"{start[:17]}" not in page.text
    assert "hazy, noisy" in page.text
    assert "the dataset has changed" not in page.text
    assert "another controller" not in page.text


def test_models_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    run = tmp_path / "run"
    make_stage(run, CONTROLLER, done={})
    folder = make_stage(run, RESTORER, done={"model": "0" * 64}, start="1" * 64)
    text = Page(write_report(run, tmp_path / "out")).text
    assert "trained on another controller than the one in this run" in text
    assert text.count("the dataset has changed since") == 4  # of each stage, with the stages and with the models
    assert "model.safetensors is not the one that done.json names" in text
    (folder.path / MODEL).write_bytes(b"damaged")
    text = Page(write_report(run)).text
    assert "model.safetensors: cut short, or no patina checkpoint" in text
    assert str(tmp_path) not in text


# What is not there


def test_a_stage_of_which_nothing_can_be_read_is_named(tmp_path: Path) -> None:
    folder = make_stage(tmp_path, CONTROLLER, steps(200, 100))
    (folder.path / STAGE).write_text("{")
    (folder.path / DONE).write_text("[]")
    torn = (folder.path / METRICS).read_text() + '{"seen": 300, "lo'
    (folder.path / METRICS).write_text(torn)
    (folder.path / "evaluation.json").write_text("[1]")
    page = Page(write_report(tmp_path))
    assert page.column("Stages of the run", "state") == {"controller": "stopped at 200 of an unknown number of images"}
    for told in ("stage.json cannot be read", "done.json holds list", "evaluation.json holds list"):
        assert f"controller: {told}" in page.text
    (folder.path / METRICS).write_bytes(b"\xff\xfe")
    assert "metrics.jsonl cannot be read" in Page(write_report(tmp_path)).text


def test_a_stage_that_has_just_begun(tmp_path: Path) -> None:
    make_stage(tmp_path, replace(CONTROLLER, ema=Ema(0.99)))
    page = Page(write_report(tmp_path))
    assert page.column("Stages of the run", "state") == {"controller": "stopped at 0 of 1,000 images"}
    assert "d" * 64 in [a["title"] for a in page.all("abbr")]
    assert "No step has been logged yet." in page.text
    assert "No stage is finished yet." in page.text


def test_what_another_training_left_does_not_count(tmp_path: Path) -> None:
    folder = make_stage(tmp_path, CONTROLLER, done={})
    make_stage(tmp_path, replace(CONTROLLER, name="controller.before"))
    table = json.loads((folder.path / DONE).read_text())
    (folder.path / DONE).write_text(json.dumps({**table, "fingerprint": "another"}))
    page = Page(write_report(tmp_path))
    assert page.column("Stages of the run", "state") == {"controller": "stopped at 0 of 1,000 images"}
    assert "done.json is of another training than stage.json" in page.text
    (folder.path / DONE).write_text(json.dumps(table))
    (folder.path / MODEL).unlink()
    assert "but there is no model.safetensors" in Page(write_report(tmp_path)).text


def test_a_stage_that_others_start_from_is_told_though_it_has_no_folder(tmp_path: Path) -> None:
    make_stage(tmp_path, RESTORER)
    assert [(r.name, r.state) for r in read_run(tmp_path)] == [
        ("controller", "not begun"),
        ("irsde", "stopped at 0 of 2,000 images"),
    ]


def test_no_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such folder"):
        write_report(tmp_path / "none")
    with pytest.raises(StageError, match=r"none of its folders has a stage\.json"):
        write_report(tmp_path)
    make_stage(tmp_path, CONTROLLER)
    with pytest.raises(StageError, match="no patina dataset"):
        write_report(tmp_path, tmp_path / "nowhere")
    assert not (tmp_path / "report.html").exists()


def test_a_run_in_short(tmp_path: Path, paper: Table) -> None:
    rows = [*steps(1000, 100), {"seen": 1000, "val_accuracy": 0.9}]
    folder = make_stage(tmp_path / "my_run", CONTROLLER, rows, done={"notes": ["memory | ran out"]})
    (folder.path / "evaluation.json").write_text(json.dumps(EVALUATION))
    lines = summary_markdown(tmp_path / "my_run").splitlines()
    assert lines[0] == "**my\\_run**: 1 stage: 1 finished."
    assert lines[2] == "| stage | state | images seen | time | images/s | waited for data | score | network |"
    assert lines[3] == "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |"
    assert lines[4] == "| controller | finished | 1,000 | 20 s | 50 | 10% | 90% named rightly | daclip-b32 |"
    assert lines[lines.index("#### PSNR, dB") + 2] == (
        "| degradation | images | degraded | restored | gain | Known, paper | Its mean alone, paper |"
    )
    assert "| noisy | 1,200 | 20.00 | 27.00 | +7.00 | 24.36 | – |" in lines
    assert "- controller: memory \\| ran out" in lines
    assert "- controller: LPIPS: not computed: no weights" in lines
