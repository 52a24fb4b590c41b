"""Lance, made from `patina export --to parquet`: rows at random, images as bytes."""

from __future__ import annotations

import lance
import pyarrow.dataset
from common import GT, LQ, Check, bytes_digest, run


def main(check: Check) -> None:
    exported, out = str(check.exports / "parquet"), str(check.scratch / "pairs.lance")
    # how
    files = pyarrow.dataset.dataset(exported, format="parquet", exclude_invalid_files=True)
    table = lance.write_dataset(files, out)
    rows = table.take([5, 0, 3], columns=["key", "lq", "gt"])
    # end
    assert rows.num_rows == 3
    found = table.to_table(columns=["key", "caption", "lq", "gt"]).to_pylist()
    wrong = [row["key"] for row in found if not same(check.samples[row["key"]], row)]
    check.keys([row["key"] for row in found], check.of(), "all")
    check.expect(not wrong, f"{len(found)} pairs and captions" if not wrong else f"wrong: {wrong[:3]}")


def same(truth: dict, row: dict) -> bool:
    pair = [next(truth["members"][name] for name in names if name in truth["members"]) for names in (LQ, GT)]
    digests = [bytes_digest(row[name]["bytes"]) for name in ("lq", "gt")]
    return digests == [one["bytes"] for one in pair] and row["caption"] == truth["caption"]


run(main, "pylance", "pyarrow")
