"""A run: the stages of a plan one after the other, each in a process of its own, skipped where nothing changed.

    plan, dataset ─► plan_stages(): done | goes on | to train ─► run_stage(): … patina.training.loop ─► model

A crash of CUDA or a lack of memory ends the stage's process and not this one; the next attempt goes on from the last
state. Imports no torch: what asks and waits for stages stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from patina.training.checkpoints.files import (
    DONE,
    LOCK_SECONDS,
    STAGE,
    digests_of,
    model_digest,
    read_table,
    trained_by,
)
from patina.training.data.dataset import dataset_manifest
from patina.training.stages.stage import Stage, from_stored


@dataclass(frozen=True)
class StagePlan:
    """A stage and what is to be done: `done`, `goes on` after `seen` images, or `train`; and why.

    holder  the process that trains it now, empty if none does.
    """

    stage: Stage
    what: Literal["done", "goes on", "train"]
    why: str
    seen: int = 0
    holder: str = ""

    @property
    def state(self) -> str:
        """What is done, or `running` where another process is at it."""
        return "running" if self.holder else self.what


def plan_stages(plan: Mapping[str, Stage], dataset: Path, run: Path) -> list[StagePlan]:
    """What a run would do now, without doing it. Raises StageError for a dataset that is none."""
    digest = dataset_manifest(dataset).digest
    found: dict[str, StagePlan] = {}
    for name, stage in plan.items():
        folder, before = run / name, found.get(stage.after)
        if before and before.what != "done":
            found[name] = StagePlan(stage, "train", f"{stage.after} is trained first")
            continue
        steering, weights = digests_of(stage, run)
        fingerprint = stage.fingerprint(digest, steering, weights)
        if read_table(folder / DONE).get("fingerprint") == fingerprint and model_digest(folder):
            found[name] = StagePlan(stage, "done", "settings, dataset and start are as they were", stage.max_images)
        elif read_table(folder / STAGE).get("fingerprint") == fingerprint:
            seen = max((int(p.stem.removeprefix("state-")) for p in folder.glob("state-*.safetensors")), default=0)
            found[name] = StagePlan(stage, "goes on" if seen else "train", f"stopped after {seen:,} images", seen)
        else:
            found[name] = StagePlan(stage, "train", _difference(folder, stage, digest, (steering, weights)))
    return [_with_holder(item, run) for item in found.values()]


def _with_holder(item: StagePlan, run: Path) -> StagePlan:
    """The same, with the process that trains the stage now, if one does."""
    holder = "" if item.what == "done" else trained_by(run / item.stage.name)
    if not holder:
        return item
    why = f"{holder} trains it now; a start waits for it, {LOCK_SECONDS} s at the most, and then gives up"
    return replace(item, holder=holder, why=why)


def _difference(folder: Path, stage: Stage, dataset: str, start: tuple[str, str]) -> str:
    held = read_table(folder / STAGE)
    if not held:
        return "not trained yet"
    earlier = held.get("stage")
    before = from_stored(earlier) if isinstance(earlier, dict) else {}
    changed = [k for k, v in stage.file_table().items() if k not in before or before[k] != v]
    if changed:
        return f"its {', '.join(changed)} changed"
    if held.get("dataset") != dataset:
        return "the dataset changed"
    if held.get("start") != start[0]:
        return f"{stage.after} {'is another file' if stage.is_steered_by_file else 'was trained anew'}"
    same = held.get("weights", "") == start[1]
    return "it was made by another version" if same else f"{stage.start} is another file"
