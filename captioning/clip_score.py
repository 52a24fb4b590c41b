"""How well a sentence fits an image: the cosine similarity of the two in a CLIP of open_clip."""

from __future__ import annotations

import math
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from patina.captioning.captioner import CaptionError, Photo, Run, is_folder
from patina.captioning.contents import content_digest
from patina.captioning.devices import (
    batch_size,
    devices,
    first_line,
    given_back,
    joined,
    moved,
    require,
    single_threaded,
    to_device,
    whole_digits,
    within_memory,
)

if TYPE_CHECKING:
    import torch

Item = tuple[Photo, str]
Features = dict[str, "torch.Tensor"]

MEGABYTES = 40.0  # that one photograph and its text take on a device, ViT-L-14 in float32
DIGITS = 4  # of a similarity that are kept: the arithmetic of another device or batch differs in the seventh
OWN_WEIGHTS = "hf-hub:"  # what a model's name begins with that brings its own weights, as a folder does


@dataclass(frozen=True)
class ClipScore:
    """Compares captions with their images by CLIP, always in float32.

    model       open_clip's name for it (`ViT-B-32`, or `hf-hub:` and a name on the hub), or a folder with
                open_clip_config.json and its weights. A path begins with `.`, `/` or `~`, and counts by its contents.
    pretrained  open_clip's tag of the weights, or a file of weights; "" where the model brings its own.
    threshold   cosine similarity, −1 to 1, below which a caption is refused. No part of what is kept: another
                threshold compares nothing anew.

    A text longer than the model's context (77 tokens) counts by its beginning. Raises CaptionError for settings that
    cannot be meant, and for a path that is not there.
    """

    name: ClassVar[str] = "clip"
    version: ClassVar[int] = 1

    model: str = field(default="ViT-B-32", metadata={"folder_or_name": True})
    pretrained: str = field(default="laion2b_s34b_b79k", metadata={"folder_or_name": True})
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise CaptionError(f"model: expected open_clip's name of one, such as 'ViT-B-32', found {self.model!r}")
        if not isinstance(self.pretrained, str):
            raise CaptionError(f"pretrained: expected a tag or a file of weights, found {self.pretrained!r}")
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not -1 <= self.threshold <= 1:
            raise CaptionError(f"threshold: expected a cosine similarity from -1 to 1, found {self.threshold!r}")
        own = is_folder(self.model) or self.model.startswith(OWN_WEIGHTS)
        if own and self.pretrained:
            raise CaptionError(f'pretrained: {self.model!r} brings its own weights; write pretrained = ""')
        if not own and not self.pretrained:
            raise CaptionError(f"pretrained: {self.model!r} needs weights; name open_clip's tag of them, or a file")
        if is_folder(self.model) and not Path(self.model).expanduser().is_dir():
            raise CaptionError(f"model: expected the folder of a model, found none at {self.model!r}; put it there")
        if is_folder(self.pretrained) and not Path(self.pretrained).expanduser().is_file():
            raise CaptionError(
                f"pretrained: expected a file of weights, found none at {self.pretrained!r}; put it there"
            )

    def settings(self) -> dict[str, Any]:
        """All that decides the scores beside image and text, as JSON: what lies here by its contents."""
        model = content_digest(self.model) if is_folder(self.model) else self.model
        weights = content_digest(self.pretrained) if is_folder(self.pretrained) else self.pretrained
        return {"model": model, "pretrained": weights}

    def problem(self, score: float, text: str) -> str:
        """Why a caption of this score is refused, in words that show it; "" if it is fine."""
        if score >= self.threshold:
            return ""
        return f"the caption fits its photograph badly, similarity {score:g} below {self.threshold:g}: {text!r}"

    def prepare(self, run: Run) -> None:
        """Load the model, so that `stream` can begin. Raises CaptionError if it, or what runs it, is not here."""
        require("open_clip")
        where = devices(run)
        _clip(self, where[0] if len(where) == 1 else "cpu")

    def stream(self, items: Sequence[Item], run: Run) -> Generator[list[tuple[int, float | str]]]:
        """Cosine similarities to four decimals, or problems in words, with their item's index; batches in any order."""
        if items:
            require("open_clip")
            from patina.captioning.batches import stream  # it brings processes

            yield from stream(partial(_engine, self, run), items, run, devices(run))

    def release(self) -> None:
        """Give back the memory of the model that `prepare` or `stream` loaded."""
        _clip.cache_clear()
        given_back()


@dataclass(frozen=True, eq=False)
class Clip:
    """A CLIP on a device, with what prepares its inputs."""

    network: Any
    transform: Any
    tokenizer: Any
    device: str


@lru_cache(maxsize=1)
def _clip(scorer: ClipScore, device: str) -> Clip:
    """Load the model. Raises CaptionError."""
    import open_clip  # type: ignore[import-untyped]

    name = scorer.model
    if is_folder(name):
        name = f"local-dir:{Path(name).expanduser().absolute()}"
    weights = scorer.pretrained
    if is_folder(weights):
        weights = str(Path(weights).expanduser())
    if weights and not is_folder(weights) and Path(weights).exists():  # open_clip would take it, whatever it becomes
        raise CaptionError(
            f"pretrained: {weights!r} is a file here, and could be a tag; write './{weights}' for the file"
        )
    _agreeing(name, weights)
    try:
        network, transform = open_clip.create_model_from_pretrained(name, pretrained=weights or None)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # of many kinds: no such name, no such tag, no network, a torn file, a missing package
        what = f"{scorer.model!r} with the weights {weights!r}" if weights else repr(scorer.model)
        raise CaptionError(
            f"the CLIP model {what} cannot be loaded: {first_line(error)}; it must be in the hub's cache, or there "
            "must be a network; else set pretrained to a file of weights, or model to a folder"
        ) from None
    return Clip(moved(network, device, scorer.model), transform, tokenizer, device)


def _agreeing(name: str, weights: str) -> None:
    """Raise CaptionError for weights that were trained with QuickGELU and a model without; open_clip only warns."""
    import open_clip

    name = name.replace("/", "-")
    wanted = open_clip.get_pretrained_cfg(name, weights).get("quick_gelu", False)
    if wanted and not (open_clip.get_model_config(name) or {}).get("quick_gelu", False):
        raise CaptionError(
            f"model: the weights {weights!r} are of a model with QuickGELU, found {name!r}; write '{name}-quickgelu'"
        )


def _engine(scorer: ClipScore, run: Run, device: str) -> ClipEngine:
    require("open_clip")  # a worker's process has imported nothing yet
    return ClipEngine(_clip(scorer, device), run)


class ClipEngine:
    """The model on one device, as `batches.Engine` says."""

    def __init__(self, clip: Clip, run: Run) -> None:
        self.clip = clip
        self.batch = batch_size(run, clip.device, MEGABYTES)

    def enter(self) -> None:
        """As many photographs at once as there are threads, and no thread of torch's own beside them."""
        single_threaded()

    def prepare(self, item: Item) -> Features:
        """Pixels of one photograph, on the CPU: 1×3×H×W. Its caption's tokens follow with the batch."""
        import PIL.Image

        photo, _ = item
        return {"image": self.clip.transform(PIL.Image.fromarray(photo.load()))[None]}

    def shape(self, features: Features) -> Hashable:
        """The image's shape: the same for all of one model."""
        return tuple(features["image"].shape)

    def collate(self, features: Sequence[Features]) -> Features:
        """One batch, in page-locked memory for a CUDA device."""
        return joined(features, self.clip.device)

    def infer(self, features: Features, items: Sequence[Item]) -> list[float | str] | None:
        """Cosine similarities, −1 to 1; None where the memory does not suffice."""
        return within_memory(lambda: self._compare(features, items))

    def _compare(self, features: Features, items: Sequence[Item]) -> list[float | str]:
        import torch

        tokens = self.clip.tokenizer([text for _, text in items])
        batch = to_device({**features, "tokens": tokens}, self.clip.device)
        with torch.inference_mode(), whole_digits():
            images = self.clip.network.encode_image(batch["image"], normalize=True)  # batch × width
            texts = self.clip.network.encode_text(batch["tokens"], normalize=True)
            scores = (images * texts).sum(dim=-1).double().cpu()
        return [_rounded(float(score), item) for score, item in zip(scores, items, strict=True)]

    def refuse(self, item: Item, error: BaseException) -> float | str:
        """The problem with a photograph that cannot be decoded or prepared."""
        return f"{item[0].name!r} cannot be decoded: {first_line(error)}"


def _rounded(score: float, item: Item) -> float | str:
    if math.isfinite(score):
        return round(score, DIGITS)
    return f"{item[0].name!r} and its caption cannot be compared: the model's result is no number; see its weights"
