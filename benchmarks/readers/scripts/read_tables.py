"""dask, duckdb, polars and pyarrow.dataset on the tables, side by side, and on the export `parquet`."""

from __future__ import annotations

import sys

from common import GT, LQ, Check, bytes_digest, run


def by_dask(check: Check) -> None:
    folder, exported = str(check.dataset), str(check.exports / "parquet")
    import dask.dataframe

    # how dask
    samples = dask.dataframe.read_parquet(f"{folder}/samples.parquet")
    sources = dask.dataframe.read_parquet(f"{folder}/sources.parquet")
    joined = samples.merge(sources, left_on="source_sha256", right_on="digest", suffixes=("", "_source")).compute()
    pairs = dask.dataframe.read_parquet(f"{exported}/train-*.parquet", columns=["key", "lq", "gt"]).compute()
    # end
    tables(check, dict(zip(joined["key"], zip(joined["caption"], joined["severity"], strict=True), strict=True)))
    pictures(check, pairs.to_dict("records"))


def by_duckdb(check: Check) -> None:
    folder, exported = str(check.dataset), str(check.exports / "parquet")
    import duckdb

    # how duckdb
    joined = duckdb.sql(f"""
        SELECT s.key, s.caption, s.severity FROM '{folder}/samples.parquet' s
        JOIN '{folder}/sources.parquet' p ON s.source_sha256 = p.digest
    """)
    pairs = duckdb.sql(f"SELECT key, lq, gt FROM '{exported}/train-*.parquet'")
    # end
    tables(check, {key: (caption, severity) for key, caption, severity in joined.fetchall()})
    pictures(check, [dict(zip(("key", "lq", "gt"), row, strict=True)) for row in pairs.fetchall()])


def by_polars(check: Check) -> None:
    folder, exported = str(check.dataset), str(check.exports / "parquet")
    import polars

    # how polars
    samples, sources = (polars.scan_parquet(f"{folder}/{name}.parquet") for name in ("samples", "sources"))
    joined = samples.join(sources, left_on="source_sha256", right_on="digest").collect()
    pairs = polars.scan_parquet(f"{exported}/train-*.parquet").select("key", "lq", "gt").collect()
    # end
    told = zip(joined["key"], zip(joined["caption"], joined["severity"], strict=True), strict=True)
    tables(check, dict(told))
    pictures(check, pairs.to_dicts())


def by_pyarrow(check: Check) -> None:
    folder, exported = str(check.dataset), str(check.exports / "parquet")
    import pyarrow.dataset

    # how pyarrow
    samples, sources = (pyarrow.dataset.dataset(f"{folder}/{name}.parquet") for name in ("samples", "sources"))
    licences = sources.to_table(columns=["digest", "licence"])  # its joins take no column of lists
    joined = samples.to_table().join(licences, keys="source_sha256", right_keys="digest")
    files = pyarrow.dataset.dataset(exported, format="parquet", exclude_invalid_files=True)
    pairs = files.to_table(columns=["key", "lq", "gt"])
    # end
    rows = joined.select(["key", "caption", "severity"]).to_pylist()
    tables(check, {row["key"]: (row["caption"], row["severity"]) for row in rows})
    pictures(check, [row for row in pairs.to_pylist() if check.samples[row["key"]]["split"] == "train"])


def tables(check: Check, found: dict) -> None:
    """The tables joined give every sample with its caption and severity."""
    expected = {key: (sample["caption"], sample["severity"]) for key, sample in check.samples.items()}
    check.expect(found == expected, f"samples.parquet joined with sources.parquet: {len(found)} rows")


def pictures(check: Check, rows: list[dict]) -> None:
    """Rows of the export give the stored bytes."""
    expected = {}
    for key, sample in check.of("train").items():
        pair = [next(sample["members"][name] for name in names if name in sample["members"]) for names in (LQ, GT)]
        expected[key] = [one["bytes"] for one in pair]
    found = {row["key"]: [bytes_digest(row[name]["bytes"]) for name in ("lq", "gt")] for row in rows}
    check.expect(found == expected, f"`--to parquet`: bytes of {len(found)} pairs")


PACKAGES = {"dask": by_dask, "duckdb": by_duckdb, "polars": by_polars, "pyarrow": by_pyarrow}
run(PACKAGES[sys.argv[5]], sys.argv[5])
