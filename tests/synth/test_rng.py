import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.synth.rng import Rng, normal_table, sample_seed

ONE = "00000000000000000000000000000001"
MANY = 200_000

# Frozen: a change here is a change of every dataset ever built.


def test_the_raw_stream_is_frozen() -> None:
    assert Rng(ONE).raw(4).tolist() == [
        9441442522235856127,
        17532960557476522086,
        2659275481604167885,
        17499493567006797778,
    ]


def test_the_distributions_are_frozen() -> None:
    assert Rng(ONE).uniform() == 0.5118216247002567
    assert Rng(ONE).uniforms(2).tolist() == [0.5118216247002567, 17532960557476522086 // 2048 / 2**53]
    assert Rng(ONE).integer(0, 9) == 5
    assert Rng(ONE).choice("abcdefghij") == "f"
    assert Rng(ONE).normal() == pytest.approx(0.029636756665895346, rel=1e-12)
    assert Rng(ONE).log_uniform(1e-4, 1) == pytest.approx(0.011150298626945476, rel=1e-12)
    assert Rng(ONE).levels(6).tolist() == [58623, 31010, 48627, 33542, 43110, 49490]
    assert Rng(ONE).seed() == "8306bdf37922e4fff35196bbc152a866"


def test_sample_seed_is_frozen() -> None:
    assert sample_seed(0, "a" * 64, "noisy", 0, (0, 0, 768, 512)) == "1d8e3a13faee9e83e048bc823a63e630"


@pytest.mark.parametrize(
    "other",
    [
        (1, "a", "noisy", 0, (0, 0, 768, 512)),
        (0, "b", "noisy", 0, (0, 0, 768, 512)),
        (0, "a", "noisz", 0, (0, 0, 768, 512)),
        (0, "a", "noisy", 1, (0, 0, 768, 512)),
        (0, "a", "noisy", 0, (1, 0, 768, 512)),
        (0, "a", "noisy", 0, (0, 1, 768, 512)),
        (0, "a", "noisy", 0, (0, 0, 767, 512)),
        (0, "a", "noisy", 0, (0, 0, 768, 511)),
    ],
)
def test_sample_seed_depends_on_each_of_its_parts(other: tuple[int, str, str, int, tuple[int, int, int, int]]) -> None:
    assert sample_seed(*other) != sample_seed(0, "a", "noisy", 0, (0, 0, 768, 512))


def test_sample_seed_keeps_its_parts_apart() -> None:
    assert sample_seed(0, "a", "noisy", 1, (12, 3, 64, 64)) != sample_seed(0, "a", "noisy", 11, (2, 3, 64, 64))
    assert sample_seed(0, "a", "noisy", 0, (12, 3, 64, 64)) != sample_seed(0, "a", "noisy", 0, (1, 23, 64, 64))


def test_uniforms_are_uniform() -> None:
    u = Rng(ONE).uniforms(MANY)
    assert u.min() >= 0 and u.max() < 1
    assert u.mean() == pytest.approx(1 / 2, abs=0.003)
    assert u.var() == pytest.approx(1 / 12, abs=0.001)
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.01


def test_uniform_is_the_same_stream_one_by_one() -> None:
    rng = Rng(ONE)
    assert [rng.uniform() for _ in range(50)] == Rng(ONE).uniforms(50).tolist()


def test_normal_has_the_moments_of_a_normal() -> None:
    rng = Rng(ONE)
    x = np.array([rng.normal(3, 2) for _ in range(20_000)])
    z = (x - 3) / 2
    assert z.mean() == pytest.approx(0, abs=0.03)
    assert z.std() == pytest.approx(1, abs=0.02)
    assert (z**3).mean() == pytest.approx(0, abs=0.08)
    assert (z**4).mean() == pytest.approx(3, abs=0.2)


def test_log_uniform_is_uniform_in_its_logarithm() -> None:
    rng = Rng(ONE)
    logs = np.log10([rng.log_uniform(1e-3, 10) for _ in range(20_000)])
    assert logs.min() >= -3 and logs.max() < 1
    assert logs.mean() == pytest.approx(-1, abs=0.03)
    assert logs.var() == pytest.approx(16 / 12, abs=0.03)


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(0, 2**128 - 1))
def test_integers_stay_within_both_bounds(low: int, span: int, seed: int) -> None:
    assert low <= Rng(f"{seed:x}").integer(low, low + span) <= low + span


def test_integers_reach_both_bounds_equally_often() -> None:
    rng = Rng(ONE)
    counts = np.bincount([rng.integer(0, 4) for _ in range(20_000)])
    assert len(counts) == 5
    assert np.abs(counts / 4000 - 1).max() < 0.06
    assert rng.integer(7, 7) == 7


def test_levels_in_pieces_are_the_levels_at_once() -> None:
    """What lets noise be made a block at a time, as long as a block is a multiple of four."""
    rng = Rng(ONE)
    pieces = np.concatenate([rng.levels(8), rng.levels(4), rng.levels(3)])
    assert np.array_equal(pieces, Rng(ONE).levels(15))


def test_levels_are_uniform() -> None:
    counts = np.bincount(Rng(ONE).levels(MANY) >> 12, minlength=16)
    assert np.abs(counts / (MANY / 16) - 1).max() < 0.04


def test_normal_table_is_a_standard_normal() -> None:
    table = normal_table()
    assert table.shape == (65536,)
    assert (np.diff(table) > 0).all()
    assert np.array_equal(table, -table[::-1])
    assert table.std() == pytest.approx(1, abs=2e-5)
    assert (table**4).mean() == pytest.approx(3, abs=2e-3)
    for z in (-3, -1, 0, 0.5, 2):
        assert np.searchsorted(table, z) / 65536 == pytest.approx(NormalDist().cdf(z), abs=1 / 65536)
    assert table[-1] == pytest.approx(4.3249, abs=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


def test_seeds_differ_and_are_hexadecimal() -> None:
    rng = Rng(ONE)
    seeds = {rng.seed() for _ in range(1000)}
    assert len(seeds) == 1000
    assert {len(seed) for seed in seeds} == {32}
    assert all(math.isfinite(int(seed, 16)) for seed in seeds)


def test_any_part_of_the_stream_can_be_drawn_alone() -> None:
    whole = Rng("2a").levels(1000)
    rng = Rng("2a")
    for first, count in ((0, 1000), (500, 3), (3, 1), (997, 3), (4, 400)):
        assert np.array_equal(rng.levels_from(first, count), whole[first : first + count])
    assert np.array_equal(rng.levels(1000), whole)
    skipped = Rng("2a")
    skipped.skip(-(-401 // 4))
    rng = Rng("2a")
    rng.levels(401)
    assert skipped.raw(3).tolist() == rng.raw(3).tolist()
