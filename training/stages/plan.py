"""Plans: folders of stages, read, checked and put in order."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from patina.pipeline.text import nearest, one_line
from patina.training.errors import StageError
from patina.training.stages.rules import check
from patina.training.stages.stage import (
    STEERED_BY,
    STORED_NAMES,
    Data,
    Ema,
    Optimiser,
    Sde,
    Stage,
    Validation,
    from_stored,
)

PLANS = ("tiny", "wild", "paper", "nhr", "nhrbl", "irsde")
"""Of patina: two for a CPU, the second on random chains of degradations; of the papers on ten degradations; VLU-Net on
its three tasks and on its five, noise at three levels; IR-SDE's and Refusion's own on one task."""

TABLES: Mapping[str, Any] = {"data": Data, "optimiser": Optimiser, "ema": Ema, "sde": Sde, "validation": Validation}
"""The tables of a stage file."""

MOST_SHOWN = 80
"""Characters of a wrong value that a message shows."""


def load_plan(where: str | Path) -> dict[str, Stage]:
    """The stages of `tiny`, `paper`, a folder of TOML files or one file, each after the one that it starts from.

    Raises StageError with the file, the field, what was found and what was expected.
    """
    path = Path(where)
    if str(where) in PLANS:
        files = sorted((f for f in _shipped(str(where)).iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
        texts = {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in files}
    elif path.is_dir():
        texts = {f.stem: _text(f) for f in sorted(path.glob("*.toml"))}
    elif path.is_file():
        texts = {path.stem: _text(path)}
    else:
        raise StageError(
            f"no plan {str(where)!r}; expected one of {', '.join(PLANS)}, a folder of TOML files, or one file"
        )
    if not texts:
        raise StageError(f"{where}: a folder without a TOML file; copy the files of a plan with `patina stages tiny`")
    folder = path if path.is_dir() else path.parent
    return ordered(_beside(parse_stage(text, name), folder) for name, text in texts.items())


def _beside(stage: Stage, folder: Path) -> Stage:
    """The stage with the files of weights that it names as they are found from its own folder."""
    start = str((folder / stage.start).absolute()) if stage.start else ""
    after = str((folder / stage.after).absolute()) if stage.is_steered_by_file else stage.after
    return dataclasses.replace(stage, start=start, after=after)


def plan_texts(plan: str) -> dict[str, str]:
    """The files of a plan that comes with patina, as they are written."""
    return {f.name: f.read_text("utf-8") for f in sorted(_shipped(plan).iterdir(), key=lambda f: f.name)}


def parse_stage(text: str, name: str) -> Stage:
    """A stage from the text of a stage file. Raises StageError."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise StageError(f"stage {name}: no TOML: {one_line(str(error))}") from None
    if "name" in table:
        raise StageError(f"stage {name}: the name is the file's; remove `name`")
    return parse_file_table(table, name)


def parse_file_table(table: Mapping[str, Any], name: str) -> Stage:
    """A stage from the table of a stage file, `name` in it or not. Raises StageError; for keys of the first version it
    names those that took their place."""
    renamed = [
        f"{f'[{part}] has' if part else 'there is'} no key {old!r}; it is called {new} now"
        for part, names in STORED_NAMES.items()
        for new, old in names.items()
        if old in _part(table, part)
    ]
    if renamed:
        raise StageError(f"stage {name}: {'; '.join(renamed)}")
    return _parsed(table, name)


def parse_table(table: Mapping[str, Any], name: str) -> Stage:
    """A stage from its stored table (`Stage.table`), `name` in it or not. Raises StageError."""
    table = {**table}
    for part, names in STORED_NAMES.items():
        for new in names:
            if new in _part(table, part):
                place = f"{part}.{new}" if part else new
                raise StageError(f"stage {name}: unknown setting {place!r}")
    return _parsed(from_stored(table), name)


def _part(table: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """The table of this name in a stage's, empty if there is none; without a name the stage's own."""
    held = table.get(part) if part else table
    return held if isinstance(held, Mapping) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise StageError(f"{path}: no TOML: it is no UTF-8 text") from None
    except OSError as error:
        raise StageError(f"{path}: cannot be read: {error.strerror}") from None


def _parsed(table: Mapping[str, Any], name: str) -> Stage:
    """A stage of these settings, each of its own kind: a number is no text, and a text no number."""
    try:  # by JSON, whose lists are tuples where a setting is one
        stage = TypeAdapter(Stage).validate_json(json.dumps({**table, "name": name}, default=str), strict=True)
    except ValidationError as error:
        raise StageError(f"stage {name}: " + one_line("; ".join(_told(e) for e in error.errors()))) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise StageError(f"stage {name}: {error}") from None
    check(stage)
    return stage


def ordered(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Stages by name, each after the one that it starts from. Raises StageError for unknown ones and for circles."""
    waiting, done = {stage.name: stage for stage in stages}, dict[str, Stage]()
    for stage in waiting.values():
        if not stage.after or stage.is_steered_by_file:
            continue
        if stage.after not in waiting:
            raise StageError(
                f"stage {stage.name}: after = {stage.after!r}, but the plan has only {', '.join(sorted(waiting))}"
            )
        wanted, found = STEERED_BY.get(stage.objective), waiting[stage.after].objective
        if found != wanted:
            raise StageError(
                f"stage {stage.name}: `{stage.objective}` starts from a stage of `{wanted}`; {stage.after} is `{found}`"
            )
    while waiting:
        ready = [s for s in waiting.values() if not s.after or s.is_steered_by_file or s.after in done]
        if not ready:
            raise StageError(f"stages {', '.join(waiting)} wait for one another; mend `after`")
        for stage in ready:
            done[stage.name] = waiting.pop(stage.name)
    return done


def chosen(plan: Mapping[str, Stage], names: Sequence[str]) -> dict[str, Stage]:
    """The stages of these names and all that they start from; without names the whole plan. Raises StageError."""
    if not names:
        return dict(plan)
    wanted: set[str] = set()
    for name in names:
        if name not in plan:
            raise StageError(f"no stage {name!r} in the plan; it has {', '.join(plan)}")
        step = name
        while step:
            wanted.add(step)
            step = "" if plan[step].is_steered_by_file else plan[step].after
    return {name: stage for name, stage in plan.items() if name in wanted}


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *parts, key = map(str, error["loc"])
        return f"unknown setting {place!r}; {nearest(key, _keys(parts))}"
    if error["type"] in ("missing", "missing_argument"):
        return f"{place} is missing"
    found = repr(error["input"])
    found = found if len(found) <= MOST_SHOWN else found[:MOST_SHOWN] + "…"
    return f"{place} = {found}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _keys(parts: Sequence[str]) -> list[str]:
    """The keys of the table in a stage file to which these names lead; without names the stage's own."""
    kind = TABLES[parts[0]] if parts else Stage
    return [f.name for f in dataclasses.fields(kind) if f.name != "name" or parts]


def _shipped(plan: str) -> Any:
    return resources.files("patina.training") / "stages" / plan
