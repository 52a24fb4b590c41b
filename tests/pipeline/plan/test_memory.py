"""What a plan of many photographs holds for each of them, all of its own stores' work included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOST = 900
"""Bytes a photograph: its name and path as texts of Python, while folders are listed, are 250; its columns are 130;
and nearly as much goes and comes."""

CHILD = """
import hashlib, json, sys, time
from dataclasses import asdict
from pathlib import Path
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.scan.digests import in_short, inspector_id
from patina.pipeline.scan.source import ImageInfo

def peak():  # of this program alone: ru_maxrss begins with what its parent had
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

folder, count = Path(sys.argv[1]), int(sys.argv[2])
photos, private = folder / "photos", folder / "out" / ".patina"
photos.mkdir(parents=True)
private.mkdir(parents=True)
with ScanStore(private / "scan.sqlite") as store:  # as a scan of true photographs would leave it
    for start in range(0, count, 1000):
        files, looks, short = [], [], {}
        for i in range(start, start + 1000):
            path = photos / f"{i:09d}.jpg"
            path.touch()
            digest = hashlib.sha256(str(i).encode()).hexdigest()
            files.append((str(path), path.stat(), digest))
            info = ImageInfo("", 768, 512, "jpg", (100.125 + i % 97, 110.5, 120.25), digest[:16])
            looks.append((digest, inspector_id(), json.dumps(asdict(info))))
            short[digest] = in_short(info)
        store.put(files, looks, short, settled=True)
recipe = parse_recipe({"sources": [{"path": str(photos)}], "degradations": {"noisy": {}, "hazy": {}}}, folder, "many")
with Stores.open(folder / "out") as stores:
    planned = plan_from_stores(recipe, folder / "out", stores, Options())
assert len(planned.wanted.sources) == count and planned.scan.hashed == 0
print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from Linux's /proc")
def test_a_photograph_adds_little_to_a_plan(tmp_path: Path) -> None:
    few, many = 4_000, 24_000

    def peak(count: int) -> int:
        command = [sys.executable, "-c", CHILD, str(tmp_path / str(count)), str(count)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return int(ended.stdout)

    added = (peak(many) - peak(few)) / (many - few)
    assert 100 < added < MOST, "names and digests alone are 100 bytes"
