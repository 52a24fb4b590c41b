"""Thumbnails are alike, and fit, as their definitions say, and exactly; of what does not fit no picture is opened."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.scan.leaks.candidates import LikePairs, like_pairs
from patina.pipeline.scan.leaks.find import links_between
from patina.pipeline.scan.leaks.registration import match
from patina.pipeline.scan.leaks.thumbnails import FITS, NEAR_THUMBS, REACH, THUMB, fit, likeness, thumbnail
from patina.pipeline.scan.leaks.types import Match, Scene
from patina.synth.image import Image
from tests.pipeline.making import picture


def thumbs(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, THUMB * THUMB), dtype=np.uint8)


def test_likeness_is_the_correlation() -> None:
    first, second = thumbs(20), thumbs(20, 1)
    second[:10] = np.clip(first[:10].astype(int) + second[:10] % 40, 0, 255)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first.astype(float), second.astype(float), strict=True)]
    assert likeness(first, second) == pytest.approx(expected, abs=1e-9)
    flat = np.full((2, 256), 255, np.uint8)
    assert likeness(flat, flat).tolist() == [0.0, 0.0]
    assert likeness(255 - first, first) == pytest.approx(-np.ones(20))


def test_likeness_and_fit_do_not_depend_on_the_order_of_sums() -> None:
    """The largest levels there are, and sums over pixels in another order: not one bit differs."""
    first, second = thumbs(70), thumbs(70, 1)
    first[:30] = np.where(first[:30] > 100, 255, 0)
    second[:20] = first[:20]
    mirrored = [t.reshape(-1, THUMB, THUMB)[:, ::-1, ::-1].reshape(-1, THUMB * THUMB).copy() for t in (first, second)]
    for compare in (likeness, fit):
        whole = compare(first, second)
        alone = [compare(first[k : k + 1], second[k : k + 1])[0] for k in range(len(first))]
        assert whole.tolist() == alone
        assert compare(*mirrored).tolist() == whole.tolist()


def slow_fit(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """By its definition, pixel by pixel, in floats."""

    def details(thumb: NDArray[np.uint8]) -> NDArray[np.float64]:
        levels = thumb.reshape(THUMB, THUMB).astype(np.float64)
        kernel = np.array([1, 4, 6, 4, 1]) / 16
        return levels - cv2.sepFilter2D(levels, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)

    a, b = details(first), details(second)
    sums = np.zeros((2 * REACH + 1, 2 * REACH + 1, 2, 2))
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            for y in range(THUMB):
                for x in range(THUMB):
                    if 0 <= y + dy < THUMB and 0 <= x + dx < THUMB:
                        half = THUMB // 2
                        sums[dy + REACH, dx + REACH, y // half, x // half] += a[y, x] * b[y + dy, x + dx]
    by, bx = np.unravel_index(sums.sum((2, 3)).argmax(), sums.shape[:2])
    close = sums[max(by - 1, 0) : by + 2, max(bx - 1, 0) : bx + 2]
    return float(close.max((0, 1)).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def test_fit_is_what_its_definition_says() -> None:
    wide = [picture(340, 255, seed) for seed in range(4)]
    one = np.stack([thumbnail(image[:240, :320].copy()) for image in wide])
    moved = np.stack([thumbnail(image[15:, 20:].copy()) for image in wide])  # by 1 px of a thumbnail
    other = one[[1, 2, 3, 0]]
    for first, second in ((one, other), (one, moved), (thumbs(4), thumbs(4, 1))):
        expected = [slow_fit(a, b) for a, b in zip(first, second, strict=True)]
        assert fit(first, second) == pytest.approx(expected, abs=1e-6)
    assert fit(one, one).min() > 1 - 1e-9 and fit(one, one).max() < 1.1
    assert fit(one, moved).min() > FITS > np.median(fit(one, other))


def test_where_there_is_no_detail_nothing_fits() -> None:
    flat, ramp = np.full(256, 128, np.uint8), np.repeat(np.arange(0, 256, 16, dtype=np.uint8), 16)
    assert fit(flat[None], flat[None]).tolist() == [0.0]
    assert fit(flat[None], ramp[None]).tolist() == [0.0]


def test_a_cut_copy_fits_and_another_picture_does_not() -> None:
    """Cut by a tenth of each side: larger by a ninth and moved."""
    for seed in range(4):
        whole, other = picture(160, 120, seed), picture(160, 120, seed + 50)
        one, copied, unlike = (thumbnail(image)[None] for image in (whole, whole[:108, 16:].copy(), other))
        assert fit(one, copied)[0] > FITS + 0.1, seed
        assert fit(one, unlike)[0] < FITS, seed


def test_pairs_that_do_not_fit_are_opened_for_their_thumbnails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Light in common, details not; hashes said to be equal."""
    opened = Counter[str]()

    def relit(seed: int) -> Image:
        light = (100 + 80 * np.cos(np.linspace(0, np.pi, 160)))[None, :, None]
        return np.clip(light + (picture(160, 120, seed).astype(float) - 128) * 0.3, 0, 255).astype(np.uint8)

    def scene(name: str, image: Image) -> Scene:
        def load() -> Image:
            opened[name] += 1
            return image

        return Scene(f"{name:0>64}", name, "f0f0f0f0f0f0f0f0", 160, 120, "train", False, "", load)

    images = [relit(seed) for seed in (0, 1, 2, 4)]
    scenes = [scene(f"{n}", image) for n, image in enumerate(images)]
    with ScanStore(None) as store:
        like = like_pairs(scenes, store)
        assert len(like.pairs) == 6 and like.fitting(like.pairs).tolist() == []
        assert links_between(scenes, store) == ()
    assert set(opened.values()) == {1}
    one, other = (thumbnail(image)[None] for image in images[:2])
    assert likeness(one, other)[0] >= NEAR_THUMBS
    assert match(images[0], images[1]) == Match(0.0)
    scenes.append(scene("9", np.clip(images[3] * 0.9, 0, 255).astype(np.uint8)))
    with ScanStore(None) as store:
        links = links_between(scenes, store)
    assert [(int(link.first), int(link.second)) for link in links] == [(3, 9)]
    monkeypatch.setattr("patina.pipeline.scan.leaks.candidates.AT_A_TIME", 3)
    like = LikePairs(np.stack(np.triu_indices(6, 1), axis=1).astype(np.int32), np.concatenate([thumbs(5), thumbs(1)]))
    assert like.fitting(like.pairs).tolist() == [[0, 5]]
