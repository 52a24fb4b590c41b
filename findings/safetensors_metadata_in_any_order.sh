#!/usr/bin/env bash
# safetensors 0.8.0, Python 3.11: a file of the same tensors with the same metadata, written by several processes.
# The tensors are sorted, so that they always lie in the same places. The strings of `metadata` go through a hash table with
# a seed of its own in each process, and are written as it lists them: with two strings or more, the header and so the file's
# digest differ from run to run, and within a run too. PYTHONHASHSEED does not matter: the table is Rust's. With one string,
# or none, the bytes are always the same.
# For whoever publishes weights or latents by digest: put everything into one string, such as sorted JSON, or compare digests
# of tensors; a cache that is keyed by the file's digest is never hit.
# Seen on 2026-11-29: of 24 files with 8 strings 24 are different, of those with one string all are the same.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cat > write.py <<'P'
import hashlib
import json
import numpy as np
from safetensors import numpy as store

tensors = {name: np.arange(6, dtype=np.float32) for name in "cab"}
notes = {name: name.upper() for name in ("base", "epoch", "format", "licence", "network", "recipe", "seed", "step")}
for name, metadata in (("eight", notes), ("one", {"notes": json.dumps(notes, sort_keys=True)}), ("none", None)):
    data = store.save(tensors, metadata=metadata)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header.pop("__metadata__", None) == metadata and list(header) == ["a", "b", "c"]
    print(name, hashlib.sha256(data).hexdigest()[:16])
P
for _ in $(seq 24); do PYTHONHASHSEED=0 env/bin/python write.py; done > seen
different() { grep "^$1 " seen | sort -u | wc -l; }
echo "different files of 24: $(different eight) with 8 strings, $(different one) with one, $(different none) with none"
[ "$(different one)" = 1 ] && [ "$(different none)" = 1 ] || { echo "changed: files with one string differ"; exit 1; }
[ "$(different eight)" -gt 1 ] || { echo "changed: files with eight strings are the same"; exit 1; }
