"""What becomes of a build, a training and an evaluation when something around them is killed in the middle.

    python -m benchmarks.kills [--away SECONDS] [--save]

All with real processes: a Prefect server, a worker, a flow run for each. When each is in the middle (shards wait in the
staging folder, a state is saved, pictures of the evaluation are being made) it is halted, the victim is killed, and
what is left goes on. A run that did not end whole is started again; the results are compared with undisturbed ones.
tests/flows/test_kills.py holds each row, with the server away for less long.
"""

from __future__ import annotations

import argparse
import fcntl
import http
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.photos import lay_out, machine, publish
from patina.children import environment, python

KILLS = {
    "worker": "the worker",
    "engine": "the engine: the flow run's own process",
    "both": "worker and engine",
    "server": "the server",
    "terminal": "the terminal of the commands",
    "nohup": "the terminal, after `nohup`",
}
"""What is killed, in words."""

Work = Literal["build", "training", "evaluation"]
WORKS: tuple[Work, ...] = ("build", "training", "evaluation")

PATIENCE = 400.0
"""Seconds that anything here may take; a busy machine is slow."""

UNDER_WAY = ("PENDING", "RUNNING")
"""Types of states of what is not over."""

BUSY = 60
"""How often a server is asked that says that its database is locked."""

CONTROLLER = """
objective = "contrastive"
network = "daclip-b32"
size = "tiny"
settings = {image_layers = 1, text_layers = 1}
max_images = 120
save_every = 40
data = {batch = 4, order = "scenes", crop = 64, view = "patch"}
optimiser = {lr = 1e-3, betas = [0.9, 0.98], weight_decay = 0.05, warmup = 8}
validation = {every = 120, samples = 3}
"""

RECIPE = """
name = "kills"
buckets = 6
[split]
val = 0.25
[[sources]]
path = "photos"
[captions]
kind = "template"
[degradations.noisy]
[degradations.jpeg-compressed]
[degradations.low-light]
"""


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE, pause: float = 0.02) -> None:
    """Wait for something. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen in {seconds:.0f} s")
        time.sleep(pause)


# ---------------------------------------------------------------------------------------------------------------------
# Server and worker


@dataclass
class Stand:
    """A server with the deployments, and a folder for everything.

    settings  variables of the pieces of work alone.
    database  a database of Prefect's to begin with; none: the server makes one, which takes it as long as all else.
    missed    seconds without a heartbeat, which come every 30, after which a run is found to be a zombie. What is
              halted sends none: tests, which wait for no zombies, give more.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    database: Path | None = None
    missed: float = 61.0
    held: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url, self.server = f"http://127.0.0.1:{self.port}/api", 0
        if self.database:
            (self.folder / "prefect").mkdir()
            shutil.copy(self.database, self.folder / "prefect" / "prefect.db")

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of every process here."""
        return environment(
            **{
                "PREFECT_HOME": str(self.folder / "prefect"),
                "PREFECT_API_URL": self.url,
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
                "PREFECT_LOGGING_LEVEL": "INFO",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
                "DO_NOT_TRACK": "1",
                "OMP_NUM_THREADS": "1",
                "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false" if self.database else "true",
            }
        )

    def start(self, name: str, *words: str) -> int:
        """A command of Prefect's, in a session of its own until the stand is closed; gives its process."""
        command = [*python(), "-m", "prefect", *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.held.callback(kill, process.pid)
        return process.pid

    def serve(self) -> None:
        """Start the server and wait for it."""
        self.server = self.start(
            "server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui"
        )
        until(self.answers, "the server's answer", pause=0.2)

    def answers(self) -> bool:
        """Whether the server does."""
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200)
        return False

    def work(self) -> int:
        """Start a worker; gives its process. It reads what flow runs print, as workers do."""
        return self.start("worker", "worker", "start", "--pool", "local")

    def deploy(self) -> None:
        """`patina deploy`, on a server whose limit `gpu` has room for all that is killed, which keeps its slot until
        Prefect's lease of it is over, minutes later, and that finds zombies soon: what a server has, that command
        leaves as it is."""
        code = (
            "from datetime import timedelta\n"
            "from prefect.client.orchestration import get_client\n"
            "from patina.flows.deployments import automations\n"
            "from patina.flows.gpu import create_limit\n"
            "create_limit(slots=100)\n"
            "with get_client(sync_client=True) as client:\n"
            "    (zombies,) = automations()\n"
            f"    zombies.trigger.within = timedelta(seconds={self.missed})\n"
            "    client.create_automation(zombies)\n"
        )
        for words in (["-c", code], ["-m", "patina", "deploy"]):
            subprocess.run(
                [*python(), *words], env=self.environment, cwd=self.folder, check=True, stdout=subprocess.DEVNULL
            )

    def ask(self, path: str, **body: object) -> Any:
        """What the server says: to a body, if there is one."""
        text = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.url}/{path}", text, {"Content-Type": "application/json"})
        for _ in range(BUSY):
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != http.HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
            time.sleep(1)
        raise TimeoutError(f"{self.url}/{path}: the server was too busy")

    def run(self, name: str, parameters: Mapping[str, object]) -> str:
        """Let a deployment run; gives the flow run."""
        found = self.ask(f"deployments/name/{name}/{name}")
        asked = {"parameters": parameters, "job_variables": {"env": dict(self.settings)}}
        return str(self.ask(f"deployments/{found['id']}/create_flow_run", **asked)["id"])

    def state(self, run: str) -> str:
        """The state of a flow run in a word."""
        return str(self.ask(f"flow_runs/{run}")["state"]["name"])

    def task_runs(self, run: str, *states: str) -> int:
        """How many task runs of a flow run are in one of these types of states."""
        found = self.ask(
            "task_runs/filter", flow_runs={"id": {"any_": [run]}}, task_runs={"state": {"type": {"any_": states}}}
        )
        return len(found)

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()
        for process in marked("PREFECT_HOME", self.environment["PREFECT_HOME"]):  # such as what was halted and left so
            with suppress(psutil.Error):
                process.kill()


def kill(process: int) -> None:
    """Kill a process and whatever is of its group, if it is there."""
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(process, 0)


def marked(name: str, value: object) -> list[psutil.Process]:
    """Processes that have this variable, oldest first."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(name) == str(value):
                found.append((process.create_time(), process.pid, process))
    return [process for _, _, process in sorted(found)]


def engine_of(run: str) -> int:
    """The process in which a flow run goes on: the last of those that its worker started, one by the other."""
    started = [p for p in marked("PREFECT__FLOW_RUN_ID", run) if "PATINA_PARENT" not in p.environ()]
    engines = [p.pid for p in started if any("engine" in word for word in p.cmdline())]
    return engines[-1] if engines else started[-1].pid


# ---------------------------------------------------------------------------------------------------------------------
# What runs


@dataclass
class Case:
    """A build, a training and an evaluation under way, each in a folder of its own."""

    stand: Stand
    model: Undisturbed
    folder: Path

    def __post_init__(self) -> None:
        self.out, self.run, self.evaluated = (self.folder / name for name in ("out", "run", "evaluated"))
        self.folder.mkdir(parents=True)
        shutil.copytree(self.model.run, self.evaluated)

    def parameters(self, work: Work) -> tuple[str, dict[str, object]]:
        """The deployment of a piece of work, and its parameters."""
        if work == "build":
            return "build-dataset", {"recipe": str(self.model.recipe), "out": str(self.out), "workers": 1}
        dataset = str(self.model.dataset)
        if work == "training":
            return "train-stages", {
                "dataset": dataset,
                "run": str(self.run),
                "plan": str(self.model.plan),
                "workers": 0,
            }
        return "evaluate", {"dataset": dataset, "run": str(self.evaluated)}

    def command(self, work: Work) -> list[str]:
        """The same as a command."""
        place = {"build": self.out, "training": self.run, "evaluation": self.evaluated}[work]
        words = {
            "build": ["build", self.model.recipe, "--out", place, "--workers", "1"],
            "training": ["train", self.model.dataset, "--run", place, "--plan", self.model.plan, "--workers", "0"],
            "evaluation": ["evaluate", place, self.model.dataset],
        }[work]
        return [*python(), "-m", "patina", *map(str, words)]

    def is_in_the_middle(self, work: Work) -> bool:
        """Whether it has begun what can be lost, and not ended it."""
        if work == "build":
            return len(self.staged()) >= 2
        if work == "training":
            return any((self.run / "controller").glob("state-*.safetensors"))
        return any((self.evaluated / "controller").glob(".half-evaluation.*"))

    def staged(self) -> list[Path]:
        """Indices of the shards of the build that are finished and not published."""
        return list((self.out / ".patina" / "staging").glob("*.tar.????????????????.json"))

    def is_whole(self, work: Work) -> bool:
        """Whether it came to what the undisturbed one came to."""
        if work == "build":
            return self.model.manifest == digest_of(self.out)
        if work == "training":
            return self.model.trained == trained(self.run)
        return self.model.evaluation == evaluation(self.evaluated)

    def kept(self, work: Work) -> str:
        """What a piece of work that did not end whole has left for the next run, in words."""
        if work == "build":
            return f"{len(self.staged())} finished shards are kept"
        if work == "training":
            states = (self.run / "controller").glob("state-*.safetensors")
            seen = max((int(path.stem[6:]) for path in states), default=0)
            return f"a state after {seen} of 120 images is kept"
        return "the evaluation begins anew"


@dataclass(frozen=True)
class Undisturbed:
    """What the pieces of work come to when nobody is killed. run: whose stage is trained and not evaluated."""

    recipe: Path
    dataset: Path
    plan: Path
    run: Path
    manifest: str
    trained: str
    evaluation: str


def undisturbed(folder: Path) -> Undisturbed:
    """Photographs, recipe and plan in `folder`, and each piece of work once, without Prefect."""
    from patina.pipeline.builder.build import build
    from patina.pipeline.recipe.parse import load_recipe
    from patina.training.jobs.evaluation import Options, candidates, run_evaluation

    os.environ["OMP_NUM_THREADS"] = "1"  # as in the stand: the last bits depend on it
    recipe, dataset = folder / "recipe.toml", folder / "dataset"
    lay_out(folder / "photos", 16)
    recipe.write_text(RECIPE, "utf-8")
    build(load_recipe(recipe), dataset)
    (folder / "plan").mkdir()
    (folder / "plan" / "controller.toml").write_text(CONTROLLER, "utf-8")
    train(folder / "plan", dataset, folder / "run")
    shutil.copytree(folder / "run", folder / "evaluated")
    (candidate,) = candidates(folder / "evaluated", dataset, Options())
    run_evaluation(candidate, dataset, Options(), lambda line: None)
    return Undisturbed(
        recipe,
        dataset,
        folder / "plan",
        folder / "run",
        digest_of(dataset),
        trained(folder / "run"),
        evaluation(folder / "evaluated"),
    )


def train(plan: Path, dataset: Path, run: Path) -> None:
    """Train a plan without Prefect, from where it stands."""
    from patina.training.jobs.stage import LaunchOptions, run_stage
    from patina.training.stages.plan import load_plan

    for stage in load_plan(str(plan)).values():
        run_stage(stage, dataset, run, LaunchOptions(workers=0), lambda line: None)


def digest_of(out: Path) -> str:
    """The digest of a dataset; empty if there is none."""
    from patina.pipeline.format.manifest import load_manifest

    manifest = load_manifest(out)
    return manifest.digest if manifest else ""


def trained(run: Path) -> str:
    """The digest of the finished model of a run; empty if there is none."""
    from patina.training.checkpoints.files import model_digest

    done = run / "controller" / "done.json"
    return model_digest(run / "controller") if done.exists() else ""


def evaluation(run: Path) -> str:
    """What an evaluation says; empty if there is none, or none that holds."""
    folder = run / "controller"
    if not (folder / "evaluated.json").exists():
        return ""
    table = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return json.dumps({name: value for name, value in table["mean"].items() if name != "seconds"})


# ---------------------------------------------------------------------------------------------------------------------
# Killing


@dataclass(frozen=True)
class Outcome:
    """What became of one piece of work.

    whole  whether it ended as if nobody had been killed; if not, kept says what is left, and mended whether the next
           run came to the same result; None if there was none.
    end    the state of its flow run, or the exit code of its command, once nothing of it runs any more.
    run    the flow run, if it was one by a worker.
    """

    work: Work
    whole: bool
    kept: str
    mended: bool | None
    end: str
    run: str

    def __str__(self) -> str:
        if self.whole:
            return f"ended whole; {self.end}"
        return f"ended; {self.kept}; {self.end}; the next run {'gave the same' if self.mended else 'DID NOT END IT'}"


def outcomes(
    stand: Stand, model: Undisturbed, killed: str, folder: Path, *, away: float, zombies: bool, mend: bool = True
) -> list[Outcome]:
    """Kill something in the middle of each piece of work; what became of them. Raises TimeoutError for what hangs.

    away     seconds for which the server is gone.
    zombies  whether a run that cannot tell its end is waited for until Prefect's automation finds it.
    mend     whether what did not end whole is run again.
    """
    case = Case(stand, model, folder)
    ends = _commands(case, killed) if killed in ("terminal", "nohup") else _flow_runs(case, killed, away, zombies)
    found = []
    for work in WORKS:
        whole = case.is_whole(work)
        kept = "" if whole else case.kept(work)
        if mend and not whole:
            _again(case, work)
        found.append(Outcome(work, whole, kept, case.is_whole(work) if mend else None, *ends[work]))
    return found


def _again(case: Case, work: Work) -> None:
    """The next run, without Prefect."""
    from patina.pipeline.builder.build import build
    from patina.pipeline.recipe.parse import load_recipe
    from patina.training.jobs.evaluation import Options, candidates, run_evaluation

    if work == "build":
        build(load_recipe(case.model.recipe), case.out)
    elif work == "training":
        train(case.model.plan, case.model.dataset, case.run)
    else:
        (candidate,) = candidates(case.evaluated, case.model.dataset, Options())
        run_evaluation(candidate, case.model.dataset, Options(), lambda line: None)


def _flow_runs(case: Case, killed: str, away: float, zombies: bool) -> dict[Work, tuple[str, str]]:
    stand = case.stand
    worker = stand.work()
    runs = {work: stand.run(*case.parameters(work)) for work in WORKS}
    halted = _halted_in_the_middle(case, lambda work: engine_of(runs[work]))
    if killed in ("worker", "both"):
        os.kill(worker, signal.SIGKILL)
    if killed in ("engine", "both"):
        for engine, _ in halted.values():
            os.kill(engine, signal.SIGKILL)
    if killed == "server":
        kill(stand.server)
    _go_on(halted)
    if killed == "server":
        time.sleep(away)
        stand.serve()
    for run in runs.values():
        until(partial(_is_gone, run), f"the end of {run}", pause=0.3)
    if killed == "engine" or (killed == "both" and zombies):
        until(lambda: all(stand.state(run) == "Crashed" for run in runs.values()), "the crashes", pause=1)
    if killed == "engine":  # the worker that lives runs `end-lost-tasks` then
        until(lambda: not any(stand.task_runs(run, *UNDER_WAY) for run in runs.values()), "the task runs' end", pause=1)
    kill(worker)
    return {work: (f"the run is {stand.state(run)}", run) for work, run in runs.items()}


def _is_gone(run: str) -> bool:
    return not marked("PREFECT__FLOW_RUN_ID", run)


def _commands(case: Case, killed: str) -> dict[Work, tuple[str, str]]:
    """The commands in a terminal each, which is closed."""
    masters, processes = {}, {}
    for work in WORKS:
        masters[work], slave = pty.openpty()
        words = ["nohup"] if killed == "nohup" else []
        processes[work] = subprocess.Popen(
            [*words, *case.command(work)],
            env={**case.stand.environment, **case.stand.settings},
            cwd=case.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, slave, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
    readers = [threading.Thread(target=_read, args=(master,), daemon=True) for master in masters.values()]
    for reader in readers:
        reader.start()
    halted = _halted_in_the_middle(case, lambda work: processes[work].pid)
    for master in masters.values():
        os.close(master)
    _go_on(halted)
    return {work: (f"exit code {process.wait(PATIENCE)}", "") for work, process in processes.items()}


def _read(master: int) -> None:
    with suppress(OSError):
        while os.read(master, 4096):
            pass


def _halted_in_the_middle(case: Case, engine: Callable[[Work], int]) -> dict[Work, tuple[int, list[int]]]:
    """Halt each piece of work once it is in the middle; gives its engine and what was halted of it."""
    halted: dict[Work, tuple[int, list[int]]] = {}

    def all_are() -> bool:
        for work in set(WORKS) - set(halted):
            if case.is_whole(work):
                raise RuntimeError(
                    f"the {work} in {case.folder} ended before it was seen in the middle; run this again"
                )
            if case.is_in_the_middle(work):
                lead = engine(work)
                children = [process.pid for process in marked("PATINA_PARENT", lead)]
                halted[work] = lead, children if work != "build" else [lead]
                for process in halted[work][1]:
                    os.kill(process, signal.SIGSTOP)
        return len(halted) == len(WORKS)

    until(all_are, f"the middle of all ({case.folder})", pause=0.01)
    return halted


def _go_on(halted: Mapping[Work, tuple[int, Sequence[int]]]) -> None:
    for _, processes in halted.values():
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@contextmanager
def stands(
    folder: Path, database: Path | None = None, missed: float = Stand.missed, **settings: str
) -> Iterator[tuple[Stand, Undisturbed]]:
    """A stand that serves, and what undisturbed work comes to."""
    with Stand(folder, settings, database, missed) as stand:
        stand.serve()
        stand.deploy()
        yield stand, undisturbed(folder)


FOOT = """Real processes: Prefect's server, its worker, a flow run (for the terminals: a command) for each piece of
work. Each is halted in the middle, then the victim gets SIGKILL (a terminal is closed), and what is left goes on. The
server is gone for {away:.0f} s. `Ended whole` and `gave the same` compare the dataset's manifest, the model's weights
and the evaluation with those of undisturbed work. No cell hung: nothing of a run was running any more at the end. Runs
whose worker and engine are both killed cannot tell, so Prefect says Running until the automation `patina-zombies` finds
that their heartbeats stopped.

Measured by `python -m benchmarks.kills` on {machine}."""


def main() -> None:
    """Print the table; with --save, keep it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*KILLS, "all"], default="all")
    parser.add_argument("--away", type=float, default=75.0, help="seconds for which the server is gone")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    lines = ["| killed | a build | a training | an evaluation |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name, stands(Path(name)) as (stand, model):
        for killed in KILLS if "all" in options.what else options.what:
            found = outcomes(stand, model, killed, Path(name) / killed, away=options.away, zombies=True)
            lines.append(f"| {KILLS[killed]} | {' | '.join(map(str, found))} |")
            print(lines[-1], flush=True)
    text = "\n".join([*lines, "", FOOT.format(away=options.away, machine=machine())])
    publish("What is killed, and what becomes of the work", text, "kills" if options.save else None)


if __name__ == "__main__":
    main()
