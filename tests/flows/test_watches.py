"""Watches and deployments on Prefect's own server, asked from this process: what stays as somebody left it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patina.flows.errors import RunError

pytestmark = [
    pytest.mark.slow,  # registering all deployments takes some seconds
    pytest.mark.usefixtures("prefect_api"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def on_pool(prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The deployments on a work pool, and nothing watched; nothing is left behind."""
    from patina.flows import watches
    from patina.flows.registering import register
    from patina.flows.watch_list import listed

    register("local", take_over=True, folder=tmp_path_factory.mktemp("deployed"))
    yield
    for left in listed():
        watches.remove(left.watching.name)


@pytest.fixture
def client(on_pool: None) -> Iterator[Any]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as found:
        yield found


def deployed(client: Any, name: str) -> Any:
    return client.read_deployment_by_name(f"{name}/{name}")


def enabled(client: Any, name: str) -> list[bool]:
    return [automation.enabled for automation in client.read_automations_by_name(name)]


def test_what_was_switched_stays_switched_whoever_deploys(client: Any, tmp_path: Path) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    from patina.flows import watches
    from patina.flows.registering import register
    from patina.flows.watch_list import Watching, listed

    assert (enabled(client, "patina-rebuild"), enabled(client, "patina-retrain")) == ([True], [False])
    off = watches.add(Watching("/mine.toml", "/data/OUT", train="tiny")).watching.name
    on = watches.add(Watching("/other.toml", "/else/OUT", every=600)).watching.name
    assert off == "out" and on.startswith("out-"), "two datasets of one name"
    watches.switch(off, on=False)
    look = deployed(client, "watch-sources")
    plain = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=900), parameters={"recipe": "/r", "out": "/o"})
    client.create_deployment_schedules(look.id, [plain])  # as its page makes them, without a slug
    client.pause_automation(client.read_automations_by_name("patina-rebuild")[0].id)
    client.resume_automation(client.read_automations_by_name("patina-retrain")[0].id)
    client.pause_deployment(deployed(client, "check-dataset").id)

    def as_it_was_left() -> None:
        found = {one.slug: one for one in deployed(client, "watch-sources").schedules}
        assert set(found) == {off, on, None}
        assert (found[off].active, found[on].active, found[None].active) == (False, True, True)
        assert found[on].parameters == {"recipe": "/other.toml", "out": "/else/OUT", "quiet": 30.0}
        assert found[None].parameters == {"recipe": "/r", "out": "/o"}
        assert (enabled(client, "patina-rebuild"), enabled(client, "patina-retrain")) == ([False], [True])
        assert enabled(client, watches.training_name(off)) == [False]
        assert enabled(client, watches.training_name(on)) == []

    as_it_was_left()
    rows = register("local", folder=tmp_path)
    as_it_was_left()
    assert next(one for one in rows if one.name == "check-dataset").paused
    assert next(one for one in rows if one.name == "watch-sources").schedules == tuple(
        sorted(("(no slug) on", f"{off} off", f"{on} on"))
    )
    rows = register("", take_over=True)
    as_it_was_left()
    assert next(one for one in rows if one.name == "check-dataset").paused
    assert {one.pool for one in rows} == {""}, "a serve takes them from the pool"
    register("local", take_over=True, folder=tmp_path)
    client.resume_automation(client.read_automations_by_name("patina-rebuild")[0].id)
    client.resume_deployment(deployed(client, "check-dataset").id)
    client.pause_automation(client.read_automations_by_name("patina-retrain")[0].id)
    (slugless,) = [one for one in deployed(client, "watch-sources").schedules if one.slug is None]
    client.delete_deployment_schedule(look.id, slugless.id)
    for name in (off, on):
        watches.remove(name)
    assert listed() == []
    assert enabled(client, watches.training_name(off)) == []


def test_a_watch_that_prefect_emptied_or_somebody_deleted_is_told_and_mended(
    client: Any, recipe: Path, tmp_path: Path
) -> None:
    from patina.flows import watches
    from patina.flows.watch_list import Watching, listed

    name = watches.add(Watching(str(recipe), str(tmp_path / "mended"), every=3600)).watching.name
    look = deployed(client, "watch-sources")

    def schedule() -> Any:
        return next(one for one in deployed(client, "watch-sources").schedules if one.slug == name)

    def watch() -> Any:
        return next(one for one in listed() if one.watching.name == name)

    client.update_deployment_schedule(look.id, schedule().id, active=False)  # as its command and its page do
    assert schedule().parameters == {}, "once Prefect keeps them, the variables beside schedules can go"
    assert watch().state == f"emptied by somebody; `patina watch on {name}` mends it"
    mended = watches.switch(name, on=True)
    assert mended.line == f"{recipe} for {tmp_path / 'mended'}, every 3600 s, as {name}"
    assert "nobody takes runs of watch-sources now, so looks wait: `prefect worker start --pool local`" in mended.notes
    assert (schedule().active, schedule().parameters["out"]) == (True, str(tmp_path / "mended"))
    client.delete_deployment_schedule(look.id, schedule().id)
    assert watch().is_broken
    assert watches.switch(name, on=False).state == "off"
    assert (schedule().active, schedule().parameters["recipe"]) == (False, str(recipe))
    watches.remove(name)


def test_a_watch_is_known_by_name_and_by_dataset(client: Any) -> None:
    from patina.flows import watches
    from patina.flows.watch_list import Watching

    first = watches.add(Watching("/r.toml", "/data/Wet Streets", train="tiny"))
    assert first.watching.name == "wet-streets"
    again = watches.add(Watching("/r.toml", "/data/Wet Streets", every=60, quiet=0))
    assert (again.watching.name, again.watching.every) == ("wet-streets", 60), "the same dataset is the same watch"
    assert enabled(client, watches.training_name("wet-streets")) == [], "it trains no more"
    (schedule,) = deployed(client, "watch-sources").schedules
    assert schedule.schedule.interval.total_seconds() == 60
    with pytest.raises(RunError, match="is watched as 'wet-streets'"):
        watches.add(Watching("/r.toml", "/data/Wet Streets", name="other"))
    with pytest.raises(RunError, match="'wet-streets' watches /data/Wet Streets; give another --name"):
        watches.add(Watching("/r.toml", "/data/dry", name="wet-streets"))
    with pytest.raises(RunError, match=r"no watch is called 'wet-street'; did you mean 'wet-streets'\?"):
        watches.switch("wet-street", on=True)
    with pytest.raises(RunError, match=r"no watch is called 'wet-street'; did you mean"):
        watches.remove("wet-street")
    with pytest.raises(RunError, match="expected up to 40 small letters"):
        watches.add(Watching("/r.toml", "/data/dry", name="Dry_1"))
    with pytest.raises(RunError, match="a plan trains on a folder here"):
        watches.add(Watching("/r.toml", "s3://bucket/dry", train="tiny"))
    watches.remove("wet-streets")
    with pytest.raises(RunError, match="there is none: `patina watch add"):
        watches.switch("wet-streets", on=True)


def test_a_look_without_recipe_and_dataset_is_refused_before_it_runs_and_fails_in_words(client: Any) -> None:
    from patina.flows.starting import start
    from patina.flows.watch_sources import watch_sources

    with pytest.raises(RunError, match=r"watch-sources needs recipe, out: -p recipe=… -p out=…"):
        start("watch-sources", [])
    with pytest.raises(RunError, match=r"was given no recipe or no dataset to look after, and guesses none"):
        watch_sources()


def waiting(client: Any, out: str) -> int:
    """Looks for a dataset that nobody has begun."""
    return sum(run.parameters.get("out") == out and run.state.is_scheduled() for run in client.read_flow_runs())


def test_a_look_is_asked_for_at_once_and_no_longer_when_it_is_switched_off(client: Any) -> None:
    from patina.flows import watches
    from patina.flows.watch_list import Watching

    name = watches.add(Watching("/mine.toml", "/data/soon", every=86400 * 30)).watching.name
    assert waiting(client, "/data/soon") >= 1
    watches.switch(name, on=False)
    assert waiting(client, "/data/soon") == 0
    watches.switch(name, on=True)
    assert waiting(client, "/data/soon") >= 1
    watches.remove(name)
    assert waiting(client, "/data/soon") == 0


def test_a_watch_waits_for_deployments_that_are_gone(client: Any) -> None:
    from patina.flows import watches
    from patina.flows.registering import register
    from patina.flows.watch_list import Watching, listed

    watches.add(Watching("/mine.toml", "/data/left"))
    client.delete_deployment(deployed(client, "watch-sources").id)
    with pytest.raises(RunError, match=r"no deployment 'watch-sources'; `patina deploy` registers it"):
        watches.add(Watching("/mine.toml", "/data/OUT"))
    assert listed()[0].is_broken
    register("local")
    assert listed()[0].state == "deleted by somebody; `patina watch on left` mends it"
    assert watches.switch("left", on=True).state == "on"
    watches.remove("left")
