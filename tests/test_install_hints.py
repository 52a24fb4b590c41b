"""Whatever tells people what to install names the distribution `patina-ir`, and extras that it has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_one_package import files

ROOT = Path(__file__).parents[1]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])

_OTHERS = re.compile(r"\bpip3? install\b[^\n`;,)]*?[\s'\"=](patina)(?![\w-])|(?<![\w-])(patina)\[\w")
"""The package's name where the distribution's is meant: on the registry it is not this project's."""

_NAMED = re.compile(r"(?:\bpatina-ir|['\"\s]\.)\[([a-z]+(?:,[a-z]+)*)\]")


def wrong(text: str) -> Iterator[str]:
    """What a text says of installing that is not so."""
    yield from (match.group() for match in _OTHERS.finditer(text))
    for match in _NAMED.finditer(text):
        yield from (f"no extra {extra}" for extra in match.group(1).split(",") if extra not in EXTRAS)


OTHER = "patina"


@pytest.mark.parametrize(
    "hint",
    [
        f"pip install {OTHER}",
        f"run `pip install -U {OTHER}` first",
        f"python -m pip install '{OTHER}[train]'",
        f"it needs {OTHER}[hub]",
        f"pip install {OTHER}==1.0",
        "pip install 'patina-ir[" + "trian]'",
        "pip install -e '." + "[devel]'",
        "patina-ir[train," + "cuda]",
    ],
)
def test_a_wrong_hint_is_found(hint: str) -> None:
    assert list(wrong(hint))


@pytest.mark.parametrize(
    "hint",
    [
        "pip install patina-ir",
        "pip install 'patina-ir[train]'",
        "pip install -c constraints.txt -e '.[demo,train]'",
        f"pip install lpips; then {OTHER} evaluate",
        f"`pip install 'patina-ir[app]'`, and {OTHER} app",
        f"the command {OTHER}",
    ],
)
def test_a_right_hint_is_left_alone(hint: str) -> None:
    assert not list(wrong(hint))


def test_every_hint_of_the_project_is_right() -> None:
    found = [f"{path.relative_to(ROOT)}: {what}" for path in files() for what in wrong(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_hints_are_found_at_all() -> None:
    """The places that are known to have one are looked at, and name something."""
    named = {str(path.relative_to(ROOT)) for path in files() if _NAMED.search(path.read_text("utf-8"))}
    assert {"README.md", "Makefile", "pyproject.toml", "captioning/devices.py", "flows/demo.py"} <= named


def test_every_runner_of_a_cluster_is_an_extra() -> None:
    """flows/runners.py names the extra by the runner's name."""
    assert {"dask", "ray"} <= EXTRAS
