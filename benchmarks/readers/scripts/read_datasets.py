"""datasets: the folder with its card, tars by pattern, streamed with resume, without the card, shuffled both ways."""

from __future__ import annotations

import datasets
import numpy
from common import Check, run

datasets.disable_progress_bars()


def key_of(row: dict) -> str:
    return row["__key__"].rsplit("/", 1)[-1]


def sample_of(row: dict) -> dict:
    names = [name for name in row if name.endswith(("png", "jpg")) and row[name] is not None]
    return {
        "key": key_of(row),
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
    check.keys([key_of(row) for row in hazy], check.of("train", "hazy"), "one degradation")
    shuffled = rows.shuffle(seed=1)
    check.samples_equal([sample_of(row) for row in shuffled], check.of("train"), "shuffled by indices")
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
    """Named files: columns then come from the members of the first shard."""
    cache = str(check.scratch / "cache-bare")

    def read(files: list[str]) -> list[dict]:
        rows = datasets.load_dataset("webdataset", data_files={"train": files}, split="train", cache_dir=cache)
        expected = check.in_shards(files)
        lost = sum(len(sample_of(row)["members"]) < len(expected[key_of(row)]["members"]) for row in rows)
        if lost:
            raise ValueError(f"{lost} of {len(rows)} rows lack members, without a word")
        return [sample_of(row) for row in rows]

    kinds = check.kinds("train")
    found = [sample for files in kinds.values() for sample in read(files)]
    check.samples_equal(found, check.of("train"), f"{len(kinds)} kinds of shards by their names, without the card")
    check.refuses("several kinds of shards at once without the card", lambda: read(check.tars("train")))


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
