"""Writes docs/reference/: pages that follow from the code, so that they cannot fall behind it.

python docs/make_reference.py            # writes the pages
python docs/make_reference.py --check    # exit code 1, and their names, if some are not as the code says
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import patina
from patina.captioning import CAPTIONERS
from patina.captioning.clip_score import ClipScore
from patina.captioning.filters import Filters
from patina.flows.cli.app import app
from patina.flows.cli.commands import COMMANDS, WATCH
from patina.pipeline.recipe.recipe import Split, Storage, Tiles
from patina.pipeline.sources import READERS
from patina.synth.describe import describe
from patina.training.stages.stage import Stage

FOLDER = Path(__file__).parent / "reference"
SHARED = {
    "path": "the folder or file, relative to the recipe's folder; or an address.",
    "include": "patterns of relative names, such as `gt/*`; one of them must fit.",
    "split": "the side for all of them, `train`, `val` or `test`; empty: by `[split]`, or as the source tells.",
    "licence": "an SPDX identifier such as `CC0-1.0`; it goes into sources.parquet and the card.",
    "attribution": "whom to name; it goes into sources.parquet and the card.",
    "degradation": "the label of all pairs, such as `rainy` or `hazy+rainy`.",
    "degradations": "entries of the recipe that they undergo; empty: all of them.",
    "name": "the set's name, as `patina sources` lists it.",
    "lq": "where the degraded images are.",
    "gt": "where the clean images are.",
    "pattern": "a regular expression whose groups tell which names belong together.",
    "gt_pattern": "the same for the clean side, where it differs; empty: `pattern`.",
    "folder": "where relative paths of the list start; empty: the list's own folder.",
    "gt_column": "the column of clean images; empty: by its name.",
    "lq_column": "the column of degraded images; empty: by its name.",
    "caption_column": "the column of captions; empty: by its name.",
    "degradation_column": "the column of labels; empty: by its name.",
    "split_column": "the column of sides; empty: by its name.",
    "degradation_field": "the key of the member json that holds the label.",
    "val": "the share of the photographs for validation, 0 to 1.",
    "test": "the share of the photographs for the test, 0 to 1.",
    "leaks": "`mend` keeps every scene on one side; `report` only tells of scenes on two sides.",
    "size": "the side of a tile, px.",
    "stride": "px from one tile to the next; 0: the size, so that tiles do not overlap.",
    "max_overlap": "the largest share, 0 to 1, by which the last tile, flush with the edge, may overlap another.",
    "temperature": "how evenly tokens are drawn where `top_p` is above 0.",
    "seed": "a whole number from which every draw follows.",
    "text": "the sentence, with fields in braces: `{orientation}`, `{tone}`, `{colour}`, `{name}`, `{folder}`.",
    "betas": "Adam's decay rates of its two averages.",
    "eps": "the small number that Adam adds to the root of its second average.",
    "weight_decay": "AdamW's weight decay.",
}
"""Meanings of keys that several kinds of sources share, for those that say nothing else."""

MADE = "<!-- Made by docs/make_reference.py; edit the code that it reads. -->\n\n"

READS_AND_WRITES = {
    "init": ("a folder of photographs", "`recipe.toml`"),
    "demo": ("photographs of scikit-image and scikit-learn", "`patina-demo/`: recipes, datasets, a run, a page"),
    "plan": ("recipe, sources, OUT", "nothing but caches in `OUT/.patina`, if OUT is there"),
    "build": ("recipe, sources, OUT", "a new version of OUT"),
    "check": ("a dataset", "nothing"),
    "gallery": ("a dataset", "one HTML page, or one JPEG"),
    "show": ("a dataset", "nothing; with `--extract` the files of samples"),
    "diff": ("two datasets, or two versions of one", "nothing; with `--html` one page"),
    "versions": ("a dataset's folder", "nothing"),
    "rollback": ("a dataset's folder", "a new version of it"),
    "gc": ("a dataset's folder", "nothing; it removes versions"),
    "export": ("a dataset", "a folder in another layout"),
    "push": ("a dataset", "a repository on the Hugging Face hub"),
    "recipes": ("nothing", "nothing; a recipe on the standard output"),
    "degradations": ("nothing", "nothing"),
    "calibrate": ("a folder of photographs", "nothing"),
    "sources": ("nothing; with `--at` a folder", "nothing"),
    "depth": ("a folder of photographs, a depth model", "a folder of depth maps"),
    "stages": ("a plan", "nothing; with `--out` a copy of the plan"),
    "train": ("a dataset, a plan", "a run: a folder for each stage"),
    "evaluate": ("a run or a model, a dataset", "results in the run, or in `MODEL-evaluation`"),
    "report": ("a run", "one HTML page"),
    "lineage": ("a model", "nothing"),
    "models": ("nothing; with `--file` a file of weights", "nothing"),
    "restore": ("photographs, a model", "restored photographs"),
    "app": ("a model", "nothing; it serves a page until Ctrl-C"),
    "deploy": ("a Prefect server", "deployments and automations on it"),
    "serve": ("a Prefect server", "deployments on it, and what their runs write"),
    "run": ("a Prefect server", "a flow run on it"),
    "watch add": ("a Prefect server, a recipe", "a schedule on the server"),
    "watch ls": ("a Prefect server", "nothing"),
    "watch on": ("a Prefect server", "the schedule"),
    "watch off": ("a Prefect server", "the schedule"),
    "watch rm": ("a Prefect server", "nothing; it removes the schedule"),
    "watch run": ("recipe, sources, OUT", "a new version of OUT after each change"),
}
"""What each command reads and what it writes."""

EXIT_CODES = """## Exit codes

| code | meaning |
| --- | --- |
| 0 | the command did what it was asked to do |
| 1 | an error, in one line on the standard error; `plan`: a build would refuse; `check`: something was found; \
`restore`: a photograph could not be restored; `diff`: something changed; `watch ls`: a watch is broken; \
`run --watch`: the run did not complete |
| 2 | the command line is wrong; `diff`: an error |
| 129, 130, 143 | the terminal was closed, Ctrl-C, SIGTERM. Run a build or a training again to continue |

## Environment variables

| variable | effect |
| --- | --- |
| `PATINA_CACHE` | the folder for what is fetched from addresses and for datasets that are built for an address; by \
default `~/.cache/patina`. It may be deleted at any time |
| `PATINA_COMPILED=0` | NumPy computes what compiled loops would: the same bytes, more slowly. While patina is \
installed, nothing is compiled |
| `PREFECT_API_URL` | the Prefect server; if it is set, builds and trainings are flow runs |
| `HF_TOKEN` | a token of the Hugging Face hub, for `push` and for private datasets as sources |
| `NO_COLOR` | prints no colours |
"""
"""What the command gives to a shell, and what it takes from there."""


def command_page() -> str:
    """Every command with its arguments and options, from the functions that `patina --help` reads."""
    group: Any = typer.main.get_command(app)
    commands = {name: group.commands[name] for name in COMMANDS}
    commands |= {f"{WATCH} {name}": command for name, command in group.commands[WATCH].commands.items()}
    lines = ["# The command `patina`", "", "`patina COMMAND --help` prints the same as the tables of the commands.", ""]
    lines += ["| command | what it does | it reads | it writes |", "| --- | --- | --- | --- |"]
    for name, command in commands.items():
        reads, writes = READS_AND_WRITES[name]
        purpose = (command.help or "").partition("\n\n")[0].rstrip(".")
        link = f"[`{name}`](#patina-{name.replace(' ', '-')})"
        lines.append(f"| {link} | {_cell(purpose)} | {reads} | {writes} |")
    lines += ["", *EXIT_CODES.replace("\\\n", "").splitlines(), ""]
    for name, command in commands.items():
        lines += [f"## patina {name}", "", *_text(command.help or ""), ""]
        shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
        if shown:
            lines += ["| argument or option | default | meaning |", "| --- | --- | --- |"]
            lines += [f"| {_spelt(one)} | {_default(one)} | {_cell(one.help or '')} |" for one in shown]
            lines.append("")
    return "\n".join(lines)


def _spelt(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{spelling}`" for spelling in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == () or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def recipe_page() -> str:
    """Every key of a recipe, from the classes that read it."""
    lines = ["# Keys of a recipe", "", "[The recipe](../recipe.md) shows them at work. Every other key is refused.", ""]
    lines += ["| key | default | meaning |", "| --- | --- | --- |"]
    lines += ["| `name` | the file's name | what the dataset is called |"]
    lines += ["| `seed` | `0` | a whole number from which every draw follows |"]
    lines += ["| `buckets` | `1` | shards for each degradation: a number, or a table by split |"]
    lines += ['| `published` | `""` | the day of publication, such as `2026-11-29`; it goes into croissant.json |']
    tables = "`[[sources]]`, `[split]`, `[tiles]`, `[captions]`, `[storage]`, `[degradations.NAME]`"
    lines += [f"| {tables} | | the tables below |", ""]
    for kind, reader in READERS.items():
        lines += _table(f'[[sources]], kind = "{kind}"', reader)
    lines += [*_table("[split]", Split), *_table("[tiles]", Tiles)]
    lines += ["## [captions]", "", "| key | default | meaning |", "| --- | --- | --- |"]
    lines += ['| `kind` | `"template"` | one of the kinds below |']
    lines += ['| `fallback` | `""` | a kind, or a table of one, for photographs that have no caption |', ""]
    for kind, captioner in CAPTIONERS.items():
        lines += _table(f'[captions], kind = "{kind}"', captioner)
    lines += [*_table("[captions.filter]", Filters), *_table("[captions.similarity]", ClipScore)]
    lines += _table("[storage]", Storage)
    lines += [
        "## [degradations.NAME]",
        "",
        "NAME is one of the [degradations](degradations.md), several joined by `+`, or a name of your own.",
        "",
        "| key | default | meaning |",
        "| --- | --- | --- |",
        "| `use` | NAME | the degradation, where NAME is a name of your own |",
        "| `variants` | `1` | draws for each photograph or tile of the split `train` |",
        "| `held_out_variants` | `1` | the same for `val` and `test` |",
        "| `severity` | | a level or two, such as `mild..severe`: the knob is turned until the severity measures so |",
        "| `parts` | the words of NAME | the degradations of a composite; each has a table of its settings |",
        "| `steps` | `false` | of a composite: keep the image after each part |",
        "| `chain` | | a chain by name (`wild-ir`, `real-esrgan`, `bsrgan`), or rounds of steps: see \
[chains](../recipe.md#chains) |",
        "| `shuffle` | `false` | of a chain: whether the steps of a round come in any order; or a list, one for each \
round |",
        "| `words` | all words of the chain | of a chain: what each sample bears, exactly |",
        "| settings of the degradation | | see [degradations](degradations.md) |",
        "",
    ]
    return "\n".join(lines)


def _table(heading: str, kind: type) -> list[str]:
    fields = [field for field in dataclasses.fields(kind) if field.init]
    texts = _texts(kind)
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    lines = [f"## {heading}", "", " ".join(first.split()), "", "| key | default | meaning |", "| --- | --- | --- |"]
    for field in fields:
        meaning = texts.get(field.name) or SHARED.get(field.name, "")
        meaning = "a table, below." if not meaning and _is_table(kind, field.name) else meaning
        lines.append(f"| `{field.name}` | {_field_default(field)} | {_cell(meaning)} |")
    return [*lines, ""]


def _texts(kind: type) -> dict[str, str]:
    """What a class's docstring says of its fields; a line may begin with several names."""
    names, texts = {field.name for field in dataclasses.fields(kind)}, dict[str, str]()
    open_for: list[str] = []
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        match = re.fullmatch(r"(\w+(?:, \w+)*)  +(\S.*)", line)
        if match and names.issuperset(match[1].split(", ")):
            open_for = match[1].split(", ")
            texts |= dict.fromkeys(open_for, match[2])
        elif line.startswith(" "):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in open_for}
        else:
            open_for = []
    return texts


def _is_table(kind: type, name: str) -> bool:
    return dataclasses.is_dataclass(inspect.get_annotations(kind, eval_str=True)[name])


def _field_default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _value(field.default_factory())
    return "required"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "`{ " + ", ".join(f"{key} = {number}" for key, number in value.items()) + " }`" if value else ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`{list(value)}`"
    return "" if dataclasses.is_dataclass(value) else f"`{value!r}`".replace("'", '"')


def degradations_page() -> str:
    """Every degradation with its settings, as `patina degradations WORD` prints them."""
    lines = ["# Settings of the degradations", "", "A recipe sets them in `[degradations.NAME]`;"]
    lines += ["`patina.degrade` takes the same names. The knob is the setting that `severity` turns.", ""]
    for one in describe(every=True):
        lines += [f"## {one.name}", "", f"{one.description}.", ""]
        lines += [f"Version {one.version}. Truth maps: {', '.join(one.truth) or 'none'}.", ""]
        lines += ["| setting | default | meaning |", "| --- | --- | --- |"]
        for setting in one.settings:
            knob = " (the knob)" if setting.is_knob else ""
            lines.append(f"| `{setting.name}`{knob} | {_value(setting.default)} | {_cell(setting.text)} |")
        lines.append("")
    return "\n".join(lines)


def stages_page() -> str:
    """Every key of a stage of a training plan."""
    lines = ["# Keys of a stage", "", "A stage is one TOML file of a plan; `patina stages PLAN` prints them.", ""]
    lines += _fields(Stage, "the stage")
    return "\n".join(lines)


def _fields(kind: type, name: str) -> Iterator[str]:
    """Tables of a dataclass and of those within it."""
    hints = inspect.get_annotations(kind, eval_str=True)
    inner = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    yield from _table(f"[{name}]" if name != "the stage" else name, kind)
    for key, within in inner.items():
        if dataclasses.is_dataclass(within) and isinstance(within, type):
            yield from _fields(within, key)


def python_page() -> str:
    """The public names, whose docstrings mkdocstrings reads."""
    lines = ["# Python", "", "`import patina` loads no library; a name loads what it needs when it is first used.", ""]
    for name in patina.__all__:
        if not name.startswith("_"):
            home = inspect.getmodule(getattr(patina, name))
            assert home is not None
            lines += [f"## patina.{name}", "", f"::: {home.__name__}.{name}", ""]
    return "\n".join(lines)


def _text(text: str) -> Iterable[str]:
    return [" ".join(paragraph.split()) + "\n" for paragraph in re.split(r"\n\s*\n", text.replace("\b", ""))]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


PAGES = {
    "command.md": command_page,
    "recipe.md": recipe_page,
    "degradations.md": degradations_page,
    "stages.md": stages_page,
    "python.md": python_page,
}


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {name: MADE + re.sub(r"\n{3,}", "\n\n", make()).rstrip() + "\n" for name, make in PAGES.items()}


def stale() -> list[str]:
    """The names of pages that are not as the code says."""
    found = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")}
    made = pages()
    return sorted(name for name in {*found, *made} if found.get(name) != made.get(name))


def main() -> None:
    """Write the pages, or say which are not as the code says."""
    if "--check" in sys.argv[1:]:
        if names := stale():
            sys.exit(f"docs/reference is not as the code says ({', '.join(names)}): run python docs/make_reference.py")
        return
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
