"""The command `patina`: parses, then calls a flow or a function. Heavy libraries are imported where they are used.

What a command imports is most of what a short one takes. So nothing is imported here before it is known to be needed,
and nothing that a plan does without.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING

from patina.later import put_off, without_collection

if TYPE_CHECKING:
    import typer

    from patina.flows.cli.signals import Signals


def main() -> None:
    """The console command. Errors that a user can mend are printed in words and exit with 1; others raise. A signal to
    end is told in one line, and its exit code is 128 and its number."""
    if sys.argv[1:] == ["--version"]:
        from patina.flows.cli.version import LINE

        print(LINE)
        return
    put_off("cv2", "PIL.Image", "PIL.ImageOps", "pyarrow")
    atexit.register(gc.freeze)  # Python ends: it would look for garbage three times in all that is there, and drop it
    with without_collection():  # until the command is found and begins
        from patina.flows.cli.signals import Signals

        _heeded(Signals())


def _heeded(signals: Signals) -> None:
    with signals.heeded():
        try:
            _run()
        except BaseException as error:  # typer's SystemExit too, and whatever comes of an interruption in the middle
            if not signals.received or (isinstance(error, SystemExit) and not error.code):
                raise
            signals.leave()


def _run() -> None:
    try:
        asked_for(sys.argv[1:])()
    except Exception as error:
        from patina.flows.cli.output import errors, escape
        from patina.flows.cli.user_errors import is_for_the_user
        from patina.flows.errors import ServerAwayError

        if not is_for_the_user(error):
            raise
        errors.print(f"[red]error[/]  {escape(str(error))}")
        if isinstance(error, ServerAwayError):  # at exit, Prefect would try for seven seconds to send each event left
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        sys.exit(1)


def asked_for(words: list[str]) -> typer.Typer:
    """The application with the one command that these words begin with, or with all where they begin with none."""
    from patina.flows.cli.commands import COMMANDS, app_of

    if words and words[0] in COMMANDS:
        return app_of(words[:1])
    from patina.flows.cli.app import app

    return app
