"""From a changed photograph to the rebuilt dataset with `patina watch run`: seconds, and CPU time of the process.

    python benchmarks/watching.py [--photos 12] [--changes 5] [--quiet 0.5]

Photographs of 640×480 px are made in a temporary folder; each change is one new photograph, copied there.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

ROOT = Path(__file__).parents[1]
SETTLED = 3.0
"""Seconds of rest before each change."""

IDLE = 10.0
"""Seconds for which nothing changes, to see what waiting costs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.photos, options.changes, options.quiet)


def measure(folder: Path, photos: int, changes: int, quiet: float) -> None:
    (folder / "photos").mkdir()
    for number in range(photos):
        save(folder / "photos" / f"{number}.png", number)
    recipe = folder / "recipe.toml"
    recipe.write_text("[[sources]]\npath = 'photos'\n[degradations.noisy]\n[degradations.jpeg-compressed]\n")
    command = [sys.executable, "-u", "-m", "patina", "watch", "run", str(recipe), "--out", str(folder / "OUT")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [*command, "--quiet", str(quiet)],
        cwd=folder,
        env={**environment, "PREFECT_HOME": str(folder / "home"), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = until_built(process)
    print(next(line for line in lines if line.startswith("watching")).partition(": ")[2])
    taken, spent = [], []
    for number in range(changes):
        time.sleep(SETTLED)
        before = cpu(process.pid)
        save(folder / "new.png", photos + number)
        (folder / "new.png").rename(folder / "photos" / f"new{number}.png")
        begun = time.monotonic()
        until_built(process)
        taken.append(time.monotonic() - begun)
        spent.append(cpu(process.pid) - before)
    before = cpu(process.pid)
    time.sleep(IDLE)
    idle = cpu(process.pid) - before
    process.send_signal(signal.SIGINT)
    process.wait(30)
    print(f"change to rebuilt, quiet {quiet:g} s: median {statistics.median(taken):.2f} s, most {max(taken):.2f} s")
    print(f"CPU a rebuild: median {statistics.median(spent):.2f} s; CPU in {IDLE:g} s without a change: {idle:.2f} s")


def save(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), np.uint8)
    PIL.Image.fromarray(noise).resize((640, 480), PIL.Image.Resampling.BICUBIC).save(path)


def until_built(process: subprocess.Popen[str]) -> list[str]:
    """The lines up to the one that tells of a build."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if re.match(r"built    \d", line):
            return lines
    raise SystemExit(f"it ended:\n{''.join(lines)}")


def cpu(process: int) -> float:
    """Seconds of CPU time that a process has taken with all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
