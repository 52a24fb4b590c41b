from __future__ import annotations

import os
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path

import pytest

from patina import output
from patina.training.errors import StageCrashedError, StageError
from patina.training.jobs import process as processes
from patina.training.jobs.process import Ended, run_process


def python(code: str) -> list[str]:
    """The command that runs this code."""
    return [sys.executable, "-c", code]


def test_every_line_is_said_in_order_and_the_last_200_are_kept() -> None:
    said: list[str] = []
    code = "import sys; print('of stderr', file=sys.stderr, flush=True); [print(k, '  ') for k in range(300)]"
    ended = run_process(python(code), said.append)
    assert said == ["of stderr", *(str(k) for k in range(300))]
    assert ended == Ended(0, said[-200:])


def test_it_reads_its_text_and_knows_who_started_it() -> None:
    code = (
        "import os, sys; print(sys.stdin.read(), os.environ['PATINA_PARENT'], os.environ['EXTRA'], "
        "os.getpid() == os.getpgid(0))"
    )
    ended = run_process(python(code), lambda line: None, more={"EXTRA": "beside"}, text="the job")
    assert list(ended.lines) == [f"the job {os.getpid()} beside True"]


def test_a_process_without_a_text_has_an_empty_input() -> None:
    assert list(run_process(python("import sys; print(repr(sys.stdin.read()))"), lambda line: None).lines) == ["''"]


def test_a_process_may_speak_much_before_it_reads_and_end_without_reading() -> None:
    long = "x" * 1_000_000
    ended = run_process(python(f"import sys; print('y' * {len(long)}); print(len(sys.stdin.read()))"), str, text=long)
    assert [len(ended.lines[0]), ended.lines[1]] == [len(long), str(len(long))]
    assert run_process(python("raise SystemExit(4)"), str, text=long).status == 4


def test_its_last_told_line_becomes_the_error_and_else_its_last_lines_do() -> None:
    code = "print('patina: the first'); print('patina: mend the recipe'); print('on the way out'); raise SystemExit(1)"
    error = run_process(python(code), str).error("stage irsde")
    assert isinstance(error, StageError) and str(error) == "mend the recipe"
    error = run_process(python("[print(k) for k in range(40)]; raise SystemExit(7)"), str).error("stage irsde")
    assert isinstance(error, StageCrashedError)
    assert str(error).splitlines() == [
        "stage irsde: its process ended with status 7; its last lines:",
        *(str(k) for k in range(25, 40)),
    ]


ASKED_TO_END = """
import signal, sys, time
from pathlib import Path
def ended(*_):
    print("saved", flush=True)
    Path(sys.argv[1]).write_text("ended")
    sys.exit(3)
signal.signal(signal.SIGTERM, ended)
print("here", flush=True)
time.sleep(600)
"""


def test_what_watch_raises_ends_the_process_whose_last_lines_are_still_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "POLL", 0.05)
    said: list[str] = []

    def interrupted() -> None:
        if said:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_process([*python(ASKED_TO_END), str(tmp_path / "mark")], said.append, watch=interrupted)
    assert (tmp_path / "mark").read_text() == "ended"
    assert said == ["here", "saved"]


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), SystemExit(1), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_what_telling_raises_ends_nothing_and_the_log_says_so(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    def tell(line: str) -> None:
        if line == "3":
            raise error
        said.append(line)

    ended = run_process(python("[print(k) for k in range(6)]"), tell)
    assert ended == Ended(0, [str(k) for k in range(6)])
    assert said == ["0", "1", "2", "4", "5"], "those after it are told again"
    assert [record.getMessage() for record in caplog.records] == [f"1 lines of a process were not told: {error!r}"]


def test_telling_that_never_returns_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "FAREWELL", 0.1)
    never = threading.Event()
    ended = run_process(python("[print(k, 'x' * 1000) for k in range(3000)]"), lambda line: never.wait() and None)
    assert ended.status == 0, "three megabytes went into its pipe"
    assert ended.lines[-1].startswith("2999 ")
    never.set()


def test_an_output_that_a_leftover_holds_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LEFTOVERS", 0.3)
    code = (
        "import subprocess, sys; print('begun', flush=True);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    began = time.monotonic()
    assert run_process(python(code), str) == Ended(0, ["begun"])
    assert time.monotonic() - began < 60


def test_a_process_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL", 0.05)
    monkeypatch.setattr(processes, "GRACE", 0.2)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    said: list[str] = []

    def asked() -> None:
        if said:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_process(python(code), said.append, watch=asked)
    assert time.monotonic() - began < 60


LISTENER: ContextVar[str] = ContextVar("listener", default="nobody")


def test_lines_are_said_in_the_context_of_the_caller() -> None:
    heard: list[str] = []
    token = LISTENER.set("the flow")
    try:
        run_process(python("print(1)"), lambda line: heard.append(LISTENER.get()))
    finally:
        LISTENER.reset(token)
    assert heard == ["the flow"]
