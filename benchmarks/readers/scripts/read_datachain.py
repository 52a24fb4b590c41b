"""datachain on the shards as they are and on the tables."""

from __future__ import annotations

import os

os.environ["DATACHAIN_ROOT_DIR"] = os.environ.get("DATACHAIN_ROOT_DIR", "/nonexistent")

import datachain
from common import LQ, Check, bytes_digest, run


def main(check: Check) -> None:
    folder = str(check.dataset)
    tables(check, folder)
    pairs(check)
    tars(check, folder)


def tables(check: Check, folder: str) -> None:
    # how
    rows = datachain.read_parquet(f"{folder}/samples.parquet")
    # end
    found = dict(zip(rows.to_values("key"), rows.to_values("caption"), strict=True))
    expected = {key: sample["caption"] for key, sample in check.samples.items()}
    check.expect(found == expected, f"samples.parquet: {len(found)} keys and captions")


def pairs(check: Check) -> None:
    exported = str(check.exports / "parquet")
    rows = datachain.read_parquet(f"{exported}/train-*.parquet")
    found = {key: bytes_digest(data) for key, data in rows.to_list("key", "lq.bytes")}
    expected = {
        key: next(sample["members"][name]["bytes"] for name in LQ if name in sample["members"])
        for key, sample in check.of("train").items()
    }
    check.expect(found == expected, f"`--to parquet`: bytes of {len(found)} images")


def tars(check: Check, folder: str) -> None:
    from datachain.lib.webdataset import process_webdataset
    from datachain.lib.webdataset_laion import WDSLaion

    rows = (
        datachain.read_storage(f"{folder}/shards/", type="binary")
        .settings(cache=False)
        .gen(sample=process_webdataset(spec=WDSLaion), params="file")
    )
    count = rows.count()
    check.mind(
        f"`process_webdataset` makes {count} rows of {len(check.samples)} samples: it cuts names at the last dot"
    )


run(main, "datachain")
