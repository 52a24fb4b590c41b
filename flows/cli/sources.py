"""Commands of what goes in: sources, recipes, degradations, depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patina.flows.cli.output import console, escape, print_lines, print_passed_over, print_table, progress
from patina.output import outlive_readers


def depth(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of clean photographs.")],
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="A depth model of transformers: its name on the hub, or a local folder."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The folder for the maps, which `depth = …` of hazy, rainy and snowy then names.",
        ),
    ],
    *,
    revision: Annotated[str, typer.Option(metavar="REVISION", help="The model's revision on the hub.")] = "main",
    near: Annotated[
        float,
        typer.Option(min=0.1, metavar="METRES", help="The distance of the nearest point, if the model gives no unit."),
    ] = 1.0,
    far: Annotated[
        float,
        typer.Option(min=0.2, metavar="METRES", help="The distance of the farthest point, if the model gives no unit."),
    ] = 60.0,
) -> None:
    """Write a depth map for each photograph, by a transformers model.

    Photographs that have a map already are left as they are.
    """
    from patina.pipeline.progress import Meter
    from patina.training.restore.depth import write_depths

    outlive_readers()
    print_passed_over(photos)
    with progress() as events, Meter(events, "estimating depth", "photographs") as meter:
        refusals = write_depths(photos, model, out, revision=revision, near=near, far=far, progress=meter)
    print_lines([f"set aside {r.name}: {r.reason}" for r in refusals], 20, "yellow")
    console.print(f"depth    {escape(str(out))}")


def sources(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A public set. Without it, all that are known are listed.")
    ] = "",
    at: Annotated[
        str,
        typer.Option(metavar="FOLDER", help="A folder or an address. The command then says what it holds of that set."),
    ] = "",
) -> None:
    """List the public sets that recipes know by name.

    With NAME, it prints all about that set; with --at, it also says what a folder has of it.
    """
    from patina.flows.terminal import fitted
    from patina.pipeline.errors import SourceError
    from patina.pipeline.sources.preset import unrecognised
    from patina.pipeline.sources.presets import PRESETS
    from patina.pipeline.sources.presets.describe import inventory, rows, story, table
    from patina.pipeline.sources.reader import image_files
    from patina.pipeline.text import nearest

    if not name:
        if at:
            raise typer.BadParameter("say which set it should hold: patina sources NAME --at FOLDER", param_hint="--at")
        print_table(rows(PRESETS), below=("what", "images", "licence"))
        console.print("unknown: neither page nor copies state it; ask the authors. All about one: patina sources NAME")
        return
    if name not in PRESETS:
        raise SourceError(f"no set is called {name!r}; {nearest(name, PRESETS)}")
    preset = PRESETS[name]
    if not at:
        console.print(escape("\n".join([*fitted(console, story(preset)), "", *table(preset, f"data/{name}")])))
        return
    files, _ = image_files(at, "--at")
    names, place = [file for file, _ in files], at if "://" in at else str(Path(at).absolute())
    lines, found = inventory(preset, names, place)
    if not found:
        raise SourceError(unrecognised(preset, names, at, preset.parts, preset.variant("")))
    console.print(escape("\n".join([*fitted(console, lines), "", *table(preset, at)])))


def recipes(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe to print. Without it, all are listed.")] = "",
) -> None:
    """List the recipes that come with patina, or print one.

    `patina recipes NAME > my.toml` makes a copy to change.
    """
    from patina.pipeline.errors import RecipeError
    from patina.pipeline.recipe.shipped import about, shipped
    from patina.pipeline.text import nearest

    own = shipped()
    if name and name not in own:
        raise RecipeError(f"no recipe that comes with patina is called {name!r}; {nearest(name, own)}")
    if name:
        console.print(escape(own[name]), end="")
        return
    print_table(
        [{"recipe": word, "what it builds": about(text)} for word, text in own.items()], below=("what it builds",)
    )
    console.print("patina recipes NAME > my.toml makes a copy to change; its paths start at the copy's folder")


def degradations(
    word: Annotated[
        str, typer.Argument(metavar="WORD", help="The degradation to describe. Without it, all are listed.")
    ] = "",
    *,
    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder", help="Print a table over the whole range of its knob: values, words and measured severity."
        ),
    ] = False,
) -> None:
    """List the degradations, or print the settings of one.

    The settings come with defaults, units and ranges, as a recipe writes them; `patina.degrade` takes the same names.
    The knob is the setting by which a degradation is graded.

    With --ladder, the command prints what the sentence of a sample says at thirteen values of the knob, and the
    severity that is measured on one fixed picture; without WORD, it does so for every degradation.
    """
    from patina.flows.terminal import fitted
    from patina.pipeline.text import nearest
    from patina.synth.compose import JOINT
    from patina.synth.degradation import SettingError
    from patina.synth.degradations import CATALOGUE, MISSING
    from patina.synth.describe import describe, story

    every = describe()
    if not word and not ladder:
        rows = [{"degradation": one.name, "what it does": one.description} for one in every]
        print_table(rows, below=("what it does",))
        console.print("all about one: patina degradations WORD")
        return
    if JOINT in word and all(part in CATALOGUE for part in word.split(JOINT)):
        each = ", ".join(f"patina degradations {part}" for part in word.split(JOINT))
        raise SettingError(f"{word} is a composite, whose parts have settings of their own: see {each}")
    if word in MISSING:
        raise SettingError(f"{word} takes a library that is not installed; {MISSING[word]}")
    if word and word not in CATALOGUE:
        raise SettingError(f"no degradation is called {word!r}; {nearest(word, CATALOGUE)}")
    if ladder:
        for name in [word] if word else CATALOGUE:
            _print_ladders(name)
        return
    chosen = next(one for one in every if one.name == word)
    console.print(escape("\n".join(fitted(console, story(chosen)))))


def _print_ladders(name: str) -> None:
    """A degradation's knobs over their whole ranges."""
    from patina.synth.ladder import ladders

    for ladder in ladders(name):
        settings = "".join(f", {key} = {value}" for key, value in ladder.settings.items())
        console.print(escape(f"{name}, {ladder.setting}{settings}"), style="bold")
        rows = [
            {ladder.setting: f"{rung.value:.5g}", "severity": f"{rung.score:.1f}", "words": rung.words}
            for rung in ladder.rungs
        ]
        print_table(rows, below=("words",))
        console.print()
