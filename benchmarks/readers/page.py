"""docs/readers.md: the table of what was run, and how each reader reads."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.readers import dataset
from benchmarks.readers.environments import ENVIRONMENTS
from benchmarks.readers.readers import READERS, Reader

PAGE = Path(__file__).parents[2] / "docs" / "readers.md"

HEAD = """\
# Readers

A dataset of patina is a folder of tars, two Parquet tables and a card. This page says which tools read it as it is, which
by an export, how, and what to mind. All of it was run, by one command, on {date}, on Python {python}: `make readers`.

Each reader ran in an environment of its own, which holds no patina, on one dataset: {samples} samples in {shards} shards,
made from {photographs} small pictures that are drawn in code, PNG and JPEG mixed, in {entries} degradations and a set of
pairs, in three splits, with captions, and with truth maps of 8 and 16 bits. What a reader gave was compared with what patina's
own tables and members say: every sample once and none besides; the digest of each image's values (or of its bytes, where the
reader hands on bytes), of LQ, of GT and of every truth map; and the caption. "Resume" is the same order of samples after a
restart from saved state as without one.

"""

EXPORTS = """\
## Exports

    patina export OUT --to FORMAT --out DIR [--split train] [--degradation hazy]

| format | for | what it writes | images |
| --- | --- | --- | --- |
| `parquet` | datasets, dask, duckdb, polars, pyarrow, Lance, datachain | `SPLIT-NNNNN.parquet` of 500 MB, row groups of 100 rows or 64 MB | own bytes, in columns |
| `energon` | megatron-energon | `.nv-meta` with its index, `.tar.idx` of each shard | links to the shards |
| `webshart` | webshart | an index of each shard for LQ, GT and each truth map | links to the shards |
| `mds` | mosaicml-streaming | `SPLIT/index.json`, shards of 64 MiB | own bytes, in records |
| `litdata` | litdata | `SPLIT/index.json`, chunks of 64 MB | own bytes, in records |
| `daclip`, `vlunet`, `folders` | trainers of DA-CLIP and VLU-Net, people | plain files and lists | own bytes, as files |

- No export encodes an image anew. `energon` and `webshart` copy none: their shards are hard links, which take no room and stay
  as they are when the dataset is built again. On another file system than the dataset's they are copies.
- A record of `mds` and `litdata` is a dictionary: `key`, `caption` and `facts` (KEY.json) are text; `lq`, `gt` and each truth map
  are the bytes of image files, and a map that the sample does not have is empty.
- An export streams: its memory does not grow with the dataset. An equal one is left alone, another one replaced as a whole, and
  a folder that holds anything else is refused before work begins.

"""

FOOT = """\
## Which were not run

- **NeMo Curator** (1.4.0, read in its source, not run): its `ImageReaderStage` asks DALI for the member `jpg` of every sample and
  leaves out samples that have none. So it would see the JPEG images alone, without their pairs, and it names samples by their
  places, not by their keys. No export is written for it; its stages for tables take `--to parquet`.
"""


def page(results: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Any]) -> str:
    """The whole page, from what the readers' scripts printed, by reader, and from truth.json."""
    entries = {sample["entry"] for sample in truth["samples"]}
    head = HEAD.format(
        date=datetime.date.today().isoformat(),
        python=platform.python_version(),
        samples=len(truth["samples"]),
        shards=len(truth["shards"]),
        photographs=dataset.PHOTOGRAPHS,
        entries=len(entries & dataset.WORDS.keys()),
    )
    lines = ["| reader | versions | reads | right? | shown |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(reader, results[reader.name]) for reader in READERS]
    how = ["", "## How each reads", ""]
    for reader in READERS:
        how += _how(reader, results[reader.name])
    return head + "\n".join([*lines, *how]) + "\n" + EXPORTS + FOOT


def _row(reader: Reader, result: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items()) or "GNU tar"
    right = "**wrong**" if result["wrong"] else "yes" if result["shown"] else "no, see below"
    shown = "; ".join(dict.fromkeys(result["wrong"] or result["shown"])).replace("|", "\\|")
    return f"| {reader.name} | {versions} | {reader.on} | {right} | {shown or '–'} |"


def _how(reader: Reader, result: Mapping[str, Any]) -> list[str]:
    code = reader.shown_code()
    minds = [f"- {mind}" for mind in result["mind"]]
    if not code and not minds:
        return []
    packages = ", ".join(f"`{package}`" for package in ENVIRONMENTS[reader.environment].packages)
    lines = [f"### {reader.name}", ""]
    lines += ["```python", code, "```", ""] if code else []
    return [*lines, *minds, *([""] if minds else []), f"Environment: {packages}.", ""]
