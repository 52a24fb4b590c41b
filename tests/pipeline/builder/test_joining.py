"""Shards whose parts are made apart: the same bytes as in one go, whatever became of the parts meanwhile."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder import groups, jobs
from patina.pipeline.builder.build import build
from patina.pipeline.builder.groups import runs_of
from patina.pipeline.builder.job import PART, ShardJob, ShardResult
from patina.pipeline.builder.jobs import build_shards, make_jobs
from patina.pipeline.builder.processes import Processes
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.builder.samples import MadeSample, SampleMaker
from patina.pipeline.builder.shards import build_shard, build_together, counted, index_of, join, join_batch
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.hashing import file_sha256
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.plan.wanted import WantedSample
from patina.pipeline.progress import Silent
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.reading import SourceChangedError
from tests.pipeline.making import photo, photos, public_files, tiny_recipe

TABLES = {"noisy": {"variants": 2}, "hazy": {}, "jpeg-compressed": {}}
PHOTOS, SAMPLES = 6, 24


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    photos(tmp_path / "photos", PHOTOS)
    return tiny_recipe(tmp_path, degradations=TABLES)


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph of some pixels is enough of a run here."""
    monkeypatch.setattr(groups, "SHORTEST", 1e-9)
    monkeypatch.setattr(groups, "COPY_SECONDS_PER_BYTE", 0.0)  # joining costs nothing


@pytest.fixture
def made(recipe: Recipe, tmp_path: Path) -> Iterator[list[ShardJob]]:
    with Workspace(tmp_path / "out") as workspace, Stores.open(workspace.out) as stores:
        yield make_jobs(plan_from_stores(recipe, workspace.out, stores, Options()), workspace)


def parts_of(group: list[ShardJob]) -> dict[str, list[ShardResult]]:
    """The parts of these jobs, made, by the shard's name; of two photographs each."""
    found: dict[str, list[ShardResult]] = {}
    runs = runs_of(group, groups.seconds_of(group, {}) / 3)
    assert len(runs) == 3
    for run in runs:
        for result in build_together(run):
            assert isinstance(result, ShardResult) and result.is_part
            found.setdefault(result.shard.name, []).append(result)
    return found


def joined(job: ShardJob, parts: list[ShardResult]) -> ShardResult:
    (result,) = join_batch([join(job, parts)])
    assert isinstance(result, ShardResult)
    return counted(result, parts)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    stat = path.stat()
    path.write_bytes(data)
    assert path.stat().st_size == stat.st_size


@pytest.mark.parametrize(
    "runner",
    [Threads(2), Threads(5), pytest.param(Processes(2), marks=pytest.mark.slow)],
    ids=lambda r: type(r).__name__,
)
def test_the_same_bytes_and_counts_as_in_one_go(
    recipe: Recipe, tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(recipe, tmp_path / "alone")
    joins: list[str] = []
    real = jobs.join

    def told(job: ShardJob, parts: list[ShardResult]) -> ShardJob:
        joins.append(job.name)
        return real(job, parts)

    monkeypatch.setattr(jobs, "join", told)
    result = build(recipe, tmp_path / "together", runner=runner)
    assert len(joins) == 3
    assert public_files(tmp_path / "together").keys() == public_files(tmp_path / "alone").keys()
    for name, path in public_files(tmp_path / "together").items():
        assert path.read_bytes() == public_files(tmp_path / "alone")[name].read_bytes(), name
    counts = [(one.synthesised, one.captioned, one.copied) for one in result.results]
    assert [sum(count) for count in zip(*counts, strict=True)] == [SAMPLES, 0, 0]
    assert all(one.seconds > 0 for one in result.results)
    assert list((tmp_path / "together" / ".patina" / "staging").iterdir()) == []


def test_tiles_and_copies_come_together_too(tmp_path: Path) -> None:
    photos(tmp_path / "photos", PHOTOS, 96, 64)
    recipe = tiny_recipe(tmp_path, degradations=TABLES, tiles={"size": 32})
    build(recipe, tmp_path / "out", runner=Threads(2))
    photo(tmp_path / "photos" / "good-002.png", 96, 64, seed=77)
    result = build(recipe, tmp_path / "out", runner=Threads(2))
    assert sum(one.synthesised for one in result.results) == 4 * 6
    assert sum(one.copied for one in result.results) == 4 * 6 * (PHOTOS - 1)
    build(recipe, tmp_path / "anew")
    for name, path in public_files(tmp_path / "anew").items():
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes()


def test_a_part_has_no_digest_and_is_gone_once_it_is_joined(made: list[ShardJob]) -> None:
    parts = parts_of(made)
    for job in made:
        own = parts[job.name]
        assert all(index_of(Path(part.staged)).exists() for part in own)
        whole = joined(job, own)
        assert whole.shard.sha256 == file_sha256(job.staged) and not whole.is_part
        assert [row.key for row in whole.rows] == [sample.key for sample in job.samples]
        assert not any(Path(part.staged).exists() or index_of(Path(part.staged)).exists() for part in own)


@pytest.mark.parametrize("fault", ["rotten", "written again", "gone"])
def test_what_is_not_as_it_was_made_is_made_anew(
    made: list[ShardJob], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = made[0]
    own = parts_of(made)[job.name]
    middle = Path(own[1].staged)
    task = join(job, own)
    if fault == "gone":
        middle.unlink()
    else:
        flip(middle, own[1].rows[0].offset + 700)
    if fault == "rotten":  # what rots changes no time
        task = join(job, own)
    with caplog.at_level(logging.WARNING):
        (result,) = join_batch([task])
    assert isinstance(result, ShardResult)
    assert result.synthesised == {"rotten": 1, "written again": 4, "gone": 4}[fault]
    assert counted(result, own).synthesised == len(job.samples), "each counts once"
    digest = result.shard.sha256
    job.staged.unlink()
    index_of(job.staged).unlink()
    assert build_shard(job).shard.sha256 == digest


def test_parts_that_an_earlier_run_made_are_used(made: list[ShardJob]) -> None:
    first = parts_of(made)
    again = parts_of(made)
    for name, own in again.items():
        assert [part.copied for part in own] == [len(part.rows) for part in own]
        assert [dataclasses.replace(part, copied=0, synthesised=0, seconds=0) for part in own] == [
            dataclasses.replace(part, copied=0, synthesised=0, seconds=0) for part in first[name]
        ]
    Path(again[made[0].name][0].staged).write_bytes(b"half")
    assert parts_of(made)[made[0].name][0].synthesised > 0


def test_a_shard_that_an_earlier_run_joined_is_not_made_in_parts_again(
    made: list[ShardJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = joined(made[0], parts_of(made)[made[0].name])
    results = [one for batch in build_shards(made, 0, Threads(2), made[0].staged.parent, Silent()) for one in batch]
    assert {one.shard.name for one in results if isinstance(one, ShardResult)} == {job.name for job in made}
    (again,) = (one for one in results if isinstance(one, ShardResult) and one.shard == done.shard)
    assert (again.copied, again.synthesised) == (len(made[0].samples), 0)


def test_a_shard_is_not_joined_whose_source_changed_in_one_run(made: list[ShardJob], tmp_path: Path) -> None:
    photo(Path(made[0].samples[-1].source.path), seed=50)
    results = [one for batch in build_shards(made, 0, Threads(2), made[0].staged.parent, Silent()) for one in batch]
    assert [type(one) for one in results] == [SourceChangedError] * 3


# ---------------------------------------------------------------------------------------------------------------------
# After an interruption


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each sample was made, by its key."""
    found: Counter[str] = Counter()
    real = SampleMaker.sample

    def told(maker: SampleMaker, sample: WantedSample) -> MadeSample:
        before = maker.synthesised
        made = real(maker, sample)
        found[sample.key] += maker.synthesised - before
        return made

    monkeypatch.setattr(SampleMaker, "sample", told)
    return found


def breaking(real: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function, whose call behind the first `count` ones meets a full disk."""
    calls = iter(range(count))

    def broken(*given: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given, **named)

    return broken


def filled_up(
    recipe: Recipe,
    folder: Path,
    synthesised: Counter[str],
    patch: pytest.MonkeyPatch,
    step: str,
    count: int,
    workers: int,
) -> Path:
    """A build that meets a full disk in a step, behind its first `count` calls; beside it one in one go, `alone`. Runs
    are of two photographs and more, by the number of workers."""
    patch.setattr(groups, "RUNS", 1)
    build(recipe, folder / "alone")
    synthesised.clear()
    with patch.context() as now:
        now.setattr(jobs, step, breaking(getattr(jobs, step), count))
        with pytest.raises(OutputError):
            build(recipe, folder / "out", runner=Threads(workers))
    return folder / "out"


class Seen(Silent):
    """How far the shards came."""

    total = done = 0

    def begin(self, stage: str, total: int, unit: str) -> None:
        self.total, self.done = total, 0

    def advance(self, count: int) -> None:
        self.done += count


def index(path: Path) -> Any:
    return json.loads(path.read_text().partition("\n")[2])


def left_in(out: Path) -> list[str]:
    return sorted(path.name for path in (out / ".patina" / "staging").iterdir())


@pytest.mark.parametrize("joined_before", [0, 2])
@pytest.mark.parametrize(
    ("first", "then"),
    [(2, Threads(5)), (3, Threads(1)), pytest.param(2, Processes(2), marks=pytest.mark.slow)],
    ids=["more", "one", "processes"],
)
def test_after_a_full_disk_while_joining_no_sample_is_made_twice(
    recipe: Recipe,
    tmp_path: Path,
    synthesised: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    joined_before: int,
    first: int,
    then: Runner,
) -> None:
    out = filled_up(recipe, tmp_path, synthesised, monkeypatch, "join_batch", joined_before, first)
    assert len(synthesised) == SAMPLES and any(name.endswith(PART) for name in left_in(out))
    seen = Seen()
    result = build(recipe, out, runner=then, events=seen)
    assert set(synthesised.values()) == {1}
    assert (seen.total, seen.done) == (SAMPLES, SAMPLES)
    assert sum(one.copied for one in result.results) == SAMPLES
    assert left_in(out) == []
    for name, path in public_files(tmp_path / "alone").items():
        assert (out / name).read_bytes() == path.read_bytes(), name


@pytest.mark.parametrize(("first", "then"), [(2, 5), (3, 1)])
def test_what_was_in_a_finished_part_is_not_made_again(
    recipe: Recipe,
    tmp_path: Path,
    synthesised: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    then: int,
) -> None:
    out = filled_up(recipe, tmp_path, synthesised, monkeypatch, "build_batch", 1, first)
    staging = out / ".patina" / "staging"
    there = {row["key"] for path in staging.glob(f"*{PART}.json") for row in index(path)["rows"]}
    assert 0 < len(there) < SAMPLES
    build(recipe, out, runner=Threads(then))
    assert len(synthesised) == SAMPLES and {synthesised[key] for key in there} == {1}
    assert left_in(out) == []
    for name, path in public_files(tmp_path / "alone").items():
        assert (out / name).read_bytes() == path.read_bytes(), name


def test_parts_that_nobody_joins_make_room_before_anything_is_made(
    made: list[ShardJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = made[0].staged.parent
    own = parts_of(made)
    torn, lonely, rotten = (Path(own[job.name][0].staged) for job in made)
    torn.write_bytes(b"half")
    index_of(lonely).unlink()
    flip(index_of(rotten), 100)
    earlier = dataclasses.replace(made[0], fingerprint="0" * 64).part_of(made[0].samples[:2])
    build_shard(earlier)
    done = made[1]
    build_shard(done)  # killed before its parts went
    again = made[2].part_of(made[2].samples[:5])
    build_shard(again)  # by a worker of a run that was killed: some of it lies in two parts
    seen: list[set[Path]] = []
    real = jobs.build_batch

    def told(batch: list[ShardJob], *given: Any, **named: Any) -> Any:
        seen.append(set(staging.glob("*.part*")))
        return real(batch, *given, **named)

    monkeypatch.setattr(jobs, "build_batch", told)
    monkeypatch.setattr(groups, "DIVIDED", 0)  # nothing is divided any more
    results = [one for batch in build_shards(made, 0, Threads(1), staging, Silent()) for one in batch]
    keys = {one.shard.name: [row.key for row in one.rows] for one in results if isinstance(one, ShardResult)}
    assert keys == {job.name: [sample.key for sample in job.samples] for job in made}
    gone = {torn, lonely, rotten, earlier.staged, *(Path(part.staged) for part in own[done.name])}
    assert not seen[0] & (gone | set(map(index_of, gone)))
    assert Path(own[made[0].name][1].staged) in seen[0]
    assert not list(staging.glob("*.part*"))
    digests = {one.shard.name: one.shard.sha256 for one in results if isinstance(one, ShardResult)}
    for job in made:
        job.staged.unlink()
        assert build_shard(job).shard.sha256 == digests[job.name]


def test_a_parts_name_is_as_short_for_a_shard_with_a_long_one(made: list[ShardJob]) -> None:
    long = dataclasses.replace(made[0], entry="x" * 200)
    parts = [job.part_of(job.samples[:3]) for job in (made[0], long)]
    assert parts[0].staged != parts[1].staged
    assert [len(index_of(part.staged).name) for part in parts] == [51, 51]
    assert build_shard(parts[1]).is_part


def test_counts_are_of_samples_whatever_rotted(made: list[ShardJob]) -> None:
    job = made[0]
    parts_of(made)
    own = parts_of(made)[job.name]  # found there
    flip(Path(own[1].staged), own[1].rows[0].offset + 700)
    result = joined(job, own)
    assert (result.synthesised, result.captioned, result.copied) == (1, 0, len(job.samples) - 1)
