"""The degradation prompt and the spatial transformer: the published numbers, and the laws of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patina.training.errors import ModelInputError
from patina.training.models.conditioning import DegradationPrompt, GatedFeedForward, SpatialTransformer, check_context
from patina.training.models.keymap import KeyMap, Rule
from patina.training.official.unet import SPATIAL_TRANSFORMER
from tests.training import fill

with np.load(Path(__file__).parents[1] / "golden" / "modules.npz") as file:
    GOLDEN = dict(file)
TABLE = KeyMap(tuple(Rule.of(*row) for row in SPATIAL_TRANSFORMER))


def filled(net: nn.Module, prefix: str) -> nn.Module:
    """The module with the fixtures' weights, made under the published names below `prefix`."""
    shapes = {name: tensor.shape for name, tensor in TABLE.to_published(net.state_dict()).items()}
    published = {name: torch.from_numpy(fill.weight(prefix + name, shape)) for name, shape in shapes.items()}
    net.load_state_dict(TABLE.from_published(published, net.state_dict()))
    return net


def x() -> Tensor:
    return torch.from_numpy(fill.gauss("module.x", (2, 64, 8, 6)))


def relative(found: Tensor, golden: str) -> float:
    wanted = torch.from_numpy(GOLDEN[golden])
    return float((found.detach() - wanted).abs().max() / wanted.abs().max())


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    return filled(SpatialTransformer(64, 512), "spatial_transformer.")


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("golden", "name", "tokens"),
    [("spatial_transformer_3_tokens", "module.ctx", 3), ("spatial_transformer_1_token", "module.ctx1", 1)],
)
def test_published_numbers_with_a_context(
    transformer: nn.Module, golden: str, name: str, tokens: int, channels_last: bool
) -> None:
    images = x().to(memory_format=torch.channels_last) if channels_last else x()
    context = torch.from_numpy(fill.context(name, (2, tokens, 512)))
    assert relative(transformer(images, context), golden) <= 1e-5


def test_published_numbers_without_one() -> None:
    net = filled(SpatialTransformer(64, None), "spatial_transformer_self.")
    assert relative(net(x()), "spatial_transformer_self") <= 1e-5


def test_names_are_the_published_ones() -> None:
    assert sorted(TABLE.to_published(SpatialTransformer(64, 512).state_dict())) == sorted(
        GOLDEN["spatial_transformer_keys"].tolist()
    )


def test_one_token_is_what_several_equal_ones_come_to(transformer: nn.Module) -> None:
    context = torch.from_numpy(fill.context("token", (2, 1, 512)))
    torch.testing.assert_close(transformer(x(), context), transformer(x(), context.expand(2, 5, 512)))


def test_one_token_leaves_queries_keys_and_their_norm_without_gradient(transformer: nn.Module) -> None:
    idle = {"block.cross_attention.query.weight", "block.cross_attention.key.weight"}
    idle |= {"block.norm_cross.weight", "block.norm_cross.bias"}
    for tokens, expected in ((1, idle), (2, set())):
        transformer.zero_grad()
        transformer(x(), torch.from_numpy(fill.context("token", (2, tokens, 512)))).square().sum().backward()
        assert {name for name, p in transformer.named_parameters() if p.grad is None} == expected


def test_without_a_context_the_attention_to_it_is_left_out(transformer: nn.Module) -> None:
    mute = SpatialTransformer(64, 512)
    mute.load_state_dict(transformer.state_dict())
    with torch.no_grad():
        mute.block.cross_attention.out.weight.zero_()
        mute.block.cross_attention.out.bias.zero_()
    context = torch.from_numpy(fill.context("token", (2, 1, 512)))
    torch.testing.assert_close(transformer(x()), mute(x(), context))


def test_it_starts_as_the_identity() -> None:
    net = SpatialTransformer(64, 512)
    assert torch.equal(net(x(), torch.randn(2, 1, 512)), x())


def test_it_does_not_know_where_positions_are(transformer: nn.Module) -> None:
    context = torch.from_numpy(fill.context("token", (2, 3, 512)))
    torch.testing.assert_close(
        transformer(x().flip(2, 3), context).flip(2, 3), transformer(x(), context), atol=1e-4, rtol=0
    )


def test_gated_feed_forward_takes_value_first_and_gate_second() -> None:
    net = GatedFeedForward(2)
    with torch.no_grad():
        net.widen.weight.zero_()
        net.widen.bias.copy_(torch.cat((torch.full((8,), 3.0), torch.full((8,), 100.0))))  # GELU(100) = 100
        net.narrow.weight.fill_(1.0)
        net.narrow.bias.zero_()
    torch.testing.assert_close(net(torch.zeros(1, 1, 2)), torch.full((1, 1, 2), 8 * 3.0 * 100.0))


def test_the_prompt_is_its_equation() -> None:
    torch.manual_seed(0)
    net = DegradationPrompt(12, 8)
    assert net.prompt.min() >= 0
    assert net.prompt.max() < 1
    d = torch.randn(3, 12)
    first, _, second = net.scores
    hidden = d @ first.weight.T + first.bias
    scores = (hidden / (1 + torch.exp(-hidden))) @ second.weight.T + second.bias
    weights = torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True)
    expected = (weights * net.prompt) @ net.project.weight.T + net.project.bias
    torch.testing.assert_close(net(d), expected)


@pytest.mark.parametrize(
    ("shape", "tokens", "words"),
    [
        ((3, 512), False, r"context of shape \(3, 512\); expected 2 x 512"),
        ((2, 511), False, r"expected 2 x 512:"),
        ((512,), False, r"expected 2 x 512:"),
        ((2, 1, 512), False, r"expected 2 x 512:"),
        ((2, 0, 512), True, r"expected 2 x 512 or 2 x N x 512"),
        ((1, 4, 512), True, r"expected 2 x 512 or 2 x N x 512"),
    ],
)
def test_contexts_that_do_not_fit_are_named(shape: tuple[int, ...], tokens: bool, words: str) -> None:
    with pytest.raises(ModelInputError, match=words):
        check_context(torch.zeros(shape), torch.zeros(2, 3, 8, 8), 512, tokens=tokens)


def test_contexts_that_fit_pass() -> None:
    images = torch.zeros(2, 3, 8, 8)
    check_context(torch.zeros(2, 512), images, 512)
    check_context(torch.zeros(2, 4, 512, dtype=torch.bfloat16), images, 512, tokens=True)


def test_contexts_of_integers_are_refused() -> None:
    with pytest.raises(ModelInputError, match=r"torch\.int64"):
        check_context(torch.zeros(2, 512, dtype=torch.int64), torch.zeros(2, 3, 8, 8), 512)


@pytest.mark.parametrize(("channels", "heads"), [(48, 16), (96, 64)])
def test_channels_that_do_not_divide_are_refused(channels: int, heads: int) -> None:
    with pytest.raises(ModelInputError, match=f"{channels} channels"):
        SpatialTransformer(channels, 512, heads)
