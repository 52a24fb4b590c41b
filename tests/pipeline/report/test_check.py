"""`check` finds what is wrong, names it, and is quiet about what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.format.manifest import SampleRow, load_manifest, read_samples
from patina.pipeline.format.shard import pack, read_shard, write_shard
from patina.pipeline.hashing import file_sha256
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.report.check import check
from patina.pipeline.versions.version import built_folder
from patina.synth.image import Image
from tests.pipeline.making import copied, photos, picture, save, tiny_recipe

BOTH = {"noisy": {}, "uncompleted": {}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    photos(folder / "photos", 4)
    build(tiny_recipe(folder, degradations=BOTH), folder / "out")
    return folder


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return copied(made, tmp_path) / "out"


def rewrite(dataset: Path, change: Callable[[dict[str, bytes]], None]) -> str:
    """Change the first sample of the noisy shard, and make shard and manifest fit each other again: a forger's work,
    or a bug's, that no digest of a file shows."""
    path = next((dataset / SHARDS).glob("*noisy*"))
    samples = [(key, dict(members)) for key, members, _ in read_shard(path)]
    change(samples[0][1])
    written = write_shard(path, (pack(key, list(members.items())) for key, members in samples))
    body = json.loads((dataset / MANIFEST).read_text())
    del body["sum"]
    entry = next(s for s in body["shards"] if s["name"] == path.name)
    entry |= {"sha256": written.sha256, "bytes": written.size}
    (dataset / MANIFEST).write_text(json.dumps(body))
    manifest_digest(dataset, body)
    return path.name


def manifest_digest(dataset: Path, body: dict[str, Any]) -> None:
    import hashlib

    lines = "".join(f"{s['sha256']}  {s['name']}\n" for s in body["shards"])
    body["digest"] = hashlib.sha256(lines.encode()).hexdigest()
    (dataset / MANIFEST).write_text(json.dumps(body))


def told(dataset: Path, replay: int | None = 0) -> str:
    return "\n".join(map(str, check(dataset, replay).findings))


def test_a_sound_dataset_has_no_findings(dataset: Path) -> None:
    checked = check(dataset, None, workers=3)
    assert checked.ok
    assert checked.skipped == ()
    assert (checked.samples, checked.replayed) == (8, 8)
    assert check(dataset, 3).replayed == 3
    assert check(dataset).replayed == 0


def test_pairs_that_cannot_be_replayed_are_counted(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    for clean in photos(tmp_path / "gt", 2, first=30):
        save(tmp_path / "lq" / clean.name, cv2.imread(str(clean)) // 2)
    pairs = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "shadowed"}
    build(tiny_recipe(tmp_path, sources=[{"path": "photos"}, pairs]), tmp_path / "out")
    checked = check(tmp_path / "out", None)
    assert (checked.replayed, checked.pairs) == (3, 2)
    assert checked.summary == "2 shards, 5 samples, 3 replayed; 2 ingested pairs cannot be replayed"
    assert check(tmp_path / "out", 1).summary == "2 shards, 5 samples, 1 replayed"
    assert check(tmp_path / "out").summary == "2 shards, 5 samples, 0 replayed"


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected a dataset, found no manifest"):
        check(tmp_path)


def test_another_lq_is_found_by_its_psnr_and_by_replay(dataset: Path) -> None:
    def brighter(members: dict[str, bytes]) -> None:
        image = cv2.imdecode(np.frombuffer(members["png"], np.uint8), cv2.IMREAD_COLOR)
        members["png"] = cv2.imencode(".png", np.maximum(image, 9))[1].tobytes()

    name = rewrite(dataset, brighter)
    assert f"{name} " in told(dataset)
    assert "its PSNR is" in told(dataset)


def test_a_pixel_that_psnr_does_not_show_is_found_by_replay(dataset: Path) -> None:
    def swapped(members: dict[str, bytes]) -> None:
        image = cv2.imdecode(np.frombuffer(members["png"], np.uint8), cv2.IMREAD_COLOR)
        members["png"] = cv2.imencode(".png", image)[1].tobytes()  # other bytes, equal pixels: no finding
        fact = json.loads(members["json"])
        fact["params"] = json.dumps(json.loads(fact["params"]) | {"sigma": 49.0}, separators=(",", ":"), sort_keys=True)
        members["json"] = json.dumps(fact).encode()

    rewrite(dataset, swapped)
    assert "its samples are not those that samples.parquet lists" in told(dataset)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.pop("gt.png"), "expected one LQ, one GT and a caption"),
        (lambda m: m.update(txt=b"another caption"), "its .txt is not the caption in its .json"),
        (lambda m: m.update(png=m["png"][:200]), "an image cannot be decoded"),
        (lambda m: m.update(json=b"{}"), ".json is missing or not as written"),
        (lambda m: m.update({"gt.png": cv2.imencode(".png", picture(40, 40))[1].tobytes()}), "its .json says"),
    ],
    ids=["no GT", "other caption", "torn image", "no facts", "other size"],
)
def test_a_sample_that_is_wrong_in_itself(
    dataset: Path, change: Callable[[dict[str, bytes]], None], expected: str
) -> None:
    rewrite(dataset, change)
    assert expected in told(dataset)


def test_strays_are_named_since_a_reader_would_train_on_them(dataset: Path) -> None:
    (dataset / SHARDS / "train-9999-noisy.tar").write_bytes(b"")
    assert told(dataset) == "shards/train-9999-noisy.tar: is not in the manifest"


def test_tables_are_checked(dataset: Path) -> None:
    (built_folder(dataset) / "sources.parquet").unlink()
    (dataset / "samples.parquet").write_bytes(b"PAR1")
    assert "sources.parquet: is missing" in told(dataset)
    assert "samples.parquet: its bytes are not those that were written" in told(dataset)


def near_pair(folder: Path, second: np.ndarray) -> Path:
    """Two photographs in two folders that a recipe puts on two sides, and leaves there."""
    save(folder / "a" / "one.png", picture(200, 150, seed=1))
    save(folder / "a" / "far.png", picture(200, 150, seed=2))
    save(folder / "b" / "two.png", second)
    sources = [{"path": "a", "split": "train"}, {"path": "b", "split": "test"}]
    table = {"sources": sources, "split": {"leaks": "report"}, "degradations": {"noisy": {}}}
    build(parse_recipe(table, folder), folder / "out")
    return folder / "out"


@pytest.mark.parametrize("how", ["jpeg", "smaller", "brighter", "cut"])
def test_near_duplicates_on_two_sides_are_found(tmp_path: Path, how: str) -> None:
    image = picture(200, 150, seed=1)
    other = {
        "jpeg": lambda: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1),
        "smaller": lambda: cv2.resize(image, (120, 90), interpolation=cv2.INTER_AREA),
        "brighter": lambda: np.minimum(image.astype(int) + 25, 255).astype(np.uint8),
        "cut": lambda: np.ascontiguousarray(image[4:-4, 5:-5]),
    }[how]()
    out = near_pair(tmp_path, other)
    assert told(out) == (
        "one.png (train) and two.png (test): are near duplicates on two sides of a split; "
        "force one `split` for both sources"
    ) or told(out).startswith("two.png (test) and one.png (train): are near duplicates")


def tiled_pair(folder: Path, first: np.ndarray, second: np.ndarray, **how: Any) -> Path:
    """Two photographs in two folders that a recipe puts on two sides, cut into tiles of 32 px."""
    save(folder / "a" / "one.png", first)
    save(folder / "b" / "two.png", second)
    sources = [{"path": "a", "split": "train"}, {"path": "b", "split": "test"}]
    split = {"leaks": "report"}
    table = {"sources": sources, "split": split, "tiles": {"size": 32, **how}, "degradations": {"noisy": {}}}
    build(parse_recipe(table, folder), folder / "out")
    return folder / "out"


def test_photographs_that_share_a_tile_are_no_copies(tmp_path: Path) -> None:
    """Alike from afar, and equal in one tile of twelve: the audit of the build says nothing, and no more does `check`,
    which compared the first tiles alone before."""
    coarse = cv2.GaussianBlur(picture(128, 96, seed=1), (0, 0), 6).astype(float)
    rng = np.random.default_rng(0)
    first, second = (np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8) for _ in range(2))
    second[:32, :32] = first[:32, :32]
    out = tiled_pair(tmp_path, first, second)
    manifest = load_manifest(out)
    assert manifest is not None
    assert manifest.notes == () and check(out).findings == ()


@pytest.mark.parametrize(("how", "found"), [({}, 1), ({"stride": 48}, 0)])
def test_a_copy_in_tiles_is_found_where_they_cover_it(tmp_path: Path, how: dict[str, Any], found: int) -> None:
    """As of whole photographs. Of tiles with gaps between them nothing can be said: no finding."""
    first = picture(96, 64, seed=1)
    second = np.minimum(first.astype(int) + 25, 255).astype(np.uint8)
    out = tiled_pair(tmp_path, first, second, **how)
    findings = check(out).findings
    assert [f.what.startswith("are near duplicates") for f in findings] == [True] * found


def test_different_photographs_on_two_sides_are_no_finding(tmp_path: Path) -> None:
    assert check(near_pair(tmp_path, picture(200, 150, seed=3))).ok


def test_the_same_photograph_on_two_sides_is_kept_on_one_and_noted(tmp_path: Path) -> None:
    out = near_pair(tmp_path, picture(200, 150, seed=1))
    manifest = load_manifest(out)
    assert manifest is not None
    assert {row.split for row in read_samples(out)} == {"train", "test"}  # far.png stays in train
    assert check(out).ok
    assert "left out of train: also in test, byte for byte" in manifest.notes[0]


def test_another_installation_is_said_to_be_one(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from patina.synth.degradations.noisy import Noisy

    monkeypatch.setattr(Noisy, "version", 99)
    checked = check(dataset, None)
    assert checked.ok
    assert checked.replayed == 4
    assert checked.skipped == (
        "replay of noisy: built by another version of it than is installed, or with other masks",
    )


@pytest.mark.parametrize("levels", [1, 2])
def test_a_replay_within_one_level_is_another_processors_and_no_damage(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, levels: int
) -> None:
    from patina.synth.degradation import Degraded, Params
    from patina.synth.degradations.noisy import Noisy

    real = Noisy.apply

    def rounded_otherwise(self: Noisy, image: Image, params: Params) -> Degraded:
        lq = real(self, image, params).image
        lq[3, 5, 1] = int(lq[3, 5, 1]) + (levels if lq[3, 5, 1] < 128 else -levels)
        return Degraded(lq)

    monkeypatch.setattr(Noisy, "apply", rounded_otherwise)
    checked = check(dataset, None)
    assert checked.replayed == 8
    if levels == 1:
        assert checked.ok
        (said,) = checked.skipped
        assert said.startswith("replay: 4 samples came out within one level of what is stored")
        assert "made on another kind of processor" in said and "no damage" in said
    else:
        assert [f.what for f in checked.findings] == ["its LQ is not what its GT and parameters give"] * 4
        assert checked.skipped == ()


def test_parameters_that_applying_them_changes_are_a_finding(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored would then depend on whether it was stored before or after."""
    from patina.synth.degradation import Degraded
    from patina.synth.degradations.noisy import Noisy

    real = Noisy.apply

    def changing(self: Noisy, image: Image, params: dict[str, Any]) -> Degraded:
        degraded = real(self, image, params)
        params["seen"] = True
        return degraded

    monkeypatch.setattr(Noisy, "apply", changing)
    assert [f.what for f in check(dataset, None).findings] == ["its LQ is not what its GT and parameters give"] * 4


def test_a_damaged_shard_is_found_whatever_its_times_say_and_made_again(dataset: Path, tmp_path: Path) -> None:
    import os

    path = next((dataset / SHARDS).glob("*noisy*"))
    good, stat = file_sha256(path), path.stat()
    data = bytearray(path.read_bytes())
    data[3000] ^= 255
    with path.open("r+b") as file:  # in place: same inode, same size; and the time is set back
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert f"{path.name}: its bytes are not those that were written" in told(dataset)
    build(tiny_recipe(tmp_path, degradations=BOTH), dataset)
    assert file_sha256(path) == good
    assert check(dataset, None).ok


def test_copies_on_two_sides_can_be_left_to_the_notes(tmp_path: Path) -> None:
    out = near_pair(tmp_path, np.ascontiguousarray(picture(200, 150, seed=1)[4:-4, 5:-5]))
    assert not check(out).ok
    assert check(out, copies=False).ok


def test_only_what_may_be_a_copy_on_another_side_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n photographs about n²/700 pairs have near hashes: each photograph is looked at once, and few are laid over
    another."""
    photos(tmp_path / "photos", 120, 48, 40)
    build(tiny_recipe(tmp_path, split={"val": 0.3}), tmp_path / "out")
    opened: list[str] = []
    laid: list[int] = []
    import patina.pipeline.report.check as module

    real, register = module._clean, module.register

    def clean(out: Path, row: SampleRow) -> Image:
        opened.append(row.key)
        return real(out, row)

    monkeypatch.setattr(module, "_clean", clean)
    monkeypatch.setattr(module, "register", lambda a, b: (laid.append(1), register(a, b))[1])
    assert check(tmp_path / "out").ok
    assert len(opened) - 2 * len(laid) <= 120
    assert len(laid) <= 10


def test_keys_that_two_samples_have_or_that_name_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a build that forgot the entry: each photograph's key then stands in the shards of both degradations."""
    photos(tmp_path / "photos", 2)
    monkeypatch.setattr("patina.pipeline.plan.wanted.sample_key", lambda digest, *_: f"{digest[:16]}-noisy")
    build(tiny_recipe(tmp_path, degradations=BOTH), tmp_path / "out")
    found = told(tmp_path / "out").split("\n")
    assert sum(line.endswith("has a sample of this key too") for line in found) == 2
    others = [line for line in found if "its key is not that of what it is, " in line]
    assert len(others) == 2
    assert not any("noisy.tar " in line for line in others), "whose keys are right"
