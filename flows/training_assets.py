"""Trained models as Prefect assets and events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.assets import Asset, AssetProperties, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from patina.flows.artifacts import server_answers
from patina.flows.events import absolute, asset_key
from patina.pipeline.versions.version import home_of
from patina.training.checkpoints.files import DONE, MODEL, model_digest, write_text
from patina.training.data.dataset import dataset_manifest
from patina.training.stages.stage import Stage

STAGE_TRAINED = "patina.stage.trained"
RESOURCE = "patina.run."
ANNOUNCED_FILE = "announced.json"


def announce(stage: Stage, dataset: Path, run: Path) -> bool:
    """Record a finished model as an asset and emit that it was trained, unless that was done; gives whether it was done
    now."""
    folder = run / stage.name
    digest = model_digest(folder)
    if _announced(folder) == digest:
        return False
    if not server_answers():
        get_run_logger().warning("the Prefect server does not answer; the next run will say that this was trained")
        return False
    done = json.loads((folder / DONE).read_text("utf-8"))
    place = absolute(str(run))
    facts = {
        "run": place,
        "stage": stage.name,
        "model": str((folder / MODEL).absolute()),
        "digest": digest,
        "dataset": absolute(str(home_of(dataset))),
        "manifest": dataset_manifest(dataset).digest,
        **{key: done.get(key) for key in ("seen", "seconds", "best")},
    }
    _materialize(stage, asset_key(place, stage.name), _parents(stage, dataset, place), facts)
    resource = {"prefect.resource.id": f"{RESOURCE}{place}", "prefect.resource.name": run.name or place}
    emit_event(STAGE_TRAINED, resource=resource, payload=facts)
    write_text(folder / ANNOUNCED_FILE, json.dumps({"digest": digest}))
    return True


def _parents(stage: Stage, dataset: Path, run: str) -> list[str]:
    """Keys of the assets that a model is made from."""
    return [
        asset_key(absolute(str(home_of(dataset))), "train"),
        *([asset_key(run, stage.after)] if stage.after and not stage.is_steered_by_file else []),
    ]


def _materialize(stage: Stage, key: str, parents: Sequence[str], facts: Mapping[str, Any]) -> None:
    words = f"{stage.network} ({stage.size}), {stage.objective}, {facts['seen']:,} images seen"
    asset = Asset(key=key, properties=AssetProperties(name=stage.name, description=words))

    @materialize(
        asset,
        by="patina",
        asset_deps=list(parents),
        task_run_name=f"record {stage.name}",
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def record_model() -> None:
        """The model is finished: say so."""
        asset.add_metadata(dict(facts))

    record_model()


def _announced(folder: Path) -> str:
    """Digest of the model that was announced last."""
    try:
        return str(json.loads((folder / ANNOUNCED_FILE).read_text("utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
