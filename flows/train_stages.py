"""The flow `train-stages`: plan → each stage in turn, where it is stale → report.

Each stage is a task that starts the loop in a process of its own, under a lease on the limit `gpu`; its lines go to
Prefect's log. What is trained, and in which order, stands in `patina.training.runs.plan`; Prefect's result cache stays
off: the stages' fingerprints decide what is stale, and a rerun is the way to resume.

    patina.stage.trained   payload: run, stage, model, digest, dataset, manifest, seen, seconds, best

The resource is `patina.run.` and the run's folder. A model is announced once: RUN/STAGE/announced.json says which, so
that a run that was killed after training leaves it to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from patina.flows.artifacts import TrainingEvents, log_line, record
from patina.flows.gpu import lease
from patina.flows.outliving import await_server, outlive_runner
from patina.flows.places import named, tell_relative
from patina.flows.run_log import log_lines
from patina.flows.training_artifacts import plan_artifact, plan_rows, report_artifacts, result_artifact
from patina.flows.training_assets import announce
from patina.flows.training_log import Lines
from patina.flows.training_steps import PAUSE, RETRIES, train_in_order
from patina.flows.watchers import watcher
from patina.training.data.dataset import open_dataset
from patina.training.errors import StageCrashedError
from patina.training.jobs.evaluation import Candidate, Options, Outcome, outcome, run_evaluation, run_report
from patina.training.jobs.stage import LaunchOptions, run_stage
from patina.training.runs.plan import StagePlan, plan_stages
from patina.training.stages.plan import chosen, load_plan
from patina.training.stages.stage import Stage

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun


@dataclass(frozen=True)
class Trained:
    """What a run has now. skipped: stages that were left alone, as nothing had changed."""

    run: Path
    outcomes: tuple[Outcome, ...]
    skipped: tuple[str, ...]
    report: Path | None = None


@flow(name="train-stages", flow_run_name=named("train {plan} on {dataset} in {run}"), persist_result=False)
def train_stages(
    dataset: Annotated[str, Field(min_length=1)],
    run: Annotated[str, Field(min_length=1)],
    plan: Annotated[str, Field(min_length=1)] = "tiny",
    *,
    stages: Sequence[str] = (),
    cpu: bool = False,
    processes: Annotated[int, Field(ge=0)] = 0,
    workers: Annotated[int, Field(ge=-1)] = -1,
    threads: Annotated[int, Field(ge=0)] = 0,
    compile: bool = False,
    pieces: Annotated[int, Field(ge=1)] = 1,
    patience: Annotated[float, Field(ge=10)] = 1800.0,
    trackers: Sequence[str] = (),
) -> Trained:
    """Train the stages of a plan that are not finished, each from where it stands, and report.

    Args:
        dataset: The dataset's folder, or a version of it, such as OUT@3 or OUT@previous.
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
        trackers: That get the metrics beside TensorBoard, wandb or mlflow; empty for none.
    """
    outlive_runner()
    tell_relative(dataset=dataset, run=run, plan=plan)
    wanted = chosen(load_plan(plan), stages)
    options = LaunchOptions(
        processes=processes,
        workers=workers,
        threads=threads,
        cpu=cpu,
        compile=compile,
        gradient_accumulation=pieces,
        patience=patience,
        trackers=tuple(trackers),
    )
    with open_dataset(dataset) as opened:  # all stages see one version, whatever is published meanwhile
        skipped = train_in_order(wanted, opened.folder, Path(run), options, TaskSteps())
        page = report(run=Path(run), dataset=opened.folder, plan=wanted, skipped=skipped)
    outcomes = tuple(outcome(Path(run), stage) for stage in wanted.values())
    log_lines([f"{one.stage}: {one.images:,} images seen, {one.score}, {one.model}" for one in outcomes])
    await_server()
    return Trained(run=Path(run), outcomes=outcomes, skipped=skipped, report=page)


class TaskSteps:
    """Steps of a training and of an evaluation as task runs, told in the flow run's log."""

    def __init__(self) -> None:
        self._waits = False

    def say(self, line: str) -> None:
        """A line of the flow's own, to its log and to whom `listened_by` named."""
        log_line(line)

    def warn(self, line: str) -> None:
        """A line that somebody should read."""
        get_run_logger().warning("%s", line)

    def skip(self, label: str, why: str) -> None:
        """A step is left out: a task run says so."""
        skip_stage(label, why)

    def train(self, label: str, item: StagePlan, *, dataset: Path, run: Path, options: LaunchOptions) -> None:
        """Train one stage."""
        train_stage(label, item, dataset=dataset, run=run, options=options, warn=not self._waits)
        self._waits = True

    def evaluate(self, label: str, candidate: Candidate, dataset: Path, options: Options) -> None:
        """Evaluate one stage."""
        evaluate_stage(label, candidate, dataset, options, warn=not self._waits)
        self._waits = True

    def planned(self, items: Sequence[StagePlan], dataset: Path, run: Path) -> None:
        """The plan is told, and becomes an artifact."""
        log_lines([", ".join(f"{name} {value}" for name, value in row.items()) for row in plan_rows(items)])
        record("the plan", lambda: plan_artifact(items, dataset, run))

    def trained(self, stage: Stage, dataset: Path, run: Path) -> None:
        """A model is announced, once."""
        announce(stage, dataset, run)


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
def train_stage(
    label: str, item: StagePlan, *, dataset: Path, run: Path, options: LaunchOptions, warn: bool = True
) -> Path:
    """Train one stage in a process of its own, from where it stands; gives its model."""
    stage = item.stage
    with nullcontext() if options.cpu else lease("training", warn=warn):
        (now,) = plan_stages({stage.name: stage}, dataset, run)  # a further try goes on from a later state
        events = TrainingEvents(watcher())
        events.begin(label, max(1, stage.max_images - now.seen), "images")
        try:
            model = run_stage(stage, dataset, run, options, Lines(get_run_logger(), events, now.seen))
        finally:
            events.end()
    record("what was trained", lambda: result_artifact(outcome(run, stage), run))
    return model


@task(
    task_run_name="{label}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=PAUSE,
    retry_condition_fn=after_crash,
)
def evaluate_stage(label: str, candidate: Candidate, dataset: Path, options: Options, warn: bool = True) -> Path:
    """Evaluate one stage in a process of its own; gives its evaluation.json."""
    with nullcontext() if options.cpu else lease("evaluating", warn=warn):
        lines = Lines(get_run_logger(), TrainingEvents(watcher()), counted=label)
        try:
            return run_evaluation(candidate, dataset, options, lines)
        finally:
            lines.end()


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
    record("the report", lambda: report_artifacts(run, page, tuple(plan or ())))
    return page
