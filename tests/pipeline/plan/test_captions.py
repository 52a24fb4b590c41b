"""Which sentence a photograph gets: captioners in turn, filters, likeness to the image, and nothing made twice."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from patina.captioning.captioner import CaptionError, Photo, Run
from patina.captioning.filters import Filters
from patina.captioning.template import Template
from patina.pipeline.builder.build import BuildError, build
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.format.manifest import load_manifest, read_samples, read_sources
from patina.pipeline.plan.difference import BuildPlan
from patina.pipeline.plan.planning import Options, Stores, plan_from_stores
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.reading import SourceChangedError
from tests.captioning.doubles import Model
from tests.pipeline.making import make_plain, photo, photos, read_built, tiny_recipe


@dataclass(frozen=True)
class Judge:
    """The double of ClipScore: likeness by a table of words in the sentence, and a record of what it was asked."""

    name: ClassVar[str] = "judge"
    version: ClassVar[int] = 1

    threshold: float = 0.2
    likes: str = "photo"
    fails_on: str = "\0"
    asked: list[str] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        return {"likes": self.likes}

    def prepare(self, run: Run) -> None:
        del run

    def release(self) -> None:
        pass

    def problem(self, score: float, text: str) -> str:
        return "" if score >= self.threshold else f"similarity {score} below {self.threshold}: {text}"

    def stream(self, items: Sequence[tuple[Photo, str]], run: Run) -> Iterator[list[tuple[int, float | str]]]:
        del run
        for i, (_, text) in enumerate(items):
            self.asked.append(text)
            yield [(i, "beyond me" if self.fails_on in text else 0.31 if self.likes in text else 0.07)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 4)
    return tmp_path


def with_model(recipe: Recipe, model: Any, **more: Any) -> Recipe:
    return replace(recipe, captioner=model, **more)


def words_of(report: BuildResult, out: Path) -> dict[str, str]:
    """Caption by source name."""
    del report
    built = read_built(out)
    return {name: samples[0].members["txt"].decode() for name, samples in built.samples.items()}


def test_a_model_captions_each_photograph_once(folder: Path) -> None:
    model = Model()
    first = build(with_model(tiny_recipe(folder), model), folder / "out")
    assert first.captions_made == 4
    assert sorted(model.asked) == [f"good-00{i}.png" for i in range(4)]
    photo(folder / "photos" / "more.png", seed=9)
    again = build(with_model(tiny_recipe(folder), model), folder / "out")
    assert again.captions_made == 1
    assert model.asked[4:] == ["more.png"]
    assert build(with_model(tiny_recipe(folder, seed=3), model), folder / "out").captions_made == 0


def test_another_setting_captions_anew_and_synthesises_nothing(folder: Path) -> None:
    build(with_model(tiny_recipe(folder), Model()), folder / "out")
    report = build(with_model(tiny_recipe(folder), Model(prompt="a drawing of")), folder / "out")
    assert (report.captions_made, sum(r.synthesised for r in report.results)) == (4, 0)
    assert sum(r.captioned for r in report.results) == 4


def test_what_one_captioner_refuses_goes_to_the_next(folder: Path) -> None:
    (folder / "captions.csv").write_text("name,caption\ngood-000.png,a house\ngood-001.png,red red red red\n", "utf-8")
    recipe = tiny_recipe(folder, captions={"kind": "sidecar", "path": "captions.csv"})
    spare = Model()
    report = build(replace(recipe, fallback=spare), folder / "out")
    assert words_of(report, folder / "out") == {
        "good-000.png": "a house",
        "good-001.png": "a photo of good-001.png",  # a loop
        "good-002.png": "a photo of good-002.png",  # in no table
        "good-003.png": "a photo of good-003.png",
    }
    assert sorted(spare.asked) == ["good-001.png", "good-002.png", "good-003.png"]
    captioners = {row.captioner for row in read_samples(folder / "out")}
    assert captioners == {"sidecar@1", "double@1"}


def test_filters_set_aside_with_their_reason(folder: Path) -> None:
    model = Model(prompt="dog dog dog dog")
    with pytest.raises(BuildError, match="says 'dog' 3 times or more"):
        build(with_model(tiny_recipe(folder), model), folder / "out")
    spared = replace(tiny_recipe(folder), filters=Filters(max_repeats=0))
    assert len(words_of(build(with_model(spared, model), folder / "out"), folder / "out")) == 4
    assert len(model.asked) == 4, "refused captions were kept, and judged again without the model"


def test_likeness_is_stored_and_its_threshold_moves_without_the_models(folder: Path) -> None:
    photos(folder / "photos", 12)
    model, judge = Model(), Judge(likes="good-00")
    recipe = with_model(tiny_recipe(folder), model, similarity=judge)
    with pytest.raises(BuildError, match=r"2 of 12 inputs cannot be used(.|\n)*similarity 0.07 below 0.2"):
        build(recipe, folder / "out", Options(strict=True))
    build(replace(recipe, similarity=replace(judge, threshold=0.05)), folder / "out")
    alike = {r["names"][0]: r["similarity"] for r in read_sources(folder / "out")}
    assert alike == {f"good-{i:03d}.png": 0.31 if i < 10 else 0.07 for i in range(12)}
    report = build(recipe, folder / "out")
    assert [r.name for r in report.planned.refusals] == ["good-010.png", "good-011.png"]
    assert (len(model.asked), len(judge.asked)) == (12, 12)


def test_an_image_that_the_scorer_cannot_judge_is_set_aside(folder: Path) -> None:
    photos(folder / "photos", 30)
    recipe = with_model(tiny_recipe(folder), Model(), similarity=Judge(fails_on="good-003"))
    first = build(recipe, folder / "out")
    assert first.captions_made == 30, "comparing a caption with its image makes none"
    assert read_built(folder / "out").set_aside == {"good-003.png": "beyond me"}
    assert build(recipe, folder / "out").results == ()
    assert plan_of(recipe, folder / "out").is_empty


def test_an_image_that_a_model_cannot_caption_is_asked_for_once(folder: Path) -> None:
    photos(folder / "photos", 30)
    model = Model(fails_on=("good-003.png",))
    recipe = with_model(tiny_recipe(folder), model)
    assert build(recipe, folder / "out").captions_made == 29
    assert read_built(folder / "out").set_aside == {"good-003.png": "good-003.png is beyond me"}
    assert plan_of(recipe, folder / "out").is_empty
    assert build(recipe, folder / "out").manifest == load_manifest(folder / "out")
    assert model.asked.count("good-003.png") == 1
    build(recipe, folder / "out", Options(paranoid=True))
    assert model.asked.count("good-003.png") == 2, "--paranoid asks again"
    other = with_model(tiny_recipe(folder), Model(prompt="a picture of"))
    build(other, folder / "out")
    assert read_built(folder / "out").set_aside == {}, "and so does another model"


def test_a_photograph_that_could_not_be_read_is_asked_for_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(folder / "photos", 30)
    model = Model(fails_on=("good-003.png",))
    recipe = with_model(tiny_recipe(folder), model)

    def gone(path: str, content: str, border: int = 0) -> None:
        raise SourceChangedError(path, "the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr("patina.pipeline.builder.build.load_clean", gone)
        build(recipe, folder / "out")
    assert plan_of(recipe, folder / "out").captions == 1


def test_a_shared_clean_image_is_captioned_and_counted_once(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / "gt" / f"{i}.png", seed=i)
        photo(tmp_path / "lq" / f"{i}a.jpg", seed=i, quality=10)
        photo(tmp_path / "lq" / f"{i}b.jpg", seed=i, quality=12)
    table = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "jpeg-compressed", "match": "regex"}
    recipe = tiny_recipe(tmp_path, sources=[{**table, "pattern": r"(\d)"}])
    model = Model()
    assert build(with_model(recipe, model), tmp_path / "out").captions_made == 2
    assert len(model.asked) == 2


def test_a_scorer_that_cannot_be_had_stops_before_the_captions_are_made(folder: Path) -> None:
    class Absent(Judge):
        def prepare(self, run: Run) -> None:
            raise CaptionError("open_clip is not here")

    model = Model()
    with pytest.raises(CaptionError, match="open_clip is not here"):
        build(with_model(tiny_recipe(folder), model, similarity=Absent()), folder / "out")
    assert model.asked == []


def test_another_captioner_with_the_same_words_is_told_in_the_manifest(folder: Path) -> None:
    class Finer(Model):
        def settings(self) -> dict[str, Any]:
            return {**super().settings(), "precision": "double"}

    build(with_model(tiny_recipe(folder), Model()), folder / "out")
    recipe = with_model(tiny_recipe(folder), Finer())
    report = build(recipe, folder / "out")
    assert report.results == ()
    build(recipe, folder / "fresh")
    assert report.manifest == load_manifest(folder / "fresh")


def test_a_dataset_without_its_private_folder_keeps_its_similarities(folder: Path) -> None:
    model, judge = Model(), Judge()
    recipe = with_model(tiny_recipe(folder), model, similarity=judge)
    build(recipe, folder / "out")
    make_plain(folder / "out")
    assert plan_of(recipe, folder / "out").is_empty
    photo(folder / "photos" / "more.png", seed=9)
    build(recipe, folder / "out")
    assert (len(model.asked), len(judge.asked)) == (5, 5), "the models are asked for the new photograph alone"


def test_two_models_of_one_name_are_not_taken_for_one_another(folder: Path) -> None:
    """The first one's sentences must not come back as the second one's."""
    first, second = Model(prompt="a photo of"), Model(prompt="rather a picture of")
    recipe = with_model(tiny_recipe(folder), first, fallback=second)
    report = build(recipe, folder / "out")
    assert len(report.manifest.captioners) == 2
    make_plain(folder / "out")
    strict = replace(recipe, filters=Filters(min_words=5))
    report = build(strict, folder / "out")
    assert set(words_of(report, folder / "out").values()) == {f"rather a picture of good-00{i}.png" for i in range(4)}


def plan_of(recipe: Recipe, out: Path) -> BuildPlan:
    with Stores.open(out) as stores:
        return plan_from_stores(recipe, out, stores, Options()).plan


def test_a_dataset_without_its_private_folder_keeps_its_sentences(folder: Path) -> None:
    model = Model()
    recipe = with_model(tiny_recipe(folder), model)
    build(recipe, folder / "out")
    for store in (folder / "out" / PRIVATE).glob("*.sqlite"):
        store.unlink()
    photo(folder / "photos" / "more.png", seed=9)
    build(recipe, folder / "out")
    assert model.asked[4:] == ["more.png"], "the model is asked for the new photograph alone"


def test_captions_of_the_source_itself(folder: Path) -> None:
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["gt", "caption"])
        writer.writerow(["photos/good-000.png", "a cat: black, on a wall"])
        writer.writerow(["photos/good-001.png", ""])
    source = {"kind": "list", "path": "list.csv"}
    recipe = tiny_recipe(folder, sources=[source], captions={"kind": "source", "fallback": "template"})
    found = words_of(build(recipe, folder / "out"), folder / "out")
    assert found["photos/good-000.png"] == "a cat: black, on a wall"
    assert found["photos/good-001.png"].endswith("photograph")


def test_the_table_of_captions(tmp_path: Path) -> None:
    def parse(**captions: Any) -> Recipe:
        table = {"sources": [{"path": "p"}], "degradations": {"noisy": {}}, "captions": captions}
        return parse_recipe(table, tmp_path)

    recipe = parse(
        kind="sidecar",
        fallback={"kind": "blip", "beams": 3},
        filter={"min_words": 3},
        similarity={"threshold": 0.2},
    )
    assert (recipe.filters.min_words, recipe.similarity and recipe.similarity.threshold) == (3, 0.2)
    assert recipe.fallback is not None and recipe.fallback.settings()
    assert parse_recipe(recipe.table, tmp_path).table == recipe.table
    with pytest.raises(RecipeError, match=r"\[captions.filter\] has no key 'min_word'; did you mean 'min_words'"):
        parse(filter={"min_word": 3})
    with pytest.raises(RecipeError, match="min_words: expected a whole number"):
        parse(filter={"min_words": -3})
    with pytest.raises(RecipeError, match=r"\[captions.similarity\].*threshold"):
        parse(similarity={"threshold": 3.0})
    with pytest.raises(RecipeError, match="there is no kind 'blimp'; did you mean 'blip'"):
        parse(kind="blimp")


def test_a_model_that_cannot_be_had_stops_before_any_work(folder: Path) -> None:
    class Absent(Model):
        def prepare(self, run: Run) -> None:
            raise CaptionError("the model is not here")

    build(tiny_recipe(folder), folder / "out")
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.tar")}
    with pytest.raises(CaptionError, match="not here"):
        build(with_model(tiny_recipe(folder), Absent()), folder / "out")
    assert {p.name: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.tar")} == before
    shutil.rmtree(folder / "out")


# ---------------------------------------------------------------------------------------------------------------------
# What is said of all captions together


def test_what_a_fallback_replaces_is_told_and_what_is_missing_is_not(folder: Path) -> None:
    photo(folder / "photos" / "sub" / "good-000.png", seed=9)
    rows = "good-001.png,a cat\ngood-001.png,a cow\ngood-002.png,arafed dog\ngood-000.png,a barn\nnobody.png,x\n"
    (folder / "captions.csv").write_text(f"name,caption\n{rows}", "utf-8")
    recipe = tiny_recipe(folder, captions={"kind": "sidecar", "path": "captions.csv", "fallback": "template"})
    report = build(recipe, folder / "out")
    assert words_of(report, folder / "out")["good-000.png"] == "a barn"
    unfit, replaced = report.planned.notes
    assert unfit == "captions: 1 row of captions.csv fits no photograph; the first: 'nobody.png' (line 6)"
    assert replaced.startswith(
        "captions: 3 captions by sidecar@1 cannot be used, and the fallback template@2 speaks instead; the first: "
        "good-001.png: two rows of captions.csv fit 'good-001.png' and differ"
    )
    assert report.manifest.notes == report.planned.notes
    assert plan_of(recipe, folder / "out").is_empty


def test_a_captions_file_that_fits_nothing_is_told_behind_a_fallback(folder: Path) -> None:
    (folder / "captions.csv").write_text("name;caption\nx.png;a dog\n", "utf-8")
    recipe = tiny_recipe(folder, captions={"kind": "sidecar", "path": "captions.csv", "fallback": "template"})
    (note,) = build(recipe, folder / "out").planned.notes
    assert note.startswith("captions: no row of captions.csv fits any of 4 photographs, such as 'good-")


def test_rows_of_photographs_that_were_set_aside_are_not_told(folder: Path) -> None:
    (folder / "photos" / "bad.png").write_bytes(b"no image")
    rows = "".join(f"good-{i:03d}.png,a dog\n" for i in range(4))
    (folder / "captions.csv").write_text(f"name,caption\n{rows}bad.png,a cat\n", "utf-8")
    report = build(tiny_recipe(folder, captions={"kind": "sidecar", "path": "captions.csv"}), folder / "out")
    assert report.planned.notes == () and [r.name for r in report.planned.refusals] == ["bad.png"]


def test_a_models_made_up_words_go_to_the_fallback_and_its_captions_stay_in_the_store(folder: Path) -> None:
    model = Model(prompt="arafed dog at")
    recipe = with_model(tiny_recipe(folder), model, fallback=Template())
    report = build(recipe, folder / "out")
    assert all(text.endswith("photograph") for text in words_of(report, folder / "out").values())
    (note,) = report.planned.notes
    assert "4 captions by double@1 cannot be used" in note and "'arafed', which is no word" in note
    kept = replace(recipe, filters=Filters(refuse_non_words=False))
    assert build(kept, folder / "out").captions_made == 0 and len(model.asked) == 4


def test_an_error_in_a_pattern_is_told_when_the_recipe_is_read(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"\[captions.filter\]: refuse_pattern: '\(' is no regular expression"):
        tiny_recipe(folder, captions={"filter": {"refuse_pattern": "("}})
    recipe = tiny_recipe(folder, captions={"filter": {"refuse_words": ["dog"], "refuse_pattern": "x+"}})
    assert recipe.filters.refuse_words == ("dog",)
    assert parse_recipe(recipe.table, folder).table == recipe.table


# ---------------------------------------------------------------------------------------------------------------------
# Several captions of a photograph, one for each variant


def with_five(folder: Path, texts: Sequence[str], **changes: Any) -> Recipe:
    """Three variants of noise, and photographs of which the first has these captions in the table."""
    rows = [f"good-000.png,{text}" for text in texts] + ["good-001.png,the other photograph"]
    (folder / "captions.csv").write_text("\n".join(["name,caption", *rows]), "utf-8")
    table = {"kind": "sidecar", "path": "captions.csv", "several": "all", **changes.pop("captions", {})}
    noise = {"noisy": {"sigma": 25, "variants": 3}}
    return tiny_recipe(folder, **{"captions": table, "degradations": noise, **changes})


def said(out: Path) -> dict[str, list[str]]:
    """The captions of each photograph's samples, in the variants' order."""
    names = {row["digest"]: row["names"][0] for row in read_sources(out)}
    found: dict[str, list[str]] = {}
    for row in sorted(read_samples(out), key=lambda row: row.variant):
        found.setdefault(names[row.source_sha256], []).append(row.caption)
    return found


def test_each_variant_has_a_caption_of_its_own(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    out = tmp_path / "out"
    build(with_five(tmp_path, ["a red barn", "a barn in snow"]), out)
    assert not any("captions" in note for note in load_manifest(out).notes)  # type: ignore[union-attr]
    assert said(out) == {
        "good-000.png": ["a red barn", "a barn in snow", "a red barn"],
        "good-001.png": ["the other photograph"] * 3,
    }
    assert {stored.members["txt"].decode() for stored in read_built(out).samples["good-000.png"]} == {
        "a red barn",
        "a barn in snow",
    }
    (step,) = plan_of(with_five(tmp_path, ["a red barn", "a barn in fog"]), out).build
    assert (step.copied, step.captioned, step.synthesised) == (5, 1, 0), "one variant is worded anew"


def test_of_several_captions_those_that_pass_the_filters_are_used(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    recipe = with_five(tmp_path, ["arafed barn", "a red barn", "a photo of", "a barn in snow"])
    build(recipe, tmp_path / "out")
    assert said(tmp_path / "out")["good-000.png"] == ["a red barn", "a barn in snow", "a red barn"]
    none = with_five(tmp_path, ["arafed barn", "a photo of"], captions={"fallback": "template"})
    report = build(none, tmp_path / "none")
    assert "barn" not in "".join(said(tmp_path / "none")["good-000.png"])
    assert any("'arafed', which is no word" in note for note in report.planned.notes)


def test_captions_for_variants_that_are_not_there_are_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    recipe = with_five(tmp_path, ["a red barn", "a barn in snow"], degradations={"noisy": {}})
    report = build(recipe, tmp_path / "out")
    told = "1 photograph with more captions than variants, of which a degradation has 1 at the most"
    assert any(told in note for note in report.planned.notes)
    assert said(tmp_path / "out")["good-000.png"] == ["a red barn"]


def test_captions_for_variants_and_one_similarity_cannot_be_both(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='judges one caption for each image, and several = "all" gives more'):
        with_five(tmp_path, ["a red barn"], captions={"similarity": {}})


@pytest.mark.parametrize("min_words", [1, 5])
def test_captions_by_looks_are_those_of_each_photograph(
    folder: Path, monkeypatch: pytest.MonkeyPatch, min_words: int
) -> None:
    """Also where the filters refuse some of them, so that a fallback is asked."""
    photo(folder / "photos" / "tall.png", 40, 90, seed=9)
    photo(folder / "photos" / "square.png", 64, 64, seed=10)
    recipe = replace(
        tiny_recipe(folder),
        captioner=Template("a {tone} {orientation} photograph"),
        fallback=Template("{name} stands here for a photograph"),
        filters=Filters(min_words=min_words),
    )

    def planned() -> tuple[dict[str, str], Sequence[str]]:
        with Stores.open(folder / "out") as stores:
            found = plan_from_stores(recipe, folder / "out", stores, Options())
        said = found.captions.assigned
        assert list(said) == [source.digest for source in found.wanted.sources]
        return {name: caption.text for name, caption in said.items() if caption}, found.notes

    by_looks = planned()
    monkeypatch.setattr(Template, "classes", lambda *_: None)
    assert planned() == by_looks
    assert len(set(by_looks[0].values())) > 1 and len(by_looks[0]) == 6
