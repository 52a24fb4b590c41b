"""The table of names both ways, on small tables of its own; each network's test has its own table's round trip."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from patina.training.models.keymap import KeyMap, KeyMapError, Rule

TABLE = KeyMap(
    rules=(
        Rule.of("scale"),
        Rule.of("attention.{i}.qkv", "blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v"),
        Rule.of("norm{k}.special", "n.{k}.other"),  # before the general rule below, which fits it too
        Rule.of("norm{k}.{rest}", "n.{k}.{rest}"),
    ),
    aliases=(("again.{rest}", "n.{rest}"),),
)


def ours(blocks: int = 2) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(blocks)
    state = {"scale": torch.randn((), generator=draw), "norm1.special": torch.randn(3, generator=draw)}
    state |= {f"attention.{i}.qkv": torch.randn(6, 4, generator=draw) for i in range(blocks)}
    return state | {"norm1.a.b": torch.randn(2, 2, generator=draw)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_our_tensors_get_their_published_names_and_come_back() -> None:
    published = TABLE.to_published(ours())
    assert set(published) == {
        *("scale", "n.1.other", "n.1.a.b", "again.1.other", "again.1.a.b"),
        *(f"blocks.{i}.{part}" for i in (0, 1) for part in "qkv"),
    }
    assert torch.equal(published["blocks.1.k"], ours()["attention.1.qkv"][2:4]), "parts lie along the first axis"
    assert same(TABLE.from_published(published, ours()), ours())


@given(st.integers(0, 12))
def test_a_round_trip_is_the_identity_for_any_depth(blocks: int) -> None:
    published = TABLE.to_published(ours(blocks))
    back = TABLE.from_published(published, ours(blocks))
    assert same(back, ours(blocks))
    assert same(TABLE.to_published(back), published)


def test_published_tensors_are_copies_and_a_repeated_one_is_its_original() -> None:
    state = ours()
    published = TABLE.to_published(state)
    published["scale"].add_(1)
    published["blocks.0.q"].zero_()
    assert same(state, ours())
    assert published["again.1.other"] is published["n.1.other"], "stored once by torch.save, as in the published files"


def test_a_repeated_tensor_may_be_missing_or_be_there_alone_and_may_be_nan() -> None:
    state = ours() | {"norm1.a.b": torch.full((2, 2), torch.nan)}
    published = {name: tensor.clone() for name, tensor in TABLE.to_published(state).items()}
    assert TABLE.from_published(published, state).keys() == state.keys()
    for kind in ("again.", "n."):
        one_only = {name: tensor for name, tensor in published.items() if not name.startswith(kind)}
        assert torch.equal(TABLE.from_published(one_only, state)["norm1.special"], state["norm1.special"])


def damaged(change: str) -> dict[str, Tensor]:
    published = TABLE.to_published(ours())
    match change:
        case "missing":
            del published["blocks.1.k"]
        case "surplus":
            published["blocks.2.k"] = torch.zeros(2, 4)
        case "surplus repeat":
            published["again.7.x"] = torch.zeros(1)
        case "unlike":
            published["again.1.other"] = published["n.1.other"] + 1
        case "unlike type":
            published["again.1.other"] = published["n.1.other"].double()
        case "shape":
            published["scale"] = torch.zeros(1)
        case "joined shape":
            published["blocks.0.k"] = torch.zeros(2, 5)
    return published


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", "1 missing: blocks.1.k"),
        ("surplus", "1 surplus: blocks.2.k"),
        ("surplus repeat", "1 surplus: again.7.x"),
        ("unlike", "1 not equal to what they repeat: again.1.other"),
        ("unlike type", "1 not equal to what they repeat: again.1.other"),
        ("shape", r"1 of another shape: scale \(1,\), expected \(\)"),
        ("joined shape", r"blocks.0.q \(2, 4\), \(2, 5\), \(2, 4\), expected \(6, 4\)"),
    ],
)
def test_what_does_not_fit_is_listed(change: str, told: str) -> None:
    with pytest.raises(KeyMapError, match=told):
        TABLE.from_published(damaged(change), ours())


def test_all_that_does_not_fit_is_listed_at_once_and_long_lists_are_cut() -> None:
    published = TABLE.to_published(ours(20))
    wrong = {f"x{name}": tensor for name, tensor in published.items()} | {"scale": torch.zeros(2)}
    with pytest.raises(KeyMapError, match=r"62 missing: .*; … \| .* surplus: .* \| 1 of another shape: scale"):
        TABLE.from_published(wrong, ours(20))


def test_a_table_that_does_not_fit_the_network_is_an_error() -> None:
    with pytest.raises(KeyMapError, match="no rule names the published tensor of 'other'"):
        TABLE.to_published({"other": torch.zeros(1)})
    clash = KeyMap((Rule.of("a", "x"), Rule.of("b", "x")))
    with pytest.raises(KeyMapError, match="gives 'x' to 'a' and to 'b'"):
        clash.to_published({"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(KeyMapError, match="cannot be cut into 3 equal parts"):
        TABLE.to_published({"attention.0.qkv": torch.zeros(7, 4)})


def test_a_dot_is_a_dot_and_a_number_a_number() -> None:
    assert Rule.of("a.{i}.b").name("a.12.b") == ("a.12.b",)
    assert Rule.of("a.{i}.b").name("ax12.b") is None
    assert Rule.of("a.{i}.b").name("a.x.b") is None
    assert Rule.of("a.{i}.{rest}", "{rest}.{i}").name("a.3.p.q") == ("p.q.3",)


def test_names_of_known_forms_are_counted() -> None:
    published = TABLE.to_published(ours())
    assert TABLE.explained(published) == len(published) - 2, "two of them are repeated"
    assert TABLE.explained(["blocks.5.v", "blocks.v", "again.1.x", "n.1.x", "module.scale"]) == 2
