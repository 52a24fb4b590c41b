"""A stage in a process of its own: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.machine import usable_cores
from patina.training.checkpoints.files import HEARTBEAT, MODEL, write_text
from patina.training.data.dataset import open_dataset
from patina.training.errors import STOPPED, StageCrashedError, StageError
from patina.training.stages.stage import Stage

GRACE = 120.0
"""Seconds that a loop has to end its step and write its state, once it is asked to."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Device:
    """Where stages train; none of it changes what comes out, but in the last bits.

    processes  0: one for each GPU, or one on the CPU.
    workers    processes that read ahead, for each of these; -1: as many as suit.
    threads    of each process on a CPU; 0: the cores over the processes.
    patience   seconds without a heartbeat after which a stage's process is taken for hung and ended.
    """

    processes: int = 0
    workers: int = -1
    threads: int = 0
    cpu: bool = False
    compile: bool = False
    pieces: int = 1
    patience: float = 1800.0


def job_of(stage: Stage, dataset: Path, run: Path, device: Device) -> dict[str, object]:
    """The fields of `patina.training.loop.job.Job`."""
    return {
        "stage": stage.table(),
        "dataset": str(dataset),
        "run": str(run),
        "start": str(run / stage.after / MODEL) if stage.after else "",
        "workers": device.workers,
        "cpu": device.cpu,
        "compile": device.compile,
        "pieces": device.pieces,
    }


def command(job: Path, device: Device) -> list[str]:
    """The command of a stage's process."""
    processes = processes_of(device)
    loop = ["-m", "patina.training.loop", str(job)]
    if device.cpu or not gpus():  # accelerate's launcher starts one process on a CPU, whatever it is told
        alone = processes == 1
        rendezvous = ["--standalone", "--nproc_per_node", str(processes)]
        return [sys.executable, *([] if alone else ["-m", "torch.distributed.run", *rendezvous]), *loop]
    options = ["--quiet", "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", str(_threads(device, processes))]
    options += ["--multi_gpu", "--main_process_port", "0"] if processes > 1 else []
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *loop]


def processes_of(device: Device) -> int:
    """Processes that train a stage."""
    return device.processes or (1 if device.cpu else gpus() or 1)


def _threads(device: Device, processes: int) -> int:
    return device.threads or max(1, usable_cores() // processes)


def gpus() -> int:
    """GPUs that CUDA shows, without importing torch."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return len([d for d in shown.split(",") if d.strip() not in ("", "-1")])
    listed = sorted(Path("/proc/driver/nvidia/gpus").glob("*")) if Path("/proc/driver/nvidia/gpus").is_dir() else []
    return len(listed)


def run_stage(stage: Stage, dataset: Path, run: Path, device: Device | None = None, say: Say = print) -> Path:
    """Train a stage in a process of its own, from where it stands; gives its model file.

    `say` gets its lines. If this is interrupted (cancelled, Ctrl-C, SIGTERM) the process is asked to end with a state.
    Raises StageError for what a user must mend, StageCrashedError if the process died or hung.
    """
    device = device or Device()
    open_dataset(dataset)
    folder = run / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / "job.json"
    write_text(job, json.dumps(job_of(stage, dataset, run, device), indent=1))
    environment = {
        **os.environ,
        "PATINA_PARENT": str(os.getpid()),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(_threads(device, processes_of(device))),
    }
    process = subprocess.Popen(
        command(job, device),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that Ctrl-C comes to us, and we ask the process to end
    )
    lines: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            del lines[:-200]
            say(lines[-1])

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        _wait(process, folder / HEARTBEAT, device.patience, stage)
    finally:
        end(process)
        listener.join()
        assert process.stdout is not None
        process.stdout.close()
    return _outcome(process.returncode, lines, stage, folder)


def _wait(process: subprocess.Popen[str], heartbeat: Path, patience: float, stage: Stage) -> None:
    begun = time.time()
    while True:
        try:
            process.wait(2.0)
            return
        except subprocess.TimeoutExpired:
            beat = max(begun, heartbeat.stat().st_mtime if heartbeat.exists() else 0.0)
            if time.time() - beat > patience:
                raise StageCrashedError(
                    f"stage {stage.name}: no sign of life for {patience:.0f} s, so it was ended; trying again goes on "
                    "from its last state"
                ) from None


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process and all it started to end, and make them after `GRACE` seconds."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _outcome(status: int, lines: list[str], stage: Stage, folder: Path) -> Path:
    told = next((line.removeprefix("patina: ") for line in reversed(lines) if line.startswith("patina: ")), "")
    if status == 0 and (folder / MODEL).exists():
        return folder / MODEL
    if status == STOPPED or any('"finished": false' in line for line in lines[-20:]):
        raise StageCrashedError(f"stage {stage.name} was asked to stop; it left a state to go on from")
    if told:
        raise StageError(told)
    raise StageCrashedError(
        f"stage {stage.name}: its process ended with status {status}; its last lines:\n" + "\n".join(lines[-15:])
    )
