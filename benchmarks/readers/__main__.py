"""Runs every reader on one dataset, and writes what was shown into docs/readers.md.

    python -m benchmarks.readers [--environments .venv-readers] [--only NAME …] [--folder FOLDER] [--save]

The first run installs about six gigabytes of packages, pinned in environments.py. No reader sees patina: each is a
script of scripts/ in an environment of its own, which is told where the dataset, its exports and truth.json are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.readers.environments import ENVIRONMENTS, InstallError, make, python_of
from benchmarks.readers.page import PAGE, page
from benchmarks.readers.readers import READERS, Reader
from benchmarks.readers.running import lay_out, run_script


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
        result = run_script(reader, str(python_of(environments, reader.environment)), folder)
    print("wrong" if result["wrong"] else "right" if result["shown"] else "cannot")
    for line in (*result["shown"], *(f"mind: {m}" for m in result["mind"]), *(f"WRONG: {w}" for w in result["wrong"])):
        print(f"    {line}")
    return result


if __name__ == "__main__":
    sys.exit(main())
