"""Other people's readers on one dataset, each by the script that `make readers` runs, with nothing of theirs patched.

Most run in the environment of these tests. `make test` makes those beside it for readers that want other versions.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.readers.environments import ENVIRONMENTS, IN_TESTS, python_of
from benchmarks.readers.readers import READERS, Reader
from benchmarks.readers.running import lay_out, run_script

BESIDE = Path(sys.prefix) / "readers"
ELSEWHERE = {"lance", "webshart", "litdata", "mosaicml-streaming", "datachain", "NVIDIA DALI"}
"""Readers that are heavy or that read an export alone: `make readers` runs them."""

HERE = {"datasets", "tables"}
"""Environments whose packages are in `dev`, for the readers that are tested."""

TESTED = [reader for reader in READERS if reader.name not in ELSEWHERE]
CANNOT = {"open_clip with webdataset 1.0": "KeyError: 'fname'"}
"""What no dataset could mend, in the reader's own words."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    lay_out(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("reader", TESTED, ids=lambda reader: reader.name)
def test_a_reader_reads_the_folder_as_it_is(reader: Reader, folder: Path) -> None:
    """Every sample once, with its own pair, caption and truth maps, and what else its row of docs/readers.md tells."""
    python = sys.executable if reader.environment in HERE else str(python_of(BESIDE, reader.environment))
    if not Path(python).exists():
        pytest.skip(f"{python} is not there: `make slow` makes it")
    told = run_script(reader, python, folder)
    assert told["wrong"] == []
    if says := CANNOT.get(reader.name):
        assert told["shown"] == []
        assert says in " ".join(told["mind"])
    else:
        assert told["shown"]


def test_readers_are_tested_in_the_versions_that_the_page_names() -> None:
    """What runs in the environment of the tests has there the version that `make readers` installs."""
    lines = Path(__file__).parents[1].joinpath("constraints.txt").read_text("utf-8").splitlines()
    held = dict(line.split("==") for line in lines if "==" in line)
    tested = {reader.name for reader in TESTED} | {"torch", "torchvision", "numpy", "pillow", "pandas"}
    for name in {*HERE, "torch"}:
        for package in ENVIRONMENTS[name].packages:
            bare, version = re.sub(r"\[.*\]", "", package).split("==")
            if bare in tested or f"{bare}.data" in tested:
                assert held[bare] == version, package


def test_every_reader_that_is_tested_has_an_environment() -> None:
    assert {reader.environment for reader in TESTED} == {*HERE, *IN_TESTS}
    assert {reader.name for reader in READERS} > ELSEWHERE
