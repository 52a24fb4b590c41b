"""Changes of a recipe that move samples between shards: of its buckets and its split, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from patina.pipeline.format.layout import SPLITS
from patina.pipeline.format.manifest import Manifest
from patina.pipeline.plan.wanted import Wanted
from patina.pipeline.scan.columns import Sources, each_hex
from patina.pipeline.text import counted


def layout_changes(wanted: Wanted, built: Manifest, sides: Mapping[str, str]) -> tuple[str, ...]:
    """What changed since the dataset was built, a sentence each; none if nothing of it did.

    sides  the split of each source that is built, by its digest.
    """
    found = [*_buckets(wanted, built), _split(wanted, built, sides)]
    return tuple(sentence for sentence in found if sentence)


def _buckets(wanted: Wanted, built: Manifest) -> Sequence[str]:
    """Of splits that have shards: `all shards: buckets 2 → 3`, or `shards of train: buckets 2 → 3`."""
    before = built.recipe.get("buckets")
    if not isinstance(before, Mapping):
        return []
    used = {shard.split for shard in built.shards} | {shard.split for shard in wanted.shards}
    changed: dict[str, list[str]] = {}
    for split in (split for split in SPLITS if split in used):
        was, now = before.get(split), wanted.recipe.buckets[split]
        if was != now:
            changed.setdefault(f"buckets {was} → {now}", []).append(split)
    whose = {what: f"shards of {' and '.join(splits)}" for what, splits in changed.items()}
    return [f"{'all shards' if len(changed[what]) == len(used) else whose[what]}: {what}" for what in changed]


def _split(wanted: Wanted, built: Manifest, sides: Mapping[str, str]) -> str:
    """`split changed: 3 photographs moved from train to val, 1 from val to test`; empty if nothing changed."""
    is_other = built.recipe.get("split") != wanted.recipe.table["split"]
    sources = Sources.of(wanted.sources)
    names = [example.split for example in sources.examples]
    moves = Counter(
        (sides[digest], names[kind])
        for digest, kind in zip(each_hex(sources.digests), sources.kinds.tolist(), strict=True)
        if sides.get(digest, names[kind]) != names[kind]
    )
    ordered = sorted(moves.items(), key=lambda move: (-move[1], move[0]))
    counts = [f"{count:,}" for _, count in ordered]
    counts[:1] = [f"{counted(count, 'photograph')} moved" for _, count in ordered[:1]]
    told = ", ".join(f"{many} from {old} to {new}" for many, ((old, new), _) in zip(counts, ordered, strict=True))
    if not is_other:
        return told
    return f"split changed: {told or 'no photograph moved'}"
