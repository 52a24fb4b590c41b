"""The card: its YAML is what the hub reads, its code runs, its texts stay texts, and it is the same each time."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from patina.pipeline.builder.build import build
from patina.pipeline.format.card import FIELD_ROWS, TRUTH, card, public, shown_recipe
from patina.pipeline.format.card_head import HUB_LICENCES, hub_licence
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import Manifest, ShardEntry, load_manifest, read_samples
from patina.pipeline.format.sample_schema import FIELDS
from patina.pipeline.format.statistics import Spread, Statistics, read_statistics
from patina.pipeline.plan.planning import Options
from patina.synth.degradations import CATALOGUE
from patina.synth.rng import Rng
from tests.pipeline.making import photo, photos, picture, save, tiny_recipe

ALERT = "<script>alert(1)</script>"
HOSTILE = f"a|b `c` *d* _e_ [f](http://x) {ALERT} & \\ ~g~ $h$ # i"


def built(folder: Path, **changes: Any) -> Path:
    """A dataset of the photographs in `folder`/photos."""
    build(tiny_recipe(folder, **changes), folder / "out", Options(max_set_aside=0.5))
    return folder / "out"


def parts(out: Path) -> tuple[dict[str, Any], str]:
    """A card's YAML head as data, and its body."""
    _, head, body = (out / "README.md").read_text("utf-8").split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found, body


def code(body: str, language: str) -> list[str]:
    """The blocks of code of one language."""
    return [t.content for t in MarkdownIt("commonmark").parse(body) if t.type == "fence" and t.info == language]


def shown(body: str) -> tuple[str, set[str]]:
    """What a reader sees of it, and the HTML tags that it becomes."""
    html = MarkdownIt("commonmark").enable("table").render(body)
    tags = set(re.findall(r"<(\w+)", html))
    text = re.sub(r"<[^>]*>", "", html)
    for escape, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(escape, character)
    return text, tags


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and pairs, a composite with steps, two splits, a duplicate and two broken files."""
    folder = tmp_path_factory.mktemp("card")
    first, *_ = photos(folder / "photos", 5)
    shutil.copy(first, folder / "photos" / "twice.png")
    for i in range(2):
        (folder / "photos" / f"broken-{i}.png").write_bytes(first.read_bytes()[: 90 + i])
    save(folder / "gt" / "p.png", picture(64, 48, seed=40))
    save(folder / "lq" / "p.png", picture(64, 48, seed=40) // 2 + 100)
    sources = [
        {"path": "photos", "licence": "CC0-1.0", "attribution": "A. Photographer"},
        {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy", "licence": "CC BY 4.0"},
    ]
    words = {"noisy": {}, "uncompleted": {}, "hazy+rainy": {"steps": True}}
    return built(folder, sources=sources, degradations=words, split={"val": 0.4}, buckets=2, name="Street & sky")


def test_the_head_is_what_the_hub_reads(dataset: Path) -> None:
    head, _ = parts(dataset)
    assert head["pretty_name"] == "Street & sky"
    assert head["language"] == ["en"]
    assert head["license"] == "other"
    assert head["license_name"] == "several-licences"
    assert head["license_details"] == "CC BY 4.0; CC0-1.0"
    assert head["task_categories"] == ["image-to-image", "image-to-text"]
    assert head["size_categories"] == ["n<1K"]
    assert {"image-restoration", "webdataset", "croissant", "patina"} < set(head["tags"])
    assert {"hazy", "rainy", "noisy", "uncompleted"} < set(head["tags"])
    names = ["default", "hazy", "hazy+rainy", "noisy", "uncompleted"]
    assert [c["config_name"] for c in head["configs"]] == names
    assert [i["config_name"] for i in head["dataset_info"]] == names


def test_the_heads_are_valid_to_the_hubs_own_library(dataset: Path) -> None:
    from huggingface_hub import DatasetCard

    loaded = DatasetCard.load(dataset / "README.md")
    assert loaded.data.license == "other"
    assert loaded.data.pretty_name == "Street & sky"
    assert loaded.data.size_categories == ["n<1K"]


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("CC0-1.0", "cc0-1.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        (" cc_by-sa 4.0 ", "cc-by-sa-4.0"),
        ("Apache-2.0", "apache-2.0"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("ODbL-1.0", "odbl"),
        ("MIT", "mit"),
        ("CC0", "cc0-1.0"),
        ("public domain", ""),
        ("CC BY 9.0", ""),
        ("for research only", ""),
        ("", ""),
    ],
)
def test_licences_as_the_hub_spells_them(written: str, known: str) -> None:
    assert hub_licence(written) == known
    assert known == "" or known in HUB_LICENCES


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["CC0-1.0", "CC0-1.0"], {"license": "cc0-1.0"}),
        (["CC0", "CC0-1.0"], {"license": "cc0-1.0"}),
        (["", ""], {"license": "unknown"}),
        (
            ["My own: v2", "My own: v2"],
            {"license": "other", "license_name": "my-own-v2", "license_details": "My own: v2"},
        ),
        (["CC0-1.0", ""], {"license": "other", "license_details": "not stated; CC0-1.0"}),
    ],
)
def test_the_licence_is_one_only_if_all_agree(licences: list[str], expected: dict[str, str], tmp_path: Path) -> None:
    sources = []
    for i, licence in enumerate(licences):
        photos(tmp_path / f"set{i}", 1, first=i)
        sources.append({"path": f"set{i}", "licence": licence})
    head, body = parts(built(tmp_path, sources=sources))
    assert expected.items() <= head.items()
    assert ("license_name" in head) == (expected["license"] == "other")
    assert ("no licence is known" in body) == ("" in licences)


@pytest.mark.parametrize(
    ("count", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (5_000_000, "1M<n<10M")]
)
def test_size_categories(count: int, size: str, dataset: Path) -> None:
    shard = ShardEntry("train", "noisy", 0, "f", "0" * 64, 1, count)
    text = card(manifest(dataset, shards=(shard,)), (), numbers(dataset))
    assert f"\n- {size}\n" in text


def manifest(out: Path, **changes: Any) -> Manifest:
    found = load_manifest(out)
    assert found is not None
    return replace(found, **changes)


def numbers(out: Path) -> Statistics:
    return read_statistics(out)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_its_python_runs(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    blocks = code(parts(dataset)[1], "python")
    assert len(blocks) == 5
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block.replace("FOLDER", str(dataset)), names)
        if "rows" in names:
            assert len(names["rows"]) == sum(r.split == "train" for r in read_samples(dataset))
        if "severe" in names:
            assert names["table"].num_rows == len(read_samples(dataset))
        if "batch" in names:
            assert names["batch"]["lq"].shape == names["batch"]["gt"].shape == (2, 3, 16, 16)
        if "members" in names:
            assert names["members"]["txt"].decode() == names["row"].caption
        if "facts" in names:
            assert names["lq"].shape == names["gt"].shape == (48, 64, 3)
            assert names["facts"]["caption"] == names["caption"]
        elif "lq" in names:
            assert names["lq"].size == names["gt"].size == (64, 48)


def test_its_command_names_shards_that_are_there(dataset: Path) -> None:
    import braceexpand

    (block,) = code(parts(dataset)[1], "sh")
    found = re.search(r'"FOLDER/(shards/[^"]+)"', block)
    assert found is not None
    names = list(braceexpand.braceexpand(found.group(1)))
    assert sorted(names) == sorted(f"{SHARDS}/{path.name}" for path in (dataset / SHARDS).glob("train-*"))
    told = re.search(r"--train-num-samples (\d+)", block)
    assert told is not None
    assert int(told.group(1)) == sum(f"{SHARDS}/{row.shard}" in names for row in read_samples(dataset))


NAMES = {
    "one": ([(0, "noisy", "")], "FOLDER/shards/train-0000-noisy.tar"),
    "several of one": ([(0, "a", ""), (1, "a", "")], "FOLDER/shards/train-{0000..0001}-a.tar"),
    "all of each": ([(i, e, "") for i in (2, 3) for e in "ab"], "FOLDER/shards/train-{0002..0003}-{a,b}.tar"),
    "by files": ([(0, "a", ""), (0, "a", "jpg")], "FOLDER/shards/train-0000-{a--jpg,a}.tar"),
    "with gaps": ([(0, "a", ""), (2, "b", "")], "FOLDER/shards/train-{0000-a,0002-b}.tar"),
}


@pytest.mark.parametrize(("shards", "expected"), NAMES.values(), ids=NAMES)
def test_one_word_names_all_shards_of_a_split(shards: list[tuple[int, str, str]], expected: str, dataset: Path) -> None:
    import braceexpand

    entries = [ShardEntry("train", entry, b, "f", "0" * 64, 1, 7, group) for b, entry, group in shards]
    entries.sort(key=lambda shard: shard.name)
    text = card(manifest(dataset, shards=tuple(entries)), (), numbers(dataset))
    assert f'--train-data "{expected}"' in text
    assert sorted(braceexpand.braceexpand(expected)) == [f"FOLDER/shards/{shard.name}" for shard in entries]
    assert f"--train-num-samples {7 * len(entries)} " in text


def test_many_shards_with_gaps_are_listed_by_the_shell(dataset: Path, tmp_path: Path) -> None:
    entries = tuple(ShardEntry("train", "a", 2 * i, "f", "0" * 64, 1, 1) for i in range(60))
    (tmp_path / "FOLDER" / SHARDS).mkdir(parents=True)
    for name in (*(shard.name for shard in entries), "val-0000-a.tar"):
        (tmp_path / "FOLDER" / SHARDS / name).touch()
    text = card(manifest(dataset, shards=entries), (), numbers(dataset))
    found = re.search(r'--train-data ("[^"]+")', text)
    assert found is not None
    said = subprocess.run(["sh", "-c", f"echo {found[1]}"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip().split("::") == [f"FOLDER/shards/{shard.name}" for shard in entries]


def test_it_tells_the_samples_of_each_rank(dataset: Path) -> None:
    rows = [line for line in parts(dataset)[1].split("\n") if re.match(r"\| (train|val|test) \|.*,", line)]
    names = sorted(path.name for path in (dataset / SHARDS).glob("train-*"))
    counts = Counter(row.shard for row in read_samples(dataset))
    cells = [", ".join(str(sum(counts[name] for name in names[rank::n])) for rank in range(n)) for n in (2, 4, 8)]
    assert f"| train | {' | '.join(cells)} |" in rows


def test_every_truth_map_of_the_catalogue_is_explained(dataset: Path) -> None:
    for name, kind in CATALOGUE.items():
        assert set(kind.truth) <= set(TRUTH), name
    _, body = parts(dataset)
    text, _ = shown(body)
    for name in ("mask", "hazy-transmission", "hazy-depth", "rainy-streaks", "step-1"):
        assert f"KEY.{name}.png" in text
    assert "a map of what was done" not in text, "no truth map without its meaning"
    assert "255 = kept, 0 = hole" in text


def test_depth_in_metres_and_relative_depth_are_told_apart(dataset: Path) -> None:
    """The physical haze has metres; that of model "reside" has a relative depth, of which metres would be untrue."""
    for model, step in (("physical", 1 / 32), ("reside", 2.0**-14)):
        gt, haze = np.full((64, 64, 3), 120, np.uint8), CATALOGUE["hazy"](model=model)
        assert haze.draw(Rng("2a"), gt)["depth_step"] == step
    meaning, levels = TRUTH["depth"]
    assert "metres" in meaning and "relative" in meaning and "reside" in meaning
    assert "depth_step" in levels and "metres" not in levels


def test_every_key_of_the_facts_is_explained() -> None:
    explained = {name for names in FIELD_ROWS for name in names}
    assert explained == {field.name for field in FIELDS} - {"schema"}


def test_the_recipe_is_there_and_reads_back(dataset: Path) -> None:
    (text,) = code(parts(dataset)[1], "toml")
    assert tomllib.loads(text) == shown_recipe(manifest(dataset).recipe) == manifest(dataset).recipe


def test_statistics_and_sources_are_told(dataset: Path) -> None:
    text, _ = shown(parts(dataset)[1])
    rows = [line for line in parts(dataset)[1].split("\n") if line.startswith("| photos")]
    assert rows == ["| photos | 5 | 15 | CC0-1.0 | A. Photographer |"]
    assert any(
        line.startswith("| ") and "(pairs, hazy) | 1 | 1 | CC BY 4.0 | – |" in line
        for line in parts(dataset)[1].split("\n")
    )
    for m in numbers(dataset).measures:
        assert f"{m.psnr:.2f}" in text
    assert "1 file had the bytes of another and were used once" in text
    assert "entropy" in text
    assert "for a batch of 784" in text


def test_inputs_set_aside_are_grouped_by_reason(dataset: Path) -> None:
    _, body = parts(dataset)
    assert "2 inputs could not be used" in body
    table = body.partition("## Inputs set aside")[2].partition("## ")[0]
    rows = [line for line in table.split("\n") if line.startswith("| ")]
    assert len(rows) == 2, "a head and one reason"
    assert rows[1].startswith("| 2 | ")
    assert rows[1].endswith("| broken-0.png |")


# ---------------------------------------------------------------------------------------------------------------------


def test_texts_from_outside_stay_texts(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", seed=1)
    photo(tmp_path / "photos" / "b.png", seed=2)
    (tmp_path / "photos" / "*c*|`<b>.png").write_bytes(b"")
    licence = "```\n---\nlicense: mit"
    sources = [{"path": "photos", "licence": licence, "attribution": HOSTILE}]
    captions = {"kind": "template", "text": "```</details> <b>{name}</b> é\u200b"}
    out = built(tmp_path, name=f'"x": {HOSTILE}', sources=sources, captions=captions)
    head, body = parts(out)
    assert head["pretty_name"] == f'"x": {HOSTILE}'
    assert head["license"] == "other"
    assert head["license_details"] == "``` --- license: mit"
    text, tags = shown(body)
    assert f'"x": {HOSTILE}' in text
    assert HOSTILE in text.partition("Licences and attribution")[2].replace(" | ", "|")
    assert "*c*|`<b>.png" in text
    assert tags <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "ul", "li",
                    "strong", "details", "summary", "img"}  # fmt: skip
    (recipe,) = code(body, "toml")
    assert tomllib.loads(recipe)["captions"]["text"] == captions["text"]
    assert body.count("</details>") == 2, "the card's own, and the one in the recipe's code"


def test_no_folder_of_the_machine_and_no_secret_is_shown(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "bad.png").write_bytes(b"")
    out = built(tmp_path, sources=[{"path": str(tmp_path / "photos"), "licence": "MIT"}])
    text = (out / "README.md").read_text("utf-8")
    assert str(tmp_path) not in text
    assert 'path = "photos"' in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text), "no date"


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("/home/someone/photos", "photos"),
        ("~/photos/", "photos"),
        (r"C:\Users\someone\photos", "photos"),
        ("file:///home/someone/photos", "photos"),
        ("https://user:pw@example.org/a.tar?token=1#x", "https://example.org/a.tar"),
        ("s3://bucket/photos", "s3://bucket/photos"),
        ("../photos", "../photos"),
        ("a photograph of a {tone} day", "a photograph of a {tone} day"),
        ("", ""),
    ],
)
def test_what_only_its_author_should_know(written: str, seen: str) -> None:
    assert public(written) == seen


def test_patterns_are_no_paths() -> None:
    table: Mapping[str, Any] = {"sources": [{"lq": "/x/lq", "pattern": r"/(\d+)_"}]}
    assert shown_recipe(table) == {"sources": [{"lq": "lq", "pattern": r"/(\d+)_"}]}


def test_the_same_dataset_has_the_same_card(tmp_path: Path) -> None:
    photos(tmp_path / "one" / "photos", 4)
    words = {"noisy": {}, "hazy": {}}
    one = built(tmp_path / "one", degradations={"noisy": {}})
    built(tmp_path / "one", degradations=words)
    photos(tmp_path / "two" / "photos", 4)
    two = built(tmp_path / "two", degradations=words)
    assert (one / "README.md").read_bytes() == (two / "README.md").read_bytes()


def test_works_are_cited_where_they_are_in_it(tmp_path: Path, dataset: Path) -> None:
    photos(tmp_path / "gt", 1)
    photos(tmp_path / "lq", 1)
    foreign = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "moire"}
    _, body = parts(built(tmp_path, sources=[foreign], degradations={}))
    assert "## Citation" not in body
    recipe = manifest(dataset).recipe
    for model, title in (
        ("Salesforce/blip-image-captioning-large", "{BLIP}"),
        ("Salesforce/blip2-opt-2.7b", "{BLIP-2}"),
    ):
        captions = {"kind": "blip", "model": model}
        text = card(manifest(dataset, recipe={**recipe, "captions": captions}), (), numbers(dataset))
        assert "arXiv:2310.01018" in text
        assert f"title     = {{{title}:" in text
    captions = {"kind": "blip", "model": "microsoft/git-base"}
    assert "{BLIP" not in card(manifest(dataset, recipe={**recipe, "captions": captions}), (), numbers(dataset))


def test_captions_by_a_model_are_said_to_be_one(dataset: Path) -> None:
    found = numbers(dataset)
    assert "training data's bias" not in card(manifest(dataset), (), found)
    captions = replace(found.captions, captioners={"blip@1": 4, "template@1": 2})
    text = card(manifest(dataset), (), replace(found, captions=captions))
    assert "Captions by blip@1 are a model's" in text
    assert "Captions by blip@1 (4), template@1 (2). Made with" in text, "the one that is asked first is not all"


def test_a_range_of_sizes_is_told_only_where_there_is_one(dataset: Path) -> None:
    found = numbers(dataset)
    for spread, said in (
        (Spread(0.15, 0.15, 0.15, 0.15, 0.15), "Samples of 0.15 megapixels; "),
        (Spread(0.1, 0.1, 0.2, 0.3, 0.3), "Samples of 0.10 to 0.30 megapixels, 0.20 in the median; "),
    ):
        sizes = replace(found.samples, megapixels=spread)
        assert said in card(manifest(dataset), (), replace(found, samples=sizes))
