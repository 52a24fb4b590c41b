"""The deployments of prefect.yaml as `patina deploy` and `patina serve` offer them, and the automations beside them.

The file is for `prefect deploy` and not part of an installed package; a test holds both to the same. Automations are
not in it: Prefect would delete those that a deployment owns and create them anew, switched on, whenever it is deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.deployments.runner import RunnerDeployment
from prefect.events import AutomationCore, DeploymentEventTrigger
from prefect.runner.storage import LocalStorage
from prefect.types.entrypoint import EntrypointType

from patina.flows.build_dataset import build_dataset
from patina.flows.check_dataset import check_dataset
from patina.flows.end_to_end import train_end_to_end
from patina.flows.evaluate_run import evaluate_run
from patina.flows.events import DATASET_PUBLISHED, RESOURCE, SOURCES_CHANGED
from patina.flows.export_dataset import export_dataset
from patina.flows.lost_tasks import end_lost_tasks
from patina.flows.train_stages import train_stages
from patina.flows.watch_sources import watch_sources

if TYPE_CHECKING:
    from prefect import Flow

REBUILD = DeploymentEventTrigger(
    name="patina-rebuild",
    description="Builds a dataset whose sources or recipe changed and now rest.",
    expect={SOURCES_CHANGED},
    match={"prefect.resource.id": f"{RESOURCE}*"},
    parameters={"recipe": "{{ event.payload.recipe }}", "out": "{{ event.payload.out }}"},
)
"""Prefect fills the templates with what the event says."""

WITH_BATCHES = ("build-dataset", "check-dataset", "export-dataset", "train-end-to-end", "train-stages", "evaluate")
"""Flows whose work is task runs."""

RETRAIN = DeploymentEventTrigger(
    name="patina-retrain",
    description="Trains on a dataset that was published, in the folder beside it that ends in -run. Off until enabled.",
    enabled=False,
    expect={DATASET_PUBLISHED},
    match={"prefect.resource.id": f"{RESOURCE}*"},
    parameters={"recipe": "", "out": "{{ event.payload.out }}", "run": "{{ event.payload.out }}-run"},
)
"""Nobody's GPU starts by surprise: whoever wants it switches the automation on."""


GATHER = timedelta(seconds=10)
"""How long crashes are gathered for one run of `end-lost-tasks`: those of a worker come in a burst."""

LOST = DeploymentEventTrigger(
    name="patina-lost-tasks",
    description="Ends the task runs of flow runs that crashed, which no worker holds any more.",
    expect={"prefect.flow-run.Crashed"},
    match={"prefect.resource.id": "prefect.flow-run.*"},
    match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(WITH_BATCHES)},
    parameters={},
    within=GATHER,
    schedule_after=GATHER,
)
"""Prefect acts on the first crash and on no other for `within`; the run begins when that is over, and sees to all."""

TRIGGERS = {"build-dataset": REBUILD, "train-end-to-end": RETRAIN, "end-lost-tasks": LOST}
"""The deployment that each of them starts."""

DEMO, TRAINING = "patina-demo/dataset", {"dataset": "patina-demo/training-set", "run": "patina-demo/run"}
"""What `patina demo` writes, which deployments on a work pool take where a run names nothing."""


@dataclass(frozen=True)
class Offer:
    """A flow as it is deployed: a sentence and tags. Under its own name, or as `called` with `parameters` of its own.

    demo  parameters that it has beside those on a work pool, so that a first run works on the demo's files.
    """

    flow: Flow[Any, Any]
    description: str
    tags: tuple[str, ...]
    called: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    demo: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The deployment's."""
        return self.called or self.flow.name

    @property
    def full_name(self) -> str:
        """FLOW/NAME, as Prefect looks it up."""
        return f"{self.flow.name}/{self.name}"

    def deployment(self, pool: str = "", folder: Path | None = None, *, paused: bool = False) -> RunnerDeployment:
        """The deployment for a worker of the work pool `pool`, or for `patina serve`.

        folder  where relative paths of its runs start on the worker; none: where `patina serve` was started.
        paused  whether it is; Prefect itself would unpause what it deploys.
        """
        folder = folder or Path.cwd()
        demo = {name: str(folder / path) if "/" in str(path) else path for name, path in self.demo.items()}
        deployment = self.flow.to_deployment(
            name=self.name,
            parameters={**(demo if pool else {}), **self.parameters},
            description=self.description,
            tags=list(self.tags),
            paused=paused,
            entrypoint_type=EntrypointType.MODULE_PATH,  # a worker finds it wherever patina is installed
        )
        assert isinstance(deployment, RunnerDeployment), "outside an event loop it is no coroutine"
        deployment.triggers = []
        deployment.model_fields_set.discard(
            "schedules"
        )  # an empty list would wipe those that have no slug, and all beside
        deployment.work_pool_name = pool or None  # said, or Prefect would leave an earlier pool as it was
        if pool:
            deployment.storage = LocalStorage(str(folder))
        return deployment


STAGES = ("controller", "adapter", "irsde", "nafnet", "vlunet")
"""The stages of the plans that come with patina, each with a deployment."""

OFFERS = (
    Offer(
        build_dataset,
        "Build or rebuild a dataset from a recipe; only what is stale is made.",
        ("patina", "dataset"),
        demo={"recipe": "patina-demo/recipe.toml", "out": DEMO},
    ),
    Offer(
        check_dataset,
        "Check every hash, count and image of a dataset, and make samples again; findings fail the run.",
        ("patina", "dataset"),
        demo={"dataset": DEMO},
    ),
    Offer(
        export_dataset,
        "Write a dataset in the layout of a trainer, of `datasets` or of a streaming library, or as plain folders.",
        ("patina", "dataset"),
        demo={"dataset": DEMO, "to": "daclip", "out": "patina-demo/daclip"},
    ),
    Offer(
        watch_sources,
        "Look whether sources or recipe changed; once they rest, tell it, which starts build-dataset.",
        ("patina", "watch"),
    ),
    Offer(
        end_lost_tasks,
        "Mark task runs as Crashed whose flow run is over, since the worker that held them was killed.",
        ("patina", "care"),
    ),
    Offer(
        train_end_to_end,
        "Build a dataset where it is stale, train what is stale on it, evaluate, and report.",
        ("patina", "training"),
        demo={"recipe": "patina-demo/training.toml", "out": TRAINING["dataset"], "run": TRAINING["run"]},
    ),
    Offer(
        train_stages,
        "Train the stages of a plan that are not finished, each from where it stands.",
        ("patina", "training"),
        demo=TRAINING,
    ),
    *(
        Offer(
            train_stages,
            f"Train the stage {name} of a plan, and what it starts from, where they are not finished.",
            ("patina", "training"),
            called=f"train-{name}",
            parameters={"stages": [name]},
            demo=TRAINING,
        )
        for name in STAGES
    ),
    Offer(
        evaluate_run,
        "Evaluate the finished stages of a run on a split of a dataset, beside the papers' figures.",
        ("patina", "training"),
        demo=TRAINING,
    ),
)


def automations() -> list[AutomationCore]:
    """What flows/automations.yaml declares."""
    import yaml  # type: ignore[import-untyped]

    text = (Path(__file__).parent / "automations.yaml").read_text("utf-8")
    return [AutomationCore.model_validate(table) for table in yaml.safe_load(text)["automations"]]
