"""The public names of `patina`: which there are, what importing them costs, and what each does."""

from __future__ import annotations

import doctest
import json
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader

import patina
from patina.captioning.captioner import CaptionError
from patina.pipeline.codec.decode import decode, decode_map
from patina.pipeline.errors import ManifestError, RecipeError, SourceError
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.severity import LEVELS
from patina.training.errors import StageError
from patina.training.restore.load import load_restorer
from tests.captioning import tiny_models
from tests.pipeline.making import photo, picture
from tests.training.running import small_dataset, stage, trained

ROOT = Path(__file__).parents[1]

NAMES = [
    "Dataset",
    "Restorer",
    "Stream",
    "__version__",
    "build",
    "caption",
    "check",
    "degradations",
    "degrade",
    "diff",
    "figures",
    "plan",
    "read_members",
    "read_samples",
    "severity",
    "wds_decoder",
]
"""A name more or less is a promise made or broken."""

HEAVY = ("torch", "cv2", "numpy", "prefect", "pyarrow", "PIL", "transformers", "typer")

MODULES = ("building", "captioning", "dataset", "degrading", "reading", "restoring", "stream")


def image(seed: int = 0) -> Image:
    return picture(96, 64, seed)


# Names and imports


def test_the_names_are_these_and_all_are_there() -> None:
    assert patina.__all__ == NAMES
    for name in NAMES:
        assert getattr(patina, name) is not None
    assert set(NAMES) <= set(dir(patina))
    with pytest.raises(AttributeError, match="'patina' has no attribute 'degrad'"):
        patina.degrad  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert patina.__version__ == project["version"]


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_importing_patina_loads_no_library() -> None:
    found = in_a_new_process(f"import sys, patina; print([m for m in {HEAVY} if m in sys.modules])")
    assert found.strip() == "[]"


def test_importing_a_room_loads_no_public_name() -> None:
    code = "import sys, patina.pipeline.recipe.parse; print([m for m in sys.modules if m.startswith('patina._face')])"
    assert in_a_new_process(code).strip() == "[]"
    code = "import sys, patina.pipeline.errors; print([m for m in ('numpy', 'cv2', 'torch') if m in sys.modules])"
    assert in_a_new_process(code).strip() == "[]"


def test_degrading_needs_no_torch_and_no_orchestrator() -> None:
    code = "import sys, patina; patina.degrade; print([m for m in ('torch', 'prefect', 'typer') if m in sys.modules])"
    assert in_a_new_process(code).strip() == "[]"


def test_what_needs_torch_says_so_where_there_is_none() -> None:
    code = "import sys; sys.modules['torch'] = None; import patina; patina.degrade; patina.build; patina.Dataset"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "ImportError: patina.Dataset needs torch: pip install 'patina-ir[train]'" in done.stderr


def test_importing_patina_takes_a_fifth_of_a_second_at_most() -> None:
    def seconds(code: str) -> float:
        clock = f"import time; start = time.process_time(); {code}; print(time.process_time() - start)"
        return min(float(in_a_new_process(clock)) for _ in range(3))

    assert seconds("import patina") < 0.2


# Examples in the docstrings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A steered restorer, trained for a few images."""
    folder = tmp_path_factory.mktemp("run")
    dataset = small_dataset(folder / "data")
    for name in ("controller", "nafnet"):
        trained(stage(name), dataset, folder / "RUN")
    return folder / "RUN"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_models.on_one_core():
        yield tiny_models.blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """recipe.toml, four photographs, and OUT, which is built of them."""
    here = tmp_path_factory.mktemp("folder")
    for i in range(4):
        photo(here / "photos" / f"p{i}.png", seed=i)
    head = "buckets = 2\n[[sources]]\npath = 'photos'\n"
    (here / "recipe.toml").write_text(f"{head}[degradations.noisy]\n[degradations.jpeg-compressed]\n", "utf-8")
    patina.build(here / "recipe.toml", here / "OUT")
    return here


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_are_true(
    module: str, folder: Path, run: Path, blip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, target in (("RUN", run), ("BLIP", blip)):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    monkeypatch.chdir(folder)
    found = doctest.testmod(import_module(f"patina._face.{module}"))
    assert found.attempted >= 3 and not found.failed


def test_every_public_name_has_an_example() -> None:
    calls = {"Restorer": "patina.Restorer.load("}
    for name in set(NAMES) - {"__version__"}:
        assert re.search(
            rf"^ +>>> .*{re.escape(calls.get(name, f'patina.{name}('))}", getattr(patina, name).__doc__, re.M
        )


# degrade, severity


@pytest.mark.parametrize("word", [*CATALOGUE, "hazy+rainy", "low-light+jpeg-compressed"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(word: str) -> None:
    clean = image()
    clean.setflags(write=False)
    before = clean.copy()
    lq, params, maps = patina.degrade(clean, word, seed=5, truth=True)
    again, same, _ = patina.degrade(clean, word, seed=np.int64(5), truth=True)
    assert np.array_equal(lq, again) and params == same
    assert patina.degrade(clean, word, seed=6)[1] != params or word == "jpeg-compressed"
    assert (lq.shape, lq.dtype) == (clean.shape, np.uint8)
    assert np.array_equal(clean, before) and not np.array_equal(lq, clean)
    assert all(isinstance(values, np.ndarray) for values in maps.values())
    stored = json.loads(json.dumps(params))
    assert stored == params
    replayed, given = patina.degrade(clean, word, params=stored)
    assert np.array_equal(replayed, lq) and given == params
    assert np.array_equal(patina.degrade(clean, word, params=json.dumps(params))[0], lq)
    other, _ = patina.degrade(image(1), word, params=params)
    assert other.shape == clean.shape and not np.array_equal(other, lq)


def test_it_makes_what_the_pipeline_stores(tmp_path: Path) -> None:
    """From a sample's seed alone, for every degradation: LQ, parameters and truth maps."""
    for i in range(2):
        photo(tmp_path / "photos" / f"{i}.png", 96, 64, seed=i)
    words: dict[str, Any] = {word: {} for word in CATALOGUE}
    words |= {"hazy+rainy": {"steps": True}, "noisy": {"severity": "severe"}}
    patina.build({"sources": [{"path": str(tmp_path / "photos")}], "degradations": words}, tmp_path / "out")
    rows = patina.read_samples(tmp_path / "out")
    assert len(rows) == 2 * len(words)
    for row in rows:
        files = patina.read_members(tmp_path / "out", row)
        gt = decode(files["gt.png"]).image
        lq, params, maps = patina.degrade(gt, row.entry, seed=row.seed, truth=True, **words[row.entry])
        assert params == json.loads(row.params)
        assert np.array_equal(lq, decode(files.get("png") or files["jpg"]).image), row.entry
        assert {f"{name}.png" for name in maps} == set(files) - {"png", "jpg", "gt.png", "txt", "json"}
        for name, values in maps.items():
            stored = files[f"{name}.png"]
            assert np.array_equal(values, decode(stored).image if values.ndim == 3 else decode_map(stored))
        assert patina.severity(gt, lq).score == row.severity


def test_severity_is_what_was_asked_for() -> None:
    clean = picture(256, 192)
    for level in ("mild", "moderate"):
        lq, _ = patina.degrade(clean, "noisy", severity=level)
        assert patina.severity(clean, lq).level == level
    assert patina.severity(clean, clean).score == 0
    assert patina.severity(clean, 255 - clean).level == LEVELS[-1]


def test_settings_may_be_tuples_paths_and_tables(tmp_path: Path) -> None:
    drawn = {patina.degrade(image(), "noisy", seed=i, sigma=(15, 50))[1]["sigma"] for i in range(8)}
    assert drawn == {15.0, 50.0}
    assert patina.degrade(image(), "rainy", rate={"min": 4, "max": 4.0})[1]["rate"] == 4.0
    mask = np.full((64, 96), 255, np.uint8)
    mask[:, :30] = 0
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(mask).save(tmp_path / "masks" / "m.png")
    lq, _, maps = patina.degrade(image(), "uncompleted", masks=tmp_path / "masks", truth=True)
    assert (lq[:, :30] == 255).all() and np.array_equal(maps["mask"] > 0, mask > 0)


def test_a_seed_may_be_any_text() -> None:
    one, two = (patina.degrade(image(), "noisy", seed=name)[0] for name in ("a.jpg", "b.jpg"))
    assert not np.array_equal(one, two)
    assert np.array_equal(one, patina.degrade(image(), "noisy", seed="a.jpg")[0])


@pytest.mark.parametrize(
    ("given", "words", "says"),
    [
        (image() / 255, {}, r"H×W×3 uint8 RGB image, found float64 of shape \(64, 96, 3\).*numpy.rint"),
        (image().astype(np.uint16), {}, "found uint16 .* scale it to levels 0..255"),
        (image()[..., 0], {}, r"found uint8 of shape \(64, 96\); numpy.repeat"),
        (np.zeros((40, 40, 4), np.uint8), {}, "leave alpha out"),
        (np.zeros((3, 40, 40), np.uint8), {}, r"give image.transpose\(1, 2, 0\)"),
        (np.zeros((40, 40, 5), np.uint8), {}, r"found uint8 of shape \(40, 40, 5\)"),
        (np.zeros((15, 40, 3), np.uint8), {}, "at least 16 px a side, found 40×15"),
        (PIL.Image.new("RGB", (40, 40)), {}, "found a Pillow image; give numpy.asarray"),
        ([[0]], {}, "expected a NumPy array, H×W×3 uint8 RGB, found list"),
        (image(), {"degradation": "rany"}, "no degradation is called 'rany'; did you mean 'rainy'"),
        (image(), {"degradation": "hazy+rany"}, "no degradation is called 'rany'; did you mean 'rainy'"),
        (image(), {"degradation": 3}, "expected a word such as 'rainy', found int"),
        (image(), {"seed": 1.5}, "seed: expected a whole number or a text, found 1.5"),
        (image(), {"seed": None}, "seed: expected a whole number or a text, found None"),
        (image(), {"seed": True}, "seed: expected a whole number or a text, found True"),
        (image(), {"rat": 4}, "rainy has no key 'rat'; did you mean 'rate'"),
        (image(), {"variants": 4}, "rainy has no key 'variants'"),
        (image(), {"rate": -1}, "rate: expected 0.1 to 300, found -1"),
        (image(), {"severity": "much"}, "expected one of slight, mild"),
        (image(), {"severity": "mild", "rate": 5}, "severity sets rate itself"),
        (image(), {"degradation": "hazy+rainy", "severity": "mild"}, "given by part, as in hazy="),
        (image(), {"rate": {4: 5}}, "settings: expected texts as keys, found 4"),
        (image(), {"degradation": "hazy+rainy", "parts": ["noisy", "hazy"]}, "has no key 'parts'"),
        (image(), {"params": {"sigma": 3}}, "expected what was drawn for rainy, found sigma, and no '"),
        (image(), {"params": "{"}, "expected a table or JSON"),
        (image(), {"params": 3}, "expected a table or JSON, found int"),
        (image(), {"params": {"rate": float("nan")}}, "params: expected what JSON keeps, and finite numbers"),
        (image(), {"params": {"rate": object()}}, "params: expected what JSON keeps"),
    ],
)
def test_what_cannot_be_degraded_is_refused_in_words(given: Any, words: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        patina.degrade(given, **({"degradation": "rainy"} | words))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("hazy", {"background": 0}),
        ("low-light", {"shot": "x"}),
        ("low-light", {"bits": 0}),
        ("motion-blurry", {"seed": "x"}),
        ("jpeg-compressed", {"quality": "x"}),
    ],
)
def test_parameters_that_nobody_drew_are_refused_by_name(name: str, wrong: dict[str, Any]) -> None:
    _, params = patina.degrade(image(), name)
    with pytest.raises(ValueError, match=f"params: expected what was drawn for {name}, found "):
        patina.degrade(image(), name, params=params | wrong)


def test_numbers_of_numpy_count_as_numbers() -> None:
    one, _ = patina.degrade(image(), "noisy", seed=3, sigma=[5, 10, 15])
    two, _ = patina.degrade(image(), "noisy", seed=np.int64(3), sigma=np.arange(5, 20, 5))
    assert np.array_equal(one, two)
    assert patina.degrade(image(), "jpeg-compressed", quality=np.int64(10))[1]["quality"] == 10
    assert patina.degrade(image(), "noisy", sigma=np.float32(25))[1]["sigma"] == 25


def test_parts_of_one_stage_are_applied_in_the_order_of_writing_and_others_by_stage() -> None:
    def parts(name: str) -> list[str]:
        return [part for part, _ in patina.degrade(image(), name)[1]["parts"]]

    assert (parts("hazy+rainy"), parts("rainy+hazy")) == (["hazy", "rainy"], ["rainy", "hazy"])
    assert parts("jpeg-compressed+rainy") == parts("rainy+jpeg-compressed") == ["rainy", "jpeg-compressed"]


def test_two_images_of_other_sizes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"one size, found \(64, 96, 3\) and \(60, 96, 3\)"):
        patina.severity(image(), image()[:60])
    with pytest.raises(ValueError, match="degraded: expected an H×W×3 uint8 RGB image, found float64"):
        patina.severity(image(), image() / 255)


# plan, build, check, diff


def test_a_dataset_is_planned_built_checked_and_compared_in_silence(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "4 shards to build" in repr(patina.plan("recipe.toml", tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    table = tomllib.loads((folder / "recipe.toml").read_text("utf-8")) | {"name": "recipe"}
    made = patina.build(table, str(tmp_path / "new"), workers=1)
    assert made.manifest.digest == patina.build("recipe.toml", "OUT").manifest.digest
    assert "8 samples in 4 shards, 4 of them built" in repr(made)
    assert patina.plan(made.planned.recipe, tmp_path / "new").plan.is_empty
    checked = patina.check(tmp_path / "new", replay=None, recipe="recipe.toml")
    assert checked.ok and checked.replayed == 8
    assert patina.diff(folder / "OUT", str(tmp_path / "new")).is_empty
    patina.build(table | {"degradations": {"noisy": {"sigma": 9}}}, tmp_path / "new")
    assert "noisy: 4 with other pixels" in "\n".join(patina.diff(folder / "OUT", tmp_path / "new").lines())
    next((tmp_path / "new" / "shards").glob("*.tar")).unlink()
    assert not patina.check(tmp_path / "new").ok
    assert capfd.readouterr() == ("", "")


def test_wrong_recipes_sources_and_datasets_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="no recipe of this name; did you mean 'daclip'"):
        patina.plan("daclp", "out")
    with pytest.raises(SourceError, match="12 of 12 sources cannot be used"):
        patina.build("daclip", "out")
    with pytest.raises(TypeError, match="a table or a Recipe, found int"):
        patina.build(3, "out")  # type: ignore[arg-type]
    for call in (patina.check, patina.read_samples, lambda place: patina.diff(place, place)):
        with pytest.raises(ManifestError, match=r"expected a (patina )?dataset"):
            call(tmp_path / "none")
    for wrong, says in (
        (lambda: patina.plan("daclip", None), "out: expected a path, as a text or a Path, found NoneType"),
        (lambda: patina.plan("daclip", ""), "out: expected a path, found an empty text"),
        (lambda: patina.build("daclip", "out", workers=-1), "workers: expected a whole number from 0, found -1"),
        (lambda: patina.build("daclip", "out", workers=1.5), "workers: expected a whole number from 0, found 1.5"),
        (
            lambda: patina.build("daclip", "out", max_set_aside=5),
            "max_set_aside: expected a number from 0 to 1, found 5",
        ),
        (
            lambda: patina.check("out", replay="all"),
            r"replay \(None makes all samples again\): expected a whole number from 0, found 'all'",
        ),
        (lambda: patina.plan({"degradations": {3: {}}}, "out"), "recipe: expected texts as keys, found 3"),
    ):
        with pytest.raises((TypeError, ValueError), match=says):
            wrong()
    assert not list(tmp_path.iterdir())


def test_a_table_takes_paths_tuples_and_numbers_of_numpy(folder: Path, tmp_path: Path) -> None:
    table = {"sources": ({"path": folder / "photos"},), "degradations": {"noisy": {"sigma": np.int64(9)}}}
    assert not patina.plan(table, tmp_path / "new").plan.is_empty


def test_rows_of_named_shards_alone(folder: Path) -> None:
    rows = patina.read_samples(folder / "OUT")
    name = rows[0].shard
    some = [row for row in rows if row.shard == name]
    assert 0 < len(some) < len(rows)
    assert patina.read_samples(folder / "OUT", name) == patina.read_samples(folder / "OUT", [name]) == some
    with pytest.raises(ValueError, match=r"shards: there is no 'train-0000-nosy\.tar'; did you mean '"):
        patina.read_samples(folder / "OUT", ["train-0000-nosy.tar"])


# Dataset


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of two sizes in noise of two strengths, blurred, and in haze and rain; train and val."""
    here = tmp_path_factory.mktemp("mixed")
    for i in range(8):
        photo(here / "photos" / f"{i}.png", 96 + 8 * (i % 2), 64, seed=i)
    degradations = {
        "noisy-15": {"use": "noisy", "sigma": 15},
        "noisy-50": {"use": "noisy", "sigma": 50},
        "motion-blurry": {},
        "hazy+rainy": {"steps": True},
    }
    patina.build(
        {"sources": [{"path": str(here / "photos")}], "degradations": degradations, "split": {"val": 0.3}},
        here / "out",
    )
    return here / "out"


def test_whole_items_are_what_is_stored(mixed: Path) -> None:
    rows = [row for row in patina.read_samples(mixed) if row.split == "val"]
    dataset = patina.Dataset(mixed, "val", truth=True)
    assert len(dataset) == len(rows) > 0
    for row, item in zip(rows, dataset, strict=True):
        files = patina.read_members(mixed, row)
        assert item["lq"].dtype == item["gt"].dtype == torch.float32
        for name, stored in (("lq", "png"), ("gt", "gt.png")):
            levels = (item[name] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            assert np.array_equal(levels, decode(files[stored]).image)
        assert float(item["lq"].min()) >= 0 and float(item["lq"].max()) <= 1
        for name in ("key", "degradation", "caption", "params", "severity", "psnr", "ssim"):
            assert item[name] == getattr(row, name)
        assert {f"{name}.png" for name in item["truth"]} == set(files) - {"png", "gt.png", "txt", "json"}
        for name, values in item["truth"].items():
            if not name.startswith("step"):
                stored_map = decode_map(files[f"{name}.png"])
                most = np.iinfo(stored_map.dtype).max
                assert np.array_equal((values[0] * most).round().numpy(), stored_map)
            else:
                levels = (values * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                assert np.array_equal(levels, decode(files[f"{name}.png"]).image)
    assert dataset[-1]["key"] == rows[-1].key
    with pytest.raises(IndexError):
        dataset[len(rows)]


def test_crops_are_cut_alike_and_differ_by_epoch_and_seed_in_training_alone(mixed: Path) -> None:
    dataset = patina.Dataset(mixed, "train", "hazy+rainy", crop=32, truth=True)
    whole = patina.Dataset(mixed, "train", "hazy+rainy", truth=True)

    def place(item: dict[str, Any], number: int) -> tuple[int, int]:
        """Where the crop lies; that of every image and map."""
        full = whole[number]
        gt = full["gt"]
        (found,) = {
            (y, x)
            for y in range(gt.shape[1] - 31)
            for x in range(gt.shape[2] - 31)
            if torch.equal(gt[:, y : y + 32, x : x + 32], item["gt"])
        }
        y, x = found
        for cut, all_of_it in (
            (item["lq"], full["lq"]),
            *((item["truth"][n], full["truth"][n]) for n in full["truth"]),
        ):
            assert torch.equal(all_of_it[:, y : y + 32, x : x + 32], cut)
        return found

    first = [place(dataset[i], i) for i in range(len(dataset))]
    assert first == [place(dataset[i], i) for i in range(len(dataset))]
    assert len(set(first)) > 1
    dataset.set_epoch(1)
    assert first != [place(dataset[i], i) for i in range(len(dataset))]
    dataset.set_epoch(0)
    assert first == [place(dataset[i], i) for i in range(len(dataset))]
    other = patina.Dataset(mixed, "train", "hazy+rainy", crop=32, truth=True, seed=1)
    assert first != [place(other[i], i) for i in range(len(other))]

    middle, full = patina.Dataset(mixed, "val", crop=32), patina.Dataset(mixed, "val")
    top, left = (64 - 32) // 2, (full[0]["gt"].shape[2] - 32) // 2
    assert torch.equal(middle[0]["gt"], full[0]["gt"][:, top : top + 32, left : left + 32])


def test_blur_kernels_stay_whole_and_small_images_are_reflected(mixed: Path) -> None:
    item = patina.Dataset(mixed, "train", "motion-blurry", crop=80, truth=True)[0]
    full = patina.Dataset(mixed, "train", "motion-blurry", truth=True)[0]
    assert torch.equal(item["truth"]["kernel"], full["truth"]["kernel"])
    assert abs(float(item["truth"]["kernel"].double().sum()) - 1) < 1e-4
    assert item["lq"].shape == (3, 80, 80)
    assert torch.equal(item["gt"][:, 64:], item["gt"][:, 48:64].flip(1))


@pytest.mark.parametrize("degradations", ["noisy", ["noisy-15", "noisy-50"]])
def test_degradations_by_word_or_by_the_recipes_name(mixed: Path, degradations: Any) -> None:
    dataset = patina.Dataset(mixed, degradations=degradations)
    assert {item["degradation"] for item in dataset} == {"noisy"}
    assert len(dataset) == 2 * len(patina.Dataset(mixed, degradations="noisy-15"))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_workers_give_what_this_process_gives_and_hear_of_epochs(mixed: Path, method: str) -> None:
    dataset = patina.Dataset(mixed, crop=32)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context=method, persistent_workers=True)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        there = torch.cat([batch["lq"] for batch in loader])
        assert torch.equal(there, torch.stack([item["lq"] for item in dataset]))
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[3]["lq"], dataset[3]["lq"])


def test_what_a_dataset_does_not_have_is_told(mixed: Path, folder: Path, tmp_path: Path) -> None:
    for words, says in (
        ({"split": "trian"}, "split: there is no 'trian'; did you mean 'train'"),
        ({"split": "test"}, f"{re.escape(str(mixed))}@[0-9]+: no samples in the split 'test', only in train, val"),
        ({"degradations": "noizy"}, "no 'noizy' in the split 'train'; did you mean 'noisy'"),
        ({"degradations": []}, "expected one at least"),
        ({"crop": 0}, "crop: expected a whole number from 1, found 0"),
        ({"crop": 32.0}, "crop: expected a whole number from 1, found 32.0"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
    ):
        with pytest.raises((TypeError, ValueError), match=says):
            patina.Dataset(mixed, **words)  # type: ignore[arg-type]
    with pytest.raises(StageError, match="no patina dataset"):
        patina.Dataset(tmp_path)
    with pytest.raises(ValueError, match="no samples in the split 'val', only in train"):
        patina.Dataset(folder / "OUT", "val")


# Restorer, caption


def test_a_restorer_takes_arrays_and_pillow_images_and_gives_the_same_kind(run: Path) -> None:
    restorer, own = patina.Restorer.load(run, device="cpu"), load_restorer(run)
    clean = picture(70, 50)
    before = clean.copy()
    restored, found = restorer.restore(clean)
    assert np.array_equal(clean, before) and (restored.shape, restored.dtype) == (clean.shape, np.uint8)
    levels = (own.restore(clean).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(restored, levels)
    assert found == own.look(clean).degradations and abs(sum(found.values()) - 1) < 1e-4
    as_picture, also = restorer.restore(PIL.Image.fromarray(clean))
    assert as_picture.mode == "RGB" and np.array_equal(np.asarray(as_picture), restored) and also == found
    grey, _ = restorer.restore(PIL.Image.fromarray(clean[..., 0]))
    assert (grey.mode, grey.size) == ("L", (70, 50))
    with pytest.raises(ValueError, match=r"mode RGB or L, found mode RGBA; .*convert"):
        restorer.restore(PIL.Image.new("RGBA", (40, 40)))
    with pytest.raises(ValueError, match="photo: expected an H×W×3 uint8 RGB image, found float64"):
        restorer.restore(clean / 255)
    with pytest.raises(ValueError, match="no such file or folder; give a run"):
        patina.Restorer.load(run / "none")
    with pytest.raises(ValueError, match="restores in one pass; leave out the sampler"):
        patina.Restorer.load(run, steps=4)


def test_captions_of_files_arrays_and_pillow_images(blip: Path, tmp_path: Path) -> None:
    pixels = tiny_models.pixels(1)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    sentences = patina.caption(
        [tmp_path / "a.png", pixels, PIL.Image.fromarray(pixels), tiny_models.pixels(2)], model=blip, batch=2
    )
    assert sentences[0] == sentences[1] == sentences[2] != sentences[3]
    assert patina.caption([], model=blip) == []
    assert len(patina.caption([pixels], model=blip, max_new_tokens=3)[0].split()) <= 3
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    with pytest.raises(CaptionError, match=r"torn\.png: "):
        patina.caption([pixels, tmp_path / "torn.png"], model=blip)
    with pytest.raises(CaptionError, match=r"none\.png: cannot be read: No such file"):
        patina.caption([tmp_path / "none.png"], model=blip)
    with pytest.raises(ValueError, match=r"images\[1\]: expected an H×W×3 uint8 RGB image, found float64"):
        patina.caption([pixels, pixels / 255], model=blip)
    with pytest.raises(TypeError, match=r"found a single one; write \[image\]"):
        patina.caption(str(tmp_path / "a.png"), model=blip)
    with pytest.raises(RecipeError, match="has no key 'beam'; did you mean 'beams'"):
        patina.caption([pixels], model=blip, beam=3)
