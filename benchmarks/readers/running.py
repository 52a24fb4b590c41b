"""A reader's script on the dataset that all readers get, in whatever environment, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.readers import dataset
from benchmarks.readers.readers import SCRIPTS, Reader

SECONDS = 900
"""A reader that takes longer is ended."""


def lay_out(folder: Path) -> None:
    """The dataset, its exports and truth.json below `folder`, unless they are there."""
    if not (folder / "truth.json").exists():
        out = dataset.make(folder)
        dataset.export_all(out, folder / "exports")
        dataset.write_truth(out, folder / "truth.json")


def run_script(reader: Reader, python: str, folder: Path) -> dict[str, Any]:
    """What a reader's script printed last, run by an interpreter that need not know patina; see `lay_out`."""
    with tempfile.TemporaryDirectory() as scratch:
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
