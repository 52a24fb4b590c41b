"""A plan and a build in words and rows, for terminals, pages and artifacts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from patina.pipeline.builder.result import BuildResult
from patina.pipeline.plan.planning import PlannedBuild
from patina.pipeline.text import counted, human_bytes, rate_of

SHOWN = 50


def plan_lines(planned: PlannedBuild) -> list[str]:
    """Every step of a plan in a line: what happens to which shard, and why."""
    plan = planned.plan
    lines = []
    for step in plan.build:
        work = [(step.synthesised, "made"), (step.captioned, "with a new caption"), (step.copied, "copied")]
        parts = ", ".join(f"{count} {what}" for count, what in work if count)
        lines.append(f"build {step.shard.name}: {step.reason} ({parts})")
    lines += [f"drop {shard.name}: {reason}" for shard, reason in plan.drop]
    return lines


def plan_markdown(planned: PlannedBuild) -> str:
    """A plan as a Markdown page."""
    lines = plan_lines(planned)
    more = [f"- … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    aside = [f"- set aside {r.name}: {r.reason}" for r in planned.refusals[:SHOWN]]
    return "\n".join([f"**{planned.plan.summary()}**", "", *(f"- {line}" for line in lines[:SHOWN]), *more, *aside])


def caption_line(planned: PlannedBuild) -> str:
    """Which captioner's sentence how many photographs got."""
    counts = Counter(caption.captioner for caption in planned.wanted.captions.values() if caption)
    parts = [f"{count} by {captioner}" for captioner, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]
    return f"captions of {counted(sum(counts.values()), 'photograph')}: {', '.join(parts)}"


def made_line(report: BuildResult) -> str:
    """How much there is now, and how much of it was made in which time."""
    size = human_bytes(sum(shard.bytes for shard in report.manifest.shards))
    total = sum(shard.count for shard in report.manifest.shards)
    if not report.results:
        return f"nothing was stale: {counted(total, 'sample')}, {size}, as before"
    made = sum(r.synthesised for r in report.results)
    copied = sum(r.copied for r in report.results)
    worded = sum(r.captioned for r in report.results)
    rate = report.samples_written / max(report.seconds, 1e-9)
    return (
        f"{counted(total, 'sample')}, {size}; {made:,} made, {worded:,} captioned anew, {copied:,} copied "
        f"in {report.seconds:.1f} s ({rate_of(rate)} samples/s); digest {report.manifest.digest[:16]}"
    )


def summary_rows(report: BuildResult) -> list[dict[str, Any]]:
    """Samples and bytes for each degradation and split, in the order of the shards."""
    manifest = report.manifest
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    shards: Counter[tuple[str, str]] = Counter()
    written = {result.shard.name for result in report.results}
    fresh: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards:
        group = (shard.split, shard.degradation)
        counts[group] += shard.count
        sizes[group] += shard.bytes
        shards[group] += 1
        fresh[group] += shard.name in written
    return [
        {
            "split": split,
            "degradation": degradation,
            "samples": counts[split, degradation],
            "bytes": human_bytes(sizes[split, degradation]),
            "shards": shards[split, degradation],
            "rebuilt": fresh[split, degradation],
        }
        for split, degradation in counts
    ]
