"""NAFNet with conditions: the published numbers, the published names, and the laws of both restorers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.published import nafnet as published
from patina.training.errors import ModelInputError
from patina.training.models.conditioning import SpatialTransformer
from patina.training.models.keymap import KeyMapError
from patina.training.models.nafnet import (
    DIRECT_TINY,
    REFUSION,
    TINY,
    Block,
    ChannelAttention,
    DirectNAFNet,
    GainNorm,
    NAFNet,
    NAFNetSettings,
)
from patina.training.official.nafnet import NAFNET
from tests.training import fill

HERE = Path(__file__).parents[1]
SHAPES = fill.load_shapes(HERE / "official_keys" / "nafnet_refusion.keys.json")

# golden, tag of its inputs, size, t: `fill.image(tag + ".xt", …)` and ".mu" are the inputs
GOLDENS = (
    ("a_t1", "unet.a", (64, 64), 1),
    ("a_t100", "unet.a", (64, 64), 100),
    ("c_t37", "unet.c", (75, 49), 37),
)


def filled(net: nn.Module) -> dict[str, Tensor]:
    """Weights of the fixtures' rule under the published names, for any size."""
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in NAFNET.to_published(net.state_dict()).items()}
    return {name: torch.from_numpy(value) for name, value in fill.fill(shapes).items()}


def alive(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with nothing at zero: as it starts, half of it has no effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.count_nonzero() == 0:
                parameter.copy_(torch.empty_like(parameter).uniform_(-0.3, 0.3, generator=generator))
    return net.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def tiny() -> tuple[NAFNet, nn.Module]:
    """Ours and the published structure with the same weights."""
    net = NAFNet(TINY)
    state = filled(net)
    net.load_state_dict(NAFNET.from_published(state, net.state_dict()))
    return net, published.build(state)


@pytest.fixture(scope="module")
def direct() -> DirectNAFNet:
    torch.manual_seed(0)
    net = alive(DirectNAFNet(DIRECT_TINY))
    assert isinstance(net, DirectNAFNet)
    return net


# ------------------------------------------------------------------------------------------- as published


@pytest.fixture(scope="module")
def refusion() -> NAFNet:
    with torch.device("meta"):
        net = NAFNet(REFUSION)
    state = {name: torch.from_numpy(value) for name, value in fill.fill(SHAPES).items()}
    net.load_state_dict(NAFNET.from_published(state, net.state_dict()), assign=True)
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tag", "size", "t"), GOLDENS)
def test_the_released_models_numbers(refusion: NAFNet, name: str, tag: str, size: tuple[int, int], t: int) -> None:
    x_t, mu = (torch.from_numpy(fill.image(f"{tag}.{part}", (1, 3, *size))) for part in ("xt", "mu"))
    with np.load(HERE / "golden" / "nafnet_refusion.npz") as golden, torch.no_grad():
        assert relative(refusion(x_t, mu, t), torch.from_numpy(golden[name])) < 1e-5


def test_names_go_to_the_published_and_back() -> None:
    with torch.device("meta"):
        net = NAFNet(REFUSION)
    marks = {name: torch.full(shape, k % 127, dtype=torch.int8) for k, (name, shape) in enumerate(SHAPES.items())}
    ours = NAFNET.from_published(marks, net.state_dict())
    assert set(ours) == set(net.state_dict()) and len(ours) == 668
    back = NAFNET.to_published(ours)
    assert {name: t.shape for name, t in back.items()} == {name: torch.Size(s) for name, s in SHAPES.items()}
    assert all(torch.equal(back[name], mark) for name, mark in marks.items())


def test_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = NAFNet(REFUSION)
    assert sum(p.numel() for p in net.parameters()) == 76_608_387


def test_another_networks_tensors_are_refused_by_name() -> None:
    net = NAFNet(TINY)
    state = filled(net)
    del state["intro.bias"]
    with pytest.raises(KeyMapError, match=r"1 missing: intro\.bias"):
        NAFNET.from_published(state, net.state_dict())


@pytest.mark.parametrize(("size", "batch", "t"), [((16, 16), 1, 1), ((33, 21), 2, 12.5), ((3, 1), 3, 100)])
def test_the_published_structure_gives_the_same(
    tiny: tuple[NAFNet, nn.Module], size: tuple[int, int], batch: int, t: float
) -> None:
    ours, theirs = tiny
    x_t, mu = noise(batch, 3, *size), noise(batch, 3, *size, seed=1)
    with torch.no_grad():
        assert relative(ours(x_t, mu, t), theirs(x_t, mu, torch.full((batch,), t))) < 1e-5


def test_the_published_structure_gives_the_same_gradients(tiny: tuple[NAFNet, nn.Module]) -> None:
    ours, theirs = tiny
    x_t, mu, t = noise(2, 3, 24, 20), noise(2, 3, 24, 20, seed=1), torch.tensor([20.0, 71.0])
    for net in (ours, theirs):
        net.zero_grad()
        net(x_t, mu, t).abs().mean().backward()
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    found = NAFNET.to_published({name: p.grad for name, p in ours.named_parameters() if p.grad is not None})
    assert set(found) == set(expected) == set(filled(ours))
    for name, gradient in expected.items():
        assert float(found[name].norm()) == pytest.approx(float(gradient.norm()), rel=1e-3), name


# ----------------------------------------------------------------------------------- the conditional network


def test_one_time_is_the_same_as_one_for_each(tiny: tuple[NAFNet, nn.Module]) -> None:
    net, _ = tiny
    x_t, mu = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    with torch.no_grad():
        results = [net(x_t, mu, t) for t in (37, 37.0, torch.tensor(37), torch.tensor([37]), torch.tensor([37, 37]))]
    assert all(torch.equal(result, results[0]) for result in results)


def test_images_of_a_batch_do_not_meet_and_have_their_own_times(tiny: tuple[NAFNet, nn.Module]) -> None:
    net, _ = tiny
    x_t, mu, t = noise(3, 3, 16, 16), noise(3, 3, 16, 16, seed=1), torch.tensor([1, 50, 100])
    with torch.no_grad():
        alone = torch.cat([net(x_t[k : k + 1], mu[k : k + 1], t[k]) for k in range(3)])
        assert relative(net(x_t, mu, t), alone) < 1e-5
        assert relative(net(x_t, mu, t.flip(0)), alone) > 1e-3


def test_sides_are_filled_with_zeros(tiny: tuple[NAFNet, nn.Module]) -> None:
    net, _ = tiny
    x_t, mu = noise(1, 3, 13, 18), noise(1, 3, 13, 18, seed=1)
    larger = [nn.functional.pad(images, (0, 2, 0, 3)) for images in (x_t, mu)]  # to 16 x 20, multiples of 4
    with torch.no_grad():
        assert torch.equal(net(x_t, mu, 5), net(*larger, 5)[..., :13, :18])


def test_contexts_are_taken_and_have_no_effect(tiny: tuple[NAFNet, nn.Module]) -> None:
    net, _ = tiny
    x_t = noise(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(
            net(x_t, x_t, 5), net(x_t, x_t, 5, torch.ones(1, 512), degradation_context=torch.ones(1, 512))
        )


def test_at_the_start_the_time_has_no_effect() -> None:
    net = NAFNet(TINY)  # β = γ = 0: blocks are the identity
    x_t, mu = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1)
    assert torch.equal(net(x_t, mu, 1), net(x_t, mu, 100))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda net: net(noise(1, 4, 8, 8), noise(1, 4, 8, 8), 1), "x_t of shape"),
        (lambda net: net(noise(1, 3, 8, 8), noise(1, 3, 8, 9), 1), "equal shapes"),
        (lambda net: net(noise(1, 3, 0, 8), noise(1, 3, 0, 8), 1), "none of them 0"),
        (lambda net: net(noise(3, 8, 8), noise(3, 8, 8), 1), "batch x 3"),
        (lambda net: net(noise(1, 3, 8, 8).byte(), noise(1, 3, 8, 8), 1), "divide by 255"),
        (lambda net: net(noise(2, 3, 8, 8), noise(2, 3, 8, 8), torch.ones(3)), "t of shape"),
        (lambda net: net(noise(2, 3, 8, 8), noise(2, 3, 8, 8), torch.ones(2, 1)), "t of shape"),
    ],
)
def test_what_the_conditional_network_refuses(
    tiny: tuple[NAFNet, nn.Module], call: Callable[[NAFNet], Tensor], told: str
) -> None:
    with pytest.raises(ModelInputError, match=told):
        call(tiny[0])


def test_sides_of_unequal_depth_are_refused() -> None:
    with pytest.raises(ModelInputError, match="2 levels down and 1 up"):
        NAFNetSettings(encoder_blocks=(1, 1), decoder_blocks=(1,))


def test_sixteen_bits_give_close_numbers(tiny: tuple[NAFNet, nn.Module], direct: DirectNAFNet) -> None:
    x, d = noise(2, 3, 20, 16), noise(2, 512, seed=2)
    with torch.no_grad():
        calls = (lambda: tiny[0](x, x.flip(0), 37), lambda: direct(x, d, d))
        exact = [call() for call in calls]
        with torch.autocast("cpu", torch.bfloat16):
            close = [call() for call in calls]
    assert [relative(c.float(), e) < 0.05 for c, e in zip(close, exact, strict=True)] == [True, True]
    assert relative(close[0].float(), exact[0]) > 1e-4  # so the types did differ


def test_maps_stay_in_sixteen_bits_under_autocast(tiny: tuple[NAFNet, nn.Module]) -> None:
    """One map of float32 would take all that come after it up to float32, with twice the memory."""
    found: list[torch.dtype] = []
    handles = [
        block.register_forward_hook(lambda _, given, out: found.extend((given[0].dtype, out.dtype)))
        for block in tiny[0].modules()
        if isinstance(block, Block)
    ]
    x = noise(1, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        tiny[0](x, x.flip(2), 37)
    for handle in handles:
        handle.remove()
    assert len(found) == 2 * len(handles) > 0
    assert set(found) == {torch.bfloat16}


def test_autocast_norms_with_the_eps_of_the_weights() -> None:
    norm, x = GainNorm(16), 0.01 * noise(1, 4, 4, 16)  # of a variance between the two eps
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert relative(low.float(), norm(x).detach()) < 0.02
    published = norm.bfloat16()(x.bfloat16()).detach()  # with 1e-3, as for all types but float32
    assert relative(published.float(), low.float()) > 0.1


def test_weights_of_sixteen_bits_still_tell_times_apart() -> None:
    net = NAFNet(TINY)
    net.load_state_dict(NAFNET.from_published(filled(net), net.state_dict()))
    x = noise(1, 3, 16, 16)
    with torch.no_grad():
        exact = net(x, x.flip(2), 99)
        coarse = net.bfloat16()(x.bfloat16(), x.flip(2).bfloat16(), 99)
    assert coarse.dtype == torch.bfloat16
    assert relative(coarse.float(), exact) < 0.1


@pytest.mark.slow
def test_both_are_compiled_in_one_piece(tiny: tuple[NAFNet, nn.Module], direct: DirectNAFNet) -> None:
    x, d, t = noise(1, 3, 18, 16), noise(1, 512, seed=2), torch.tensor([37.0])
    for net, inputs in ((tiny[0], (x, x.flip(2), t)), (direct, (x, d, d))):
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            assert relative(compiled(*inputs), net(*inputs)) < 1e-5
        torch.compiler.reset()


# ---------------------------------------------------------------------------------------- the direct restorer


def test_only_the_bottom_reads_the_content(direct: DirectNAFNet) -> None:
    kinds = {
        name: type(m) for name, m in direct.named_modules() if isinstance(m, (SpatialTransformer, ChannelAttention))
    }
    reading = [name for name, kind in kinds.items() if kind is SpatialTransformer]
    assert reading == ["pyramid.middle.0.attend.transformer"]
    assert len(kinds) == 5


def test_both_embeddings_steer(direct: DirectNAFNet) -> None:
    lq, content, degradation = noise(1, 3, 16, 16), noise(1, 512, seed=2), noise(1, 512, seed=3)
    with torch.no_grad():
        plain = direct(lq, content, degradation)
        assert not torch.allclose(direct(lq, content.flip(1), degradation), plain, atol=1e-5)
        assert not torch.allclose(direct(lq, content, 4 * degradation.flip(1)), plain, atol=1e-5)


def test_without_an_embedding_its_part_is_left_out(direct: DirectNAFNet) -> None:
    lq, content, degradation = noise(1, 3, 16, 16), noise(1, 512, seed=2), noise(1, 512, seed=3)
    silent = alive(DirectNAFNet(DIRECT_TINY))
    silent.load_state_dict(direct.state_dict())
    with torch.no_grad():
        for name, parameter in silent.named_parameters():
            if "cross_attention.out" in name or "prompt.project" in name:
                parameter.zero_()
        assert torch.allclose(direct(lq), silent(lq, content, degradation), atol=1e-6)
        assert not torch.allclose(direct(lq), direct(lq, content, degradation), atol=1e-5)


def test_equal_tokens_of_content_are_as_one(direct: DirectNAFNet) -> None:
    lq, content = noise(2, 3, 16, 16), noise(2, 512, seed=2)
    with torch.no_grad():
        one, three = direct(lq, content), direct(lq, content[:, None].expand(-1, 3, -1))
    assert relative(three, one) < 1e-5


def test_the_result_is_added_to_the_degraded_image(direct: DirectNAFNet) -> None:
    whole = DirectNAFNet(replace(DIRECT_TINY, residual=False)).eval()
    whole.load_state_dict(direct.state_dict())
    lq, d = noise(2, 3, 21, 10), noise(2, 512, seed=2)
    with torch.no_grad():
        assert torch.allclose(direct(lq, d, d), lq + whole(lq, d, d), atol=1e-6)


def test_every_tensor_learns_but_those_without_effect(direct: DirectNAFNet) -> None:
    lq, d = noise(2, 3, 16, 16), noise(2, 512, seed=2)
    direct.zero_grad()
    direct(lq, d, d).square().mean().backward()
    idle = {name for name, p in direct.named_parameters() if p.grad is None}
    block = "pyramid.middle.0.attend.transformer.block."
    assert idle == {
        f"{block}{name}"
        for name in (
            "norm_cross.weight",
            "norm_cross.bias",
            "cross_attention.query.weight",
            "cross_attention.key.weight",
        )
    }
    assert all(p.grad.abs().max() > 0 for n, p in direct.named_parameters() if n not in idle and p.grad is not None)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((noise(1, 1, 8, 8),), "lq of shape"),
        ((noise(1, 3, 8, 8).int(),), "divide by 255"),
        ((noise(1, 3, 8, 8), noise(1, 768)), "image_context of shape"),
        ((noise(2, 3, 8, 8), noise(1, 512)), "image_context of shape"),
        ((noise(1, 3, 8, 8), None, noise(1, 1, 512)), "degradation_context of shape"),
        ((noise(1, 3, 8, 8), None, noise(1, 512).long()), "degradation_context of type"),
    ],
)
def test_what_the_direct_restorer_refuses(direct: DirectNAFNet, inputs: tuple[Tensor | None, ...], told: str) -> None:
    with pytest.raises(ModelInputError, match=told):
        direct(*inputs)


# ----------------------------------------------------------------------------------------------------- learning


def photographs(count: int, side: int) -> Tensor:
    """Smooth pictures with an edge, count x 3 x side x side in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    f, phase = 1 + 5 * noise(count, 3, 2, seed=10), math.tau * noise(count, 3, 2, seed=11)
    waves = torch.sin(f[..., :1, None] * x + phase[..., :1, None]) + torch.sin(
        f[..., 1:, None] * y + phase[..., 1:, None]
    )
    return (0.5 + 0.15 * waves + 0.15 * (x > 0.6) * (y > 0.4)).clamp(0, 1)


def psnr(found: Tensor, expected: Tensor) -> float:
    return float(-10 * torch.log10((found - expected).square().mean()))


def rates(learning: torch.optim.Optimizer, steps: int) -> Iterator[int]:
    """Steps under a cosine from the optimiser's rate to zero."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(learning, steps)
    for step in range(steps):
        yield step
        schedule.step()


@pytest.mark.slow
def test_the_direct_restorer_learns_eight_pairs() -> None:
    torch.manual_seed(0)
    gt = photographs(8, 24)
    lq = gt + 25 / 255 * torch.randn(gt.shape)
    content, degradation = torch.randn(8, 512), torch.randn(8, 512)
    net = DirectNAFNet(DIRECT_TINY)
    learning = torch.optim.AdamW(net.parameters(), lr=3e-3)
    begun = time.perf_counter()
    for step in rates(learning, 400):
        loss = (net(lq, content, degradation) - gt).abs().mean()
        learning.zero_grad()
        loss.backward()
        learning.step()
        if step % 50 == 49:
            print(f"step {step + 1}: {loss.item():.4f}, {time.perf_counter() - begun:.0f} s")
    with torch.no_grad():
        reached = psnr(net(lq, content, degradation), gt)
    print(f"eight pairs from {psnr(lq, gt):.1f} dB to {reached:.1f} dB in {time.perf_counter() - begun:.0f} s")
    assert reached > 35


@pytest.mark.slow
def test_the_conditional_network_learns_the_noise_of_eight_states() -> None:
    torch.manual_seed(0)
    gt = photographs(8, 32)
    mu = gt.flip(3)
    t = torch.arange(10, 90, 10)
    share, sigma = torch.exp(-t / 30)[:, None, None, None], 0.1
    z = torch.randn(gt.shape)
    x_t = mu + (gt - mu) * share + sigma * z
    net = NAFNet(TINY)
    learning = torch.optim.AdamW(net.parameters(), lr=3e-3)
    begun = time.perf_counter()
    for _ in rates(learning, 300):
        loss = (net(x_t, mu, t) - z).abs().mean()
        learning.zero_grad()
        loss.backward()
        learning.step()
    print(
        f"mean error of the noise from {z.abs().mean():.2f} to {loss.item():.3f} in {time.perf_counter() - begun:.0f} s"
    )
    assert loss.item() < 0.2
