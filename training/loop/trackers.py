"""Weights & Biases and MLflow beside TensorBoard, by accelerate's trackers. Nothing is sent unless it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from patina.training.errors import StageError
from patina.training.stages.stage import Stage

TRACKERS = ("wandb", "mlflow")
"""Names of trackers, which are those of their libraries."""


def expect_trackers(names: Iterable[str]) -> None:
    """Raise StageError for trackers that are none of these, or whose library is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise StageError(f"no tracker {name!r}; known are {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise StageError(f"the tracker {name} wants the library {name}, which is not installed: pip install {name}")


def tracked_settings(stage: Stage) -> dict[str, str | float | int | bool]:
    """A stage's settings as trackers take them: plain values, those of its tables as `data.batch`."""
    flat: dict[str, str | float | int | bool] = {}

    def add(prefix: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                add(f"{prefix}{key}.", value)
            else:
                flat[prefix + key] = value if isinstance(value, str | float | int | bool) else str(value)

    add("", stage.file_table())
    return flat
