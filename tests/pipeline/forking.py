"""Builds that come to grief, each in a process of its own, forked from one that has imported everything.

`Forks` is the test's side. The other side, which this module is when it is run, reads one request a line and forks for
each build: killed at a point or after a while, or on a disk that takes no more. A build that hangs is killed and said.
What one build had to import, the next ones find imported: that is half of what such a small one has to do.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import cv2

from patina.captioning import CAPTIONERS
from patina.captioning.captioner import Caption, Captioner, Photo, Run
from patina.pipeline.builder.build import build
from patina.pipeline.builder.runner import Threads
from patina.pipeline.builder.samples import SampleMaker
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.format.layout import PRIVATE, VERSIONS
from patina.pipeline.format.manifest import samples_schema
from patina.pipeline.hashing import file_sha256
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.versions.version import current_or_none
from tests.pipeline.making import public_files

BATCH = 2  # photographs that the captioner sees at once
PATIENCE = 120  # seconds that a build may take; these take a tenth of one


@dataclass(frozen=True)
class Seen:
    """A dataset's folder: digests of all that readers see, and what lies in its private folder beside the stores."""

    public: dict[str, str]
    left: list[str]


@dataclass(frozen=True)
class Ended:
    """How a build ended: 0, or the signal that killed it, below 0; the error's class and words; and how often each
    point was passed, of a build that was not killed."""

    status: int
    error: str = ""
    words: str = ""
    passed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Forks:
    """A process that forks builds. `before`: a command that runs it, such as one that gives it mounts of its own."""

    def __init__(self, before: Sequence[str] = ()) -> None:
        command = [*before, sys.executable, "-m", "tests.pipeline.forking"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def build(self, folder: Path, table: str, out: Path, **how: Any) -> Ended:
        """Build folder/`table`.json into `out`. `at`: a point and how often it is passed before the kill; `delay`:
        seconds before it; `largest`: bytes of a file at the most."""
        return Ended(**self._ask(do="build", folder=str(folder), table=table, out=str(out), **how))

    def look(self, out: Path) -> Seen:
        """What lies in `out`."""
        return Seen(**self._ask(do="look", out=str(out)))

    def run(self, *command: object) -> int:
        """Run a command there; gives its exit code."""
        code: int = self._ask(do="run", command=[str(word) for word in command])["code"]
        return code

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def asked(folder: Path) -> Counter[str]:
    """How often the captioner was asked for each image, over all builds."""
    path = folder / "asked.txt"
    return Counter(path.read_text().split()) if path.exists() else Counter()


# ---------------------------------------------------------------------------------------------------------------------
# The other side


@dataclass(frozen=True)
class Slow(Captioner):
    """A captioner whose captions are kept, which takes its time and writes down whom it was asked for."""

    name: ClassVar[str] = "slow"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        return {}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        for photo in photos:
            path = Path(photo.folder).parent / "asked.txt"
            with path.open("ab", buffering=0) as file:
                file.write(f"{photo.digest}\n".encode())
        point("caption")
        time.sleep(0.003)
        return [Caption(f"a picture called {photo.name}") for photo in photos]


_passed: Counter[str] = Counter()
_passing = threading.Lock()
_last: list[str | int] = []  # where a build is to end


def point(name: str) -> None:
    """A point where a build may be killed."""
    with _passing:
        _passed[name] += 1
        if [name, _passed[name]] == _last:
            os.kill(os.getpid(), signal.SIGKILL)


def _before(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> Any:
        point(name)
        return function(*args, **kwargs)

    return passing


def _instrument() -> None:
    for name in ("writev", "replace", "unlink", "fsync", "mkdir", "link", "symlink", "rename", "rmdir"):
        setattr(os, name, _before(getattr(os, name), name))
    SampleMaker.sample = _before(SampleMaker.sample, "sample")  # type: ignore[method-assign]
    import patina.pipeline.cache.database as stores

    opened = stores._open

    def watched(*args: Any) -> Any:
        connection = opened(*args)
        connection.set_progress_handler(lambda: point("store"), 40)
        return connection

    stores._open = watched


def _build(request: dict[str, Any]) -> None:
    folder = Path(request["folder"])
    table = json.loads((folder / f"{request['table']}.json").read_text())
    recipe = parse_recipe(table, folder, "tiny")
    if request.get("largest") is not None:  # SIGXFSZ is ignored by Python, so that writing more is an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"], resource.RLIM_INFINITY))
    build(recipe, Path(request["out"]), Options(workers=2, captioning=Run(batch=BATCH)), Threads(2))


def _fork(request: dict[str, Any]) -> dict[str, Any]:
    start, before = time.monotonic(), set(sys.modules)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        answer: dict[str, Any] = {}
        try:
            _last.extend(request.get("at") or [])
            _instrument()
            _build(request)
        except Exception as error:
            answer = {"error": type(error).__name__, "words": str(error)}
        with open(writing, "w") as pipe:  # noqa: PTH123 - of a descriptor
            json.dump({**answer, "passed": _passed, "imported": sorted(set(sys.modules) - before)}, pipe)
        os._exit(1 if answer else 0)
    os.close(writing)
    if request.get("delay") is not None:
        time.sleep(request["delay"])
        os.kill(child, signal.SIGKILL)
    hanging = threading.Timer(PATIENCE, lambda: os.kill(child, signal.SIGABRT))
    hanging.start()
    with open(reading) as pipe:  # noqa: PTH123
        text = pipe.read()
    hanging.cancel()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGABRT:
        return {"status": status, "error": "Hangs", "words": f"a build of {PATIENCE} seconds"}
    seconds = time.monotonic() - start
    told = json.loads(text) if text and status >= 0 else {}
    _import(told.pop("imported", ()))
    return {"status": status, **told, "seconds": seconds}


def _import(names: Sequence[str]) -> None:
    """Import what a child did. That stays, and no child need look through it for garbage, which would copy it."""
    for name in names:
        with contextlib.suppress(ImportError):  # a name that a module gave to a part of it, such as six.moves
            import_module(name)
    gc.freeze()


def _look(out: Path) -> dict[str, Any]:
    own = {"lock", "scan.sqlite", "captions.sqlite", "current"}
    left = [p for p in sorted((out / PRIVATE).rglob("*")) if not p.is_dir() and p.name not in own]
    current = current_or_none(out)
    versions = [p for p in left if VERSIONS in p.parts and current and _number(p, out) <= current.number]
    return {
        "public": {name: file_sha256(path) for name, path in public_files(out).items()},
        "left": [str(p.relative_to(out)) for p in left if p not in versions],
    }


def _number(path: Path, out: Path) -> int:
    """The number of the version that a file lies in, or is the record of."""
    return int(path.relative_to(out / PRIVATE / VERSIONS).parts[0].partition("-")[0])


def _answers() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "build":
            yield _fork(request)
        elif request["do"] == "look":
            yield _look(Path(request["out"]))
        else:
            yield {"code": subprocess.run(request["command"], check=False, stdout=subprocess.DEVNULL).returncode}


def main() -> None:
    """Answer until there are no more requests."""
    cv2.setNumThreads(1)
    CAPTIONERS["slow"] = Slow
    codec_fingerprint()
    samples_schema().empty_table()  # imports what every child would have to import
    for answer in _answers():
        print(json.dumps(answer), flush=True)


@contextlib.contextmanager
def copied(source: Path, target: Path) -> Iterator[Path]:
    """A copy of a folder for as long as it is needed."""
    shutil.copytree(source, target)
    try:
        yield target
    finally:
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
