"""Batches left in the dataset's folder for workers elsewhere: what is sent, what is refused, and the same bytes."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import cv2
import pytest

import patina.pipeline.builder.batches as module
from patina.pipeline.builder.batches import (
    MAX_BATCHES,
    StoredBatch,
    batch_count,
    expect_staged,
    load_batch,
    remove_batches,
    store_batches,
)
from patina.pipeline.builder.build import build
from patina.pipeline.builder.groups import together
from patina.pipeline.builder.job import ShardJob
from patina.pipeline.builder.jobs import build_stored, make_batches, make_jobs
from patina.pipeline.builder.runner import Runner
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import BuildError
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.recipe import Recipe, Storage
from tests.pipeline.builder.test_incremental import public_files
from tests.pipeline.making import photo, photos, tiny_recipe

A = TypeVar("A")
R = TypeVar("R")


class Apart:
    """A runner whose functions and items go through pickle, one after the other, as to another process."""

    shares_memory = False
    workers = 2

    def __init__(self, meanwhile: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self.meanwhile = meanwhile
        self.sent: list[bytes] = []

    def call(self, step: str, function: Callable[[], R]) -> R:
        return function()

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        results: list[R] = []
        with self.meanwhile():
            for item in items:
                self.sent.append(pickle.dumps((function, item)))
                there, what = pickle.loads(self.sent[-1])
                results.append(pickle.loads(pickle.dumps(there(what))))
                if finished:
                    finished(item)
        return results


class Told:
    """Events that are written down."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        if step == "building shards":
            self.counts.clear()

    def advance(self, count: int) -> None:
        self.counts.append(count)

    def end(self) -> None:
        pass


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    photos(tmp_path / "photos", 6)
    return tiny_recipe(tmp_path, buckets=3, degradations={"noisy": {"variants": 2}, "jpeg-compressed": {}})


@pytest.fixture
def jobs(recipe: Recipe, tmp_path: Path) -> Iterator[list[ShardJob]]:
    with Workspace(tmp_path / "out") as workspace, Stores.open(workspace.out) as stores:
        yield make_jobs(plan_from_stores(recipe, workspace.out, stores, Options()), workspace)


def test_workers_elsewhere_give_the_same_bytes_and_leave_nothing(recipe: Recipe, tmp_path: Path) -> None:
    build(recipe, tmp_path / "plain")
    runner, told = Apart(), Told()
    cv2.setNumThreads(4)
    report = build(recipe, tmp_path / "apart", runner=runner, events=told)
    assert public_files(tmp_path / "apart") == public_files(tmp_path / "plain")
    assert report.samples_written == 18
    assert cv2.getNumThreads() == 1, "a worker builds one shard, and others are beside it"
    assert list((tmp_path / "apart" / ".patina" / "staging").iterdir()) == []
    double: Runner = runner  # and it is one, says mypy
    assert len(told.counts) == len(runner.sent) > double.workers
    assert sum(told.counts) == 18, "progress is told batch by batch"


def test_no_worker_is_started_where_no_shard_is_to_be_built(recipe: Recipe, tmp_path: Path) -> None:
    @contextmanager
    def never() -> Iterator[None]:
        pytest.fail("workers were started")
        yield

    build(recipe, tmp_path / "out")
    (tmp_path / "photos" / "good-000.png").rename(tmp_path / "photos" / "renamed.png")  # the tables alone change
    report = build(recipe, tmp_path / "out", runner=Apart(never))
    assert report.results == ()
    build(recipe, tmp_path / "plain")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "plain")


def test_what_is_sent_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    sizes = []
    for variants in (1, 100):
        recipe = tiny_recipe(tmp_path, degradations={"noisy": {"variants": variants}})
        with Workspace(tmp_path / f"out-{variants:03d}") as workspace, Stores.open(workspace.out) as stores:
            made = make_jobs(plan_from_stores(recipe, workspace.out, stores, Options()), workspace)
            (stored,) = store_batches(make_batches(together(made)), workspace.staging)
            sizes.append(len(pickle.dumps((build_stored, stored))))
            assert sum(len(job.samples) for job in load_batch(stored)) == 3 * variants
    assert abs(sizes[1] - sizes[0]) < 10
    assert sizes[0] < 2000


@pytest.mark.parametrize(
    ("workers", "seconds", "expected"),
    [
        (2, 0.1, 8),  # four for each worker, so that they end together
        (2, 100.0, 20),  # of five seconds each
        (2, 1e6, MAX_BATCHES),
        (64, 1e6, MAX_BATCHES),
        (300, 1e6, 300),  # or some would have nothing to do
    ],
)
def test_how_many_batches(workers: int, seconds: float, expected: int) -> None:
    assert batch_count(workers, seconds) == expected


def test_batches_hold_every_job_once_and_are_of_about_one_size(jobs: list[ShardJob]) -> None:
    for most in range(1, 9):
        batches = make_batches([[job] for job in jobs], most)
        assert len(batches) == min(most, len(jobs))
        assert sorted(job.name for batch in batches for job in batch) == sorted(job.name for job in jobs)
        assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_a_batch_mixes_degradations() -> None:
    """Ten shards of each bucket come in the same order; every tenth would be the same degradation's, the slowest."""
    empty: tuple[Any, ...] = ("", "", (), None, {}, {}, {}, "", "", Storage())
    jobs = [ShardJob("train", entry, b, *empty) for b in range(8) for entry in "abcdefghij"]
    for batch in make_batches([[job] for job in jobs], 20):
        assert len({job.entry for job in batch}) == 2


def test_a_batch_comes_back_as_it_went(jobs: list[ShardJob], tmp_path: Path) -> None:
    stored = store_batches([jobs[:2], jobs[2:]], tmp_path)
    assert [load_batch(batch) for batch in stored] == [jobs[:2], jobs[2:]]
    assert str(stored[0]) == f"{jobs[0].name} and 1 more"
    assert stored[0].samples == sum(len(job.samples) for job in jobs[:2])


def test_batches_of_a_run_that_was_cut_short_are_removed(jobs: list[ShardJob], tmp_path: Path) -> None:
    (tmp_path / "batch-0123.jobs").write_bytes(b"old")
    (kept,) = store_batches([jobs], tmp_path)
    assert [path.name for path in tmp_path.glob("*.jobs")] == [Path(kept.path).name]


@pytest.fixture
def stored(jobs: list[ShardJob], tmp_path: Path) -> StoredBatch:
    (tmp_path / "staging").mkdir()
    return store_batches([jobs], tmp_path / "staging")[0]


def test_a_worker_without_the_datasets_folder_says_what_it_needs(stored: StoredBatch) -> None:
    Path(stored.path).unlink()
    with pytest.raises(BuildError, match=r"No such file or directory.*on a file system that all machines share"):
        load_batch(stored)


def test_other_bytes_than_were_written_are_never_unpickled(stored: StoredBatch, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    Path(stored.path).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BuildError, match="other bytes"):
        load_batch(stored)
    assert not (tmp_path / "sprung").exists()


def test_a_worker_with_other_versions_is_refused(stored: StoredBatch) -> None:
    other = tuple((name, "0.0.1" if name == "numpy" else found) for name, found in stored.versions)
    with pytest.raises(BuildError, match=r"has numpy \S+ \(planned with 0\.0\.1\); the same versions on every machine"):
        load_batch(dataclasses.replace(stored, versions=other))


def test_a_worker_with_another_state_of_the_code_is_refused(stored: StoredBatch) -> None:
    with pytest.raises(BuildError, match=r"another state of patina's code.*install the same patina on every machine"):
        load_batch(dataclasses.replace(stored, code="0123456789abcdef"))


def test_the_codes_digest_is_of_what_makes_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("pipeline/a.py", "synth/degradations/b.py", "flows/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "pipeline" / "builder" / "batches.py"))
    digest = module.code_digest.__wrapped__
    before = digest()
    (tmp_path / "flows" / "c.py").write_text("2")
    assert digest() == before
    (tmp_path / "synth" / "degradations" / "b.py").write_text("2")
    assert digest() != before


def test_a_shard_that_only_the_worker_sees_stops_the_build(recipe: Recipe, tmp_path: Path) -> None:
    """As if a worker's path of the same name were its own disk."""

    class Elsewhere(Apart):
        def map(
            self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
        ) -> list[R]:
            results = super().map(step, function, items, finished)
            next((tmp_path / "out" / ".patina" / "staging").glob("train-0001-noisy.tar.????????????????")).unlink()
            return results

    with pytest.raises(BuildError, match=r"made train-0001-noisy\.tar, but .* is not there as seen from"):
        build(recipe, tmp_path / "out", runner=Elsewhere())
    assert not (tmp_path / "out" / "manifest.json").exists()
    build(recipe, tmp_path / "plain")
    again = build(recipe, tmp_path / "out", runner=Apart())
    assert sum(result.synthesised for result in again.results) < again.samples_written == 18
    assert public_files(tmp_path / "out") == public_files(tmp_path / "plain")


def test_a_torn_shard_is_not_taken_for_a_whole_one(recipe: Recipe, tmp_path: Path) -> None:
    report = build(recipe, tmp_path / "out")
    shard = tmp_path / "shard.tar"
    shard.write_bytes(b"0" * 100)
    with pytest.raises(BuildError, match=rf"100 bytes, not {report.results[0].shard.bytes}"):
        expect_staged([dataclasses.replace(report.results[0], staged=str(shard))])


def test_a_source_that_only_workers_cannot_read_is_not_called_changed(recipe: Recipe, tmp_path: Path) -> None:
    @contextmanager
    def hidden() -> Iterator[None]:
        (tmp_path / "photos").rename(tmp_path / "away")
        yield
        (tmp_path / "away").rename(tmp_path / "photos")

    with pytest.raises(BuildError, match=r"a worker cannot read .*good-00\d\.png as .* does: No such file"):
        build(recipe, tmp_path / "out", runner=Apart(hidden))


def test_a_source_that_changes_meanwhile_is_scanned_again(recipe: Recipe, tmp_path: Path) -> None:
    first = True

    @contextmanager
    def changing() -> Iterator[None]:
        nonlocal first
        if first:
            photo(tmp_path / "photos" / "good-003.png", seed=77)
        first = False
        yield

    build(recipe, tmp_path / "out", runner=Apart(changing))
    build(recipe, tmp_path / "plain")
    assert public_files(tmp_path / "out") == public_files(tmp_path / "plain")


@pytest.mark.parametrize("runner", [None, Apart()])
def test_half_shards_of_killed_workers_do_not_pile_up(recipe: Recipe, tmp_path: Path, runner: Runner | None) -> None:
    staging = tmp_path / "out" / ".patina" / "staging"
    staging.mkdir(parents=True)
    half = staging / "train-0000-noisy.tar.0123456789abcdef.01234567.tmp"
    half.write_bytes(b"cut short")

    class Full(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        assert not half.exists()
        raise Full

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("patina.pipeline.builder.jobs.build_together", stop)
        with pytest.raises(Full):
            build(recipe, tmp_path / "out", runner=runner)


@pytest.mark.parametrize(("address", "mode"), [("https://anna:word@host/a.png", 0o600), ("https://host/a.png", None)])
def test_jobs_with_a_secret_are_this_users_alone_and_gone_after_the_build(
    tmp_path: Path, address: str, mode: int | None
) -> None:
    photos(tmp_path / "photos", 2, 24, 16)
    recipe = tiny_recipe(tmp_path)
    with Workspace(tmp_path / "out") as workspace, Stores.open(workspace.out) as stores:
        jobs = make_jobs(plan_from_stores(recipe, workspace.out, stores, Options()), workspace)
        sample = jobs[0].samples[0]
        told = dataclasses.replace(sample, source=dataclasses.replace(sample.source, path=address))
        (batch,) = store_batches([[dataclasses.replace(jobs[0], samples=(told,))]], workspace.staging)
        plain = tmp_path / "plain"
        plain.touch()
        assert Path(batch.path).stat().st_mode & 0o777 == (mode or plain.stat().st_mode & 0o777)
        remove_batches([batch])
        assert not list(workspace.staging.glob("*.jobs"))
    build(recipe, tmp_path / "out", runner=Apart())
    assert not list((tmp_path / "out" / ".patina" / "staging").iterdir())
