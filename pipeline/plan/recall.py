"""Captions and similarities of a dataset that lost its private folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patina.captioning.run import fingerprint
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.format.layout import SOURCES
from patina.pipeline.format.manifest import Manifest, read_sources
from patina.pipeline.format.rows import is_sound, known_rows
from patina.pipeline.plan.captions import chain_of, label
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.columns import Sources, hex_of
from patina.pipeline.scan.source import Source


def recall_captions(
    recipe: Recipe, out: Path, built: Manifest | None, sources: Sequence[Source], store: CaptionStore
) -> int:
    """Put what models said for the built dataset, captions and similarities, back into a store that has lost it; gives
    how much that was.

    A dataset that was copied without its private folder keeps its sentences that way: another machine's model might
    word some of them otherwise. Only of models that are wholly those of the built dataset.
    """
    if not built:
        return 0
    now = captioner_fingerprints(recipe)
    same = {name for name, key in now.items() if built.captioners.get(name) == key}
    # Where both captioners are called the same, the dataset does not say whose a sentence is.
    mine = [c for c in chain_of(recipe) if c.stored and label(c) in same and FALLBACK.format(label(c)) not in now]
    scorer = recipe.similarity if recipe.similarity and label(recipe.similarity) in same else None
    if not mine and not scorer:
        return 0
    columns = Sources.of(sources)
    contents = dict(zip(hex_of(columns.digests), hex_of(columns.contents), strict=True))
    rows = [
        row for row in known_rows(out, built, [shard.name for shard in built.shards]) if row.source_sha256 in contents
    ]
    count = 0
    for captioner in mine:
        key = fingerprint(captioner)
        said = {contents[row.source_sha256]: row.caption for row in rows if row.captioner == label(captioner)}
        there = store.get(said, key)
        lost = [(content, text) for content, text in said.items() if content not in there]
        store.put(lost, key)
        count += len(lost)
    if scorer and is_sound(out, built, SOURCES):
        key, texts = fingerprint(scorer), {row.source_sha256: row.caption for row in rows}
        judged = [s for s in read_sources(out) if s["digest"] in texts and s["similarity"] is not None]
        scores = {(contents[s["digest"]], texts[s["digest"]]): float(s["similarity"]) for s in judged}
        known = store.get_scores(scores, key)
        missing = [(item, score) for item, score in scores.items() if item not in known]
        store.put_scores(missing, key)
        count += len(missing)
    return count


FALLBACK = "{} (fallback)"
"""What the manifest calls a fallback that has the name and version of the captioner before it."""


def captioner_fingerprints(recipe: Recipe) -> dict[str, str]:
    """The fingerprints of all captioners that are asked, and of the model that judges their captions, by
    `name@version`."""
    found: dict[str, str] = {}
    for captioner in chain_of(recipe):
        name = label(captioner)
        found[FALLBACK.format(name) if name in found else name] = fingerprint(captioner)
    if recipe.similarity:
        found[label(recipe.similarity)] = fingerprint(recipe.similarity)
    return found
