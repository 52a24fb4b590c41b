"""A worker's flow run waits for a server that is away before it ends; whoever calls a flow himself is not kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from patina.flows import outliving


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A server that answers at the third question, and the pauses between them."""
    answers, paused = iter([False, False, True]), list[float]()
    monkeypatch.setattr(outliving, "server_answers", lambda: next(answers))
    monkeypatch.setattr(outliving.time, "sleep", paused.append)
    monkeypatch.setattr(outliving, "get_run_logger", lambda: outliving_log)
    outliving_log.lines.clear()
    yield paused


class Log:
    lines: list[str] = []  # noqa: RUF012

    def warning(self, line: str) -> None:
        self.lines.append(line)


outliving_log = Log()


def test_a_workers_run_waits(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(outliving.STARTED_BY_RUNNER, "a-run")
    outliving.await_server()
    assert asked == [outliving.PAUSE]
    assert len(outliving_log.lines) == 1


def test_it_does_not_wait_for_ever(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(outliving.STARTED_BY_RUNNER, "a-run")
    monkeypatch.setattr(outliving, "PATIENCE", 0.0)
    outliving.await_server()
    assert asked == []


def test_others_do_not(asked: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(outliving.STARTED_BY_RUNNER, raising=False)
    outliving.await_server()
    assert (asked, outliving_log.lines) == ([], [])
