"""A run: the stages of a plan one after the other, each in a process of its own, skipped where nothing changed.

    plan, dataset ─► todo(): done | goes on | to train ─► run_stage(): accelerate launch … patina.training.loop ─► model

A crash of CUDA or a lack of memory ends the stage's process and not this one; the next attempt goes on from the last
state. Imports no torch: what asks and waits for stages stays light.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.sources.locations import is_remote
from patina.training.errors import StageError, TrainingError
from patina.training.files import DONE, MODEL, STAGE, read_header, read_table, write_text
from patina.training.stage import Stage

HEARTBEAT = "heartbeat"
"""A file of the stage's folder that the loop touches as it goes on."""

STOPPED = 3
"""Exit status of a loop that was asked to stop and left a state."""

REFUSED = 1
"""Exit status of a loop that met something a user must mend; its last line says what."""

GRACE = 120.0
"""Seconds that a loop has to end its step and write its state, once it is asked to."""

Say = Callable[[str], None]


class StageCrashedError(TrainingError):
    """A stage's process that died. Trying again goes on from its last state."""


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


@dataclass(frozen=True)
class Todo:
    """A stage and what is to be done: `done`, `goes on` after `seen` images, or `train`; and why."""

    stage: Stage
    what: Literal["done", "goes on", "train"]
    why: str
    seen: int = 0


def todo(plan: Mapping[str, Stage], dataset: Path, run: Path) -> list[Todo]:
    """What a run would do now, without doing it. Raises StageError for a dataset that is none."""
    digest = open_dataset(dataset).digest
    found: dict[str, Todo] = {}
    for name, stage in plan.items():
        folder, before = run / name, found.get(stage.after)
        start = model_digest(run / stage.after) if stage.after else ""
        if before and before.what != "done":
            found[name] = Todo(stage, "train", f"{stage.after} is trained first")
            continue
        fingerprint = stage.fingerprint(digest, start)
        if read_table(folder / DONE).get("fingerprint") == fingerprint and model_digest(folder):
            found[name] = Todo(stage, "done", "settings, dataset and start are as they were", stage.images)
        elif read_table(folder / STAGE).get("fingerprint") == fingerprint:
            seen = max((int(p.stem.removeprefix("state-")) for p in folder.glob("state-*.safetensors")), default=0)
            found[name] = Todo(stage, "goes on" if seen else "train", f"stopped after {seen:,} images", seen)
        else:
            found[name] = Todo(stage, "train", _difference(folder, stage, digest, start))
    return list(found.values())


def _difference(folder: Path, stage: Stage, dataset: str, start: str) -> str:
    held = read_table(folder / STAGE)
    if not held:
        return "not trained yet"
    earlier = held.get("stage")
    changed = [k for k, v in stage.table().items() if not isinstance(earlier, dict) or earlier.get(k) != v]
    if changed:
        return f"its {', '.join(changed)} changed"
    if held.get("dataset") != dataset:
        return "the dataset changed"
    return f"{stage.after} was trained anew" if held.get("start") != start else "it was made by another version"


def open_dataset(dataset: Path | str) -> Manifest:
    """The manifest of a dataset in a folder here. Raises StageError where there is none."""
    if is_remote(str(dataset)):
        raise StageError(f"{dataset}: train from a folder here; copy the dataset first")
    manifest = load_manifest(Path(dataset))
    if manifest is None:
        raise StageError(f"{dataset}: no patina dataset (no {MANIFEST}); build one with `patina build`")
    return manifest


def model_digest(folder: Path) -> str:
    """The digest of a stage's finished model, by its header; empty if there is none."""
    path = folder / MODEL
    return read_header(path).get("digest", "") if path.exists() else ""


def dataset_digest(dataset: Path | str) -> str:
    """The digest that names a dataset. Raises StageError where there is none."""
    return open_dataset(dataset).digest


def job_of(stage: Stage, dataset: Path, run: Path, device: Device) -> dict[str, object]:
    """The fields of `patina.training.loop.Job`."""
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
    return device.threads or max(1, _cores() // processes)


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


def lineage(path: Path) -> list[str]:
    """Where a model file comes from, as lines. Raises CheckpointError for a file that no stage wrote."""
    from patina.training.errors import CheckpointError

    header = read_header(path)
    notes = header.get("notes", {})
    if "stage" not in notes:
        raise CheckpointError(
            f"{path}: a checkpoint that no stage of patina wrote; expected a model.safetensors of a run"
        )
    stage = json.loads(notes["stage"])
    words = json.loads(notes.get("words", "[]"))
    told = {
        "model": f"{header['word']} ({stage['size']}), digest {header['digest']}",
        "stage": f"{stage['name']} ({stage['objective']}), {int(notes['seen']):,} of {stage['images']:,} images seen",
        "dataset": f"{notes['dataset']} ({notes.get('dataset_folder', '')})",
        "degradations": ", ".join(words),
        "starts from": f"{stage['after']}, digest {notes['start']}" if notes.get("start") else "nothing",
        "seed": notes["seed"],
        "code": f"patina {notes['patina']}, torch {notes['torch']}",
        "fingerprint": notes["fingerprint"],
    }
    if header.get("base_name"):
        told["frozen weights"] = f"{header['base_name']}, digest {header['base']}"
    return [f"{name:15} {value}" for name, value in told.items()]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
