"""`blip`: captions by BLIP, or by another image-to-text model of transformers."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import logging
import math
import threading
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from patina.captioning.captioner import Caption, Captioner, CaptionError, Photo, Run, is_folder, one_line
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

Features = dict[str, "torch.Tensor"]

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MEGABYTES = {"float32": 160.0, "bfloat16": 80.0, "float16": 80.0}  # that one photograph takes on a device, large BLIP

# Families whose tokeniser ends a prompt with a mark that would end the caption before it begins; BLIP cuts it itself.
MARK_CUT = ("git",)


@dataclass(frozen=True)
class Blip(Captioner):
    """Lets an image-to-text model of transformers say what it sees: BLIP, BLIP-2, GIT, ViT-GPT2, LLaVA.

    model           its name on the Hugging Face hub, or the folder that it lies in (a path begins with `.`, `/` or
                    `~`). A folder counts by its files' contents, wherever it lies.
    revision        of a name: a branch, a tag or, the only one that never changes, a commit.
    prompt          how the caption begins, left out of it (BLIP, BLIP-2's OPT, GIT), or the question or order that the
                    model follows (BLIP-2's T5, chat models, which need one).
    max_new_tokens  tokens after the prompt, at the most.
    beams           1: the likeliest token at each step. More: beam search.
    top_p           0: no sampling. Else each token is drawn from the likeliest that have this share (0 to 1] together,
                    at `temperature`, by a draw that follows from `seed` and the image alone.
    precision       of the weights and the arithmetic: float32, bfloat16, float16; auto: bfloat16 on CUDA devices that
                    have it, float16 on others, float32 on the CPU. In less than float32 a caption may turn, at a
                    near tie, on the device and the size of the batch.

    Raises CaptionError for settings that cannot be meant, and for a folder that is not there.
    """

    name: ClassVar[str] = "blip"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = True

    model: str = field(default="Salesforce/blip-image-captioning-large", metadata={"folder_or_name": True})
    revision: str = "main"
    prompt: str = ""
    max_new_tokens: int = 32
    beams: int = 1
    top_p: float = 0.0
    temperature: float = 1.0
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, text in (("model", self.model), ("revision", self.revision)):
            if not isinstance(text, str) or not text.strip():
                raise CaptionError(f"{name}: expected a text, found {text!r}")
        if not isinstance(self.prompt, str):
            raise CaptionError(f"prompt: expected a text, found {self.prompt!r}")
        for name, number, least in (
            ("max_new_tokens", self.max_new_tokens, 1),
            ("beams", self.beams, 1),
            ("seed", self.seed, 0),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise CaptionError(f"{name}: expected a whole number from {least}, found {number!r}")
        if not _is_number(self.top_p) or not 0 <= self.top_p <= 1:
            raise CaptionError(f"top_p: expected 0 for no sampling, or a share up to 1, found {self.top_p!r}")
        if not _is_number(self.temperature) or not 0 < self.temperature < math.inf:
            raise CaptionError(f"temperature: expected a number above 0, found {self.temperature!r}")
        if self.top_p and self.beams > 1:
            raise CaptionError(
                f"top_p {self.top_p} and beams {self.beams}: sampling and beam search exclude each other"
            )
        if self.precision not in PRECISIONS:
            raise CaptionError(f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}")
        if is_folder(self.model) and not Path(self.model).expanduser().is_dir():
            raise CaptionError(f"model: expected the folder of a model, found none at {self.model!r}; put it there")

    def settings(self) -> dict[str, Any]:
        """As the protocol says: a folder by its contents; what concerns sampling only where there is any."""
        where = {"model": self.model, "revision": self.revision}
        if is_folder(self.model):
            where = {"model": content_digest(self.model)}
        sampling = {"top_p": float(self.top_p), "temperature": float(self.temperature), "seed": self.seed}
        return {
            **where,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
            "beams": self.beams,
            "precision": self.precision,
            **(sampling if self.top_p else {}),
        }

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each photo, or its problem. Raises CaptionError if the model cannot run here."""
        made = dict(pair for some in self.stream(photos, Run()) for pair in some)
        return [made[i] for i in range(len(photos))]

    def prepare(self, run: Run) -> None:
        """Load the model, so that `stream` can begin. Raises CaptionError if it, or what runs it, is not here.

        For several devices only its files are had and looked at: each worker loads its own.
        """
        require("transformers")
        where = devices(run)
        if len(where) == 1:
            _replica(self, where[0])
        else:
            _fetch(self)

    def stream(self, photos: Sequence[Photo], run: Run) -> Generator[list[tuple[int, Caption]]]:
        """As the protocol says. On several devices `Photo.load` is pickled."""
        if photos:
            require("transformers")
            from patina.captioning.batches import stream  # it brings processes, which looking captions up needs not

            yield from stream(partial(_engine, self, run), photos, run, devices(run))

    def release(self) -> None:
        """Give back the memory of the model that `prepare` or `stream` loaded."""
        _replica.cache_clear()
        given_back()

    def origin(self) -> str:
        """As the protocol says: the commit in the hub's cache that the revision stands for."""
        if is_folder(self.model):
            return ""
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(self.model, "config.json", revision=self.revision)
        return Path(file).parent.name if isinstance(file, str) else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Replica:
    """A model on a device, with what prepares its inputs and reads its outputs."""

    network: Any
    processor: Any
    device: str
    precision: str
    text: str | None  # what the processor is given beside each photograph


@lru_cache(maxsize=1)
def _replica(captioner: Blip, device: str) -> Replica:
    """Load the model. Raises CaptionError."""
    import torch
    from transformers import AutoModelForImageTextToText

    processor = _fetch(captioner)
    precision = _precision(captioner.precision, device)
    with _explain_model_errors(captioner), _quietly():
        network: Any = AutoModelForImageTextToText.from_pretrained(
            _place(captioner), revision=captioner.revision, dtype=getattr(torch, precision)
        )
    network = moved(network, device, captioner.model)
    return Replica(network, processor, device, precision, _text(captioner, processor))


def _fetch(captioner: Blip) -> Any:
    """The model's processor; its weights lie here afterwards, from the hub if need be. Raises CaptionError."""
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME
    from transformers.utils.hub import cached_file

    place, options = _place(captioner), {"revision": captioner.revision}
    if not is_folder(captioner.model) and Path(captioner.model).is_dir():  # transformers would take it as it may become
        raise CaptionError(
            f"model: {captioner.model!r} is a folder here, and could be a name on the hub; write './{captioner.model}' "
            "for the folder, or run elsewhere"
        )
    with _explain_model_errors(captioner), _quietly():
        processor: Any = AutoProcessor.from_pretrained(place, **options)  # type: ignore[no-untyped-call]
        if not hasattr(processor, "image_processor"):  # ViT-GPT2's kind, which has its two parts and no class for both
            images: Any = AutoImageProcessor.from_pretrained(place, **options)  # type: ignore[no-untyped-call]
            processor = Parts(images, AutoTokenizer.from_pretrained(place, **options))
        _text(captioner, processor)
        for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME):
            try:
                file = cached_file(place, name, **options)
            except OSError as error:
                missing = error
                continue
            if file and name.endswith(".json"):
                for part in sorted(set(json.loads(Path(file).read_text("utf-8"))["weight_map"].values())):
                    cached_file(place, part, **options)
            return processor
        raise missing


class Parts:
    """An image processor and a tokeniser, where a model's folder names no class that holds both."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    def __call__(self, images: list[Any], text: list[str] | None = None, return_tensors: str = "pt") -> dict[str, Any]:
        """Features of one image; the prompt's tokens go to the decoder, after its start."""
        features = dict(self.image_processor(images=images, return_tensors=return_tensors))
        if text:
            ids = self.tokenizer(text, add_special_tokens=False, return_tensors=return_tensors).input_ids
            features["decoder_input_ids"] = ids
        return features

    def batch_decode(self, ids: Any, skip_special_tokens: bool = False) -> list[str]:
        """Texts of rows of tokens."""
        texts: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=skip_special_tokens)
        return texts


def _place(captioner: Blip) -> str:
    return str(Path(captioner.model).expanduser()) if is_folder(captioner.model) else captioner.model


@contextmanager
def _explain_model_errors(captioner: Blip) -> Iterator[None]:
    """Turn what transformers raises for a model that it cannot have into a sentence."""
    try:
        yield
    except CaptionError:
        raise
    except (
        Exception
    ) as error:  # of many kinds: no such folder, no network, a gated model, a torn file, a missing package
        said, model = first_line(error), repr(captioner.model)
        if is_folder(captioner.model):
            remedy = "expected what save_pretrained or `hf download --local-dir` writes"
            raise CaptionError(f"the model in {model} cannot be loaded: {said}; {remedy}") from None
        if isinstance(error, OSError):
            raise CaptionError(
                f"the model {model} (revision {captioner.revision}) is not in the hub's cache and cannot be fetched: "
                f"{said}; get it where there is a network, `hf download {captioner.model}`, or set model to a folder "
                "that holds it; `patina build --no-blip` takes the captions that lie beside the photographs instead"
            ) from None
        raise CaptionError(
            f"the model {model} cannot be loaded: {said}; expected an image-to-text model of transformers"
        ) from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a progress bar for each load, which would lie across the build's own, and without a line for each of the
    hub's retries: the error at their end says it once."""
    from transformers.utils import logging as bars

    shown, hub = bars.is_progress_bar_enabled(), logging.getLogger("huggingface_hub")
    bars.disable_progress_bar()  # type: ignore[no-untyped-call]
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            bars.enable_progress_bar()  # type: ignore[no-untyped-call]


def _precision(wanted: str, device: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    if torch.device(device).type != "cuda":
        return "float32"
    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _text(captioner: Blip, processor: Any) -> str | None:
    """The prompt as the model's family wants it; None for none. Raises CaptionError where there must be one."""
    if not getattr(processor, "chat_template", None):
        return captioner.prompt or None
    if not captioner.prompt:
        raise CaptionError(
            f"prompt: the model {captioner.model!r} follows orders, and none is set; write one, such as 'Describe this "
            "photograph in one sentence.'"
        )
    said = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": captioner.prompt}]}
    text: str = processor.apply_chat_template([said], add_generation_prompt=True)
    return text


# --- captioning -------------------------------------------------------------------------------------------------------


def _engine(captioner: Blip, run: Run, device: str) -> BlipEngine:
    require("transformers")  # a worker's process has imported nothing yet
    return BlipEngine(captioner, _replica(captioner, device), run)


class BlipEngine:
    """The model on one device, as `batches.Engine` says."""

    def __init__(self, captioner: Blip, replica: Replica, run: Run) -> None:
        import torch

        self.captioner, self.replica = captioner, replica
        self.batch = batch_size(run, replica.device, MEGABYTES[replica.precision] * captioner.beams)
        self._dtype: torch.dtype = getattr(torch, replica.precision)
        self._own = threading.local()
        # Processors of the other backend, and those of older releases, take pictures of Pillow alone.
        self._takes_tensors = getattr(replica.processor.image_processor, "backend", "") == "torchvision"
        # Some tokenisers give it to models that have no use for it, and say so by an error.
        self._unknown = {"token_type_ids"} - inspect.signature(replica.network.forward).parameters.keys()

    def enter(self) -> None:
        """As many photographs at once as there are threads, and no thread of torch's own beside them."""
        single_threaded()

    def prepare(self, item: Photo) -> Features:
        """Pixels and prompt of one photograph, on the CPU, each tensor with a first dimension of 1."""
        if not hasattr(self._own, "processor"):  # tokenisers and image processors are not safe to share
            self._own.processor = copy.deepcopy(self.replica.processor)
        image, text, processor = self._picture(item.load()), self.replica.text, self._own.processor
        options: dict[str, Any] = {"return_tensors": "pt"}
        if text is not None:
            options["text"] = [text]
            begin = getattr(processor.tokenizer, "bos_token", None)
            if getattr(processor, "chat_template", None) and begin and text.startswith(begin):
                options["add_special_tokens"] = False  # the template has set them
        features = dict(processor(images=[image], **options))
        family = self.replica.network.config.model_type
        if family in MARK_CUT and "input_ids" in features:
            features |= {name: features[name][:, :-1] for name in ("input_ids", "attention_mask") if name in features}
        features = {name: tensor for name, tensor in features.items() if name not in self._unknown}
        if "decoder_input_ids" in features:
            features["decoder_input_ids"] = self._after_start(features["decoder_input_ids"])
        return {name: t.to(self._dtype) if t.is_floating_point() else t for name, t in features.items()}

    def _picture(self, image: NDArray[np.uint8]) -> Any:
        """`image` (H×W×3) as the processor takes it: a view of it (3×H×W), or Pillow's picture, which is two copies."""
        import PIL.Image
        import torch

        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise TypeError(f"expected H×W×3 uint8, found {'×'.join(map(str, image.shape))} {image.dtype}")
        if not self._takes_tensors:
            return PIL.Image.fromarray(image)
        return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)

    def _after_start(self, ids: torch.Tensor) -> torch.Tensor:
        import torch

        network = self.replica.network
        start = network.generation_config.decoder_start_token_id
        start = network.config.decoder_start_token_id if start is None else start
        return torch.cat([torch.full((1, 1), start, dtype=ids.dtype), ids], dim=1)

    def shape(self, features: Features) -> Hashable:
        """Names and shapes of all tensors."""
        return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(features.items()))

    def collate(self, features: Sequence[Features]) -> Features:
        """One batch, in page-locked memory for a CUDA device."""
        return joined(features, self.replica.device)

    def infer(self, features: Features, items: Sequence[Photo]) -> list[Caption] | None:
        """Captions, or problems where the model says nothing; None where the memory does not suffice."""
        ids = within_memory(lambda: self._generate(features, items))
        if ids is None:
            return None
        texts = self.replica.processor.batch_decode(ids, skip_special_tokens=True)
        return [_said(photo, one_line(text)) for photo, text in zip(items, texts, strict=True)]

    def _generate(self, features: Features, items: Sequence[Photo]) -> torch.Tensor:
        """Tokens after the prompt, batch × at most max_new_tokens, on the CPU."""
        import torch

        settings = self.captioner
        choice = Choice(settings, self.replica.device, items)
        with torch.inference_mode(), whole_digits():
            ids: torch.Tensor = self.replica.network.generate(
                **to_device(features, self.replica.device),
                logits_processor=[choice],
                do_sample=False,  # where tokens are drawn, `choice` draws them
                num_beams=settings.beams,
                num_return_sequences=1,  # whatever generation_config.json says
                return_dict_in_generate=False,
                max_new_tokens=settings.max_new_tokens,
            )
        return ids[:, choice.prompt :].cpu()

    def refuse(self, item: Photo, error: BaseException) -> Caption:
        """The problem with a photograph that cannot be decoded or prepared."""
        return Caption("", f"{item.name!r} cannot be decoded: {first_line(error)}")


def _said(photo: Photo, line: str) -> Caption:
    return Caption(line) if line else Caption("", f"the model says nothing about {photo.name!r}: set another prompt")


class Choice:
    """Stands behind the model at each step: sees how long the prompt is, and draws the token where it is to be drawn.

    Each photograph has its own stream of draws, from the seed and its digest, so its caption is the same in any batch.
    """

    def __init__(self, settings: Blip, device: str, photos: Sequence[Photo]) -> None:
        import torch

        self.prompt = 0
        self._seen = False
        self._top_p, self._temperature = settings.top_p, settings.temperature
        self._draws: torch.Tensor | None = None  # batch × max_new_tokens float64, 0 to 1
        if settings.top_p:
            rows = [draws(settings.seed, photo.digest, settings.max_new_tokens) for photo in photos]
            self._draws = torch.from_numpy(np.stack(rows)).to(device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` (rows × vocabulary) as they are; or −∞ for every token but the one that is drawn."""
        if not self._seen:
            self._seen, self.prompt = True, input_ids.shape[1]
        if self._draws is None:
            return scores
        return drawn(scores, self._draws[:, input_ids.shape[1] - self.prompt], self._top_p, self._temperature)


def draws(seed: int, digest: str, count: int) -> NDArray[np.float64]:
    """`count` numbers from 0 up to 1 that follow from the seed and the image alone."""
    key = int(hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest(), 16)
    raw = np.random.PCG64(key).random_raw(count)  # the raw stream, which NumPy keeps as it is
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, np.float64)


def drawn(scores: torch.Tensor, draw: torch.Tensor, top_p: float, temperature: float) -> torch.Tensor:
    """Scores (rows × vocabulary) that leave one token a row: the one at `draw` (rows, 0 to 1) of the nucleus.

    The nucleus is the likeliest tokens that have `top_p` of the probability together; likelier ones come first.
    """
    import torch

    shares, order = torch.softmax(scores.double() / temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
    sums = shares.cumsum(dim=-1)
    kept = (sums - shares < top_p).sum(dim=-1, keepdim=True)  # tokens of the nucleus
    kept = kept.clamp(min=1)  # the first, even where scores are no numbers
    within = draw[:, None] * sums.gather(-1, kept - 1)
    place = torch.minimum((sums <= within).sum(dim=-1, keepdim=True), kept - 1)
    left = torch.full_like(scores, -torch.inf)
    return left.scatter(-1, order.gather(-1, place), 0.0)
