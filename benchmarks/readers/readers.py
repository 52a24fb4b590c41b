"""The readers of the table: what each is, on what it is run, and in which environment."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Reader:
    """A row of the table.

    on        what it reads: `as it is`, or the export by which it reads.
    script    its file below scripts/, without `read_` and suffix. words: what the script is told besides.
    code      name of the blocks in the script that show how it reads; empty: those without a name.
    """

    name: str
    on: str
    environment: str
    script: str
    words: tuple[str, ...] = ()
    code: str = ""

    def shown_code(self) -> str:
        """The lines of the script that read, as they were run."""
        source = (SCRIPTS / f"read_{self.script}.py").read_text("utf-8")
        mark = f"# how {self.code}".rstrip()
        found = re.findall(rf"^ *{mark}\n(.*?)^ *# end$", source, re.MULTILINE | re.DOTALL)
        blocks = [textwrap.dedent(block).strip() for block in found]
        apart = "\n\n\n" if any(block.startswith(("def ", "class ")) for block in blocks) else "\n\n"
        return apart.join(blocks)  # as ruff spaces code, in pages too


def _table(package: str) -> Reader:
    return Reader(package, "tables as they are, and `--to parquet`", "tables", "tables", (package,), package)


READERS = (
    Reader("webdataset", "as it is", "webdataset", "webdataset"),
    Reader("webdataset 0.2", "as it is", "webdataset-0.2", "webdataset"),
    Reader("datasets", "as it is, and `--to parquet`", "datasets", "datasets"),
    Reader("open_clip with webdataset 1.0", "as it is", "webdataset", "open_clip"),
    Reader("open_clip with webdataset 0.2", "as it is", "webdataset-0.2", "open_clip"),
    Reader("torchdata", "as it is, by the table's offsets", "datasets", "torchdata"),
    Reader("megatron-energon", "`--to energon`, or a plain copy", "energon", "energon"),
    Reader("ray.data", "as it is", "tables", "ray"),
    _table("dask"),
    _table("duckdb"),
    _table("polars"),
    _table("pyarrow"),
    Reader("lance", "`--to parquet`", "tables", "lance"),
    Reader("NVIDIA DALI", "as it is", "dali", "dali"),
    Reader("webshart", "`--to webshart`", "webshart", "webshart"),
    Reader("litdata", "`--to litdata`", "litdata", "litdata"),
    Reader("mosaicml-streaming", "`--to mds`", "streaming", "streaming"),
    Reader("datachain", "as it is", "datachain", "datachain"),
    Reader("tar", "as it is", "tables", "tar"),
)
