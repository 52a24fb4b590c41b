"""NVIDIA DALI on the shards as they are, on a CPU; and what NeMo Curator, which reads by it, sees of them."""

from __future__ import annotations

import json

from common import Check, run
from nvidia.dali import fn, pipeline_def


# how
@pipeline_def(batch_size=1, num_threads=1, device_id=None)
def samples(shards: list[str], members: list[str], missing: str, rank: int = 0, ranks: int = 1):
    """The members' bytes; `fn.decoders.image` makes pixels of them."""
    asked = {"paths": shards, "ext": members, "missing_component_behavior": missing}
    parts = fn.readers.webdataset(**asked, shard_id=rank, num_shards=ranks, pad_last_batch=False)
    return tuple(parts) if len(members) > 1 else parts
    # end


def main(check: Check) -> None:
    shards = check.tars("train")
    pictures = sorted({name for sample in check.of("train").values() for name in sample["members"]})
    members = ["txt", "json", *pictures]  # what a sample lacks is empty
    check.samples_equal(read(shards, members), check.of("train"), "train")
    halves = [read(shards, members, rank, 2) for rank in range(2)]
    both = [sample["key"] for half in halves for sample in half]
    check.keys(both, check.of("train"), f"two ranks ({len(halves[0])} and {len(halves[1])})")
    # how
    pair = ["png;jpg", "gt.png;gt.jpg", "txt"]  # LQ, GT and caption, whichever file they are
    # end
    count = size(samples(shards, pair, "error"))
    check.expect(count == len(check.of("train")), f"`{pair}` of {count} samples")
    count = size(samples(shards, ["jpg"], "skip"))  # the call of NeMo Curator's ImageReaderStage
    expected = sum("jpg" in sample["members"] for sample in check.of("train").values())
    check.expect(count == expected, f"`['jpg']`, for which NeMo Curator asks, of {count} samples, whose LQ is a JPEG")


def read(shards: list[str], members: list[str], rank: int = 0, ranks: int = 1) -> list[dict]:
    pipe = samples(shards, members, "empty", rank, ranks)
    total, found = size(pipe), []
    first, last = total * rank // ranks, total * (rank + 1) // ranks
    for _ in range(last - first):
        bodies = {name: bytes(part.at(0)) for name, part in zip(members, pipe.run(), strict=True)}
        there = {name: body for name, body in bodies.items() if body and name not in {"txt", "json"}}
        found.append({"key": json.loads(bodies["json"])["key"], "caption": bodies["txt"].decode(), "members": there})
    return found


def size(pipe) -> int:
    pipe.build()
    (count,) = pipe.epoch_size().values()
    return count


run(main, "nvidia-dali-cuda130")
