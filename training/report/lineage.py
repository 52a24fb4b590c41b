"""Where each model comes from, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from patina.pipeline.format.manifest import Manifest
from patina.pipeline.report.html import escaped
from patina.training.checkpoints.files import DONE, MODEL
from patina.training.report.record import Record
from patina.training.report.tables import html_remarks
from patina.training.restore.load import Origin, origin_of
from patina.training.stages.stage import Stage

DATASET_CHANGED = "the dataset has changed since; a start of the stage would train it anew"


def html_digest(digest: str) -> str:
    """A digest's beginning; the rest where a pointer rests on it."""
    if len(digest) <= 16:
        return f"<code>{escaped(digest) or '–'}</code>"
    return f'<abbr title="{escaped(digest)}"><code>{escaped(digest[:16])}…</code></abbr>'


def read_origin(record: Record) -> tuple[Origin, str] | str:
    """What a stage's model says of itself, with its digest; or why it cannot be read."""
    try:
        origin, held = origin_of(record.path / MODEL)
    except (ValueError, KeyError, TypeError) as error:  # CheckpointError and StageError are ValueErrors
        return str(error).replace(f"{record.path}/", "")
    return origin, held.digest


def html_lineage(
    records: Sequence[Record], models: Mapping[str, tuple[Origin, str] | str], manifest: Manifest | None
) -> str:
    """Every model's notes, and whether they agree with each other and with the dataset."""
    digests = {name: model[1] for name, model in models.items() if not isinstance(model, str)}
    parts = []
    for record in records:
        model = models.get(record.name)
        if model is None:
            continue
        if isinstance(model, str):
            parts.append(
                f'<article class="origin"><h3>{escaped(record.name)}</h3>{html_remarks([(model, "trouble")])}</article>'
            )
            continue
        origin, digest = model
        notes = {name: value for name, value in origin.notes.items() if name != "stage"}
        items = [("model", html_digest(digest)), ("network", escaped(origin.stage.network))]
        items += [(escaped(name.replace("_", " ")), _note(name, value, origin.stage)) for name, value in notes.items()]
        rows = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in items)
        troubles = [(told, "trouble") for told in _disagreements(record, origin, digest, digests, manifest)]
        parts.append(
            f'<article class="origin"><h3>{escaped(record.name)}</h3>{html_remarks(troubles)}<dl>{rows}</dl></article>'
        )
    return "".join(parts) or '<p class="about">No stage is finished yet.</p>'


def _note(name: str, value: str, stage: Stage) -> str:
    """A note as HTML: digests shortened, lists as words, numbers with separators."""
    if name in ("fingerprint", "dataset", "start"):
        of = f" {escaped(stage.after)}" if name == "start" and stage.after else ""
        return f"{html_digest(value)}{of}" if value else "–"
    if name == "seen" and value.isdecimal():
        return f"{int(value):,} images"
    if value.startswith("["):
        try:
            return escaped(", ".join(str(one) for one in json.loads(value))) or "–"
        except (ValueError, TypeError):
            return escaped(value)
    return escaped(value) or "–"


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
        found.append(DATASET_CHANGED)
    return found
