import math

import numpy as np
import pytest
from numpy.typing import NDArray

from patina.synth.falling import SHARPEST, Profile, Traces, expose, exposed

Values = NDArray[np.float32]


def traces(*rows: tuple[float, float, float, float, float, float]) -> Traces:
    return Traces(*np.array(rows, np.float32).T)


even = Profile()


def moments(picture: Values) -> tuple[float, float, NDArray[np.float64]]:
    """Centroid x and y, in pixels with the first one's centre at ½, and the 2×2 matrix of second moments."""
    share = picture.astype(np.float64) / picture.sum(dtype=np.float64)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    mx, my = float((share * x).sum()), float((share * y).sum())
    x, y = x - mx, y - my
    return mx, my, np.array([[(share * a * b).sum() for a in (x, y)] for b in (x, y)])


@pytest.mark.parametrize("blur", [0.5, 0.9, 2.3, 5.0])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (0.3, 7), (-24, 30), (40, 0)])
def test_a_trace_keeps_its_mass_place_length_and_blur(blur: float, dx: float, dy: float) -> None:
    """A uniform line's variance is length²/12; blur adds its own, at most a class (√2) off."""
    picture = expose(160, 200, traces((101.3, 77.8, dx, dy, 12.5, blur)), even)
    assert picture.dtype == np.float32 and picture.min() >= 0
    assert picture.sum(dtype=np.float64) == pytest.approx(12.5, rel=0.002)
    x, y, spread = moments(picture)
    assert abs(x - 101.3) < 0.06 * (1 + blur) and abs(y - 77.8) < 0.06 * (1 + blur)
    across, along = np.linalg.eigvalsh(spread)
    spread_by_length = math.sqrt(along - across + 1e-9)
    assert spread_by_length == pytest.approx(math.hypot(dx, dy) / math.sqrt(12), rel=0.05, abs=0.3 * (1 + blur))
    assert blur / math.sqrt(2) < math.sqrt(across) < 1.5 * blur + 0.5


def test_an_oblique_line_is_smooth() -> None:
    """Anti-aliased: along its middle the brightness hardly varies, whatever pixels it passes."""
    angle = math.radians(73)
    dx, dy = 120 * math.cos(angle), 120 * math.sin(angle)
    picture = expose(200, 200, traces((100, 100, dx, dy, 120, SHARPEST)), even)
    # Each row holds what one pixel of height does, however it falls on the columns.
    rows = picture.sum(axis=1)[60:140]
    assert rows.std() / rows.mean() < 0.02
    assert rows.mean() == pytest.approx(1 / math.sin(angle), rel=0.01)


def test_traces_add_up() -> None:
    one, other = (40.2, 30.1, 5.0, 20.0, 3.0, 0.7), (45.0, 28.0, -9.0, 14.0, 2.0, 3.0)
    both = expose(64, 80, traces(one, other), even)
    apart = expose(64, 80, traces(one), even) + expose(64, 80, traces(other), even)
    assert np.abs(both - apart).max() < 1e-6


def test_rows_that_are_made_apart_are_those_of_the_whole() -> None:
    """Of all blurs at once, sharp ones and those that are drawn small, and more points than are drawn together."""
    random = np.random.default_rng(5)
    count = 3000
    place = random.uniform(0, 300, (2, count))
    way = random.normal(0, 20, (2, count))
    some = Traces(
        *(part.astype(np.float32) for part in (*place, *way, np.ones(count), 0.5 * 2 ** random.uniform(0, 5, count)))
    )
    rows = exposed(300, 280, some, even)
    whole = expose(300, 280, some, even)
    assert np.array_equal(np.concatenate([rows(0, 1), rows(1, 130), rows(130, 300)]), whole)
    assert whole.sum(dtype=np.float64) == pytest.approx(count * 280 / 300, rel=0.1)


def test_blur_grows_evenly_from_class_to_class() -> None:
    """A spot's variance is that of its class; being drawn in coarse pixels, and enlarged, adds up to a third to it."""
    for number in range(8):
        blur = SHARPEST * 2 ** (number / 2 + 0.25)
        spots = [traces((72 + x, 72 + x, 0, 0, 1, blur)) for x in np.arange(0, 16, 1.37)]
        variance = float(np.mean([np.trace(moments(expose(160, 160, spot, even))[2]) / 2 for spot in spots]))
        assert 0.95 < variance / (blur**2 + 1 / 6) < 1.35


def test_what_falls_outside_is_not_seen() -> None:
    outside = [(-50.0, 20.0, 0.0, 9.0, 1.0, 0.5), (30.0, 900.0, 4.0, 9.0, 1.0, 2.0), (80.0, -30.0, 0.0, 5.0, 1.0, 0.5)]
    assert expose(40, 64, traces(*outside), even).max() == 0
    crossing = expose(40, 64, traces((32.0, 0.0, 0.0, 20.0, 1.0, 0.5)), even)
    assert crossing.sum() == pytest.approx(0.5, abs=0.03)


def test_nothing_falls() -> None:
    nothing = Traces(*np.zeros((6, 0), np.float32))
    assert not expose(17, 23, nothing, even).any()


def test_the_profile_shapes_the_trace() -> None:
    picture = expose(120, 21, traces((10.5, 60, 0, 80, 80, 0.5)), Profile(fade=-16))
    middle = picture.sum(axis=1)
    assert middle[60] == pytest.approx(1, abs=0.02) and middle[30] == pytest.approx(1 - 16 * 0.375**4, abs=0.03)
    assert np.all(np.diff(middle[22:55]) > 0) and np.all(np.diff(middle[66:99]) < 0)


def test_traces_glint_each_in_its_own_way() -> None:
    one, other = (20.5, 100, 0, 160, 160, 0.5), (60.5, 100, 0, -160, 160, 0.5)
    swings, turns = np.array([3, 1], np.float32), np.array([0, 0.25], np.float32)
    picture = expose(200, 81, traces(one, other), Profile(glint=0.4, base=1.25, swings=swings, turns=turns))
    way = (np.arange(40, 160) + 0.5 - 100) / 160
    first, second = picture[40:160, :40].sum(axis=1), picture[40:160, 40:].sum(axis=1)
    assert np.abs(first - (1.25 + 0.4 * np.sin(2 * np.pi * 3 * way))).max() < 0.02
    assert np.abs(second - (1.25 + 0.4 * np.cos(2 * np.pi * way))).max() < 0.02
