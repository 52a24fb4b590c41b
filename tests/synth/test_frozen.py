"""Pixels of each version: whoever changes them raises the degradation's `version`, and then what stands here."""

from __future__ import annotations

import hashlib

import pytest

from benchmarks.processors import VARIANTS
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng
from tests.synth.pictures import cut

OF_CODECS = ("jpeg-compressed", "video-compressed")
"""Their bytes are their libraries': pipeline/codec/fingerprint.py holds these."""

FROZEN: dict[str, tuple[int, str]] = {
    "motion-blurry": (5, "9f02c70d217abe03"),
    "hazy": (5, "48f0dbb239106cd4"),
    "low-light": (4, "94c6019988bd4cdf"),
    "noisy": (2, "dee9adbe2f98126d"),
    "raindrop": (3, "762802b87e17d436"),
    "rainy": (5, "2c0aa144bd0983b3"),
    "shadowed": (5, "7cf109ded6fc20c5"),
    "snowy": (5, "b169c44b57b277c3"),
    "uncompleted": (1, "d3c4e7635f11d8e4"),
    "defocus-blurry": (2, "0f201a523d1d6c22"),
    "downsampled": (1, "480815eebaef68ab"),
    "moire": (1, "16fd72b964f5c92e"),
    "flared": (3, "9e124395d069bb32"),
    "over-exposed": (3, "ed59736e3210b5e6"),
    "underwater": (2, "b76df3c73b1d2b60"),
    "dusty": (3, "0c987f27b026c58d"),
    "impulse-noisy": (1, "a299a527d2d7df79"),
    "banded": (1, "0c72e994e6ea9f8c"),
    "aged": (2, "ac7998e10cc187cb"),
    "blurred": (1, "aab56d0e43e2c049"),
}
"""By word: the version, and a digest of LQ and all truth maps in all of the degradation's ways."""


def digest(word: str) -> str:
    """Of what a degradation makes of one picture, in each of its ways."""
    image, found = cut(71, 90), hashlib.sha256()
    for settings in VARIANTS[word]:
        degradation = CATALOGUE[word](**settings)
        degraded = degradation.apply(image, degradation.draw(Rng("1f"), image))
        for part in (degraded.image, *(degraded.truth[name] for name in sorted(degraded.truth))):
            found.update(part.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("word", [word for word in CATALOGUE if word not in OF_CODECS])
def test_a_change_of_pixels_raises_the_version(word: str) -> None:
    assert (CATALOGUE[word].version, digest(word)) == FROZEN[word], (
        "pixels or truth maps changed: raise the version of the degradation, and write both down here"
    )
