"""Views and tokens of CLIP against those of the published code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from patina.training.data.views import (
    MEAN,
    STD,
    clip_view,
    clip_views,
    patch_views,
    tensor_views,
    tokenize,
    training_view,
)
from patina.training.errors import ModelInputError
from tests.training import fill

GOLDEN = Path(__file__).parents[1] / "golden"
PICTURES = {"large": (300, 437), "small": (64, 64), "odd": (97, 131)}


def picture(name: str) -> NDArray[np.uint8]:
    return fill.uint8_image(f"pre.{name}", *PICTURES[name])


def floats(*images: NDArray[np.uint8]) -> Tensor:
    return torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images])


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("path", ["pil", "tensor"])
def test_views_are_the_published_ones(name: str, path: str) -> None:
    golden = np.load(GOLDEN / "preprocess.npz")
    image = picture(name)
    assert image.sum(dtype=np.float64) == golden[f"{name}_uint8_sum_f64"]
    view = clip_view(image) if path == "pil" else tensor_views(floats(image))[0]
    assert view.shape == (3, 224, 224) and view.dtype == torch.float32
    np.testing.assert_allclose(view[:, [0, 1, 111, 223]], golden[f"{name}_{path}_rows"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(view[:, ::7, ::7], golden[f"{name}_{path}_grid"], rtol=0, atol=2e-6)
    assert float(view.double().sum()) == pytest.approx(float(golden[f"{name}_{path}_sum_f64"]), rel=1e-6)


def test_a_patch_of_bytes_is_seen_as_those_bytes_and_the_truncation_is_downwards() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert torch.equal(patch_views(floats(levels), 16)[0], clip_view(levels, 16))
    between = patch_views(floats(levels) + 0.9 / 255, 16)[0]  # the brightest are clamped at 255
    assert torch.equal(between, clip_view(levels, 16))
    below = patch_views(floats(levels) * 0 - 0.3, 16)[0]
    assert torch.equal(below, clip_view(levels * 0, 16))


def test_batches_are_their_images_one_by_one() -> None:
    images = [picture(name) for name in PICTURES]
    assert torch.equal(clip_views(images), torch.stack([clip_view(image) for image in images]))
    flipped = [images[2], images[2][::-1]]
    assert torch.equal(clip_views(flipped), patch_views(floats(images[2], images[2][::-1].copy())))
    pair = tensor_views(floats(images[2], images[2][::-1].copy()))
    torch.testing.assert_close(pair[1], tensor_views(floats(images[2][::-1].copy()))[0])


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    image = fill.uint8_image("view.same", 224, 224)
    expected = (floats(image)[0] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(clip_view(image), expected)
    torch.testing.assert_close(tensor_views(floats(image))[0], expected)


def test_a_palette_is_made_rgb_before_it_is_resized() -> None:
    palette = PIL.Image.fromarray(picture("odd")).convert("P")
    assert torch.equal(clip_view(palette), clip_view(np.asarray(palette.convert("RGB"))))
    late = palette.resize((302, 224), PIL.Image.Resampling.BICUBIC).convert("RGB").crop((39, 0, 263, 224))
    assert not torch.equal(clip_view(palette), clip_view(np.asarray(late)))


def test_training_views_are_of_nearly_the_whole_photograph_and_follow_their_generator() -> None:
    y, x = np.mgrid[0:200, 0:260]
    ramps = np.stack((255 * x // 259, 255 * y // 199, 0 * x), axis=2).astype(np.uint8)
    first = training_view(ramps, np.random.default_rng(1), 64)
    assert first.shape == (3, 64, 64)
    assert torch.equal(first, training_view(ramps, np.random.default_rng(1), 64))
    assert not torch.equal(first, training_view(ramps, np.random.default_rng(2), 64))
    shares = []
    for seed in range(40):
        view = training_view(ramps, np.random.default_rng(seed), 64) * torch.tensor(STD)[:, None, None]
        levels = view + torch.tensor(MEAN)[:, None, None]
        across, down = levels[0, 0, -1] - levels[0, 0, 0], levels[1, -1, 0] - levels[1, 0, 0]
        shares.append(float(across * down))
    assert min(shares) > 0.85 and max(shares) < 1.01 and max(shares) - min(shares) > 0.03
    square = training_view(ramps, np.random.default_rng(3), 64, square=1.0)
    assert not torch.equal(square, training_view(ramps, np.random.default_rng(3), 64))
    assert training_view(ramps[:40, :40], np.random.default_rng(0), 64, square=1.0).shape == (3, 64, 64)
    assert training_view(ramps[:10], np.random.default_rng(0), 64).shape == (3, 64, 64)  # no box of the aspect fits


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))],
)
def test_what_is_no_rgb_image_of_bytes_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ModelInputError, match="expected H x W x 3 uint8 RGB"):
        clip_view(image)


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(ModelInputError, match="no images"):
        clip_views([])
    for views in (patch_views, tensor_views):
        with pytest.raises(ModelInputError, match="divide by 255"):
            views(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        with pytest.raises(ModelInputError, match="batch x 3"):
            views(torch.zeros(3, 8, 8))
    with pytest.raises(ModelInputError, match="a list"):
        tokenize("hazy")


def test_tokens_are_the_published_ones() -> None:
    golden = json.loads((GOLDEN / "tokenizer.json").read_text())
    tokens = tokenize([case["text"] for case in golden["cases"]])
    assert tokens.shape == (len(golden["cases"]), 77) and tokens.dtype == torch.int64
    for row, case in zip(tokens.tolist(), golden["cases"], strict=True):
        assert row == case["ids"] + [0] * (77 - len(case["ids"])), case["text"]
