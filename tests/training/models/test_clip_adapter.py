"""VLU-Net's adapted CLIP against the published one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from patina.training.data.views import tokenize
from patina.training.errors import ModelInputError
from patina.training.models import clip_adapter
from patina.training.models.clip_adapter import TINY, VIT_B_32, AdaptedClip, Adapter, ClipAdapterSettings, prompt_loss
from patina.training.models.keymap import KeyMapError
from patina.training.official.clip_adapter import ADAPTERS, CLIP_ADAPTER, CLIP_PREFIX
from patina.training.official.daclip import settings_of
from tests.training import fill

HERE = Path(__file__).parents[1]
GOLDEN = HERE / "golden" / "vlunet_clip_adapter.npz"
SHAPES = fill.load_shapes(HERE / "official_keys" / "vlunet_clip_adapter.keys.json")
TEXT_CLIP = "ad_textEncoder.clip_model."


def original(key: str) -> str:
    """The name whose value a tensor of the goldens has: the CLIP is that of the DA-CLIP goldens."""
    return f"clip.{key.split('.', 2)[2]}" if ".clip_model." in key else key


def filled(keys: Iterator[str]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(fill.weight(original(key), SHAPES[key])) for key in keys}


def close(found: Tensor, golden: str, limit: float = 1e-5) -> None:
    expected = np.load(GOLDEN)[golden]
    error = np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max()
    assert error <= limit, f"{golden}: {error:.2g}"


@pytest.fixture(scope="module", autouse=True)
def _on_one_core() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny() -> AdaptedClip:
    torch.manual_seed(0)
    return AdaptedClip(TINY)


@pytest.fixture(scope="module")
def full() -> AdaptedClip:
    published = filled(key for key in SHAPES if not key.startswith(TEXT_CLIP))
    net = AdaptedClip(VIT_B_32)
    net.load_state_dict(CLIP_ADAPTER.from_published(published, net.state_dict()))
    return net


def test_published_names_to_ours_and_back_is_the_identity() -> None:
    """Of names and shapes: 628 tensors without memory. The next test has the values."""
    with torch.device("meta"):
        like = AdaptedClip(VIT_B_32).state_dict()
        unique = {key: torch.empty(shape) for key, shape in SHAPES.items() if not key.startswith(TEXT_CLIP)}
    ours = CLIP_ADAPTER.from_published(unique, like)
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in like.items()}
    back = CLIP_ADAPTER.to_published(ours)
    assert {key: tuple(tensor.shape) for key, tensor in back.items()} == SHAPES and len(SHAPES) == 628


def test_tiny_networks_and_the_adapters_file_go_round(tiny: AdaptedClip) -> None:
    published = CLIP_ADAPTER.to_published(tiny.state_dict())
    assert ClipAdapterSettings(**vars(settings_of(published, CLIP_PREFIX))) == TINY
    ours = CLIP_ADAPTER.from_published(published, tiny.state_dict())
    assert all(torch.equal(ours[name], tensor) for name, tensor in tiny.state_dict().items())
    tuned = {name: tensor for name, tensor in tiny.state_dict().items() if not name.startswith("clip.")}
    file = ADAPTERS.to_published(tuned)
    assert set(file) == {key for key in SHAPES if ".adapter." in key}
    assert ADAPTERS.from_published(file, tuned).keys() == tuned.keys()
    torn = {**published, f"{TEXT_CLIP}logit_scale": torch.tensor(0.0)}
    with pytest.raises(KeyMapError, match="not equal"):
        CLIP_ADAPTER.from_published(torn, tiny.state_dict())


@pytest.mark.parametrize("side", ["image", "text"])
def test_adapters_alone_give_the_published_numbers(side: str) -> None:
    prefix = f"ad_{side}Encoder.adapter."
    published = filled(key for key in SHAPES if key.startswith(prefix))
    adapter = Adapter(512, "gelu")
    like = {f"{side}_adapter.{name}": tensor for name, tensor in adapter.state_dict().items()}
    ours = ADAPTERS.from_published(published, like)
    adapter.load_state_dict({name.split(".", 1)[1]: tensor for name, tensor in ours.items()})
    features = torch.from_numpy(fill.context("adapter.in", (3, 512)))
    close(adapter(features), f"adapter_{side}")
    bent = Adapter(512, "leaky_relu")
    bent.load_state_dict(adapter.state_dict())
    assert not torch.allclose(bent(features), adapter(features), atol=1e-2)


@pytest.mark.slow
def test_the_whole_network_gives_the_published_numbers(full: AdaptedClip) -> None:
    texts = list(np.load(GOLDEN)["texts"])
    assert tuple(texts) == clip_adapter.PROMPTS
    prompts = tokenize(texts)
    assert torch.equal(prompts, torch.from_numpy(np.load(GOLDEN)["tokens"]))
    images = torch.from_numpy(fill.context("daclip.images", (2, 3, 224, 224), 1.0))
    close(full.encode_image(images), "image_features")
    close(full.encode_text(prompts), "text_features")
    logits = full(images, prompts)
    close(logits, "logits")
    close(prompt_loss(logits, torch.tensor([3, 6])), "cross_entropy_labels_3_6")


def test_only_adapters_learn() -> None:
    with torch.device("meta"):
        full = AdaptedClip(VIT_B_32)
    assert sum(p.numel() for p in full.parameters() if p.requires_grad) == 1_582_080
    assert sum(p.numel() for p in full.parameters()) == 152_859_393


def test_fine_tuning_moves_the_adapters_and_nothing_else(tiny: AdaptedClip) -> None:
    net = AdaptedClip(TINY)
    net.load_state_dict(tiny.state_dict())
    net.train()
    assert not net.clip.training and net.image_adapter.training
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=1e-4, betas=(0.9, 0.999))
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 3, 4, 6])
    prompts = tokenize(clip_adapter.PROMPTS)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = prompt_loss(net(images, prompts), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is None for parameter in net.clip.parameters())
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "_adapter." in name}


def test_a_batch_of_one_is_the_same_as_in_a_batch(tiny: AdaptedClip) -> None:
    images = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(tiny.encode_image(images[:1]), tiny.encode_image(images)[:1], rtol=1e-5, atol=1e-5)


def test_bfloat16_gives_close_numbers(tiny: AdaptedClip) -> None:
    images, prompts = torch.randn(2, 3, 64, 64), tokenize(clip_adapter.PROMPTS)
    exact = tiny(images, prompts)
    with torch.autocast("cpu", torch.bfloat16):
        rough = tiny(images, prompts)
    assert ((rough.float() - exact).abs().max() / exact.abs().max()).item() < 0.1


def test_bad_input_is_refused(tiny: AdaptedClip) -> None:
    with pytest.raises(ModelInputError, match="sees 64×64"):
        tiny.encode_image(torch.zeros(1, 3, 32, 64))
    with pytest.raises(ModelInputError, match="up to 77"):
        tiny.encode_text(torch.zeros(1, 154, dtype=torch.int64))
    with pytest.raises(ModelInputError, match="activation"):
        ClipAdapterSettings(activation="relu")  # type: ignore[arg-type]
