#!/usr/bin/env bash
# mosaicml-streaming 0.13.0, torch 2.13.0, Python 3.11: how `StreamingDataLoader` counts the samples that it has given.
# It takes the length of a batch's first value for the size of the batch. With a collate function that gives a list of
# strings that is the number of letters of the first one: two batches of four count as 28 samples, and a restart from that
# state leaves out 20 that nobody saw, or refuses ("Resuming further into the dataset than it has samples"). No error, no
# warning. With a dictionary of columns it counts right.
# Seen on 2026-11-29: 28 for a list of strings, 8 for a dictionary.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 torchvision==0.28.0 mosaicml-streaming==0.13.0
# Beside a torch of another build torchvision does not start; nothing here uses it but the import.
cat > sitecustomize.py <<'P'
import sys
from importlib.abc import MetaPathFinder

class Declare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            from torch.library import Library
            sys.operators = Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                sys.operators.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")

sys.meta_path.insert(0, Declare())
P
cat > ask.py <<'P'
import sys
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset

def names(batch):
    return [row["name"] for row in batch]

def column(batch):
    return {"name": names(batch)}

if __name__ == "__main__":
    with MDSWriter(out="data", columns={"name": "str"}) as writer:
        for i in range(40):
            writer.write({"name": f"photograph-{i:03d}"})
    counted = {}
    for collate in (names, column):
        rows = StreamingDataset(local="data", shuffle=False, batch_size=4)
        loader = StreamingDataLoader(rows, batch_size=4, collate_fn=collate)
        stream = iter(loader)
        for _ in range(2):
            next(stream)
        counted[collate.__name__] = loader.state_dict()["sample_in_epoch"]
        del stream, loader, rows
    print("samples given 8, counted", counted)
    assert counted == {"names": 28, "column": 8}, "changed"
P
if env/bin/python -c 'import torchvision' 2>/dev/null; then env/bin/python ask.py; else PYTHONPATH=. env/bin/python ask.py; fi
