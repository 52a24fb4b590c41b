"""Depth maps by a transformers model, as the sidecar files that `hazy`, `rainy` and `snowy` read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.png import encode_png
from patina.pipeline.errors import BadImageError
from patina.pipeline.files import write_atomically
from patina.pipeline.sources.reader import Refusal, image_files
from patina.training.errors import TrainingError

MAX_MILLIMETRES = 65_535
"""The largest depth that a 16-bit PNG in millimetres holds. What lies farther is written as this."""


class DepthModelError(TrainingError, ValueError):
    """A depth model that cannot be had or used. Says what was found and what to do."""


def write_depths(
    photos: Path,
    model: str,
    out: Path,
    *,
    revision: str = "main",
    near: float = 1.0,
    far: float = 60.0,
    batch: int = 4,
    device: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[Refusal]:
    """Write `out`/name.png, 16-bit grey in millimetres, for every photograph below `photos` that has none yet.

    model      a name on the hub or a local folder, for AutoModelForDepthEstimation; revision: of that name.
    near, far  metres that the nearest and the farthest point of each photograph are put at, if the model gives inverse
               depth without a unit (Depth Anything, MiDaS, DPT); a metric model's metres are taken as they are.
    device     such as `cuda`; empty: a GPU if there is one.

    Gives the files that could not be read, or of which no finite depth came out, with reasons. Raises DepthModelError
    before any work if the model cannot be loaded, SourceError if there are no photographs.
    """
    files = [(n, p) for n, p in image_files(str(photos), "PHOTOS")[0] if not _target(out, n).exists()]
    refusals: list[Refusal] = []
    estimate = _load(model, revision, device)
    done = 0
    for group in _groups(files, batch):
        images, names = [], []
        for name, path in group:
            try:
                images.append(decode(Path(path).read_bytes()).image)
                names.append(name)
            except (BadImageError, OSError) as error:
                refusals.append(Refusal(name, str(error)))
        for name, (depth, metric) in zip(names, estimate(images), strict=True):
            if strange := depth.size - int(np.isfinite(depth).sum()):
                told = f"the model gave {strange:,} of {depth.size:,} numbers that are not finite, which are no depth"
                refusals.append(Refusal(name, told))
                continue
            metres = depth if metric else _metres(depth, near, far)
            target = _target(out, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            millimetres = np.clip(np.rint(metres * 1000), 1, MAX_MILLIMETRES).astype(np.uint16)  # 0 would mean unknown
            write_atomically(target, encode_png(millimetres), durable=False)
        done += len(group)
        if progress:
            progress(done, len(files))
    return refusals


def _metres(inverse: NDArray[np.float32], near: float, far: float) -> NDArray[np.float32]:
    """Inverse depth of no unit to metres: its largest value is `near`, its smallest `far`, linear in 1/depth."""
    low, high = float(inverse.min()), float(inverse.max())
    share = (inverse - low) / max(high - low, 1e-9)
    metres: NDArray[np.float32] = (1 / (share / near + (1 - share) / far)).astype(np.float32)
    return metres


def _target(out: Path, name: str) -> Path:
    return (out / name).with_suffix(".png")


def _groups(files: Sequence[tuple[str, str]], size: int) -> Iterator[Sequence[tuple[str, str]]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _load(
    model: str, revision: str, device: str
) -> Callable[[Sequence[NDArray[np.uint8]]], list[tuple[NDArray[np.float32], bool]]]:
    """A function from images to depth at their own size, and whether it is metres."""
    ensure_torchvision()
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    try:
        processor: Any = AutoImageProcessor.from_pretrained(model, revision=revision)  # type: ignore[no-untyped-call]
        network: Any = AutoModelForDepthEstimation.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        raise DepthModelError(
            f"the depth model {model!r} cannot be loaded: {str(error).splitlines()[0]}; give the folder of a model "
            "that lies here, or connect to the hub"
        ) from None
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network = network.to(where).eval()
    metric = getattr(network.config, "depth_estimation_type", "relative") == "metric"

    def estimate(images: Sequence[NDArray[np.uint8]]) -> list[tuple[NDArray[np.float32], bool]]:
        if not images:
            return []
        with torch.inference_mode():
            inputs = processor(images=list(images), return_tensors="pt").to(where)
            sizes = [image.shape[:2] for image in images]
            found = processor.post_process_depth_estimation(network(**inputs), target_sizes=sizes)
        return [(item["predicted_depth"].float().cpu().numpy(), metric) for item in found]

    return estimate
