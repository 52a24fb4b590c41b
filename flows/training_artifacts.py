"""Plans, results and pictures of a training as Prefect artifacts."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from patina.pipeline.text import human_seconds
from patina.pipeline.versions.version import home_of
from patina.training.checkpoints.files import DONE
from patina.training.jobs.evaluation import PICTURES, SUMMARY, Outcome
from patina.training.runs.plan import StagePlan

SIDE = 1600
"""Largest side of a picture in an artifact, px."""


def plan_rows(items: Sequence[StagePlan]) -> list[dict[str, str]]:
    """What is to be done, and why, a row a stage."""
    return [
        {
            "stage": item.stage.name,
            "what": item.state,
            "images": f"{item.stage.max_images - item.seen:,}",
            "network": f"{item.stage.network} ({item.stage.size})",
            "starts from": item.stage.after or "–",
            "why": item.why,
        }
        for item in items
    ]


def plan_artifact(items: Sequence[StagePlan], dataset: Path, run: Path) -> None:
    """The plan of a run as a table."""
    stale = sum(item.what != "done" for item in items)
    words = f"{stale} of {len(items)} stages to train on {home_of(dataset).name} in {run.absolute().name}"
    create_table_artifact(plan_rows(items), key="training-plan", description=words)


def result_artifact(found: Outcome, run: Path) -> None:
    """A finished stage as a table, with its newest picture."""
    done = json.loads((run / found.stage / DONE).read_text("utf-8"))
    lines = [
        f"- {found.images:,} images seen, {human_seconds(found.seconds)} since its last start",
        f"- best validation: {found.score}",
        f"- model {done['model'][:16]}: `{found.model}`",
        *(f"- {what}: {count:,}" for what, count in done.get("saved", {}).items()),
        *(f"- {note}" for note in done.get("notes", [])),
    ]
    create_markdown_artifact("\n".join(lines), key="stage", description=f"{found.stage}: {found.score}")


def report_artifacts(run: Path, page: Path, order: Sequence[str]) -> None:
    """The summary of a run, and a link to its page."""
    create_markdown_artifact((run / SUMMARY).read_text("utf-8"), key="training", description=f"{run.name}: all stages")
    create_link_artifact(
        page.absolute().as_uri(), "report.html", key="report", description=f"{run.absolute().name}/{page.name}"
    )
    if picture := newest_picture(run, order):
        data = base64.b64encode(_jpeg(picture)).decode()
        words = f"LQ | restored | GT: {picture.relative_to(run)}"
        create_image_artifact(f"data:image/jpeg;base64,{data}", key="restored", description=words)


def newest_picture(run: Path, order: Sequence[str] = ()) -> Path | None:
    """A picture of the last stage that has one: of its evaluation, else of its last validation."""
    stages = list(order) or sorted(path.parent.name for path in run.glob(f"*/{DONE}"))
    for name in reversed(stages):
        for kind in (PICTURES, "samples"):
            if pictures := sorted((run / name / kind).glob("*.png")):
                return pictures[-1]
    return None


def _jpeg(path: Path) -> bytes:
    with PIL.Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
