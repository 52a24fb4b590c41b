"""Whatever lies in the current folder, patina and what it starts find patina and its libraries, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tomli_w

from patina import children
from patina.pipeline.format.manifest import load_manifest
from patina.training.jobs.stage import LaunchOptions, command
from tests.pipeline.making import photos
from tests.training.running import STAGES, small_dataset

SHADOWS = (
    "training/__init__.py", "pipeline.py", "flows/__init__.py", "synth.py", "captioning/__init__.py",
    "patina.py", "random.py", "json.py", "prefect.py", "torch.py", "numpy/__init__.py", "uvicorn.py", "accelerate.py",
)  # fmt: skip
"""Files of a user's that have the names of patina's folders, of patina, and of what both stand on."""

FORBIDDEN = "raise ImportError(f'{__file__} was imported')\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of such files, each of which says so if it is imported."""
    folder = tmp_path / "mine"
    for name in SHADOWS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(FORBIDDEN)
    return folder


def patina(folder: Path, *words: object, server: dict[str, str] | None = None) -> None:
    """Run the installed command, or what does as it does where there is none, in a folder; it must succeed."""
    script = Path(sys.executable).parent / "patina"
    begin = [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "patina"]
    environment = {**(server or os.environ), "PYTHONPATH": str(children.ROOT)}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [*begin, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def what_a_child_imports(start: str, folder: Path, *begin: str) -> list[str]:
    """What a process that is started from `folder` imports as `json` and `patina`; `start` is Python that starts it."""
    code = (
        f"import sys; sys.path.insert(0, {str(children.ROOT)!r}); import subprocess; from patina import children\n"
        "say = 'import json, patina; print(json.__file__); print(patina.__file__)'\n" + start
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        [sys.executable, *begin, "-P", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


STARTS = {
    "by its command": "subprocess.run([*children.python(), '-c', say], env=children.environment(), check=True)",
    "by its environment alone": "subprocess.run([sys.executable, '-c', say], env=children.environment(), check=True)",
    "by a process between": "grandchild = [sys.executable, '-c', say]\n"
    "between = f'import subprocess; subprocess.run({grandchild}, check=True)'\n"
    "subprocess.run([*children.python(), '-c', between], env=children.environment(), check=True)",
    "within": "with children.inherited(): subprocess.run([sys.executable, '-c', say], check=True)",
    "from now on": "children.inherit(); subprocess.run([sys.executable, '-c', say], check=True)",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_child_gets_the_patina_of_its_parent_and_the_standard_library(start: str, foreign: Path) -> None:
    assert what_a_child_imports(start, foreign) == [json.__file__, str(children.ROOT / "patina" / "__init__.py")]


def test_a_process_that_is_started_as_usual_fails_there(foreign: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        what_a_child_imports("subprocess.run([sys.executable, '-c', say], check=True)", foreign)
    assert "json.py was imported" in raised.value.stderr


def test_the_environment_is_as_it_was_once_the_last_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "somewhere"]))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with children.inherited():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with children.inherited():
        thread.start()
        assert entered.wait(10)
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(children.ROOT), "somewhere"]
        assert children.environment(PATINA_PARENT="1") == {**os.environ, "PATINA_PARENT": "1"}
    assert os.environ["PYTHONSAFEPATH"] == "1", "one is within it still"
    leave.set()
    thread.join()
    assert dict(os.environ) == before


def test_an_installed_package_adds_no_place_to_import_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder holds all packages, and on PYTHONPATH they would stand before the standard library."""
    monkeypatch.setattr("site.getsitepackages", lambda: [str(children.ROOT)])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "PYTHONPATH" not in children.environment()
    monkeypatch.setenv("PYTHONPATH", "")
    assert children.environment()["PYTHONPATH"] == ""


@pytest.mark.parametrize("device", [LaunchOptions(cpu=True), LaunchOptions(cpu=True, processes=2), LaunchOptions()])
def test_every_command_of_a_stage_begins_so(device: LaunchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert command(Path("job"), device)[:3] == [sys.executable, "-P", "-m"]


def recipe_in(folder: Path) -> Path:
    photos(folder / "photos", 4)
    (folder / "recipe.toml").write_text("buckets = 2\n[[sources]]\npath = 'photos'\n[degradations.noisy]\n")
    return folder / "recipe.toml"


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["threads", "processes", "dask", "ray"])
def test_a_dataset_is_built_from_there(
    runner: str, foreign: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By `processes`, with an API of its own, which that one starts; by others, with a server: it saves ten seconds."""
    wanted = {"threads": "", "processes": "prefect_alone"}.get(runner, "prefect_server")
    server = request.getfixturevalue(wanted) if wanted else None
    out = tmp_path / "dataset"
    patina(foreign, "build", recipe_in(foreign), "--out", out, "--runner", runner, "--workers", 2, server=server)
    built = load_manifest(out)
    assert built is not None and sum(shard.count for shard in built.shards) == 4


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_stage_is_trained_and_evaluated_from_there(processes: int, foreign: Path, tmp_path: Path) -> None:
    dataset, run, plan = small_dataset(tmp_path), tmp_path / "run", tmp_path / "plan"
    plan.mkdir()
    (plan / "adapter.toml").write_text(tomli_w.dumps(STAGES["adapter"]))
    words = ["--plan", plan, "--cpu", "--processes", processes, "--workers", 1]
    patina(foreign, "train", dataset, "--run", run, *words)
    assert (run / "adapter" / "model.safetensors").is_file()
    if processes == 1:
        patina(foreign, "evaluate", run, dataset, "--cpu", "--per-entry", 1)
        assert (run / "adapter" / "evaluation.json").is_file()
