"""Memory of large photographs: bytes a pixel that `apply` adds to a process at its peak, its result among them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from patina.synth.degradations import CATALOGUE

MOST = 15.0
"""Bytes a pixel: three of the degraded photograph, two for each truth map, and what it is made of."""

CHILD = """
import os, sys
import cv2
import numpy as np
import skimage.data
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng

def peak():  # kB, of this program alone: getrusage's is also that of the process that it was started from
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])

cv2.setNumThreads(1)
photo = skimage.data.astronaut()
image = np.empty((4000, 6000, 3), np.uint8)  # nothing is larger before: else the peak would be an old one
for top in range(0, 4000, 512):
    for left in range(0, 6000, 512):
        part = image[top : top + 512, left : left + 512]
        part[:] = photo[: part.shape[0], : part.shape[1]]
for name in map(str.strip, sys.stdin):
    if not (child := os.fork()):  # which holds this image, and has applied nothing yet
        degradation = CATALOGUE[name]()
        params = degradation.draw(Rng("2a"), image)
        degradation.apply(np.ascontiguousarray(image[:64, :96]), params)  # makes the tables
        before = peak()
        result = degradation.apply(image, params)
        after = peak()
        assert result.image.shape == image.shape
        print(1024 * (after - before) / 24e6, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("failed", flush=True)
"""


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[[str], float]]:
    """What `apply` of a degradation adds on 24 megapixels, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def bytes_a_pixel(name: str) -> float:
            asked.write(f"{name}\n")
            asked.flush()
            return float(answers.readline())

        yield bytes_a_pixel


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_large_photograph_takes_little_more_than_its_result(name: str, measured: Callable[[str], float]) -> None:
    found = measured(name)
    assert 2.5 < found < MOST, "at least the degraded photograph is new"
