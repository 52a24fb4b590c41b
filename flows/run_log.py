"""The story of a flow run in its log: the plan's lines, what was set aside, each shard, the check, the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from prefect.logging import get_run_logger

from patina.pipeline.builder.batches import StoredBatch
from patina.pipeline.builder.job import ShardJob
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Runner
from patina.pipeline.plan.planning import PlannedBuild
from patina.pipeline.redaction import without_secrets
from patina.pipeline.report.check import Checked
from patina.pipeline.report.summary import caption_line, made_line, plan_lines, summary_rows

A = TypeVar("A")
R = TypeVar("R")

MAX_LINES = 500
"""Lines of one kind at the most, such as shards of a plan: the server keeps every line in its database."""


class WithRunLog:
    """A runner like `inner`, that tells in the flow run's log what its steps came to: plan, shards, check."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self._built = 0
        self.shares_memory, self.workers = inner.shares_memory, inner.workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step."""
        result = self._inner.call(step, function)
        if isinstance(result, PlannedBuild):
            log_plan(result)
        elif isinstance(result, Checked):
            log_check(result)
        return result

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items."""

        def told(item: A) -> None:
            if finished:
                finished(item)
            names = list(_shards(item))
            self._built += len(names)
            log_lines([f"built {name}" for name in names[: max(0, MAX_LINES - self._built + len(names))]])

        return self._inner.map(step, function, items, told)


def _shards(batch: object) -> Iterator[str]:
    """Names of the shards of a batch, of either kind."""
    if isinstance(batch, StoredBatch):
        yield from batch.shards
    elif isinstance(batch, Sequence):
        yield from (job.name for job in batch if isinstance(job, ShardJob))


def log_plan(planned: PlannedBuild) -> None:
    """What a build is going to make and drop, and why; what was set aside; notes."""
    log_lines([planned.plan.summary(), *plan_lines(planned)])
    log_lines([f"set aside {refusal.name}: {refusal.reason}" for refusal in planned.refusals], warning=True)
    log_lines([f"note {note}" for note in (*planned.notes, *planned.plan.warnings)], warning=True)


def log_check(checked: Checked) -> None:
    """What a check found, and how much was checked."""
    log_lines([f"finding {finding}" for finding in checked.findings], warning=True)
    log_lines([f"not checked: {reason}" for reason in checked.skipped])
    log_lines([f"checked {checked.summary}: {'ok' if checked.ok else f'{len(checked.findings)} findings'}"])


def log_result(report: BuildResult) -> None:
    """What a build gave."""
    log_lines([", ".join(f"{name} {value}" for name, value in row.items()) for row in summary_rows(report)])
    log_lines([caption_line(report.planned), made_line(report)])


def log_lines(lines: Sequence[str], *, warning: bool = False) -> None:
    """Lines of one kind, up to `MAX_LINES` of them, and how many more there are."""
    log = get_run_logger()
    say = log.warning if warning else log.info
    for line in lines[:MAX_LINES]:
        say("%s", without_secrets(line))
    if len(lines) > MAX_LINES:
        say("… and %d more", len(lines) - MAX_LINES)
