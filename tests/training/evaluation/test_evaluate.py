"""Evaluations with networks whose answers are known: what they do to a picture, and what a CLIP sees in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patina.pipeline.builder.build import build
from patina.training.checkpoints import model as checkpoint
from patina.training.data.index import photographs_first, read_index
from patina.training.data.reading import read_pair
from patina.training.errors import CheckpointError, ModelInputError, NotFiniteError, StageError
from patina.training.evaluation import evaluate, measures
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.evaluate import classify
from patina.training.evaluation.measures import image_seed, right_names
from patina.training.evaluation.metrics import PERFECT, UnavailableMetricError, measure, psnr
from patina.training.evaluation.results import Classification, Evaluation, Row
from patina.training.images import centre
from patina.training.models import clip_adapter, daclip, nafnet
from patina.training.models.daclip import DEGRADATIONS
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.restorer import Restorer
from patina.training.restore.tiles import Tiling
from patina.training.stages.stage import Data, Optimiser, Sde, Stage, Validation
from tests.pipeline.making import photos, tiny_recipe

ENTRIES = {
    "noisy-50": {"use": "noisy", "sigma": 50},
    "noisy-15": {"use": "noisy", "sigma": 15},
    "jpeg-compressed": {"quality": 10},
    "uncompleted": {},
}
ORDER = ["jpeg-compressed", "noisy-15", "noisy-50", "uncompleted"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs under four entries, all of them on the side `val`."""
    folder = tmp_path_factory.mktemp("evaluate")
    photos(folder / "photos", 4)
    build(tiny_recipe(folder, degradations=ENTRIES, split={"val": 1.0}), folder / "out")
    return folder / "out"


STAGE = Stage("known", "direct", "nafnet-direct", Data(1), Optimiser(1e-4), 1)
PLAIN: dict[str, Any] = {"lpips": False, "fid": False}


class Does(nn.Module):
    """A network that does a known thing."""

    def __init__(self, what: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.what = what

    def forward(self, lq: Tensor, **_: Tensor) -> Tensor:
        return self.what(lq)


class Sees:
    """Stands in for a steering CLIP: takes what is brighter than `above` for the second of its names."""

    view, side, view_side = "photo", 0, 8

    def __init__(self, above: float = math.inf) -> None:
        self.above = above

    def to(self, _: object) -> Sees:
        return self

    def contexts(self, views: Tensor) -> dict[str, Tensor]:
        return {"degradation_context": torch.eye(2)[(views.mean(dim=(1, 2, 3)) > self.above).long()]}


def doing(what: Callable[[Tensor], Tensor], names: tuple[str, str] | None = None, above: float = math.inf) -> Restorer:
    if names is None:
        return Restorer(Does(what), None, STAGE)
    sees: Any = Sees(above)
    return Restorer(Does(what), sees, STAGE, degradations=names, texts=torch.eye(2))


def towards_truth(dataset: Path, share: float) -> Restorer:
    """A restorer that knows the dataset by heart, and goes a share of the way from LQ to GT."""
    index = read_index(dataset, "val")
    pairs = [read_pair(index, row) for row in range(len(index))]
    truth = {lq.tobytes(): torch.from_numpy(gt.copy()).permute(2, 0, 1).float() / 255 for lq, gt in pairs}

    def restored(lq: Tensor) -> Tensor:
        levels = (lq[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        return lq + share * (truth[levels.tobytes()] - lq)

    return doing(restored)


def mean_over(dataset: Path, entry: str, of: Callable[[Any, Any], float]) -> float:
    index = read_index(dataset, "val", [entry])
    return float(np.mean([of(*read_pair(index, row)) for row in range(len(index))]))


# Known numbers


@pytest.mark.parametrize("protocol", ["daclip", "vlunet"])
def test_a_network_that_does_nothing_has_the_inputs_numbers(dataset: Path, protocol: str) -> None:
    found = evaluate.evaluate(doing(lambda lq: lq), dataset, protocol=protocol, **PLAIN)
    assert [row.entry for row in found.rows] == ORDER
    assert [row.degradation for row in found.rows] == ["jpeg-compressed", "noisy", "noisy", "uncompleted"]
    for row in found.rows:
        assert row.count == 4
        for name in ("psnr", "ssim", "psnr_y", "ssim_y"):
            expected = mean_over(dataset, row.entry, lambda lq, gt, name=name: measure(lq, gt, protocol)[name])
            assert getattr(row, name) == pytest.approx(expected, abs=1e-4)
            assert getattr(row, f"input_{name}") == pytest.approx(expected, abs=1e-9)
        assert row.gain == pytest.approx(0, abs=1e-4)
        assert (row.accuracy, row.lpips, row.fid) == (None, None, None)
    assert found.mean.count == 16
    assert found.mean.psnr == pytest.approx(np.mean([row.psnr for row in found.rows]))
    assert (found.sampler, found.steps, found.notes) == ("", 0, ())


@pytest.mark.parametrize(
    ("protocol", "side", "sizes"),
    [("daclip", 0, {(50, 75)}), ("vlunet", 0, {(48, 64)}), ("vlunet", 40, {(32, 32)}), ("daclip", 40, {(40, 40)})],
)
def test_vlunets_protocol_cuts_to_sixteens_before_it_looks_and_restores(
    tmp_path: Path, protocol: str, side: int, sizes: set[tuple[int, int]]
) -> None:
    photos(tmp_path / "photos", 2, 75, 50)
    build(tiny_recipe(tmp_path, split={"val": 1.0}), tmp_path / "out")
    restored, looked = set(), set()

    def seen(lq: Tensor) -> Tensor:
        restored.add(tuple(lq.shape[-2:]))
        return lq

    class Looks(Restorer):
        def look(self, photo: Any) -> Any:
            looked.add(photo.shape[:2])
            return super().look(photo)

    restorer = Looks(Does(seen), None, STAGE)
    found = evaluate.evaluate(restorer, tmp_path / "out", protocol=protocol, side=side, **PLAIN)
    assert found.mean.count == 2
    assert restored == sizes
    assert looked == ({(48, 64)} if protocol == "vlunet" else {(50, 75)})


def test_half_of_the_way_to_the_truth_is_six_decibels(dataset: Path) -> None:
    found = evaluate.evaluate(towards_truth(dataset, 0.5), dataset, protocol="vlunet", **PLAIN)
    for row in (*found.rows, found.mean):
        assert row.gain == pytest.approx(20 * math.log10(2), abs=1e-3)
        assert row.worst_gain == pytest.approx(row.best_gain, abs=2e-3)
        assert row.lost == 0
    assert [row.psnr - row.input_psnr for row in found.rows] == pytest.approx([row.gain for row in found.rows])


def test_a_network_that_spoils_pictures_loses_them_all(dataset: Path) -> None:
    found = evaluate.evaluate(towards_truth(dataset, -1.0), dataset, protocol="vlunet", **PLAIN)
    assert found.mean.lost == found.mean.count == 16
    noisy = next(row for row in found.rows if row.entry == "noisy-15")
    assert noisy.gain < -5  # -6.02, and a little more where nothing is clipped
    assert noisy.worst_gain <= noisy.gain <= noisy.best_gain < 0


def test_the_truth_itself_counts_as_a_hundred_decibels_and_a_note_says_so(dataset: Path) -> None:
    found = evaluate.evaluate(towards_truth(dataset, 1.0), dataset, entries=["noisy-15"], **PLAIN)
    assert found.mean.psnr == PERFECT
    assert found.mean.ssim == pytest.approx(1)
    assert found.notes == ("4 pictures equal to the clean ones count as 100 dB",)
    assert json.loads(found.to_json())["mean"]["psnr"] == 100


def test_names_are_counted_by_entry_or_degradation(dataset: Path) -> None:
    def accuracies(*names: str) -> tuple[list[float | None], Evaluation]:
        found = evaluate.evaluate(doing(lambda lq: lq, (names[0], names[1])), dataset, **PLAIN)
        return [row.accuracy for row in found.rows], found

    # Always says its first name
    assert accuracies("noisy", "jpeg-compressed")[0] == [0, 1, 1, None]
    assert accuracies("noisy-50", "noisy-15")[0] == [None, 0, 1, None]
    every, found = accuracies("image with many noise", "image with haze")
    assert every == [None, 1, 1, None]  # 25 stands for noise where the level has no prompt of its own
    assert found.mean.accuracy == 1
    assert found.notes[0] == "jpeg-compressed: unknown to the CLIP, which has image with haze, image with many noise"


@pytest.mark.parametrize(
    ("entry", "degradation", "known", "right"),
    [
        ("noisy", "noisy", DEGRADATIONS, {"noisy"}),
        ("noisy-15", "noisy", DEGRADATIONS, {"noisy"}),
        ("noisy-15", "noisy", ("noisy", "noisy-15"), {"noisy-15"}),
        ("noisy", "noisy", ("noisy-15", "noisy-50", "hazy"), {"noisy-15", "noisy-50"}),
        ("low-light", "low-light", clip_adapter.PROMPTS, {"image with low light"}),
        ("noisy-50", "noisy", clip_adapter.PROMPTS, {"image with large amount of noise"}),
        ("noisy", "noisy", clip_adapter.PROMPTS, set(clip_adapter.PROMPTS[:3])),
        ("snowy", "snowy", clip_adapter.PROMPTS, set()),
    ],
)
def test_which_names_are_right(entry: str, degradation: str, known: tuple[str, ...], right: set[str]) -> None:
    assert right_names(entry, degradation, known) == right


# Nothing but the seed and the key decides


def stochastic(tmp_path: Path) -> Path:
    """A run with a stage of IR-SDE, its network as it starts."""
    torch.manual_seed(0)
    stage = replace(STAGE, name="irsde", objective="sde", network="nafnet-refusion", size="tiny", sde=Sde(steps=4))
    stage = replace(stage, validation=Validation(sampler="posterior", steps=2))
    saved(tmp_path / "run", stage, nafnet.NAFNet(nafnet.TINY))
    return tmp_path / "run"


def saved(run: Path, stage: Stage, net: nn.Module, **notes: str) -> Path:
    path = run / stage.name / "model.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.save(net, path, network=stage.network, notes={"stage": json.dumps(stage.table()), **notes})
    (path.parent / "done.json").write_text("{}")
    return path


def test_an_image_is_restored_alike_whatever_else_is_evaluated(dataset: Path, tmp_path: Path) -> None:
    run = stochastic(tmp_path)
    one = evaluate.evaluate(run, dataset, entries=["noisy-15"], per_entry=2, **PLAIN)
    again = evaluate.evaluate(run, dataset, entries=["uncompleted", "noisy-15"], per_entry=2, **PLAIN)
    assert again.rows[0] == one.rows[0]
    assert (one.stage, one.sampler, one.steps) == ("irsde", "posterior", 2)
    other = evaluate.evaluate(run, dataset, entries=["noisy-15"], per_entry=2, seed=1, **PLAIN)
    assert other.rows[0].psnr != one.rows[0].psnr
    assert other.rows[0].input_psnr == one.rows[0].input_psnr
    fast = evaluate.evaluate(run, dataset, entries=["noisy-15"], per_entry=1, sampler="fast-ode", **PLAIN)
    assert (fast.sampler, fast.steps) == ("fast-ode", 0)
    assert fast.rows[0].count == 1


def test_seeds_follow_from_keys() -> None:
    seeds = {image_seed(seed, key) for seed in (0, 1) for key in ("00ff", "00fe", "00ff.1")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert image_seed(0, "00ff") == image_seed(0, "00ff")


def test_the_first_by_key_are_taken(dataset: Path) -> None:
    index = read_index(dataset, "val", ["noisy-15"])
    first = sorted(range(len(index)), key=lambda row: str(index.keys[row]))[:2]
    found = evaluate.evaluate(doing(lambda lq: lq), dataset, entries=["noisy-15"], per_entry=2, **PLAIN)
    assert found.mean.input_psnr == pytest.approx(np.mean([psnr(*read_pair(index, row), border=4) for row in first]))
    assert {found.rows[0].worst, found.rows[0].best} <= {str(index.keys[row]) for row in first}


def test_the_middle_is_restored_and_the_whole_looked_at(dataset: Path) -> None:
    seen: list[tuple[int, ...]] = []
    given: list[tuple[int, ...]] = []

    class Looks(Sees):
        def contexts(self, views: Tensor) -> dict[str, Tensor]:
            seen.append(tuple(views.shape))
            return super().contexts(views)

    def restored(lq: Tensor) -> Tensor:
        given.append(tuple(lq.shape[-2:]))
        return lq

    looks: Any = Looks()
    restorer = Restorer(Does(restored), looks, STAGE, degradations=("noisy", "uncompleted"), texts=torch.eye(2))
    found = evaluate.evaluate(restorer, dataset, entries=["noisy-15"], side=24, **PLAIN)
    assert set(given) == {(24, 24)} and len(seen) == len(given) == 4
    expected = mean_over(dataset, "noisy-15", lambda lq, gt: psnr(centre(lq, 24), centre(gt, 24), border=4))
    assert found.mean.input_psnr == pytest.approx(expected)
    assert found.notes == ("restored and measured: squares of at most 24 px from the middle",)


def test_every_photograph_is_taken_before_one_is_taken_again() -> None:
    index: Any = SimpleNamespace(scene=np.array([5, 5, 7, 7, 7, 5, 9]))
    assert photographs_first(index, np.arange(7)).tolist() == [0, 2, 6, 1, 3, 4, 5]
    assert photographs_first(index, np.array([4, 3, 1])).tolist() == [4, 1, 3]


def test_tiles_restore_what_the_whole_does(dataset: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def darker(lq: Tensor) -> Tensor:
        seen.append(tuple(lq.shape[-2:]))
        return lq * 0.9

    options: dict[str, Any] = {"entries": ["noisy-15"], "per_entry": 1, "protocol": "vlunet", **PLAIN}
    whole = evaluate.evaluate(doing(darker), dataset, **options)
    assert seen == [(48, 64)]
    tiled = evaluate.evaluate(doing(darker), dataset, tiling=Tiling(32, 8), **options)
    assert set(seen[1:]) == {(32, 32)}
    assert tiled.mean.psnr == pytest.approx(whole.mean.psnr, abs=1e-3)


def test_sampler_and_steps_are_those_asked_for(dataset: Path) -> None:
    times: list[float] = []

    class Counts(nn.Module):
        def forward(self, x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
            times.append(float(t))
            return x - mu

    stage = replace(STAGE, objective="sde", sde=Sde(steps=6), validation=Validation(sampler="posterior", steps=2))
    restorer = Restorer(Counts(), None, stage)

    def calls(**options: Any) -> tuple[int, Evaluation]:
        times.clear()
        found = evaluate.evaluate(restorer, dataset, entries=["noisy-15"], per_entry=1, **options, **PLAIN)
        return len(times), found

    assert [calls()[0], calls(steps=5)[0], calls(sampler="posterior")[0]] == [2, 5, 6]
    assert [calls(steps=5)[1].steps, calls(sampler="posterior")[1].steps] == [5, 0]
    euler, posterior = (calls(sampler=name, steps=6)[1] for name in ("ode", "posterior"))
    assert (euler.sampler, posterior.sampler) == ("ode", "posterior")
    assert euler.mean.psnr != posterior.mean.psnr


def test_the_precision_is_the_networks_and_is_told(dataset: Path) -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)
            with torch.no_grad():
                nn.init.dirac_(self.layer.weight).mul_(0.9)
            nn.init.zeros_(self.layer.bias)  # type: ignore[arg-type]
            self.computed: list[torch.dtype] = []

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x)
            self.computed.append(found.dtype)
            return found

    net = Watched()
    options: dict[str, Any] = {"entries": ["noisy-15"], "per_entry": 2, **PLAIN}
    exact = evaluate.evaluate(Restorer(net, None, STAGE), dataset, **options)
    low = evaluate.evaluate(Restorer(net, None, STAGE), dataset, precision="bf16", **options)
    assert net.computed == [torch.float32] * 2 + [torch.bfloat16] * 2
    assert [note for note in low.notes if note not in exact.notes] == ["restored in bfloat16"]
    assert low.mean.psnr == pytest.approx(exact.mean.psnr, abs=0.1) and low.mean.psnr != exact.mean.psnr
    assert low.mean.input_psnr == exact.mean.input_psnr
    with pytest.raises(ModelInputError, match="precision 'fp16'; expected fp32 or bf16"):
        evaluate.evaluate(Restorer(net, None, STAGE), dataset, precision="fp16", **options)  # type: ignore[arg-type]


# LPIPS and FID


def test_perceptual_metrics_are_of_every_image(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Difference:
        """Stands in for LPIPS: the mean difference."""

        def __init__(self, weights: Path | None, device: object) -> None:
            assert weights == Path("alex.pth")

        def __call__(self, restored: Tensor, gt: Any) -> float:
            return float((restored - torch.from_numpy(gt / np.float32(255)).permute(2, 0, 1)).mean())

    class Mean:
        """Stands in for Inception: the mean colour, in levels."""

        def __init__(self, weights: Path | None, device: object) -> None:
            assert weights is None

        def features(self, image: Any) -> Any:
            return image.astype(np.float64).mean(axis=(0, 1))

    monkeypatch.setattr(measures, "Lpips", Difference)
    monkeypatch.setattr(measures, "Fid", Mean)
    restorer = doing(lambda lq: lq + 2.0)  # not clipped for LPIPS, white for everything else
    found = evaluate.evaluate(restorer, dataset, lpips=Path("alex.pth"), fid=True)
    for row in found.rows:
        assert row.lpips is not None
        assert row.input_lpips is not None
        assert row.lpips - row.input_lpips == pytest.approx(2, abs=1e-5)
        index = read_index(dataset, "val", [row.entry])
        clean = np.array([read_pair(index, i)[1].astype(float).mean(axis=(0, 1)) for i in range(len(index))])
        expected = np.square(255 - clean.mean(axis=0)).sum() + np.trace(np.cov(clean.T))
        assert row.fid == pytest.approx(expected)
    assert found.mean.fid == pytest.approx(np.mean([row.fid for row in found.rows]))
    assert found.notes == ("FID: of 4 pictures at least; below 2,048 it is too high, and compares with as many alone",)
    assert "### LPIPS, lower is better" in found.markdown()
    alone = evaluate.evaluate(restorer, dataset, entries=["noisy-15"], per_entry=1, lpips=False)
    assert alone.rows[0].fid is None
    assert alone.notes[0].startswith("FID of noisy-15: not computed: 1 and 1 pictures; FID needs two or more")


def test_what_cannot_be_had_is_a_line_and_no_zero(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> None:
        raise UnavailableMetricError("the weights cannot be had; go online once, or give their file")

    monkeypatch.setattr(measures, "Lpips", lacking)
    monkeypatch.setattr(measures, "Fid", lacking)
    found = evaluate.evaluate(doing(lambda lq: lq), dataset, per_entry=1)
    assert found.notes == (
        "LPIPS: not computed: the weights cannot be had; go online once, or give their file",
        "FID: not computed: the weights cannot be had; go online once, or give their file",
    )
    assert json.loads(found.to_json())["mean"]["lpips"] is None
    assert "- LPIPS: not computed: the weights cannot be had" in found.markdown()
    assert "### LPIPS" not in found.markdown()


# What is written


def test_strips_show_the_best_first_and_the_worst_last(dataset: Path, tmp_path: Path) -> None:
    darker = doing(lambda lq: lq * 0.8)
    found = evaluate.evaluate(darker, dataset, entries=["noisy-15"], pictures=tmp_path / "strips", **PLAIN)
    row = found.rows[0]
    assert row.worst != row.best
    shown = cv2.imread(str(tmp_path / "strips" / "noisy-15.png"))[..., ::-1]
    index = read_index(dataset, "val", ["noisy-15"])
    height = 48
    assert shown.shape in {(2 * height, 3 * 64, 3), (3 * height, 3 * 64, 3)}
    for key, strip in ((row.best, shown[:height]), (row.worst, shown[-height:])):
        lq, gt = read_pair(index, int(np.flatnonzero(index.keys == key)[0]))
        assert (strip[:, :64] == lq).all()
        assert np.abs(strip[:, 64:128].astype(float) - 0.8 * lq).max() <= 0.5001
        assert (strip[:, 128:] == gt).all()


def test_json_comes_back_and_markdown_has_the_papers_beside(dataset: Path) -> None:
    found = evaluate.evaluate(doing(lambda lq: lq, ("noisy", "hazy")), dataset, protocol="vlunet", **PLAIN)
    assert Evaluation.from_json(found.to_json()) == found
    table = json.loads(found.to_json())
    assert {"split", "protocol", "sampler", "steps", "seed", "rows", "mean", "notes"} <= set(table)
    text = found.markdown()
    line = next(line for line in text.splitlines() if line.startswith("| noisy-50"))
    assert line.endswith("| 28.23 | 28.19 | 28.30 | 28.06 |")
    assert next(line for line in text.splitlines() if line.startswith("| jpeg-compressed")).endswith("| – | – | – |")
    assert next(line for line in text.splitlines() if line.startswith("| mean")).endswith(
        "| – | – | – |"
    )  # other entries
    assert "- The papers measured on other photographs (noisy-15 CBSD68; noisy-50 CBSD68), so only orders" in text
    assert "### Degradations named" in text
    assert "| noisy-15 | 4 | 100.0 % | – |" in text
    assert text.index("| jpeg-compressed") < text.index("| noisy-15") < text.index("| uncompleted")


def test_the_papers_mean_stands_beside_a_mean_of_the_same_entries() -> None:
    row = Row("", "", 1, *(20.0,) * 11, lost=0)
    rows = tuple(replace(row, entry=entry, degradation=entry.partition("-")[0]) for entry in published.NHR)
    mean = replace(row, entry="mean", count=5)
    found = Evaluation("vlunet", "0", "val", "vlunet", "", 0, 0, rows, mean)
    assert (
        "| mean | 5 | 20.00 | 20.00 | +20.00 | +20.00 | +20.00 | 0 | 32.70 | 32.69 | 32.43 | 32.06 |"
        in found.markdown()
    )
    assert "Papers' figures: VLU-Net, three tasks" in found.markdown()
    assert "| hazy | 1 | 20.000 | 20.000 | 0.980 |" in found.markdown()


@pytest.mark.parametrize("text", ["nothing", "[]", "{}", '{"rows": [{"strange": 1}]}'])
def test_json_of_others_is_refused(text: str) -> None:
    for kind in (Evaluation, Classification):
        with pytest.raises(StageError, match=r"(not an?|no) (evaluation|classification)"):
            kind.from_json(text)


def test_progress_is_told(dataset: Path) -> None:
    told: list[tuple[int, int]] = []
    evaluate.evaluate(doing(lambda lq: lq), dataset, per_entry=1, progress=lambda d, t: told.append((d, t)), **PLAIN)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


# A CLIP alone


def controller(tmp_path: Path, kind: Literal["contrastive", "prompts"]) -> Path:
    """A model file of a controller or of adapters, as it starts."""
    torch.manual_seed(1)
    daclip_net = kind == "contrastive"
    network = "daclip-b32" if daclip_net else "clip-adapter-b32"
    net: nn.Module = daclip.DaClip(daclip.TINY) if daclip_net else clip_adapter.AdaptedClip(clip_adapter.TINY)
    data = Data(1, order="scenes", view="photo") if daclip_net else Data(1, view="patch-floats", crop=32)
    stage = replace(STAGE, name="clip", objective=kind, network=network, size="tiny", data=data)
    words = ["jpeg-compressed", "noisy", "uncompleted"]
    return saved(tmp_path / "run", stage, net, words=json.dumps(words), texts=json.dumps(words))


@pytest.mark.parametrize("kind", ["contrastive", "prompts"])
def test_a_stages_clip_is_asked_alone(dataset: Path, tmp_path: Path, kind: Literal["contrastive", "prompts"]) -> None:
    path = controller(tmp_path, kind)
    found = classify(path, dataset)
    conditioner, degradations, texts = evaluate.load_conditioner(path)
    assert isinstance(conditioner, Conditioner)
    assert found.degradations == degradations
    assert json.loads(found.to_json())["words"] == list(degradations), "as the first version stored them"
    looker = Restorer(nn.Identity(), conditioner, STAGE, degradations=degradations, texts=texts)
    index = read_index(dataset, "val")
    said = [next(iter(looker.look(read_pair(index, row)[0]).degradations)) for row in range(len(index))]
    for row in found.rows:
        own = [name for name, entry in zip(said, index.entry, strict=True) if index.names[entry] == row.entry]
        assert row.accuracy == own.count(row.degradation) / 4
        assert dict(row.taken_for) == {name: own.count(name) for name in own}
    assert found.mean.accuracy == pytest.approx(np.mean([row.accuracy for row in found.rows]))
    assert Classification.from_json(found.to_json()) == found


def test_names_of_a_known_clip_and_what_it_took_for_what(dataset: Path) -> None:
    found = classify(doing(lambda lq: lq, ("noisy", "jpeg-compressed")), dataset)
    assert [(row.entry, row.accuracy) for row in found.rows] == [
        ("jpeg-compressed", 0),
        ("noisy-15", 1),
        ("noisy-50", 1),
        ("uncompleted", None),
    ]
    assert found.rows[0].taken_for == (("noisy", 4),)
    assert found.mean.accuracy == pytest.approx(2 / 3)
    assert found.notes == ("uncompleted: unknown to the CLIP, which has jpeg-compressed, noisy",)
    assert "| jpeg-compressed | 4 | 0.0 % | 20.7 | 100.0 | 100.0 | 100.0 | noisy 4 |" in found.markdown()  # Table 4
    assert "| noisy-50 | 4 | 100.0 % | 1.5 | 100.0 | 97.1 | 100.0 |" in found.markdown()


# Bad input


def test_bad_input_is_told_before_any_work(dataset: Path, tmp_path: Path) -> None:
    def refuses(kind: type[Exception], told: str, run: Any, **options: Any) -> None:
        options = {"dataset": dataset, **PLAIN, **options}
        with pytest.raises(kind, match=told):
            evaluate.evaluate(run, options.pop("dataset"), **options)

    never = doing(lambda lq: pytest.fail("work was begun"))
    refuses(StageError, "no samples in the split 'test'", never, split="test")
    refuses(StageError, "the stage wants hazy", never, entries=["hazy"])
    refuses(StageError, "no patina dataset", never, dataset=tmp_path)
    refuses(StageError, "no protocol 'ours'; expected daclip or vlunet", never, protocol="ours")
    refuses(StageError, "no sampler 'slow'; known are", never, sampler="slow")
    refuses(StageError, "expected 0 .all. or more", never, per_entry=-1)
    refuses(CheckpointError, "no such file or folder", tmp_path / "nothing")
    refuses(CheckpointError, "no finished restorer", tmp_path)
    path = controller(tmp_path, "contrastive")
    refuses(StageError, "names degradations and restores nothing", path)
    with pytest.raises(StageError, match="known has no CLIP that names degradations"):
        classify(never, dataset)
    with pytest.raises(StageError, match="restores; give the model of a controller"):
        classify(stochastic(tmp_path / "other") / "irsde" / "model.safetensors", dataset)


def test_numbers_that_are_not_finite_name_the_image(dataset: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"jpeg-compressed [0-9a-f]{16}-[a-z-]+: .* that are not finite"):
        evaluate.evaluate(doing(lambda lq: lq / 0), dataset, **PLAIN)


def test_options_of_samplers_are_noted_where_there_is_none(dataset: Path) -> None:
    found = evaluate.evaluate(doing(lambda lq: lq), dataset, per_entry=1, sampler="posterior", **PLAIN)
    assert found.sampler == ""
    assert found.notes == ("known restores in one pass; sampler and steps were not used",)
