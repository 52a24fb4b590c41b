"""One photograph under other bytes is found wherever it lies, others are let be, and no cluster straddles a split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.format.layout import SPLITS
from patina.pipeline.scan.leaks.candidates import NEAR_BITS, candidates, like_pairs
from patina.pipeline.scan.leaks.clusters import assign
from patina.pipeline.scan.leaks.find import find_leaks, links_between
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.pipeline.scan.leaks.registration import match, reduced, register, registered
from patina.pipeline.scan.leaks.thumbnails import thumbnail
from patina.pipeline.scan.leaks.types import LARGE, Leaks, Link, Match, Scene
from patina.synth.image import Image
from tests.pipeline.making import picture


@pytest.fixture
def store() -> Iterator[ScanStore]:
    with ScanStore(None) as opened:
        yield opened


@cache
def photo(seed: int) -> Image:
    return picture(320, 240, seed)


def jpeg(image: Image, quality: int = 30) -> Image:
    body = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(body, cv2.IMREAD_COLOR)[..., ::-1])


def levels(values: np.ndarray) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noisy(image: Image, sigma: float) -> Image:
    return levels(image + np.random.default_rng(1).normal(0, sigma, image.shape))


COPIES: dict[str, Callable[[Image], Image]] = {
    "JPEG, quality 30": jpeg,
    "half the size": lambda i: cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "half as large again": lambda i: cv2.resize(i, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC),
    "stretched to a square": lambda i: cv2.resize(i, (256, 256), interpolation=cv2.INTER_AREA),
    "border of 10 px": lambda i: i[10:-10, 10:-10].copy(),
    "5 % of each side": lambda i: i[6:-6, 8:-8].copy(),
    "shifted by 6 px": lambda i: i[6:, 6:].copy(),
    "brighter": lambda i: levels(i * 1.2),
    "darker": lambda i: levels(i * 0.8),
    "noise": lambda i: noisy(i, 10),
    "grey": lambda i: np.repeat(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "several": lambda i: jpeg(noisy(levels(cv2.resize(i[6:-6, 6:-6], (250, 185)) * 1.15), 4), 60),
}


def scene(
    name: str, image: Image, split: str = "train", *, named: bool = False, of: str = "photos", content: str = ""
) -> Scene:
    content = content or hashlib.sha256(name.encode() + image.tobytes()).hexdigest()
    height, width = image.shape[:2]
    return Scene(content, name, perceptual_hash(image), width, height, split, named, of, lambda: image)


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found(store: ScanStore, how: str) -> None:
    for seed in range(4):
        one, other = scene("one", photo(seed)), scene("other", COPIES[how](photo(seed)))
        assert len(links_between([one, other], store)) == 1, seed


def test_the_relation_is_that_of_the_copy() -> None:
    """SOTS indoor: clean images of 640×480, hazy ones of 620×460 cut out of their middle."""
    clean = picture(640, 480, 3)
    found = match(clean[10:-10, 10:-10].copy(), clean)
    assert found.same
    assert found.scale == pytest.approx((1, 1), abs=0.005)
    assert found.shift == pytest.approx((10, 10), abs=1.5)
    back = match(clean, clean[10:-10, 10:-10].copy())
    assert back.shift == pytest.approx((-10, -10), abs=1.5)
    small = match(clean, cv2.resize(clean, (320, 240), interpolation=cv2.INTER_AREA))
    assert small.scale == pytest.approx((0.5, 0.5), abs=0.003)
    assert small.shift == pytest.approx((0, 0), abs=0.5)


def test_different_pictures_are_not_linked(store: ScanStore) -> None:
    scenes = [scene(f"{seed}.png", photo(seed)) for seed in range(60)]
    assert find_leaks(scenes, store) == Leaks(60)
    scores = [register(photo(seed), photo(seed + 1)).score for seed in range(0, 40, 2)]
    assert max(scores) < 0.5, "also where neither hash nor thumbnail was asked"


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_equal_light_is_no_likeness(common: float) -> None:
    """Two pictures of one composition, such as a horizon: equal coarsely, and different in most of their details."""

    def light(seed: int) -> np.ndarray:
        return cv2.GaussianBlur(photo(seed), (0, 0), 25).astype(float)

    details = {seed: photo(seed) - light(seed) for seed in (2, 3, 4)}
    one, other = (levels(light(1) + common * details[4] + (1 - common) * details[seed]) for seed in (2, 3))
    assert np.corrcoef(thumbnail(one), thumbnail(other))[0, 1] > 0.8
    assert match(one, other).score == pytest.approx(common, abs=0.15)
    assert not match(one, other).same


def test_where_there_is_no_detail_nothing_is_said() -> None:
    """The steps of a gradient's levels are not what a photograph is known by."""
    ramp = np.repeat(np.linspace(40, 200, 320).astype(np.uint8)[None, :, None], 240, axis=0).repeat(3, axis=2)
    assert register(ramp, ramp) == Match(0.0)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_without_detail_glue_nothing(store: ScanStore, level: int) -> None:
    flat = [scene(f"flat-{i}", np.full((60 + i, 80, 3), level, np.uint8)) for i in range(5)]
    ramp = np.repeat(np.linspace(40, 200, 320).astype(np.uint8)[None, :, None], 240, axis=0).repeat(3, axis=2)
    ramps = [scene(f"ramp-{i}", ramp[: 200 + 8 * i]) for i in range(3)]
    grainy = [scene(f"grainy-{i}", noisy(np.full((90, 120, 3), 90 + i, np.uint8), 1)) for i in range(3)]
    assert find_leaks([*flat, *ramps, *grainy, scene("photo", photo(0))], store).links == ()


def test_a_moving_camera_makes_another_photograph_and_a_still_one_does_not(store: ScanStore) -> None:
    wide = picture(640, 300, 8)
    frames = [wide[:, 60 * i : 60 * i + 400].copy() for i in range(4)]
    assert links_between([scene(f"moving-{i}", frame) for i, frame in enumerate(frames)], store) == ()
    still = [noisy(frames[0], 4), frames[0].copy()]
    still[1][100:120, 200:220] = 30  # a ball that flies past
    assert len(links_between([scene(f"still-{i}", frame) for i, frame in enumerate(still)], store)) == 1
    slow = [scene(f"slow-{i}", wide[:, 8 * i : 8 * i + 400].copy()) for i in range(12)]
    assert match(slow[0].load(), slow[11].load()).same is False, "the ends differ,"
    assert len(assign(slow, links_between(slow, store)).clusters) == 1, "and are joined by what lies between them"


# ---------------------------------------------------------------------------------------------------------------------
# Candidates


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 700))
def test_candidates_are_all_near_pairs_and_no_others(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = [int(n) for n in rng.integers(0, 2**64, count, np.uint64)]
    for i in range(0, count - 1, 7):  # some near ones, at and beyond the limit
        flips = rng.permutation(64)[: NEAR_BITS + i % 3 - 1]
        numbers[i + 1] = numbers[i] ^ sum(1 << int(bit) for bit in flips)
    numbers[: count // 10] = [1 << 63] * (count // 10)  # of flat pictures
    found = candidates([f"{n:016x}" for n in numbers], workers=2)
    expected = [
        [i, j]
        for i in range(count)
        for j in range(i + 1, count)
        if (numbers[i] ^ numbers[j]).bit_count() <= NEAR_BITS
        and min(numbers[i].bit_count(), numbers[j].bit_count()) >= 24
    ]
    assert found.tolist() == expected


def test_of_two_sides_only_pairs_across_are_candidates() -> None:
    hashes = ["f0f0f0f0f0f0f0f0", "f0f0f0f0f0f0f0f1", "0000000000000000", "f0f0f0f0f0f0f0f3", "f0f0f0f0f0f0f0f0"]
    everything = candidates(hashes).tolist()
    sides = ["train", "val", "val", "train", "train"]
    across = [[i, j] for i, j in everything if sides[i] != sides[j]]
    assert candidates(hashes, sides=sides).tolist() == across == [[0, 1], [1, 3], [1, 4]]
    assert candidates(hashes, sides=["train"] * 5).shape == candidates([], sides=[]).shape == (0, 2)


def test_no_hashes_no_candidates() -> None:
    assert candidates([]).shape == (0, 2)
    assert candidates(["f0f0f0f0f0f0f0f0"]).shape == (0, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts are kept


def test_a_second_scan_loads_nothing_and_one_more_scene_loads_little(store: ScanStore) -> None:
    loaded: list[str] = []

    def counted(name: str, image: Image) -> Scene:
        def load() -> Image:
            loaded.append(name)
            return image

        made = scene(name, image)
        return Scene(made.content, name, made.phash, made.width, made.height, "train", False, "photos", load)

    scenes = [counted("a", photo(0)), counted("b", jpeg(photo(0))), counted("c", photo(1))]
    told: list[tuple[int, int]] = []
    first = find_leaks(scenes, store, progress=lambda done, total: told.append((done, total)))
    assert sorted(set(loaded)) == ["a", "b"], "c is near to nothing, so it is not opened"
    assert told == [(2, 3), (3, 3), (1, 1)]
    loaded.clear()
    assert find_leaks(scenes, store, workers=3) == first
    assert loaded == []
    find_leaks([*scenes, counted("d", jpeg(photo(1)))], store)
    assert sorted(set(loaded)) == ["c", "d"]


def test_what_load_raises_is_raised(store: ScanStore) -> None:
    def gone() -> Image:
        raise OSError("is gone")

    one, other = scene("a", photo(0)), scene("b", jpeg(photo(0)))
    broken = Scene(other.content, "b", other.phash, other.width, other.height, "train", False, "photos", gone)
    with pytest.raises(OSError, match="is gone"):
        find_leaks([one, broken], store)


def test_scenes_joined_already_are_not_compared_again(store: ScanStore) -> None:
    copies = [scene(f"q{q}", jpeg(photo(2), q)) for q in (95, 80, 60, 40, 30)]
    found = find_leaks(copies, store)
    assert len(found.links) == 4
    assert [len(c.members) for c in found.clusters] == [5]


def test_the_result_knows_neither_order_nor_workers_nor_history(store: ScanStore) -> None:
    scenes = [scene(f"{s}-{how}", COPIES[how](photo(s))) for s in range(3) for how in ("grey", "noise", "brighter")]
    first = find_leaks(scenes, store)
    for seed in range(3):
        mixed = [scenes[i] for i in np.random.default_rng(seed).permutation(len(scenes))]
        with ScanStore(None) as other:
            assert find_leaks(mixed, other, workers=3) == first
    with ScanStore(None) as grown:
        find_leaks(scenes[:4], grown)
        assert find_leaks(scenes, grown) == first
    assert json.loads(json.dumps(first.facts())) == first.facts()


# ---------------------------------------------------------------------------------------------------------------------
# Known cases, in miniature


def test_a_rain_test_image_whose_background_is_in_the_denoising_list(store: ScanStore) -> None:
    """Rain100L's rain-020 is BSDS500's 196015, recompressed at the same size."""
    train = scene("a196015.jpg", photo(1), of="BSD400", named=True)
    others = [scene(f"a{i}.jpg", photo(i), of="BSD400", named=True) for i in range(20, 26)]
    test = scene("rain-020.png", jpeg(photo(1), 80), "test", of="Rain100L", named=True)
    found = find_leaks([*others, test, train], store)
    assert found.moved == {}
    assert set(found.left_out) == {train.content}
    assert found.left_out[train.content].startswith(
        "shows the same photograph as rain-020.png of Rain100L, which is in test"
    )
    assert found.lines()[0] == (
        "BSD400 (train) and Rain100L (test) share 1 photograph, such as a196015.jpg and rain-020.png"
    )
    assert found.facts()["left_out"][0]["name"] == "a196015.jpg"


def test_one_scene_in_two_named_test_sets_stays_in_both_and_is_told(store: ScanStore) -> None:
    """Rain100H's 079 is BSDS500's 253055, which is in CBSD68."""
    rain = scene("079.png", jpeg(photo(2), 85), "test", of="Rain100H", named=True)
    noise = scene("253055.png", photo(2), "test", of="CBSD68", named=True)
    found = find_leaks([rain, noise], store)
    assert (found.moved, found.left_out) == ({}, {})
    assert found.lines() == ["CBSD68 (test) and Rain100H (test) share 1 photograph, such as 253055.png and 079.png"]


def test_a_training_set_that_has_scenes_of_the_test_set(store: ScanStore) -> None:
    """OTS and SOTS outdoor."""
    train = [scene(f"{i:04d}.jpg", jpeg(photo(i), 90), of="OTS", named=True) for i in range(6)]
    test = [scene(f"{i:04d}.png", photo(i), "test", of="SOTS", named=True) for i in (1, 4, 9)]
    found = find_leaks([*train, *test], store)
    assert sorted(found.left_out) == sorted(train[i].content for i in (1, 4))
    assert [(s.first, s.second, s.photographs) for s in found.shared] == [("OTS", "SOTS", 2)]
    assert found.shared[0].examples == (("0001.jpg", "0001.png"), ("0004.jpg", "0004.png"))


def test_a_clean_image_with_and_without_its_border(store: ScanStore) -> None:
    """SOTS indoor."""
    whole = picture(640, 480, 6)
    test = scene("1400.png", whole[10:-10, 10:-10].copy(), "test", of="SOTS", named=True)
    drawn = scene("nyu.png", whole, of="NYU")
    found = find_leaks([test, drawn], store)
    assert set(found.left_out) == {drawn.content}, "drawn, yet not added to a published test set"


def test_a_set_whose_training_part_has_its_own_test_images(store: ScanStore) -> None:
    """Rain100H's 1800."""
    train = [scene(f"norain-{i}.png", jpeg(photo(i), 95), of="Rain100H", named=True) for i in range(4)]
    test = [scene("norain-001.png", photo(1), "test", of="Rain100H", named=True)]
    found = find_leaks([*train, *test], store)
    assert set(found.left_out) == {train[1].content}
    assert found.lines()[0].startswith("Rain100H (test) and Rain100H (train) share 1 photograph")


def test_drawn_copies_follow_the_drawn_side(store: ScanStore) -> None:
    scenes = [
        scene("a.png", photo(3)),
        scene("b.png", jpeg(photo(3)), "val"),
        scene("c.png", levels(photo(3) * 0.8)),
    ]
    found = find_leaks(scenes, store)
    assert found.moved == {scenes[0].content: ("train", "val", "b.png"), scenes[2].content: ("train", "val", "b.png")}
    assert found.left_out == {}
    assert "2 photographs moved from train to val, beside a copy there, such as " in found.lines()[1]
    assert "2 photographs to be moved from train to val" in found.lines(fixed=False)[1]


# ---------------------------------------------------------------------------------------------------------------------
# Sides

SAME = Match(1.0)


def made(number: int, split: str, named: bool, of: str = "s") -> Scene:
    return scene(f"n{number}", photo(0)[:16, :16], split, named=named, of=of, content=f"{number:064x}")


Case = tuple[list[Scene], list[Link]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(2, 12))
    kinds = st.tuples(st.sampled_from(SPLITS), st.booleans(), st.sampled_from(["A", "B"]))
    scenes = [made(i, *draw(kinds)) for i in range(count)]
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=14))
    return scenes, [Link(scenes[min(p)].content, scenes[max(p)].content, SAME) for p in pairs if p[0] != p[1]]


def placed(scenes: Iterable[Scene], found: Leaks) -> dict[str, str]:
    """Where each scene ends; those left out are not in it."""
    return {
        s.content: found.moved[s.content][1] if s.content in found.moved else s.split
        for s in scenes
        if s.content not in found.left_out
    }


@given(cases())
def test_every_cluster_ends_on_one_side(case: Case) -> None:
    scenes, links = case
    found = assign(scenes, links)
    where = placed(scenes, found)
    for link in links:
        assert len({where[c] for c in (link.first, link.second) if c in where}) <= 1
    for cluster in found.clusters:
        assert {where[c] for c in cluster.members if c in where} == {cluster.side}
        assert cluster.because in where


@given(cases())
def test_named_scenes_never_move_and_named_sets_never_grow(case: Case) -> None:
    scenes, links = case
    by_content = {s.content: s for s in scenes}
    found = assign(scenes, links)
    assert not any(by_content[c].named for c in found.moved)
    assert not set(found.moved) & set(found.left_out)
    for cluster in found.clusters:
        members = [by_content[c] for c in cluster.members]
        if any(s.named and s.split == cluster.side for s in members):
            assert not set(found.moved) & set(cluster.members)
        for s in members:
            assert s.split != "test" or s.content not in found.left_out, "a test image is never left out"
    linked = {c for link in links for c in (link.first, link.second)}
    assert set(found.moved) | set(found.left_out) <= linked


@given(cases(), st.randoms(use_true_random=False))
def test_sides_do_not_depend_on_order(case: Case, random: object) -> None:
    scenes, links = case
    expected = assign(scenes, links)
    shuffle: Callable[[list[object]], None] = random.shuffle  # type: ignore[attr-defined]
    mixed_scenes, mixed_links = list(scenes), list(links)
    shuffle(mixed_scenes)  # type: ignore[arg-type]
    shuffle(mixed_links)  # type: ignore[arg-type]
    found = assign(mixed_scenes, mixed_links)
    assert found == expected
    assert found.facts() == expected.facts()
    assert found.lines() == expected.lines()


@given(cases(), st.sampled_from(SPLITS), st.booleans(), st.data())
def test_one_more_scene_moves_a_cluster_only_up(case: Case, split: str, named: bool, data: st.DataObject) -> None:
    scenes, links = case
    before = placed(scenes, assign(scenes, links))
    more = made(99, split, named)
    partners = data.draw(st.lists(st.sampled_from(scenes), max_size=3, unique_by=lambda s: s.content))
    grown = [*links, *(Link(s.content, more.content, SAME) for s in partners)]
    found = assign([*scenes, more], grown)
    after = placed([*scenes, more], found)
    for content, side in after.items():
        if content in before:
            assert SPLITS.index(side) >= SPLITS.index(before[content])
    for cluster in found.clusters:
        assert len({after[c] for c in cluster.members if c in after}) == 1


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        # (split, named) of each, and where each ends; None: left out
        ([("train", False), ("val", False)], ["val", "val"]),
        ([("train", False), ("val", False), ("test", False)], ["test", "test", "test"]),
        ([("train", True), ("val", False)], [None, "val"]),
        ([("train", False), ("val", True)], [None, "val"]),
        ([("train", False), ("test", True)], [None, "test"]),
        ([("train", False), ("test", True), ("test", False)], [None, "test", "test"]),
        ([("val", True), ("test", False), ("train", False)], [None, "test", "test"]),
        ([("test", True), ("test", True)], ["test", "test"]),
        ([("train", True), ("train", False)], ["train", "train"]),
    ],
)
def test_the_rule(members: list[tuple[str, bool]], expected: list[str | None]) -> None:
    scenes = [made(i, *member) for i, member in enumerate(members)]
    where = placed(scenes, assign(scenes, [Link(scenes[0].content, s.content, SAME) for s in scenes[1:]]))
    assert [where.get(s.content) for s in scenes] == expected


def test_a_very_large_cluster_is_suspicious() -> None:
    scenes = [made(i, "train", False) for i in range(LARGE + 2)]
    chain = [Link(a.content, b.content, SAME) for a, b in pairwise(scenes)]
    found = assign(scenes, chain)
    assert found.lines() == [
        f"{LARGE + 2} photographs are linked as one (n0, n1, n10, …) and stay together in train; "
        "if they are not frames of one video, look at them"
    ]
    assert found.facts()["large"] == [{"side": "train", "photographs": LARGE + 2, "examples": ["n0", "n1", "n10"]}]
    assert assign(scenes[:LARGE], chain[: LARGE - 1]).large == ()


def test_many_large_clusters_are_told_in_few_lines() -> None:
    size = LARGE + 1
    scenes = [made(i, "train", False) for i in range(5 * size)]
    chains = [Link(a.content, b.content, SAME) for i, (a, b) in enumerate(pairwise(scenes), 1) if i % size]
    found = assign(scenes, chains)
    assert len(found.large) == 5
    assert len(found.lines()) == 4
    assert found.lines()[-1] == f"2 more clusters have over {LARGE} photographs each"


def test_equal_contents_and_unknown_scenes_are_refused() -> None:
    one, other = made(1, "train", False), made(2, "train", False)
    with pytest.raises(ValueError, match="give each clean image once"):
        assign([one, one], [])
    with pytest.raises(ValueError, match="a scene that is not there"):
        assign([one], [Link(one.content, other.content, SAME)])


def test_unrelated_pictures_are_told_apart_at_40_px(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not agree there is not laid over the other at 160 px, and what may agree is."""
    tried: list[int] = []
    phase = cv2.phaseCorrelate

    def count(first: np.ndarray, *more: Any) -> Any:
        tried.append(first.shape[0])
        return phase(first, *more)

    monkeypatch.setattr(cv2, "phaseCorrelate", count)
    pictures = [reduced(picture(96, 64, seed)) for seed in range(6)]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert not registered(one, other, (96, 64), (96, 64)).same
    assert tried and set(tried) == {40}
    tried.clear()
    whole = picture(96, 64, 1)
    assert registered(reduced(whole), reduced(whole[3:, 4:]), (96, 64), (92, 61)).same
    assert 160 in tried


def test_thumbnails_are_compared_block_by_block_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pairs do not depend on how many are held together; each picture is loaded once."""
    rng, loads = np.random.default_rng(5), Counter[int]()
    originals = [picture(48, 32, seed) for seed in range(4)]
    scenes = []
    for n in range(40):
        image = np.clip(originals[n % 4].astype(int) + rng.integers(-3, 4, (32, 48, 3)), 0, 255).astype(np.uint8)

        def load(n: int = n, image: np.ndarray = image) -> np.ndarray:
            loads[n] += 1
            return image

        split = ("train", "val")[n % 3 > 0]
        scenes.append(Scene(f"{n:064x}", str(n), perceptual_hash(image), 48, 32, split, False, "", load))
    sides = [scene.split for scene in scenes]
    with ScanStore(None) as store:
        like = like_pairs(scenes, store)
        whole, across = like.pairs, like_pairs(scenes, store, sides=sides).pairs
    assert set(loads.values()) == {1}
    assert {(int(i) % 4, int(j) % 4) for i, j in whole} == {(k, k) for k in range(4)} and len(whole) == 4 * 45
    assert across.tolist() == [[i, j] for i, j in whole.tolist() if sides[i] != sides[j]]
    monkeypatch.setattr("patina.pipeline.scan.leaks.candidates.ROWS", 3)
    monkeypatch.setattr("patina.pipeline.scan.leaks.candidates.COLUMNS", 7)
    monkeypatch.setattr("patina.pipeline.scan.leaks.candidates.TOGETHER", 2)
    with ScanStore(None) as store:
        again = like_pairs(scenes, store, workers=2)
    assert again.pairs.tolist() == whole.tolist() and np.array_equal(again.thumbs, like.thumbs)
