"""Captions by a BLIP of full size: one image after the other, as is usual, against patina alone and in batches.

    python -m benchmarks.captioning [--size base large] [--device cuda:0] [--photos 64] [--rounds 3]
                                    [--precision auto float32] [--save]

usual    what clip-interrogator 0.6 does, by which DA-CLIP's captions were made: float16 on CUDA and float32 elsewhere,
         one image a call, decoded and prepared between the calls, 32 new tokens.
patina   `caption_all` into a store, at batch 1 and in batches: threads decode and prepare ahead of the model, which
         runs at each `--precision`. By default that is `auto`, as in recipes, and on CUDA the usual loop's as well.

The weights are random, and no caption may end early, so that every image costs its 32 tokens in each of them. The
three alternate within each round; images/s are medians over the rounds by the clock, without loading the model and
after one batch of warming up, and ratios are medians of each round's ratio.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import lay_out, machine, publish
from patina.captioning.batches import preparers
from patina.captioning.blip import PRECISIONS, Blip, _engine
from patina.captioning.captioner import Photo, Run
from patina.captioning.devices import devices, require
from patina.captioning.run import caption_all
from patina.pipeline.cache.captions import CaptionStore

T = TypeVar("T")

TOKENS = 32
SIDE = 384  # px of the model's images
WIDE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
NARROW = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION: dict[str, dict[str, int]] = {"base": {}, "large": WIDE, "tiny": NARROW}
"""The released models' sizes; {}: the class's defaults. `tiny` is nobody's, and shows that the script runs."""
VOCABULARY = 30524  # BERT's, with BLIP's two marks


def save_blip(folder: Path, size: str) -> Path:
    """A BLIP as large as the released one of this size, with random weights, that ends no caption early."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    torch.manual_seed(0)
    marks = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", VOCABULARY - 2: "[DEC]"}
    words = {marks.get(i, f"w{i}"): i for i in range(VOCABULARY)}
    vision = {"image_size": SIDE, **VISION[size]}
    text = {"vocab_size": VOCABULARY, "num_attention_heads": 12, "encoder_hidden_size": vision.get("hidden_size", 768)}
    if size == "tiny":
        text |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    network: Any = BlipForConditionalGeneration(BlipConfig(vision_config=vision, text_config=text))
    with torch.no_grad():
        network.text_decoder.cls.predictions.bias[102] = -1e4  # [SEP] would end a caption
    network.save_pretrained(folder)
    processor = BlipProcessor(
        BlipImageProcessor(size={"height": SIDE, "width": SIDE}), BertTokenizer(vocab=words, bos_token="[DEC]")
    )
    processor.save_pretrained(folder)
    return folder


def usual(folder: Path, device: str) -> Callable[[Sequence[Path]], list[str]]:
    """The loop that people use, its model loaded."""
    import PIL.Image
    import torch
    from transformers import AutoProcessor, BlipForConditionalGeneration

    precision = torch.float16 if device.startswith("cuda") else torch.float32
    network: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=precision)
    network.eval().to(device)
    processor: Any = AutoProcessor.from_pretrained(folder)

    def run(paths: Sequence[Path]) -> list[str]:
        said = []
        for path in paths:
            with PIL.Image.open(path) as file:
                inputs = processor(images=file.convert("RGB"), return_tensors="pt").to(device).to(precision)
            with torch.no_grad():
                ids = network.generate(**inputs, max_new_tokens=TOKENS)
            assert ids.shape[1] == 1 + TOKENS, "a caption ended early"
            said.append(processor.batch_decode(ids, skip_special_tokens=True)[0].strip())
        return said

    return run


def ours(captioner: Blip, run: Run, paths: Sequence[Path]) -> tuple[float, list[str]]:
    """Seconds and captions of the same by patina, into a store of its own; the model is loaded before."""
    photos = [Photo(hashlib.sha256(p.read_bytes()).hexdigest(), p.name, str(p.parent), partial(load, p)) for p in paths]
    captioner.prepare(run)
    with CaptionStore(None) as store:
        seconds, made = timed(lambda: caption_all(captioner, photos, store, run))
    assert not any(caption.problem for caption in made.values())
    return seconds, [made[photo.digest].text for photo in photos]


def timed(function: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def load(path: Path) -> NDArray[np.uint8]:
    image: Any = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    return np.asarray(image, np.uint8)


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=VISION, default=["base", "large"])
    parser.add_argument("--device", default="", help="as torch names it; default: the first GPU, or the CPU")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--batch", type=int, default=0, help="0: as many as patina chooses for the device")
    parser.add_argument("--threads", type=int, default=Run().threads, help="0: as many as patina chooses")
    parser.add_argument("--precision", nargs="+", action="extend", choices=PRECISIONS, help="of patina's; repeatable")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    require("transformers")
    device = options.device or devices(Run())[0]
    publish("Captions by BLIP", report(options, device), "captioning" if options.save else None)


def report(options: argparse.Namespace, device: str) -> str:
    """The table and what it was measured with."""
    import torch

    same = "float16" if device.startswith("cuda") else "float32"
    default = [same, "auto"] if device.startswith("cuda") else ["auto"]
    precisions = list(dict.fromkeys(options.precision or default))
    threads = options.threads or preparers([device])
    lines = [
        "| BLIP | way | precision | batch | images/s | times the usual | captions equal to the usual's |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        paths = lay_out(Path(name) / "photos", options.photos)
        for size in options.size:
            folder = save_blip(Path(name) / size, size)
            loop = usual(folder, device)
            ways = {
                (precision, batch): (
                    Blip(model=str(folder), max_new_tokens=TOKENS, precision=precision),
                    Run(batch=batch, devices=(device,), threads=options.threads),
                )
                for precision in precisions
                for batch in (1, options.batch)
            }
            speeds: dict[tuple[str, int] | None, list[float]] = {}
            equal: dict[tuple[str, int] | None, int] = {}
            for round_number in range(options.rounds + 1):
                some = paths if round_number else paths[: max(8, options.photos // 8)]  # the first warms up
                seconds, said = timed(lambda: loop(some))  # noqa: B023 - called at once
                found: dict[tuple[str, int] | None, float] = {None: seconds}
                for way, (captioner, run) in ways.items():
                    found[way], texts = ours(captioner, run, some)
                    equal[way] = sum(one == other for one, other in zip(texts, said, strict=True))
                if round_number:
                    for key, took in found.items():
                        speeds.setdefault(key, []).append(len(some) / took)
            middle = statistics.median
            usually = speeds[None]
            lines.append(f"| {size} | usual | {same} | 1 | {middle(usually):.2f} | 1.00 | |")
            for way, rates in speeds.items():
                if way is None:
                    continue
                captioner, run = ways[way]
                engine = _engine(captioner, run, device)
                ratio = middle(ours / theirs for ours, theirs in zip(rates, usually, strict=True))
                lines.append(
                    f"| {size} | patina | {engine.replica.precision} | {engine.batch} | {middle(rates):.2f} | "
                    f"{ratio:.2f} | {equal[way]} of {options.photos} |"
                )
                captioner.release()
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else "the CPU alone"
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers"))
    return "\n".join(
        [
            *lines,
            "",
            "Models of the released sizes with random weights, 32 tokens for every image: speed, and nothing on words.",
            "In another precision or batch a caption can turn at a near tie, and random weights have many of those.",
            "",
            f"Measured by `python -m benchmarks.captioning --size {' '.join(options.size)} --device {device}",
            f"--photos {options.photos} --rounds {options.rounds} --batch {options.batch} --threads {threads}",
            f"--precision {' '.join(precisions)}` on",
            f"{where}, {machine()}, {packages}.",
        ]
    )


if __name__ == "__main__":
    main()
