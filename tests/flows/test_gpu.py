"""The concurrency limit `gpu`: held while a model captions, by no other step, and wanting it stops no laptop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from patina.pipeline.builder.runner import Threads

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.filterwarnings("ignore")]


def slots() -> int:
    """How many slots of the limit are taken."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name("gpu").active_slots


@pytest.fixture
def limit() -> Iterator[None]:
    from prefect.client.orchestration import get_client

    from patina.flows.gpu import create_limit

    assert create_limit()
    yield
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name("gpu")


@pytest.mark.usefixtures("limit")
def test_captioning_holds_a_slot_and_nothing_else_does() -> None:
    from prefect import flow

    from patina.flows.gpu import WithGpuLease, create_limit

    assert not create_limit(), "it is there, and stays as it is"

    @flow
    def build() -> tuple[list[int], int]:
        runner = WithGpuLease(Threads(2))
        taken = [runner.call(step, slots) for step in ("scan and plan", "caption", "publish")]
        (during,) = runner.map("build shards", lambda item: slots(), [0])
        return taken, during

    assert build() == ([0, 1, 0], 0)
    assert slots() == 0


@pytest.mark.usefixtures("limit")
def test_a_second_captioner_waits_and_an_error_gives_the_slot_back() -> None:
    from prefect import flow
    from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
    from prefect.concurrency.sync import concurrency

    from patina.flows.gpu import WithGpuLease

    @flow
    def build() -> None:
        def model() -> None:
            with pytest.raises(ConcurrencySlotAcquisitionError, match="Locked"), concurrency("gpu", max_retries=0):
                pass
            raise ValueError("the model broke")

        WithGpuLease(Threads()).call("caption", model)

    with pytest.raises(ValueError, match="the model broke"):
        build()
    assert slots() == 0


def test_without_the_limit_the_work_goes_on_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from patina.flows.gpu import WithGpuLease

    @flow
    def build() -> list[str]:
        runner = WithGpuLease(Threads())
        return [runner.call("caption", lambda: "a dog") for _ in range(2)]

    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    assert build() == ["a dog", "a dog"]
    said = [record.getMessage() for record in caplog.records if "gpu" in record.getMessage()]
    assert len(said) == 1
    assert "prefect gcl create gpu --limit 1" in said[0]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_server_that_is_away_keeps_no_model_from_its_work(
    moment: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from patina.flows import gpu

    def away() -> bool:
        raise httpx.ConnectError("all attempts failed")

    def taken() -> ExitStack:
        held = ExitStack()
        held.callback(away)
        return held

    @flow
    def build() -> bool:
        with gpu.lease("training") as held:
            return held

    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    monkeypatch.setattr(gpu, "limit_exists", away if moment == "before" else lambda: True)
    monkeypatch.setattr(gpu, "_taken", taken)
    assert build() is (moment == "after")
    (said,) = [record.getMessage() for record in caplog.records if "all attempts failed" in record.getMessage()]
    assert ("waits for nobody else's model" if moment == "before" else "free in a minute") in said


@pytest.mark.parametrize(
    ("devices", "needed"), [((), True), (("cuda:0",), True), (("cpu",), False), (("cpu", "cpu:0"), False)]
)
def test_a_captioner_on_the_cpu_alone_waits_for_no_gpu(devices: tuple[str, ...], needed: bool) -> None:
    from patina.flows.gpu import needs_lease

    assert needs_lease(devices) is needed
