"""Other people's readers on a dataset that was built three times: none meets a sample of an earlier version unasked."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import CURRENT, PRIVATE, SHARDS
from patina.pipeline.format.manifest import read_samples
from patina.pipeline.plan.planning import Options
from patina.pipeline.versions.version import all_versions, built_folder
from tests.pipeline.making import photos, public_files, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's warnings are theirs

SIGMAS = (5, 15, 25)


def publish(folder: Path, sigma: float) -> Path:
    recipe = tiny_recipe(folder, degradations={"noisy": {"sigma": sigma}}, split={"val": 0.3}, buckets=2)
    build(recipe, folder / "out", Options(keep=len(SIGMAS)))
    return folder / "out"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, whose samples differ in σ and in nothing else."""
    folder = tmp_path_factory.mktemp("versions")
    photos(folder / "photos", 6, 24, 16)
    for sigma in SIGMAS:
        publish(folder, sigma)
    assert len(all_versions(folder / "out")) == 3
    return folder / "out"


def sigmas(facts: Iterable[Any]) -> list[float]:
    return [json.loads(fact["params"])["sigma"] for fact in facts]


WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "OUT": ("", {}),
    "OUT, a pattern": ("", {"data_files": f"{SHARDS}/*.tar"}),
    "OUT, a folder": ("", {"data_dir": SHARDS}),
    "current": (f"{PRIVATE}/{CURRENT}", {}),
    "current, any depth": (f"{PRIVATE}/{CURRENT}", {"data_files": "**/*.tar"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_datasets_reads_the_current_version_alone(dataset: Path, tmp_path: Path, way: str) -> None:
    """Also through a hidden folder: what is hidden is passed over only below the folder that is named."""
    import datasets

    datasets.disable_progress_bars()
    below, options = WAYS[way]
    loaded = datasets.load_dataset(str(dataset / below), cache_dir=str(tmp_path), **options)
    rows = [row for part in loaded.values() for row in part]
    assert sorted(row["__key__"] for row in rows) == sorted(row.key for row in read_samples(dataset))
    assert sigmas(row["json"] for row in rows) == [SIGMAS[-1]] * len(rows)


@pytest.mark.parametrize("pattern", [f"{SHARDS}/*.tar", f"{PRIVATE}/{CURRENT}/{SHARDS}/*.tar"])
def test_the_webdataset_builder_takes_patterns(dataset: Path, tmp_path: Path, pattern: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("webdataset", data_files=str(dataset / pattern), cache_dir=str(tmp_path))
    assert sigmas(row["json"] for row in loaded["train"]) == [SIGMAS[-1]] * 6


@pytest.mark.parametrize("pattern", ["**/*.tar", "*/*.tar"])
def test_patterns_that_pass_over_a_linked_folder_are_refused_and_mix_no_versions(
    dataset: Path, tmp_path: Path, pattern: str
) -> None:
    """fsspec enters a linked folder by its name and not by a pattern; of hidden ones datasets takes nothing."""
    import datasets

    datasets.disable_progress_bars()
    with pytest.raises(FileNotFoundError):
        datasets.load_dataset(str(dataset), data_files=pattern, cache_dir=str(tmp_path))


def test_webdataset_reads_one_version_to_its_end_from_the_versions_own_folder(tmp_path: Path) -> None:
    """A rebuild between two shards: by public names a reader goes on in the new version; by `readlink -f` it stays."""
    import webdataset as wds

    photos(tmp_path / "photos", 6, 24, 16)
    out = publish(tmp_path, 5)
    kept = built_folder(out)
    assert kept == (out / PRIVATE / CURRENT).resolve()
    readers = {}
    for folder in (out, kept):
        urls = sorted(str(path) for path in (folder / SHARDS).glob("*.tar"))
        assert len(urls) > 1
        pipeline = wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode()
        readers[folder] = (len(urls), iter(pipeline))
    first = {folder: next(samples) for folder, (_, samples) in readers.items()}
    publish(tmp_path, 60)
    seen = {folder: [first[folder], *samples] for folder, (_, samples) in readers.items()}
    assert all(len(samples) == 6 for samples in seen.values()), "no sample is lost or comes twice"
    assert set(sigmas(sample["json"] for sample in seen[kept])) == {5}
    assert set(sigmas(sample["json"] for sample in seen[out])) == {5, 60}


def test_open_clips_list_of_shards_is_of_one_version(dataset: Path) -> None:
    from patina.captioning.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    from open_clip_train.data import expand_urls, get_dataset_size

    for folder in (dataset, dataset / PRIVATE / CURRENT):
        names = ",".join(sorted(path.stem for path in (folder / SHARDS).glob("*.tar")))
        pattern = f"{folder / SHARDS}/{{{names}}}.tar"
        urls, _ = expand_urls(pattern)
        assert get_dataset_size(pattern) == (None, len(urls)), "the card gives the number of samples"
        assert sorted(urls) == sorted(str(path) for path in (folder / SHARDS).iterdir())


@pytest.mark.parametrize(
    "words", [["-C", "out/.patina/current", "."], ["-h", "--exclude=.patina", "-C", "out", "."]], ids=["current", "OUT"]
)
def test_tar_packs_the_current_version_as_plain_files(dataset: Path, tmp_path: Path, words: list[str]) -> None:
    packed = tmp_path / "it.tar"
    subprocess.run(["tar", "-cf", str(packed), *words], check=True, cwd=dataset.parent)
    with tarfile.open(packed) as tar:
        members = {member.name.removeprefix("./"): member for member in tar if not member.isdir()}
        assert all(member.isfile() for member in members.values())
        found = {name: _content(tar, member) for name, member in members.items()}
    assert found == {name: path.read_bytes() for name, path in public_files(dataset).items()}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    assert content is not None
    return content.read()


def uploaded(folder: Path, **options: Any) -> set[str]:
    """The files that `HfApi.upload_folder` would send, without sending any."""
    from huggingface_hub import HfApi

    sent: list[Any] = []

    class Asked(HfApi):
        def _prepare_upload_folder_additions(self, *args: Any, **how: Any) -> Any:
            sent.extend(super()._prepare_upload_folder_additions(*args, **how))
            raise InterruptedError

        def _validate_yaml(self, *_: Any, **__: Any) -> None:
            """The hub would look at the card."""

    with pytest.raises(InterruptedError):
        Asked(token=False).upload_folder(
            repo_id="owner/name", repo_type="dataset", folder_path=str(folder), token=False, **options
        )
    return {operation.path_in_repo for operation in sent}


def test_the_hub_is_handed_the_versions_folder(dataset: Path) -> None:
    """huggingface_hub enters no linked folder and says nothing: of OUT it takes a dataset without shards, and all
    versions from the private folder."""
    everything = set(public_files(dataset))
    assert uploaded(dataset / PRIVATE / CURRENT) == everything
    assert uploaded(dataset / SHARDS) == {name.removeprefix(f"{SHARDS}/") for name in everything if SHARDS in name}
    tars = {name for name in everything if name.endswith(".tar")}
    of_out = uploaded(dataset)
    assert tars.isdisjoint(of_out)
    assert len({name.split("/")[2] for name in of_out if name.endswith(".tar")}) == 3
    assert uploaded(dataset, ignore_patterns=f"{PRIVATE}/*") == {name for name in everything if SHARDS not in name}
