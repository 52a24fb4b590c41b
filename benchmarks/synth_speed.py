"""How long each degradation of the catalogue takes, beside what people use instead.

    python -m benchmarks.synth_speed [--save]

CPU time of this process in milliseconds for one 768×512 photograph, parameters drawn anew each time, OpenCV on one
thread. The least of the runs is what the code costs; a median far above it says that the machine was busy.
albumentations is compared where it is installed (`pip install albumentations==2.0.8` elsewhere: patina does not
depend on it); its transforms are the nearest in name, and simpler models.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data

from benchmarks.photos import machine
from patina.pipeline.machine import keep_freed_memory
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng

WIDTH, HEIGHT, RUNS = 768, 512, 60


def ours(degradation: Degradation, image: Image, seeds: Iterator[int]) -> None:
    degradation.apply(image, degradation.draw(Rng(f"{next(seeds):x}"), image))


def numpy_normal(image: Image) -> Any:
    noisy = image + np.random.default_rng().normal(0, 50, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def opencv_randn(image: Image) -> Any:
    noise = cv2.randn(np.empty(image.shape, np.float32), (0, 0, 0, 0), (50, 50, 50, 50))  # type: ignore[call-overload]
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def opencv_jpeg(image: Image) -> Any:
    data: Any = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


# What stands beside a degradation, by its name.
USUAL: dict[str, dict[str, Callable[[Image], Any]]] = {
    "noisy": {"NumPy normal, clip": numpy_normal, "OpenCV randn, add": opencv_randn},
    "jpeg-compressed": {"OpenCV imencode, imdecode": opencv_jpeg},
}

# albumentations' transforms of the nearest name, with settings that do something each time.
NEAREST: dict[str, tuple[str, dict[str, Any]]] = {
    "motion-blurry": ("MotionBlur", {"blur_limit": (15, 15)}),
    "hazy": ("RandomFog", {}),
    "jpeg-compressed": ("ImageCompression", {"quality_range": (10, 10)}),
    "low-light": ("RandomGamma", {"gamma_limit": (300, 300)}),
    "noisy": ("GaussNoise", {"std_range": (0.196, 0.196)}),
    "raindrop": ("Spatter", {"mode": "rain"}),
    "rainy": ("RandomRain", {}),
    "shadowed": ("RandomShadow", {}),
    "snowy": ("RandomSnow", {"method": "texture"}),
    "uncompleted": ("CoarseDropout", {}),
}


def albumentations_of(name: str) -> dict[str, Callable[[Image], Any]]:
    """The nearest transform of albumentations, if it is installed."""
    try:
        import albumentations
    except ImportError:
        return {}
    if name not in NEAREST:
        return {}
    transform_name, settings = NEAREST[name]
    transform = getattr(albumentations, transform_name)(p=1, **settings)
    return {f"albumentations {transform_name}": lambda image: transform(image=image)["image"]}


def milliseconds(work: Callable[[], object]) -> list[float]:
    for _ in range(5):  # tables are made, memory is warm
        work()
    times = []
    for _ in range(RUNS):
        start = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - start) / 1e6)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="keep the table beside this file")
    save = parser.parse_args().save
    cv2.setNumThreads(1)
    keep_freed_memory()  # as in a build
    image = np.asarray(cv2.resize(skimage.data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    lines = ["| degradation, at its defaults | min, ms | median, ms | images/s/core | beside it: median, ms |"]
    lines.append("|---|---|---|---|---|")
    for name in CATALOGUE:
        times = milliseconds(partial(ours, CATALOGUE[name](), image, iter(range(2 * RUNS))))
        beside = USUAL.get(name, {}) | albumentations_of(name)
        others = [f"{n} {statistics.median(milliseconds(partial(work, image))):.1f}" for n, work in beside.items()]
        median = statistics.median(times)
        lines.append(f"| {name} | {min(times):.1f} | {median:.1f} | {1000 / median:.0f} | {'; '.join(others)} |")
    lines += ["", f"CPU ms for a {WIDTH}×{HEIGHT} image, {RUNS} runs, `python -m benchmarks.synth_speed`"]
    text = "\n".join([*lines, f"on {machine()}."])
    print(text)
    if save:
        (Path(__file__).parent / "synth_speed.md").write_text(f"# Speed of each degradation\n\n{text}\n", "utf-8")


if __name__ == "__main__":
    main()
