"""The U-Nets of IR-SDE and DA-CLIP: the published numbers and names, and the laws of the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.published import unet as published
from patina.training.diffusion.sde import IRSDE
from patina.training.errors import ModelInputError
from patina.training.models import unet
from patina.training.models.keymap import KeyMap, KeyMapError, Rule
from patina.training.models.layers import ChannelNorm, embed_time, time_frequencies
from patina.training.models.unet import DoubleAndConvolve, LinearAttention, UNet, UNetSettings
from patina.training.official.unet import LINEAR_ATTENTION, UNET
from tests.training import fill

HERE = Path(__file__).parents[1]
SIZES = {
    "unet_daclip_sde": (unet.DACLIP, 224, 48_975_747),
    "unet_daclip_sde_no_context": (unet.NO_CONTEXT, 151, 36_236_419),
    "unet_irsde": (unet.IRSDE, 151, 137_147_523),
    "unet_wild_ir": (unet.WILD, 221, 49_470_467),  # no outputs of this one are at hand: names and shapes only
}
SMALL = {
    "tiny": unet.TINY,
    "linear": UNetSettings(widths=(8, 16, 24)),
    "half": UNetSettings(widths=(8, 8, 32, 32), image_context=24, half=True),
    "prompt": UNetSettings(widths=(8, 32, 32), degradation_context=16),
}
STATES = {"a": ("unet.a", 1, 64, 64), "b": ("unet.b", 2, 48, 80), "c": ("unet.c", 1, 75, 49)}


class Inputs(NamedTuple):
    """x_t, mu, and the two contexts of a tag of the fixtures."""

    x_t: Tensor
    mu: Tensor
    image: Tensor
    degradation: Tensor


def inputs(tag: str, batch: int, height: int, width: int) -> Inputs:
    maps = (fill.image(f"{tag}.{name}", (batch, 3, height, width)) for name in ("xt", "mu"))
    contexts = (fill.context(f"{tag}.{name}", (batch, 512)) for name in ("image", "degra"))
    return Inputs(*(torch.from_numpy(value) for value in (*maps, *contexts)))


def arguments(settings: UNetSettings, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    """x_t, mu, t and the contexts that a network of these settings takes."""
    given = inputs("unet.small", batch, height, width)
    t = torch.arange(1, batch + 1) * 17
    image = None if settings.image_context is None else given.image[:, : settings.image_context]
    degradation = None if settings.degradation_context is None else given.degradation[:, : settings.degradation_context]
    return given.x_t, given.mu, t, image, degradation


def filled(net: UNet) -> dict[str, Tensor]:
    """The fixtures' weights of a network of any size, under the published names."""
    shapes = {name: tensor.shape for name, tensor in UNET.to_published(net.state_dict()).items()}
    return {name: torch.from_numpy(value) for name, value in fill.fill(shapes).items()}


def loaded(settings: UNetSettings) -> tuple[UNet, dict[str, Tensor]]:
    net = UNet(settings)
    state = filled(net)
    net.load_state_dict(UNET.from_published(state, net.state_dict()))
    return net, state


def arrays_of(name: str) -> dict[str, Any]:
    with np.load(HERE / "golden" / f"{name}.npz") as file:
        return dict(file)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach() - wanted.detach()).abs().max() / wanted.detach().abs().max())


def assert_golden(found: Tensor, goldens: dict[str, Any], name: str) -> None:
    """Against every fifth number where the fixture is cut, and then its sum too; all numbers elsewhere."""
    wanted = torch.from_numpy(goldens[name]).flatten()
    cut = f"{name}_sum_f64" in goldens
    values = found.detach().flatten()
    assert relative(values[::5] if cut else values, wanted) <= 1e-5
    if cut:
        assert abs(float(values.double().sum()) - float(goldens[f"{name}_sum_f64"])) <= 1e-5 * float(values.abs().sum())


# The published tensors


@pytest.mark.parametrize("name", SIZES)
def test_every_published_tensor_has_its_place(name: str) -> None:
    settings, tensors, parameters = SIZES[name]
    with torch.device("meta"):
        net = UNet(settings)
        ours = UNET.to_published(net.state_dict())
    keys = fill.load_shapes(HERE / "official_keys" / f"{name}.keys.json")
    assert {key: tuple(tensor.shape) for key, tensor in ours.items()} == keys
    assert len(ours) == tensors
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(list(net.parameters())) == len(net.state_dict())


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
def test_published_to_ours_and_back_is_the_identity(settings: UNetSettings) -> None:
    net, state = loaded(settings)
    back = UNET.to_published(net.state_dict())
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    state = filled(UNet(SMALL["prompt"]))
    with pytest.raises(KeyMapError, match=r"7 surplus: prompt; "):
        UNET.from_published(state, UNet(UNetSettings(widths=(8, 32, 32))).state_dict())


# The published numbers


class Goldens(NamedTuple):
    net: UNet
    state: dict[str, Tensor]
    arrays: dict[str, Any]


@pytest.fixture(scope="module", params=[name for name in SIZES if name != "unet_wild_ir"])
def goldens(request: pytest.FixtureRequest) -> Goldens:
    return Goldens(*loaded(SIZES[request.param][0]), arrays_of(request.param))


@pytest.mark.slow
def test_published_outputs(goldens: Goldens) -> None:
    settings = goldens.net.settings
    names = [name for name in goldens.arrays if name[:2] in ("a_", "b_", "c_") and "_sum_" not in name]
    assert len(names) >= 2
    for name in names:
        given = inputs(*STATES[name[0]])
        t: float | Tensor = torch.tensor([7, 93]) if name == "b_t7_93" else float(name.split("_")[1][1:])
        image = None if settings.image_context is None else given.image
        degradation = None if settings.degradation_context is None or "no_degra" in name else given.degradation
        with torch.no_grad():
            assert_golden(goldens.net(given.x_t, given.mu, t, image, degradation), goldens.arrays, name)


@pytest.mark.slow
def test_published_round_trip_at_full_size(goldens: Goldens) -> None:
    back = UNET.to_published(goldens.net.state_dict())
    assert all(torch.equal(back[name], goldens.state[name]) for name in goldens.state)


@pytest.mark.slow
@pytest.mark.parametrize("goldens", ["unet_daclip_sde"], indirect=True)
def test_published_training_step(goldens: Goldens) -> None:
    net, _, arrays = goldens
    shape = (2, 3, 64, 64)
    gt, lq = (torch.from_numpy(fill.image(f"unet.train.{name}", shape)) for name in ("gt", "lq"))
    z = torch.from_numpy(fill.gauss("unet.train.noise", shape))
    given, t, sde = inputs("unet.train", 2, 64, 64), torch.tensor([20, 71]), IRSDE()
    x = sde.marginal(gt, lq, t, z)
    eps_hat = net(x, lq, t, given.image, given.degradation)
    loss = sde.likelihood_loss(x, gt, lq, eps_hat, t)
    net.zero_grad()
    loss.backward()
    assert_golden(x, arrays, "train_states")
    assert_golden(eps_hat, arrays, "train_noise")
    assert_golden(sde.reverse_mean(x, lq, eps_hat, t), arrays, "train_expectation")
    assert_golden(sde.optimum(x, gt, lq, t), arrays, "train_optimum")
    assert loss.item() == pytest.approx(float(arrays["train_loss"]), rel=1e-5)

    # The published network has gradients of zero where ours has none.
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in net.named_parameters()}
    norms = {name: float(g.double().norm()) for name, g in UNET.to_published(gradients).items()}
    wanted = dict(zip(arrays["grad_keys"].tolist(), arrays["grad_norms_f64"].tolist(), strict=True))
    assert norms.keys() == wanted.keys()
    for name, norm in wanted.items():
        assert norms[name] == pytest.approx(norm, rel=1e-3, abs=1e-12), name


def test_published_linear_attention() -> None:
    table = KeyMap(tuple(Rule.of(*row) for row in LINEAR_ATTENTION))
    net = LinearAttention(64)
    shapes = {name: tensor.shape for name, tensor in table.to_published(net.state_dict()).items()}
    state = {name: torch.from_numpy(fill.weight(f"linear_attention.{name}", shape)) for name, shape in shapes.items()}
    net.load_state_dict(table.from_published(state, net.state_dict()))
    arrays = arrays_of("modules")
    assert sorted(state) == sorted(arrays["linear_attention_keys"].tolist())
    x = torch.from_numpy(fill.gauss("module.x", (2, 64, 8, 6)))
    for images in (x, x.to(memory_format=torch.channels_last)):
        assert relative(net(images), torch.from_numpy(arrays["linear_attention"])) <= 1e-5


def test_published_time_embedding() -> None:
    found = embed_time(torch.tensor([1, 12.5, 50, 100]), time_frequencies(64))
    wanted = arrays_of("modules")["time_embedding"]
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=0, atol=1e-5)  # of angles up to 100


@pytest.mark.parametrize("size", [(1, 16, 16), (2, 17, 29)])
@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)
def test_the_published_structure_gives_the_same_numbers_and_gradients(
    settings: UNetSettings, size: tuple[int, int, int]
) -> None:
    net, state = loaded(settings)
    other = published.build(state)
    given = arguments(settings, *size)
    found, wanted = net(*given), other(*given)
    assert found.shape == given[0].shape
    assert relative(found, wanted) <= 1e-5
    for eps_hat in (found, wanted):
        (eps_hat - given[0]).square().mean().backward()
    ours = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in net.named_parameters()}
    theirs = {name: p.grad for name, p in other.named_parameters()}
    largest = max(float(g.norm()) for g in theirs.values() if g is not None)
    for name, gradient in UNET.to_published(ours).items():
        expected = theirs[name]
        assert float((gradient - expected).norm()) <= 1e-3 * float(expected.norm()) + 1e-6 * largest, name


@pytest.mark.parametrize("width", [9, 30])  # few pixels are enlarged first
def test_doubling_within_the_convolution_is_doubling_before_it(width: int) -> None:
    torch.manual_seed(0)
    net = DoubleAndConvolve(5, 7).double()
    x = torch.randn(2, 5, 6, width, dtype=torch.float64)
    expected = net.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert (x[0, 0].numel() <= unet.FEW_PIXELS) == (width == 9)
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 1e-5), (torch.float64, 1e-3)])
def test_the_channel_norm_is_its_equation(dtype: torch.dtype, eps: float) -> None:
    torch.manual_seed(0)
    net = ChannelNorm(6).to(dtype)
    nn.init.uniform_(net.g)
    x = torch.randn(2, 6, 4, 3, dtype=dtype) / 30
    mean = x.mean(dim=1, keepdim=True)
    expected = (x - mean) / ((x - mean).square().mean(dim=1, keepdim=True) + eps).sqrt() * net.g
    torch.testing.assert_close(net(x), expected)


# Conditions


@pytest.fixture(scope="module")
def tiny() -> UNet:
    return loaded(unet.TINY)[0]


def test_a_number_is_a_vector_of_it(tiny: UNet) -> None:
    x_t, mu, _, image, degradation = arguments(unet.TINY, 2, 16, 16)
    one = tiny(x_t, mu, 12.5, image, degradation)
    assert torch.equal(one, tiny(x_t, mu, torch.tensor([12.5, 12.5]), image, degradation))
    assert torch.equal(one, tiny(x_t, mu, torch.tensor(12.5), image, degradation))
    assert torch.equal(tiny(x_t, mu, 12, image, degradation), tiny(x_t, mu, torch.tensor([12, 12]), image, degradation))


def test_images_of_a_batch_do_not_see_each_other(tiny: UNet) -> None:
    given = arguments(unet.TINY, 3, 16, 24)
    together = tiny(*given)
    for i in range(3):
        alone = tiny(*(part[i : i + 1] for part in given))
        assert relative(alone, together[i : i + 1]) <= 1e-5


@pytest.mark.parametrize("which", [0, 1, 2, 3, 4], ids=["x_t", "mu", "t", "image", "degradation"])
def test_every_input_counts(tiny: UNet, which: int) -> None:
    given = list(arguments(unet.TINY, 1, 16, 16))
    before = tiny(*given)
    given[which] = given[which] + 1
    assert relative(tiny(*given), before) > 1e-3


def test_without_an_image_context_its_attention_is_left_out(tiny: UNet) -> None:
    x_t, mu, t, image, degradation = arguments(unet.TINY, 1, 16, 16)
    mute = UNet(unet.TINY)
    mute.load_state_dict(tiny.state_dict())
    with torch.no_grad():
        for name, parameter in mute.named_parameters():
            if "cross_attention.out" in name:
                parameter.zero_()
    torch.testing.assert_close(tiny(x_t, mu, t, None, degradation), mute(x_t, mu, t, image, degradation))


def test_several_equal_tokens_are_one(tiny: UNet) -> None:
    x_t, mu, t, image, degradation = arguments(unet.TINY, 2, 16, 16)
    one = tiny(x_t, mu, t, image, degradation)
    assert relative(tiny(x_t, mu, t, image[:, None].expand(2, 4, 512), degradation), one) <= 1e-5


def test_parameters_without_effect_get_no_gradient_and_stay(tiny: UNet) -> None:
    net = UNet(unet.TINY)
    net.load_state_dict(tiny.state_dict())
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.5)
    net(*arguments(unet.TINY, 2, 16, 16)).square().mean().backward()
    optimiser.step()
    still = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert still == net.parameters_without_effect()
    assert len(still) == 12
    assert all(net.get_parameter(name).grad is None for name in still)


def test_it_starts_as_published() -> None:
    torch.manual_seed(0)
    net = UNet(unet.TINY)
    for name, parameter in net.named_parameters():
        if "project_out" in name:
            assert not parameter.any(), name
        elif name.endswith("norm.g") or ("norm" in name and name.endswith("weight")):
            assert (parameter == 1).all(), name
        elif name == "prompt.prompt":
            assert (parameter >= 0).all() and (parameter < 1).all() and parameter.std() > 0.2
        elif parameter.ndim > 1:  # PyTorch's rule: uniform up to 1 / sqrt(fan in)
            bound = (parameter.numel() / len(parameter)) ** -0.5
            assert 0.8 * bound < parameter.abs().max() <= bound * (1 + 1e-6), name


# Inputs


@pytest.mark.parametrize("half", [False, True])
def test_a_start_as_noise_is_the_state_over_its_spread_whatever_the_rest(half: bool) -> None:
    net = UNet(replace(unet.TINY, half=half))
    net.start_as_noise(0.2)
    x_t, mu, t, *contexts = arguments(unet.TINY, 2, 19, 18)
    torch.testing.assert_close(net(x_t, mu, t, *contexts), (x_t - mu) / 0.2, rtol=0, atol=1e-5)
    net(x_t, mu, t, *contexts).square().mean().backward()
    assert net.predict.weight.grad is not None and (net.predict.weight.grad != 0).all()  # all of it learns at once


def test_odd_sizes_are_padded_by_reflection_and_cropped(tiny: UNet) -> None:
    x_t, mu, t, *contexts = arguments(unet.TINY, 1, 15, 18)
    pads = (0, 2, 0, 1)
    padded = tiny(functional.pad(x_t, pads, "reflect"), functional.pad(mu, pads, "reflect"), t, *contexts)
    assert torch.equal(tiny(x_t, mu, t, *contexts), padded[..., :15, :18])


Change = Callable[[list[Any]], None]


def at(which: int, value: Any) -> Change:
    def change(given: list[Any]) -> None:
        given[which] = value(given[which]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (at(0, torch.zeros(2, 4, 16, 16)), r"x_t of shape \(2, 4, 16, 16\); expected batch x 3"),
        (at(1, torch.zeros(2, 1, 16, 16)), r"mu of shape"),
        (at(1, torch.zeros(2, 3, 16, 20)), r"expected equal shapes"),
        (at(0, torch.zeros(2, 3, 16, 16, dtype=torch.uint8)), r"torch\.uint8; expected floating numbers"),
        (at(0, torch.zeros(0, 3, 16, 16)), r"none of them 0"),
        (at(2, torch.tensor([1, 2, 3])), r"t of shape \(3,\); expected one number or 2"),
        (at(2, torch.ones(2, 1, 1, 1)), r"t of shape \(2, 1, 1, 1\)"),
        (at(3, torch.zeros(2, 768)), r"image_context of shape \(2, 768\); expected 2 x 512"),
        (at(3, torch.zeros(1, 512)), r"image_context of shape \(1, 512\); expected 2 x 512"),
        (at(4, torch.zeros(2, 1, 512)), r"degradation_context of shape \(2, 1, 512\); expected 2 x 512"),
        (at(4, torch.zeros(2, 512, dtype=torch.int64)), r"degradation_context of type torch\.int64"),
    ],
)
def test_inputs_that_do_not_fit_are_named_before_any_work(
    tiny: UNet, change: Change, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> Tensor:
        raise AssertionError("the network began to work")

    monkeypatch.setattr(tiny.time, "forward", work)
    given: list[Any] = list(arguments(unet.TINY, 2, 16, 16))
    change(given)
    with pytest.raises(ModelInputError, match=words):
        tiny(*given)


def test_sides_too_small_to_reflect_are_named() -> None:
    net = UNet(UNetSettings(widths=(8, 8, 8, 8, 8)))  # four levels, as in the papers
    small = torch.zeros(1, 3, 8, 40)
    with pytest.raises(ModelInputError, match=r"40×8 px are too small: .* more than 8 px"):
        net(small, small, 1)
    assert net(torch.zeros(1, 3, 9, 9), torch.zeros(1, 3, 9, 9), 1).shape == (1, 3, 9, 9)


def test_contexts_of_a_network_without_are_refused() -> None:
    net = UNet(SMALL["linear"])
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ModelInputError, match="image_context given to a network built without"):
        net(x, x, 1, torch.zeros(1, 512))
    with pytest.raises(ModelInputError, match="degradation_context given to a network built without"):
        net(x, x, 1, None, torch.zeros(1, 512))


@pytest.mark.parametrize("widths", [(16,), (), (2, 8)])
def test_widths_of_no_network_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ModelInputError, match="expected that of the stem and of each level"):
        UNetSettings(widths=widths)


# How it runs


def test_checkpointing_changes_nothing_but_memory(tiny: UNet) -> None:
    net = UNet(unet.TINY, checkpointing=True)
    net.load_state_dict(tiny.state_dict())
    given = arguments(unet.TINY, 2, 16, 16)
    for model in (tiny, net):
        model.zero_grad()
        model(*given).square().mean().backward()
    for (name, ours), theirs in zip(tiny.named_parameters(), net.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None and theirs.grad is not None:
            torch.testing.assert_close(theirs.grad, ours.grad, msg=name)


def test_bfloat16_autocast_is_close(tiny: UNet) -> None:
    given = arguments(unet.TINY, 2, 32, 32)
    with torch.no_grad():
        exact = tiny(*given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = tiny(*given)
    assert 0 < relative(rough.float(), exact) < 0.05


@pytest.mark.slow
def test_it_compiles_in_one_graph(tiny: UNet) -> None:
    given = arguments(unet.TINY, 2, 17, 16)
    compiled = torch.compile(tiny, fullgraph=True, backend="aot_eager")
    assert relative(compiled(*given), tiny(*given)) <= 1e-5


# Learning


class Pairs(NamedTuple):
    """Eight smooth pictures, the same in haze (each of its own colour), and their contexts."""

    gt: Tensor
    lq: Tensor
    image: Tensor
    degradation: Tensor


def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 5, 5, generator=generator)
    gt = functional.interpolate(coarse, size=(16, 16), mode="bilinear", align_corners=True)
    lq = 0.5 * gt + 0.5 * torch.rand(8, 3, 1, 1, generator=generator)
    image = torch.from_numpy(fill.context("unet.learn.image", (8, 512)))
    degradation = torch.from_numpy(fill.context("unet.learn.degradation", (1, 512))).expand(8, 512)
    return Pairs(gt, lq, image, degradation)


def train(net: UNet, loss_of: Callable[[], Tensor], steps: int, rate: float) -> list[float]:
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    losses = []
    for _ in range(steps):
        loss = loss_of()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    return -10 * (images - truth).square().mean(dim=(1, 2, 3)).log10()


@pytest.mark.slow
def test_it_learns_to_restore_eight_pictures_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Trained directly, lq + net(lq, lq, 1) against gt: that all the parts learn."""
    torch.manual_seed(0)
    started, (gt, lq, image, degradation) = time.perf_counter(), pairs()
    net = UNet(unet.TINY)

    def restored() -> Tensor:
        result: Tensor = lq + net(lq, lq, 1, image, degradation)
        return result

    train(net, lambda: (restored() - gt).abs().mean(), steps=300, rate=4e-3)
    reached = psnr(restored().detach(), gt)
    with capsys.disabled():
        took = time.perf_counter() - started
        print(f"\nPSNR at least {psnr(lq, gt).min():.1f} dB, then {reached.min():.1f} dB; {took:.0f} s")
    assert psnr(lq, gt).max() < 30
    assert reached.min() > 35


@pytest.mark.slow
def test_it_learns_the_noise_of_the_equation(capsys: pytest.CaptureFixture[str]) -> None:
    """The maximum-likelihood loss, to less than half of what an estimate of no noise has.

    Sampling good pictures takes far longer: where the noise still hides the picture, an error of the estimate grows by
    up to 1 / eps = 200 on the way back.
    """
    torch.manual_seed(0)
    started, (gt, lq, image, degradation) = time.perf_counter(), pairs()
    net, sde, generator = UNet(unet.TINY), IRSDE(max_sigma=10), torch.Generator().manual_seed(0)
    silent = []

    def loss() -> Tensor:
        t, x, _ = sde.training_states(gt, lq, generator)
        silent.append(sde.likelihood_loss(x, gt, lq, torch.zeros_like(x), t).item())
        return sde.likelihood_loss(x, gt, lq, net(x, lq, t, image, degradation), t)

    losses = train(net, loss, steps=250, rate=2e-3)
    with capsys.disabled():
        took = time.perf_counter() - started
        print(f"\nloss {np.mean(losses[-50:]):.2e} where no noise has {np.mean(silent[-50:]):.2e}; {took:.0f} s")
    assert np.mean(losses[-50:]) < 0.5 * np.mean(silent[-50:])
