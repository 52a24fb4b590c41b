"""Why a shard is made anew or dropped, in words."""

from __future__ import annotations

import json
from typing import Any

from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.plan.wanted import Wanted

CAUSES = {
    "schema": "the stored layout changed",
    "codec": "the installed codecs changed",
    "severity": "severity is measured in another way",
    "recovery": "what can be recovered of a pair is found in another way",
    "seed": "the seed changed",
}
"""Why all samples of a degradation may be stale, by the key of its identity that tells."""


def why_changed(entry: str, wanted: Wanted, built: Manifest | None) -> str:
    """The one cause that all samples of a degradation share, in words; empty if only single sources changed."""
    was = dict(built.identities.get(entry, {})) if built else {}
    now = json.loads(json.dumps(wanted.identities[entry]))  # as the manifest keeps it: lists for tuples
    if not was or was == now:
        return ""
    for key, cause in CAUSES.items():
        if was.get(key) != now.get(key):
            return f"because {cause}"
    if was.get("version") != now.get("version"):
        return f"because {entry} is now version {now.get('version')}"
    return f"because {entry} changed ({', '.join(_differences(was.get('settings'), now.get('settings')))})"


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two settings, in words: `sigma 50 → 10..30`; of a composite's, by part."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict) and "min" not in (old | new):
        parts = [_differences(old.get(k), new.get(k), f"{name} {k}".lstrip()) for k in sorted(old | new)]
        return [texts for part in parts for texts in part]
    return [f"{name} {_spelt(old)} → {_spelt(new)}".lstrip()]


def _spelt(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"min", "max"}:
        return f"{value['min']}..{value['max']}"
    return "unset" if value is None else str(value)


def why_dropped(shard: ShardEntry, wanted: Wanted) -> str:
    """Why a shard is no longer wanted, in words."""
    if shard.degradation not in wanted.identities:
        return f"{shard.degradation} is no longer in the recipe"
    if shard.bucket >= wanted.recipe.buckets[shard.split]:
        return f"the recipe has {wanted.recipe.buckets[shard.split]} buckets for {shard.split} now"
    if any(other.place == (shard.split, shard.degradation, shard.bucket) for other in wanted.shards):
        return "its samples are in other shards, by their files"
    return "no source falls into it any more"
