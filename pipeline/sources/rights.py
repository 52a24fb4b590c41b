"""Licences and attributions that travel with a patina dataset, for readers that take its samples in again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

from patina.pipeline.sources import locations
from patina.pipeline.tables import read_columns
from patina.pipeline.text import printable

TABLE = "sources.parquet"
DIGITS = 16
"""Hex digits of a source's digest, with which the keys of all its samples begin."""

Stated = tuple[str, str]
"""A licence and an attribution, each empty if nobody stated it."""


@dataclass(frozen=True)
class Rights:
    """What a dataset states of its sources. digest: SHA-256 of the table that says so; empty if there is none. notes:
    why it cannot be read."""

    digest: str = ""
    notes: tuple[str, ...] = ()
    _stated: Mapping[str, Stated] = field(default_factory=dict, repr=False)

    def of(self, key: str) -> Stated:
        """What is stated of the source whose digest, or a sample's key, that is."""
        return self._stated.get(key[:DIGITS], ("", ""))


def rights_in(folder: str) -> Rights:
    """What the dataset in a folder, or at an address, states in its sources.parquet; nothing if there is none."""
    place = f"{folder.rstrip('/')}/{TABLE}"
    try:
        path = locations.local_copy(place)
        data = path.read_bytes()
        wanted = pa.schema([(name, pa.string()) for name in ("digest", "licence", "attribution")])
        columns = [column.to_pylist() for column in read_columns(data, wanted)]
    except FileNotFoundError:
        return Rights()
    except MemoryError:  # pyarrow's own is also an ArrowException
        raise
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, locations.LocationError) and error.is_missing:
            return Rights()
        if getattr(error, "errno", None) in locations.OURS:
            raise
        name = printable(f"{locations.base_name(folder)}/{TABLE}")  # without this machine's folders: notes are stored
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        return Rights(notes=(f"{name} cannot be read, so licences are not known: {printable(why)}",))
    texts = cache(lambda *stated: tuple(printable(text or "") for text in stated))  # few, of many photographs
    stated = {digest[:DIGITS]: texts(*both) for digest, *both in zip(*columns, strict=True) if digest}
    return Rights(hashlib.sha256(data).hexdigest(), (), stated)
