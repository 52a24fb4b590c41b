"""Commands that hand a dataset on: export, push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.inputs import find_dataset
from patina.flows.cli.options import FolderArgument
from patina.flows.cli.output import console, escape, print_lines, print_notes, progress
from patina.output import outlive_readers


def export(
    folder: FolderArgument,
    to: Annotated[
        str,
        typer.Option(
            metavar="LAYOUT",
            help="The layout: daclip, vlunet, folders, parquet, mds, litdata, energon or webshart.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write. An earlier export in it is replaced."),
    ],
    *,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT",
            help="A split to hand on: train, val or test. The option can be repeated. Without it, all are.",
        ),
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="An entry of the recipe, or a label, to hand on. The option can be repeated. Without it, all are.",
        ),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What stands before every path in the tables of daclip. Without it, paths are relative to --out.",
        ),
    ] = "",
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Write absolute paths into the tables of daclip.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many threads write files. 0 stands for one for each core.")
    ] = 0,
) -> None:
    """Write a dataset in the layout of another tool.

    daclip and vlunet are the layouts of these trainers, parquet is for `datasets`, mds for MosaicML's streaming,
    litdata, energon and webshart for the libraries of these names, and folders for people. energon and webshart link
    the shards and copy none. Images keep their bytes. docs/readers.md says how each is read.
    """
    from patina.pipeline.export.run import choose
    from patina.pipeline.export.run import export as run
    from patina.pipeline.machine import usable_cores
    from patina.pipeline.progress import Meter
    from patina.pipeline.text import counted

    outlive_readers()
    if absolute and prefix:
        raise typer.BadParameter("give one of --prefix and --absolute", param_hint="--absolute")
    kind = choose(to, prefix=str(out.absolute()) if absolute else prefix)
    with progress() as events, Meter(events, f"exporting for {to}", "samples") as meter:
        done = run(
            find_dataset(folder),
            out,
            kind,
            splits=split or (),
            degradations=degradation or (),
            workers=workers or usable_cores(),
            progress=meter,
        )
    what = f"{counted(done.samples, 'sample')} in {counted(done.files, 'file')}"
    console.print(f"export   {escape(str(out))}   ({what}{'' if done.fresh else '; nothing to do, it is as before'})")


def push(
    folder: FolderArgument,
    repo_id: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The dataset's repository on the Hugging Face hub.")
    ],
    *,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, if it is new.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="A branch other than main. It is created if it is not there.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be uploaded and what would stop it, and change nothing."),
    ] = False,
    may_redistribute: Annotated[
        bool,
        typer.Option(
            "--i-may-redistribute",
            help="Upload photographs whose licence does not say that they may be redistributed: you answer for them.",
        ),
    ] = False,
) -> None:
    """Upload a dataset to the Hugging Face hub.

    Only what differs from what is there is uploaded, and the manifest comes last.
    """
    from patina.pipeline.export.push import PushError, plan_push, read_contents
    from patina.pipeline.export.push import push as run
    from patina.pipeline.progress import Meter

    outlive_readers()
    path = find_dataset(folder)
    if dry_run:
        print_lines(read_contents(path).lines(), 100)  # before the hub is asked, which may be away
        plan = plan_push(path, repo_id, revision=revision, may_redistribute=may_redistribute)
        print_lines(plan.lines(), 100)
    else:
        with progress() as events, Meter(events, "uploading", "shards") as meter:
            pushed = run(
                path,
                repo_id,
                private=private,
                revision=revision,
                may_redistribute=may_redistribute,
                progress=meter,
            )
        plan = pushed.plan
        console.print(f"dataset  {escape(pushed.url)}")
    print_notes(plan.notes)
    console.print(f"[bold]{escape(plan.summary())}[/]")
    if plan.blocked:
        raise PushError(f"a push would stop: {plan.blocked}")
