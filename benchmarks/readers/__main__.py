"""Runs every reader on one dataset, and writes what was shown into docs/readers.md.

    python -m benchmarks.readers [--environments .venv-readers] [--only NAME …] [--folder FOLDER] [--save]

The first run installs about five gigabytes of packages, pinned in environments.py. No reader sees patina: each is a
script of scripts/ in an environment of its own, which is told where the dataset, its exports and truth.json are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.readers import dataset
from benchmarks.readers.environments import ENVIRONMENTS, InstallError, make, python_of
from benchmarks.readers.page import PAGE, page
from benchmarks.readers.readers import READERS, SCRIPTS, Reader

SECONDS = 900
"""A reader that takes longer is ended."""


def main() -> int:
    """Run the readers; 1 if one of them read wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path(".venv-readers"))
    parser.add_argument("--only", nargs="*", default=[], choices=[reader.name for reader in READERS])
    parser.add_argument("--folder", type=Path, help="keep the dataset, its exports and the results there")
    parser.add_argument("--save", action="store_true", help=f"write {PAGE}")
    given = parser.parse_args()
    if given.save and given.only:
        parser.error("--save writes the whole table: leave out --only")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        lay_out(folder)
        chosen = [reader for reader in READERS if not given.only or reader.name in given.only]
        results = {reader.name: read(reader, given.environments.resolve(), folder) for reader in chosen}
        counts = json.loads((folder / "truth.json").read_text("utf-8"))
    if given.save:
        PAGE.write_text(page(results, counts), "utf-8")
    return int(any(result["wrong"] for result in results.values()))


def lay_out(folder: Path) -> None:
    """The dataset, its exports and truth.json below `folder`, unless they are there."""
    if not (folder / "truth.json").exists():
        out = dataset.make(folder)
        dataset.export_all(out, folder / "exports")
        dataset.write_truth(out, folder / "truth.json")


def read(reader: Reader, environments: Path, folder: Path) -> dict[str, Any]:
    """Run one reader; gives what its script printed last, or why it could not be run."""
    print(f"{reader.name}: ", end="", flush=True)
    try:
        make(environments, reader.environment)
    except InstallError as error:
        wanted = ", ".join(ENVIRONMENTS[reader.environment].packages)
        why = f"{wanted} cannot be installed: {error}"
        result = {"versions": {}, "shown": [], "mind": [], "wrong": [why], "not run": True}
    else:
        result = _run(reader, environments, folder)
    print("wrong" if result["wrong"] else "right" if result["shown"] else "cannot")
    for line in (*result["shown"], *(f"mind: {m}" for m in result["mind"]), *(f"WRONG: {w}" for w in result["wrong"])):
        print(f"    {line}")
    return result


def _run(reader: Reader, environments: Path, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        python = str(python_of(environments, reader.environment))
        script = str(SCRIPTS / f"read_{reader.script}.py")
        paths = map(str, (folder / "out", folder / "exports", folder / "truth.json", scratch))
        lonely = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "HOME": scratch,
            "DATACHAIN_ROOT_DIR": scratch,
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        try:
            done = subprocess.run(
                [python, script, *paths, *reader.words],
                capture_output=True, check=False, text=True, timeout=SECONDS, env=lonely | quiet, cwd=scratch,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"versions": {}, "shown": [], "mind": [], "wrong": [f"did not end within {SECONDS} seconds"]}
    try:
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        words = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return {"versions": {}, "shown": [], "mind": [], "wrong": [f"ended with {done.returncode}: {words[0]}"]}
    if result["wrong"]:
        print(done.stderr[-3000:], file=sys.stderr)
    return result


if __name__ == "__main__":
    sys.exit(main())
