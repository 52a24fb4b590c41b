"""What a command imports before it does anything: a plan of 0.4 s has no time for libraries that it needs not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.making import photos

NEVER = {
    "prefect",
    "torch",
    "transformers",
    "datasets",
    "fsspec",
    "huggingface_hub",
    "multiprocessing",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyarrow.parquet",
    "patina.captioning.batches",
    "patina.pipeline.export.remote_output",
    "patina.pipeline.sources.presets",
    "patina.training",
}
"""What a plan of a folder does without: what captions, reads and writes tables; hubs, presets, engines, training."""

HEAVY = NEVER | {"numpy", "cv2", "PIL", "pyarrow", "patina.pipeline.plan", "patina.synth.degradations"}

RUN = """
import json, sys
from patina.flows.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)))
"""


def imported(*arguments: str, folder: Path) -> set[str]:
    """The modules that a command has imported when it ends, by a process of its own."""
    call = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    assert sorted(imported("--help", folder=tmp_path) & HEAVY) == []


@pytest.mark.slow
@pytest.mark.parametrize("built", [False, True], ids=["new", "built"])
def test_a_plan_imports_nothing_that_it_needs_not(tmp_path: Path, built: bool) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "r.toml").write_text("[[sources]]\npath = 'photos'\n[degradations.noisy]\n", "utf-8")
    if built:
        code = "from pathlib import Path\nfrom patina.pipeline.builder.build import build\n"
        code += "from patina.pipeline.recipe.parse import load_recipe\nbuild(load_recipe(Path('r.toml')), Path('out'))"
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = imported("plan", "r.toml", "--out", "out", folder=tmp_path)
    assert "patina.pipeline.plan" in found
    assert sorted(found & NEVER) == []
