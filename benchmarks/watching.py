"""From a changed photograph to the rebuilt dataset with `patina watch run`: where the seconds go, and CPU time.

    python -m benchmarks.watching [--photos 12] [--changes 5] [--quiet 0.3] [--save]

Photographs of 640×480 px are made in a temporary folder; each change is one new photograph, moved there.
`python -m benchmarks.flow_times` times the same through a Prefect server and a worker.
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

from benchmarks.photos import machine, publish

ROOT = Path(__file__).parents[1]
SETTLED = 3.0
"""Seconds of rest before each change."""

IDLE = 10.0
"""Seconds for which nothing changes, to see what waiting costs."""


FOOT = """{changes} changes, each a photograph of 640×480 moved to the {photos} that were there, after {settled:g} s
of rest. Seconds of the clock, taken under a load of {load:.1f} from others before it began; CPU time depends on it
less. The process waits for {quiet:g} s without a change (`--quiet`) before it builds. {told}

Through a Prefect server and a worker: [flow_times.md](flow_times.md).

Measured by `python -m benchmarks.watching` on {machine}."""


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=0.3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows, told = measure(Path(folder), options.photos, options.changes, options.quiet)
    lines = ["| | median | most |", "|---|---|---|"]
    lines += [f"| {name} | {statistics.median(all_):.2f} s | {max(all_):.2f} s |" for name, all_ in rows.items()]
    given = {"changes": options.changes, "photos": options.photos, "quiet": options.quiet, "settled": SETTLED}
    foot = FOOT.format(**given, load=load, told=told, machine=machine())
    publish("From a change to the rebuilt dataset", "\n".join([*lines, "", foot]), "watching" if options.save else None)


def measure(folder: Path, photos: int, changes: int, quiet: float) -> tuple[dict[str, list[float]], str]:
    """Seconds of each row, and how the process knows of changes, in words."""
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
    how = next(line for line in until_built(process) if line.startswith("watching")).rpartition(": ")[2].strip()
    whole, before_build, building, spent = (list[float]() for _ in range(4))
    for number in range(changes):
        time.sleep(SETTLED)
        before = cpu(process.pid)
        save(folder / "new.png", photos + number)
        (folder / "new.png").rename(folder / "photos" / f"new{number}.png")
        begun = time.monotonic()
        last = until_built(process)[-1]
        whole.append(time.monotonic() - begun)
        building.append(float(last.split()[-2]))
        before_build.append(whole[-1] - building[-1])
        spent.append(cpu(process.pid) - before)
    before = cpu(process.pid)
    time.sleep(IDLE)
    idle = cpu(process.pid) - before
    process.send_signal(signal.SIGINT)
    process.wait(30)
    rows = {
        "from the change to the rebuilt dataset": whole,
        "… until it has rested and the build begins": before_build,
        "… the build": building,
        "from rest to the rebuilt dataset": [seconds - quiet for seconds in whole],
        "CPU time of a rebuild": spent,
    }
    return rows, f"While nothing changes it takes {idle:.2f} s of CPU time in {IDLE:g} s; {how}."


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
