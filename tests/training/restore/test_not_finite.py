"""NaN and infinity are no picture: nothing is written of them, and weights that hold them are not loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patina.pipeline.codec.decode import decode
from patina.training import official
from patina.training.checkpoints import model as checkpoint
from patina.training.diffusion.samplers import SAMPLERS
from patina.training.errors import CheckpointError, NotFiniteError
from patina.training.models import clip_adapter, daclip, nafnet, unet, vlunet
from patina.training.models.layers import told_not_finite
from patina.training.restore.files import restore_files
from patina.training.restore.load import load_model, load_network
from patina.training.restore.options import RestoreOptions
from patina.training.restore.restorer import Restorer
from patina.training.restore.tiles import Tiling
from tests.pipeline.making import encoded, picture, save
from tests.training.restore.test_restorer import ADAPTED, CLIP, UNET, VLUNET, described, diffusion, of_pixels

STRANGE = pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])


def where_it_is_white(strange: float) -> Callable[[Tensor], Tensor]:
    """Halves each level, but gives `strange` for pure white."""
    return lambda x: torch.where(x == 1, torch.tensor(strange), x / 2)


def with_one_white_level(width: int = 96, height: int = 80) -> np.ndarray:
    image = picture(width, height).clip(0, 254)
    image[height - 3, width - 2, 1] = 255
    return image


@STRANGE
@pytest.mark.parametrize("tile", [0, 64])
def test_one_pixel_that_is_not_finite_writes_no_file_and_the_others_of_a_folder_are_restored(
    tmp_path: Path, strange: float, tile: int
) -> None:
    sound = picture(96, 80, seed=1).clip(0, 254)
    for name in ("a.png", "deep/c.png"):
        save(tmp_path / "in" / name, sound)
    save(tmp_path / "in" / "b.png", with_one_white_level())
    restorer = of_pixels("described", where_it_is_white(strange))[0]
    done = restore_files([tmp_path / "in"], tmp_path / "out", restorer, RestoreOptions(tile=tile))
    assert [result.source.name for result in done if result.error] == ["b.png"]
    (lost,) = (result for result in done if result.error)
    assert "in/b.png: the network gave 1 of 23,040 numbers that are not finite" in lost.line
    assert "\n" not in lost.line
    written = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.png", "deep/c.png"]
    found = decode((tmp_path / "out" / "a.png").read_bytes()).image
    assert np.abs(found.astype(int) - sound / 2).max() <= 0.5


def test_a_wide_and_a_grey_photograph_are_treated_alike(tmp_path: Path) -> None:
    wide = picture().astype(np.uint16) * 257
    wide[..., 0] = 65535
    (tmp_path / "wide.png").write_bytes(encoded(wide[..., 0], "png"))
    save(tmp_path / "grey.jpg", np.full((48, 64), 255, np.uint8), quality=100)
    restorer = of_pixels("described", where_it_is_white(math.nan))[0]
    done = restore_files([tmp_path / "wide.png", tmp_path / "grey.jpg"], tmp_path / "out", restorer)
    assert all("not finite" in result.error for result in done)
    assert not list((tmp_path / "out").rglob("*.*"))


@STRANGE
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_no_sampler_gives_a_picture_of_what_is_not_finite(tmp_path: Path, strange: float, sampler: str) -> None:
    save(tmp_path / "a.png", picture(32, 32))
    restorer = of_pixels("sde", lambda x: torch.where(x > x.median(), torch.tensor(strange), x))[0]
    (result,) = restore_files([tmp_path / "a.png"], tmp_path / "out", restorer, RestoreOptions(sampler, 4))
    assert "NaN or infinity" in result.error
    assert not (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_an_overflow_in_half_precision_is_found(kind: torch.dtype) -> None:
    restorer = of_pixels("described", lambda x: (x.to(kind) * 1e30).to(kind) * 1e30)[0]
    with pytest.raises(NotFiniteError, match="not finite"):
        restorer.restore(picture(), tiling=Tiling(0))


@pytest.mark.parametrize("make", [described, diffusion])
def test_a_clip_that_sees_nothing_finite_steers_nothing_and_names_nothing(make: Callable[[], Restorer]) -> None:
    restorer = make()
    assert restorer.conditioner
    for weights in restorer.conditioner.net.parameters():
        weights.data.mul_(1e30)  # finite, and what is computed with them is not
    with pytest.raises(NotFiniteError, match="the CLIP that steers small gave"):
        restorer.look(picture())


# Weights


def published(folder: Path, net: nn.Module, **how: nn.Module) -> Path:
    path = folder / ("model.ckpt" if how else "model.pth")
    official.save(net, path, **how)  # type: ignore[arg-type]
    return path


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: unet.UNet(UNET),
    "nafnet": lambda: nafnet.NAFNet(nafnet.TINY),
    "vlunet": lambda: vlunet.VluNet(VLUNET),
    "daclip": lambda: daclip.DaClip(CLIP),
}


@STRANGE
@pytest.mark.parametrize("network", list(NETWORKS))
def test_a_published_file_with_weights_that_are_not_finite_names_them(
    tmp_path: Path, network: str, strange: float
) -> None:
    net = NETWORKS[network]()
    last = [p for p in net.parameters() if p.ndim == 1 and p.numel() > 3][-1]
    last.data[:3] = strange
    path = published(tmp_path, net)
    with pytest.raises(CheckpointError, match=rf"{path.name}: 1 of \d+ tensors hold NaN or infinity: \S+ \(3 of "):
        official.load(path)


def test_both_networks_of_a_lightning_file_are_looked_at(tmp_path: Path) -> None:
    net, clip = vlunet.VluNet(VLUNET), clip_adapter.AdaptedClip(ADAPTED)
    clip.get_parameter("clip.visual.conv1.weight").data[0, 0, 0, 0] = math.nan
    path = published(tmp_path, net, degradation_model=clip)
    official.load(path, "vlunet")
    with pytest.raises(CheckpointError, match=r"visual\.conv1\.weight \(1 of "):
        load_model(path)


def test_a_model_of_a_run_with_weights_that_are_not_finite_names_them(tmp_path: Path) -> None:
    net = nafnet.NAFNet(nafnet.TINY)
    name, weights = next(iter(net.named_parameters()))
    weights.data.fill_(math.inf)
    stage = of_pixels("sde")[0].stage
    notes = {"stage": json.dumps(stage.table())}
    checkpoint.save(net, tmp_path / "model.safetensors", network="nafnet-refusion", notes=notes)
    assert checkpoint.load(tmp_path / "model.safetensors").network == "nafnet-refusion"  # it is what was written
    for load in (load_network, load_model):
        with pytest.raises(CheckpointError, match=rf"model\.safetensors: 1 of \d+ tensors hold .*: {name} \("):
            load(tmp_path / "model.safetensors")


def test_a_number_too_large_for_float32_is_told_as_what_it_becomes(tmp_path: Path) -> None:
    state = torch.load(published(tmp_path, nafnet.NAFNet(nafnet.TINY)), weights_only=True)
    state["intro.weight"] = state["intro.weight"].double() + 1e300
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="hold NaN or infinity"):
        official.load(tmp_path / "a.pth")


def test_whole_numbers_and_every_floating_type_are_counted() -> None:
    tensors = {
        "whole": torch.tensor([1, 2]),
        "half": torch.tensor([1.0, math.nan], dtype=torch.float16),
        "brain": torch.tensor([math.inf, 1.0], dtype=torch.bfloat16),
        "eight": torch.tensor([math.nan, 1.0]).to(torch.float8_e5m2),
        "complex": torch.tensor([complex(0, math.nan)]),
        "sound": torch.ones(3),
        "empty": torch.empty(0),
    }
    told = told_not_finite(tensors)
    assert told == (
        "4 of 7 tensors hold NaN or infinity: half (1 of 2 numbers), brain (1 of 2 numbers), eight (1 of 2 numbers), "
        "complex (1 of 1 numbers)"
    )
    assert told_not_finite(tensors, most=1).endswith("half (1 of 2 numbers), …")
    assert told_not_finite({"sound": torch.ones(3)}) == ""
