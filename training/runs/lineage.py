"""Where a model file comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patina.training.checkpoints.files import read_header


def lineage(path: Path) -> list[str]:
    """Where a model file comes from, as lines. Raises CheckpointError for a file that no stage wrote."""
    from patina.training.errors import CheckpointError

    header = read_header(path)
    notes = header.get("notes", {})
    if "stage" not in notes:
        raise CheckpointError(
            f"{path}: a checkpoint that no stage of patina wrote; expected a model.safetensors of a run"
        )
    try:
        facts = _facts(header, notes)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its notes are not as a stage of patina writes them ({error!r:.200})") from None
    if header.get("base_name"):
        facts["frozen weights"] = f"{header['base_name']}, digest {header['base']}"
    return [f"{name:15} {value}" for name, value in facts.items()]


def _facts(header: Mapping[str, Any], notes: Mapping[str, str]) -> dict[str, str]:
    """What a model's notes say, by name. Raises KeyError, ValueError, TypeError for notes of another kind."""
    stage = json.loads(notes["stage"])
    return {
        "model": f"{header['word']} ({stage['size']}), digest {header['digest']}",
        "stage": f"{stage['name']} ({stage['objective']}), {int(notes['seen']):,} of {stage['images']:,} images seen",
        "dataset": f"{notes['dataset']} ({notes.get('dataset_folder', '')})",
        **_version(notes),
        "degradations": ", ".join(map(str, json.loads(notes.get("words", "[]")))),
        "starts from": f"{stage['after']}, digest {notes['start']}" if notes.get("start") else "nothing",
        **({"begins with": notes["weights"]} if notes.get("weights") else {}),
        "seed": notes.get("seed", "unknown"),
        "code": f"patina {notes.get('patina', 'unknown')}, torch {notes.get('torch', 'unknown')}",
        "fingerprint": notes["fingerprint"],
    }


def _version(notes: Mapping[str, str]) -> dict[str, str]:
    """Which version of its dataset a model was trained on, and how to get it back."""
    name = notes.get("dataset_version", "")
    number, folder = name.partition("-")[0], notes.get("dataset_folder", "")
    return {"version": f"{name}, {how_to_get(folder, number)}"} if name else {}


def how_to_get(folder: str, number: str) -> str:
    """How people get at a version of a dataset, in words."""
    return f"read as {folder}@{number}, published again by `patina rollback {folder} {number}`, while it is kept"
