"""A first recipe, how much a command tells, and what `patina --help` lists."""

from __future__ import annotations

import logging
import os
import tomllib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import typer
from typer.testing import CliRunner

from patina.flows.cli import command, output
from patina.flows.cli.app import app
from patina.flows.cli.commands import COMMANDS
from patina.pipeline.errors import RecipeError, SourceError
from patina.pipeline.hashing import file_sha256
from patina.pipeline.recipe import first
from patina.pipeline.recipe.first import first_recipe, look
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.recipe.shares import is_far
from patina.synth.degradations import DACLIP_DEGRADATIONS


def photographs(folder: Path, count: int = 3, side: int = 48) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        levels = np.random.default_rng(i).integers(0, 256, (side, side + 8, 3), np.uint8)
        PIL.Image.fromarray(levels).save(folder / f"{i}.png")
    return folder


def written(photos: Path, recipe: Path) -> str:
    recipe.write_text(first_recipe(photos, look(photos), recipe), "utf-8")
    load_recipe(recipe)  # it is one
    return recipe.read_text("utf-8")


def test_a_folder_of_photographs_undergoes_the_ten(tmp_path: Path) -> None:
    text = written(photographs(tmp_path / "mine"), tmp_path / "recipe.toml")
    table = tomllib.loads(text)
    assert table["sources"] == [{"path": "mine"}]
    assert list(table["degradations"]) == list(DACLIP_DEGRADATIONS)
    assert table["captions"] == {"kind": "template"}
    assert "tiles" not in table and "48 px" in text


def test_large_photographs_are_cut_and_captions_are_taken(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "mine", count=2, side=520)
    (photos / "0.txt").write_text("a field")
    table = tomllib.loads(written(photos, tmp_path / "recipe.toml"))
    assert table["tiles"] == {"size": 256}
    assert table["captions"] == {"kind": "sidecar", "fallback": "template"}


@pytest.mark.parametrize(
    ("pictures", "side", "buckets"),
    [
        (3, 48, 1),
        (90, 48, 1),  # ten degradations of 90 photographs are ten shards' worth, and one of each degradation
        (120, 48, {"train": 2, "val": 1}),  # 108 for training, by 50 in a shard
        (1100, 48, {"train": 19, "val": 2}),
        (10, 1024, {"train": 2, "val": 1}),  # 16 tiles each
        (10, 1000, {"train": 2, "val": 1}),  # and 16 of what is no multiple of a tile
    ],
)
def test_buckets_are_of_each_degradation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: int, side: int, buckets: int | dict[str, int]
) -> None:
    monkeypatch.setattr(first, "SAMPLES_A_SHARD", 50)
    folder = photographs(tmp_path / "mine", 1, 16)
    for i in range(pictures):
        PIL.Image.new("RGB", (side, side), (i % 256, i // 256, 0)).save(folder / f"{i}.png")
    assert tomllib.loads(written(folder, tmp_path / "recipe.toml"))["buckets"] == buckets


def test_buckets_of_pairs_count_pairs_of_one_degradation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders of rain and one of haze, with 40 pairs each, are 80 samples of the one and 40 of the other."""
    monkeypatch.setattr(first, "SAMPLES_A_SHARD", 25)
    for scene in ("rain/a", "rain/b", "haze/c"):
        for side in ("lq", "gt"):
            photographs(tmp_path / "mine" / scene / side, 40, 16)
    table = tomllib.loads(written(tmp_path / "mine", tmp_path / "recipe.toml"))
    assert [source["degradation"] for source in table["sources"]] == ["hazy", "rainy", "rainy"]
    assert table["buckets"] == {"train": 2, "val": 1}


@pytest.mark.parametrize(
    ("folder", "lq", "gt", "word"),
    [
        ("night", "low", "gt", "low-light"),
        ("set", "rain", "norain", "rainy"),
        ("raindrop", "input", "clean", "raindrop"),
        ("mine", "lq", "gt", "degraded"),
    ],
)
def test_pairs_are_seen_and_named(tmp_path: Path, folder: str, lq: str, gt: str, word: str) -> None:
    photographs(tmp_path / folder / lq)
    photographs(tmp_path / folder / gt)
    text = written(tmp_path / folder, tmp_path / "recipe.toml")
    table = tomllib.loads(text)
    assert table["sources"] == [{"kind": "pairs", "lq": f"{folder}/{lq}", "gt": f"{folder}/{gt}", "degradation": word}]
    assert "degradations" not in table
    assert ("Change this" in text) == (word == "degraded")


def test_a_public_set_that_is_all_there_is_named(tmp_path: Path) -> None:
    root = tmp_path / "LOL"
    for side in ("low", "high"):
        photographs(root / "eval15" / side, count=15)
    table = tomllib.loads(written(root, tmp_path / "recipe.toml"))
    (source,) = table["sources"]
    assert (source["kind"], source["name"], source["path"]) == ("preset", "lol", "LOL")
    assert "split" not in table and table["buckets"] == 1


def test_a_path_outside_the_recipes_folder_is_absolute(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "a")
    (tmp_path / "b").mkdir()
    table = tomllib.loads(written(photos, tmp_path / "b" / "recipe.toml"))
    assert table["sources"] == [{"path": photos.as_posix()}]


def test_few_photographs_are_split_as_the_recipe_says(tmp_path: Path) -> None:
    """`val = 0.1` gave none of a dozen photographs in every third folder, and a plan complained of a first recipe. But
    what all later photographs go by is no share that only the digests of a handful ask for."""
    shares, told = set(), set()
    for start, count in ((0, 2), (100, 3), (200, 6), (300, 13), (400, 13), (500, 13), (600, 29), (700, 47)):
        folder = tmp_path / str(start)
        folder.mkdir()
        for i in range(count):
            (folder / f"{i}.png").write_bytes(f"{start + i}".encode())  # a side follows from the bytes alone
        text = written(folder, tmp_path / "recipe.toml")
        split = load_recipe(tmp_path / "recipe.toml").split
        digests = [file_sha256(path) for path in folder.iterdir()]
        held = [split.side(digest) for digest in digests].count("val")
        assert split.val <= 0.3
        if held:
            assert not is_far(held, count, 0.1), split
            assert f"# {held} of these {count}" in text
        else:
            least = min(split.place(digest) for digest in digests)
            assert split.val == 0.1 and least > 0.3, "a larger share was the only one"
            assert f"none of these {count} falls there yet" in text and 'a source with split = "val"' in text
        assert ("added later go by it too" in text) == (split.val != 0.1)
        shares.add(split.val)
        told.add(held > 0)
    assert len(shares) > 2 and 0.1 in shares, "a tenth fits some of these folders and not others"
    assert told == {True, False}


def test_of_pairs_the_clean_images_are_counted(tmp_path: Path) -> None:
    for side, first_level in (("lq", 0), ("gt", 100)):
        (tmp_path / "mine" / side).mkdir(parents=True)
        for i in range(7):
            (tmp_path / "mine" / side / f"{i}.png").write_bytes(f"{first_level + i}".encode())
    text = written(tmp_path / "mine", tmp_path / "recipe.toml")
    split = load_recipe(tmp_path / "recipe.toml").split
    sides = [split.side(file_sha256(path)) for path in (tmp_path / "mine" / "gt").iterdir()]
    assert sides.count("val") == 1 and "# 1 of these 7" in text


def test_one_photograph_is_not_kept_for_validation_and_many_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = written(photographs(tmp_path / "one", 1), tmp_path / "one.toml")
    assert "split" not in tomllib.loads(one) and "no [split]" in one
    monkeypatch.setattr(first, "DIGESTED", 4)
    many = written(photographs(tmp_path / "many", 5), tmp_path / "many.toml")
    assert tomllib.loads(many)["split"] == {"val": 0.1} and "of these" not in many


def test_large_files_and_those_of_a_public_set_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of large files on a disk in a network take minutes, and a set's sides follow from no digest."""
    read: list[Path] = []

    def digest(path: Path) -> str:
        read.append(path)
        return file_sha256(path)

    monkeypatch.setattr(first, "file_sha256", digest)
    mine, one = photographs(tmp_path / "mine", 3), photographs(tmp_path / "one", 1)
    total = sum(path.stat().st_size for path in mine.iterdir())
    monkeypatch.setattr(first, "READ", total)
    assert len(look(mine).contents) == len(read) == 3
    read.clear()
    monkeypatch.setattr(first, "READ", total - 1)
    text = written(mine, tmp_path / "mine.toml")
    assert tomllib.loads(text)["split"] == {"val": 0.1} and "of these" not in text
    monkeypatch.setattr(first, "READ", 0)
    assert "no [split]" in written(one, tmp_path / "one.toml"), "a single one is to learn from, however large"
    monkeypatch.setattr(first, "READ", 2**20)
    for side in ("low", "high"):
        photographs(tmp_path / "LOL" / "eval15" / side, 15)
    assert look(tmp_path / "LOL").presets and not read


def test_only_files_that_are_opened_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking each of 60,000 took 0.8 s, and far longer from a disk in a network."""
    monkeypatch.setattr(first, "LOOKED_AT", 2)
    monkeypatch.setattr(first, "DIGESTED", 5)
    asked: list[Path] = []
    is_file = Path.is_file

    def ask(path: Path) -> bool:
        asked.append(path)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", ask)
    found = look(photographs(tmp_path / "mine", 6))
    assert found.side == 48 and len([path for path in asked if path.suffix == ".png"]) == 2


def test_a_pipe_among_the_photographs_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(photographs(tmp_path / "mine") / "camera.png")
    assert "48 px" in written(tmp_path / "mine", tmp_path / "recipe.toml")
    assert len(look(tmp_path / "mine").contents) == 3


def test_nothing_is_overwritten_and_an_empty_folder_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "recipe.toml"
    there.write_text("mine", "utf-8")
    done = CliRunner().invoke(app, ["init", str(photographs(tmp_path / "p")), "--out", str(there)])
    assert isinstance(done.exception, RecipeError) and "is there already" in str(done.exception)
    assert there.read_text("utf-8") == "mine"
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"expected photographs, found none; name a folder"):
        look(tmp_path / "empty")


def test_from_init_to_a_dataset_and_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos", count=1)
    run = CliRunner().invoke
    assert "patina plan recipe.toml --out dataset" in run(app, ["init", "photos"]).output
    text = (tmp_path / "recipe.toml").read_text("utf-8").partition("[degradations.motion-blurry]")[0]
    (tmp_path / "recipe.toml").write_text(text + "[degradations.noisy]\n", "utf-8")
    built = run(app, ["build", "recipe.toml", "--out", "ds", "--quiet"], catch_exceptions=False)
    assert (built.exit_code, built.output) == (0, "")
    assert "nothing was stale" in run(app, ["build", "recipe.toml", "--out", "ds"]).output
    assert "gallery.html" in run(app, ["gallery", "ds", "-q"]).output, "what was asked for is printed"


def test_lists_are_cut_unless_all_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"line {i}" for i in range(5)]
    output.print_lines(lines, 2)
    assert capsys.readouterr().out.splitlines() == ["line 0", "line 1", "… and 3 more: --verbose prints all"]
    monkeypatch.setattr(output, "told_in_full", True)
    output.print_lines(lines, 2)
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("fails", [False, True])
def test_what_libraries_log_is_told_for_one_command_alone(fails: bool) -> None:
    """Whoever runs commands in one process had the log of every later one, too, once one was told to tell more."""
    small, root = typer.Typer(), logging.getLogger()
    before = root.level, list(root.handlers)

    def log() -> None:
        logging.getLogger("a.library").info("something is downloaded")
        if fails:
            raise SourceError("nothing is there")

    small.command(cls=command.Command)(command.with_voice(log))
    for words, told in ((["-v"], "INFO a.library: something is downloaded\n"), ([], ""), (["-q"], "")):
        done = CliRunner().invoke(small, words)
        assert isinstance(done.exception, SourceError) == fails
        assert (done.stderr, root.level, root.handlers) == (told, *before)


def test_a_level_that_a_library_sets_meanwhile_stays() -> None:
    root = logging.getLogger()
    before = root.level
    try:
        with output.voice(hushed=False, in_full=True):
            assert root.level == logging.INFO
            root.setLevel(logging.ERROR)
        assert root.level == logging.ERROR
    finally:
        root.setLevel(before)


def test_every_command_stands_in_one_section_and_begins_with_a_short_sentence() -> None:
    listed = [name for names in command.SECTIONS.values() for name in names]
    assert sorted(listed) == sorted([*COMMANDS, "watch"])
    shown = CliRunner().invoke(app, ["--help"]).output
    for name, function in COMMANDS.items():
        sentence = command.first_sentence(function.__doc__ or "")
        assert len(sentence) <= 76, f"{name}: {sentence}"
        assert f"  {name} " in shown


def test_a_command_that_waits_for_quiet_has_the_short_option_alone() -> None:
    told = CliRunner().invoke(app, ["watch", "run", "--help"]).output
    assert "--quiet SECONDS" in told and "  -q  " in told
    assert "-q, --quiet" in CliRunner().invoke(app, ["build", "--help"]).output
