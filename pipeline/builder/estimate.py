"""What a build will cost, from a few of its samples made on trial: how well a photograph compresses, and what a
degradation adds to it, can be told from no size.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import cv2

from patina.pipeline.builder.job import ShardJob
from patina.pipeline.builder.samples import SampleMaker, SourceFiles
from patina.pipeline.errors import PipelineError
from patina.pipeline.format.layout import ROLES
from patina.pipeline.format.shard import unpack
from patina.pipeline.plan.cost import cost_of
from patina.pipeline.plan.difference import Step
from patina.pipeline.plan.planning import PlannedBuild
from patina.pipeline.plan.stored_files import is_whole, kinds_of
from patina.pipeline.plan.wanted import Wanted, WantedSample
from patina.pipeline.scan.source import Source

PROBES = 5
"""Photographs of each degradation whose samples are made on trial."""

PROBE_SIDE = 512
"""Pixels: what is larger is cut to this square, so that a plan of camera-size photographs is quick too."""

SMALLEST = 16
"""Pixels a side of an image that can be degraded."""

MOST_SEEN = 500
"""Sources of one shard, or of one degradation, that are looked at; the others are taken to be like these."""


@dataclass(frozen=True)
class Rates:
    """What the samples of one degradation cost.

    decoding   seconds of one core for each megapixel of a source's file or files.
    making     seconds for each megapixel of a sample: degrading, measuring, encoding.
    lq, gt     bytes of these images for each megapixel, where they are encoded and not kept as their own files.
    maps       bytes of truth maps and intermediate targets for each megapixel.
    text       bytes of caption, facts and headers for each sample.
    """

    decoding: float = 0.02
    making: float = 0.05
    lq: float = 2.0e6
    gt: float = 1.5e6
    maps: float = 0.0
    text: float = 6000.0


def estimated(planned: PlannedBuild) -> PlannedBuild:
    """The plan with bytes, seconds and warnings that a few samples, made on trial and thrown away, lead one to expect.

    Reads a few photographs of each degradation that has samples to be made; takes some 10 ms for each sample on trial.
    What cannot be read just now is left out, and the build will say so.
    """
    steps = planned.plan.build
    if not steps:
        return planned
    rates = _measured(planned.wanted, steps)
    cost = cost_of(
        planned.wanted,
        steps,
        planned.plan.keep,
        lambda step: _bytes(step, planned.wanted, rates.get(step.shard.degradation, Rates())),
        lambda step: _seconds(step, rates.get(step.shard.degradation, Rates())),
    )
    plan = replace(planned.plan, bytes=cost.bytes, seconds=cost.seconds, warnings=cost.warnings)
    return replace(planned, plan=plan)


def _bytes(step: Step, wanted: Wanted, rates: Rates) -> float:
    """Expected size of a shard: images that keep their own bytes have them, the others go by the rates."""
    shard, megapixels = step.shard, step.shard.pixels / 1e6
    seen = _spread(shard.sources, MOST_SEEN)
    own = encoded_lq = encoded_gt = pixels = 0.0
    for source in seen:
        area, samples = _cut(wanted, source, shard.degradation)
        kept = samples if is_whole(wanted.recipe, source) else 0
        lq, gt = kinds_of(wanted.recipe, source, shard.degradation)
        gt_kept = bool(kept and source.info.suffix == gt and not source.border)
        lq_kept = bool(kept and source.lq_suffix == lq)
        pixels += area
        encoded_gt += 0 if gt_kept else area
        encoded_lq += 0 if lq_kept else area
        if gt_kept and lq_kept == source.is_pair:
            own += source.bytes * kept
        elif gt_kept or lq_kept:  # one file of a pair: half of what both take
            own += source.bytes * kept / 2
    scale = shard.pixels / max(pixels, 1.0)
    images = own + encoded_lq / 1e6 * rates.lq + encoded_gt / 1e6 * rates.gt
    return images * scale + megapixels * rates.maps + shard.count * rates.text


def _seconds(step: Step, rates: Rates) -> float:
    """Seconds of one core for a shard whose samples are all to be made."""
    seen = _spread(step.shard.sources, MOST_SEEN)
    files = sum(source.info.width * source.info.height for source in seen) * len(step.shard.sources) / len(seen)
    return files / 1e6 * rates.decoding + step.shard.pixels / 1e6 * rates.making


def _cut(wanted: Wanted, source: Source, entry: str) -> tuple[float, int]:
    """Pixels and number of the samples of a source."""
    tiles = wanted.recipe.cut(source.info.width, source.info.height)
    variants = 1 if source.is_pair else wanted.recipe.degradations[entry].variants_in(source.split)
    return variants * float(sum(tile[2] * tile[3] for tile in tiles)), variants * len(tiles)


def _spread(sources: Sequence[Source], count: int) -> Sequence[Source]:
    """At most `count` of the sources, at equal distances."""
    if len(sources) <= count:
        return sources
    return [sources[(2 * i + 1) * len(sources) // (2 * count)] for i in range(count)]


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Probe:
    """One sample made on trial: seconds and megapixels of its file and of itself, bytes of its members by role."""

    decoding: float
    file: float
    making: float
    sample: float
    bytes: Mapping[str, int]


def _measured(wanted: Wanted, steps: Sequence[Step]) -> dict[str, Rates]:
    """The rates of every degradation that has samples to be made, as far as some could be made on trial."""
    stale: dict[str, list[Source]] = defaultdict(list)
    for step in steps:
        if step.synthesised:
            stale[step.shard.degradation] += _spread(step.shard.sources, MOST_SEEN)
    chosen: dict[str, list[tuple[str, Source]]] = defaultdict(list)
    for entry, sources in stale.items():
        for source in _chosen(sources):
            chosen[source.digest].append((entry, source))
    cv2.setNumThreads(1)  # as builds do: what other threads do is in no figure of this one
    found: dict[str, list[_Probe]] = defaultdict(list)
    files = SourceFiles()
    makers = {entry: SampleMaker(_job(wanted, entry), files) for entry in stale}  # they copy, and so open, nothing
    for works in chosen.values():  # a photograph at a time: it is decoded once for all degradations
        start = time.thread_time()
        try:
            files.load(works[0][1])
            decoding = time.thread_time() - start
            for entry, source in works:
                found[entry].append(_probe(makers[entry], wanted, entry, source, decoding))
        except (PipelineError, OSError):
            continue
    return {entry: _rates(probes) for entry, probes in found.items()}


def _chosen(sources: Sequence[Source]) -> list[Source]:
    """A few sources, from those that compress well to those that do not."""
    seen = sorted(_spread(sources, MOST_SEEN), key=lambda s: (s.bytes / (s.info.width * s.info.height), s.digest))
    return list(_spread(seen, PROBES))


def _job(wanted: Wanted, entry: str) -> ShardJob:
    synthesis = wanted.recipe.degradations.get(entry)
    return ShardJob(
        split="train",
        entry=entry,
        bucket=0,
        group="",
        fingerprint="",
        samples=(),
        degradation=synthesis.degradation if synthesis else None,
        same={},
        same_pixels={},
        old_shards={},
        staging="",
        codec=wanted.codec,
        storage=wanted.recipe.storage,
    )


def _probe(maker: SampleMaker, wanted: Wanted, entry: str, source: Source, decoding: float) -> _Probe:
    samples = list(wanted.samples(source, entry))
    sample = _trimmed(samples[len(samples) // 2])
    before = maker.seconds
    data = b"".join(maker.sample(sample).pieces)
    width, height = sample.tile[2:]
    sizes = {"text": len(data), "lq": 0, "gt": 0, "maps": 0}
    for name, body in unpack(data, entry)[1].items():
        if name not in {"txt", "json"}:
            sizes[next((role for role, names in ROLES.items() if name in names), "maps")] += len(body)
            sizes["text"] -= len(body)
    file = source.info.width * source.info.height / 1e6
    return _Probe(decoding, file, maker.seconds - before, width * height / 1e6, sizes)


def _trimmed(sample: WantedSample) -> WantedSample:
    """The sample, or the middle of a large one, and never a whole file, whose own bytes would be kept."""
    x, y, width, height = sample.tile
    w, h = min(width, PROBE_SIDE), min(height, PROBE_SIDE)
    if (w, h) == (sample.source.info.width, sample.source.info.height) and w > SMALLEST:
        w -= 1
    return replace(sample, tile=(x + (width - w) // 2, y + (height - h) // 2, w, h))


def _rates(probes: Sequence[_Probe]) -> Rates:
    """Middle times, since the first sample of a kind makes tables for all; mean sizes, since sizes add up."""
    return Rates(
        decoding=median(probe.decoding / probe.file for probe in probes),
        making=median(probe.making / probe.sample for probe in probes),
        text=fmean(probe.bytes["text"] for probe in probes),
        **{role: fmean(_per_megapixel(probes, role)) for role in ("lq", "gt", "maps")},
    )


def _per_megapixel(probes: Iterable[_Probe], role: str) -> list[float]:
    return [probe.bytes[role] / probe.sample for probe in probes]
