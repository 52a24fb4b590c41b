"""Depth maps through the real transformers code, on a tiny model that the test makes and saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.restore import depth
from patina.training.restore.depth import DepthModelError, _metres, write_depths
from tests.pipeline.making import photo, picture

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Depth Anything of a few thousand weights, random, with its processor."""
    ensure_torchvision()
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    folder = tmp_path_factory.mktemp("model")
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 28, "width": 28}, do_resize=True).save_pretrained(folder)
    return folder


def test_every_photograph_gets_a_map_of_its_size_in_millimetres(model: Path, tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", 70, 50)
    photo(tmp_path / "photos" / "there" / "b.jpg", 40, 60, seed=2)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no image")
    seen: list[tuple[int, int]] = []
    refusals = write_depths(
        tmp_path / "photos", str(model), tmp_path / "depth", near=2, far=30, progress=lambda d, t: seen.append((d, t))
    )
    assert [r.name for r in refusals] == ["bad.jpg"]
    assert seen == [(3, 3)]
    for name, size in {"a.png": (50, 70), "there/b.png": (60, 40)}.items():
        depth = cv2.imread(str(tmp_path / "depth" / name), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        assert depth.shape == size
        assert abs(int(depth.min()) - 2000) <= 1
        assert abs(int(depth.max()) - 30000) <= 30


def test_maps_that_are_there_are_not_made_again(model: Path, tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png")
    write_depths(tmp_path / "photos", str(model), tmp_path / "depth")
    before = (tmp_path / "depth" / "a.png").stat().st_mtime_ns
    write_depths(tmp_path / "photos", str(model), tmp_path / "depth")
    assert (tmp_path / "depth" / "a.png").stat().st_mtime_ns == before


def test_a_model_that_cannot_be_had_is_told_before_any_work(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png")
    with pytest.raises(DepthModelError, match=r"cannot be loaded: .*; give the folder of a model"):
        write_depths(tmp_path / "photos", str(tmp_path / "nothing"), tmp_path / "depth")
    assert not (tmp_path / "depth").exists()


def test_inverse_depth_becomes_metres() -> None:
    metres = _metres(np.array([[4.0, 1.0, 2.5]], np.float32), near=1, far=10)
    assert metres == pytest.approx(np.array([[1, 10, 1 / 0.55]]), rel=1e-5)


def test_haze_takes_the_maps(model: Path, tmp_path: Path) -> None:
    from patina.synth.degradation import Place
    from patina.synth.degradations import CATALOGUE
    from patina.synth.rng import Rng

    if "hazy" not in CATALOGUE:
        pytest.skip("hazy is not there yet")
    photo(tmp_path / "photos" / "a.png", 70, 50)
    write_depths(tmp_path / "photos", str(model), tmp_path / "depth")
    hazy = CATALOGUE["hazy"](depth=str(tmp_path / "depth"))  # type: ignore[call-arg]
    image = picture(70, 50)
    params = hazy.draw(Rng("1"), image, Place("a.png", 0, 0, 70, 50, 70, 50))
    stored = cv2.imread(str(tmp_path / "depth" / "a.png"), cv2.IMREAD_UNCHANGED)
    truth = hazy.apply(image, params).truth["depth"] * params["depth_step"]
    assert np.abs(truth - stored / 1000).max() < 0.05


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_a_depth_that_is_not_finite_is_no_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: float) -> None:
    def estimate(images: Any) -> Any:
        depths = [np.full(image.shape[:2], 3.0, np.float32) for image in images]
        depths[1][4, 5] = strange
        return [(depth, True) for depth in depths]

    monkeypatch.setattr(depth, "_load", lambda *_: estimate)
    for name in ("a.png", "b.png", "c.png"):
        photo(tmp_path / "photos" / name)
    (refusal,) = write_depths(tmp_path / "photos", "model", tmp_path / "depth")
    assert refusal.name == "b.png"
    assert "1 of 3,072 numbers that are not finite" in refusal.reason
    assert sorted(p.name for p in (tmp_path / "depth").iterdir()) == ["a.png", "c.png"]
