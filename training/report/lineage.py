"""Where each model comes from, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patina.pipeline.format.manifest import Manifest
from patina.training.checkpoints.files import DONE, MODEL
from patina.training.report.record import Record
from patina.training.restore.load import Origin, origin_of
from patina.training.runs.lineage import how_to_get
from patina.training.stages.stage import Stage

DATASET_CHANGED = "the dataset has changed since; a start of the stage would train it anew"


def read_origin(record: Record) -> tuple[Origin, str] | str:
    """What a stage's model says of itself, with its digest; or why it cannot be read."""
    try:
        origin, held = origin_of(record.path / MODEL)
    except (ValueError, KeyError, TypeError) as error:  # CheckpointError and StageError are ValueErrors
        return str(error).replace(f"{record.path}/", "")
    return origin, held.digest


@dataclass(frozen=True)
class Fact:
    """A note of a model: a text, or a digest with a text after it."""

    term: str
    text: str = ""
    digest: str = ""


@dataclass(frozen=True)
class ModelOrigin:
    """What a page tells of a stage's model. troubles: with their classes."""

    name: str
    troubles: Sequence[tuple[str, str]]
    facts: Sequence[Fact] = ()


def model_origins(
    records: Sequence[Record], models: Mapping[str, tuple[Origin, str] | str], manifest: Manifest | None
) -> list[ModelOrigin]:
    """Every model's notes, and whether they agree with each other and with the dataset."""
    digests = {name: model[1] for name, model in models.items() if not isinstance(model, str)}
    found = []
    for record in records:
        model = models.get(record.name)
        if model is None:
            continue
        if isinstance(model, str):
            found.append(ModelOrigin(record.name, [(model, "trouble")]))
            continue
        origin, digest = model
        notes = {name: value for name, value in origin.notes.items() if name != "stage"}
        facts = [Fact("model", digest=digest), Fact("network", origin.stage.network)]
        folder = origin.notes.get("dataset_folder", "")
        facts += [
            _fact(name, value, origin.stage, folder)
            for name, value in notes.items()
            if value or name != "dataset_version"
        ]
        troubles = [(told, "trouble") for told in _disagreements(record, origin, digest, digests, manifest)]
        found.append(ModelOrigin(record.name, troubles, facts))
    return found


def _fact(name: str, value: str, stage: Stage, folder: str) -> Fact:
    """A note for people: lists as words, numbers with separators."""
    term = name.replace("_", " ")
    if name == "dataset_version" and value:
        return Fact(term, f"{value}: {how_to_get(folder, value.partition('-')[0])}")
    if name in ("fingerprint", "dataset", "start"):
        of = stage.after if name == "start" and stage.after and value else ""
        return Fact(term, of, value)
    if name == "seen" and value.isdecimal():
        return Fact(term, f"{int(value):,} images")
    if value.startswith("["):
        try:
            return Fact(term, ", ".join(str(one) for one in json.loads(value)))
        except (ValueError, TypeError):
            return Fact(term, value)
    return Fact(term, value)


def _disagreements(
    record: Record, origin: Origin, digest: str, digests: Mapping[str, str], manifest: Manifest | None
) -> list[str]:
    """What does not fit together, with what to do."""
    found = []
    if record.done and record.done.get("model") != digest:
        found.append(f"{MODEL} is not the one that {DONE} names; start the stage again")
    after = origin.stage.after
    if after in digests and digests[after] != origin.notes.get("start", ""):
        found.append(f"it was trained on another {after} than the one in this run; train it again")
    if manifest and origin.notes.get("dataset") not in (None, manifest.digest):
        name = origin.notes.get("dataset_version", "")
        found.append(f"{DATASET_CHANGED}{f'; it was trained on version {name}' if name else ''}")
    return found
