"""Memory of large photographs: bytes a pixel that `apply` adds to a process at its peak, its result among them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from patina.synth.degradations import CATALOGUE

MOST = 15.0
"""Bytes a pixel: three of the degraded photograph, two for each truth map, and what it is made of."""

CHILD = """
import sys
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
degradation = CATALOGUE[sys.argv[1]]()
params = degradation.draw(Rng("2a"), image)
degradation.apply(np.ascontiguousarray(image[:64, :96]), params)  # makes the tables
before = peak()
result = degradation.apply(image, params)
after = peak()
assert result.image.shape == image.shape
print(1024 * (after - before) / 24e6)
"""


def bytes_a_pixel(name: str) -> float:
    """What `apply` of the degradation `name` adds on 24 megapixels, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, name], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return float(ended.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_large_photograph_takes_little_more_than_its_result(name: str) -> None:
    found = bytes_a_pixel(name)
    assert 2.5 < found < MOST, "at least the degraded photograph is new"
