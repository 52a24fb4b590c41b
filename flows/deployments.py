"""The deployments of prefect.yaml as `patina serve` offers them, and what they need of a server.

The file is for `prefect deploy` and not part of an installed package; a test holds both to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.deployments.runner import RunnerDeployment
from prefect.events import AutomationCore, DeploymentEventTrigger, DeploymentTriggerTypes
from prefect.schedules import Schedule
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


LOST = DeploymentEventTrigger(
    name="patina-lost-tasks",
    description="Ends the task runs of a flow run that crashed, which no worker holds any more.",
    expect={"prefect.flow-run.Crashed"},
    match={"prefect.resource.id": "prefect.flow-run.*"},
    match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(WITH_BATCHES)},
    parameters={},
)


@dataclass(frozen=True)
class Watching:
    """A dataset to look after while the deployments are served: every so many seconds; `quiet` as in watch-sources."""

    recipe: str
    out: str
    every: float = 300.0
    quiet: float = 30.0

    @property
    def schedule(self) -> Schedule:
        """The schedule of its looks."""
        parameters = {"recipe": self.recipe, "out": self.out, "quiet": self.quiet}
        return Schedule(interval=timedelta(seconds=self.every), parameters=parameters, slug="served")


@dataclass(frozen=True)
class Offer:
    """A flow as it is deployed: a sentence, tags, and what starts it. Under its own name, or under `called` with
    `parameters` of its own."""

    flow: Flow[Any, Any]
    description: str
    tags: tuple[str, ...]
    triggers: tuple[DeploymentTriggerTypes, ...] = ()
    called: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The deployment's."""
        return self.called or self.flow.name

    def deployment(self, schedules: Sequence[Schedule] = ()) -> RunnerDeployment:
        """The deployment, unpaused: a server remembers that an earlier process paused it when it ended."""
        deployment = self.flow.to_deployment(
            name=self.name,
            parameters=dict(self.parameters),
            description=self.description,
            tags=list(self.tags),
            triggers=list(self.triggers),
            schedules=list(schedules),
            paused=False,
            entrypoint_type=EntrypointType.MODULE_PATH,  # a worker finds it wherever patina is installed
        )
        assert isinstance(deployment, RunnerDeployment), "outside an event loop it is no coroutine"
        return deployment


STAGES = ("controller", "adapter", "irsde", "nafnet", "vlunet")
"""The stages of the plans that come with patina, each with a deployment."""

OFFERS = (
    Offer(
        build_dataset,
        "Build or rebuild a dataset from a recipe; only what is stale is made.",
        ("patina", "dataset"),
        triggers=(REBUILD,),
    ),
    Offer(
        check_dataset,
        "Check every hash, count and image of a dataset, and make samples again; findings fail the run.",
        ("patina", "dataset"),
    ),
    Offer(
        export_dataset,
        "Lay a dataset out as DA-CLIP, VLU-Net or `datasets` reads it, or as plain folders.",
        ("patina", "dataset"),
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
        triggers=(LOST,),
    ),
    Offer(
        train_end_to_end,
        "Build a dataset where it is stale, train what is stale on it, evaluate, and report.",
        ("patina", "training"),
        triggers=(RETRAIN,),
    ),
    Offer(
        train_stages,
        "Train the stages of a plan that are not finished, each from where it stands.",
        ("patina", "training"),
    ),
    *(
        Offer(
            train_stages,
            f"Train the stage {name} of a plan, and what it starts from, where they are not finished.",
            ("patina", "training"),
            called=f"train-{name}",
            parameters={"stages": [name]},
        )
        for name in STAGES
    ),
    Offer(
        evaluate_run,
        "Evaluate the finished stages of a run on a split of a dataset, beside the papers' figures.",
        ("patina", "training"),
    ),
)


def deployments(watching: Watching | None = None) -> list[RunnerDeployment]:
    """All of them; the looks of `watching` are scheduled."""
    return [
        offer.deployment([watching.schedule] if watching and offer.flow is watch_sources else ()) for offer in OFFERS
    ]


def automations() -> list[AutomationCore]:
    """What flows/automations.yaml declares."""
    import yaml  # type: ignore[import-untyped]

    text = (Path(__file__).parent / "automations.yaml").read_text("utf-8")
    return [AutomationCore.model_validate(table) for table in yaml.safe_load(text)["automations"]]


def create_automations() -> list[str]:
    """Create those that the server does not have, by name; gives the names of the new ones."""
    from prefect.client.orchestration import get_client

    created = []
    with get_client(sync_client=True) as client:
        for automation in automations():
            if not client.read_automations_by_name(automation.name):
                client.create_automation(automation)
                created.append(automation.name)
    return created
