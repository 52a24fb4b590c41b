"""Metrics: the papers' own numbers, scikit-image's, laws, and networks that cannot be had."""

from __future__ import annotations

import itertools
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.errors import ModelInputError
from patina.training.evaluation import daclip_tables, metrics
from patina.training.evaluation import paper_tables as published
from patina.training.evaluation.metrics import (
    PERFECT,
    PROTOCOLS,
    Fid,
    Lpips,
    Pixels,
    UnavailableMetricError,
    fid_caution,
    frechet_distance,
    luma,
    measure,
    psnr,
    psnr_for_means,
    ssim_gaussian,
    ssim_uniform,
)
from patina.training.evaluation.paper_rows import Table
from patina.training.models import daclip
from tests.pipeline.making import picture
from tests.training import fill

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
GT = fill.uint8_image("metric.gt", 61, 83)
LQ = np.clip(GT + np.floor(14 * fill.normal("metric.noise", (61, 83, 3)) + 0.5), 0, 255).astype(np.uint8)


def tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255


# The papers' numbers


def test_the_inputs_are_those_of_the_goldens() -> None:
    assert (GT.sum(), LQ.sum()) == (GOLDEN["a_sum_f64"], GOLDEN["b_sum_f64"])


@pytest.mark.parametrize("border", [0, 4])
def test_daclips_numbers(border: int) -> None:
    y_lq, y_gt = luma(LQ), luma(GT)
    found = {
        "psnr": psnr(LQ, GT, border),
        "ssim": ssim_gaussian(LQ, GT, border),
        "psnr_y": psnr(y_lq, y_gt, border),
        "ssim_y": ssim_gaussian(y_lq, y_gt, border),
    }
    for name, value in found.items():
        assert value == pytest.approx(float(GOLDEN[f"crop{border}_{name}_f64"]), abs=1e-10), name


def test_luma_is_not_rounded() -> None:
    assert luma(GT) / 255 == pytest.approx(GOLDEN["y_of_a_f64"], abs=1e-12)


def test_vlunets_numbers() -> None:
    lq, gt = LQ / 255, GT / 255
    assert psnr(lq, gt, peak=1) == pytest.approx(float(GOLDEN["vlu_psnr_f64"]), abs=1e-6)  # computed there in float32
    assert ssim_uniform(lq, gt) == pytest.approx(float(GOLDEN["vlu_ssim_f64"]), abs=1e-6)


@pytest.mark.parametrize("shape", [(7, 7), (8, 23), (40, 31)])
def test_uniform_ssim_is_scikit_images(shape: tuple[int, int]) -> None:
    structural_similarity = import_module("skimage.metrics").structural_similarity
    rng = np.random.default_rng(1)
    x, y = rng.random((*shape, 3)), rng.random((*shape, 3))
    assert ssim_uniform(x, y) == pytest.approx(structural_similarity(x, y, data_range=1, channel_axis=2), abs=1e-12)


# Known answers and laws


@given(st.integers(1, 100), st.integers(0, 3))
def test_a_constant_step_has_its_psnr(step: int, border: int) -> None:
    dark = np.full((12, 9, 3), 100, np.uint8)
    assert psnr(dark, dark + np.uint8(step), border) == pytest.approx(20 * math.log10(255 / step))


def test_equal_pictures_are_perfect() -> None:
    assert psnr(GT, GT) == math.inf
    assert psnr_for_means(GT, GT) == PERFECT
    assert psnr_for_means(GT, GT ^ 1) == psnr(GT, GT ^ 1)
    assert ssim_gaussian(GT, GT) == pytest.approx(1)
    assert ssim_uniform(GT / 255, GT / 255) == pytest.approx(1)


@pytest.mark.parametrize("ssim", [ssim_gaussian, ssim_uniform])
def test_flat_pictures_differ_by_luminance_alone(ssim: Any) -> None:
    a, b = np.full((16, 16, 3), 50.0), np.full((16, 16, 3), 80.0)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b, peak=255.0) == pytest.approx((2 * 50 * 80 + c1) / (50**2 + 80**2 + c1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_more_noise_is_worse_in_every_measure(protocol: str) -> None:
    noise = np.random.default_rng(0).normal(0, 1, GT.shape)
    found = [measure(np.clip(GT / 255 + s * noise, 0, 1), GT, protocol) for s in (0.02, 0.05, 0.1, 0.2)]
    for weaker, stronger in itertools.pairwise(found):
        assert all(weaker[name] > stronger[name] for name in ("psnr", "ssim", "psnr_y", "ssim_y"))


def test_the_border_is_not_looked_at() -> None:
    spoilt = GT.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 255, 0, 255
    assert psnr(spoilt, GT, 4) == math.inf
    assert measure(spoilt, GT, "daclip")["ssim"] == pytest.approx(1)
    assert psnr(spoilt, GT, 3) < math.inf


def test_daclips_protocol_rounds_and_cuts_the_border() -> None:
    found = measure(tensor(LQ) + 0.4 / 255, GT, "daclip")
    for name, value in found.items():
        assert value == pytest.approx(float(GOLDEN[f"crop4_{name}_f64"]), abs=1e-10), name


def test_vlunets_protocol_does_not_round_and_takes_the_centre() -> None:
    gt = GT // 2  # below white, where a step would be clipped
    off = gt.astype(np.float32) / 255 + np.float32(0.1 / 255)
    expected = 20 * math.log10(255 / 0.1)
    assert measure(off, gt, "vlunet")["psnr"] == pytest.approx(expected, abs=1e-3)
    off[:6], off[6 + 48 :], off[:, :1], off[:, 1 + 80 :] = 0, 0, 0, 0  # 61 x 83 has a centre of 48 x 80
    assert measure(off, gt, "vlunet")["psnr"] == pytest.approx(expected, abs=1e-3)


def test_tensors_arrays_and_bytes_are_measured_alike_and_clipped() -> None:
    by_tensor, by_array, by_bytes = (measure(x, GT) for x in (tensor(LQ), LQ / 255, LQ))
    assert by_tensor == by_bytes
    assert by_array == by_bytes
    white = np.full((32, 32, 3), 255, np.uint8)
    assert measure(torch.full((3, 32, 32), 1.7), white)["psnr"] == math.inf


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(ModelInputError, match=r"no protocol 'ours'; known are daclip, vlunet"):
        measure(LQ, GT, "ours")
    with pytest.raises(ModelInputError, match="expected H x W x 3 both"):
        measure(LQ[:-1], GT)
    with pytest.raises(ModelInputError, match="expected 3 x H x W"):
        measure(torch.zeros(1, 3, 61, 83), GT)
    with pytest.raises(ModelInputError, match="expected 11 px or more"):
        measure(LQ[:18], GT[:18])
    with pytest.raises(ModelInputError, match="multiples of 16"):
        measure(LQ[:15], GT[:15], "vlunet")
    with pytest.raises(ModelInputError, match="3 of 15,189 numbers that are not finite"):
        broken = LQ / 255
        broken[5, 5] = np.nan
        measure(broken, GT)
    with pytest.raises(ModelInputError, match="expected one shape"):
        psnr(LQ, GT[1:])


# Fréchet distance


def test_a_shift_of_the_mean_is_its_square() -> None:
    x = np.random.default_rng(2).normal(size=(50, 8))
    away = np.arange(8.0)
    assert frechet_distance(list(x), list(x + away)) == pytest.approx(float(away @ away))
    assert frechet_distance(list(x), list(x)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("count", [5, 8, 200])
def test_a_larger_spread_has_the_distance_of_the_roots(count: int) -> None:
    x = np.random.default_rng(3).normal(size=(count, 8))
    trace = float(np.trace(np.cov(x.T)))
    grown = x.mean(axis=0) + 3 * (x - x.mean(axis=0))
    assert frechet_distance(list(x), list(grown)) == pytest.approx((3 - 1) ** 2 * trace)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (40, 300), (9, 7)])
def test_the_distance_is_the_formulas(n: int, m: int) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(n, 12)) @ rng.normal(size=(12, 12)), rng.normal(1, 2, size=(m, 12))
    covariances = np.cov(x.T), np.cov(y.T)
    cross = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    away = x.mean(axis=0) - y.mean(axis=0)
    expected = away @ away + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross
    assert frechet_distance(list(x), list(y)) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(list(y), list(x)) == pytest.approx(expected, rel=1e-6)


def test_one_picture_has_no_distance_and_few_have_a_caution() -> None:
    with pytest.raises(ModelInputError, match="1 and 2 pictures; FID needs two or more of each"):
        frechet_distance([np.zeros(4)], [np.zeros(4)] * 2)
    assert "of 29 pictures at least; below 2,048" in fid_caution([5000, 29, 68])
    assert fid_caution([2048, 9000]) == fid_caution([]) == ""


# Networks


def library(name: str) -> None:
    """Skip without it."""
    ensure_torchvision()
    pytest.importorskip(name)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of AlexNet's convolutions under torchvision's names."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    tensors = {}
    for number, shape in shapes.items():
        bound = (shape[1] * shape[2] * shape[3]) ** -0.5
        name = f"features.{number}"
        tensors[f"{name}.weight"] = torch.from_numpy(fill.signed(name, shape) * bound).float()
        tensors[f"{name}.bias"] = torch.from_numpy(fill.signed(f"{name}.bias", shape[:1]) * bound).float()
    torch.save(tensors, path)
    return path


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained'", "ignore:Arguments other than a weight enum")
@torch.no_grad()
def test_lpips_from_a_file_is_the_librarys(alexnet: Path) -> None:
    library("lpips")
    gt, lq = picture(48, 40), picture(48, 40, seed=1)
    ours = Lpips(alexnet)
    theirs = import_module("lpips").LPIPS(net="alex", pnet_rand=True, verbose=False)
    for parameter, stored in zip(theirs.net.parameters(), torch.load(alexnet).values(), strict=True):
        parameter.copy_(stored)
    expected = float(theirs(tensor(lq)[None] * 2 - 1, tensor(gt)[None] * 2 - 1))
    assert ours(tensor(lq), gt) == pytest.approx(expected, rel=1e-6)
    assert expected > 1e-4
    assert ours(tensor(gt), gt) == 0
    assert ours(tensor(lq) + 0.5, gt) != ours((tensor(lq) + 0.5).clamp(0, 1), gt)  # not clipped, as published
    with pytest.raises(ModelInputError, match="of 32 px or more"):
        ours(tensor(lq[:20]), gt[:20])


def test_lpips_says_what_is_wrong_with_a_file(alexnet: Path, tmp_path: Path) -> None:
    library("lpips")
    with pytest.raises(UnavailableMetricError, match=r"holds no weights of AlexNet.*give the file that"):
        Lpips(tmp_path / "nothing.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UnavailableMetricError, match=r"other\.pth holds no weights of AlexNet"):
        Lpips(tmp_path / "other.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(UnavailableMetricError, match="no plain tensors"):
        Lpips(tmp_path / "code.pth")


def test_lpips_without_a_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library("lpips")

    def offline(*_: object, **__: object) -> None:
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(import_module("torchvision.models.alexnet"), "load_state_dict_from_url", offline, raising=False)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        UnavailableMetricError, match=r"weights of AlexNet cannot be had \(.*Name or service.*\); go online"
    ):
        Lpips()


@pytest.mark.parametrize(("metric", "library"), [(Lpips, "lpips"), (Fid, "torch-fidelity")])
def test_a_missing_library_is_told(metric: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(metrics, "import_module", missing)
    with pytest.raises(
        UnavailableMetricError, match=f"the library {library} is not installed .*; pip install {library}"
    ):
        metric()


class Inception(torch.nn.Module):
    """Stands in for the network of torch-fidelity: what it is asked, and features with a known distance."""

    asked: tuple[Any, ...] = ()

    def __init__(self, name: str, layers: list[str], feature_extractor_weights_path: str | None) -> None:
        super().__init__()
        type(self).asked = (name, layers, feature_extractor_weights_path)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (images.double().mean(dim=(2, 3)),)


def test_fid_of_sets_is_of_the_networks_features(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type("M", (), {"FeatureExtractorInceptionV3": Inception})
    monkeypatch.setattr(metrics, "import_module", lambda _: module)
    fid = Fid()
    assert Inception.asked == ("inception-v3-compat", ["2048"], None)
    flat = [np.full((8, 9, 3), level, np.uint8) for level in (10, 20, 60)]
    brighter = [image + np.uint8(7) for image in flat]
    assert fid.of_sets(brighter, flat) == pytest.approx(3 * 7**2)
    assert fid.of_sets(flat, flat) == pytest.approx(0, abs=1e-9)


def test_fid_refuses_a_file_that_would_run_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = type("M", (), {"FeatureExtractorInceptionV3": Inception})
    monkeypatch.setattr(metrics, "import_module", lambda _: module)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(UnavailableMetricError, match=r"no weights of Inception \(no plain tensors"):
        Fid(tmp_path / "code.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "plain.pth")
    Fid(tmp_path / "plain.pth")
    assert Inception.asked[2] == str(tmp_path / "plain.pth")


@pytest.mark.slow
def test_inception_of_torch_fidelity_gives_features(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library("torch_fidelity")
    module = import_module("torch_fidelity.feature_extractor_inceptionv3")
    kind = module.FeatureExtractorInceptionV3

    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(module, "load_state_dict_from_url", offline)
    with pytest.raises(UnavailableMetricError, match=r"weights of Inception cannot be had \(Name or service"):
        Fid()
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(kind, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        torch.save(kind("random", ["2048"]).state_dict(), tmp_path / "inception.pth")
    fid = Fid(tmp_path / "inception.pth")
    features = fid.features(picture(40, 30))
    assert features.shape == (2048,)
    assert (features != fid.features(picture(40, 30, seed=1))).any()


# The papers' figures


ALL = (*published.NHR_TABLES, *published.NHRBL_TABLES, *daclip_tables.TABLES)


@pytest.mark.parametrize("table", ALL, ids=lambda t: f"{t.source} {t.metric}")
def test_figures_give_the_mean_that_is_printed_with_them(table: Table) -> None:
    for row in table.rows:
        if not row.figures or row.mean is None or table.is_misprinted(row):
            continue
        mean = sum(row.figures[entry] for entry in table.entries) / len(table.entries)
        assert abs(mean - row.mean) <= 10**-row.decimals, row.method  # half a digit of theirs, half of the mean's


def test_figures_know_their_protocol_and_their_level_of_noise() -> None:
    three, five = (published.tables("vlunet", names)["psnr"] for names in (["noisy-50"], ["noisy-25", "low-light"]))
    assert (three.entries, five.entries) == (published.NHR, published.NHRBL)
    assert three.rows[0].of("noisy-50") == 28.23
    assert five.rows[0].of("noisy-50") is None
    assert five.rows[0].text(None) == "–"


MISPRINTED = {
    ("psnr", "IR-SDE"),
    ("psnr", "DA-CLIP"),
    ("ssim", "NAFNet + DA-CLIP"),
    ("lpips", "NAFNet + DA-CLIP"),
    ("lpips", "IR-SDE"),
    ("accuracy", "OpenAI CLIP"),
}
"""Rows of DA-CLIP's paper whose printed means are not theirs."""


def test_misprinted_means_are_marked_and_no_others() -> None:
    found = {(table.metric, row.method) for table in ALL for row in table.rows if table.is_misprinted(row)}
    assert found == MISPRINTED
    table = published.tables("daclip", ["noisy"])["lpips"]
    row = next(row for row in table.rows if row.method == "NAFNet + DA-CLIP")
    assert table.mean_text(row) == "27.220†"
    assert "NAFNet + DA-CLIP, IR-SDE" in table.notes[1]


def test_daclips_figures_stand_where_the_paper_has_them() -> None:
    tables = published.tables("daclip", daclip.DEGRADATIONS)
    assert set(tables) == {"psnr", "ssim", "lpips", "fid", "accuracy"}
    ours = {metric: next(row for row in table.rows if row.method == "DA-CLIP") for metric, table in tables.items()}
    assert (ours["psnr"].of("rainy"), ours["ssim"].of("shadowed"), ours["accuracy"].of("motion-blurry")) == (
        29.41,
        0.811,
        91.6,
    )
    assert (ours["lpips"].of("noisy-50"), ours["fid"].of("uncompleted")) == (0.272, 25.73)
    one = {row.method: row for row in tables["psnr"].rows if row.method.endswith("one task")}
    assert one["MAXIM, one task"].figures == {"rainy": 30.81, "low-light": 23.43, "motion-blurry": 32.86, "hazy": 29.12}
    assert one["DeblurGAN, one task"].figures == {"motion-blurry": 28.70}
    assert one["JORDER, one task"].mean is None


def test_others_figures_say_whose_they_are() -> None:
    five = published.tables("vlunet", ["low-light"])["psnr"]
    (note,) = five.notes
    assert "AdaIR's are of AdaIR (Cui et al., ICLR 2025, arXiv 2403.14614)" in note
    assert "InstructIR's are of InstructIR (Conde et al., ECCV 2024, arXiv 2401.16468)" in note
    assert next(row for row in five.rows if row.method == "InstructIR").of("motion-blurry") == 29.40


def test_every_column_has_its_test_set() -> None:
    assert set(daclip.DEGRADATIONS) <= set(published.TEST_SETS["daclip"])
    assert set(published.NHR) | set(published.NHRBL) <= set(published.TEST_SETS["vlunet"])
