"""Watches as they are on a server: what was asked for, the schedule that does it, and what ails it.

What was asked for lies in a variable beside the schedule, since Prefect 3.8 empties the parameters of a schedule that
it pauses or resumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from patina.flows.deployments import REBUILD
from patina.flows.errors import RunError
from patina.flows.owners import is_taken
from patina.flows.registering import PAUSED_BY_SERVE
from patina.flows.server import at_server, read_variable

VARIABLE = "patina_watch_"


@dataclass(frozen=True)
class Watching:
    """What is asked for: a dataset to look after every so many seconds; `quiet` as in watch-sources.

    recipe, out  absolute paths, addresses, or the name of a recipe that comes with patina.
    train        a plan: what is published is trained on, in the folder beside the dataset that ends in `-run`.
    name         small letters, digits and `-`; empty: after the dataset.
    """

    recipe: str
    out: str
    every: float = 300.0
    quiet: float = 30.0
    train: str = ""
    name: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of its schedule."""
        return {"recipe": self.recipe, "out": self.out, "quiet": self.quiet}


@dataclass(frozen=True)
class Watch:
    """A watch on the server. state: on, off, or what ails it, in words. schedule: where there is one. notes: what keeps
    all watches from working."""

    watching: Watching
    state: str
    schedule: DeploymentSchedule | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether it does not do what was asked for."""
        return self.state not in ("on", "off", OTHER_ON, OTHER_OFF)

    @property
    def line(self) -> str:
        """In words."""
        asked = self.watching
        train = f", and trained by {asked.train}" if asked.train else ""
        return f"{asked.recipe} for {asked.out}, every {asked.every:g} s{train}, as {asked.name}"


OTHER_ON, OTHER_OFF = (f"{state}, not made by `patina watch`" for state in ("on", "off"))


def listed() -> list[Watch]:
    """Every watch, and every other schedule of `watch-sources`, by name."""
    with at_server("watch") as client:
        return watches_on(client)


def watches_on(client: SyncPrefectClient) -> list[Watch]:
    """As `listed`."""
    asked = asked_for(client)
    try:
        deployment = deployment_of(client, "watch-sources")
    except RunError as error:
        return [Watch(one, "waits for its deployment", notes=(str(error),)) for _, one in sorted(asked.items())]
    found = {one.slug: one for one in deployment.schedules if one.slug}
    notes = _notes(client, deployment)
    ours = [Watch(one, _state(one, found.get(name)), found.get(name), notes) for name, one in sorted(asked.items())]
    others = [one for one in deployment.schedules if one.slug not in asked]
    return ours + [Watch(_as_watching(one), _state_of_other(one), one, notes) for one in others]


def asked_for(client: SyncPrefectClient) -> dict[str, Watching]:
    """What was asked for, by name."""
    known = {}
    for variable in client.read_variables(limit=200):
        if variable.name.startswith(VARIABLE) and (asked := _read(variable.value)):
            known[asked.name] = asked
    return known


def variable_of(name: str) -> str:
    """The variable of a watch. Variables take no `-`, and names of watches no `_`."""
    return f"{VARIABLE}{name.replace('-', '_')}"


def deployment_of(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """A deployment of a flow of the same name. Raises RunError if the server has none."""
    try:
        return client.read_deployment_by_name(f"{name}/{name}")
    except ObjectNotFound:
        raise RunError(
            f"the server has no deployment {name!r}; `patina deploy` registers it for a worker, and `patina serve` "
            "serves it"
        ) from None


# ---------------------------------------------------------------------------------------------------------------------


def _read(value: object) -> Watching | None:
    if not isinstance(value, Mapping) or not all(isinstance(value.get(key), str) for key in ("recipe", "out", "name")):
        return None
    return Watching(**{one.name: value[one.name] for one in fields(Watching) if one.name in value})


def _state(asked: Watching, schedule: DeploymentSchedule | None) -> str:
    mend = f"`patina watch on {asked.name}` mends it"
    if schedule is None:
        return f"deleted by somebody; {mend}"
    if schedule.parameters != asked.parameters:
        return f"{'changed' if schedule.parameters else 'emptied'} by somebody; {mend}"
    return "on" if schedule.active else "off"


def _as_watching(schedule: DeploymentSchedule) -> Watching:
    """A schedule that `patina watch` did not make."""
    given, every = schedule.parameters or {}, getattr(schedule.schedule, "interval", None)
    return Watching(
        recipe=str(given.get("recipe", "")),
        out=str(given.get("out", "")),
        every=every.total_seconds() if every else 0.0,
        quiet=float(given.get("quiet", 30.0)),
        name=schedule.slug or "",
    )


def _state_of_other(schedule: DeploymentSchedule) -> str:
    given = schedule.parameters or {}
    if not given.get("recipe") or not given.get("out"):
        return f"{'on' if schedule.active else 'off'}, without recipe and dataset, so that each look fails"
    return OTHER_ON if schedule.active else OTHER_OFF


def _notes(client: SyncPrefectClient, deployment: DeploymentResponse) -> tuple[str, ...]:
    """What keeps watches from working, in words."""
    notes = []
    name, pool, rebuild = deployment.name, deployment.work_pool_name, str(REBUILD.name)
    if deployment.paused and name in (read_variable(client, PAUSED_BY_SERVE) or ()):
        notes.append("`patina serve` has ended, and looks rest until it is started again")
    elif deployment.paused:
        notes.append(f"somebody paused {name} on the server's page, so looks rest until it is unpaused there")
    elif not is_taken(client, deployment):
        start = f"prefect worker start --pool {pool}" if pool else "patina serve"
        notes.append(f"nobody takes runs of {name} now, so looks wait: `{start}`")
    automations = client.read_automations_by_name(rebuild)
    if not automations:
        notes.append(f"the automation {rebuild} is gone, so changes are told and nothing is built: `patina deploy`")
    elif not automations[0].enabled:
        notes.append(
            f"the automation {rebuild} is off, so changes are told and nothing is built: "
            f"`prefect automation resume {rebuild}`"
        )
    return tuple(notes)
