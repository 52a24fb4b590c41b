"""megatron-energon: `energon prepare` on a plain copy, and the export; ranks, workers, exact resume."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from common import Check, run
from megatron import energon

PREPARE = (
    "energon prepare COPY --non-interactive --split-parts train:shards/train-.* --split-parts val:shards/val-.* "
    "--split-parts test:shards/test-.* --sample-type CrudeWebdataset"
)


@energon.edataclass
class Pair(energon.Sample):
    """A sample as it is cooked here."""

    caption: str
    members: dict


# how
def cook(sample: dict) -> Pair:
    members = {name: body for name, body in sample.items() if not name.startswith("__")}
    return Pair(**energon.basic_sample_keys(sample), caption=members["txt"].decode(), members=members)


class Task(energon.DefaultTaskEncoder):
    cookers = (energon.Cooker(energon.stateless(cook)),)
    # end

    def batch(self, samples: list) -> list:
        return samples


def main(check: Check) -> None:
    folder = check.exports / "energon"
    found, counts = [], []
    for rank in range(2):
        got = read(folder, "train", rank)
        counts.append(len(got))
        found += got
    check.samples_equal(found, check.of("train"), "train")
    check.expect(True, f"two ranks, 2 workers each ({counts[0]} and {counts[1]})")
    for split in ("val", "test"):
        check.samples_equal(read(folder, split, 0, 1), check.of(split), split)
    resume(check, folder)
    prepared(check, folder)


def read(folder: Path, split: str, rank: int, ranks: int = 2) -> list[dict]:
    workers = energon.WorkerConfig(rank=rank, world_size=ranks, num_workers=2)
    data = energon.get_val_dataset(folder, split_part=split, worker_config=workers, batch_size=1, task_encoder=Task())
    return [
        {"key": sample.__key__, "caption": sample.caption, "members": sample.members}
        for batch in energon.get_loader(data)
        for sample in batch
    ]


def resume(check: Check, folder: Path) -> None:
    def loader(rank: int):
        workers = energon.WorkerConfig(rank=rank, world_size=2, num_workers=2)
        settings = {"batch_size": 3, "shuffle_buffer_size": 8, "max_samples_per_sequence": 4}
        data = energon.get_train_dataset(folder, worker_config=workers, task_encoder=Task(), **settings)
        return energon.get_savable_loader(data)

    def keys(stream, count: int) -> list:
        return [[sample.__key__ for sample in next(stream)] for _ in range(count)]

    for rank in range(2):
        first = loader(rank)
        stream = iter(first)
        keys(stream, 5)
        state = first.save_state_rank()
        rest = keys(stream, 6)
        again = loader(rank)
        again.restore_state_rank(state)
        check.expect(keys(iter(again), 6) == rest, f"exact resume of rank {rank}, shuffled")


def prepared(check: Check, folder: Path) -> None:
    """What `energon prepare` makes of a copy is what the export wrote."""
    copy = check.scratch / "copy"
    (copy / "shards").mkdir(parents=True)
    for path in check.tars():
        shutil.copy(path, copy / "shards")
    command = [str(Path(sys.executable).parent / "energon"), *PREPARE.split()[1:], "--num-workers", "2"]
    command[command.index("COPY")] = str(copy)
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    check.expect(not done.returncode, f"`{PREPARE}`")
    for path in sorted((copy / "shards").glob("*.idx")):
        if path.read_bytes() != (folder / "shards" / path.name).read_bytes():
            check.wrong.append(f"{path.name} differs")
    tables = [index(one) for one in (copy, folder)]
    check.expect(tables[0] == tables[1], f"its index of {len(tables[0][0])} samples and {len(tables[0][1])} members")
    found = [sample for rank in range(2) for sample in read_raw(copy, rank)]
    check.keys(found, check.of("train"), "prepared copy")


def index(folder: Path) -> list:
    connection = sqlite3.connect(folder / ".nv-meta" / "index.sqlite")
    names = ("samples", "sample_parts")
    return [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4").fetchall() for name in names]


def read_raw(folder: Path, rank: int) -> list[str]:
    workers = energon.WorkerConfig(rank=rank, world_size=2, num_workers=2)
    crude = {"task_encoder": Decoded(), "batch_size": 1, "worker_config": workers}
    data = energon.get_val_dataset(folder, split_part="train", **crude)
    return [sample.__key__ for batch in energon.get_loader(data) for sample in batch]


class Decoded(Task):
    """As `Task`, for a dataset whose dataset.yaml leaves decoding to energon."""

    cookers = (
        energon.Cooker(energon.stateless(lambda s: Pair(**energon.basic_sample_keys(s), caption="", members={}))),
    )


run(main, "megatron-energon", "webdataset")
