"""What a dataset's files say, before anything is done with it: the dataset may be damaged, or a stranger's.

Digests tell that a file is the one that its manifest was written with, and nothing of what a stranger wrote there. Each
check raises ManifestError or DamagedShardError, in words; behind them, names are names and numbers are numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.earlier import FIGURES, facts_now
from patina.pipeline.format.layout import SPLITS

NULLABLE = frozenset({"similarity"})
"""Columns of a dataset's tables where nothing may stand."""

MOST = 2**50
"""Beyond every count, size and place of a dataset."""

TEXTS: Mapping[str, Any] = {"*": str}

MANIFEST_KINDS: Mapping[str, Any] = {
    "recipe": {
        "name": str,
        "sources": [{"*": object}],
        "degradations": {"*": {"*": object}},
        "buckets": object,
        "split": {"*": object},
        "*": object,
    },
    "recipe_digest": str,
    "codec": str,
    "identities": {"*": {"*": object}},
    "captioner": str,
    "captioners": TEXTS,
    "shards": [
        {
            "name": str,
            "split": str,
            "degradation": str,
            "bucket": int,
            "fingerprint": str,
            "sha256": str,
            "bytes": int,
            "count": int,
        }
    ],
    "sources": int,
    "duplicates": int,
    "sources_digest": str,
    "set_aside": [{"name": str, "reason": str}],
    "notes": [str],
    "leaks": {"*": object},
    "tables": TEXTS,
    "versions": TEXTS,
    "*": object,
}
"""The kinds of a manifest's values; `*` stands for any other key."""


def expect_kinds(value: Any, kinds: Any, place: str) -> None:
    """Raise TypeError, naming the place, unless a tree of JSON is of these kinds: a type, a table of kinds by key, or a
    list of one kind."""
    if isinstance(kinds, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError(f"{place}: expected a table, found {_shown(value)}")
        if lacking := [key for key in kinds if key != "*" and key not in value]:
            raise TypeError(f"{place}: its {lacking[0]!r} is missing")
        for key, inner in value.items():
            kind = kinds.get(key, kinds.get("*"))
            if kind is not None:
                expect_kinds(inner, kind, f"{place}.{_shown(key)}")
    elif isinstance(kinds, list):
        if not isinstance(value, list):
            raise TypeError(f"{place}: expected a list, found {_shown(value)}")
        for i, inner in enumerate(value):
            expect_kinds(inner, kinds[0], f"{place}[{i}]")
    elif kinds is int and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST):
        raise TypeError(f"{place}: expected a whole number from 0, found {_shown(value)}")
    elif kinds is not object and not isinstance(value, kinds):
        raise TypeError(f"{place}: expected a {'text' if kinds is str else kinds.__name__}, found {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def expect_values(table: pa.Table, path: str) -> None:
    """Raise ManifestError if a column of one of a dataset's tables holds nothing, no number, or one that cannot be."""
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and field.name not in NULLABLE:
            raise _wrong(path, field.name, "holds nothing in some of its rows")
        unmeasured = field.name in FIGURES and pc.all(pc.is_nan(column), min_count=0).as_py()
        if (
            pa.types.is_floating(field.type)
            and not unmeasured
            and not pc.all(pc.is_finite(column), min_count=0).as_py()
        ):
            raise _wrong(path, field.name, "holds what is no number")
        if pa.types.is_integer(field.type) and len(column):
            least, most = pc.min_max(column).as_py().values()
            if least < (1 if field.name in {"width", "height"} else 0) or most > MOST:
                raise _wrong(path, field.name, f"holds {least if least < 1 else most}, which cannot be")
        if field.name == "split" and not pc.all(pc.is_in(column, pa.array(SPLITS)), min_count=0).as_py():
            raise _wrong(path, field.name, f"holds another word than {', '.join(SPLITS)}")
        if field.name == "names" and len(column) and not _names_all(column):
            raise _wrong(path, field.name, "names nothing in some of its rows")


def _names_all(column: pa.ChunkedArray) -> bool:
    """Whether every row of a column of lists holds one name at least, and nothing else."""
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    return pc.min(pc.list_value_length(column)).as_py() >= 1 and not pc.list_flatten(column).null_count


def _wrong(path: str, column: str, what: str) -> ManifestError:
    return ManifestError(f"{path}: its column {column!r} {what}; it is damaged or was not written by patina")


def facts_of(members: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """What KEY.json says, under the names of this version of the stored format. Raises DamagedShardError where it is
    missing or no table."""
    try:
        fact = json.loads(members["json"])
    except KeyError:
        raise DamagedShardError(f"{where} has no .json; run `patina check`") from None
    except (ValueError, RecursionError) as error:
        raise DamagedShardError(f"{where}: its .json cannot be read ({error}); run `patina check`") from None
    if not isinstance(fact, dict):
        raise DamagedShardError(f"{where}: expected a table in its .json, found {_shown(fact)}; run `patina check`")
    if not is_text(fact):
        raise DamagedShardError(f"{where}: expected text in its .json, found half of a character; run `patina check`")
    return facts_now(fact)


def params_of(text: str, where: str) -> dict[str, Any]:
    """A sample's parameters, from their JSON. Raises ManifestError."""
    try:
        params = json.loads(text)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict) or not is_text(params) or ("parts" in params and not _are_parts(params["parts"])):
        raise ManifestError(f"{where}: its parameters are no table as patina writes it: {_shown(text)}; `patina check`")
    return params


def _are_parts(parts: Any) -> bool:
    """Whether these are a composite's: a name and a table of parameters each."""
    return isinstance(parts, list) and all(
        isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], dict)
        for part in parts
    )


def is_finite(value: Any) -> bool:
    """Whether all numbers in a tree of JSON are finite: NaN and infinity are no JSON, though Python reads them."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(is_finite, value.values()))
    return all(map(is_finite, value)) if isinstance(value, list) else True


def is_text(value: Any) -> bool:
    """Whether all texts in a tree of JSON can be written as UTF-8: an escaped half of a surrogate pair is JSON, and
    Python reads it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
