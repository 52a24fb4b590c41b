"""`patina.Stream` with the loaders that read it: forked and spawned workers, ranks, stops and goings on."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import patina
from tests.pipeline.making import photo

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of few cores
]

SOME_WORKERS = [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 samples to train on, some for validation."""
    here = tmp_path_factory.mktemp("stream")
    for i in range(20):
        photo(here / "photos" / f"p{i:02d}.png", 40 + 2 * (i % 3), 36, seed=i)
    recipe = {
        "sources": [{"path": str(here / "photos")}],
        "degradations": {"noisy": {}, "hazy": {}},
        "split": {"val": 0.3},
        "buckets": 2,
    }
    patina.build(recipe, here / "out")
    return here / "out"


@pytest.fixture(scope="module")
def dataset(built: Path) -> patina.Dataset:
    return patina.Dataset(built, crop=16, seed=3)


def stream(built: Path, **words: Any) -> patina.Stream:
    return patina.Stream(built, crop=16, seed=3, **words)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def names(items: Any) -> list[str]:
    """Of items or of batches."""
    found: list[str] = []
    for item in items:
        found += [item["key"]] if isinstance(item["key"], str) else item["key"]
    return found


def expected(dataset: patina.Dataset) -> Counter[str]:
    return Counter(names(dataset))


# Order


def test_an_epoch_is_the_dataset_in_an_order_of_its_own(built: Path, dataset: patina.Dataset) -> None:
    items = list(stream(built))
    assert len(stream(built)) == len(items) == len(dataset)
    own = {(item["key"], item["degradation"]): item for item in dataset}
    for item in items:
        assert same(item, own.pop((item["key"], item["degradation"])))
    assert not own

    def order(epoch: int = 0, **words: Any) -> list[tuple[str, str]]:
        one = stream(built, **words)
        one.set_epoch(epoch)
        return [(item["key"], item["degradation"]) for item in one]

    stored = [(item["key"], item["degradation"]) for item in dataset]
    assert order() == order() != order(1) != stored
    assert order(shuffle=False) == stored
    other = patina.Stream(built, crop=16, seed=4)
    assert names(other) != names(items)
    followed = stream(built, epochs=2)
    assert [(item["key"], item["degradation"]) for item in followed] == order(0) + order(1)
    val = patina.Stream(built, "val", crop=16)
    assert names(val) == names(patina.Dataset(built, "val"))


def test_crops_change_by_epoch_as_those_of_a_dataset_do(built: Path, dataset: patina.Dataset) -> None:
    one = stream(built)
    for epoch in (1, 0):
        one.set_epoch(epoch)
        dataset.set_epoch(epoch)
        own = {(item["key"], item["degradation"]): item for item in dataset}
        assert all(same(item, own[item["key"], item["degradation"]]) for item in one)
    endless = stream(built, epochs=None)
    later = list(islice(endless, len(dataset), 2 * len(dataset)))
    dataset.set_epoch(1)
    own = {(item["key"], item["degradation"]): item for item in dataset}
    assert all(same(item, own[item["key"], item["degradation"]]) for item in later)
    dataset.set_epoch(0)
    with pytest.raises(TypeError, match="never ends, and has no length"):
        len(endless)


def test_several_crops_of_one_decoding(built: Path, dataset: patina.Dataset) -> None:
    items = list(stream(built, crops_per_image=3))
    assert len(items) == len(stream(built, crops_per_image=3)) == 3 * len(dataset)
    places = set()
    for first in range(0, len(items), 3):
        three = items[first : first + 3]
        assert len({item["key"] for item in three}) == 1
        places |= {tuple(bool(torch.equal(three[0]["gt"], other["gt"])) for other in three[1:])}
    assert (False, False) in places
    assert all(same(a, b) for a, b in zip(items[::3], stream(built), strict=True))
    batches = list(stream(built, crops_per_image=3, batch=6))
    assert same(batches[1], default_collate(items[6:12]))


def test_what_items_hold(built: Path) -> None:
    words: dict[str, Any] = {"degradations": "hazy", "truth": True}
    for item, levels in zip(stream(built, **words), stream(built, as_bytes=True, keep=1 << 20, **words), strict=True):
        assert item["lq"].dtype == torch.float32 and levels["lq"].dtype == levels["gt"].dtype == torch.uint8
        assert torch.equal(item["lq"], levels["lq"] / 255) and torch.equal(item["gt"], levels["gt"] / 255)
        assert same(item["truth"], levels["truth"]) and "transmission" in item["truth"]
    (batch, *_) = stream(built, batch=3, **words)
    assert batch["truth"]["transmission"].shape == (3, 1, 16, 16)
    assert batch["severity"].dtype == torch.float64 and len(batch["params"]) == 3


# Workers and ranks


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_give_the_very_batches_of_one_process(built: Path, method: str) -> None:
    one = stream(built, batch=4)
    for workers in (1, 3) if method == "fork" else (2,):
        loader = DataLoader(
            one, batch_size=None, num_workers=workers, multiprocessing_context=method, persistent_workers=True
        )
        for epoch in (0, 1):
            one.set_epoch(epoch)
            found = list(loader)
            assert same(found, list(one))
            assert {type(batch[name]) for batch in found for name in ("lq", "gt", "psnr")} == {torch.Tensor}
            assert len(loader) == len(one)


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_a_loader_that_makes_batches_gets_each_sample_once(built: Path, dataset: patina.Dataset, workers: int) -> None:
    loader = DataLoader(stream(built), batch_size=4, num_workers=workers)
    assert Counter(names(loader)) == expected(dataset)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_it_and_have_equal_counts(built: Path, dataset: patina.Dataset, world: int) -> None:
    def of(rank: int, **words: Any) -> list[str]:
        one = stream(built, rank=rank, world=world, **words)
        found = names(DataLoader(one, batch_size=4, num_workers=rank))
        assert len(found) == len(one)
        return found

    short = len(dataset) % world
    found = [of(rank) for rank in range(world)]
    assert len({len(one) for one in found}) == 1
    assert sum((Counter(one) for one in found), Counter()) >= expected(dataset)
    assert sum(map(len, found)) == len(dataset) + (world - short) % world
    kept = [of(rank, uneven="keep") for rank in range(world)]
    assert sum((Counter(one) for one in kept), Counter()) == expected(dataset)
    dropped = [of(rank, uneven="drop") for rank in range(world)]
    assert sum(map(len, dropped)) == len(dataset) - short and len({len(one) for one in dropped}) == 1


def test_ranks_are_found_in_the_environment_and_in_torch(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [names(stream(built, rank=rank, world=2)) for rank in (0, 1)]
    one = stream(built)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert names(one) == parts[1]
    assert names(stream(built, rank=0, world=2)) == parts[0]
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        assert names(one) == parts[0]
        copy = pickle.loads(pickle.dumps(one))  # as for a worker that is spawned
    finally:
        torch.distributed.destroy_process_group()
    assert names(copy) == parts[0] and names(one) == parts[1]


# States


@pytest.mark.parametrize("batch", [None, 4])
def test_one_process_goes_on_anywhere(built: Path, batch: int | None) -> None:
    one = stream(built, batch=batch, epochs=2)
    one.set_epoch(5)
    whole = list(one)
    for done in range(0, len(whole) + 1, 5 if batch is None else 2):
        reading = iter(one)
        assert same(list(islice(reading, done)), whole[:done])
        state = json.loads(json.dumps(one.state_dict()))
        again = stream(built, batch=batch, epochs=2)
        again.load_state_dict(state)
        assert again.epoch == 5 and again.state_dict() == state
        assert same(list(again), whole[done:])
        assert same(list(again), whole)  # an iteration after that begins anew


@pytest.mark.parametrize(("batch", "size"), [(4, None), (None, 3), (None, None)])
@pytest.mark.parametrize("workers", SOME_WORKERS)
def test_a_loader_with_workers_goes_on_after_so_many_batches(
    built: Path, batch: int | None, size: int | None, workers: int
) -> None:
    def loader(one: patina.Stream) -> DataLoader[Any]:
        return DataLoader(one, batch_size=size, num_workers=workers)

    whole = list(loader(stream(built, batch=batch)))
    for done in (1, len(whole) // 2, len(whole)):
        one = stream(built, batch=batch)
        first = list(islice(loader(one), done))
        state = json.loads(json.dumps(one.state_after(done, loader(one))))
        again = stream(built, batch=batch)
        again.load_state_dict(state)
        rest = list(loader(again))
        assert same(first + rest, whole)
        if 0 < done < len(whole):  # and once more, from within what was gone on with
            state = again.state_after(1, loader(again))
            once_more = stream(built, batch=batch)
            once_more.load_state_dict(state)
            assert same(list(loader(once_more)), rest[1:])


@pytest.mark.parametrize(("batch", "size"), [(4, None), (None, 3)])
def test_other_workers_and_ranks_go_on(
    built: Path, dataset: patina.Dataset, batch: int | None, size: int | None
) -> None:
    one = stream(built, batch=batch)
    loader = DataLoader(one, batch_size=size, num_workers=3)
    first = list(islice(loader, 3))
    state = one.state_after(3, loader)
    left = expected(dataset) - Counter(names(first))
    for workers in (0, 1, 4):
        again = stream(built, batch=batch)
        again.load_state_dict(state)
        rest = list(DataLoader(again, batch_size=size, num_workers=workers))
        assert Counter(names(rest)) == left
        if batch:
            assert same(first + rest, list(one))
    found: Counter[str] = Counter()
    for rank in (0, 1):
        again = stream(built, batch=batch, rank=rank, world=2, uneven="keep")
        again.load_state_dict(state)
        found += Counter(names(again))
    assert found == left


def test_a_state_is_of_its_epoch(built: Path) -> None:
    one = stream(built)
    one.set_epoch(2)
    list(islice(one, 5))
    state = one.state_dict()
    again = stream(built)
    again.load_state_dict(state)
    again.set_epoch(2)
    assert len(list(again)) == len(one) - 5
    again.load_state_dict(state)
    again.set_epoch(3)
    assert len(list(again)) == len(one)


def test_workers_that_read_ahead_are_told_of(built: Path) -> None:
    one = stream(built)
    loader = DataLoader(one, batch_size=2, num_workers=1)
    next(iter(loader))
    with pytest.raises(RuntimeError, match=r"read ahead.*stream\.state_after\(batches, loader\)"):
        one.state_dict()
    one.set_epoch(1)
    assert one.state_dict()["epoch"] == 1


@pytest.fixture
def stateful() -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 calls it
@pytest.mark.parametrize(("batch", "size"), [(4, None), (None, 3)])
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_keeps_its_state(
    built: Path, stateful: Any, batch: int | None, size: int | None, workers: int
) -> None:
    def loader() -> Any:
        return stateful(stream(built, batch=batch), batch_size=size, num_workers=workers)

    whole = list(loader())
    for done in (1, 2, len(whole) - 1):
        one = loader()
        first = list(islice(one, done))
        again = loader()
        again.load_state_dict(one.state_dict())
        rest = list(again)
        assert same(first + rest, whole)
        assert same(list(again), whole)


@pytest.mark.gpu
def test_batches_are_pinned(built: Path) -> None:
    (batch, *_) = DataLoader(stream(built, batch=4), batch_size=None, num_workers=1, pin_memory=True)
    assert batch["lq"].is_pinned() and batch["gt"].is_pinned()


# What cannot be


def test_what_a_stream_cannot_be_is_told(built: Path) -> None:
    for words, says in (
        ({"batch": 0}, "batch: expected a whole number from 1, found 0"),
        ({"batch": 4, "crops_per_image": 3}, "batch: expected a multiple of crops_per_image = 3, found 4; give 6"),
        ({"epochs": 0}, "epochs: expected a whole number from 1, found 0"),
        ({"uneven": "pad"}, "uneven: there is no 'pad'"),
        ({"rank": 1}, "expected rank and world together, found rank = 1, world = None"),
        ({"rank": 2, "world": 2}, "rank: expected 0 to 1, as world = 2, found 2"),
        ({"keep": -1}, "keep: expected a whole number from 0"),
        ({"degradations": "rainy"}, "no 'rainy' in the split 'train'"),
        ({"drop_last": True}, "drop_last: expected batch too, found None"),
        ({"uneven": "drop", "rank": 0, "world": 25}, 'found 24 for 25 ranks, and "drop" would leave all of them out'),
        ({"drop_last": True, "batch": 25}, "drop_last: expected one full batch at least, found 24 items of this rank"),
        ({"drop_last": True, "batch": 14, "rank": 0, "world": 2}, "found 12 items of this rank and batch = 14"),
    ):
        with pytest.raises((TypeError, ValueError), match=says):
            stream(built, **words)


def test_a_rank_may_be_given_nothing_where_that_is_meant_or_done(built: Path) -> None:
    """`keep` gives each sample once, so the 25th rank of 24 samples has none; and a stream may be at its end."""
    assert list(stream(built, uneven="keep", rank=24, world=25)) == []
    assert len(list(stream(built, uneven="drop", rank=0, world=24))) == 1
    one = stream(built, uneven="drop", drop_last=True, batch=24)
    assert len(list(one)) == len(one) == 1
    again = stream(built, uneven="drop", drop_last=True, batch=24)
    again.load_state_dict(one.state_dict())
    assert list(again) == []


def test_ranks_that_come_later_are_refused_when_they_are_known(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = stream(built, uneven="drop")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "25")
    for look in (len, list):
        with pytest.raises(ValueError, match="found 24 for 25 ranks"):
            look(one)


def test_a_state_of_something_else_is_refused(built: Path) -> None:
    one = stream(built, degradations="noisy")
    state = one.state_dict()
    for other, says in (
        (stream(built), "expected samples = "),
        (patina.Stream(built, degradations="noisy", seed=4), "expected seed = 4, found 3"),
        (stream(built, degradations="noisy", shuffle=False), "expected shuffle = False, found True"),
    ):
        with pytest.raises(ValueError, match=says):
            other.load_state_dict(state)
    for lacking in state:
        with pytest.raises(ValueError, match=f"found no '{lacking}'"):
            one.load_state_dict({name: value for name, value in state.items() if name != lacking})
    loader = DataLoader(one, batch_size=2, num_workers=2)
    with pytest.raises(ValueError, match=r"expected \d+ batches at the most, which are all that is left; found 999"):
        one.state_after(999, loader)


@pytest.mark.parametrize("spoilt", [None, 5, "x", {"taken": "x"}, {"taken": [-1]}, {"unit": 0}, {"world": 0}])
def test_what_is_no_state_is_refused_in_words(built: Path, spoilt: Any) -> None:
    one = stream(built, degradations="noisy")
    state = {**one.state_dict(), **spoilt} if isinstance(spoilt, dict) else spoilt
    with pytest.raises(ValueError, match=r"state: expected what Stream\.state_dict gives"):
        one.load_state_dict(state)


def test_a_batch_of_unlike_items_is_refused_with_what_to_do(built: Path) -> None:
    items = [{"lq": torch.zeros(3, side, 16), "gt": torch.zeros(3, side, 16)} for side in (16, 24)]
    maps = [{"lq": torch.zeros(3, 8, 8), "truth": names} for names in ({}, {"mask": 1})]
    samples = stream(built)._samples
    with pytest.raises(ValueError, match=r"expected images of one size, found 16×16 and 24×16 px; give crop="):
        samples.batch(items)
    with pytest.raises(ValueError, match=r"expected the same truth maps of every sample, found none and mask"):
        samples.batch(maps)
