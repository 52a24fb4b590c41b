"""The catalogue of networks and the table of their sizes and costs, against the figures of the papers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patina.training.models import CATALOGUE, Cost
from patina.training.models.keymap import KeyMapError
from patina.training.models.table import Row, count_by_hooks, count_macs, example, model_table, notes, shown_rows

# Building a CLIP imports open_clip, and VLU-Net has thousands of operations to count: seconds each.
LONG = (
    "daclip-b32",
    "daclip-l14",
    "clip-adapter-b32",
    "unet-no-context",
    "unet-irsde",
    "unet-wild",
    "vlunet-7",
    "vlunet-5",
)


def marked(networks: Iterable[str]) -> list[Any]:
    return [pytest.param(network, marks=pytest.mark.slow) if network in LONG else network for network in networks]


NETWORKS = marked(CATALOGUE)
# VLU-Net's adapted CLIP is left out: it is a CLIP's image tower, which the DA-CLIP is counted with.
RESTATED = marked(w for w, e in CATALOGUE.items() if e.cost.hook_macs is not None)


@cache
def row_of(network: str) -> Row:
    (row,) = model_table([network])
    return row


@cache
def built(network: str) -> Any:
    """The network on the meta device."""
    with torch.device("meta"):
        return CATALOGUE[network].build().eval()


@pytest.mark.parametrize("network", NETWORKS)
def test_an_entry_is_built_and_takes_its_inputs(network: str) -> None:
    entry = CATALOGUE[network]
    assert is_dataclass(entry.settings)
    net = built(network)
    with torch.device("meta"), torch.no_grad():
        inputs = example(entry, side=64, batch=2)
        found = getattr(net, entry.counted)(**inputs)
    assert net.settings == entry.settings
    results = found if isinstance(found, tuple) else (found,)
    assert {len(result) for result in results} == {2}
    accepted = inspect.signature(getattr(net, entry.counted)).parameters
    assert set(inputs) <= set(accepted)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_has_one_published_place(network: str) -> None:
    entry = CATALOGUE[network]
    own = built(network).state_dict()
    if entry.keys is None:
        assert network in ("nafnet-direct", "clip-b32")
        return
    published = entry.keys.to_published(own)
    back = entry.keys.from_published({name: torch.zeros(()).expand(t.shape) for name, t in published.items()}, own)
    assert {name: t.shape for name, t in back.items()} == {name: t.shape for name, t in own.items()}
    one = next(n for n in published if ".clip_model." not in n and "visual." not in n)  # none that is written twice
    with pytest.raises(KeyMapError, match="1 missing"):
        entry.keys.from_published({name: t for name, t in published.items() if name != one}, own)


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_are_the_published_ones_and_macs_at_most(network: str) -> None:
    row = row_of(network)
    if row.published.parameters is not None:
        assert row.parameters == row.published.parameters
    assert 0 < row.trainable <= row.parameters
    assert row.macs > 0
    if row.published.macs is not None:
        assert 0.8 * row.published.macs < row.macs < 1.005 * row.published.macs


@pytest.mark.parametrize("network", RESTATED)
def test_costs_of_the_published_structure_by_both_counters(network: str) -> None:
    """The catalogue's figures, from the re-stated published code: all MACs within 1 %, the papers' counter to 0.2 %."""
    entry = CATALOGUE[network]
    name = entry.class_path.partition(":")[0]
    assert entry.keys is not None
    with torch.device("meta"):
        state = entry.keys.to_published(built(network).state_dict())
        net: Any = import_module(f"benchmarks.published.{name}").build(state).eval()
        inputs = example(entry).values()
    run = lambda: getattr(net, entry.counted)(*inputs)  # noqa: E731
    assert count_macs(run) == pytest.approx(entry.cost.macs, rel=0.01)
    parameters, macs = count_by_hooks(net, run)
    assert parameters == pytest.approx(entry.cost.hook_parameters, rel=0.002)
    assert macs == pytest.approx(entry.cost.hook_macs, rel=0.01)


def test_trainable_parts() -> None:
    row = row_of("nafnet-refusion")
    assert row.trainable == row.parameters == 76_608_387
    assert row.macs == pytest.approx(63.18, abs=0.01)


@pytest.mark.slow
def test_of_a_clip_only_what_is_new_learns() -> None:
    assert row_of("daclip-b32").trainable == 94_936_321
    assert row_of("daclip-l14").trainable == pytest.approx(329.2e6, rel=1e-3)
    assert row_of("clip-adapter-b32").trainable == 1_582_080


class Small(nn.Module):
    """A convolution, a dense layer over tokens, and a product that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.dense = nn.Linear(3, 5)
        self.bare = nn.Parameter(torch.zeros(5, 7))

    def forward(self, x: Tensor) -> Tensor:  # B x 2 x 4 x 4
        return self.dense(self.conv(x).flatten(2).mT) @ self.bare  # type: ignore[no-any-return]


def test_what_the_two_counters_count() -> None:
    net = Small()
    run = lambda: net(torch.zeros(1, 2, 4, 4))  # noqa: E731
    conv, dense, bare = 3 * 2 * 9 * 16, 15 * 16, 35 * 16
    assert count_macs(run) * 1e9 == pytest.approx(conv + dense + bare)
    parameters, macs = count_by_hooks(net, run)
    assert macs * 1e9 == pytest.approx(conv + 15)
    assert parameters * 1e6 == pytest.approx(3 * 2 * 9 + 3 + 15 + 5)
    assert count_by_hooks(net, lambda: None) == (0, 0)


def test_counting_leaves_no_hooks_behind() -> None:
    net = Small()
    with pytest.raises(RuntimeError):
        count_by_hooks(net, lambda: net(torch.zeros(1, 9, 4, 4)))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_strange_word_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nafnet-large"):
        model_table(["nafnet-large"])


def test_lines_hold_figures_beside_the_papers() -> None:
    row = Row("unet-daclip", 48_975_747, 48_975_747, 122.44, CATALOGUE["unet-daclip"].cost)
    bare = replace(row, network="nafnet-direct", published=Cost(), remark="an own size")
    first, second = shown_rows([row, bare])
    assert first["network"] == "unet-daclip" and first["parameters"] == "48 975 747"
    assert (first["GMACs"], first["published"], first["paper says"]) == ("122.4", "133.1", "48.9 M, 118 G")
    assert {second[name] for name in ("published", "paper says", "by its counter")} == {"–"}
    assert notes([row, bare])[-1] == "nafnet-direct: an own size."
    assert any("256×256" in note for note in notes([row]))
    assert not notes([row])[-1].endswith("an own size.")
