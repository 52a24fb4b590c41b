"""What a run's folder says of each stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from patina.training.checkpoints.files import DONE, MODEL, SAMPLES, STAGE, trained_by
from patina.training.checkpoints.resume import STATE, StageFolder
from patina.training.errors import StageError
from patina.training.evaluation.paper_tables import in_papers_order
from patina.training.numbers import Row, as_number, as_texts, read_object
from patina.training.stages.plan import parse_table
from patina.training.stages.stage import Objective, Stage

EVALUATION, PICTURES = "evaluation.json", "evaluation"
"""In a stage's folder: what the evaluation found, and the folder of its pictures."""


@dataclass(frozen=True)
class Record:
    """One stage of a run as its folder tells it.

    stage       its settings, None where they cannot be read.
    dataset     the digest of the dataset that it is trained on, empty if unknown.
    holder      the process that trains it now, empty if none does.
    begun       whether it has a folder. images: to see in all, 0 if unknown. seen: so far.
    resumes     images after which a start would go on; 0: from the beginning.
    training    lines of metrics.jsonl about steps, and scores: those about validations, both by images seen.
    done        what done.json says, None while the stage is not finished.
    model       whether model.safetensors is there.
    evaluation  as evaluation.json has it, None without one.
    pictures    files to show. troubles: what could not be read.
    """

    name: str
    path: Path
    stage: Stage | None = None
    dataset: str = ""
    holder: str = ""
    begun: bool = False
    images: int = 0
    seen: int = 0
    resumes: int = 0
    training: list[Row] = field(default_factory=list)
    scores: list[Row] = field(default_factory=list)
    done: Row | None = None
    model: bool = False
    evaluation: Row | None = None
    pictures: list[Path] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """How far it came."""
        if self.done is not None:
            return "finished"
        if not self.begun and not self.holder:
            return "not begun"
        images = f"{self.images:,}" if self.images else "an unknown number of"
        return f"{'running' if self.holder else 'stopped'} at {self.seen:,} of {images} images"

    @property
    def notes(self) -> list[str]:
        """What the training noted, such as memory that ran out."""
        told = as_texts(self.done.get("notes")) if self.done else []
        return [note.removeprefix(f"stage {self.name}: ") for note in told]

    @property
    def what(self) -> str:
        """What its validation measures: `psnr`, `accuracy`, or nothing."""
        held = {name for row in self.scores for name in row}
        return next((what for what in ("psnr", "accuracy") if f"val_{what}" in held), "")

    @cached_property
    def pace(self) -> tuple[float, float, float]:
        """Seconds in steps, images a second in them, and the share of the seconds that waited for data; NaN if unknown.

        Summed over the lines, so that stops and restarts do not count.
        """
        seconds = waited = 0.0
        images, before = 0.0, 0.0
        for row in self.training:
            speed, seen = as_number(row.get("images_per_s")), float(row["seen"])
            if speed and speed > 0:
                images += seen - before
                seconds += (seen - before) / speed
                waited += (seen - before) / speed * (as_number(row.get("waited")) or 0.0)
            before = seen
        return (seconds, images / seconds, waited / seconds) if seconds else (math.nan, math.nan, math.nan)

    @property
    def seconds(self) -> float:
        """How long it took: the longer of the last start and of all steps, as the one lacks restarts, the other
        validations. NaN if unknown."""
        last = as_number(self.done.get("seconds")) if self.done else None
        known = [s for s in (last, self.pace[0]) if s is not None and math.isfinite(s)]
        return max(known, default=math.nan)


def read_run(
    run: Path, plan: Mapping[str, Stage] | None = None, evaluations: Mapping[str, Row] | None = None
) -> list[Record]:
    """The stages of a run, each after the one that it starts from. Raises StageError for a folder that is no run."""
    if not run.is_dir():
        raise StageError(f"{run}: no such folder; expected the folder of a run, with a folder for each stage")
    held = sorted(p.parent for p in run.glob(f"*/{STAGE}") if not p.parent.name.endswith(".before"))
    if not held and not plan:
        raise StageError(f"{run}: no run: none of its folders has a {STAGE}; train a stage first")
    found = {path.name: _record(path) for path in held}
    for name, stage in (plan or {}).items():
        if name not in found:
            holder = trained_by(run / name)
            found[name] = Record(name, run / name, stage, images=_images(stage), holder=holder)
    records = _ordered(found, [*(plan or {}), *sorted(found)], run)
    given = evaluations or {}
    return [replace(r, evaluation=given[r.name]) if r.name in given else r for r in records]


def _ordered(found: Mapping[str, Record], names: Iterable[str], run: Path) -> list[Record]:
    """Records in the order of `names`, but each after the one that it starts from, which may have no folder."""
    done: dict[str, Record] = {}

    def put(name: str, waiting: tuple[str, ...]) -> None:
        if name in done or name in waiting:
            return
        record = found.get(name, Record(name, run / name))
        if record.stage and record.stage.after and not record.stage.is_steered_by_file:
            put(record.stage.after, (*waiting, name))
        done[name] = record

    for name in names:
        put(name, ())
    return list(done.values())


def _record(path: Path) -> Record:
    """A stage from its folder."""
    folder, troubles = StageFolder(path), list[str]()
    held = read_object(path / STAGE, troubles)
    stage = None
    try:
        stage = parse_table(held["stage"], path.name)
    except (KeyError, TypeError, StageError) as error:
        if held:
            troubles.append(f"{STAGE}: {error}" if isinstance(error, StageError) else f"{STAGE} lacks the settings")
    done: Row | None = read_object(path / DONE, troubles) if (path / DONE).exists() else None
    if done and done.get("fingerprint") != held.get("fingerprint"):
        troubles.append(f"{DONE} is of another training than {STAGE}; start the stage again")
        done = None
    model = (path / MODEL).is_file()
    if done and not model:
        troubles.append(f"{DONE} says that the stage is finished, but there is no {MODEL}; start the stage again")
        done = None
    try:
        rows = [row for row in folder.rows() if isinstance(row, dict) and as_number(row.get("seen")) is not None]
    except (OSError, ValueError) as error:
        rows = []
        troubles.append(f"metrics.jsonl cannot be read: {error}")
    rows.sort(key=lambda row: float(row["seen"]))
    states = [int(m[1]) for p in folder.states() if (m := STATE.fullmatch(p.name))]
    evaluation = (read_object(path / EVALUATION, troubles) or None) if (path / EVALUATION).exists() else None
    return Record(
        path.name,
        path,
        stage,
        dataset=str(held.get("dataset", "")),
        holder=trained_by(path),
        begun=True,
        images=_images(stage) if stage else 0,
        seen=max([*states, *(int(row["seen"]) for row in rows)], default=0),
        resumes=max(states, default=0),
        training=[row for row in rows if "loss" in row],
        scores=[row for row in rows if any(name.startswith("val_") for name in row)],
        done=done or None,
        model=model,
        evaluation=evaluation,
        pictures=_pictures(path, stage.objective if stage else None),
        troubles=troubles,
    )


def _pictures(path: Path, objective: Objective | None) -> list[Path]:
    """The latest validation's picture, and those of the evaluation, which go by their entries."""
    latest = sorted((path / SAMPLES).glob("*.png"))[-1:]
    files = sorted(p for p in (path / PICTURES).glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    order = in_papers_order({p.stem for p in files}, objective)
    return [*latest, *sorted(files, key=lambda p: order.index(p.stem))]


def _images(stage: Stage) -> int:
    """Images that it will have seen at its end: whole batches."""
    return stage.steps * stage.data.batch


def run_name(run: Path) -> str:
    """What a run is called: its folder."""
    return run.resolve().name or "run"
