"""Weights as other trainers leave them: under which keys, behind which prefixes, beside which other sets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patina.training import official
from patina.training.errors import CheckpointError
from patina.training.models import clip_adapter, unet, vlunet
from patina.training.official import containers
from patina.training.restore.published import load_published
from tests.training.official.test_load_and_save import UNET, same_network, save
from tests.training.restore.test_restorer import ADAPTED, VLUNET

State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(4)
    return unet.UNet(UNET)


@pytest.fixture(scope="module")
def published(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> State:
    path = tmp_path_factory.mktemp("published") / "a.pth"
    official.save(net, path)
    held: State = torch.load(path, weights_only=True)
    return held


def behind(prefix: str, state: State) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def moved(state: State) -> dict[str, Tensor]:
    """Other weights of the same network."""
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def lightning(net: State, clip: State, inner: str = "") -> dict[str, Tensor]:
    """Both networks of VLU-Net in one set of names."""
    return {**behind(f"net.{inner}", net), **behind(f"model_degradation.{inner}", clip)}


KEYS = (
    "params", "params_ema", "state_dict", "model_state_dict", "model", "net", "net_g", "netG", "generator", "G",
    "ema", "ema_state_dict", "model_ema", "state_dict_ema", "weights", "restorer", "learnable_params",
)  # fmt: skip


@pytest.mark.parametrize(("key", "container"), [*((key, "zip") for key in KEYS), ("params_ema", "pickles")])
def test_weights_under_a_key_are_read(
    tmp_path: Path, net: nn.Module, published: State, key: str, container: str
) -> None:
    optimiser = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]}
    content = {"epoch": 3, key: OrderedDict(published), "optimizer": optimiser, "best_psnr": torch.tensor(31.5)}
    back, found = official.load(save(content, tmp_path / "a.pth", container))
    assert same_network(back, net)
    assert (found.contents.form, found.contents.notes, found.taken) == (key, {"epoch": 3}, "")


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "_orig_mod.", "model.", "net.", "network.", "net_g.", "generator.", "_fsdp_wrapped_module.", "ema.",
        *("".join(order) for order in permutations(("module.", "_orig_mod.", "model."))),
        "module.module.", "model.net.", "net.model.", "net._orig_mod.", "_orig_mod.net.module.", "net.net.",
    ],
)  # fmt: skip
def test_prefixes_come_off_in_any_order(tmp_path: Path, net: nn.Module, published: State, prefix: str) -> None:
    back, found = official.load(save({"state_dict": behind(prefix, published)}, tmp_path / "a.pth"))
    assert same_network(back, net)
    assert (found.taken, found.unread, found.others) == ("", 0, ())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"state_dict": {"model": behind("module.", s)}, "iter": 4},
        lambda s: {"state_dicts": {"net_g": s, "optim_g": {"m": torch.ones(3)}}},
        lambda s: {"ema": {"decay": 0.999, "num_updates": 7, "shadow": s}},
        lambda s: {"ema": {"decay": 0.999, **s}},
        lambda s: {"n_averaged": torch.tensor(5), **behind("module.", s)},
        lambda s: {"iteration": torch.tensor(5), "params": s},
        lambda s: {"state_dict": {**behind("model.", s), "perceptual.vgg.0.weight": torch.ones(3)}},
        lambda s: {"generator": s, "discriminator": {"layers.0.weight": torch.ones(3, 3)}},
        lambda s: {"net_g": behind("module.", s), "net_d": behind("module.", {"layers.0.weight": torch.ones(3, 3)})},
    ],
)
def test_weights_in_dictionaries_of_dictionaries_are_found(
    tmp_path: Path, net: nn.Module, published: State, wrap: Callable[[State], dict[str, Any]]
) -> None:
    back, found = official.load(save(wrap(published), tmp_path / "a.pth"))
    assert same_network(back, net)
    assert found.taken == ""


@pytest.mark.parametrize(
    ("wrap", "taken"),
    [
        (lambda raw, ema: {"params": raw, "params_ema": ema}, "params_ema"),
        (lambda raw, ema: {"params_ema": ema, "params": raw}, "params_ema"),
        (lambda raw, ema: {"state_dict": behind("module.", raw), "state_dict_ema": ema}, "state_dict_ema"),
        (lambda raw, ema: {"model": raw, "ema": {"decay": 0.9, "shadow": ema}}, "ema/shadow"),
        (
            lambda raw, ema: {
                "state_dict": ema,
                "current_model_state": raw,
                "averaging_state": {"n_averaged": torch.tensor(3)},
            },
            "state_dict",
        ),
        (lambda raw, ema: {"state_dicts": {"model": raw, "ema_model": ema}}, "state_dicts/ema_model"),
        (
            lambda raw, ema: {"step": torch.tensor(3), **behind("online_model.", raw), **behind("ema_model.", ema)},
            "ema_model",
        ),
        (lambda raw, ema: {"state_dict": {**behind("net.", raw), **behind("net_ema.", ema)}}, "net_ema"),
    ],
)  # fmt: skip
def test_of_weights_and_their_average_the_average_is_taken_and_it_is_said(
    tmp_path: Path, published: State, net: nn.Module, wrap: Callable[..., dict[str, Any]], taken: str
) -> None:
    back, found = official.load(save(wrap(moved(published), published), tmp_path / "a.pth"))
    assert same_network(back, net)
    assert found.taken.startswith(f"taken were `{taken}`, the moving average of the weights; `")
    assert found.taken in found.lines()
    assert (found.others, found.unread) == ((), 0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one, other: {"model": one, "net": other},
        lambda one, other: {"params": one, "state_dict": {"deeper": other}},
        lambda one, other: {"params_ema": one, "ema": other},
        lambda one, other: {**behind("generator.", one), **behind("net.", other)},
    ],
)
def test_two_sets_of_weights_with_nothing_to_tell_them_apart_are_an_error_unless_they_are_equal(
    tmp_path: Path, published: State, net: nn.Module, wrap: Callable[..., dict[str, Any]]
) -> None:
    path = save(wrap(published, moved(published)), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds unet 2 times, at `.+` and `.+`, and nothing says which"):
        official.load(path)
    back, found = official.load(save(wrap(published, dict(published)), tmp_path / "a.pth"))
    assert same_network(back, net)
    assert found.taken.startswith("taken were `")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net, clip: {"net": net, "model_degradation": clip},
        lambda net, clip: {"state_dict": lightning(net, clip, "_orig_mod.")},
        lambda net, clip: {"state_dict": behind("module.", lightning(net, clip))},
        lambda net, clip: {"state_dict": lightning(moved(net), clip), "ema": lightning(net, clip)},
    ],
)  # fmt: skip
def test_both_networks_of_a_restorer_are_found_wherever_they_lie(
    tmp_path: Path, wrap: Callable[..., dict[str, Any]]
) -> None:
    torch.manual_seed(6)
    adapted = clip_adapter.AdaptedClip(ADAPTED)
    restorer = vlunet.VluNet(VLUNET)
    official.save(restorer, tmp_path / "a.ckpt", degradation_model=adapted)
    parts = containers.read(tmp_path / "a.ckpt").parts
    path = save(wrap(parts["net."], parts["model_degradation."]), tmp_path / "b.ckpt")
    net, found = official.load(path)
    assert same_network(net, restorer)
    assert set(found.others) == {"clip-adapter"}
    assert same_network(official.load(path, "clip-adapter")[0], adapted)
    loaded = load_published(path, None)
    assert same_network(loaded.net, restorer)
    assert [note.partition(":")[0] for note in loaded.notes] == ["b.ckpt"] * len(loaded.notes)
    assert ("taken were `ema/net`" in " ".join(loaded.notes)) == bool(found.taken)


def test_a_whole_module_under_a_key_is_told(tmp_path: Path) -> None:
    path = save({"model": nn.Linear(2, 2), "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"no state dict: 'model' is a whole pickled torch\.nn"):
        containers.read(path)
