"""Processes that patina starts: how they find patina and its libraries, and nothing that lies in the current folder.

`python -m` and `python -c` look into the current folder first, where a user's pipeline.py, random.py or training/ would
stand before what is meant. Children look there only where PYTHONPATH says so, and they get the patina that started
them. This module stands above the five folders, since captioning, which knows none of the others, starts processes too.
"""

from __future__ import annotations

import os
import signal
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).absolute().parent.parent
"""The folder that holds the package: site-packages, or a checkout."""


def python() -> list[str]:
    """How a command begins that starts a process of Python: such as [*python(), "-m", "patina.training.loop"]."""
    return [sys.executable, "-P"]


def environment(**more: str) -> dict[str, str]:
    """The environment of such a process and of those that it starts: this process's, what they import from, and `more`.

    PYTHONSAFEPATH goes on to processes of processes, such as those of torch.distributed.run, which `-P` does not.
    """
    return {**os.environ, **_imports(), **more}


def _imports() -> dict[str, str]:
    """The variables that say where children import from."""
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    if not _is_installed() and str(ROOT) not in places:
        places.insert(0, str(ROOT))  # a checkout that was found another way, such as by the current folder
    told = places or "PYTHONPATH" in os.environ  # of which an empty part would mean the current folder
    return {"PYTHONSAFEPATH": "1", **({"PYTHONPATH": os.pathsep.join(places)} if told else {})}


def _is_installed() -> bool:
    """Whether Python finds the package by itself. On PYTHONPATH its folder would stand before the standard library."""
    return str(ROOT) in {*site.getsitepackages(), site.getusersitepackages()}


def inherit() -> None:
    """From now on, whatever this process starts has that environment: for the command, which is patina alone."""
    os.environ.update(_imports())


class _Inherited:
    """The variables as they were, while threads are within `inherited`."""

    def __init__(self) -> None:
        self._lock, self._within, self._before = Lock(), 0, dict[str, str | None]()

    def enter(self) -> None:
        with self._lock:
            if not self._within:
                changed = _imports()
                self._before = {name: os.environ.get(name) for name in changed}
                os.environ.update(changed)
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if self._within:
                return
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


_inherited = _Inherited()


@contextmanager
def inherited() -> Iterator[None]:
    """Within it, whatever this process starts has that environment: for what takes no environment of its own, such as
    multiprocessing. Threads may be in it side by side; the last one leaves the environment as the first one found it.
    """
    _inherited.enter()
    try:
        yield
    finally:
        _inherited.leave()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits; processes and threads started meanwhile never get it: their parent does, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # not everywhere, like signal masks

    resource_tracker.ensure_running()  # else the first start begins it, which ends the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
