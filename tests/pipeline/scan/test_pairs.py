"""Existing LQ/GT pairs: matched by what their names say, checked by their pixels, stored as the very files they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import RecipeError, SourceError
from patina.pipeline.format.manifest import load_manifest, read_sources
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.digests import inspector_id
from patina.pipeline.scan.pairs import check_pair, comparer_id, swapped
from patina.pipeline.sources.pairs import Pairs
from patina.synth.image import Image
from tests.pipeline.making import encoded, photo, picture, pixels, read_built, save, tiny_recipe

Rng = np.random.Generator


def noisy(image: Image, rng: Rng, sigma: float = 50) -> Image:
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def jpeg(image: Image, rng: Rng) -> Image:
    del rng
    return pixels(encoded(image, "JPEG", quality=10))


def motion(image: Image, rng: Rng) -> Image:
    """A camera that moved by 13 px, in one of three directions."""
    kernel = [np.eye(13), np.eye(13)[::-1], np.ones((1, 13))][rng.integers(3)]
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def blurred(image: Image, rng: Rng) -> Image:
    del rng
    return cv2.GaussianBlur(image, (0, 0), 2)


def hazy(image: Image, rng: Rng) -> Image:
    del rng
    return np.rint(0.3 * image + 0.7 * 220).astype(np.uint8)


def dark(image: Image, rng: Rng) -> Image:
    """A tenth of the light, a gamma, and the sensor's noise."""
    return noisy(np.rint(255 * (image / 255 * 0.25) ** 1.4).astype(np.uint8), rng, sigma=2)


def rainy(image: Image, rng: Rng) -> Image:
    streaks = image.copy()
    for x, y in rng.integers(0, max(image.shape), (120, 2)).tolist():
        cv2.line(streaks, (x, y), (x + 3, y + 11), (230, 230, 230), 1)
    return streaks


def shadowed(image: Image, rng: Rng) -> Image:
    del rng
    return (image * np.where(np.arange(image.shape[1])[:, None] > image.shape[1] / 2, 0.4, 1)).astype(np.uint8)


# Everything that a pair may be, by the word that it would be labelled with.
TRUE_PAIRS: dict[str, Callable[[Image, Rng], Image]] = {
    "noisy": noisy,
    "jpeg-compressed": jpeg,
    "motion-blurry": motion,
    "out-of-focus": blurred,
    "hazy": hazy,
    "low-light": dark,
    "rainy": rainy,
    "shadowed": shadowed,
}


def pairs_recipe(folder: Path, degradation: str = "hazy", **settings: Any) -> Recipe:
    """The pairs in `folder`/lq and `folder`/gt, and no degradation of our own."""
    source = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": degradation, **settings}
    return tiny_recipe(folder, sources=[source], degradations={})


def make_pair(folder: Path, seed: int, lq_name: str, gt_name: str, width: int = 64, height: int = 48) -> None:
    """One hazy pair under these names."""
    clean = photo(folder / "gt" / gt_name, width, height, seed)
    save(folder / "lq" / lq_name, hazy(pixels(clean.read_bytes()), np.random.default_rng(seed)))


# ---------------------------------------------------------------------------------------------------------------------
# Matching


def matched(folder: Path, **settings: Any) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """(LQ, GT) file names that the reader pairs, and what it sets aside."""
    reader = Pairs(str(folder / "lq"), str(folder / "gt"), "hazy", **settings)
    found = reader.find()
    pairs = [(Path(c.lq).relative_to(folder / "lq").as_posix(), c.name) for c in found.candidates]
    return sorted(pairs), {refusal.name: refusal.reason for refusal in found.refusals}


def touch(folder: Path, lq: list[str], gt: list[str]) -> None:
    """Empty files: a reader opens none."""
    for side, names in (("lq", lq), ("gt", gt)):
        for name in names:
            path = folder / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def test_by_name_whatever_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.PNG", "sub/a.jpg", "0048_0.9_0.2.jpg"], ["a.png", "b.png", "sub/a.webp"])
    touch(tmp_path, [], ["0048_0.9_0.2.png"])
    pairs, aside = matched(tmp_path)
    assert pairs == [
        ("0048_0.9_0.2.jpg", "0048_0.9_0.2.png"),
        ("a.jpg", "a.png"),
        ("b.PNG", "b.png"),
        ("sub/a.jpg", "sub/a.webp"),
    ]
    assert aside == {}


def test_by_name_a_dot_in_a_name_is_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, ["0048_0.9.jpg"], ["0048_0.png", "0048_0.9.png"])
    assert matched(tmp_path)[0] == [("0048_0.9.jpg", "0048_0.9.png")]


def test_by_stem_whatever_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, ["blur/GOPR01/7.png", "9.png"], ["sharp/7.png", "deep/er/9.jpg"])
    assert matched(tmp_path, match="stem")[0] == [("9.png", "deep/er/9.jpg"), ("blur/GOPR01/7.png", "sharp/7.png")]


def test_by_pattern_one_gt_serves_several_lqs(tmp_path: Path) -> None:
    """RESIDE's outdoor set: 0048.png was made hazy 35 times, 0048_{airlight}_{density}.jpg."""
    hazes = [
        f"{scene}_{light}_{density}.jpg" for scene in ("0048", "0049") for light in (0.8, 0.9) for density in (0.2,)
    ]
    touch(tmp_path, hazes, ["0048.png", "0049.png"])
    pairs, aside = matched(tmp_path, match="regex", pattern=r"^(\d+)_", gt_pattern=r"^(\d+)\.")
    assert pairs == [(haze, f"{haze[:4]}.png") for haze in sorted(hazes)]
    assert aside == {}


def test_a_pattern_without_its_own_for_gt_serves_both(tmp_path: Path) -> None:
    touch(tmp_path, ["rain-12x2.png"], ["norain-12.png", "norain-1.png"])
    assert matched(tmp_path, match="regex", pattern=r"rain-(\d+)")[0] == [("rain-12x2.png", "norain-12.png")]


def test_what_has_no_partner_is_set_aside(tmp_path: Path) -> None:
    touch(tmp_path, ["a.png", "only-lq.png"], ["a.png", "only-gt.png"])
    assert matched(tmp_path) == (
        [("a.png", "a.png")],
        {
            "lq/only-lq.png": "no clean image matches it by name",
            "gt/only-gt.png": "no degraded image matches it by name",
        },
    )


def test_what_a_pattern_does_not_fit_is_set_aside(tmp_path: Path) -> None:
    touch(tmp_path, ["1_x.png", "cover.png"], ["1.png", "readme.png"])
    _, aside = matched(tmp_path, match="regex", pattern=r"^(\d+)_", gt_pattern=r"^(\d+)\.")
    assert aside == {
        "lq/cover.png": r"its name does not match '^(\\d+)_'",
        "gt/readme.png": r"its name does not match '^(\\d+)\\.'",
    }


def test_what_has_several_partners_is_set_aside(tmp_path: Path) -> None:
    touch(tmp_path, ["1.png", "2.png"], ["day/1.png", "night/1.png", "2.png"])
    pairs, aside = matched(tmp_path, match="stem")
    assert pairs == [("2.png", "2.png")]
    assert aside == {"lq/1.png": "several clean images match it by stem: day/1.png and night/1.png"}


def test_never_by_their_place_in_a_list(tmp_path: Path) -> None:
    """One file is missing on each side, so that the two sorted lists are of equal length and all of it mispaired."""
    for seed, name in enumerate("bcdef"):
        make_pair(tmp_path, seed, f"{name}.png", f"{name}.png")
    photo(tmp_path / "lq" / "a.png", seed=50)
    photo(tmp_path / "gt" / "g.png", seed=51)
    build(pairs_recipe(tmp_path), tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert set(built.set_aside) == {"lq/a.png", "gt/g.png"}
    assert set(built.samples) == {"b.png", "c.png", "d.png", "e.png", "f.png"}
    for name, (sample,) in built.samples.items():
        assert sample.lq[1] == (tmp_path / "lq" / name).read_bytes()
        assert sample.gt[1] == (tmp_path / "gt" / name).read_bytes()


def test_no_pair_at_all_is_an_error_with_an_example(tmp_path: Path) -> None:
    touch(tmp_path, ["a_lq.png"], ["a_gt.png"])
    expected = (
        r"expected pairs matched by name, found none among 1 images in .*lq and 1 in .*gt, "
        r"such as a_lq.png and a_gt.png; try another `match`"
    )
    with pytest.raises(SourceError, match=expected):
        matched(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


@pytest.mark.parametrize(
    ("degradation", "hint"),
    [
        ("nosy", "did you mean 'noisy'"),
        ("motion-blurred", "did you mean 'motion-blurry'"),
        ("Hazy", "did you mean 'hazy'"),
    ],
)
def test_a_misspelt_label_is_refused_with_a_hint(tmp_path: Path, degradation: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=f"degradation: expected a word such as .*, found {degradation!r}; {hint}"):
        pairs_recipe(tmp_path, degradation)


@pytest.mark.parametrize("degradation", ["", "two words", "a/b", "a.b", "-x", 5])
def test_a_label_must_be_fit_for_a_file_name(tmp_path: Path, degradation: Any) -> None:
    with pytest.raises(RecipeError, match="degradation: expected a"):
        pairs_recipe(tmp_path, degradation)


def test_a_label_of_ones_own_is_welcome(tmp_path: Path) -> None:
    make_pair(tmp_path, 1, "a.png", "a.png")
    build(pairs_recipe(tmp_path, "underwater"), tmp_path / "out")
    assert [s.name for s in read_built(tmp_path / "out").manifest.shards] == ["train-0000-underwater.tar"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"match": "order"}, "match: expected one of name, stem, regex, found 'order'"),
        ({"match": "regex"}, 'pattern: give one with match = "regex", and only with it'),
        ({"pattern": "(a)"}, 'pattern: give one with match = "regex", and only with it'),
        ({"match": "regex", "pattern": "(a"}, r"pattern: '\(a' is no regular expression: missing \)"),
        ({"match": "regex", "pattern": "a"}, "pattern: 'a' needs a group in parentheses"),
        ({"match": "regex", "pattern": "(a)", "gt_pattern": "b"}, "gt_pattern: 'b' needs a group"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        pairs_recipe(tmp_path, **settings)


# ---------------------------------------------------------------------------------------------------------------------
# What the pixels say


@pytest.mark.parametrize("degradation", TRUE_PAIRS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (96, 160), (256, 192)])
def test_no_false_alarm_on_true_pairs(degradation: str, width: int, height: int) -> None:
    for seed in range(6):
        clean = picture(width, height, seed)
        check = check_pair(TRUE_PAIRS[degradation](clean, np.random.default_rng(seed)), clean)
        assert check.problem == "", f"seed {seed}"
        assert not swapped(degradation, check), f"seed {seed}: sharpness ratio {check.ratio}"


@pytest.mark.parametrize("degradation", sorted(set(TRUE_PAIRS) - {"motion-blurry"}))
def test_a_shift_is_found_and_told(degradation: str) -> None:
    """The LQ lies 6 px to the right of the GT and 4 px above it: the scene in it is cut that much to the left."""
    for seed in range(6):
        scene = picture(180, 140, seed)
        degraded = TRUE_PAIRS[degradation](scene, np.random.default_rng(seed))
        check = check_pair(degraded[14:134, 4:164], scene[10:130, 10:170])
        assert (check.shift_x, check.shift_y) == (pytest.approx(6, abs=0.5), pytest.approx(-4, abs=0.5)), f"seed {seed}"
        told = r"its degraded image is shifted by \(\+[56].\d, -[34].\d\) px against the clean one; align them first"
        assert re.fullmatch(told, check.problem), f"seed {seed}"


def test_a_shifted_motion_blur_is_found_too() -> None:
    """Its copies of every edge make the estimate vague along the motion, but a shift is a shift."""
    found = 0
    for seed in range(10):
        scene = picture(276, 212, seed)
        degraded = motion(scene, np.random.default_rng(seed))
        found += bool(check_pair(degraded[14:206, 4:260], scene[10:202, 10:266]).problem)
    assert found >= 9


def test_what_cannot_be_told_is_no_problem() -> None:
    sky = np.full((48, 64, 3), 200, np.uint8)
    assert check_pair(sky, sky).problem == ""
    assert check_pair(noisy(sky, np.random.default_rng(1)), sky).problem == ""


def test_sizes_must_be_equal(tmp_path: Path) -> None:
    for seed in range(3):
        make_pair(tmp_path, seed, f"{seed}.png", f"{seed}.png")
    photo(tmp_path / "lq" / "1.png", 32, 24, seed=1)
    build(pairs_recipe(tmp_path), tmp_path / "out")
    assert read_built(tmp_path / "out").set_aside == {
        "1.png with 1.png": "its degraded image is 32×24 px and the clean one 64×48; they must be equal"
    }


def test_bad_pairs_are_set_aside_and_say_which_lq(tmp_path: Path) -> None:
    """One GT with four LQs: two good ones, a shifted one, a truncated one."""
    scene = picture(180, 140, 3)
    save(tmp_path / "gt" / "07.png", scene[10:130, 10:170])
    for density in (0.2, 0.3, 0.4):
        haze = np.rint(scene * (1 - density) + density * 220).astype(np.uint8)
        at = np.s_[14:134, 4:164] if density == 0.3 else np.s_[10:130, 10:170]
        save(tmp_path / "lq" / f"07_{density}.png", haze[at])
    (tmp_path / "lq" / "07_0.5.png").write_bytes((tmp_path / "lq" / "07_0.4.png").read_bytes()[:9000])
    regex = {"match": "regex", "pattern": r"^(\d+)_", "gt_pattern": r"^(\d+)\."}
    build(pairs_recipe(tmp_path, **regex), tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert {sample.lq[1] for sample in built.samples["07.png"]} == {
        (tmp_path / "lq" / name).read_bytes() for name in ("07_0.2.png", "07_0.4.png")
    }
    assert built.set_aside == {
        "07.png with 07_0.3.png": "its degraded image is shifted by (+6.0, -4.0) px against the clean one; "
        "align them first",
        "07.png with 07_0.5.png": "LQ 07_0.5.png: cannot be decoded: image file is truncated",
    }


def test_a_pair_says_which_of_its_images_is_bad(tmp_path: Path) -> None:
    for seed in range(7):
        save(tmp_path / "gt" / "deep" / f"{seed}.png", picture(96, 72, seed))
        save(tmp_path / "lq" / "deep" / f"{seed}.jpg", picture(96, 72, seed))
    (tmp_path / "lq" / "deep" / "1.jpg").write_bytes(b"")
    (tmp_path / "gt" / "deep" / "2.png").write_bytes(b"no image")
    for bad in ("gt/deep/3.png", "lq/deep/3.jpg"):
        (tmp_path / bad).write_bytes(b"")
    build(pairs_recipe(tmp_path), tmp_path / "out")
    empty = "the file is empty (0 bytes)"
    assert read_built(tmp_path / "out").set_aside == {
        "deep/1.png with 1.jpg": f"LQ 1.jpg: {empty}",
        "deep/2.png with 2.jpg": "GT deep/2.png: not an image in a known format (it starts with b'no image')",
        "deep/3.png with 3.jpg": f"GT deep/3.png: {empty}; LQ 3.jpg: {empty}",
    }


@pytest.mark.parametrize("degradation", ["motion-blurry", "noisy"])
def test_swapped_folders_are_an_error(tmp_path: Path, degradation: str) -> None:
    for seed in range(4):
        clean = picture(96, 72, seed)
        save(tmp_path / "gt" / f"{seed}.png", TRUE_PAIRS[degradation](clean, np.random.default_rng(seed)))
        save(tmp_path / "lq" / f"{seed}.png", clean)
    with pytest.raises(SourceError) as caught:
        build(pairs_recipe(tmp_path, degradation), tmp_path / "out")
    assert str(caught.value) == (
        f"[[sources]] 1: in 4 of 4 pairs the `lq` image looks like the clean one for {degradation!r}, as in "
        "0.png with 0.png; are the folders `lq` and `gt` swapped? If they are in order, write keep_order = true"
    )
    assert load_manifest(tmp_path / "out") is None
    source = {"kind": "pairs", "lq": "gt", "gt": "lq", "degradation": degradation}  # as the message asks
    report = build(tiny_recipe(tmp_path, sources=[source], degradations={}), tmp_path / "out")
    assert (report.planned.refusals, report.planned.notes) == ((), ())
    source = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": degradation, "keep_order": True}
    report = build(tiny_recipe(tmp_path, sources=[source], degradations={}), tmp_path / "as-named")
    assert (report.planned.refusals, report.planned.notes) == ((), ())


def test_one_doubtful_pair_among_many_is_kept_with_a_note(tmp_path: Path) -> None:
    for seed in range(5):
        clean, blurry = picture(96, 72, seed), motion(picture(96, 72, seed), np.random.default_rng(seed))
        save(tmp_path / "gt" / f"{seed}.png", blurry if seed == 2 else clean)
        save(tmp_path / "lq" / f"{seed}.png", clean if seed == 2 else blurry)
    build(pairs_recipe(tmp_path, "motion-blurry"), tmp_path / "out")
    manifest = read_built(tmp_path / "out").manifest
    assert manifest.notes == ("2.png with 2.png: its degraded image looks like the cleaner one of the two",)
    assert manifest.shards[0].count == 5


def scenes(folder: Path, words: dict[str, tuple[Image, Image]]) -> None:
    for name, (lq, gt) in words.items():
        save(folder / "lq" / f"{name}.png", np.ascontiguousarray(lq))
        save(folder / "gt" / f"{name}.png", gt)


def test_wrong_pairs_are_set_aside_or_noted_and_true_ones_are_not_named(tmp_path: Path) -> None:
    clean = [picture(192, 144, seed) for seed in range(8)]
    lq = [rainy(image, np.random.default_rng(seed)) for seed, image in enumerate(clean)]
    scenes(tmp_path, {f"true{i}": (lq[i], clean[i]) for i in range(4)})
    scenes(
        tmp_path, {"other": (lq[4], clean[5]), "mirrored": (lq[6][:, ::-1], clean[6]), "equal": (clean[7], clean[7])}
    )
    save(tmp_path / "lq" / "turned.png", lq[5])
    turned = PIL.Image.Exif()
    turned[0x0112] = 3  # which the tool that made the degraded image left out
    save(tmp_path / "gt" / "turned.png", clean[5], exif=turned)
    report = build(pairs_recipe(tmp_path, "rainy"), tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert set(built.samples) == {"true0.png", "true1.png", "true2.png", "true3.png", "equal.png"}
    hint = "turn one of them, or write the EXIF orientation that one of them lacks"
    assert built.set_aside == {
        "other.png with other.png": "its degraded image shows another scene than the clean one, or another part of it: "
        "no detail agrees",
        "mirrored.png with mirrored.png": f"its degraded image is mirrored left to right against the clean one; {hint}",
        "turned.png with turned.png": f"its degraded image is turned by 180° against the clean one; {hint}",
    }
    assert report.planned.notes == ("equal.png with equal.png: its two images are equal, pixel for pixel",)


def test_a_plan_tells_of_wrong_pairs_before_anything_is_built(tmp_path: Path) -> None:
    scenes(tmp_path, {str(i): (picture(192, 144, i), picture(192, 144, i + 50)) for i in range(2)})
    planned = plan_build(pairs_recipe(tmp_path), tmp_path / "out", Options())
    assert [refusal.name for refusal in planned.refusals] == ["0.png with 0.png", "1.png with 1.png"]
    clean = [picture(96, 72, i) for i in range(2)]
    scenes(tmp_path, {str(i): (image, hazy(image, np.random.default_rng(i))) for i, image in enumerate(clean)})
    with pytest.raises(SourceError, match=r"in 2 of 2 pairs .* are the folders `lq` and `gt` swapped"):
        plan_build(pairs_recipe(tmp_path), tmp_path / "out", Options())
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("degradation", ["jpeg-compressed", "shadowed", "hazy+low-light", "soft-blur"])
def test_a_list_whose_columns_are_swapped_is_an_error(tmp_path: Path, degradation: str) -> None:
    change = {"jpeg-compressed": jpeg, "shadowed": shadowed, "soft-blur": blurred}.get(degradation, dark)
    lines = []
    for seed in range(4):
        clean = picture(192, 144, seed)
        save(tmp_path / "bad" / f"{seed}.png", change(clean, np.random.default_rng(seed)))
        save(tmp_path / "good" / f"{seed}.png", clean)
        lines.append(f"good/{seed}.png,bad/{seed}.png")
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    source = {"kind": "list", "path": "pairs.txt", "degradation": degradation}
    with pytest.raises(SourceError, match=r"are its columns swapped\? Lines are LQ,GT, the degraded image first"):
        build(tiny_recipe(tmp_path, sources=[source], degradations={}), tmp_path / "out")


def test_one_label_of_a_list_that_is_swapped_is_an_error_of_its_own(tmp_path: Path) -> None:
    lines = ["lq,gt,degradation"]
    for seed in range(9):
        clean = picture(192, 144, seed)
        label = "noisy" if seed < 3 else "hazy"
        pair = [clean, TRUE_PAIRS[label](clean, np.random.default_rng(seed))]
        for side, image in zip(("lq", "gt") if label == "noisy" else ("gt", "lq"), pair, strict=True):
            save(tmp_path / side / f"{seed}.png", image)
        lines.append(f"lq/{seed}.png,gt/{seed}.png,{label}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    with pytest.raises(SourceError, match="in 3 of 3 pairs the `lq` image looks like the clean one for 'noisy'"):
        build(tiny_recipe(tmp_path, sources=[{"kind": "list", "path": "pairs.csv"}], degradations={}), tmp_path / "out")


def test_a_set_of_which_wrong_pairs_are_reported_says_which_were_found(tmp_path: Path) -> None:
    for name, other in (("79", 20), ("111", 1), ("2", 2)):
        gt = picture(192, 144, int(name) if name == "2" else 1 if name == "111" else 3)
        save(tmp_path / "our485" / "high" / f"{name}.png", gt)
        lq = picture(192, 144, other)
        save(tmp_path / "our485" / "low" / f"{name}.png", dark(lq, np.random.default_rng(1)))
    source = {"kind": "preset", "name": "lol", "path": "."}
    planned = plan_build(tiny_recipe(tmp_path, sources=[source], degradations={}), tmp_path / "out", Options())
    assert [refusal.name for refusal in planned.refusals] == ["our485/high/79.png with 79.png"]
    note = (
        "lol: of the pairs reported to be wrong (weichen582/RetinexNet#9, zhangyhuaee/KinD#6) "
        "set aside: our485/high/79.png with 79.png; found in order: our485/high/111.png with 111.png"
    )
    assert note in planned.notes


def test_of_very_many_pairs_a_hundred_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    scenes(tmp_path, {f"{i:03d}": (picture(16, 16, i), picture(16, 16, i)) for i in range(103)})
    notes = plan_build(pairs_recipe(tmp_path), tmp_path / "out", Options()).notes
    assert len(notes) == 101
    assert notes[0] == "000.png with 000.png: its two images are equal, pixel for pixel"
    assert notes[-1] == "3 more pairs of this source: its two images are equal, pixel for pixel"


def test_what_an_earlier_release_found_of_pairs_is_found_anew() -> None:
    assert comparer_id() != inspector_id()


# ---------------------------------------------------------------------------------------------------------------------
# What is stored


def test_both_images_are_the_very_files(tmp_path: Path) -> None:
    """Above all, a JPEG LQ stays that JPEG: decoded and stored as PNG it would be ten times as large."""
    make_pair(tmp_path, 1, "a.png", "a.png")
    clean = photo(tmp_path / "gt" / "b.jpg", seed=2, quality=95)
    save(tmp_path / "lq" / "b.jpg", pixels(clean.read_bytes()), quality=10)
    build(pairs_recipe(tmp_path, "jpeg-compressed"), tmp_path / "out")
    for name, (sample,) in read_built(tmp_path / "out").samples.items():
        suffix = name.split(".")[1]
        assert sample.lq == (suffix, (tmp_path / "lq" / name).read_bytes())
        assert sample.gt == (suffix, (tmp_path / "gt" / name).read_bytes())


def test_an_odd_lq_is_stored_as_png(tmp_path: Path) -> None:
    make_pair(tmp_path, 1, "a.png", "a.png")
    hazed = pixels((tmp_path / "lq" / "a.png").read_bytes())
    (tmp_path / "lq" / "a.png").unlink()
    save(tmp_path / "lq" / "a.webp", hazed, lossless=True)
    build(pairs_recipe(tmp_path), tmp_path / "out")
    ((sample,),) = read_built(tmp_path / "out").samples.values()
    assert sample.lq[0] == "png"
    np.testing.assert_array_equal(pixels(sample.lq[1]), hazed)


def test_tiles_are_cut_alike_from_both(tmp_path: Path) -> None:
    clean = photo(tmp_path / "gt" / "a.png", 80, 56, seed=4)
    save(tmp_path / "lq" / "a.png", pixels(clean.read_bytes()) // 2)
    recipe = tiny_recipe(
        tmp_path,
        sources=[{"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "low-light"}],
        degradations={},
        tiles={"size": 32, "stride": 32},
    )
    build(recipe, tmp_path / "out")
    samples = read_built(tmp_path / "out").samples["a.png"]
    places = {sample.key.rpartition("-")[2] for sample in samples}
    assert places == {f"y{y:05d}x{x:05d}" for y in (0, 24) for x in (0, 32, 48)}  # the last ones flush with the edges
    for sample in samples:
        y, x = map(int, sample.key.rpartition("-y")[2].split("x"))
        tile = picture(80, 56, 4)[y : y + 32, x : x + 32]
        np.testing.assert_array_equal(pixels(sample.gt[1]), tile)
        np.testing.assert_array_equal(pixels(sample.lq[1]), tile // 2)


# ---------------------------------------------------------------------------------------------------------------------
# Splits


def test_the_split_follows_the_gt(tmp_path: Path) -> None:
    """A clean photograph, and a pair whose GT it is, are on one side: what is tested on was never trained on."""
    for seed in range(12):
        make_pair(tmp_path, seed, f"{seed:02d}.png", f"{seed:02d}.png", 24, 16)
    pair = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    recipe = tiny_recipe(tmp_path, sources=[{"path": "gt"}, pair], split={"val": 0.3, "test": 0.3})
    build(recipe, tmp_path / "out")
    sides: dict[str, list[str]] = {}
    for row in read_sources(tmp_path / "out"):
        sides.setdefault(row["content"], []).append(row["split"])
    assert all(len(splits) == 2 and len(set(splits)) == 1 for splits in sides.values())
    assert {splits[0] for splits in sides.values()} == {"train", "val", "test"}


@pytest.mark.parametrize("first", ["train", "test"])
def test_a_gt_that_two_sources_put_on_two_sides_stays_in_test_alone(tmp_path: Path, first: str) -> None:
    make_pair(tmp_path, 1, "a.png", "a.png")
    photo(tmp_path / "photos" / "same.png", seed=1)
    photo(tmp_path / "photos" / "other.png", seed=2)
    second = "train" if first == "test" else "test"
    pair = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy", "split": second}
    build(tiny_recipe(tmp_path, sources=[{"path": "photos", "split": first}, pair]), tmp_path / "out")
    built = read_built(tmp_path / "out")
    sides = {name: row["split"] for row in read_sources(tmp_path / "out") for name in row["names"]}
    tested, (left, title) = ("same.png", ("a.png", "gt")) if first == "test" else ("a.png", ("same.png", "photos"))
    if title == "gt":
        title = tmp_path.name
    assert sides == {tested: "test", "other.png": first}, "a named test set stays as it is"
    note = f"1 photograph of {title} (train) left out of train: also in test, byte for byte, such as {left}"
    assert built.manifest.notes == (note,)
