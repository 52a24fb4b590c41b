"""What CLIP sees: photographs and patches as views of 224 px, and texts as tokens.

Two published ways to a view differ by up to 0.09 in normalised units, so a model gets the way it was trained with:
DA-CLIP resizes bytes (`clip_view`, `patch_views`), VLU-Net resizes floats (`tensor_views`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.errors import ModelInputError
from patina.training.models.layers import check_images

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of OpenAI's training images, RGB in [0, 1]; every CLIP here subtracts and divides by them."""

AREA = (0.9, 1.0)
ASPECT = (3 / 4, 4 / 3)
"""Of DA-CLIP's random crops: the share of the photograph, and width by height."""

Photo = NDArray[np.uint8] | PIL.Image.Image
Box = tuple[int, int, int, int]


def clip_view(image: Photo, size: int = 224) -> Tensor:
    """The view of evaluation and feature extraction: 3 x `size` x `size`, float32, normalised.

    Shorter side to `size` by PIL's bicubic filter, which rounds to bytes, and the centre cut out. `image` is H x W x 3
    uint8 RGB, or any PIL image: that is made RGB *before* it is resized. The published code does so after it, which
    takes the nearest colours of a palette's picture; those views differ on purpose, all others are equal.

    Raises ModelInputError for another array, or one without pixels.
    """
    photo = _photo(image)
    width, height = _resized(*photo.size, size)
    return _normalised(_centre(photo.resize((width, height), PIL.Image.Resampling.BICUBIC), size))


def clip_views(images: Sequence[Photo], size: int = 224) -> Tensor:
    """`clip_view` of B images of any sizes: B x 3 x `size` x `size`. Raises ModelInputError if there are none."""
    if not len(images):
        raise ModelInputError("no images; expected one or more")
    return torch.stack([clip_view(image, size) for image in images])


def patch_views(patches: Tensor, size: int = 224) -> Tensor:
    """Views of a restorer's patches, B x 3 x H x W floating RGB in [0, 1]: B x 3 x `size` x `size` on their device.

    Patches become bytes by truncation, as published: where they came from bytes, those come back exactly; what lies
    outside of [0, 1] is clamped first. No gradient goes through. Raises ModelInputError.
    """
    check_images(patches, name="patches")
    levels = (patches.detach().float().clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()  # B x H x W x 3
    return clip_views(list(levels), size).to(patches.device)


def tensor_views(patches: Tensor, size: int = 224) -> Tensor:
    """VLU-Net's views of B x 3 x H x W floating RGB in [0, 1]: B x 3 x `size` x `size`, of their type and device.

    Shorter side to `size`, bicubic with antialiasing on floats: nothing is rounded, an overshoot at an edge is kept.
    Raises ModelInputError.
    """
    check_images(patches, name="patches")
    width, height = _resized(patches.shape[-1], patches.shape[-2], size)
    if (height, width) != patches.shape[-2:]:
        patches = functional.interpolate(patches, (height, width), mode="bicubic", antialias=True)
    top, left = _middle(height, size), _middle(width, size)
    mean, std = patches.new_tensor(MEAN), patches.new_tensor(STD)
    return (patches[..., top : top + size, left : left + size] - mean[:, None, None]) / std[:, None, None]


def training_view(image: Photo, rng: np.random.Generator, size: int = 224, square: float = 0.0) -> Tensor:
    """DA-CLIP's training view: a random 90 to 100 % of the photograph, resized: 3 x `size` x `size`.

    square  probability of cutting out a random square of 64 px or more before that (published: an option of 0.8);
            photographs with a side below 64 px stay whole, where the published code fails.

    Raises ModelInputError as `clip_view`.
    """
    photo = _photo(image)
    shorter = min(photo.size)
    if square and rng.random() < square and shorter >= 64:
        side = int(rng.integers(64, shorter + 1))
        photo = photo.crop(_placed(rng, *photo.size, side, side))
    photo = photo.crop(_random_box(rng, *photo.size))
    return _normalised(photo.resize((size, size), PIL.Image.Resampling.BICUBIC))


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """CLIP's tokens of texts: B x `context_length` int64, start 49406, end 49407, then zeros; long texts are cut.

    Raises ModelInputError for a single text in place of a list.
    """
    if isinstance(texts, str):
        raise ModelInputError("one text; expected a list of them")
    return _tokenizer()(list(texts), context_length)  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    ensure_torchvision()
    from open_clip.tokenizer import SimpleTokenizer  # type: ignore[import-untyped]

    return SimpleTokenizer()


def _photo(image: Photo) -> PIL.Image.Image:
    if isinstance(image, PIL.Image.Image):
        return image.convert("RGB")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
        raise ModelInputError(f"an image of shape {image.shape} and type {image.dtype}; expected H x W x 3 uint8 RGB")
    return PIL.Image.fromarray(np.ascontiguousarray(image))


def _resized(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height with the shorter side at `size`, the longer rounded down."""
    shorter = min(width, height)
    return size * width // shorter, size * height // shorter


def _middle(side: int, size: int) -> int:
    return round((side - size) / 2)  # a half goes to the even number, as published


def _centre(photo: PIL.Image.Image, size: int) -> PIL.Image.Image:
    left, top = _middle(photo.width, size), _middle(photo.height, size)
    return photo.crop((left, top, left + size, top + size))


def _normalised(photo: PIL.Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 255  # 3 x S x S
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _random_box(rng: np.random.Generator, width: int, height: int) -> Box:
    """A random box of `AREA` and `ASPECT`; after ten that do not fit, the largest in the middle that has the aspect."""
    for _ in range(10):
        area = width * height * rng.uniform(*AREA)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return _placed(rng, width, height, w, h)
    aspect = min(max(width / height, ASPECT[0]), ASPECT[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _placed(rng: np.random.Generator, width: int, height: int, w: int, h: int) -> Box:
    left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    return left, top, left + w, top + h
