"""Which files a sample's images will be, told before anything is made: so that samples of one kind share a shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.columns import Sources
from patina.pipeline.scan.recovered import TRUTH
from patina.pipeline.scan.source import Source
from patina.pipeline.text import counted
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation
from patina.synth.graded import Graded


def is_whole(recipe: Recipe, source: Source) -> bool:
    """Whether its one sample of each degradation and variant is the whole photograph, whose own bytes can then be
    kept."""
    width, height = source.info.width, source.info.height
    return list(recipe.cut(width, height)) == [(0, 0, width, height)]


def gt_is_jpeg(recipe: Recipe, source: Source) -> bool:
    """Whether the clean image can be stored as the JPEG file that it came as."""
    return source.info.suffix == "jpg" and is_whole(recipe, source) and not source.border


def lq_is_jpeg(recipe: Recipe, source: Source, entry: str) -> bool:
    """Whether the degraded image can be stored as a JPEG file: that of a pair, or what a codec gives."""
    if source.is_pair:
        return source.lq_suffix == "jpg" and is_whole(recipe, source)
    return ends_in_codec(recipe.degradations[entry].degradation)


def ends_in_codec(degradation: Degradation) -> bool:
    """Whether what it gives is a file, so that its bytes are a part of it."""
    if isinstance(degradation, Graded):
        return ends_in_codec(degradation.base)
    if isinstance(degradation, Composite):
        return ends_in_codec(list(degradation.parts.values())[-1])
    return degradation.stage == "codec"


def kinds_of(recipe: Recipe, source: Source, entry: str) -> tuple[str, str]:
    """What a source's LQ and GT under an entry are stored as, `png` or `jpg`."""
    lq = recipe.storage.lq == "own" and lq_is_jpeg(recipe, source, entry)
    gt = recipe.storage.gt == "source" and gt_is_jpeg(recipe, source)
    return "jpg" if lq else "png", "jpg" if gt else "png"


def encoded_otherwise(recipe: Recipe, source: Source, entry: str) -> str:
    """What of [storage] decides the bytes of a source's images, where they are not those that they are by default."""
    lq = recipe.storage.lq == "png" and lq_is_jpeg(recipe, source, entry)
    gt = recipe.storage.gt == "png" and gt_is_jpeg(recipe, source)
    return "\0lq png" * lq + "\0gt png" * gt


def has_every_map(recipe: Recipe, source: Source) -> bool:
    """Whether truth maps that can be recovered of some pairs stand in all samples of this one, for uniform shards."""
    return recipe.storage.uniform and source.is_pair and source.degradation in TRUTH


def group_of(recipe: Recipe, source: Source, entry: str) -> str:
    """Which of the shards of an entry and bucket the samples of a source are in, by their files: "" for most.

    It follows from the source and the recipe alone, so that a photograph more moves no other one.
    """
    if not recipe.storage.uniform:
        return ""
    kinds = kinds_of(recipe, source, entry)
    if not source.is_pair:  # whose LQ is of one kind under one entry
        return "jpg" if kinds[1] == "jpg" else ""
    files = {("png", "png"): "", ("jpg", "jpg"): "jpg", ("jpg", "png"): "lq-jpg", ("png", "jpg"): "gt-jpg"}[kinds]
    made_too = ["pairs"] if entry in recipe.degradations else []  # which have other truth maps
    return "-".join([*made_too, *filter(None, [files])])


def mixing_notes(recipe: Recipe, sources: Sequence[Source]) -> list[str]:
    """Where shards would hold samples with other members than their neighbours', which some readers refuse or read
    wrongly; nothing for uniform ones."""
    if recipe.storage.uniform:
        return []
    kinds: dict[str, dict[str, int]] = {}
    columns = Sources.of(sources)
    for source, count in zip(columns.examples, columns.counts(), strict=True):
        entries = (source.degradation,) if source.is_pair else source.entries or tuple(recipe.degradations)
        for entry in entries:
            kind = " and ".join(_members(recipe, source, entry))
            counts = kinds.setdefault(entry, {})
            counts[kind] = counts.get(kind, 0) + count
    return [_note(entry, counts) for entry, counts in sorted(kinds.items()) if len(counts) > 1]


def _members(recipe: Recipe, source: Source, entry: str) -> Iterable[str]:
    lq, gt = kinds_of(recipe, source, entry)
    yield lq
    yield f"gt.{gt}"
    if source.is_pair and entry in recipe.degradations:
        yield "no map"


def _note(entry: str, counts: dict[str, int]) -> str:
    told = ", ".join(f"{kind} of {counted(n, 'photograph')}" for kind, n in sorted(counts.items()))
    return (
        f"shards of {entry} mix samples of unlike members ({told}), which some readers refuse; write uniform = true in "
        "[storage] to keep them apart"
    )
