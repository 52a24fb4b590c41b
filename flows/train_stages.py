"""The flow `train-stages`: plan → each stage in turn, where it is stale → report.

Each stage is a task that starts the loop in a process of its own, under a lease on the limit `gpu`; its lines go to
Prefect's log. What is trained, and in which order, stands in `patina.training.runs.plan`; Prefect's result cache stays
off: the stages' fingerprints decide what is stale, and a rerun is the way to resume.

    patina.stage.trained   payload: run, stage, model, digest, dataset, manifest, seen, seconds, best

The resource is `patina.run.` and the run's folder. A model is announced once: RUN/STAGE/announced.json says which, so
that a run that was killed after training leaves it to the next one.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import PIL.Image
from prefect import flow, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.assets import Asset, AssetProperties, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from patina.flows.artifacts import PrefectEvents, record, server_answers
from patina.flows.build_dataset import watcher
from patina.flows.events import absolute, asset_key
from patina.flows.gpu import lease
from patina.pipeline.progress import Events
from patina.pipeline.text import human_seconds
from patina.training.checkpoints.files import DONE, MODEL, model_digest, write_text
from patina.training.data.dataset import open_dataset
from patina.training.errors import StageCrashedError, StageError
from patina.training.jobs.evaluation import PICTURES, SUMMARY, Outcome, outcome, run_report
from patina.training.jobs.stage import Device, gpus, processes_of, run_stage
from patina.training.runs.plan import Todo, todo
from patina.training.stages.plan import chosen, load_plan
from patina.training.stages.stage import Stage

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

STAGE_TRAINED = "patina.stage.trained"
RESOURCE = "patina.run."
ANNOUNCED = "announced.json"

RETRIES, PAUSE = 2, 10.0
"""Further tries of a stage whose process died, and seconds before each: it goes on from its last state."""

INTERVAL = 10.0
"""Seconds at the least between two lines of progress in a log, and between two updates of a progress artifact."""

PROGRESS = re.compile(r"(?P<what>.+) (?P<seen>[\d,]+) of (?P<total>[\d,]+) images, ")
"""How a line of progress begins, of a stage's process and of an evaluation's."""

RESULT = '{"seen": '
"""How the loop's last line begins, which is for programs."""

SIDE = 1600
"""Largest side of a picture in an artifact, px."""

Hear: TypeAlias = Callable[[str], None]

_hearer: ContextVar[Hear | None] = ContextVar("hearer", default=None)


@contextmanager
def heard_by(hear: Hear) -> Iterator[None]:
    """Within it `hear` gets the lines of the processes that flows of this process start, from any thread."""
    token = _hearer.set(hear)
    try:
        yield
    finally:
        _hearer.reset(token)


class TrainingEvents(PrefectEvents):
    """Progress of something long."""

    INTERVAL = INTERVAL


class Lines:
    """The lines of a stage's or an evaluation's process, to a log and to whom `heard_by` named; and how far it is, to
    `events`. Of lines of progress at most one in `INTERVAL` seconds."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[Any], events: Events, seen: int = 0) -> None:
        self._log, self._events, self._hear = log, events, _hearer.get()
        self._seen, self._told = seen, -math.inf

    def __call__(self, line: str) -> None:
        """One line. May come from another thread than the task's, one at a time."""
        found = PROGRESS.match(line)
        if found:
            seen = int(found["seen"].replace(",", ""))
            self._events.advance(max(0, seen - self._seen))
            self._seen = max(seen, self._seen)
            if time.monotonic() - self._told < INTERVAL:
                return
            self._told = time.monotonic()
        if line.startswith(RESULT):
            return
        self._log.info("%s", line)
        if self._hear:
            self._hear(line)


def tell(line: str) -> None:
    """A line of a flow's own, to its log and to whom `heard_by` named."""
    get_run_logger().info("%s", line)
    if hear := _hearer.get():
        hear(line)


@dataclass(frozen=True)
class Trained:
    """What a run has now. skipped: stages that were left alone, as nothing had changed."""

    run: Path
    outcomes: tuple[Outcome, ...]
    skipped: tuple[str, ...]
    report: Path | None = None


@flow(name="train-stages", flow_run_name="train {plan} on {dataset} in {run}", persist_result=False)
def train_stages(
    dataset: Annotated[str, Field(min_length=1)],
    run: Annotated[str, Field(min_length=1)],
    plan: Annotated[str, Field(min_length=1)] = "tiny",
    stages: Sequence[str] = (),
    cpu: bool = False,
    processes: Annotated[int, Field(ge=0)] = 0,
    workers: Annotated[int, Field(ge=-1)] = -1,
    threads: Annotated[int, Field(ge=0)] = 0,
    compile: bool = False,
    pieces: Annotated[int, Field(ge=1)] = 1,
    patience: Annotated[float, Field(ge=10)] = 1800.0,
) -> Trained:
    """Train the stages of a plan that are not finished, each from where it stands, and report.

    Args:
        dataset: The dataset's folder.
        run: The folder of the run, with a folder for each stage.
        plan: One that comes with patina, such as tiny or paper, a folder of TOML files, or one file.
        stages: Stages to train, with those that they start from; empty for all.
        cpu: Whether GPUs are left alone.
        processes: Processes that train a stage together; 0 for one on each GPU, or one on the CPU.
        workers: Processes that read ahead, for each of these; -1 for as many as suit.
        threads: Threads of each process on a CPU; 0 for its share of the cores.
        compile: Whether networks are compiled by torch.compile.
        pieces: Into how many parts a process's batch is split, to save memory.
        patience: Seconds without a sign of life after which a stage's process is taken for hung and ended.
    """
    wanted = chosen(load_plan(plan), stages)
    open_dataset(dataset)  # as it was given: a path would make a folder's name of an address
    device = Device(processes, workers, threads, cpu, compile, pieces, patience)
    skipped = train_plan(wanted, Path(dataset), Path(run), device)
    page = report(Path(run), Path(dataset), wanted, skipped)
    return Trained(Path(run), tuple(outcome(Path(run), stage) for stage in wanted.values()), skipped, page)


def train_plan(plan: Mapping[str, Stage], dataset: Path, run: Path, device: Device) -> tuple[str, ...]:
    """Train what is stale of a plan, stage by stage, within a flow; gives the names of stages that were left alone.

    Raises StageError before any work for what cannot be trained, and for what a stage's process refuses;
    StageCrashedError once a stage's process has died too often.
    """
    items = todo(plan, dataset, run)
    expect_trainable(items, dataset, device)
    record("the plan", lambda: _plan_artifact(items, dataset, run))
    skipped, waits = [], False
    for name, stage in plan.items():
        # asked anew: a stage before it may have come out as it was
        item = next(item for item in todo(plan, dataset, run) if item.stage.name == name)
        if item.what == "done":
            tell(f"{name}: skipped, as its {item.why}")
            skip_stage(f"skip {name}", item.why)
            skipped.append(name)
        else:
            tell(f"{label(item)}: {item.why}")
            train_stage(label(item), item, dataset, run, device, warn=not waits)
            waits = True
        announce(stage, dataset, run)
    return tuple(skipped)


def label(item: Todo) -> str:
    """What is done now, in words."""
    if item.what == "goes on":
        return f"continue {item.stage.name} after {item.seen:,} of {item.stage.images:,} images"
    return f"train {item.stage.name} on {item.stage.images:,} images"


def expect_trainable(items: Sequence[Todo], dataset: Path, device: Device) -> None:
    """Raise StageError if the dataset or this machine lacks what a stage that is to be trained wants."""
    if not device.cpu and 0 < gpus() < device.processes:
        raise StageError(
            f"{device.processes} processes want as many GPUs, and this machine shows {gpus()}; ask for fewer"
        )
    stages = [item.stage for item in items if item.what != "done"]
    if not stages:
        return
    from patina.training.data.batches import Plan, order_of, read_index

    for stage in stages:
        data = stage.data
        try:
            index = read_index(dataset, "train", data.entries)
            order_of(index, data, stage.seed)
            if stage.validation.every:
                read_index(dataset, "val", data.entries)
            Plan(0, stage.images, data.batch, 0, processes_of(device), device.pieces)
        except StageError as error:
            raise StageError(f"stage {stage.name}: {error}") from None
        if data.batch > len(index):
            raise StageError(
                f"stage {stage.name}: a batch of {data.batch}, and {dataset} has {len(index)} samples to train on; "
                "lower data.batch, or build more"
            )


def after_crash(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """A task's `retry_condition_fn`: its process died, and nobody must mend anything."""
    del task, run
    return isinstance(state.data, StageCrashedError)


@task(
    task_run_name="{label}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=PAUSE,
    retry_condition_fn=after_crash,
)
def train_stage(label: str, item: Todo, dataset: Path, run: Path, device: Device, warn: bool = True) -> Path:
    """Train one stage in a process of its own, from where it stands; gives its model."""
    stage = item.stage
    with nullcontext() if device.cpu else lease("training", say=warn):
        (now,) = todo({stage.name: stage}, dataset, run)  # a further try goes on from a later state
        events = TrainingEvents(watcher())
        events.begin(label, max(1, stage.images - now.seen), "images")
        model = run_stage(stage, dataset, run, device, Lines(get_run_logger(), events, now.seen))
        events.end()
    record("what was trained", lambda: _result_artifact(outcome(run, stage), run))
    return model


@task(task_run_name="{label}", cache_policy=NO_CACHE, persist_result=False)
def skip_stage(label: str, why: str) -> State[None]:
    """Nothing: it stands in the flow run, and says why."""
    del label
    return Completed(name="Skipped", message=why)


@task(
    task_run_name="report",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=PAUSE,
    retry_condition_fn=after_crash,
)
def report(run: Path, dataset: Path, plan: Mapping[str, Stage] | None = None, skipped: Sequence[str] = ()) -> Path:
    """Write the page and the summary; both, and a picture, become artifacts."""
    page = run_report(run, dataset, plan, skipped, get_run_logger().info)
    record("the report", lambda: _report_artifacts(run, page, tuple(plan or ())))
    return page


# ---------------------------------------------------------------------------------------------------------------------
# What others can wait for


def announce(stage: Stage, dataset: Path, run: Path) -> bool:
    """Record a finished model as an asset and emit that it was trained, unless that was done; gives whether it was done
    now."""
    folder = run / stage.name
    digest = model_digest(folder)
    if _announced(folder) == digest:
        return False
    if not server_answers():
        get_run_logger().warning("the Prefect server does not answer; the next run will say that this was trained")
        return False
    done = json.loads((folder / DONE).read_text("utf-8"))
    place = absolute(str(run))
    facts = {
        "run": place,
        "stage": stage.name,
        "model": str((folder / MODEL).absolute()),
        "digest": digest,
        "dataset": absolute(str(dataset)),
        "manifest": open_dataset(dataset).digest,
        **{key: done.get(key) for key in ("seen", "seconds", "best")},
    }
    _materialize(stage, asset_key(place, stage.name), _parents(stage, dataset, place), facts)
    resource = {"prefect.resource.id": f"{RESOURCE}{place}", "prefect.resource.name": run.name or place}
    emit_event(STAGE_TRAINED, resource=resource, payload=facts)
    write_text(folder / ANNOUNCED, json.dumps({"digest": digest}))
    return True


def _parents(stage: Stage, dataset: Path, run: str) -> list[str]:
    """Keys of the assets that a model is made from."""
    return [asset_key(absolute(str(dataset)), "train"), *([asset_key(run, stage.after)] if stage.after else [])]


def _materialize(stage: Stage, key: str, parents: Sequence[str], facts: Mapping[str, Any]) -> None:
    words = f"{stage.network} ({stage.size}), {stage.objective}, {facts['seen']:,} images seen"
    asset = Asset(key=key, properties=AssetProperties(name=stage.name, description=words))

    @materialize(
        asset,
        by="patina",
        asset_deps=list(parents),
        task_run_name=f"record {stage.name}",
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def record_model() -> None:
        """The model is finished: say so."""
        asset.add_metadata(dict(facts))

    record_model()


def _announced(folder: Path) -> str:
    """Digest of the model that was announced last."""
    try:
        return str(json.loads((folder / ANNOUNCED).read_text("utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


# ---------------------------------------------------------------------------------------------------------------------
# Artifacts


def plan_rows(items: Sequence[Todo]) -> list[dict[str, str]]:
    """What is to be done, and why, a row a stage."""
    return [
        {
            "stage": item.stage.name,
            "what": item.what,
            "images": f"{item.stage.images - item.seen:,}",
            "network": f"{item.stage.network} ({item.stage.size})",
            "starts from": item.stage.after or "–",
            "why": item.why,
        }
        for item in items
    ]


def _plan_artifact(items: Sequence[Todo], dataset: Path, run: Path) -> None:
    stale = sum(item.what != "done" for item in items)
    words = f"{stale} of {len(items)} stages to train on {dataset} in {run}"
    create_table_artifact(plan_rows(items), key="training-plan", description=words)


def _result_artifact(found: Outcome, run: Path) -> None:
    done = json.loads((run / found.stage / DONE).read_text("utf-8"))
    lines = [
        f"- {found.images:,} images seen, {human_seconds(found.seconds)} since its last start",
        f"- best validation: {found.score}",
        f"- model {done['model'][:16]}: `{found.model}`",
        *(f"- {what}: {count:,}" for what, count in done.get("saved", {}).items()),
        *(f"- {note}" for note in done.get("notes", [])),
    ]
    create_markdown_artifact("\n".join(lines), key="stage", description=f"{found.stage}: {found.score}")


def _report_artifacts(run: Path, page: Path, order: Sequence[str]) -> None:
    create_markdown_artifact((run / SUMMARY).read_text("utf-8"), key="training", description=f"{run.name}: all stages")
    create_link_artifact(page.absolute().as_uri(), "report.html", key="report", description=str(page.absolute()))
    if picture := newest_picture(run, order):
        data = base64.b64encode(_jpeg(picture)).decode()
        words = f"LQ | restored | GT: {picture.relative_to(run)}"
        create_image_artifact(f"data:image/jpeg;base64,{data}", key="restored", description=words)


def newest_picture(run: Path, order: Sequence[str] = ()) -> Path | None:
    """A picture of the last stage that has one: of its evaluation, else of its last validation."""
    stages = list(order) or sorted(path.parent.name for path in run.glob(f"*/{DONE}"))
    for name in reversed(stages):
        for kind in (PICTURES, "samples"):
            if pictures := sorted((run / name / kind).glob("*.png")):
                return pictures[-1]
    return None


def _jpeg(path: Path) -> bytes:
    with PIL.Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
