"""What a command imports before it does anything: a plan of 0.3 s has no time for libraries that it needs not."""

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

NOT_FOR_THE_BUILT = NEVER | {
    "cv2",
    "PIL.Image",
    "PIL.ImageOps",
    "numpy.random",
    "pyarrow",
    "pydantic",
    "rich.progress",
    "asyncio",
    "email",
    "http",
    "importlib.metadata",
    "patina.flows.terminal_bar",
    "patina.captioning.blip",
    "patina.pipeline.builder.estimate",
    "patina.pipeline.codec.fingerprint",
    "patina.pipeline.format.card",
    "patina.pipeline.format.statistics",
    "patina.pipeline.sources.huggingface",
    "patina.pipeline.sources.webdataset",
    "patina.synth.degradations.hazy",
    "patina.synth.degradations.rainy",
}
"""What is needed where something is to be made, or a setting is to be checked, and not where all is as it should be:
codecs, tables, the fingerprint of the codecs, other sources and degradations than the recipe has."""

HEAVY = NOT_FOR_THE_BUILT | {"numpy", "PIL", "patina.pipeline.plan", "patina.synth.degradations"}

RUN = """
import json, sys
from patina.flows.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
from patina.later import Later
print(json.dumps(sorted(name for name, module in sys.modules.items() if not isinstance(module, Later))))
"""


def imported(*arguments: str, folder: Path) -> set[str]:
    """The modules whose code a command has run when it ends, by a process of its own."""
    call = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], ["plan", "--help"], ["watch", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    assert sorted(imported(*words, folder=tmp_path) & HEAVY) == []


def test_the_version_is_told_without_typer_and_rich(tmp_path: Path) -> None:
    assert sorted(imported("--version", folder=tmp_path) & (HEAVY | {"typer", "rich", "inspect"})) == []


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
    assert sorted(found & (NOT_FOR_THE_BUILT if built else NEVER)) == []
