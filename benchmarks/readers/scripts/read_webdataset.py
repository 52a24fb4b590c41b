"""webdataset on the shards as they are: pairs, captions, truth maps; many workers; two nodes."""

from __future__ import annotations

import io
import os

import numpy
import webdataset
from common import Check, decoded, run
from PIL import Image
from torch.utils.data import DataLoader

SPARSE = {} if webdataset.__version__.startswith("0.2") else {"empty_check": False}
"""Lets a worker be that gets no shard; 0.2 always lets it."""


# how
def decode(name: str, data: bytes):
    """Images by Pillow, which keeps 16 bits; None leaves all else to webdataset."""
    return numpy.asarray(Image.open(io.BytesIO(data))) if name.endswith((".png", ".jpg")) else None
    # end


def sample_of(found: dict) -> dict:
    members = {name: body for name, body in found.items() if not name.startswith("__")}
    return {"key": found["__key__"], "caption": members["txt"], "members": members}


def main(check: Check) -> None:
    shards = check.tars("train")
    # how
    samples = webdataset.WebDataset(shards, shardshuffle=False).decode(decode)
    # end
    check.samples_equal([sample_of(found) for found in samples], check.of("train"), "train")
    spread(check, webdataset.WebDataset(shards, shardshuffle=False, **SPARSE).decode(decode))
    many = webdataset.WebDataset(shards, shardshuffle=100, **SPARSE).shuffle(50).decode(decode)
    check.keys([found["__key__"] for found in many], check.of("train"), "shuffled")
    nodes(check, shards)
    grouped(check)
    mind(check)


def spread(check: Check, samples: webdataset.WebDataset) -> None:
    workers = len(check.tars("train")) + 3
    loader = DataLoader(samples, batch_size=None, num_workers=workers)
    check.keys([found["__key__"] for found in loader], check.of("train"), f"{workers} workers for {workers - 3} shards")


def nodes(check: Check, shards: list[str]) -> None:
    counts, keys = [], []
    for rank in range(2):
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
        data = webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=webdataset.split_by_node, **SPARSE)
        got = [found["__key__"] for found in data]
        counts.append(len(got))
        keys += got
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1"}
    check.keys(keys, check.of("train"), f"two nodes ({counts[0]} and {counts[1]})")


def grouped(check: Check) -> None:
    """Batches of shards whose samples have the same members."""
    kinds = check.kinds("train")
    keys = []
    for shards in kinds.values():
        data = webdataset.WebDataset(shards, shardshuffle=False, **SPARSE)
        if SPARSE:
            keys += [key for batch in data.batched(4) for key in batch["__key__"]]
        else:  # 0.2 makes batches of tuples alone
            keys += [key for batch in data.to_tuple("__key__", "txt").batched(4) for key in batch[0]]
    check.keys(keys, check.of("train"), f"`.batched()` of {len(kinds)} kinds of shards")


def mind(check: Check) -> None:
    """What its own decoders make of a map of 16 bits."""
    shards = check.kinds("train")["hazy.tar"]
    first = next(iter(webdataset.WebDataset(shards, shardshuffle=False).decode("pil")))
    raw = next(iter(webdataset.WebDataset(shards, shardshuffle=False)))
    name = next(name for name in raw if name.endswith("transmission.png"))
    found, whole = numpy.asarray(first[name]), decoded(raw[name])
    if whole.dtype.itemsize > 1 and found.dtype != whole.dtype:
        seen = float(found[..., :3].mean() / 255)
        check.mind(
            f"its own decoders (`pil`, `rgb8`, `torchrgb`) clip maps of 16 bits at 255: a transmission of "
            f"{whole.mean() / 65535:.3f} reads as {seen:.3f}; decode with `patina.wds_decoder`, or by Pillow, as here"
        )


run(main, "webdataset")
