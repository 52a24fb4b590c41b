"""The command init: a first recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.output import console, escape, print_notes


def init(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photographs, of pairs, or of a set.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The recipe to write. It must not be there yet.")
    ] = Path("recipe.toml"),
) -> None:
    """Write a first recipe for a folder, with comments.

    It looks at the folder first: how many images there are and how large, whether they are LQ/GT pairs or a public
    set that patina knows, and whether captions lie beside them.
    """
    from patina.pipeline.disk_errors import explain_disk_errors
    from patina.pipeline.errors import RecipeError
    from patina.pipeline.recipe.first import first_recipe, look
    from patina.pipeline.recipe.parse import load_recipe

    if out.exists():
        raise RecipeError(f"{out}: is there already, and was left as it is; name another file by --out")
    found = look(photos)
    with explain_disk_errors(out, building=False):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(first_recipe(photos, found, out), "utf-8")
    load_recipe(out)
    if found.note:
        print_notes([found.note])
    console.print(escape(f"recipe   {out}   (read it, and change what you like)"))
    console.print(escape(f"next     patina plan {out} --out dataset"))
