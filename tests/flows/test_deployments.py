"""The deployments: prefect.yaml and `patina deploy` offer the same ones, and the server's page explains parameters."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
import yaml
from prefect.events import EventTrigger
from prefect.events.actions import RunDeployment

from patina.flows.deployments import LOST, OFFERS, REBUILD, automations

ROOT = Path(__file__).parents[2]
DECLARED: dict[str, dict[str, Any]] = {
    table["name"]: table for table in yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
}
pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_file_and_the_served_ones_are_the_same() -> None:
    assert [offer.name for offer in OFFERS] == list(DECLARED)
    for offer in OFFERS:
        table = DECLARED[offer.name]
        module, _, function = table["entrypoint"].rpartition(".")
        assert module == offer.flow.fn.__module__
        assert function == offer.flow.fn.__name__
        assert table["description"] == offer.description
        assert tuple(table["tags"]) == offer.tags
        assert table["work_pool"] == {"name": "local"}
        assert table.get("parameters", {}) == {**offer.demo, **offer.parameters}


def test_the_file_has_nothing_that_a_deploy_would_switch_back() -> None:
    """Prefect creates a deployment's triggers anew, switched on, and sets schedules as the file has them."""
    for table in DECLARED.values():
        assert not {"triggers", "schedules", "schedule", "paused"} & table.keys()


def test_the_files_parameters_are_ones_that_the_flows_take() -> None:
    for offer in OFFERS:
        offer.flow.validate_parameters(DECLARED[offer.name].get("parameters", {}))


def test_every_parameter_is_explained_and_every_choice_is_a_list() -> None:
    from patina.pipeline.export import EXPORTS
    from patina.pipeline.format.layout import SPLITS

    forms = {offer.flow.name: offer.flow.parameters.model_dump()["properties"] for offer in OFFERS}
    for flow, form in forms.items():
        for name, field in form.items():
            assert field.get("description", "").endswith("."), f"{flow} {name}: the form has no words for it"
    assert forms["export-dataset"]["to"]["enum"] == list(EXPORTS)
    assert forms["export-dataset"]["splits"]["items"]["enum"] == list(SPLITS)
    assert forms["build-dataset"]["runner"]["enum"] == ["threads", "processes", "dask", "ray"]
    assert forms["build-dataset"]["workers"]["minimum"] == 0
    share = forms["build-dataset"]["max_set_aside"]
    assert (share["minimum"], share["maximum"]) == (0, 1)


@pytest.mark.parametrize("pool", ["", "local"])
def test_a_deployment_says_its_pool_and_nothing_of_schedules_and_triggers(pool: str, tmp_path: Path) -> None:
    for offer in OFFERS:
        made = offer.deployment(pool, tmp_path, paused=True)
        assert (made.work_pool_name or "") == pool
        assert "work_pool_name" in made.model_fields_set, "else the server keeps the pool of an earlier deploy"
        assert "schedules" not in made.model_fields_set, "else the server wipes those without a slug"
        assert made.triggers == []
        assert made.paused
        assert made.entrypoint is not None
        assert ":" not in made.entrypoint, "a module, which is found from any folder"


def test_the_demos_files_are_taken_on_a_pool_and_their_paths_are_absolute(tmp_path: Path) -> None:
    build = next(offer for offer in OFFERS if offer.name == "build-dataset")
    on_pool = build.deployment("local", tmp_path).parameters
    assert on_pool == {
        "recipe": str(tmp_path / "patina-demo/recipe.toml"),
        "out": str(tmp_path / "patina-demo/dataset"),
    }
    assert build.deployment().parameters == {}
    watch = next(offer for offer in OFFERS if offer.name == "watch-sources")
    assert watch.deployment("local", tmp_path).parameters == {}, "a schedule that was emptied watches nothing else"


def test_the_trigger_takes_recipe_and_dataset_from_the_event() -> None:
    from patina.flows.events import SOURCES_CHANGED

    assert REBUILD.expect == {SOURCES_CHANGED}
    assert REBUILD.parameters == {"recipe": "{{ event.payload.recipe }}", "out": "{{ event.payload.out }}"}


def test_crashes_of_a_burst_are_seen_to_by_one_run_that_begins_after_the_last() -> None:
    lost = LOST.model_copy(deep=True)
    lost.set_deployment_id(uuid4())
    core = lost.as_automation()
    trigger = core.trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.within == LOST.schedule_after > timedelta(0), "else it would miss what crashes after it began"
    assert (trigger.threshold, trigger.for_each) == (1, set()), "the first of whichever flow run"
    (action,) = core.actions
    assert isinstance(action, RunDeployment)
    assert action.schedule_after == LOST.schedule_after


def test_zombies_are_found_for_each_of_the_flows_and_not_between_two_heartbeats() -> None:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    (zombies,) = automations()
    trigger: Any = zombies.trigger
    assert trigger.within.total_seconds() > 2 * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.default() or 0)
    assert trigger.match_related.root["prefect.resource.name"] == [*dict.fromkeys(offer.flow.name for offer in OFFERS)]
    assert {"prefect.flow-run.Completed", "prefect.flow-run.heartbeat"} < trigger.expect
    assert get_args(type(zombies.actions[0]).model_fields["type"].annotation) == ("change-flow-run-state",)
