"""The command `patina` with all of its commands."""

from patina.flows.cli.commands import COMMANDS, WATCH, app_of

app = app_of([*COMMANDS, WATCH])
