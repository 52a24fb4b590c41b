"""torchdata: samples by their places in samples.parquet, through nodes and through StatefulDataLoader, with resume."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow.parquet
import torchdata.nodes
from common import Check, run
from torch.utils.data import Dataset, RandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader


# how
class Samples(Dataset):
    """Samples at random by offset: the members of a row of samples.parquet."""

    def __init__(self, folder: str, split: str) -> None:
        rows = pyarrow.parquet.read_table(f"{folder}/samples.parquet").to_pylist()
        self.folder, self.rows = folder, [row for row in rows if row["split"] == split]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict:
        row = self.rows[number]
        with Path(self.folder, "shards", row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            packed = io.BytesIO(file.read(row["size"]))
        with tarfile.open(fileobj=packed) as tar:
            members = {m.name.partition(".")[2]: tar.extractfile(m).read() for m in tar}
        return {"key": row["key"], "caption": members["txt"].decode(), "members": members}
        # end


def main(check: Check) -> None:
    folder = str(check.dataset)
    # how
    samples = Samples(folder, "train")
    loader = StatefulDataLoader(samples, batch_size=None, num_workers=2, shuffle=True)
    # end
    check.samples_equal(list(loader), check.of("train"), "StatefulDataLoader")
    resume_loader(check, samples)
    resume_nodes(check, samples)


def resume_loader(check: Check, samples: Samples) -> None:
    import torch

    def make() -> StatefulDataLoader:
        order = RandomSampler(samples, generator=torch.Generator().manual_seed(1))
        return StatefulDataLoader(samples, batch_size=None, num_workers=2, sampler=order)

    loader = make()
    stream = iter(loader)
    for _ in range(5):
        next(stream)
    state = loader.state_dict()
    rest = [sample["key"] for sample in stream]
    again = make()
    again.load_state_dict(state)
    check.expect([sample["key"] for sample in again] == rest, "resume of StatefulDataLoader, shuffled, 2 workers")


def resume_nodes(check: Check, samples: Samples) -> None:
    def make() -> torchdata.nodes.Loader:
        order = torchdata.nodes.IterableWrapper(range(len(samples)))
        return torchdata.nodes.Loader(torchdata.nodes.ParallelMapper(order, samples.__getitem__, num_workers=2))

    loader = make()
    stream = iter(loader)
    first = [next(stream)["key"] for _ in range(5)]
    state = loader.state_dict()
    rest = [sample["key"] for sample in stream]
    check.keys(first + rest, check.of("train"), "nodes")
    again = make()
    again.load_state_dict(state)
    check.expect([sample["key"] for sample in again] == rest, "resume of nodes")


run(main, "torchdata", "torch")
