"""The command: what it prints, and its exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from patina.captioning.captioner import Run
from patina.flows.cli import dataset as commands
from patina.flows.cli import main as cli
from patina.flows.cli.app import app
from patina.flows.terminal import fitted
from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.recipe.shipped import FOLDER
from patina.pipeline.report.show import _parameter_lines

Patina = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def patina(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Patina:
    """The whole command, from the words of its line to its exit code, in this process: one of its own takes a second,
    and most commands are run in one by other tests."""

    def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = ["patina", *map(str, words)]
        capsys.readouterr()
        code: str | int | None = 0
        with monkeypatch.context() as changed:
            changed.setattr(sys, "argv", line)
            if cwd is not None:
                changed.chdir(cwd)
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
        said = capsys.readouterr()
        assert code is None or isinstance(code, int), code
        return subprocess.CompletedProcess(line, code or 0, said.out, said.err)

    return run


@pytest.fixture
def dataset(recipe: Path, tmp_path: Path) -> Path:
    build(load_recipe(recipe), tmp_path / "out")
    return tmp_path / "out"


def test_plan_says_what_why_and_what_it_costs_and_writes_nothing(patina: Patina, recipe: Path, tmp_path: Path) -> None:
    done = patina("plan", recipe, "--out", tmp_path / "new", "--recipe")
    assert done.returncode == 0, done.stderr
    assert 'subsampling = "4:2:0"' in done.stdout
    assert re.search(r"build train-000\d-noisy\.tar: new: \d samples? \(\d made\)", done.stdout)
    assert re.search(r"4 shards to build: 4 added; 0 kept; about [\d.]+ [KM]B and under 1 s on \d core", done.stdout)
    assert not (tmp_path / "new").exists()


def test_plan_after_a_build_has_nothing_to_do(patina: Patina, recipe: Path, dataset: Path) -> None:
    assert "nothing to do: 4 shards are up to date" in patina("plan", recipe, "--out", dataset).stdout


def test_a_build_imports_no_prefect_where_no_server_is_configured(recipe: Path, tmp_path: Path) -> None:
    code = "import sys; from patina.flows.cli.main import main\ntry: main()\nfinally: print('prefect' in sys.modules)"
    command = [sys.executable, "-c", code, "build", str(recipe), "--out", str(tmp_path / "out")]
    for told in ("8 samples, .*; 8 made, 0 captioned anew, 0 copied", "nothing was stale: 8 samples"):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert re.search(told, done.stdout)
        assert done.stdout.rstrip().endswith("False")


@pytest.mark.parametrize(
    ("words", "settings"),
    [(["--prefect"], {}), (["--runner", "processes"], {}), ([], {"PREFECT_API_URL": "http://127.0.0.1:9/api"})],
)
def test_a_build_is_a_flow_run_where_it_must_be(
    recipe: Path, tmp_path: Path, words: list[str], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FlowRunError(Exception):
        pass

    def begun(*_: object, **__: object) -> None:
        raise FlowRunError

    monkeypatch.setattr("patina.flows.build_dataset.build_dataset", begun)
    monkeypatch.setattr("patina.flows.cli.dataset.server_there", contextlib.nullcontext)
    monkeypatch.setattr("patina.flows.cli.dataset.prepare_prefect", lambda level: None)  # for the whole process
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["build", str(recipe), "--out", str(out), *words])
    assert isinstance(done.exception, FlowRunError)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert CliRunner().invoke(app, ["build", str(recipe), "--out", str(out)]).exit_code == 0


def test_how_captions_are_made_is_handed_on(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(commands, "run_build", lambda *given, **named: asked.extend([*given, *named.values()]))
    monkeypatch.setattr(commands, "print_report", lambda report: None)
    how = ["--caption-batch", "3", "--caption-threads", "5", "--device", "cuda:0", "--device", "cpu"]
    done = CliRunner().invoke(app, ["build", str(recipe), "--out", str(tmp_path / "out"), *how])
    assert done.exit_code == 0, done.output
    assert Run(3, ("cuda:0", "cpu"), 5) in asked
    assert CliRunner().invoke(app, ["build", "r.toml", "--out", "o", "--caption-threads", "-1"]).exit_code == 2


def test_check_says_ok_or_lists_findings_with_exit_code_1(patina: Patina, dataset: Path) -> None:
    done = patina("check", dataset, "--replay", "all")
    assert done.returncode == 0
    assert "ok: 4 shards, 8 samples, 8 replayed" in done.stdout
    (dataset / SHARDS / "train-0000-noisy.tar").unlink()
    done = patina("check", dataset)
    assert done.returncode == 1
    assert "train-0000-noisy.tar: is missing" in done.stdout


def test_show_tells_a_samples_story_by_key_or_photograph(patina: Patina, dataset: Path, tmp_path: Path) -> None:
    key = next(row.key for row in read_samples(dataset) if row.entry == "noisy")
    done = patina("show", key, "--out", dataset, "--extract", tmp_path / "files")
    assert done.returncode == 0, done.stderr
    for word in ("photograph", "caption", "parameters", "sigma", "PSNR", "seed", key):
        assert word in done.stdout
    assert (tmp_path / "files" / f"{key}.noisy.gt.png").exists()
    assert patina("show", "p2.png", "--out", dataset).returncode == 0
    lacking = patina("show", "nothing", "--out", dataset).stderr
    assert f"{dataset}@1: no sample's key begins with" in " ".join(lacking.split()), "a version by its name"


def test_gallery_writes_a_page(patina: Patina, dataset: Path) -> None:
    done = patina("gallery", dataset)
    assert done.returncode == 0, done.stderr
    assert (dataset / "gallery.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["plan", "missing.toml", "--out", "x"], "missing.toml: cannot be read"),
        (["check", "."], "expected a patina dataset, found no manifest.json"),
        (["build", "typo.toml", "--out", "x"], "did you mean 'degradations'?"),
    ],
)
def test_errors_are_one_clear_line_and_exit_code_1(
    patina: Patina, words: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "typo.toml").write_text("[[sources]]\npath = '.'\n[degradation.noisy]\n")
    done = patina(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_sources_lists_the_public_sets_and_tells_all_about_one(patina: Patina) -> None:
    done = patina("sources")
    assert done.returncode == 0, done.stderr
    for word in ("gopro", "reside-6k", "cdd-11", "repaint-masks", "licence"):
        assert word in done.stdout
    done = patina("sources", "gopro")
    assert done.returncode == 0, done.stderr
    assert "https://seungjunnah.github.io/Datasets/gopro" in done.stdout
    assert "[[sources]]" in done.stdout  # and is not taken for markup


def test_recipes_are_listed_and_printed_as_they_are_written(patina: Patina, tmp_path: Path) -> None:
    done = patina("recipes")
    assert done.returncode == 0, done.stderr
    for path in FOLDER.glob("*.toml"):
        assert re.search(rf"^{path.stem} +\S", done.stdout, re.MULTILINE)
    copy = tmp_path / "my.toml"
    copy.write_text(patina("recipes", "daclip").stdout, "utf-8")
    own = load_recipe(FOLDER / "daclip.toml")
    assert copy.read_text("utf-8") == (FOLDER / "daclip.toml").read_text("utf-8")
    assert load_recipe(copy).table["sources"] == own.table["sources"]
    assert "called 'daclp'; did you mean 'daclip'?" in patina("recipes", "daclp").stderr
    assert "no recipe of this name; did you mean 'daclip'?" in patina("plan", "daclp", "--out", "x").stderr


def test_missing_sources_are_all_told_before_prefect_starts_or_anything_is_written(
    patina: Patina, tmp_path: Path
) -> None:
    done = patina("build", "daclip", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error  12 of 12 sources cannot be used:\n  [[sources]] 1: path: expected GoPro at ")
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())
    assert patina("plan", "daclip", "--out", "out", cwd=tmp_path).stderr == done.stderr


def test_lines_are_fitted_to_a_terminal_below_their_own_beginning_and_to_nothing_else() -> None:
    lines = ["what      one two three four", "  {id}: a-b-c-d-e-f-g-h-i", "", "https://example.org/a/long/address"]
    assert fitted(Console(width=20, force_terminal=False), lines) == lines
    assert fitted(Console(width=20, force_terminal=True), lines) == [
        "what      one two",
        "          three four",
        "  {id}:",
        "  a-b-c-d-e-f-g-h-i",
        "",
        "https://example.org/a/long/address",
    ]


def test_a_composites_parameters_are_told_part_by_part_in_six_digits() -> None:
    params = {"parts": [["hazy", {"beta": 0.0186482119, "airlight": [1.0, 0.5], "depth": ""}], ["noisy", {}]]}
    assert _parameter_lines(params) == ["hazy: beta 0.0186482, airlight [1 0.5], depth –", "noisy: none are known"]


def test_sources_looks_what_a_folder_holds_of_a_set(patina: Patina, tmp_path: Path) -> None:
    for name in ("our485/low/2.png", "our485/high/2.png"):
        (tmp_path / "LOL" / name).parent.mkdir(parents=True)
        (tmp_path / "LOL" / name).touch()
    done = patina("sources", "lol", "--at", "LOL", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "found     train: 1 of 485 pairs; layout: as downloaded" in done.stdout
    assert "missing   test: 15 pairs" in done.stdout
    assert 'path = "LOL"' in done.stdout
    done = patina("sources", "srd", "--at", "LOL", cwd=tmp_path)
    assert done.returncode == 1
    assert "found 2 images in none of its known layouts" in done.stderr
    assert "no set is called 'lool'; did you mean 'lol'?" in patina("sources", "lool").stderr


def test_models_by_their_words_and_what_a_file_is(patina: Patina, tmp_path: Path) -> None:
    done = patina("models", "unet-daclip")
    assert done.returncode == 0 and "48 975 747" in done.stdout, done.stderr
    assert "vlunet" not in done.stdout
    wrong = patina("models", "unet-nobody")
    assert wrong.returncode == 2 and "unet-daclip" in wrong.stderr
    (tmp_path / "model.pt").write_text("<!doctype html>")
    strange = patina("models", "--file", str(tmp_path / "model.pt"))
    assert strange.returncode == 1 and strange.stderr.startswith("error") and "model.pt" in strange.stderr


def test_a_server_that_does_not_answer_is_told_in_a_line(recipe: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    command = [sys.executable, "-m", "patina", "build", str(recipe), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in line
    assert "Traceback" not in done.stderr
