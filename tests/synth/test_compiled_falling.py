"""Compiled traces of what falls, and rain over a picture: NumPy's bits, and OpenCV's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth import falling
from patina.synth.degradations import CATALOGUE
from patina.synth.degradations.rainy import Rainy
from patina.synth.falling import Profile, Traces, exposed
from patina.synth.rng import Rng
from tests.synth.test_compiled import needs_compiler, pictures
from tests.synth.test_compiled_light import same

pytestmark = needs_compiler

Both = Callable[[Callable[[], Any]], tuple[Any, Any]]


def traces(count: int) -> Traces:
    """Steep and level ones, long and short, of all blurs, and some beside the picture."""
    random = Rng("9")

    def between(low: float, high: float) -> np.ndarray:
        return (low + (high - low) * random.uniforms(count)).astype(np.float32)

    long = np.where(np.arange(count) % 3 == 0, np.float32(0.01), np.float32(1))
    dx, dy = between(-150, 150) * long, between(-150, 150) * long
    return Traces(between(-30, 130), between(-30, 110), dx, dy, between(0, 4), between(0.3, 8))


def numbers(count: int, most: float) -> np.ndarray:
    return (Rng("4").uniforms(count) * most).astype(np.float32)


@pytest.mark.parametrize("size", [(16, 16), (87, 101), (17, 240)])
@pytest.mark.parametrize("glinting", [False, True])
def test_traces_have_the_same_bits(
    size: tuple[int, int], glinting: bool, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which light adds up is the same: sums of float32 depend on it."""
    monkeypatch.setattr(falling, "POINTS", 1000)  # so that several parts are drawn
    some = traces(300)
    swing = {"glint": 0.4, "base": 1.25, "swings": numbers(300, 9), "turns": numbers(300, 2)} if glinting else {}
    profile = Profile(-20, 1.25, **swing)

    def found(count: int = 9) -> np.ndarray:
        rows = exposed(*size, some, profile)
        return np.concatenate([rows(top, min(top + count, size[0])) for top in range(0, size[0], count)])

    one, other = both(found)
    assert same(one, other) and same(one, found(1000)) and one.max() > 0


@pytest.mark.parametrize("size", [(16, 16), (37, 1500)])
def test_rain_has_the_same_bits(size: tuple[int, int], both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    gt = pictures(*size)[1]
    layer = (Rng("8").uniforms(gt[..., 0].size) * 1.5).astype(np.float32).reshape(size)
    layer[::2] = ((np.arange(layer[::2].size) % 65535 + 0.5) / 65535).astype(np.float32).reshape(layer[::2].shape)
    layer[:, 0] = 0
    monkeypatch.setattr("patina.synth.degradations.rainy._streaks", lambda *_: lambda top, end: layer[top:end].copy())
    rain = Rainy()
    params = rain.draw(Rng("1"), gt)

    def found() -> list[np.ndarray]:
        degraded = rain.apply(gt, params)
        return [degraded.image, degraded.truth["streaks"]]

    assert same(*both(found))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(
            (name, {})
            for name in ("rainy", "snowy", "hazy", "dusty", "underwater", "low-light", "over-exposed", "flared")
        ),
        *(("aged", {"softness": softness, "kinds": kind}) for softness in (0, 8) for kind in ("dark", "sepia")),
    ],
)
def test_whole_degradations_have_the_same_bits(name: str, settings: dict[str, Any], both: Both) -> None:
    degradation = CATALOGUE[name](**settings)
    for gt in pictures(71, 133):
        params = degradation.draw(Rng("5"), gt)

        def found(gt: Any = gt, params: Any = params) -> list[np.ndarray]:
            degraded = degradation.apply(gt, params)
            return [degraded.image, *(degraded.truth[name] for name in sorted(degraded.truth))]

        assert same(*both(found))
