"""Commands of a dataset's versions: versions, rollback, gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.output import console, escape, print_table

KeptFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The dataset's folder.")]


def _home(folder: Path) -> Path:
    """The dataset's folder, where FOLDER or FOLDER@VERSION was typed."""
    from patina.pipeline.versions.version import split_name

    return split_name(folder.absolute())[0]


def versions(folder: KeptFolder) -> None:
    """List a dataset's versions.

    It prints when each was published, what changed, and what space it alone takes on the disk. Wherever a dataset is
    read, FOLDER@NUMBER, FOLDER@previous and FOLDER@DIGEST name a version of it.
    """
    from patina.pipeline.report.versions import list_versions
    from patina.pipeline.text import human_bytes

    print_table(
        [
            {
                "version": str(told.version.number),
                "digest": told.version.digest,
                "published": told.when,
                "samples": f"{told.samples:,}" if told.samples >= 0 else "unknown",
                "alone": human_bytes(told.own),
                "state": told.state,
                "change": told.record.change or "unknown",
            }
            for told in list_versions(_home(folder))
        ],
        below=("change",),
    )


def rollback(
    folder: KeptFolder,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="The number of the version, `previous`, or the beginning of its digest."
        ),
    ],
) -> None:
    """Publish an earlier version again, as the newest one.

    Nothing is removed and nothing is copied.
    """
    from patina.pipeline.builder.history import rollback as run

    new = run(_home(folder), version)
    console.print(escape(f"version  {new.number} is current: {new.digest}"))
    console.print("         a build makes what the recipe says now; until then readers find this version")


def gc(
    folder: KeptFolder,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many versions stay, the current one among them.")
    ] = 1,
) -> None:
    """Free the space of earlier versions.

    A version that is being read stays.
    """
    from patina.pipeline.builder.history import free
    from patina.pipeline.text import counted, human_bytes

    freed = free(_home(folder), keep)
    console.print(f"freed    {human_bytes(freed.bytes)} of {counted(len(freed.versions), 'version')}")
    for version in freed.used:
        console.print(escape(f"in use   version {version.number} stays, as somebody reads it"))
