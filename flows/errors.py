"""Errors of flows that a user can mend: one base, FlowError, and its kinds. Knows no Prefect, so that the command can
name them without it. Each is also of the built-in kind that it was before there was a base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patina.pipeline.redaction import without_secrets

if TYPE_CHECKING:
    from patina.pipeline.report.check import Checked

MAX_FINDINGS_NAMED = 5


class FlowError(Exception):
    """Something that a flow cannot go on with. Says what was found and what to do, and no secret of an address."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class FindingsError(FlowError, RuntimeError):
    """A dataset that is not as it should be. Says what was found, the first few in words."""


class RunError(FlowError, ValueError):
    """A run that cannot be started. Says what was found, what was expected and what to do."""


class ServerAwayError(FlowError, OSError):
    """The Prefect server of a run does not answer. Says which, and what to do."""


def expect_ok(checked: Checked, place: str) -> None:
    """Raise FindingsError if anything was found in the dataset at `place`."""
    count = len(checked.findings)
    if not count:
        return
    more = f"; … and {count - MAX_FINDINGS_NAMED} more" if count > MAX_FINDINGS_NAMED else ""
    named = "; ".join(map(str, checked.findings[:MAX_FINDINGS_NAMED]))
    found = f"{count} finding{'s' * (count != 1)}"
    raise FindingsError(f"{place}: {found}: {named}{more}; `patina build` mends the dataset")
