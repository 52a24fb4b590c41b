"""A trained restorer: what it sees of a photograph, its tiles and its noise, and the files it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from patina.training import official
from patina.training.checkpoints import model as checkpoint
from patina.training.diffusion.samplers import SAMPLERS
from patina.training.errors import CheckpointError, ModelInputError, StageError
from patina.training.images import to_bytes
from patina.training.models import clip_adapter, daclip, nafnet, unet, vlunet
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.load import (
    conditioner_file,
    load_conditioner,
    load_model,
    load_restorer,
)
from patina.training.restore.options import RestoreOptions
from patina.training.restore.published import load_published
from patina.training.restore.restorer import Restorer, conditioner_views
from patina.training.restore.texts import text_features
from patina.training.restore.tiles import Tiling
from patina.training.stages.stage import Data, Objective, Optimiser, Sde, Stage, Validation
from tests.pipeline.making import picture
from tests.training.running import small_dataset, stage, trained

CLIP = replace(daclip.TINY, image_layers=1, text_layers=1)
ADAPTED = replace(clip_adapter.TINY, image_layers=1, text_layers=1)
UNET = replace(unet.TINY, image_context=CLIP.embed_dim, degradation_context=CLIP.embed_dim)
VLUNET = replace(vlunet.TINY, width=ADAPTED.embed_dim)


def made_up(objective: Objective, after: str = "", view: str = "none", crop: int = 0, steps: int = 2) -> Stage:
    network = {"sde": "unet-daclip", "described": "vlunet-7", "contrastive": "daclip-b32"}[objective]
    validation = Validation(sampler="fast-ode", steps=steps)
    data = Data(1, view=view, crop=crop)  # type: ignore[arg-type]
    return Stage("small", objective, network, data, Optimiser(1e-4), 1, after=after, validation=validation)


def seeing(view: str = "photo", crop: int = 0) -> Conditioner:
    return Conditioner(daclip.DaClip(CLIP), made_up("contrastive", view=view, crop=crop))


def diffusion(*, steered: bool = True, steps: int = 2) -> Restorer:
    """A tiny U-Net of random weights, on DA-CLIP or alone."""
    if not steered:
        net = unet.UNet(replace(UNET, image_context=None, degradation_context=None))
        return Restorer(net, None, made_up("sde", steps=steps))
    conditioner = seeing()
    texts = text_features(conditioner.net, daclip.DEGRADATIONS)
    net, degradations = unet.UNet(UNET), daclip.DEGRADATIONS
    return Restorer(net, conditioner, made_up("sde", "controller", steps=steps), degradations=degradations, texts=texts)


def described() -> Restorer:
    """A tiny VLU-Net of random weights."""
    clip = clip_adapter.AdaptedClip(ADAPTED)
    conditioner = Conditioner(clip, made_up("contrastive", view="patch-floats"))
    degradations = clip_adapter.PROMPTS
    stage = made_up("described", "adapter")
    return Restorer(
        vlunet.VluNet(VLUNET), conditioner, stage, degradations=degradations, texts=text_features(clip, degradations)
    )


class Pointwise(nn.Module):
    """Each pixel by itself: what is outside of a tile does not matter."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change, self.sides = change, set[tuple[int, ...]]()

    def forward(self, x: Tensor, mu: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        self.sides.add(tuple(x.shape[-2:]))
        return self.change(x) if mu is None else self.change(x - mu) * 2


def of_pixels(objective: Objective, change: Callable[[Tensor], Tensor] = torch.sin) -> tuple[Restorer, Pointwise]:
    net = Pointwise(change)
    return Restorer(net, None, made_up(objective)), net


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


# Tiles


@given(st.integers(1, 900), st.integers(1, 300), st.data())
def test_tiles_cover_a_side_and_share_at_least_the_overlap(length: int, side: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, (side - 1) // 2))
    starts = Tiling(side, overlap).starts(length)
    if length <= side:
        assert starts == [0]
        return
    assert starts[0] == 0
    assert starts[-1] + side == length
    assert all(a < b for a, b in pairwise(starts))
    assert all(a + side - b >= overlap for a, b in pairwise(starts))
    assert len(starts) == -(-(length - overlap) // (side - overlap))  # no more than are needed


@pytest.mark.parametrize(("side", "overlap"), [(-1, 0), (64, -1), (64, 32), (64, 100)])
def test_tiles_that_are_all_overlap_are_refused(side: int, overlap: int) -> None:
    with pytest.raises(ModelInputError, match="less than half"):
        Tiling(side, overlap)


@pytest.mark.parametrize("overlap", [0, 1, 15])
def test_an_identity_through_tiles_gives_the_photograph_back(overlap: int) -> None:
    restorer, net = of_pixels("described", lambda x: x)
    image = picture(101, 77)
    restored = restorer.restore(image, tiling=Tiling(32, overlap))
    assert torch.allclose(restored, torch.from_numpy(image).permute(2, 0, 1) / 255, rtol=0, atol=1e-6)
    assert np.array_equal(to_bytes(restored), image)
    assert net.sides == {(32, 32)}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_of_pixels_alone_tiles_make_no_difference_whatever_the_sampler(sampler: str) -> None:
    restorer, net = of_pixels("sde")
    image = picture(90, 70)
    steps = 5 if sampler.startswith("fast") else 20
    whole = restorer.restore(image, seed=4, sampler=sampler, steps=steps)
    assert net.sides == {(70, 90)}
    tiles = restorer.restore(image, seed=4, sampler=sampler, steps=steps, tiling=Tiling(48, 8))
    assert net.sides == {(70, 90), (48, 48)}
    assert torch.allclose(whole, tiles, rtol=1e-4, atol=1e-4)
    assert whole.std() > 0.05  # and not for lack of anything to differ


def test_tiles_of_a_network_that_looks_around_agree_where_it_sees_the_same() -> None:
    blur = nn.Conv2d(3, 3, 5, padding=2, groups=3)
    restorer = Restorer(blur, None, made_up("described"))
    image = picture(120, 40)
    whole = restorer.restore(image)
    tiles = restorer.restore(image, tiling=Tiling(64, 16))
    assert (whole - tiles).abs().max() < 0.2
    assert torch.allclose(whole[:, :, :28], tiles[:, :, :28], atol=1e-6)  # the second tile begins there
    assert not torch.allclose(whole, tiles, atol=1e-6)


def test_progress_counts_every_network_call() -> None:
    restorer, _ = of_pixels("sde")
    told: list[tuple[int, int]] = []
    restorer.restore(picture(90, 40), steps=3, tiling=Tiling(48, 8), progress=lambda *now: told.append(now))
    assert told == [(k, 9) for k in range(1, 10)]  # three steps of three tiles


# Samplers and seeds


def test_how_many_calls_a_sampler_takes() -> None:
    restorer, _ = of_pixels("sde")
    assert restorer.calls() == 2  # the stage's
    assert restorer.calls("posterior") == 100
    assert restorer.calls("fast-sde") == 10
    assert restorer.calls("ode", 30) == 30
    assert restorer.calls("", 7) == 7
    assert described().calls("", 0) == 1


@pytest.mark.parametrize(
    ("sampler", "steps", "said"),
    [("fastest", 3, "no sampler 'fastest'"), ("posterior", 101, "expected 1 to 100"), ("fast-ode", -1, "1 or more")],
)
def test_samplers_and_steps_that_are_not_there_are_told(sampler: str, steps: int, said: str) -> None:
    restorer, _ = of_pixels("sde")
    with pytest.raises(ModelInputError, match=said):
        restorer.restore(picture(), sampler=sampler, steps=steps)


def test_the_seed_alone_decides_the_noise() -> None:
    restorer = diffusion()
    image = picture(40, 32)
    first, again, other = (restorer.restore(image, seed=s, sampler="fast-sde", steps=2) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_stages_own_schedule_is_used() -> None:
    net = Pointwise(torch.sin)
    longer = Restorer(net, None, replace(made_up("sde"), sde=Sde(max_sigma=30, steps=7)))
    assert (longer.calls("posterior"), longer.sde.max_sigma) == (7, 30)


# What it sees


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 40), (16, 300)])
@pytest.mark.parametrize("view", ["photo", "patch", "patch-floats"])
def test_photographs_smaller_than_the_squares_are_looked_at(width: int, height: int, view: str) -> None:
    conditioner = seeing(view, 0 if view == "photo" else 64)
    views = conditioner_views(picture(width, height), conditioner)
    assert views.shape[1:] == (3, CLIP.image_size, CLIP.image_size)
    assert torch.isfinite(views).all()
    if view == "photo" or width == height:
        assert len(views) == 1


def test_squares_are_spread_over_the_photograph_to_its_edges() -> None:
    conditioner = seeing("patch", 32)
    image = np.zeros((100, 200, 3), np.uint8)
    assert len(conditioner_views(image, conditioner)) == 16
    for corner in (np.s_[:1, :1], np.s_[:1, -1:], np.s_[-1:, :1], np.s_[-1:, -1:]):
        marked = image.copy()
        marked[corner] = 255
        changed = (conditioner_views(marked, conditioner) != conditioner_views(image, conditioner)).flatten(1).any(1)
        assert changed.sum() == 1


@pytest.mark.parametrize("make", [diffusion, described])
def test_words_are_shares_of_one_the_likeliest_first(make: Callable[[], Restorer]) -> None:
    condition = make().look(picture(50, 40))
    shares = list(condition.degradations.values())
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    assert set(condition.degradations) in (set(daclip.DEGRADATIONS), set(clip_adapter.PROMPTS))
    assert all(context.shape[0] == 1 for context in condition.contexts.values())


def test_without_a_clip_nothing_is_seen() -> None:
    condition = diffusion(steered=False).look(picture())
    assert (condition.contexts, condition.degradations) == ({}, {})


def test_what_was_seen_steers() -> None:
    restorer = described()
    image = picture(40, 40)
    condition = restorer.look(image)
    own = restorer.restore(image)
    assert torch.equal(own, restorer.restore(image, condition=condition))
    other = replace(condition, contexts={name: -10 * value for name, value in condition.contexts.items()})
    assert not torch.equal(own, restorer.restore(image, condition=other))


@pytest.mark.parametrize("make", [diffusion, described])
def test_any_size_is_restored_and_the_photograph_stays_as_it_was(make: Callable[[], Restorer]) -> None:
    restorer = make()
    for width, height in ((16, 16), (33, 17), (61, 40)):
        image = picture(width, height)
        restored = restorer.restore(image)
        assert (restored.shape, restored.dtype) == ((3, height, width), torch.float32)
        assert torch.isfinite(restored).all()
        assert np.array_equal(image, picture(width, height))


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a controller and two restorers on it."""
    folder = tmp_path_factory.mktemp("run")
    dataset = small_dataset(folder)
    for name in ("controller", "nafnet", "irsde"):
        short = stage(name, max_images=8, validation={"every": 0}, save_every=8)
        trained(short, dataset, folder / "run")
    return folder / "run"


def test_of_a_run_the_last_restorer_or_the_one_asked_for(run: Path) -> None:
    assert load_restorer(run).stage.name == "irsde"
    assert load_restorer(run, stage="nafnet").stage.name == "nafnet"
    assert load_restorer(run / "nafnet").stage.name == "nafnet"
    restorer = load_restorer(run / "irsde" / "model.safetensors")
    assert set(restorer.look(picture()).degradations) == {"jpeg-compressed", "low-light", "noisy"}
    assert torch.equal(restorer.restore(picture(40, 40)), load_restorer(run).restore(picture(40, 40)))


def test_what_a_run_lacks_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load_restorer(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no finished restorer; it has no finished stage"):
        load_restorer(tmp_path)
    with pytest.raises(CheckpointError, match=r"'vlunet' has no model\.safetensors; it has controller, irsde, nafnet"):
        load_restorer(run, stage="vlunet")
    with pytest.raises(StageError, match="names degradations and restores nothing"):
        load_restorer(run, stage="controller")


def test_a_run_finds_what_steers_it_by_itself(run: Path, tmp_path: Path) -> None:
    for model in (run, run / "irsde", run / "irsde" / "model.safetensors"):
        with pytest.raises(ModelInputError, match="finds in its run what steers it; leave out --steering"):
            load_model(model, steering=tmp_path / "clip.pt", device="cpu")


def test_a_restorer_is_steered_only_by_what_it_was_trained_on(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "controller").mkdir(parents=True)
    (other / "irsde").mkdir()
    model = other / "irsde" / "model.safetensors"
    model.write_bytes((run / "irsde" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="is steered by the stage 'controller'; expected it at"):
        load_restorer(model)
    held = checkpoint.load(run / "controller" / "model.safetensors")
    changed = {name: t + 1 if t.is_floating_point() else t for name, t in held.tensors.items()}
    checkpoint.write(replace(held, tensors=changed), other / "controller" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"has the digest .*train the restorer again, or take both from one run"):
        load_restorer(model)
    (other / "controller" / "model.safetensors").write_bytes((run / "controller" / "model.safetensors").read_bytes())
    assert torch.equal(load_restorer(model).restore(picture(40, 40)), load_restorer(run).restore(picture(40, 40)))


def test_steering_is_frozen_and_brings_its_texts(run: Path) -> None:
    model = run / "irsde" / "model.safetensors"
    conditioner, degradations, texts = load_conditioner(
        conditioner_file(model, stage("irsde"), dict(checkpoint.load(model).notes))
    )
    assert degradations == ("jpeg-compressed", "low-light", "noisy")
    assert texts.shape == (3, conditioner.width)
    assert not any(p.requires_grad for p in conditioner.net.parameters())


# Published files


def test_a_published_unet_is_steered_by_daclips_file(tmp_path: Path) -> None:
    net, clip = unet.UNet(UNET), daclip.DaClip(CLIP)
    official.save(net, tmp_path / "universal-ir.pth")
    official.save(clip, tmp_path / "daclip.pt")
    with pytest.raises(CheckpointError, match="steered by DA-CLIP; give its file too"):
        load_published(tmp_path / "universal-ir.pth", None)
    restorer = load_published(tmp_path / "universal-ir.pth", tmp_path / "daclip.pt")
    image = picture(40, 30)
    condition = restorer.look(image)
    assert set(condition.degradations) == set(daclip.DEGRADATIONS)
    conditioner = Conditioner(clip, made_up("contrastive", view="photo"))
    own = Restorer(net, conditioner, made_up("sde", "controller"))
    assert torch.equal(restorer.restore(image, steps=2, sampler="fast-ode"), own.restore(image))
    assert restorer.calls() == 100  # as published


def test_a_published_file_of_another_width_does_not_steer(tmp_path: Path) -> None:
    official.save(unet.UNet(unet.TINY), tmp_path / "universal-ir.pth")
    official.save(daclip.DaClip(CLIP), tmp_path / "daclip.pt")
    with pytest.raises(CheckpointError, match=r"embeddings of 64 numbers.*takes 512"):
        load_published(tmp_path / "universal-ir.pth", tmp_path / "daclip.pt")


def test_a_published_vlunet_brings_what_steers_it(tmp_path: Path) -> None:
    net, clip = vlunet.VluNet(VLUNET), clip_adapter.AdaptedClip(ADAPTED)
    official.save(net, tmp_path / "vlunet.ckpt", degradation_model=clip)
    restorer = load_published(tmp_path / "vlunet.ckpt", None)
    image = picture(40, 30)
    own = Restorer(net, Conditioner(clip, made_up("contrastive", view="patch-floats")), made_up("described", "adapter"))
    assert torch.equal(restorer.restore(image), own.restore(image))
    assert set(restorer.look(image).degradations) == set(clip_adapter.PROMPTS)


def test_a_published_restorer_without_a_clip_needs_none(tmp_path: Path) -> None:
    net = nafnet.NAFNet(nafnet.TINY)
    official.save(net, tmp_path / "nafnet.pth")
    restorer = load_published(tmp_path / "nafnet.pth", None)
    assert restorer.is_diffusion
    own = Restorer(net, None, made_up("sde"))
    assert torch.equal(restorer.restore(picture(32, 32), sampler="fast-ode", steps=2), own.restore(picture(32, 32)))


def test_a_published_clip_restores_nothing(tmp_path: Path) -> None:
    official.save(daclip.DaClip(CLIP), tmp_path / "daclip.pt")
    with pytest.raises(CheckpointError, match="daclip, which restores nothing"):
        load_published(tmp_path / "daclip.pt", None)


class Watched(nn.Module):
    """A network of one layer, which remembers what it was given and what it computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.given: list[torch.dtype] = []
        self.computed: list[torch.dtype] = []

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        self.given += [one.dtype for one in (x, *others) if one.is_floating_point()]
        found: Tensor = self.layer(x)
        self.computed.append(found.dtype)
        return found


@pytest.mark.parametrize("objective", ["described", "sde"])
def test_bf16_is_of_the_network_alone(objective: Objective) -> None:
    net = Watched()
    photo = picture(40, 48)
    restorer = Restorer(net, None, made_up(objective))
    exact, low = restorer.restore(photo), restorer.restore(photo, precision="bf16")
    calls = len(net.computed) // 2
    assert net.computed == [torch.float32] * calls + [torch.bfloat16] * calls
    assert set(net.given) == {torch.float32}, "the sampler stays in float32"
    assert low.dtype == torch.float32 and not torch.equal(low, exact)
    if objective == "described":  # a sampler of random weights goes anywhere
        torch.testing.assert_close(low, exact, atol=0.02, rtol=0)
    assert torch.equal(restorer.restore(photo, precision="fp32"), exact)


class CountsCasts(TorchDispatchMode):
    """Counts how often something of a shape becomes bfloat16."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") == torch.bfloat16:
            self.count += tuple(args[0].shape) == self.shape
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("objective", ["described", "sde"])
def test_weights_become_bf16_once_for_all_tiles_and_steps(objective: Objective) -> None:
    net = Watched()
    with CountsCasts((3, 3, 1, 1)) as casts:
        Restorer(net, None, made_up(objective)).restore(picture(80, 48), precision="bf16", tiling=Tiling(48, 8))
    assert len(net.computed) > 1
    assert casts.count == 1


def test_a_precision_that_there_is_not_is_refused() -> None:
    options = RestoreOptions(precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(ModelInputError, match="precision 'fp16'; expected fp32 or bf16"):
        options.check(Restorer(Watched(), None, made_up("described")))
