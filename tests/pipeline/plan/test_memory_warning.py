"""What a build says beforehand where its workers will not fit into memory."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from patina.pipeline import machine
from patina.pipeline.plan import planning
from patina.pipeline.plan.cost import DECODING, SYNTHESIS, WORKER_BYTES, memory_warning
from patina.pipeline.plan.planning import Options, plan_build
from tests.pipeline.making import photo, photos, tiny_recipe


def test_the_largest_photographs_count_one_for_each_worker(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3, 64, 48)
    photo(tmp_path / "photos" / "large.png", 400, 300, seed=9)
    planned = plan_build(tiny_recipe(tmp_path), tmp_path / "out", Options())
    shards = [step.shard for step in planned.plan.build]
    small, large = (WORKER_BYTES + area * (DECODING + SYNTHESIS) for area in (64 * 48, 400 * 300))
    assert memory_warning(planned.wanted, shards, 1, large) == ""
    assert memory_warning(planned.wanted, shards, 2, large + small) == ""
    assert "build with --workers 1, or cut" in memory_warning(planned.wanted, shards, 2, large + small - 1)
    assert "build with --workers 1, or cut" in memory_warning(planned.wanted, shards, 1, large - 1)
    assert "build with --workers 3, or cut" in memory_warning(planned.wanted, shards, 9, large + 3 * small - 1)
    assert memory_warning(planned.wanted, shards, 9, 0) == "", "nothing tells what there is"
    assert memory_warning(planned.wanted, [], 9, 1) == "", "nothing is made"


def test_of_tiles_only_the_tile_is_degraded(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "large.png", 400, 300)
    planned = plan_build(tiny_recipe(tmp_path, tiles={"size": 64}), tmp_path / "out", Options())
    shards, need = (
        [step.shard for step in planned.plan.build],
        WORKER_BYTES + 400 * 300 * DECODING + 64 * 64 * SYNTHESIS,
    )
    assert memory_warning(planned.wanted, shards, 1, need) == ""
    assert memory_warning(planned.wanted, shards, 1, need - 1)


def test_it_is_said_once_and_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "photos", 2)
    monkeypatch.setattr(planning, "available_memory", lambda: 123_456_789)
    planning._warn_of_memory.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            planned = plan_build(tiny_recipe(tmp_path), tmp_path / "out", Options(workers=2))
    assert [record.message.partition(" of memory")[0] for record in caplog.records] == ["2 workers may want 400 MB"]
    assert planned.notes == (), "what a machine has is no note of a dataset"


def test_what_the_machine_has_is_known() -> None:
    free = machine.available_memory()
    assert free == 0 or 1 << 20 < free < 1 << 50
