"""datachain on the tables and the shards as they are, and on the export `parquet`."""

from __future__ import annotations

import datachain
from common import Check, run
from datachain.lib.webdataset import WDSAllFile, process_webdataset


def main(check: Check) -> None:
    folder = str(check.dataset)
    # how
    rows = datachain.read_parquet(f"{folder}/samples.parquet")
    # end
    found = dict(rows.to_list("key", "caption"))
    expected = {key: sample["caption"] for key, sample in check.samples.items()}
    check.expect(found == expected, f"samples.parquet: {len(found)} keys and captions")
    exported(check)
    shards(check, folder)


def exported(check: Check) -> None:
    """A null image stops it, and a sample has no image for a truth map of another degradation."""
    rows = datachain.read_parquet(f"{check.exports}/parquet/train-*.parquet")
    check.refuses("`--to parquet` of several degradations, whose truth maps are null in part", rows.count)


def shards(check: Check, folder: str) -> None:
    """The tars through its reader of webdatasets: what has one dot in its name is a sample's LQ, caption and facts."""
    tars = datachain.read_storage(f"{folder}/shards/*.tar", type="binary")
    rows = tars.gen(one=process_webdataset(), params="file", output={"one": WDSAllFile}).to_values("one")
    found = [row for row in rows if row.txt is not None]
    captions = {row.file.path.rsplit("/", 1)[-1].partition(".")[0]: row.txt for row in found}
    expected = {key: sample["caption"] for key, sample in check.samples.items()}
    check.expect(captions == expected, f"tars: {len(captions)} LQ and captions")
    check.mind(
        f"`process_webdataset` cuts names at the last dot, so that GT and truth maps are rows of their own: "
        f"{len(rows)} rows of {len(check.samples)} samples; those with a caption are LQ"
    )


run(main, "datachain")
