"""Every error that a user may meet has its package's base, and is of the built-in kind that code expects of it."""

from __future__ import annotations

import ast
import builtins
import errno
import importlib
import pickle
import sqlite3
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from patina.captioning.captioner import CaptionError
from patina.flows.cli.user_errors import is_for_the_user
from patina.flows.errors import FlowError, ServerAwayError
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import PipelineError
from patina.pipeline.scan.reading import SourceChangedError
from patina.pipeline.sources.locations import LocationError
from patina.synth.degradation import SettingError
from patina.training.errors import RunFailedError, StageCrashedError, StageError, TrainingError

ROOT = Path(__file__).parents[1]
BASES = {
    "captioning": CaptionError,
    "flows": FlowError,
    "pipeline": PipelineError,
    "synth": SettingError,
    "training": TrainingError,
}
BUILT_IN = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}


@cache
def classes() -> list[tuple[str, str, frozenset[str]]]:
    """Module, name and names of the bases of every class of the five packages, as its text has them."""
    found = []
    for path in (path for package in BASES for path in sorted((ROOT / package).rglob("*.py"))):
        module = ".".join(("patina", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = frozenset(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                found.append((module, node.name, bases))
    return found


@cache
def errors() -> list[tuple[str, str]]:
    """Module and name of every error class: what has an error among its bases, in however many steps."""
    kinds, before = set(BUILT_IN), 0
    while len(kinds) != before:
        before = len(kinds)
        kinds |= {name for _, name, bases in classes() if bases & kinds}
    return sorted((module, name) for module, name, bases in classes() if bases & kinds)


PUBLIC = [(module, name) for module, name in errors() if not name.startswith("_")]


def loaded(module: str, name: str) -> type[Exception]:
    kind: type[Exception] = getattr(importlib.import_module(module), name)
    return kind


def test_all_of_them_were_found() -> None:
    found = {name for _, name in errors()}
    assert {"SourceError", "OutputError", "SamplingError", "UnsafeCheckpointError", "FindingsError"} < found
    assert {"_StoppedError", "_UnfitError"} < found
    assert len(PUBLIC) >= 30


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_it_has_the_base_of_its_package_and_a_built_in_one(module: str, name: str) -> None:
    kind = loaded(module, name)
    assert issubclass(kind, BASES[module.split(".")[1]])
    if kind not in {FlowError, PipelineError, TrainingError}:
        assert issubclass(kind, (ValueError, RuntimeError, OSError, ImportError))


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_it_comes_whole_out_of_another_process_and_is_told_in_a_line(module: str, name: str) -> None:
    kind = loaded(module, name)
    error = kind("place", "what to do") if kind is SourceChangedError else kind("what to do")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))
    assert "what to do" in str(error)
    assert is_for_the_user(error)


@pytest.mark.parametrize("kind", [OutputError, LocationError, ServerAwayError])
def test_errors_of_the_system_keep_its_number(kind: type[OSError]) -> None:
    error = kind(errno.ENOSPC, "No space left on device", "place")
    assert (error.errno, error.strerror, error.filename) == (errno.ENOSPC, "No space left on device", "place")
    again = pickle.loads(pickle.dumps(error))
    assert (again.errno, again.filename) == (errno.ENOSPC, "place")
    assert kind("words").errno is None


def test_what_is_tried_again_is_no_wider_than_what_died() -> None:
    assert issubclass(StageCrashedError, RunFailedError)
    assert not issubclass(StageError, RunFailedError)
    assert not issubclass(TrainingError, (ValueError, RuntimeError))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOENT, "No such file"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.DatabaseError("malformed"), False),
        (ValueError("a fault of ours"), False),
        (RuntimeError("a fault of ours"), False),
        (ImportError("a fault of ours"), False),
        (MemoryError(), False),
    ],
    ids=repr,
)
def test_others_are_faults_of_ours_and_told_in_full(error: Exception, told: bool) -> None:
    assert is_for_the_user(error) is told


def test_the_bases_need_no_heavy_library() -> None:
    code = (
        "import sys; from patina.flows.cli.user_errors import is_for_the_user as f; f(ValueError()); "
        "assert not {'torch', 'prefect', 'transformers', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
