"""Sentences about photographs in memory or in files, without a dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image

from patina._face.arguments import photo_of
from patina.captioning.blip import Blip
from patina.captioning.captioner import CaptionError, Photo, Run, is_folder
from patina.pipeline.codec.decode import decode
from patina.pipeline.recipe.settings import construct
from patina.synth.image import Image

Captioned: TypeAlias = str | os.PathLike[str] | Image | PIL.Image.Image
"""A photograph: a file, an array H×W×3 uint8 RGB, or a Pillow image of mode RGB or L."""

DEFAULT = Blip.model
"""DA-CLIP's captioner."""


def caption(
    images: Iterable[Captioned],
    *,
    model: str | os.PathLike[str] = DEFAULT,
    batch: int = 0,
    devices: Iterable[str] = (),
    **settings: Any,
) -> list[str]:
    """Caption each photograph by BLIP or another image-to-text model of transformers.

    Args:
        images: Files, arrays H×W×3 uint8 RGB, or Pillow images of mode RGB or L.
        model: Its name on the Hugging Face hub, or a folder that holds it, a Path or a text that begins with ., / or ~.
        batch: Photographs that the model sees at once; 0: as many as suit the device.
        devices: Such as ["cuda:0", "cuda:1"]; empty: every GPU, else the CPU.
        settings: Of `patina.captioning.blip.Blip`: revision, prompt, max_new_tokens, beams, top_p, temperature, seed,
            precision. By default the likeliest words, 32 tokens at most.

    Returns:
        One line of text for each, in their order. The model stays in memory for the next call.

    Raises:
        CaptionError: A ValueError: the model cannot be loaded or cannot run here, or a photograph, which is named,
            cannot be read.
        RecipeError: A ValueError: a setting is unknown.
        TypeError, ValueError: An image is of another kind.

    Examples:
        >>> import numpy as np, patina
        >>> sentences = patina.caption([np.full((48, 64, 3), 120, np.uint8), "photos/p0.png"], model="./BLIP")
        >>> len(sentences), all(sentence.strip() for sentence in sentences)
        (2, True)
    """
    if isinstance(images, str | os.PathLike | PIL.Image.Image):
        raise TypeError("images: expected a list of photographs, found a single one; write [image]")
    named = _model(model)
    captioner, _ = construct("caption", Blip, {"model": named, **settings}, Path.cwd())
    photos = [_photo(image, f"images[{i}]") for i, image in enumerate(images)]
    texts: dict[int, str] = {}
    for made in captioner.stream(photos, Run(batch, tuple(devices))):
        for i, found in made:
            if found.problem:
                raise CaptionError(f"{photos[i].name}: {found.problem}")
            texts[i] = found.text
    return [texts[i] for i in range(len(photos))]


def _model(given: str | os.PathLike[str]) -> str:
    """A folder as an absolute path, so that it is none of the hub's names."""
    named = os.fspath(given)
    if isinstance(given, str) and not is_folder(given):
        return named
    return str(Path(named).expanduser().resolve())


def _photo(image: Captioned, what: str) -> Photo:
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CaptionError(f"{path}: cannot be read: {error.strerror}") from None
        return Photo(digest, str(path), "", partial(_decoded, path))
    pixels = photo_of(image, what)
    return Photo(hashlib.sha256(pixels.tobytes()).hexdigest(), what, "", partial(np.asarray, pixels))


def _decoded(path: Path) -> Image:
    return decode(path.read_bytes()).image
