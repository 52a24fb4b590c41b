"""How long each degradation of the catalogue takes, beside what people use instead: `python -m benchmarks.synth_speed`.

CPU time of this process in milliseconds for one 768×512 photograph, parameters drawn anew each time, OpenCV on one
thread. The least of the runs is what the code costs; a median far above it says that the machine was busy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import skimage.data

from synth.degradation import Degradation
from synth.degradations import CATALOGUE
from synth.image import Image
from synth.rng import Rng

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


# What stands beside a degradation, by its word.
USUAL: dict[str, dict[str, Callable[[Image], Any]]] = {
    "noisy": {"NumPy default_rng().normal, clip": numpy_normal, "OpenCV randn, add": opencv_randn},
    "jpeg-compressed": {"OpenCV imencode, imdecode": opencv_jpeg},
}


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
    cv2.setNumThreads(1)
    image = np.asarray(cv2.resize(skimage.data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    print(f"CPU ms per {WIDTH}×{HEIGHT} image, {RUNS} runs; OpenCV {cv2.__version__}, NumPy {np.__version__}")
    print(f"{'':34}{'min':>8}{'median':>8}{'per s':>8}")
    for word, degradation in CATALOGUE.items():
        rows: dict[str, Callable[[], Any]] = {word: partial(ours, degradation(), image, iter(range(2 * RUNS)))}
        rows |= {f"  {name}": partial(usual, image) for name, usual in USUAL.get(word, {}).items()}
        for name, work in rows.items():
            times = milliseconds(work)
            median = statistics.median(times)
            print(f"{name:34}{min(times):8.2f}{median:8.2f}{1000 / median:8.0f}")


if __name__ == "__main__":
    main()
