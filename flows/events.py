"""What others can wait for: that sources changed, and that a dataset was published; and its splits as Prefect assets.

patina.sources.changed     payload: recipe, out, plan, build, drop, signature
patina.dataset.published   payload: recipe, out, manifest, samples, shards, bytes, splits, changed

The resource of both is `patina.dataset.` and the dataset's folder or address. A published manifest is announced once:
OUT/.patina/announced.json says which, so that a run that was killed after publishing leaves it to the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.assets import Asset, AssetProperties, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from patina.flows.artifacts import server_answers
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.watch import Watched
from patina.pipeline.files import write_atomically
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.format.manifest import ShardEntry
from patina.pipeline.sources import locations
from patina.pipeline.text import counted, human_bytes

SOURCES_CHANGED = "patina.sources.changed"
DATASET_PUBLISHED = "patina.dataset.published"
RESOURCE = "patina.dataset."

ANNOUNCED_FILE = "announced.json"

MAX_SHARDS_NAMED = 200
"""Names of shards in an event at the most: Prefect refuses large ones."""

FORBIDDEN_IN_KEYS = frozenset("\n\r\t\0 #?&%\"'<>[]{}|\\^`")
"""What Prefect does not take in an asset's key."""

MAX_KEY_LENGTH = 512
"""Characters of an asset's key at the most."""


def tell_sources_changed(recipe: str, out: str, found: Watched) -> None:
    """Emit the event that starts a build of `recipe` into `out`; both absolute, since a worker may run elsewhere."""
    assert found.plan is not None, "nothing is stale"
    emit_event(
        SOURCES_CHANGED,
        resource=_resource(out),
        payload={
            "recipe": recipe,
            "out": out,
            "plan": found.plan.summary(),
            "build": len(found.plan.build),
            "drop": len(found.plan.drop),
            "signature": found.signature,
        },
    )


def announce(report: BuildResult, out: str) -> bool:
    """Record the dataset's changed splits as assets and emit that it was published, unless that was done; gives whether
    it was done now."""
    manifest, folder = report.manifest, report.planned.out
    place = absolute(out)
    splits = {shard.split: [s for s in manifest.shards if s.split == shard.split] for shard in manifest.shards}
    digests = {split: _digest(shards) for split, shards in splits.items()}
    digest, before = _announced(folder)
    if digest == manifest.digest:
        return False
    if not server_answers():
        get_run_logger().warning("the Prefect server does not answer; the next run will say that this was published")
        return False
    for split, shards in splits.items():
        if before.get(split) != digests[split]:
            _materialize(asset_key(place, split), split, shards, manifest.digest, digests[split])
    emit_event(
        DATASET_PUBLISHED,
        resource=_resource(place),
        payload={
            "recipe": str(manifest.recipe["name"]),
            "out": place,
            "manifest": manifest.digest,
            "samples": sum(shard.count for shard in manifest.shards),
            "shards": len(manifest.shards),
            "bytes": sum(shard.bytes for shard in manifest.shards),
            "splits": {split: sum(shard.count for shard in shards) for split, shards in splits.items()},
            "changed": _changed(report)[:MAX_SHARDS_NAMED],
        },
    )
    body = {"digest": manifest.digest, "splits": digests}
    announced = folder / PRIVATE / ANNOUNCED_FILE
    announced.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(announced, json.dumps(body), durable=False)
    return True


def is_announced(report: BuildResult) -> bool:
    """Whether it was told before that this dataset was published."""
    return _announced(report.planned.out)[0] == report.manifest.digest


def absolute(place: str) -> str:
    """A folder's absolute path; an address without its secrets and without a slash at its end."""
    return locations.place(place).rstrip("/") if locations.is_remote(place) else str(Path(place).absolute())


def asset_key(place: str, split: str) -> str:
    """The key of a split's asset: `patina://` and the folder's path, or the address, and the split.

    Characters that Prefect forbids are written as `_`; of a path that is too long, a digest stands for the beginning.
    """
    start = place if locations.is_remote(place) else f"patina://{place.lstrip('/')}"
    key = "".join("_" if c in FORBIDDEN_IN_KEYS else c for c in f"{start}/{split}")
    if len(key) > MAX_KEY_LENGTH:
        name = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        key = f"patina://{name}/{key[len(key) - 200 :].partition('/')[2]}"
    return key


# ---------------------------------------------------------------------------------------------------------------------


def _resource(place: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"{RESOURCE}{place}",
        "prefect.resource.name": locations.base_name(place) or place,
    }


def _digest(shards: Sequence[ShardEntry]) -> str:
    lines = "".join(f"{shard.sha256}  {shard.name}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


def _changed(report: BuildResult) -> list[str]:
    """Names of the shards that were written or dropped."""
    written = [result.shard.name for result in report.results]
    return sorted([*written, *(shard.name for shard, _ in report.planned.plan.drop)])


def _materialize(key: str, split: str, shards: Sequence[ShardEntry], manifest: str, digest: str) -> None:
    counts: Counter[str] = Counter()
    for shard in shards:
        counts[shard.degradation] += shard.count
    size = sum(shard.bytes for shard in shards)
    words = f"{counted(sum(counts.values()), 'sample')} of {counted(len(counts), 'degradation')}, {human_bytes(size)}"
    asset = Asset(key=key, properties=AssetProperties(name=split, description=words))
    facts: dict[str, Any] = {
        "manifest": manifest,
        "digest": digest,
        "samples": sum(counts.values()),
        "shards": len(shards),
        "bytes": size,
        "degradations": dict(counts),
    }

    @materialize(asset, by="patina", task_run_name=f"record {split}", cache_policy=NO_CACHE, persist_result=False)
    def record_split() -> None:
        """The split's shards are published: say so."""
        asset.add_metadata(facts)

    record_split()


def _announced(folder: Path) -> tuple[str, Mapping[str, str]]:
    """Digests of the manifest that was announced last, and of its splits."""
    try:
        body = json.loads((folder / PRIVATE / ANNOUNCED_FILE).read_text("utf-8"))
        return str(body["digest"]), {str(split): str(digest) for split, digest in body["splits"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", {}
