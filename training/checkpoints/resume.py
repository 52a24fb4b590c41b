"""A run's folder: what a stage leaves there, and how it goes on from it.

    RUN/STAGE/stage.json               settings with all defaults, and the fingerprint
              state-000012800.safetensors    weights, averages, optimiser after 12 800 images: the last few
              best.safetensors         the network at its best validation
              model.safetensors        the network at the end; its notes say where it comes from
              metrics.jsonl            a line every few steps
              samples/                 validation pictures
              done.json                the fingerprint and the model's digest: the stage is finished

Files appear whole or not at all. A state that is damaged is passed over for the one before.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patina.pipeline.files import lock, remove_leftovers
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import (
    DONE,
    HEARTBEAT,
    LOCK_SECONDS,
    METRICS,
    MODEL,
    SAMPLES,
    STAGE,
    stage_lock,
)
from patina.training.checkpoints.model import Checkpoint, write_in_one_step
from patina.training.errors import CheckpointError, StageError
from patina.training.stages.stage import Stage

STATE = re.compile(r"state-(\d{12})\.safetensors")


@dataclass(frozen=True)
class State:
    """A training after `seen` images: named tensors (`net.…`, `average.…`, `optimiser.…`) and plain values."""

    seen: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors below `name`, under their own names."""
        return {k.removeprefix(f"{name}."): t for k, t in self.tensors.items() if k.startswith(f"{name}.")}


class StageFolder:
    """RUN/STAGE."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, stage: Stage, dataset: str, start: str, weights: str = "") -> None:
        """Make the folder ready for a training of this fingerprint, or for going on with it.

        What another fingerprint left is moved aside, to `STAGE.before`, in place of what lay there.
        """
        fingerprint = stage.fingerprint(dataset, start, weights)
        held = self._fingerprint(STAGE)
        if held is not None and held != fingerprint:
            aside = self.path.with_name(f"{self.path.name}.before")
            shutil.rmtree(aside, ignore_errors=True)
            self.path.rename(aside)
        self.path.mkdir(parents=True, exist_ok=True)
        if held != fingerprint:
            table = {"fingerprint": fingerprint, "stage": stage.table(), "dataset": dataset, "start": start}
            table |= {"weights": weights} if weights else {}
            self._write(STAGE, table)

    def finished(self, fingerprint: str) -> bool:
        """Whether the stage is done, and its model is the one that was written then."""
        if self._fingerprint(DONE) != fingerprint:
            return False
        try:
            return bool(checkpoint.load(self.path / MODEL).digest == self.done()["model"])
        except CheckpointError:
            return False

    def done(self) -> dict[str, Any]:
        """What done.json says."""
        table: dict[str, Any] = json.loads((self.path / DONE).read_text("utf-8"))
        return table

    def finish(self, table: Mapping[str, Any]) -> None:
        """Write done.json."""
        self._write(DONE, table)

    def save(self, state: State, *, network: str, settings: Mapping[str, Any], keep: int) -> Path:
        """Write a state, then remove those beyond the last `keep`. Raises CheckpointError; earlier states then stay."""
        path = self.path / f"state-{state.seen:012d}.safetensors"
        notes = {"seen": str(state.seen), "values": json.dumps(dict(state.values), sort_keys=True)}
        checkpoint.write(Checkpoint(network, settings, state.tensors, notes), path)
        for old in self.states()[:-keep]:
            with suppress(OSError):
                old.unlink()
        return path

    def states(self) -> list[Path]:
        """The state files, oldest first."""
        return sorted(path for path in self.path.glob("state-*.safetensors") if STATE.fullmatch(path.name))

    def latest(self) -> tuple[State | None, list[str]]:
        """The newest state that is whole, and what was wrong with newer ones."""
        troubles: list[str] = []
        for path in reversed(self.states()):
            try:
                return _state(path), troubles
            except CheckpointError as error:
                troubles.append(str(error))
        return None, troubles

    def forget_states(self) -> None:
        """Remove the states of a finished stage: they are three times the network's size."""
        for path in self.states():
            with suppress(OSError):
                path.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it no other training of this stage runs here. Raises StageError if one does not end in a minute, or
        if the folder cannot be made and locked."""

        def refusal(holder: str) -> StageError:
            return StageError(f"{self.path}: another training ({holder}) writes there; wait for it or end it")

        def make() -> None:
            self.path.mkdir(parents=True, exist_ok=True)

        with ExitStack() as stack:
            try:
                stack.enter_context(lock(stage_lock(self.path), refusal, make=make, seconds=LOCK_SECONDS))
            except OSError as error:
                raise StageError(str(error)) from error
            for folder in (self.path, self.path / SAMPLES):  # of a training that was killed while it wrote
                remove_leftovers(folder)
            yield

    def beat(self) -> None:
        """Say that the training goes on."""
        (self.path / HEARTBEAT).touch()

    # Metrics

    def log(self, row: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that is torn at the end is left out."""
        path = self.path / METRICS
        found: list[dict[str, Any]] = []
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def cut_metrics(self, seen: int) -> None:
        """Forget lines after `seen` images: that part is trained again."""
        rows = [row for row in self.rows() if row["seen"] <= seen]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_in_one_step(self.path / METRICS, lambda temporary: temporary.write_text(text, "utf-8"))

    def _fingerprint(self, name: str) -> str | None:
        try:
            return str(json.loads((self.path / name).read_text("utf-8"))["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        text = json.dumps(table, indent=1, sort_keys=True) + "\n"
        write_in_one_step(self.path / name, lambda temporary: temporary.write_text(text, "utf-8"))


def _state(path: Path) -> State:
    """The state in a file. Raises CheckpointError for one that is damaged, in its header too, or not finite."""
    held = checkpoint.load(path)
    try:
        seen, values = int(held.notes["seen"]), json.loads(held.notes["values"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged: no state of a training ({error})") from None
    found = STATE.fullmatch(path.name)
    if not isinstance(values, dict) or (found and int(found[1]) != seen):
        raise CheckpointError(f"{path}: damaged: its header tells of {seen} images; it was renamed or changed")
    state = State(seen, held.tensors, values)
    for part in ("net", "average"):
        checkpoint.expect_finite(state.part(part), path)
    return state


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """The optimiser's state by parameter: `exp_avg.NAME`, `exp_avg_sq.NAME`, `step.NAME`."""
    return {
        f"{what}.{names[parameter]}": value
        for parameter, state in optimiser.state.items()
        for what, value in state.items()
        if isinstance(value, Tensor)
    }


def load_optimiser(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str], tensors: Mapping[str, Tensor]
) -> None:
    """Undo `optimiser_tensors`, on the parameters' devices and in their layouts in memory: a fused optimiser goes over
    both as they lie."""
    of_name = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        what, _, name = key.partition(".")
        parameter = of_name[name]
        if what == "step":
            optimiser.state[parameter][what] = value.to("cpu").clone()
        else:
            optimiser.state[parameter][what] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
