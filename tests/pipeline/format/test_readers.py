"""The dataset as others read it, unchanged and with nothing of theirs patched: webdataset, datasets, open_clip, ray.

`make readers` runs these and many more, each in an environment of its own and at its newest version: docs/readers.md.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

import patina
from patina.pipeline.builder.build import build
from patina.pipeline.errors import BadImageError
from patina.pipeline.format.layout import ROLES, SHARDS
from patina.pipeline.format.manifest import SampleRow, read_samples
from patina.pipeline.recipe.parse import parse_recipe
from tests.pipeline.making import photos, pixels, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's warnings are theirs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs, PNG and JPEG, three degradations and a set of pairs: every layout of members that there is."""
    folder = tmp_path_factory.mktemp("readers")
    for i in range(6):
        y, x = np.mgrid[0:64, 0:80]
        picture = np.stack([x * 2 + i, y * 3, (x * y) // 20 + i * 9], -1).astype(np.uint8)
        kind = "gt" if i > 4 else "photos"
        (folder / kind).mkdir(exist_ok=True)
        PIL.Image.fromarray(picture).save(folder / kind / f"p{i}.{'jpg' if i % 2 else 'png'}")
    (folder / "lq").mkdir()
    PIL.Image.open(folder / "gt" / "p5.jpg").save(folder / "lq" / "p5.jpg", quality=70)
    words: dict[str, Any] = {"noisy": {}, "jpeg-compressed": {}, "uncompleted": {}}
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    table = {"sources": [{"path": "photos"}, pairs], "degradations": words, "split": {"val": 0.3}, "buckets": 2}
    build(parse_recipe(table, folder), folder / "out")
    return folder / "out"


def tars(dataset: Path, pattern: str = "*") -> list[str]:
    return sorted(str(path) for path in (dataset / SHARDS).glob(f"{pattern}.tar"))


def keys_of(rows: Iterable[SampleRow], split: str = "") -> list[str]:
    return sorted(row.key for row in rows if split in {"", row.split})


# ---------------------------------------------------------------------------------------------------------------------
# webdataset


def webdataset_of(shards: list[str], **how: Any) -> Any:
    import webdataset

    return webdataset.WebDataset(shards, **{"shardshuffle": False, "empty_check": False} | how)


def test_webdataset_reads_every_sample(dataset: Path) -> None:
    rows = {row.key: row for row in read_samples(dataset)}
    seen = []
    for sample in webdataset_of(tars(dataset)).decode(patina.wds_decoder):
        row = rows[sample["__key__"]]
        lq = sample.get("png", sample.get("jpg"))
        gt = sample.get("gt.png", sample.get("gt.jpg"))
        assert lq.shape == gt.shape == (row.height, row.width, 3)
        assert sample["txt"] == row.caption
        assert sample["json"]["degradation"] == row.degradation
        assert ("mask.png" in sample) == (row.degradation == "uncompleted")
        seen.append(row.key)
    assert sorted(seen) == sorted(rows)


def test_more_workers_than_shards_read_every_sample_once(dataset: Path) -> None:
    from torch.utils.data import DataLoader

    shards = tars(dataset, "train-*-noisy")
    loader = DataLoader(webdataset_of(shards), batch_size=None, num_workers=len(shards) + 2)
    rows = [row for row in read_samples(dataset) if row.shard in {Path(path).name for path in shards}]
    assert sorted(sample["__key__"] for sample in loader) == keys_of(rows)


def test_two_nodes_read_every_sample_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import webdataset

    seen: list[str] = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        part = webdataset_of(tars(dataset, "train-*"), nodesplitter=webdataset.split_by_node)
        keys = [sample["__key__"] for sample in part]
        assert len(keys) > 0
        seen += keys
    assert sorted(seen) == keys_of(read_samples(dataset), "train")


def test_samples_of_one_shard_stack_into_batches(dataset: Path) -> None:
    """`.batched()` expects the same members in every sample of a batch."""
    keys = [key for path in tars(dataset) for batch in webdataset_of([path]).batched(8) for key in batch["__key__"]]
    assert sorted(keys) == keys_of(read_samples(dataset))


def test_truth_maps_keep_their_values_in_webdataset(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    words: dict[str, Any] = {"hazy": {}, "uncompleted": {}, "hazy+noisy": {"steps": True}}
    out = tmp_path / "out"
    build(tiny_recipe(tmp_path, degradations=words), out)
    stored = {row.key: patina.read_members(out, row) for row in read_samples(out)}
    kinds = set()
    for sample in webdataset_of(tars(out)).decode(patina.wds_decoder):
        members = stored[sample["__key__"]]
        for name, body in members.items():
            if not name.endswith(".png"):
                continue
            expected = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
            expected = expected[..., ::-1] if expected.ndim == 3 else expected  # OpenCV has blue first
            assert np.array_equal(sample[name], expected) and sample[name].dtype == expected.dtype, name
            kinds.add((name.rpartition("-")[2], str(expected.dtype), expected.ndim))
    assert kinds >= {("transmission.png", "uint16", 2), ("mask.png", "uint8", 2), ("1.png", "uint8", 3)}


@pytest.mark.parametrize("name", ["png", ".mask.png"])
def test_what_is_no_image_is_no_image(name: str) -> None:
    assert patina.wds_decoder(".txt", b"a dog") is None
    with pytest.raises(BadImageError):
        patina.wds_decoder(name, b"no image")


# ---------------------------------------------------------------------------------------------------------------------
# datasets


def expect_stored(dataset: Path, found: Iterable[Mapping[str, Any]], rows: list[SampleRow]) -> None:
    """Every row once, with its own caption, and its own images by their values."""
    told = {row.key: row for row in rows}
    seen = []
    for row in found:
        key = row["__key__"].rsplit("/", 1)[-1]
        members = patina.read_members(dataset, told[key])
        assert row["txt"] == told[key].caption
        for names in ROLES.values():
            (name,) = [name for name in names if row.get(name) is not None]
            assert np.array_equal(np.asarray(row[name]), pixels(members[name])), f"{key}.{name}"
        mask = row.get("mask.png")
        assert (mask is not None) == ("mask.png" in members)
        assert mask is None or np.array_equal(np.asarray(mask), pixels(members["mask.png"]))
        seen.append(key)
    assert sorted(seen) == sorted(told)


@pytest.mark.parametrize("config", ["default", "noisy", "jpeg-compressed", "uncompleted", "hazy"])
def test_datasets_reads_the_folder_and_every_row_has_one_lq_and_one_gt(
    dataset: Path, config: str, tmp_path: Path
) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = [r for r in read_samples(dataset) if config in {"default", r.degradation}]
    loaded = datasets.load_dataset(str(dataset), config, cache_dir=str(tmp_path))
    assert {str(split) for split in loaded} == {row.split for row in rows}
    for split, part in loaded.items():
        expect_stored(dataset, part, [row for row in rows if row.split == split])
        for row in part:
            fact = row["json"]
            assert row["txt"] == fact["caption"]
            assert isinstance(json.loads(fact["params"]), dict)
            assert (row["png"] or row["jpg"]).size == (fact["width"], fact["height"])


def shards_by_kind(dataset: Path) -> dict[str, list[SampleRow]]:
    """Training samples by what their shards' names end in, which is equal where their members are alike."""
    found: dict[str, list[SampleRow]] = {}
    for row in read_samples(dataset):
        if row.split == "train":
            found.setdefault(row.shard.split("-", 2)[2], []).append(row)
    return found


@pytest.mark.parametrize("card", [True, False])
def test_datasets_reads_shards_of_one_kind_by_their_names(dataset: Path, tmp_path: Path, card: bool) -> None:
    """Columns come from the first shard's members then, so a pattern is to name shards whose samples are alike."""
    import datasets

    folder = tmp_path / "bare"
    (folder / SHARDS).mkdir(parents=True)
    for path in tars(dataset):
        shutil.copy(path, folder / SHARDS)
    kinds = shards_by_kind(dataset)
    assert {"uncompleted.tar", "uncompleted--jpg.tar"} <= kinds.keys()
    for kind, rows in kinds.items():
        where = (str(dataset), f"{SHARDS}/") if card else ("webdataset", f"{folder / SHARDS}/")
        how = {"data_files": {"train": f"{where[1]}train-*-{kind}"}, "cache_dir": str(tmp_path / "cache")}
        expect_stored(dataset, datasets.load_dataset(where[0], **how, split="train"), rows)


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_shuffles_both_ways(dataset: Path, tmp_path: Path, streaming: bool) -> None:
    import datasets

    rows = [row for row in read_samples(dataset) if row.split == "train"]
    loaded = datasets.load_dataset(str(dataset), split="train", streaming=streaming, cache_dir=str(tmp_path))
    mixed = loaded.shuffle(seed=1, buffer_size=8) if streaming else loaded.shuffle(seed=1)
    expect_stored(dataset, mixed, rows)


def test_datasets_resumes_a_stream(dataset: Path) -> None:
    import datasets

    def stream() -> Any:
        return datasets.load_dataset(str(dataset), split="train", streaming=True)

    whole = [row["__key__"] for row in stream()]
    assert len(whole) == len(keys_of(read_samples(dataset), "train"))
    for stop in (1, 5, len(whole) - 1):
        begun = stream()
        parts = iter(begun)
        first = [next(parts)["__key__"] for _ in range(stop)]
        again = stream()
        again.load_state_dict(begun.state_dict())
        assert first + [row["__key__"] for row in again] == whole


# ---------------------------------------------------------------------------------------------------------------------
# open_clip

LISTENER = Path(__file__).parents[3] / "benchmarks" / "readers" / "scripts" / "open_clip_listener.py"
"""open_clip's training with its loader's output written down, nothing of the loader touched."""


def commands_of(dataset: Path) -> str:
    """What the card prints for open_clip."""
    found = re.search(r"```sh\n([^`]*open_clip_train[^`]*)```", (dataset / "README.md").read_text("utf-8"))
    assert found
    return found[1]


def words_of(dataset: Path) -> list[str]:
    """The words behind `python -m open_clip_train.main` in the card."""
    text = commands_of(dataset).replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("python -m open_clip_train.main ")]
    return shlex.split(line.replace("FOLDER", str(dataset)))[3:]


def test_the_card_names_every_shard_of_a_split_and_their_samples_for_open_clip(dataset: Path) -> None:
    from webdataset.shardlists import expand_urls

    words = words_of(dataset)
    found = expand_urls(words[words.index("--train-data") + 1])
    assert sorted(found) == tars(dataset, "train-*")
    assert len({row.entry for row in read_samples(dataset) if row.split == "train"}) > 1
    assert int(words[words.index("--train-num-samples") + 1]) == len(keys_of(read_samples(dataset), "train"))


@pytest.mark.slow
def test_open_clips_training_reads_by_the_command_of_the_card(dataset: Path, tmp_path: Path) -> None:
    """With webdataset 1.0 it cannot, whatever the dataset: it takes the mark behind each shard for a sample."""
    (tmp_path / "sitecustomize.py").write_text(
        "from patina.captioning.torchvision_ops import ensure_torchvision\nensure_torchvision()\n"
    )
    root = Path(patina.__file__).parents[1]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    short = ["--epochs", "1", "--batch-size", "1", "--workers", "1", "--logs", str(tmp_path / "logs")]
    done = subprocess.run(
        [sys.executable, str(LISTENER), *words_of(dataset), *short],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "HEARD": str(tmp_path / "heard")},
        check=False,
    )
    if int(version("webdataset").split(".")[0]) >= 1:
        errors = re.findall(r"^\w*Error\b.*$", done.stderr, re.MULTILINE)
        assert errors and errors[-1] == "KeyError: 'fname'"
        assert "'webdataset==0.2.86'" in commands_of(dataset)
    else:
        assert done.returncode == 0, done.stderr[-2000:]
        heard = Counter((tmp_path / "heard").read_text().splitlines())
        assert len(heard) == heard.total() == len(keys_of(read_samples(dataset), "train"))
