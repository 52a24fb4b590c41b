from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from patina.training.data.order import Balanced, Scenes, noise_seed, of_image, shares_of
from patina.training.errors import StageError

ENTRIES = np.repeat([0, 1, 2], [7, 20, 3])


def test_each_entry_comes_as_often_as_its_share_and_evenly() -> None:
    order = Balanced(ENTRIES, [1, 2, 1], seed=3)
    rows = order.rows(0, 4000)
    assert np.abs(np.bincount(ENTRIES[rows]) / 4000 - [0.25, 0.5, 0.25]).max() < 2e-3
    for start in range(0, 3900, 100):  # every stretch, not only the whole
        counts = np.bincount(ENTRIES[rows[start : start + 100]], minlength=3)
        assert np.abs(counts - [25, 50, 25]).max() <= 4


def test_samples_of_an_entry_come_all_before_any_again_in_another_order() -> None:
    rows = Balanced(ENTRIES, [1, 1, 1], seed=3).rows(0, 600)
    own = [int(row) for row in rows if ENTRIES[row] == 1]
    rounds = [own[i : i + 20] for i in range(0, len(own) - 19, 20)]
    assert all(sorted(r) == list(range(7, 27)) for r in rounds)
    assert len({tuple(r) for r in rounds}) == len(rounds)


def test_an_entry_without_weight_never_comes() -> None:
    rows = Balanced(ENTRIES, [1, 0, 1], seed=1).rows(0, 500)
    assert set(ENTRIES[rows]) == {0, 2}


@pytest.mark.parametrize("kind", ["balanced", "scenes"])
def test_the_nth_image_is_the_nth_wherever_one_begins(kind: str) -> None:
    def made() -> Balanced | Scenes:
        scenes = np.arange(len(ENTRIES)) % 10
        return Balanced(ENTRIES, [1, 3, 1], 5) if kind == "balanced" else Scenes(scenes, ENTRIES, [1, 3, 1], 4, 5)

    whole = made().rows(0, 70_000)  # beyond one chunk
    assert np.array_equal(made().rows(65_000, 2_000), whole[65_000:67_000])
    late_then_early = made()
    assert np.array_equal(late_then_early.rows(69_990, 10), whole[69_990:])
    assert np.array_equal(late_then_early.rows(3, 10), whole[3:13])


def test_another_seed_is_another_order() -> None:
    orders = [Balanced(ENTRIES, [1, 1, 1], seed).rows(0, 200) for seed in (0, 1)]
    assert not np.array_equal(*orders)


def test_no_group_holds_a_scene_twice_and_every_scene_comes_round() -> None:
    scenes = np.repeat(np.arange(11), 3)
    entries = np.tile([0, 1, 2], 11)
    rows = Scenes(scenes, entries, [1, 1, 1], group=4, seed=2).rows(0, 8 * 200)
    groups = scenes[rows].reshape(-1, 4)
    assert all(len(set(group)) == 4 for group in groups)
    seen = Counter(scenes[rows].tolist())
    assert set(seen) == set(range(11))
    assert max(seen.values()) < 1.3 * min(seen.values())
    assert np.abs(np.bincount(entries[rows]) / len(rows) - 1 / 3).max() < 0.05  # in all its degradations


def test_scenes_are_drawn_by_the_weights_of_their_entries() -> None:
    scenes, entries = np.repeat(np.arange(10), 2), np.tile([0, 1], 10)
    rows = Scenes(scenes, entries, [3, 1], group=2, seed=0).rows(0, 4000)
    assert abs(np.mean(entries[rows] == 0) - 0.75) < 0.03
    assert set(entries[Scenes(scenes, entries, [0, 1], group=2, seed=0).rows(0, 50)]) == {1}


def test_a_batch_of_more_photographs_than_there_are_is_refused() -> None:
    with pytest.raises(StageError, match=r"12 photographs are compared.*dataset has 10.*data\.batch to 10"):
        Scenes(np.arange(10), np.zeros(10, int), [1], group=12, seed=0)


def test_weights_and_repeats() -> None:
    assert shares_of(["a", "b"], [10, 30], {}, {}) == [1, 1]
    assert shares_of(["a", "b"], [10, 30], {"b": 3}, {}) == [1, 3]
    assert shares_of(["a", "b"], [200, 72_135], {}, {"a": 120}) == [24_000, 72_135]
    with pytest.raises(StageError, match="weights for foggy; the dataset has a, b"):
        shares_of(["a", "b"], [1, 1], {"foggy": 2}, {})
    with pytest.raises(StageError, match="all weights are 0"):
        Balanced(ENTRIES, [0, 0, 0], 0)


def test_every_image_has_chance_of_its_own() -> None:
    assert of_image(0, 5).random() == of_image(0, 5).random()
    assert len({of_image(s, n).random() for s in range(3) for n in range(100)}) == 300
    assert len({noise_seed(s, n) for s in range(3) for n in range(100)}) == 300
