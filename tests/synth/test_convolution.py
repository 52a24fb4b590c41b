import cv2
import numpy as np
import pytest

from patina.synth import convolution
from patina.synth.convolution import convolve, reflected


@pytest.mark.parametrize(("k", "height", "width"), [(1, 16, 17), (3, 40, 33), (25, 17, 90), (45, 64, 16)])
@pytest.mark.parametrize("share", [0.03, 1.0])
def test_taps_and_transforms_are_the_textbooks(
    monkeypatch: pytest.MonkeyPatch, k: int, height: int, width: int, share: float
) -> None:
    """Whatever is chosen, and whatever lies in the kernel's corners."""
    chance = np.random.default_rng(0)
    image = chance.random((height, width, 3), dtype=np.float32)
    kernel = (chance.random((k, k)) * (chance.random((k, k)) < share)).astype(np.float32)
    kernel[k // 2, 0] = 1
    kernel /= kernel.sum()
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    textbook = cv2.filter2D(image, -1, flipped, borderType=cv2.BORDER_REFLECT)
    for worth in (0, convolution.WORTH, 10**6):
        monkeypatch.setattr(convolution, "WORTH", worth)
        found = convolve(reflected(image, k // 2), kernel)
        assert found.shape == image.shape and found.dtype == np.float32
        assert np.abs(found - textbook).max() < 2e-6
