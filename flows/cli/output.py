"""What commands print: lines, tables, plans, reports."""

from __future__ import annotations

import itertools
import logging
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape as escape_markup

from patina.pipeline.redaction import without_secrets
from patina.pipeline.text import plain, printable

if TYPE_CHECKING:
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.builder.result import BuildResult
    from patina.pipeline.plan.planning import PlannedBuild
    from patina.pipeline.report.check import Checked
    from patina.training.restore.files import Restored

console = Console(highlight=False, emoji=False, soft_wrap=True)
"""For what a command was asked to print."""

status = Console(highlight=False, emoji=False, soft_wrap=True)
"""For what is told on the way and after: progress, notes, summaries. `--quiet` silences it."""

errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

told_in_full = False
"""Whether lists are printed whole and steps are told with their times, as `--verbose` asks."""


@contextmanager
def voice(*, hushed: bool, in_full: bool) -> Iterator[None]:
    """While it runs, `--quiet` and `--verbose` are as a command was asked, and with the latter stderr gets what
    libraries log. Whoever runs commands in one process, one after the other, gives each its own."""
    global told_in_full
    before = status.quiet, told_in_full
    status.quiet, told_in_full = hushed, in_full
    try:
        with _logged() if in_full else nullcontext():
            yield
    finally:
        status.quiet, told_in_full = before


@contextmanager
def _logged() -> Iterator[None]:
    """While it runs, stderr gets what libraries log from INFO on."""
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        if root.level == logging.INFO:  # otherwise a library has set its own meanwhile, as Prefect does
            root.setLevel(level)


def escape(text: str) -> str:
    """A text of any origin for the terminal: no markup, no control character but the line feed acts on it, and no
    address tells a secret."""
    return escape_markup(without_secrets(plain(text, keep="\n")))


def progress(shown_on: Console = status) -> TerminalEvents:
    """What shows the steps of a command's work."""
    from patina.flows.terminal import TerminalEvents

    return TerminalEvents(shown_on, in_full=told_in_full)


def print_plan(planned: PlannedBuild, cores: int) -> None:
    """The steps of a plan, what was set aside, and the cost."""
    from patina.pipeline.report.summary import SHOWN, plan_lines

    lines = plan_lines(planned)
    print_lines(lines, SHOWN)
    _print_aside(planned, console)
    if not planned.blocked:
        console.print(f"[bold]{escape(planned.plan.summary(cores))}[/]")


def _print_aside(planned: PlannedBuild, shown_on: Console) -> None:
    print_lines([f"set aside {r.name}: {r.reason}" for r in planned.refusals], 20, "yellow", shown_on)
    print_lines([f"note {note}" for note in (*planned.notes, *planned.plan.warnings)], 20, "yellow", shown_on)


def print_notes(notes: Sequence[str]) -> None:
    """Notes on what was done or is about to be done, which `--quiet` silences."""
    print_lines([f"note {note}" for note in notes], 20, "yellow", status)


def print_lines(lines: Sequence[str], limit: int, style: str = "", shown_on: Console = console) -> None:
    """Lines, up to `limit` of them unless all are asked for, and how many more there are."""
    kept = lines if told_in_full else lines[:limit]
    for line in kept:
        shown_on.print(escape(line), style=style or None)
    if len(lines) > len(kept):
        shown_on.print(f"… and {len(lines) - len(kept)} more: --verbose prints all", style=style or None)


def print_passed_over(folder: Path) -> None:
    """A note on the pictures of a folder of photographs that are of kinds that are not read, if there are any."""
    from patina.pipeline.sources.passed_over import passed_over
    from patina.pipeline.sources.reader import list_images

    if note := passed_over(printable(str(folder)), list_images(str(folder), "PHOTOS").unread):
        errors.print(f"note {escape(note)}", style="yellow")


def print_report(report: BuildResult) -> None:
    """What a build gave, by split and degradation, which `--quiet` silences."""
    from patina.pipeline.report.summary import caption_line, made_line, summary_rows

    print_table([{name: str(value) for name, value in row.items()} for row in summary_rows(report)], shown_on=status)
    for change in report.planned.plan.changes:
        status.print(escape(change))
    _print_aside(report.planned, status)
    made_now = f" ({report.captions_made} made now, the rest earlier)" if report.captions_made else ""
    status.print(escape(caption_line(report.planned) + made_now))
    status.print(escape(made_line(report)))


GAP = "  "
"""Between two columns of a table."""

NARROWEST = 12
"""Characters that a column has at least whose texts go on below."""


def print_table(rows: Sequence[Mapping[str, str]], *, below: Sequence[str] = (), shown_on: Console = console) -> None:
    """Rows with the same columns under bold heads, two spaces apart, figures to the right. This is how every command
    prints a table. A column of which no row has anything is left out, and no cell is ever cut.

    below  columns of texts, which go on below themselves where a terminal is narrower than the table; a pipe gets one
           line for each row.
    """
    if not rows:
        return
    kept = [name for name in rows[0] if any(row[name] not in ("", "–") for row in rows)]
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in kept}
    right = {name for name in kept if all(_is_figure(row[name]) for row in rows)}
    too_wide = sum(width.values()) + len(GAP) * (len(kept) - 1) - shown_on.width
    if shown_on.is_terminal and too_wide > 0:
        for name in sorted((name for name in below if name in kept), key=lambda name: -width[name]):
            longest = max(len(word) for row in rows for word in (name, *row[name].split()))
            narrow = max(width[name] - too_wide, min(width[name], max(NARROWEST, longest)))
            too_wide -= width[name] - narrow
            width[name] = narrow
    for i, row in enumerate(({name: name for name in kept}, *rows)):
        texts = [_wrapped(row[name], width[name]) for name in kept]
        for parts in itertools.zip_longest(*texts, fillvalue=""):
            aligned = zip(kept, parts, strict=True)
            cells = [part.rjust(width[name]) if name in right else part.ljust(width[name]) for name, part in aligned]
            shown_on.print(escape(GAP.join(cells).rstrip()), style=None if i else "bold")


def _wrapped(cell: str, width: int) -> list[str]:
    """A cell in lines of at most `width` characters."""
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False, expand_tabs=False)


def _is_figure(cell: str) -> bool:
    """Whether a cell is a number with its unit, or says that there is none."""
    return cell[:1] in "+-−–0123456789" and not re.search(r"[^\W\d_]{4}", cell)


def print_restored(result: Restored) -> None:
    """The line of one restored photograph; a failure goes to stderr."""
    (errors if result.error else console).print(escape(result.line), style="red" if result.error else None)


def print_checked(checked: Checked) -> None:
    """The findings of a check, notes, and the sum."""
    for finding in checked.findings:
        console.print(escape(f"finding  {finding}"), style="red")
    for reason in checked.skipped:
        console.print(escape(f"skipped  {reason}"), style="yellow")
    verdict = "[green]ok[/]" if checked.ok else f"[red]{len(checked.findings)} findings[/]"
    console.print(f"{verdict}: {checked.summary}")
