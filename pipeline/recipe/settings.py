"""Tables of a TOML file become dataclasses; unknown keys and wrong kinds are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from patina.pipeline.errors import RecipeError
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.text import nearest, shown

T = TypeVar("T")


def take_table(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Take the table `name`, such as captions.filter, out of its parent's settings."""
    return expect_type(name, settings.pop(name.rpartition(".")[2], {}), dict, f"a table [{name}]")


def construct(
    what: str, kind: type[T], settings: Mapping[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[T, dict[str, Any]]:
    """A dataclass from a recipe's table, and the table with its defaults filled in.

    Unknown keys are refused with the nearest known one (`also` names further keys that the caller has taken out).
    Fields marked `folder` in their metadata hold paths: relative ones start at `folder`. Raises RecipeError.
    """
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    refuse_unknown(what, settings, [*fields, *also])
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if fields[key].metadata.get("folder"):
            values[key] = _resolved(f"{what} {key}", expect_type(f"{what} {key}", value, str, "a path"), folder)
        elif fields[key].metadata.get("folder_or_name") and isinstance(value, str):
            is_path = value.startswith((".", "/", "~"))
            if not is_path and (folder / value).is_dir():
                raise RecipeError(
                    f"{what} {key}: {value!r} is a name on the hub, and a folder of that name is here; write "
                    f"{'./' + value!r} for the folder, or rename it"
                )
            values[key] = _resolved(f"{what} {key}", value, folder) if is_path else value
        elif fields[key].type == "str":  # annotations are kept as text
            values[key] = expect_type(f"{what} {key}", value, str, "a text")
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    missing = [n for n, f in fields.items() if _required(f) and n not in values]
    if missing:
        raise RecipeError(f"{what}: {missing[0]} is missing")
    try:
        made = kind(**values)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{what}: {error}") from None
    resolved = {n: settings.get(n, _plain(getattr(made, n))) for n in fields}
    return made, resolved


def _resolved(what: str, written: str, folder: Path) -> str:
    """An absolute path; addresses such as s3://bucket/photos and the empty text stay as they are. Raises RecipeError
    for what no path can be."""
    if not written or is_remote(written):
        return written
    try:
        return str((folder / Path(written).expanduser()).resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, nobody's home, links in a circle
        why = getattr(error, "strerror", None) or error
        raise RecipeError(f"{what}: expected a path, found {shown(written)}: {why}") from None


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def kind_of(
    what: str, table: Any, kinds: Mapping[str, type[T]], folder: Path, default: str
) -> tuple[T, dict[str, Any]]:
    """A member of a family by its `kind`, and its table with the defaults filled in. Raises RecipeError."""
    settings = dict(expect_type(what, table, dict, "a table"))
    kind = expect_type(f"{what} kind", settings.pop("kind", default), str, "a word")
    if kind not in kinds:
        raise RecipeError(f"{what}: there is no kind {kind!r}; {nearest(kind, kinds)}")
    made, resolved = construct(f"{what} of kind {kind}", kinds[kind], settings, folder, ("kind",))
    return made, {"kind": kind, **resolved}


def refuse_unknown(what: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise RecipeError for an unknown key, and name the nearest known one."""
    for key in table:
        if key not in known:
            raise RecipeError(f"{what} has no key {key!r}; {nearest(key, known)}")


def expect_type(what: str, value: Any, kind: type[T], expected: str) -> T:
    """The value, if it is of that type. Raises RecipeError."""
    if not isinstance(value, kind):
        raise RecipeError(f"{what}: expected {expected}, found {shown(value)}")
    return value


def expect_int(what: str, value: Any, low: int, high: int) -> int:
    """The value, if it is a whole number within the bounds. Raises RecipeError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecipeError(f"{what}: expected a whole number from {low} to {high}, found {shown(value)}")
    return value
