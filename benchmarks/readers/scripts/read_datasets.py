"""datasets: the folder with its card, tars by pattern, streamed with resume, without the card, shuffled both ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy
from common import Check, run

datasets.disable_progress_bars()


def sample_of(row: dict) -> dict:
    names = [name for name in row if name.endswith(("png", "jpg")) and row[name] is not None]
    return {
        "key": row["__key__"].rsplit("/", 1)[-1],
        "caption": row["txt"],
        "members": {name: numpy.asarray(row[name]) for name in names},
    }


def main(check: Check) -> None:
    folder, cache = str(check.dataset), str(check.scratch / "cache")
    # how
    rows = datasets.load_dataset(folder, split="train", cache_dir=cache)
    # end
    check.samples_equal([sample_of(row) for row in rows], check.of("train"), "folder")
    hazy = datasets.load_dataset(folder, "hazy", split="train", cache_dir=cache)
    check.keys([row["__key__"].rsplit("/", 1)[-1] for row in hazy], check.of("train", "hazy"), "one degradation")
    shuffled = rows.shuffle(seed=1)
    check.samples_equal([sample_of(row) for row in shuffled], check.of("train"), "shuffled by indices")
    tars = datasets.load_dataset(folder, data_files={"train": "shards/train-*.tar"}, split="train", cache_dir=cache)
    check.samples_equal([sample_of(row) for row in tars], check.of("train"), "data_files")
    streamed(check, folder)
    without_card(check)
    exported(check)


def streamed(check: Check, folder: str) -> None:
    stream = datasets.load_dataset(folder, split="train", streaming=True)
    check.samples_equal([sample_of(row) for row in stream], check.of("train"), "streamed")
    mixed = stream.shuffle(seed=1, buffer_size=16)
    check.samples_equal([sample_of(row) for row in mixed], check.of("train"), "streamed, shuffled by a buffer")
    rest, state = [], None
    for i, row in enumerate(stream):
        if i == 6:
            state = stream.state_dict()
        elif i > 6:
            rest.append(row["__key__"])
    again = datasets.load_dataset(folder, split="train", streaming=True)
    again.load_state_dict(state)
    check.expect([row["__key__"] for row in again] == rest, "resume by `state_dict`")


def without_card(check: Check) -> None:
    bare = check.scratch / "bare"
    bare.mkdir()
    for path in check.tars():
        shutil.copy(path, bare)
    files = {split: str(bare / f"{split}-*.tar") for split in ("train", "val", "test")}
    cache = str(check.scratch / "cache-bare")

    def read_all() -> None:
        loaded = datasets.load_dataset("webdataset", data_files=files, cache_dir=cache)
        for split, rows in loaded.items():
            check.samples_equal([sample_of(row) for row in rows], check.of(str(split)), "without the card")

    kinds = {tuple(sorted(sample["members"])) for sample in check.samples.values()}
    if len(kinds) == 1:
        read_all()
        return
    check.refuses("all degradations at once without the card", read_all)
    for entry in sorted({sample["entry"] for sample in check.samples.values()}):
        one = {"train": [str(bare / Path(path).name) for path in check.tars_of("train", entry)]}
        rows = datasets.load_dataset("webdataset", data_files=one, split="train", cache_dir=cache)
        check.samples_equal([sample_of(row) for row in rows], check.of("train", entry), "one degradation, no card")


def exported(check: Check) -> None:
    rows = datasets.load_dataset(
        str(check.exports / "parquet"), split="train", cache_dir=str(check.scratch / "cache-pq")
    )
    found = {row["key"]: (numpy.asarray(row["lq"]), numpy.asarray(row["gt"])) for row in rows}
    expected = check.of("train")
    good = [key for key, pair in found.items() if same_pair(expected[key], pair)]
    check.expect(sorted(good) == sorted(expected), f"`--to parquet`: {len(good)} pairs")


def same_pair(truth: dict, pair: tuple) -> bool:
    from common import GT, LQ, values_digest

    told = [next(truth["members"][name] for name in names if name in truth["members"]) for names in (LQ, GT)]
    return [values_digest(values) for values in pair] == [one["values"] for one in told]


run(main, "datasets")
