"""What Prefect costs: a build of 12 photographs, a deployment's run that has nothing to do, a change that is rebuilt.

    python -m benchmarks.flow_times [--beside COMMIT] [--rounds N] [--save]

CPU seconds are of the command and all that it started and waited for; wall seconds depend on what else the machine
does. With --beside, each row is also measured with the code of another commit, in turns with this one's.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import psutil

from benchmarks.kills import Stand, kill, marked, until
from benchmarks.photos import lay_out, machine, publish

ROOT = Path(__file__).parents[1]
RECIPE = "name = 'twelve'\nbuckets = 1\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n"
QUIET = 1.0
"""Seconds for which changed sources must rest here; taken off the figure of a change."""

FIRST = """
import sys, time
from patina.pipeline.builder.samples import SampleMaker
make = SampleMaker.sample
def first(*given, **named):
    SampleMaker.sample = make
    sys.stderr.write(f"FIRST {time.process_time():.3f}\\n")
    return make(*given, **named)
SampleMaker.sample = first
from patina.flows.cli.main import main
sys.argv[0] = "patina"
main()
"""
"""The command, which says how much CPU time it had taken when its first sample began."""

DEPLOY = """
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.types.entrypoint import EntrypointType
from patina.flows.build_dataset import build_dataset
from patina.flows.deployments import REBUILD
from patina.flows.watch_sources import watch_sources
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name='local', type='process'))
for flow, triggers in ((build_dataset, [REBUILD]), (watch_sources, [])):
    made = flow.to_deployment(name=flow.name, entrypoint_type=EntrypointType.MODULE_PATH, triggers=triggers)
    made.apply(work_pool_name='local')
"""

Figures: TypeAlias = dict[str, list[tuple[float, float]]]
"""CPU and wall seconds of each row, a pair a round; NaN where it makes no sense."""

NAN = float("nan")


def command(code: Path, words: Sequence[str], **more: str) -> tuple[float, float, str]:
    """CPU and wall seconds of a command with the code in a folder, and what it told on stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {
        "PYTHONPATH": str(code),
        "OMP_NUM_THREADS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **more,
    }
    before, start = os.times(), time.monotonic()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, time.monotonic() - start, done.stderr


def builds(code: Path, folder: Path, figures: Figures) -> None:
    """The interpreter alone, and builds without a server and with Prefect's embedded one."""
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE, "utf-8")
    home = str(folder / "prefect")
    note(figures, "the interpreter alone", command(code, [sys.executable, "-c", "pass"])[:2])
    for name, more in (("", []), (" as a flow run, with the embedded server", ["--prefect"])):
        words = ["build", str(recipe), "--out", str(folder / f"out-{len(more)}-{time.monotonic_ns()}"), *more]
        spent, wall, told = command(code, [sys.executable, "-c", FIRST, *words], PREFECT_HOME=home)
        first = [float(line.split()[1]) for line in told.splitlines() if line.startswith("FIRST ")]
        note(figures, f"`patina build` of 12 photographs{name}", (spent, wall))
        note(figures, f"… to its first sample{name}", (first[0], NAN))


def runs(code: Path, folder: Path, query: str, figures: Figures, rounds: int) -> None:
    """A run with nothing to do, by a worker that asks every `query` seconds, and a change that is rebuilt."""
    folder.mkdir()
    lay_out(folder / "photos", 12)
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")
    settings = {"PYTHONPATH": str(code), "PREFECT_WORKER_QUERY_SECONDS": query}
    with Stand(folder, settings) as stand:
        stand.serve()
        subprocess.run([sys.executable, "-c", DEPLOY], env=stand.environment, cwd=folder, check=True)
        stand.work()
        given: dict[str, object] = {"recipe": str(folder / "recipe.toml"), "out": str(folder / "out"), "workers": 1}
        _ended(stand, stand.run("build-dataset", given))
        said = f", the worker asks every {query} s"
        for i in range(rounds):
            time.sleep(1.7 * (i + 1))  # not always at the same moment between two looks of the worker
            start = time.monotonic()
            run = stand.run("build-dataset", given)
            spent = _ended(stand, run)
            note(figures, f"a deployment's run with nothing to do{said}", (spent, time.monotonic() - start))
            for phase, seconds in _phases(stand, run).items():
                note(figures, f"… {phase}{said}", (NAN, seconds))
        for i in range(rounds):
            lay_out(folder / "photos", 13 + i)
            start, before = time.monotonic(), _built(stand)
            stand.run("watch-sources", {"recipe": given["recipe"], "out": given["out"], "quiet": QUIET})
            until(lambda before=before: _built(stand) > before, "the rebuild", pause=0.2)  # type: ignore[misc]
            wall = time.monotonic() - start - QUIET
            note(figures, f"from a change's look to the rebuilt dataset{said}", (NAN, wall))
        kill(stand.server)


def _ended(stand: Stand, run: str) -> float:
    """Wait for the end of a run; gives the CPU seconds of its processes."""
    spent: dict[int, float] = {}

    def over() -> bool:
        for process in marked("PREFECT__FLOW_RUN_ID", run):
            with suppress(psutil.Error):
                spent[process.pid] = sum(process.cpu_times()[:2])
        return stand.state(run) == "Completed"

    until(over, f"the end of {run}", pause=0.1)
    return sum(spent.values())


def _built(stand: Stand) -> int:
    """How many builds have ended well."""
    found = stand.ask("flow_runs/filter", flows={"name": {"any_": ["build-dataset"]}}, limit=200)
    return sum(run["state"]["name"] == "Completed" for run in found)


def _phases(stand: Stand, run: str) -> dict[str, float]:
    """Seconds between the states of a run."""
    states = stand.ask(f"flow_run_states/?flow_run_id={run}")
    at = {state["name"]: datetime.fromisoformat(state["timestamp"]).timestamp() for state in states}
    return {
        "until the worker asks": at["Pending"] - at["Scheduled"],
        "the process starts: Prefect's and our imports": at["Running"] - at["Pending"],
        "the flow itself": at["Completed"] - at["Running"],
    }


def note(figures: Figures, row: str, pair: tuple[float, float]) -> None:
    """Another round of a row."""
    figures.setdefault(row, []).append(pair)


def code_of(commit: str, folder: Path) -> Path:
    """The code of a commit, laid out in a folder."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as opened:
        opened.extractall(folder, filter="fully_trusted")  # links to the folders beside are part of it
    return folder


def table(measured: Mapping[str, Figures]) -> list[str]:
    """A row a figure, two columns a code."""
    heads = [f"{name}: {unit}" for name in measured for unit in ("CPU, s", "wall, s")]
    lines = [f"| | {' | '.join(heads)} |", f"|---{'|---' * len(heads)}|"]
    for row in next(iter(measured.values())):
        cells = []
        for figures in measured.values():
            for unit in (0, 1):
                value = statistics.median(pair[unit] for pair in figures.get(row, [(NAN, NAN)]))
                cells.append("–" if math.isnan(value) else f"{value:.2f}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


FOOT = """Medians of {rounds} rounds. CPU seconds are of all processes of a command, or of a flow run; wall seconds
were taken under a load of {load:.1f} from others before it began. The figure of a change begins with the look at the
sources and leaves out the {quiet:g} s for which they must rest; without a server: [watching.md](watching.md).

Measured by `python -m benchmarks.flow_times --beside COMMIT` on {machine}."""


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", default="", help="a commit to measure as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--query", nargs="*", default=["10", "2"], help="seconds between two looks of the worker")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        codes = {"now": ROOT}
        if options.beside:
            codes = {options.beside: code_of(options.beside, folder / "code"), **codes}
        measured: dict[str, Figures] = {name: {} for name in codes}
        for name in codes:
            lay_out(folder / name / "photos", 12)
        for _ in range(options.rounds):
            for name, code in codes.items():
                builds(code, folder / name, measured[name])
        for query in options.query:
            for name, code in codes.items():
                runs(code, folder / name / f"runs-{query}", query, measured[name], options.rounds)
    foot = FOOT.format(rounds=options.rounds, load=load, quiet=QUIET, machine=machine())
    text = "\n".join([*table(measured), "", foot])
    publish("What Prefect costs", text, "flow_times" if options.save else None)


if __name__ == "__main__":
    main()
