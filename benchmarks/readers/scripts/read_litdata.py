"""litdata on `patina export --to litdata`: bytes, two ranks, resume, and litdata's own writer beside ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

from common import Check, run
from litdata import StreamingDataLoader, StreamingDataset
from litdata.streaming.writer import BinaryWriter
from read_records import sample_of


def main(check: Check) -> None:
    folder = str(check.exports / "litdata")
    # how
    rows = StreamingDataset(f"{folder}/train", shuffle=False)
    first = bytes(rows[0]["lq"])  # the bytes of an image file
    # end
    assert first
    found = [sample_of(rows[i], check.samples[rows[i]["key"]]) for i in range(len(rows))]
    check.samples_equal(found, check.of("train"), "train")
    ranks(check, folder)
    resume(check, folder)
    written(check, folder)


def ranks(check: Check, folder: str) -> None:
    keys, counts = [], []
    for rank in range(2):
        os.environ |= {"WORLD_SIZE": "2", "GLOBAL_RANK": str(rank), "NNODES": "1"}
        part = StreamingDataset(f"{folder}/train", shuffle=False, drop_last=False)
        got = [row["key"] for row in part]
        counts.append(len(got))
        keys += got
    for name in ("WORLD_SIZE", "GLOBAL_RANK", "NNODES"):
        os.environ.pop(name)
    missed = check.of("train").keys() - set(keys)
    check.expect(not missed and abs(counts[0] - counts[1]) <= 1, f"two ranks ({counts[0]} and {counts[1]})")


def resume(check: Check, folder: str) -> None:
    def loader() -> StreamingDataLoader:
        rows = StreamingDataset(f"{folder}/train", shuffle=True, seed=3)
        return StreamingDataLoader(rows, batch_size=4, num_workers=2, collate_fn=keys)

    first = loader()
    stream = iter(first)
    for _ in range(3):
        next(stream)
    state = first.state_dict()
    rest = list(stream)
    again = loader()
    again.load_state_dict(state)
    check.expect(list(again) == rest, "resume of StreamingDataLoader, shuffled, 2 workers")


def keys(batch: list[dict]) -> list[str]:
    return [row["key"] for row in batch]


def written(check: Check, folder: str) -> None:
    """The same records through litdata's own writer give the same chunk."""
    rows = StreamingDataset(f"{folder}/train", shuffle=False)
    out = str(check.scratch / "own")
    writer = BinaryWriter(out, chunk_bytes=64_000_000)
    for i in range(len(rows)):
        writer[i] = {name: bytes(v) if isinstance(v, memoryview) else v for name, v in rows[i].items()}
    writer.done()
    writer.merge()
    same = Path(out, "chunk-0-0.bin").read_bytes() == Path(folder, "train", "chunk-0-0.bin").read_bytes()
    one, other = (json.loads(Path(f, "index.json").read_text()) for f in (out, f"{folder}/train"))
    config = dict(other["config"])
    check.expect(same and {**one["config"]} == config, "its own writer gives the same bytes")


if __name__ == "__main__":
    run(main, "litdata", "torch")
