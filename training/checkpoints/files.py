"""Files of a run that are read and written without torch."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patina.pipeline.files import lock_holder, write_atomically
from patina.training.errors import CheckpointError
from patina.training.stages.stage import Stage

MODEL, BEST, DONE, METRICS, STAGE, SAMPLES = (
    "model.safetensors",
    "best.safetensors",
    "done.json",
    "metrics.jsonl",
    "stage.json",
    "samples",
)
"""Of a stage's folder; `patina.training.checkpoints.resume` says what each holds."""


def read_table(path: Path) -> dict[str, Any]:
    """The table of a JSON file; empty if there is none, or it is torn."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def read_header(path: Path) -> dict[str, Any]:
    """What a patina checkpoint says of itself: word, settings, notes, digest. Its tensors are not read.

    Raises CheckpointError for a file that is missing, torn or another program's.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                raise ValueError("a header of this length")
            body = json.loads(json.loads(file.read(length))["__metadata__"]["patina"])
        expect_sum(path, body)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; expected a model's") from None
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise CheckpointError(f"{path}: cut short, or no patina checkpoint ({error})") from None
    return dict(body)


def sum_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of all that a checkpoint's header says of it, but this sum: what a bit that flipped in a number or a note
    would otherwise change unnoticed."""
    rest = {key: value for key, value in body.items() if key != "sum"}
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def expect_sum(path: Path, body: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a header has a sum, as those of earlier releases have not, and does not fit it."""
    if "sum" in body and body["sum"] != sum_of(body):
        raise CheckpointError(f"{path}: damaged: its header does not fit its own sum; fetch or write it again")


def write_text(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or as it was before."""
    write_atomically(path, text, durable=False)


LOCK_SECONDS = 60
"""For how long a start waits for another training of its stage to end, before it gives up."""


def stage_lock(folder: Path) -> Path:
    """The lock of a stage's folder, beside it: held by a training while it runs, and by the kernel dropped with it."""
    return folder.with_name(f".{folder.name}.lock")


def trained_by(folder: Path) -> str:
    """The process that trains in a stage's folder now, such as `process 4711 of anna on node7`; empty if none does."""
    return lock_holder(stage_lock(folder))


HEARTBEAT = "heartbeat"
"""A file of the stage's folder that the loop touches as it goes on."""


def steering_file(stage: Stage, run: Path) -> Path | None:
    """The file of what steers a stage of a run, whether it is there or not; None for a stage that nothing steers."""
    if not stage.after:
        return None
    return Path(stage.after) if stage.is_steered_by_file else run / stage.after / MODEL


def weights_digest(path: Path) -> str:
    """What names a file of weights: of a patina checkpoint its tensors' digest, of any other the SHA-256 of its bytes.

    Raises CheckpointError for a file that is missing or torn.
    """
    if path.suffix == ".safetensors":
        return str(read_header(path).get("digest", ""))
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; expected a file of weights") from None


def digests_of(stage: Stage, run: Path) -> tuple[str, str]:
    """The digests of what steers a stage and of the weights that it begins with; empty for what is not there yet.

    Raises CheckpointError for files outside of the run that are missing or torn.
    """
    steering = steering_file(stage, run)
    steers = weights_digest(steering) if steering and (stage.is_steered_by_file or steering.exists()) else ""
    return steers, weights_digest(Path(stage.start)) if stage.start else ""


def model_digest(folder: Path) -> str:
    """The digest of a stage's finished model, by its header; empty if there is none."""
    path = folder / MODEL
    return read_header(path).get("digest", "") if path.exists() else ""
