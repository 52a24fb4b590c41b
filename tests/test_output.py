"""Printing in processes of their own, whose readers go away in the middle."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PREPARED = """
import sys, time
from pathlib import Path
from patina.output import outlive_readers
"""

WAYS = {
    "print": ("outlive_readers()", "print('x' * 1000, flush=True)"),
    "print to stderr": ("outlive_readers()", "print('x' * 1000, file=sys.stderr, flush=True)"),
    "a stream's own write": ("outlive_readers()", "sys.stdout.write('x' * 1000); sys.stdout.flush()"),
    "rich": ("from rich.console import Console; outlive_readers(); c = Console()", "c.print('x' * 1000)"),
    "a logger's handler that was there before": (
        "import logging; logging.basicConfig(); logging.raiseExceptions = False; outlive_readers()",
        "logging.warning('x' * 1000)",
    ),
    "rich to a stream that it held before": (
        "from rich.console import Console; c = Console(file=sys.stderr); outlive_readers()",
        "c.print('x' * 1000)",
    ),
    "a child that outlives them itself": (
        "outlive_readers(); import subprocess; "
        "child = 'from patina.output import outlive_readers; outlive_readers(); import time; "
        "[(print(k, flush=True), time.sleep(0.01)) for k in range(60)]'; "
        "started = subprocess.Popen([sys.executable, '-c', child])",
        "assert not (k == 59 and started.wait(60))",
    ),
}

GONE_ON = "for k in range(60):\n    {say}\n    time.sleep(0.01)\nPath(sys.argv[1]).write_text('whole')"


def program(way: str) -> str:
    """Prints for longer than it is read, then says in a file that it came to its end."""
    prepare, say = WAYS[way]
    return (
        f"{PREPARED}{prepare}\nprint('begun', file=sys.stderr); print('begun', flush=True)\n{GONE_ON.format(say=say)}"
    )


def over_a_pipe(command: list[str]) -> tuple[subprocess.Popen[bytes], Callable[[], None]]:
    read, write = os.pipe()
    process = subprocess.Popen(command, stdout=write, stderr=write)
    os.close(write)
    os.read(read, 1)
    return process, lambda: os.close(read)


def over_a_terminal(command: list[str]) -> tuple[subprocess.Popen[bytes], Callable[[], None]]:
    """One that ignores the signal of a terminal that is closed, as after nohup."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509
    )
    os.close(slave)
    os.read(master, 1)
    return process, lambda: os.close(master)


@pytest.mark.parametrize("start", [over_a_pipe, over_a_terminal])
@pytest.mark.parametrize("way", WAYS)
def test_a_process_outlives_its_readers(
    way: str, start: Callable[[list[str]], tuple[subprocess.Popen[bytes], Callable[[], None]]], tmp_path: Path
) -> None:
    process, leave = start([sys.executable, "-c", program(way), str(tmp_path / "mark")])
    leave()
    assert process.wait(60) == 0
    assert (tmp_path / "mark").read_text() == "whole"


def test_what_is_read_and_what_goes_to_a_file_is_as_it_was(tmp_path: Path) -> None:
    code = f"{PREPARED}outlive_readers()\nprint('piped', flush=True)\nprint('filed', file=sys.stderr)"
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log, check=True)
    assert done.stdout == b"piped\n"
    assert (tmp_path / "log").read_bytes() == b"filed\n"


@pytest.mark.parametrize("closed", ["1", "2", "1, 2"])
def test_closed_descriptors_are_let_be(closed: str, tmp_path: Path) -> None:
    code = (
        f"import os; [os.close(n) for n in ({closed},)]\n{PREPARED}outlive_readers()\n"
        "time.sleep(0.1)\nPath(sys.argv[1]).write_text('whole')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "mark")], stdout=subprocess.PIPE, check=True)
    assert (tmp_path / "mark").read_text() == "whole"
