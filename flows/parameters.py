"""Parameters of a run as they are typed, read by the schema of the deployment that they are for.

    devices=cpu  out=123  strict=yes  ─ the schema says: texts, a text, yes or no ─► ["cpu"]  "123"  True

The server checks a request too, but it lets unknown names through, which the worker then refuses long after the command
has ended well.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from patina.flows.errors import RunError
from patina.pipeline.text import nearest, one_line, shown

Schema: TypeAlias = Mapping[str, Any]
"""Of one parameter, or of all: JSON Schema as pydantic writes it."""

_YES, _NO, _NOTHING = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("null", "none")


def split_words(words: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of `name=value` words. Raises RunError."""
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise RunError(f"--param: expected name=value, found {shown(word)}")
        pairs.append((name, value))
    return pairs


def read_parameters(
    deployment: str, pairs: Sequence[tuple[str, str]], schema: Schema, held: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of a run.

    pairs   names and values as they were typed; one whose value is a list may come several times.
    schema  of all parameters of the deployment; an empty one takes everything, as JSON or as text.
    held    what the deployment gives by itself.
    Raises RunError for names that it does not have, values that do not fit, and what is missing.
    """
    if not schema.get("properties") and not schema.get("title"):
        return {name: _free(value) for name, value in pairs}
    known: Mapping[str, Schema] = schema.get("properties") or {}
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name not in known:
            advice = nearest(name, known) if known else "it has none"
            raise RunError(f"{deployment} has no parameter {shown(name)}; {advice}")
        value = _read(f"{deployment}: {name}", text, list(_kinds(known[name], schema)))
        if name in found and not (isinstance(value, list) and isinstance(found[name], list)):
            raise RunError(f"{deployment}: {name} was given twice; give it once")
        found[name] = [*found[name], *value] if name in found else value
    needed = [name for name in known if name in schema.get("required", ()) or _is_no_default(known[name])]
    if missing := [name for name in needed if name not in found and name not in held]:
        raise RunError(f"{deployment} needs {', '.join(missing)}: {' '.join(f'-p {name}=…' for name in missing)}")
    _check(deployment, {**held, **found}, schema)
    return found


def _is_no_default(spec: Schema) -> bool:
    """Whether a parameter's default is a text that the parameter itself would not take: somebody has to give one."""
    default = spec.get("default")
    return isinstance(default, str) and len(default) < int(spec.get("minLength", 0))


def _check(deployment: str, parameters: Mapping[str, Any], schema: Schema) -> None:
    """Raise RunError for a value out of its range, as the server would."""
    from prefect.utilities.schema_tools.validation import ValidationError, validate

    try:
        validate(dict(parameters), dict(schema), raise_on_error=True, ignore_required=True)
    except ValidationError as error:
        raise RunError(f"{deployment}: {one_line(str(error))}") from None


def _kinds(spec: Schema, schema: Schema, depth: int = 8) -> Iterator[Schema]:
    """What a parameter may be, alternatives and references followed: specs with one `type` each, or none for any."""
    if depth and (place := spec.get("$ref")):
        tables = {**schema.get("$defs", {}), **schema.get("definitions", {})}
        yield from _kinds(tables.get(str(place).rpartition("/")[2], {}), schema, depth - 1)
    elif depth and (choices := [c for key in ("anyOf", "oneOf", "allOf") for c in spec.get(key, ())]):
        for choice in choices:
            yield from _kinds(choice, schema, depth - 1)
    else:
        types = spec.get("type")
        for kind in types if isinstance(types, list) else [types]:
            items = list(_kinds(spec.get("items") or {}, schema, depth - 1)) if kind == "array" and depth else []
            inner = spec.get("properties", {}) if kind == "object" and depth else {}
            keys = {name: list(_kinds(one, schema, depth - 1)) for name, one in inner.items()}
            yield {**spec, "type": kind, "items": items, "properties": keys}


def _read(what: str, text: str, kinds: Sequence[Schema]) -> Any:
    """A value as the first kind has it that takes it; a text takes whatever no other kind does."""
    allowed: list[str] = []
    inner: list[RunError] = []
    for spec in sorted(kinds, key=lambda spec: _ORDER.index(spec["type"]) if spec["type"] in _ORDER else -1):
        try:
            value = _READERS.get(spec["type"], _any)(what, text, spec)
        except RunError as error:  # of a value within a list or a table
            inner.append(error)
            continue
        except ValueError:
            continue
        if "enum" not in spec or value in spec["enum"]:
            return value
        allowed += [str(choice) for choice in spec["enum"] if choice not in (None, "")]
    if inner and not allowed:
        raise inner[0]
    expected = nearest(text, allowed) if allowed else "expected "
    words = dict.fromkeys(_WORDS.get(spec["type"], "JSON") for spec in kinds)
    raise RunError(f"{what} = {shown(text)}; {expected}{'' if allowed else ' or '.join(words)}")


def _free(text: str) -> Any:
    """JSON where a text can be read so, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # thousands of brackets are no JSON that anybody meant
        return text


def _any(what: str, text: str, spec: Schema) -> Any:
    return _free(text)


def _truth(what: str, text: str, spec: Schema) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise ValueError(text)
    return text.lower() in _YES


def _whole(what: str, text: str, spec: Schema) -> int:
    if not re.fullmatch(r"[+-]?\d{1,300}(\.0+)?", text.strip()):
        raise ValueError(text)
    return int(text.partition(".")[0])


def _number(what: str, text: str, spec: Schema) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _nothing(what: str, text: str, spec: Schema) -> None:
    if text.lower() not in _NOTHING:
        raise ValueError(text)


def _list(what: str, text: str, spec: Schema) -> list[Any]:
    """A JSON list, or values with commas between them."""
    if text.lstrip().startswith("["):
        found = _free(text)
        if not isinstance(found, list):
            raise ValueError(text)
        parts = [_typed(value, spec["items"]) for value in found]
    else:
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return [_read(what, part, spec["items"]) for part in parts]


def _table(what: str, text: str, spec: Schema) -> dict[str, Any]:
    found = _free(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    keys = spec["properties"]
    if not keys:
        return found
    for name in found:
        if name not in keys and not spec.get("additionalProperties"):
            raise RunError(f"{what} has no key {shown(name)}; {nearest(name, keys)}")
    if missing := [name for name in spec.get("required", ()) if name not in found]:
        raise RunError(f"{what} lacks {', '.join(missing)}")
    return {
        name: _read(f"{what}.{name}", _typed(value, keys[name]), keys[name]) if name in keys else value
        for name, value in found.items()
    }


def _typed(value: Any, kinds: Sequence[Schema]) -> str:
    """A value within JSON as somebody would have typed it by itself: a text that could be something else in quotation
    marks."""
    return value if isinstance(value, str) and len(kinds) == 1 else json.dumps(value)


def _text(what: str, text: str, spec: Schema) -> str:
    """As it was typed; a JSON text, in quotation marks, is what stands between them."""
    found = _free(text) if text.startswith('"') else text
    return found if isinstance(found, str) else text


_READERS: Mapping[Any, Callable[[str, str, Schema], Any]] = {
    "null": _nothing,
    "boolean": _truth,
    "integer": _whole,
    "number": _number,
    "array": _list,
    "object": _table,
    "string": _text,
}
_ORDER = list(_READERS)
_WORDS = {
    "null": "none",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "values with commas between them, or a JSON list",
    "object": "a JSON object",
    "string": "a text",
}
