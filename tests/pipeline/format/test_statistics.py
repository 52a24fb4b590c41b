"""Statistics: known answers, and the same numbers whatever the order of the rows."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import ManifestError
from patina.pipeline.format.manifest import read_samples, samples_schema
from patina.pipeline.format.statistics import (
    BATCHES,
    STOP_WORDS,
    Spread,
    entropy_of,
    floor,
    read_statistics,
    statistics,
)
from patina.synth.degradations import DACLIP_DEGRADATIONS as LABELS
from patina.synth.severity import LEVELS, level_of
from tests.pipeline.making import photos, tiny_recipe

PUBLISHED = (2103, 6000, 3550, 485, 3550, 861, 1800, 2680, 1872, 29900)
"""Samples of DA-CLIP's ten types, as its paper counts them."""


def table(count: int, **columns: Any) -> pa.Table:
    """`count` rows of samples.parquet; every column that is not given is the same in all of them."""
    filled: dict[str, Any] = {}
    for field in samples_schema():
        default = "x" if field.type == pa.string() else 1
        filled[field.name] = columns.get(field.name, [default] * count)
    split = columns.get("split", ["train"] * count)
    return pa.table({**filled, "split": split}, samples_schema())


def source(digest: str, **facts: Any) -> dict[str, Any]:
    plain = {
        "digest": digest,
        "width": 64,
        "height": 48,
        "degradation": "",
        "licence": "",
        "attribution": "",
        "set": "",
    }
    return {**plain, **facts}


@pytest.mark.parametrize(
    ("batch", "counts", "nats"),
    [
        (784, [7], 6.664),
        (3136, PUBLISHED, 6.50),
        (3136, [10] * 10, 5.75),
        (3136, [4] * 50, 4.14),
        (4, [1] * 50, 0.0),
    ],
)
def test_the_floor_of_daclips_loss(batch: int, counts: list[int], nats: float) -> None:
    assert floor(batch, entropy_of(counts)) == pytest.approx(nats, abs=0.006)


def test_entropy_is_that_of_the_shares() -> None:
    assert entropy_of([5]) == 0
    assert math.copysign(1, entropy_of([5])) == 1, "no minus before a zero"
    assert entropy_of([3, 3, 0]) == pytest.approx(math.log(2))
    assert entropy_of([1, 2, 3]) == pytest.approx(entropy_of([30, 10, 20]))
    assert entropy_of([]) == 0


def test_counts_by_split_and_entry() -> None:
    split = ["val", "train", "train", "test", "train"]
    entry = ["noisy", "hazy", "noisy", "hazy", "noisy"]
    found = statistics(table(5, split=split, entry=entry), [])
    assert found.counts == {"train": {"hazy": 1, "noisy": 2}, "val": {"noisy": 1}, "test": {"hazy": 1}}
    assert list(found.counts) == ["train", "val", "test"]
    assert found.count_rows() == [
        ["split", "hazy", "noisy", "all"],
        ["train", "1", "2", "3"],
        ["val", "0", "1", "1"],
        ["test", "1", "0", "1"],
    ]


def test_severity_is_counted_in_the_same_words_as_samples_have() -> None:
    rng = np.random.default_rng(3)
    scores = np.round(np.r_[rng.uniform(0, 100, 500), 0, 20, 40, 60, 80, 100, 19.99, 79.99], 2)
    entry = np.array(["noisy", "hazy", "rainy"])[rng.integers(0, 3, scores.size)]
    small = rng.uniform(0, 100, scores.size)
    most = {"psnr": 45, "ssim": 1, "psnr_y": 46, "ssim_y": 1}
    figures = {name: rng.uniform(0, top, scores.size) for name, top in most.items()}
    columns = {"severity": scores, "entry": entry.tolist(), **figures, "clip_severity": small}
    found = statistics(table(scores.size, **columns), [])
    assert [m.entry for m in found.measures] == ["hazy", "noisy", "rainy"]
    for m in found.measures:
        mine = entry == m.entry
        levels = Counter(level_of(score) for score in scores[mine])
        assert m.levels == tuple(levels[level] for level in LEVELS)
        assert sum(m.bars) == m.count == mine.sum()
        assert m.severity.median == pytest.approx(float(np.median(scores[mine])), abs=1e-4)
        assert m.severity.quarter == pytest.approx(float(np.quantile(scores[mine], 0.25)), abs=1e-4)
        assert m.severity.low == scores[mine].min()
        assert m.severity.high == scores[mine].max()
        assert m.clip_severity == pytest.approx(float(np.median(small[mine])), abs=1e-4)
        for name, values in figures.items():
            assert getattr(m, name) == pytest.approx(float(np.median(values[mine])), abs=1e-4)
    for m, stored in zip(found.measures, found.facts()["measures"], strict=True):  # the file keeps its keys
        names = ["entry", "count", "words", "bars", "severity", "clip_severity", *figures]
        assert (list(stored), stored["words"]) == (names, list(m.levels))


def test_each_photographs_caption_counts_once() -> None:
    captions = ["A dog's bowl", "a dog’s  bowl; the dog", "Ein Käse-Brot/Käse", "", "A dog's bowl"]
    sources = ["a", "b", "c", "d", "a"]
    who = ["x@1", "x@1", "y@2", "x@1", "x@1"]
    found = statistics(table(5, caption=captions, source_sha256=sources, captioner=who), [])
    assert found.captions.photographs == 4
    assert found.captions.distinct == 4
    assert found.captions.lengths == {0: 1, 2: 1, 3: 1, 5: 1}
    assert found.captions.words == Spread(0, 1.5, 2.5, 3.5, 5)
    assert dict(found.captions.frequent) == {
        "bowl": 2, "dog": 1, "dog's": 1, "dog’s": 1, "ein": 1, "käse": 1, "käse-brot": 1,
    }  # fmt: skip
    assert found.captions.vocabulary == 9, "with the words that say nothing: a, the"
    assert found.captions.captioners == {"x@1": 3, "y@2": 1}


def test_words_that_say_nothing_are_not_among_the_frequent() -> None:
    found = statistics(table(2, caption=["the cat on the mat", "a cat"], source_sha256=["a", "b"]), [])
    assert found.captions.frequent == (("cat", 2), ("mat", 1))
    assert not STOP_WORDS & {word for word, _ in found.captions.frequent}


def test_sizes_and_megapixels() -> None:
    samples = table(4, width=[100, 100, 200, 100], height=[50, 50, 50, 100])
    found = statistics(samples, [source("a", width=4000, height=3000), source("b", width=30, height=20)])
    assert found.samples.sides == ((100, 50, 2), (100, 100, 1), (200, 50, 1))
    assert found.samples.megapixels == Spread(0.005, 0.005, 0.0075, 0.01, 0.01)
    assert found.sources.count == 2
    assert found.sources.megapixels is not None
    assert found.sources.megapixels.high == 12


def test_rights_count_photographs_and_samples() -> None:
    samples = table(5, source_sha256=["a", "a", "b", "c", "gone"])
    mine = {"set": "mine", "licence": "CC0-1.0"}
    pairs = {"set": "rain", "degradation": "rainy", "attribution": "R."}
    found = statistics(samples, [source("a", **mine), source("b", **mine), source("c", **pairs)])
    assert [(r.set, r.licence, r.attribution, r.degradation, r.photographs, r.samples) for r in found.rights] == [
        ("mine", "CC0-1.0", "", "", 2, 3),
        ("rain", "", "R.", "rainy", 1, 1),
    ]
    assert found.rights_rows()[2] == ["rain (pairs, rainy)", "1", "1", "not stated", "R."]


def test_similarity_of_those_that_have_one() -> None:
    sources = [source("a", similarity=0.2), source("b", similarity=None), source("c", similarity=0.3)]
    found = statistics(table(1), sources).captions.similarity
    assert found == Spread(0.2, 0.225, 0.25, 0.275, 0.3)
    assert statistics(table(1), [source("a")]).captions.similarity is None


def test_one_label_is_warned_of_with_its_floor() -> None:
    found = statistics(table(3, degradation=["noisy"] * 3, source_sha256=["a", "b", "c"], caption=["x", "y", "z"]), [])
    (warning,) = found.warnings
    assert "every training sample has the label 'noisy'" in warning
    assert "6.664 for a batch of 784" in warning
    assert found.labels.floors == {784: 6.664, 3136: 8.051}


def test_the_mix_is_that_of_the_training_split() -> None:
    split, labels = ["train", "train", "val", "val"], ["noisy", "noisy", "hazy", "rainy"]
    assert statistics(table(4, split=split, degradation=labels), []).labels.counts == {"noisy": 2}
    found = statistics(table(2, split=["val", "test"], degradation=["hazy", "noisy"]), [])
    assert found.labels.counts == {"hazy": 1, "noisy": 1}, "all of it where nothing is for training"


def test_equal_captions_are_warned_of() -> None:
    labels = ["noisy", "hazy"]
    same = statistics(table(2, degradation=labels, source_sha256=["a", "b"], caption=["x", "x"]), [])
    assert [w for w in same.warnings if "all captions are the same" in w]
    assert not statistics(table(2, degradation=labels, source_sha256=["a", "a"], caption=["x", "x"]), []).warnings


def test_a_dataset_in_another_order_has_the_same_numbers() -> None:
    rng, count = np.random.default_rng(0), 400
    sources = rng.integers(0, 60, count)
    words = ["tree", "house", "a", "sea-side", "dog's"]
    said = {i: " ".join(words[j] for j in rng.integers(0, 5, rng.integers(0, 9))) for i in range(60)}
    rows = table(
        count,
        source_sha256=[f"{i:02d}" for i in sources],
        caption=[said[i] for i in sources],
        entry=[LABELS[i] for i in rng.integers(0, 10, count)],
        severity=rng.uniform(0, 100, count),
        width=rng.integers(30, 40, count),
    )
    facts = [source(f"{i:02d}", set=f"set {i % 3}") for i in range(60)]
    one = statistics(rows, facts)
    other = statistics(rows.take(rng.permutation(count)), facts[::-1])
    assert one == other
    chunks = pa.concat_tables([rows.slice(0, 150), rows.slice(150, 1), rows.slice(151)])
    assert statistics(chunks, facts) == one
    assert json.loads(json.dumps(one.facts())) == one.facts()


def test_nothing_at_all() -> None:
    found = statistics(samples_schema().empty_table(), [])
    assert found.captions.words is None
    assert found.samples.megapixels is None
    assert found.measures == ()
    assert json.dumps(found.facts())


def test_a_built_dataset(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    sources = [{"path": "photos", "licence": "CC0-1.0"}]
    words = {"noisy": {"variants": 2}, "hazy": {}}
    build(tiny_recipe(tmp_path, sources=sources, degradations=words), tmp_path / "out")
    found, rows = read_statistics(tmp_path / "out"), read_samples(tmp_path / "out")
    assert found.counts == {"train": {"hazy": 3, "noisy": 6}}
    assert {m.entry: m.psnr for m in found.measures} == {
        entry: pytest.approx(float(np.median([r.psnr for r in rows if r.entry == entry])), abs=1e-4) for entry in words
    }
    assert [(r.set, r.photographs, r.samples) for r in found.rights] == [("photos", 3, 9)]
    assert sum(found.captions.captioners.values()) == 3
    assert set(found.labels.floors) == set(BATCHES)
    with pytest.raises(ManifestError, match=r"samples\.parquet: cannot be read"):
        read_statistics(tmp_path)


@pytest.mark.slow
def test_a_million_rows_take_seconds() -> None:
    rng, count = np.random.default_rng(0), 1_000_000
    words = np.array([f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(500)])
    digests = [f"{i:064x}" for i in range(count // 10)]
    said = [" ".join(row) for row in words[rng.integers(0, 500, (count // 10, 12))]]
    rows = table(
        count,
        source_sha256=pa.array(digests).take(pa.array(np.arange(count) // 10)).to_pylist(),
        caption=pa.array(said).take(pa.array(np.arange(count) // 10)).to_pylist(),
        entry=np.array(LABELS)[np.arange(count) % 10].tolist(),
        severity=rng.uniform(0, 100, count),
    )
    facts = [source(digest) for digest in digests]
    start = time.process_time()
    found = statistics(rows, facts)
    assert time.process_time() - start < 20, "about two when nothing else runs"
    assert found.captions.vocabulary == 500
    assert sum(m.count for m in found.measures) == count
