"""Commands that are forked from a process that has imported what they need, where a start would take most of the time.

`Forks` is the test's side. The other side, which this module is when it is run, reads one request a line, and forks a
child for each command, which is from there on what `python -m MODULE WORD…` is: a session of its own, the signals of a
terminal, nothing on stdin, and an end by way of `atexit`. What one child had to import, the next ones find imported.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from patina.captioning.torchvision_ops import ensure_torchvision

ROOT = Path(__file__).parents[3]


class Forks:
    """The process that forks. `environment`: what it and all its children have."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.cli.forked"],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, module: str, *words: object, stderr: Path) -> Forked:
        """Begin `python -m MODULE WORD…`; what it says on stderr goes to a file, what it prints to nobody."""
        return Forked(self, self.ask(do="start", module=module, words=[str(w) for w in words], stderr=str(stderr)))

    def ask(self, **request: Any) -> Any:
        """What the other side answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Forked:
    """A command that was forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks, self.pid = forks, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or the signal that killed it, below 0; None while it runs."""
        if self.returncode is None:
            self.returncode = self._forks.ask(do="poll", pid=self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The same once it has ended. Raises TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return code


# ---------------------------------------------------------------------------------------------------------------------
# The other side


class _Child:
    """A child, and the file in which it tells what it had to import."""

    def __init__(self, request: dict[str, Any]) -> None:
        Path(request["stderr"]).write_bytes(b"")
        self._told, before = tempfile.TemporaryFile("w+"), set(sys.modules)  # noqa: SIM115 - read and closed in poll
        self.pid = os.fork()
        if not self.pid:
            code = 1
            with contextlib.suppress(BaseException):
                _begin(request["stderr"])
                code = _run(request["module"], request["words"])
                json.dump([name for name in sys.modules if name not in before], self._told)
                self._told.flush()
            os._exit(code)

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        with self._told:
            self._told.seek(0)
            with contextlib.suppress(ValueError):  # it was killed while it told
                _import(json.loads(self._told.read() or "[]"))
        return os.waitstatus_to_exitcode(status)


def _begin(stderr: str) -> None:
    """Be as a process that a terminal starts, but for what it reads and writes."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for number, path in enumerate((os.devnull, os.devnull, stderr)):
        file = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)


def _run(module: str, words: list[str]) -> int:
    """Run the module, and end as Python would; gives the exit code."""
    sys.argv, code = [module, *words], 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _import(names: list[str]) -> None:
    """In the order in which a child did."""
    if "torchvision" in names:
        ensure_torchvision()
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.freeze()


def _answers() -> NoReturn:
    children: dict[int, _Child] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            child = _Child(request)
            children[child.pid] = child
            answer: int | None = child.pid
        else:
            answer = children[request["pid"]].poll()
        print(json.dumps(answer), flush=True)
    sys.exit(0)


if __name__ == "__main__":
    _answers()
