"""ray.data on the shards as they are, and on the tables."""

from __future__ import annotations

import logging

import numpy
import ray
from common import Check, run


def sample_of(row: dict) -> dict:
    names = [name for name, body in row.items() if name.endswith(("png", "jpg")) and isinstance(body, bytes)]
    return {"key": row["__key__"], "caption": text(row["txt"]), "members": {name: row[name] for name in names}}


def text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def main(check: Check) -> None:
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    folder = str(check.dataset)
    # how
    rows = ray.data.read_webdataset(f"{folder}/shards", decoder=None)  # members as bytes
    # end
    check.samples_equal([sample_of(row) for row in rows.iter_rows()], check.of(), "the folder `shards`")
    table = ray.data.read_parquet(f"{folder}/samples.parquet")
    keys = sorted(row["key"] for row in table.iter_rows())
    check.expect(keys == sorted(check.samples), f"samples.parquet: {len(keys)} rows")
    own_decoder(check)


def own_decoder(check: Check) -> None:
    def read() -> None:
        rows = list(ray.data.read_webdataset(check.tars("train")).iter_rows())
        check.keys([row["__key__"] for row in rows], check.of("train"), "its own decoder")
        row = next(row for row in rows if "transmission.png" in row and row["transmission.png"] is not None)
        truth = check.samples[row["__key__"]]["members"]["transmission.png"]
        kept = numpy.asarray(row["transmission.png"]).max() > 255 or truth["bits"] == 8
        (check.expect(True, "its own decoder keeps 16 bits") if kept else check.mind("its own decoder clips 16 bits"))

    try:
        read()
    except Exception as error:  # told in the table
        words = [line.strip() for line in str(error).splitlines() if "Error: " in line] or [type(error).__name__]
        check.mind(f"its own decoder, for several degradations: `{words[-1].partition('. ')[0]}`; use `decoder=None`")


run(main, "ray")
