"""The deployments: prefect.yaml and `patina serve` offer the same ones, and the server's page explains parameters."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from patina.flows.deployments import OFFERS, REBUILD, Watching, automations, deployments

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
        assert offer.parameters.items() <= table["parameters"].items()
        triggers = [
            {
                "name": trigger.name,
                "description": trigger.description,
                "expect": sorted(trigger.expect),
                "match": dict(trigger.match.root),
                "parameters": trigger.parameters,
                **({"match_related": dict(trigger.match_related.root)} if trigger.match_related.root else {}),
                **({} if trigger.enabled else {"enabled": False}),
            }
            for trigger in offer.triggers
        ]
        assert table.get("triggers", []) == triggers


def test_the_files_parameters_are_ones_that_the_flows_take() -> None:
    for offer in OFFERS:
        table = DECLARED[offer.name]
        offer.flow.validate_parameters(table["parameters"])
        for schedule in table.get("schedules", []):
            assert not schedule["active"], "nothing runs by itself before somebody says so"
            offer.flow.validate_parameters({**table["parameters"], **schedule["parameters"]})


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


def test_served_deployments_are_not_paused_and_only_a_watched_dataset_is_scheduled() -> None:
    assert not any(made.schedules for made in deployments())
    assert all(made.paused is False for made in deployments())
    by_name = {made.name: made for made in deployments(Watching("/r.toml", "/out", 60, 5))}
    (schedule,) = by_name.pop("watch-sources").schedules or ()
    assert schedule.schedule is not None
    assert schedule.schedule.interval == timedelta(seconds=60)
    assert schedule.parameters == {"recipe": "/r.toml", "out": "/out", "quiet": 5}
    assert schedule.active is not False
    assert not any(made.schedules for made in by_name.values())


def test_the_trigger_takes_recipe_and_dataset_from_the_event() -> None:
    from patina.flows.events import SOURCES_CHANGED

    assert REBUILD.expect == {SOURCES_CHANGED}
    assert REBUILD.parameters == {"recipe": "{{ event.payload.recipe }}", "out": "{{ event.payload.out }}"}


def test_zombies_are_found_for_each_of_the_flows_and_not_between_two_heartbeats() -> None:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    (zombies,) = automations()
    trigger: Any = zombies.trigger
    assert trigger.within.total_seconds() > 2 * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.default() or 0)
    assert trigger.match_related.root["prefect.resource.name"] == [*dict.fromkeys(offer.flow.name for offer in OFFERS)]
    assert {"prefect.flow-run.Completed", "prefect.flow-run.heartbeat"} < trigger.expect
    assert get_args(type(zombies.actions[0]).model_fields["type"].annotation) == ("change-flow-run-state",)
