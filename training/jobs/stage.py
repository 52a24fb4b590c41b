"""A stage in a process of its own."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from patina.children import python
from patina.pipeline.machine import usable_cores
from patina.training.checkpoints.files import HEARTBEAT, MODEL, steering_file, write_text
from patina.training.data.dataset import open_dataset
from patina.training.errors import EXIT_STOPPED, StageCrashedError
from patina.training.jobs.process import Ended, OnMessage, run_process
from patina.training.stages.stage import Stage


@dataclass(frozen=True)
class LaunchOptions:
    """Where stages train; none of it changes what comes out, but in the last bits.

    processes  0: one for each GPU, or one on the CPU.
    workers    processes that read ahead, for each of these; -1: as many as suit.
    threads    of each process on a CPU; 0: the cores over the processes.
    gradient_accumulation  into how many parts a process's batch is split, to save memory.
    trackers   that get the metrics beside TensorBoard, see `patina.training.loop.trackers`.
    patience   seconds without a heartbeat after which a stage's process is taken for hung and ended.
    """

    processes: int = 0
    workers: int = -1
    threads: int = 0
    cpu: bool = False
    compile: bool = False
    gradient_accumulation: int = 1
    patience: float = 1800.0
    trackers: tuple[str, ...] = ()


def job_of(stage: Stage, dataset: Path, run: Path, options: LaunchOptions) -> dict[str, object]:
    """What job.json holds: the fields of `patina.training.loop.job.Job`, as they are stored."""
    return {
        "stage": stage.table(),
        "dataset": str(dataset),
        "run": str(run),
        "start": str(steering_file(stage, run) or ""),
        "workers": options.workers,
        "cpu": options.cpu,
        "compile": options.compile,
        "pieces": options.gradient_accumulation,
        **({"trackers": list(options.trackers)} if options.trackers else {}),
    }


def command(job: Path, options: LaunchOptions) -> list[str]:
    """The command of a stage's process."""
    processes = processes_of(options)
    loop = ["-m", "patina.training.loop", str(job)]
    if options.cpu or not gpus():  # accelerate's launcher starts one process on a CPU, whatever it is told
        alone = processes == 1
        rendezvous = ["--standalone", "--nproc_per_node", str(processes)]
        return [*python(), *([] if alone else ["-m", "torch.distributed.run", *rendezvous]), *loop]
    launcher = ["--quiet", "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
    launcher += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", str(_threads(options, processes))]
    launcher += ["--multi_gpu", "--main_process_port", "0"] if processes > 1 else []
    return [*python(), "-m", "accelerate.commands.launch", *launcher, *loop]


def processes_of(options: LaunchOptions) -> int:
    """Processes that train a stage."""
    return options.processes or (1 if options.cpu else gpus() or 1)


def _threads(options: LaunchOptions, processes: int) -> int:
    return options.threads or max(1, usable_cores() // processes)


def gpus() -> int:
    """GPUs that CUDA shows, without importing torch."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return len([d for d in shown.split(",") if d.strip() not in ("", "-1")])
    listed = sorted(Path("/proc/driver/nvidia/gpus").glob("*")) if Path("/proc/driver/nvidia/gpus").is_dir() else []
    return len(listed)


def run_stage(
    stage: Stage, dataset: Path, run: Path, options: LaunchOptions | None = None, on_message: OnMessage = print
) -> Path:
    """Train a stage in a process of its own, from where it stands; gives its model file.

    `on_message` gets its lines. If this is interrupted (cancelled, Ctrl-C, SIGTERM) the process is asked to end
    with a state.
    Raises StageError for what a user must mend, StageCrashedError if the process died or hung.
    """
    options = options or LaunchOptions()
    folder = run / stage.name
    with open_dataset(dataset) as opened:
        folder.mkdir(parents=True, exist_ok=True)
        job = folder / "job.json"
        write_text(job, json.dumps(job_of(stage, opened.folder, run, options), indent=1))
        ended = run_process(
            command(job, options),
            on_message,
            more={"OMP_NUM_THREADS": str(_threads(options, processes_of(options)))},
            watch=_Patience(stage, folder / HEARTBEAT, options.patience).expect_life,
        )
    return _outcome(ended, stage, folder)


class _Patience:
    """How long a stage's process may leave its heartbeat untouched."""

    def __init__(self, stage: Stage, heartbeat: Path, seconds: float) -> None:
        self._stage, self._heartbeat, self._seconds = stage, heartbeat, seconds
        self._begun = time.time()

    def expect_life(self) -> None:
        """Raise StageCrashedError once it was untouched for longer."""
        beat = max(self._begun, self._heartbeat.stat().st_mtime if self._heartbeat.exists() else 0.0)
        if time.time() - beat > self._seconds:
            raise StageCrashedError(
                f"stage {self._stage.name}: no sign of life for {self._seconds:.0f} s, so it was ended; trying again "
                "goes on from its last state"
            )


def _outcome(ended: Ended, stage: Stage, folder: Path) -> Path:
    if ended.status == 0 and (folder / MODEL).exists():
        return folder / MODEL
    if ended.status == EXIT_STOPPED or any('"finished": false' in line for line in ended.lines[-20:]):
        raise StageCrashedError(f"stage {stage.name} was asked to stop; it left a state to go on from")
    raise ended.error(f"stage {stage.name}")
