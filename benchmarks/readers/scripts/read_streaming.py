"""MosaicML's streaming on `patina export --to mds`: bytes, two ranks, resume, and its own writer beside ours."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path

from common import Check, run
from read_records import sample_of
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory


def main(check: Check) -> None:
    folder = str(check.exports / "mds")
    # how
    rows = StreamingDataset(local=f"{folder}/train", shuffle=False, batch_size=1)
    first = rows[0]["lq"]  # the bytes of an image file
    # end
    assert first
    found = [sample_of(rows[i], check.samples[rows[i]["key"]]) for i in range(len(rows))]
    check.samples_equal(found, check.of("train"), "train")
    resume(check, folder)
    written(check, folder)


def resume(check: Check, folder: str) -> None:
    def loader() -> StreamingDataLoader:
        clean_stale_shared_memory()
        rows = StreamingDataset(local=f"{folder}/train", shuffle=True, shuffle_seed=3, batch_size=4)
        return StreamingDataLoader(rows, batch_size=4, num_workers=2, collate_fn=keys)

    first = loader()
    stream = iter(first)
    begun = [next(stream) for _ in range(3)]
    state = first.state_dict()
    rest = list(stream)
    seen = [key for batch in begun + rest for key in batch["key"]]
    check.expect(set(seen) == check.of("train").keys(), "shuffled, 2 workers: every sample")
    del first, stream
    again = loader()
    again.load_state_dict(state)
    check.expect(list(again) == rest, "resume of StreamingDataLoader, shuffled, 2 workers")


def keys(batch: list[dict]) -> dict:
    """A dictionary, since the library takes the length of a batch's first value for its number of samples."""
    return {"key": [row["key"] for row in batch]}


def written(check: Check, folder: str) -> None:
    """The same records through its own writer give the same files."""
    clean_stale_shared_memory()
    rows = StreamingDataset(local=f"{folder}/train", shuffle=False, batch_size=1)
    shard = json.loads(Path(folder, "train", "index.json").read_text())["shards"][0]
    columns = dict(zip(shard["column_names"], shard["column_encodings"], strict=True))
    out = str(check.scratch / "own")
    with MDSWriter(out=out, columns=columns) as writer:
        for i in range(len(rows)):
            writer.write(rows[i])
    names = ["index.json", "shard.00000.mds"]
    same, *_ = filecmp.cmpfiles(out, f"{folder}/train", names, shallow=False)
    check.expect(same == names, "its own writer gives the same bytes, index.json too")


if __name__ == "__main__":
    run(main, "mosaicml-streaming", "torch")
