"""GNU tar, and Python's tarfile: all shards into one folder lose no file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import Check, run


def main(check: Check) -> None:
    out = check.scratch / "files"
    out.mkdir()
    # how
    # for shard in shards/*.tar; do tar -xf "$shard" -C FILES; done
    # end
    for path in check.tars():
        subprocess.run(["tar", "-xf", path, "-C", str(out)], check=True)
    files = list(out.iterdir())
    members = sum(len(sample["members"]) + 2 for sample in check.samples.values())
    check.expect(len(files) == members, f"{members} members give {len(files)} files")
    found: dict[str, dict] = {}
    for path in files:
        key, _, name = path.name.partition(".")
        found.setdefault(key, {})[name] = path.read_bytes()
    samples = [{"key": key, "caption": m["txt"].decode(), "members": m} for key, m in found.items()]
    check.samples_equal(samples, check.of(), "one folder")
    strided(check)


def strided(check: Check) -> None:
    names = sorted(Path(path).name for path in check.tars("train"))
    counts = [sum(check.shards[name] for name in names[rank::2]) for rank in range(2)]
    check.expect(True, f"`sorted(train shards)[rank::2]` ({counts[0]} and {counts[1]})")


run(main)
