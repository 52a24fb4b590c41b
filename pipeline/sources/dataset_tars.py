"""The columns of a local folder of WebDataset tars, as Hugging Face's `datasets` should see them.

The library goes by the first five samples: a member of another suffix behind them is passed over without a word, and
samples of different members among them are an error. So where samples differ, their columns are told to it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.sources.reader import walk
from patina.pipeline.sources.tar_index import SUFFIXES as TARS
from patina.pipeline.sources.tar_index import tar_index, uncompressed
from patina.pipeline.sources.webdataset import REMEDY, example, split_name
from patina.pipeline.text import printable

TEXTS = frozenset({"txt", "text", "transcript", "caption"})
OBJECTS = frozenset({"json", "jsn"})
LOOKED_AT = 1000  # members json that tell the keys of all
LARGEST = 1 << 20  # bytes of a member json that is looked at

Place = tuple[str, int, int]
"""A tar, and the offset and size of a member in it."""


def tar_features(datasets: ModuleType, folder: str, name: str, split: str) -> tuple[Any, list[str]]:
    """The features of the tars in a local folder whose samples differ in their members, None for all others, of which
    the library finds out by itself; and notes on what it passes over in tars."""
    if not any(path.lower().endswith(TARS) for path in walk(folder, "path", datasets=True)):
        return None, []
    builder = datasets.load_dataset_builder(folder, name or None)
    if "WebDataset" not in {kind.__name__ for kind in type(builder).__mro__}:
        return None, []
    wanted = re.split(r"[\[+]", split, maxsplit=1)[0]  # it may be a part, train[:10%]
    files = builder.config.data_files or {}
    tars = [str(path) for path in files.get(wanted, ()) if Path(str(path)).is_file()]
    samples, members, notes = _samples(tars)
    differ = len({frozenset(extensions) for extensions in samples.values()}) > 1
    return _features(datasets, members) if differ and not builder.info.features else None, notes


def _samples(
    tars: Sequence[str],
) -> tuple[Mapping[tuple[str, str], set[str]], Mapping[str, list[Place]], list[str]]:
    """The extensions of each sample, the members of each extension, and notes on what is no plain file. A tar that
    cannot be read is left to the library, which says so."""
    samples: dict[tuple[str, str], set[str]] = {}
    members: dict[str, list[Place]] = {}
    notes: list[str] = []
    for tar in tars:
        try:
            file = uncompressed(Path(tar))
            index = tar_index(file)
        except OSError:
            continue
        if index.others:
            unread = "; ".join(example(count, kind, first) for kind, count, first in index.others)
            notes.append(f"{printable(Path(tar).name)} holds {unread}: they are not read; {REMEDY}")
        for path, offset, size in index.members:
            key, _ = split_name(path)
            if key:
                extension = path.rpartition("/")[2].partition(".")[2]  # in the case in which the library has it
                samples.setdefault((tar, key), set()).add(extension)
                members.setdefault(extension, []).append((str(file), offset, size))
    return samples, members, notes


def _features(datasets: ModuleType, members: Mapping[str, Sequence[Place]]) -> Any:
    found: dict[str, Any] = {}
    for extension, places in members.items():
        kind = extension.rpartition(".")[2].lower()
        if f".{kind}" in SUFFIXES:
            found[extension] = datasets.Image()
        elif kind in TEXTS:
            found[extension] = datasets.Value("string")
        elif kind in OBJECTS and (feature := _object(datasets, extension, places)) is not None:
            found[extension] = feature
    return datasets.Features({**found, "__key__": datasets.Value("string"), "__url__": datasets.Value("string")})


def _object(datasets: ModuleType, extension: str, places: Sequence[Place]) -> Any:
    """What members json hold, all keys together; None if they agree in nothing."""
    rows = []
    for file, offset, size in places[:LOOKED_AT]:
        if size > LARGEST:
            continue
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
            data = os.pread(opened.fileno(), size, offset)
        try:
            rows.append({extension: json.loads(data)})
        except (ValueError, RecursionError):
            continue
    try:
        schema = pa.Table.from_pylist(rows).schema
        return datasets.Features.from_arrow_schema(schema)[extension]
    except (pa.ArrowException, ValueError, KeyError):
        return None
