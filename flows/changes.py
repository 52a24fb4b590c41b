"""Changes of files and folders, as they happen: told by the operating system, or seen by looking again and again.

    Told     watchfiles: inotify, FSEvents, ReadDirectoryChangesW. A change is known within some 50 ms, and waiting
             costs nothing.
    Looked   names, sizes and times of every file, every so many seconds. Without watchfiles, and where the system has
             no watches left.

Both put what changed into a queue. What a build writes below the dataset's own folder is no change.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from typing import Protocol

GROUPED_MS, STEP_MS = 50, 10
"""How long changes are gathered before they are told, at most, and how long none may come."""

WAKE_MS = 1000
"""After which a thread that waits for changes looks whether it is still wanted."""

AGAIN_S = 2.0
"""From one look for a place that is not there to the next."""


class Changes(Protocol):
    """Where changes come from. how: what is done to know of them, in words."""

    how: str

    def wait(self, seconds: float | None) -> str:
        """The path of a change, as soon as there is one; empty if none came in that time (none: for ever)."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


def changes_of(places: Sequence[Path], aside: Path | None, every: float) -> Changes:
    """The changes of these files and folders and of all below them, but not below `aside`, the dataset's folder.

    every  seconds from one look to the next, where the operating system is not asked.
    """
    places = tuple(dict.fromkeys(places))
    if find_spec("watchfiles") is None:
        why = "watchfiles is not installed (pip install 'patina-ir[watch]')"
        return Looked(places, aside, every, why)
    try:
        return Told(places, aside)
    except (OSError, RuntimeError) as error:  # no watches left: fs.inotify.max_user_watches
        return Looked(places, aside, every, f"the system cannot tell of changes ({error})")


class _Queued:
    """Changes in a queue, that a thread fills."""

    def __init__(self) -> None:
        self._queue: Queue[str] = Queue()
        self._ended = threading.Event()

    def wait(self, seconds: float | None) -> str:
        """As Changes says. In short waits, so that an interruption is heeded on every system."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            try:
                return self._queue.get(timeout=max(left, 0.001))
            except Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    return ""

    def close(self) -> None:
        """Let the threads end."""
        self._ended.set()

    def _start(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True, name=name).start()


class Told(_Queued):
    """What the operating system tells. Raises OSError where it cannot.

    Of a file its folder is watched, as editors write another file and rename it; of a place that is not there, or is
    taken away, the nearest folder above it that is there.
    """

    how = "the system tells of changes"

    def __init__(self, places: Sequence[Path], aside: Path | None) -> None:
        super().__init__()
        self._places, self._aside = places, _both((aside,) if aside else ())
        self._wanted = _both(places)
        self._stop = threading.Event()
        self._watched = self._watch()
        self._start("places", self._follow)

    def close(self) -> None:
        """Let the threads end."""
        super().close()
        self._stop.set()

    def _watch(self) -> Mapping[Path, object]:
        """Begin to watch what is there now; gives the identity of each place."""
        self._stop = threading.Event()
        there = {place: _identity(place) for place in self._places}
        folders = [place for place in there if place.is_dir()]
        above = dict.fromkeys(_nearest(place.parent) for place in there)  # of a folder too: it may be renamed
        for name, paths, deep in (("folders", folders, True), ("files", list(above), False)):
            if paths:
                self._start(name, self._listener(paths, deep, self._stop))
        return there

    def _listener(self, paths: Iterable[Path], deep: bool, stop: threading.Event) -> Callable[[], None]:
        from watchfiles._rust_notify import RustNotify  # documented, and unlike watch() it watches from here on

        notify = RustNotify([str(path) for path in paths], False, False, 0, deep, True)

        def listen() -> None:
            with notify:
                while not stop.is_set():
                    found = notify.watch(GROUPED_MS, STEP_MS, WAKE_MS, stop)
                    for _, path in found if isinstance(found, set) else ():
                        if self._concerns(Path(path)):
                            self._queue.put(path)

        return listen

    def _concerns(self, path: Path) -> bool:
        if any(path.is_relative_to(aside) for aside in self._aside):
            return False
        return any(path.is_relative_to(place) or place.is_relative_to(path) for place in self._wanted)

    def _follow(self) -> None:
        """Watch anew when a place came or went, or is another folder of the same name."""
        while not self._ended.wait(AGAIN_S):
            now = {place: _identity(place) for place in self._places}
            if now != self._watched:
                changed = [str(place) for place in now if now[place] != self._watched[place]]
                self._stop.set()
                try:
                    self._watched = self._watch()
                except (OSError, RuntimeError):  # it went in between: look again
                    continue
                self._queue.put(changed[0])


class Looked(_Queued):
    """What one look after another finds."""

    def __init__(self, places: Sequence[Path], aside: Path | None, every: float, why: str) -> None:
        super().__init__()
        self.how = f"looking every {every:g} s, as {why}"
        self._places, self._aside, self._every = places, _both((aside,) if aside else ()), every
        self._seen = self._look()
        self._start("looks", self._follow)

    def _follow(self) -> None:
        while not self._ended.wait(self._every):
            seen = self._look()
            changed = {path for path, _ in seen.items() ^ self._seen.items()}
            self._seen = seen
            if changed:
                self._queue.put(min(changed))

    def _look(self) -> dict[str, object]:
        """What would change with each file: size and times, without reading it."""
        found: dict[str, object] = {}
        for place in self._places:
            found[str(place)] = _identity(place)
            for root, folders, files in os.walk(place, followlinks=True):
                folders[:] = [name for name in folders if not name.startswith(".") and not self._is_aside(root, name)]
                for name in files:
                    path = os.path.join(root, name)  # noqa: PTH118 of a hundred thousand of them
                    found[path] = _stamp(path)
            if not place.is_dir():
                found[str(place)] = _stamp(str(place))
        return found

    def _is_aside(self, root: str, name: str) -> bool:
        return bool(self._aside) and (Path(root) / name) in self._aside


def _both(places: Iterable[Path]) -> frozenset[Path]:
    """Paths as they are named, and as they are without links: systems tell of the one or the other."""
    return frozenset(path for place in places for path in (place.absolute(), place.resolve()))


def _nearest(place: Path) -> Path:
    """The place, or the nearest folder above it that is there."""
    return next(folder for folder in (place, *place.parents) if folder.is_dir())


def _identity(place: Path) -> object:
    """What tells a folder or file from another of the same name; None where there is none. A file that is written
    anew is not another place: the folder's watch tells of it."""
    try:
        stat = place.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino) if place.is_dir() else "file"


def _stamp(path: str) -> object:
    try:
        stat = Path(path).stat()
    except OSError as error:
        return error.errno
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
