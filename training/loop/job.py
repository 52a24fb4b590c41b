"""What a training is asked to do, and what it says in the end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patina.training.checkpoints import model as checkpoint


@dataclass(frozen=True)
class Job:
    """One stage to train, and how. What is not `stage`, `dataset` or `start` changes no bit on one device.

    dataset  folder. run: folder of all stages. start: the model file that steers it, or empty.
    workers  processes that read ahead; -1: as many as there are cores, but one.
    cpu      whether to leave GPUs alone. compile: by torch.compile.
    gradient_accumulation  into how many parts a process's batch is split, to save memory; stored as `pieces`.
    tensorboard  whether to write the metrics for it too, below RUN/STAGE/tensorboard.
    trackers  of accelerate, that get the metrics beside: `wandb`, `mlflow`. None unless asked for.
    stop_at  images after which to stop with a state, 0: at the end. For trials and tests.
    """

    stage: Mapping[str, Any]
    dataset: str
    run: str
    start: str = ""
    workers: int = -1
    cpu: bool = False
    compile: bool = False
    gradient_accumulation: int = 1
    stop_at: int = 0
    tensorboard: bool = True
    trackers: tuple[str, ...] = ()

    def save(self, path: Path) -> Path:
        """Write it as JSON."""
        table = {_STORED_NAMES.get(key, key): value for key, value in asdict(self).items()}
        if not self.trackers:
            del table["trackers"]  # jobs of before trackers have none
        text = json.dumps(table, indent=1)
        checkpoint.write_in_one_step(path, lambda temporary: temporary.write_text(text, "utf-8"))
        return path

    @classmethod
    def load(cls, path: Path) -> Job:
        """Read it."""
        names = {old: new for new, old in _STORED_NAMES.items()}
        return cls(**{names.get(key, key): value for key, value in json.loads(path.read_text("utf-8")).items()})


_STORED_NAMES = {"gradient_accumulation": "pieces"}
"""How fields of a job are spelt in job.json."""


@dataclass
class Result:
    """What a loop did: `seen` of all images, in `seconds`; `finished` or stopped."""

    seen: int
    finished: bool
    seconds: float
    model: Path | None = None
    best: float = math.nan
    notes: list[str] = field(default_factory=list)
