import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patina.synth.degradation import SettingError
from patina.synth.degradations.uncompleted import LEAST, MOST, A, B, Uncompleted
from patina.synth.holes import SHAPES, hole
from patina.synth.image import Map
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"hole_ratio": ratio} for ratio in (0.035, 0.1, 0.2, 0.3, 0.4, 0.5)]
WIDE = Uncompleted()
BAD: list[tuple[dict[str, Any], str]] = [
    ({"fill": [255, 255]}, "fill: expected three whole numbers 0..255 (red, green, blue), found [255, 255]"),
    ({"fill": [0, 0, 256]}, "expected three whole numbers 0..255 (red, green, blue), found [0, 0, 256]"),
    ({"fill": [0, 0, 0.5]}, "expected three whole numbers 0..255 (red, green, blue), found [0, 0, 0.5]"),
    ({"fill": 255}, "fill: expected three whole numbers 0..255 (red, green, blue), found 255"),
    ({"shapes": "circles"}, "shapes: expected one or a list of strokes, text, scratches, blocks, found 'circles'"),
    ({"shapes": []}, "shapes: expected one or a list of strokes, text, scratches, blocks, found []"),
    ({"masks_keep": "grey"}, 'masks_keep: expected "white" or "black", found \'grey\''),
    ({"masks": "/no/such/folder"}, "masks: expected a folder of mask images, found no folder at /no/such/folder"),
]


def strokes(height: int, width: int, hole_ratio: float, seed: str = "2a") -> Map:
    params = {"hole_ratio": hole_ratio, "seed": seed, "fill": [255, 255, 255], "mask": "", "masks_keep": "white"}
    return Uncompleted().apply(flat(height, width, 0), params).truth["mask"]


def ratio_of(mask: Map) -> float:
    return float((mask == 0).mean())


def half(*, left: int, shape: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """A mask of two halves: the left one of level `left`, the right one of 255 - `left`."""
    mask = np.full(shape, 255 - left, np.uint8)
    mask[:, : shape[1] // 2] = left
    return mask


def write(folder: Path, **masks: NDArray[np.uint8]) -> str:
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        PIL.Image.fromarray(mask).save(folder / f"{name}.png")
    return str(folder)


class TestStrokes:
    def test_hole_ratios_are_those_of_the_reference(self) -> None:
        """RePaint's thin masks: mean 0.297, standard deviation 0.122, median 0.308, from 0.035 to 0.499."""
        image = flat(256, 256, 0)
        asked, found = [], []
        for i in range(1000):
            params = WIDE.draw(Rng(f"{i:x}"), image)
            asked.append(params["hole_ratio"])
            found.append(ratio_of(WIDE.apply(image, params).truth["mask"]))
        over = np.subtract(found, asked)
        assert over.min() >= 0 and over.max() < 0.01 and over.mean() < 0.002
        ratios = np.sort(found)
        assert ratios.mean() == pytest.approx(0.297, abs=0.02)
        assert ratios.std() == pytest.approx(0.122, abs=0.01)
        assert np.median(ratios) == pytest.approx(0.308, abs=0.02)
        assert ratios[0] >= 0.035 and ratios[-1] <= 0.51
        share = 1 - (1 - ((ratios.clip(LEAST, MOST) - LEAST) / (MOST - LEAST)) ** A) ** B
        ks = max(np.max(np.arange(1, 1001) / 1000 - share), np.max(share - np.arange(1000) / 1000))
        assert ks < 0.1

    def test_pixels_are_frozen(self) -> None:
        """If this fails, raise `Uncompleted.version`: stored samples can no longer be replayed."""
        digest = hashlib.sha256(strokes(48, 64, 0.3).tobytes()).hexdigest()
        assert digest[:16] == "a334ce1e8f06962f"

    @pytest.mark.parametrize("shape", [(16, 16), (17, 501), (501, 17), (3000, 4000)])
    def test_any_size_gets_its_hole(self, shape: tuple[int, int]) -> None:
        for hole_ratio in (LEAST, MOST):
            assert hole_ratio <= ratio_of(strokes(*shape, hole_ratio)) < hole_ratio + 0.02

    def test_every_variant_has_strokes_of_its_own(self) -> None:
        seeds = {WIDE.draw(Rng(f"{i:x}"), flat(64, 64, 0))["seed"] for i in range(20)}
        assert len({strokes(64, 64, 0.3, seed).tobytes() for seed in seeds}) == 20

    def test_a_larger_hole_holds_the_smaller_one(self) -> None:
        small, large = strokes(120, 90, 0.2), strokes(120, 90, 0.4)
        assert not (small < large).any()

    def test_strokes_scale_with_the_image(self) -> None:
        """A thin stroke at 1024 px is four times as wide as at 256: the same count of edges across a row."""
        edges = [np.count_nonzero(np.diff(strokes(side, side, 0.3), axis=1)) / side for side in (256, 1024)]
        assert edges[0] == pytest.approx(edges[1], rel=0.15)

    @given(
        st.integers(16, 90),
        st.integers(16, 90),
        st.integers(0, 2**64),
        st.lists(st.integers(0, 255), min_size=3, max_size=3),
    )
    def test_only_the_hole_is_filled(self, height: int, width: int, seed: int, fill: list[int]) -> None:
        gt, degradation = cut(height, width), Uncompleted(fill=fill)
        degraded = degradation.apply(gt, degradation.draw(Rng(f"{seed:x}"), gt))
        mask = degraded.truth["mask"]
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(degraded.image[mask == 255], gt[mask == 255])
        assert (degraded.image[mask == 0] == fill).all()


class TestShapes:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("size", [(16, 16), (17, 501), (501, 17), (321, 481), (1500, 2000)])
    def test_any_size_gets_its_hole_and_nothing_between(self, shape: str, size: tuple[int, int]) -> None:
        """To within one stroke, letter, part of a scratch or block, which are large on the smallest picture."""
        for ratio in (SHAPES[shape].least, SHAPES[shape].most):
            mask = hole(shape, *size, ratio, Rng("2a"))
            assert set(np.unique(mask)) == {0, 255}
            assert ratio <= ratio_of(mask) < ratio + (0.04 if min(size) < 20 else 0.01)

    @given(st.sampled_from(list(SHAPES)), st.integers(16, 90), st.integers(16, 90), st.integers(0, 2**64))
    def test_only_the_hole_is_filled(self, shape: str, height: int, width: int, seed: int) -> None:
        gt, degradation = cut(height, width), Uncompleted(shapes=shape, fill=[0, 255, 0])
        degraded = degradation.apply(gt, degradation.draw(Rng(f"{seed:x}"), gt))
        mask = degraded.truth["mask"]
        assert set(np.unique(mask)) == {0, 255}
        assert np.array_equal(degraded.image[mask == 255], gt[mask == 255])
        assert (degraded.image[mask == 0] == [0, 255, 0]).all()

    def test_each_has_its_range_of_ratios(self) -> None:
        drawn = [Uncompleted(shapes=list(SHAPES)).draw(Rng(f"{i:x}"), flat(64, 64, 0)) for i in range(800)]
        for shape, bounds in SHAPES.items():
            ratios = [params["hole_ratio"] for params in drawn if params["shape"] == shape]
            assert len(ratios) > 150
            span = bounds.most - bounds.least
            assert bounds.least <= min(ratios) < bounds.least + 0.1 * span
            assert bounds.most >= max(ratios) > bounds.most - 0.1 * span

    def test_strokes_are_the_default_and_draw_as_ever(self) -> None:
        params = Uncompleted().draw(Rng("2a"), flat(64, 64, 0))
        assert params["shape"] == "strokes"
        assert params == Uncompleted(shapes=["strokes"]).draw(Rng("2a"), flat(64, 64, 0))
        assert (params["hole_ratio"], params["seed"][:8]) == (0.409539, "705a5661")

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_larger_hole_holds_the_smaller_one(self, shape: str) -> None:
        bounds = SHAPES[shape]
        small, large = (hole(shape, 120, 90, ratio, Rng("5")) for ratio in (bounds.least, bounds.most))
        assert not (small < large).any()

    def test_blocks_lie_on_the_grid(self) -> None:
        mask = hole("blocks", 256, 320, 0.3, Rng("1"))
        assert np.array_equal(mask, mask[::16, ::16].repeat(16, 0).repeat(16, 1))
        assert 0.3 <= ratio_of(mask) < 0.3 + 256 / mask.size + 1e-9

    def test_scratches_are_upright_and_thin(self) -> None:
        mask = hole("scratches", 512, 512, 0.05, Rng("1")) == 0
        down, across = (np.abs(np.diff(mask.astype(int), axis=axis)).sum() for axis in (0, 1))
        assert across > 4 * down
        widths = np.diff(np.flatnonzero(np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(int).ravel())))[::2]
        assert np.median(widths) <= 3
        assert mask.any(axis=1).mean() > 0.99  # from edge to edge

    def test_text_is_letters(self) -> None:
        """Many separate marks of one height a line, and none of them large."""
        mask = hole("text", 512, 512, 0.06, Rng("3"))
        count, _, stats, _ = cv2.connectedComponentsWithStats((mask == 0).astype(np.uint8))
        assert count > 15
        assert stats[1:, cv2.CC_STAT_AREA].max() < 0.01 * mask.size

    def test_threads_write_the_same_letters(self) -> None:
        """OpenCV keeps the font's outlines for all threads at once."""
        with ThreadPoolExecutor(8) as pool:
            at_once = list(pool.map(lambda seed: hole("text", 120, 160, 0.2, Rng(f"{seed:x}")), range(60)))
        assert all(np.array_equal(hole("text", 120, 160, 0.2, Rng(f"{i:x}")), mask) for i, mask in enumerate(at_once))


class TestMasks:
    def test_a_mask_is_used_and_its_ratio_told(self, tmp_path: Path) -> None:
        degradation = Uncompleted(masks=write(tmp_path, a=half(left=0)))
        gt = cut(32, 48)
        params = degradation.draw(Rng("1"), gt)
        assert params["hole_ratio"] == 0.5
        assert params["mask"] == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
        degraded = degradation.apply(gt, params)
        assert (degraded.image[:, :24] == 255).all()
        assert np.array_equal(degraded.image[:, 24:], gt[:, 24:])

    def test_both_polarities(self, tmp_path: Path) -> None:
        gt, folder = cut(32, 48), write(tmp_path, a=half(left=0))
        for keep, gone in (("white", slice(0, 24)), ("black", slice(24, 48))):
            degradation = Uncompleted(masks=folder, masks_keep=keep)
            mask = degradation.apply(gt, degradation.draw(Rng("1"), gt)).truth["mask"]
            assert (mask[:, gone] == 0).all() and ratio_of(mask) == 0.5

    def test_replay_follows_the_parameters_and_not_the_settings(self, tmp_path: Path) -> None:
        gt, folder = cut(32, 48), write(tmp_path, a=half(left=0))
        params = Uncompleted(masks=folder, masks_keep="white", fill=[1, 2, 3]).draw(Rng("1"), gt)
        one, other = (Uncompleted(masks=folder, masks_keep=keep) for keep in ("white", "black"))
        assert np.array_equal(one.apply(gt, params).image, other.apply(gt, params).image)
        assert one.apply(gt, params).image[0, 0].tolist() == [1, 2, 3]

    @given(st.integers(16, 90), st.integers(16, 90))
    def test_a_grey_edge_becomes_two_valued(
        self, tmp_path_factory: pytest.TempPathFactory, height: int, width: int
    ) -> None:
        ramp = np.tile(np.linspace(0, 255, 61).astype(np.uint8), (37, 1))
        degradation = Uncompleted(masks=write(tmp_path_factory.mktemp("masks"), a=ramp))
        gt = cut(height, width)
        mask = degradation.apply(gt, degradation.draw(Rng("1"), gt)).truth["mask"]
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) == {0, 255}

    def test_names_and_places_do_not_matter_and_contents_do(self, tmp_path: Path) -> None:
        one, other = half(left=0), half(left=255)
        here = Uncompleted(masks=write(tmp_path / "here", a=one, b=other))
        there = Uncompleted(masks=write(tmp_path / "there", z=one, c=other))
        changed = Uncompleted(masks=write(tmp_path / "changed", a=one, b=half(left=255, shape=(64, 32))))
        image = cut(32, 48)
        assert here.settings() == there.settings() != changed.settings()
        assert str(tmp_path) not in str(here.settings())
        for i in range(20):
            assert here.draw(Rng(f"{i:x}"), image) == there.draw(Rng(f"{i:x}"), image)
        assert len({here.draw(Rng(f"{i:x}"), image)["mask"] for i in range(20)}) == 2

    def test_what_was_scanned_is_no_part_of_equality(self, tmp_path: Path) -> None:
        degradation = Uncompleted(masks=write(tmp_path, a=half(left=0)))
        assert pickle.loads(pickle.dumps(degradation)) == degradation == Uncompleted(masks=str(tmp_path))
        assert pickle.loads(pickle.dumps(degradation)).settings() == degradation.settings()

    def test_other_files_are_left_alone(self, tmp_path: Path) -> None:
        folder = write(tmp_path, a=half(left=0))
        settings = Uncompleted(masks=folder).settings()
        (tmp_path / "notes.txt").write_text("masks from somewhere")
        (tmp_path / "._a.png").write_bytes(b"a Mac was here")
        (tmp_path / "more.png").mkdir()
        assert Uncompleted(masks=folder).settings() == settings

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingError, match=r"expected mask images \(.bmp.*found none"):
            Uncompleted(masks=str(tmp_path))

    def test_a_broken_mask_is_refused(self, tmp_path: Path) -> None:
        folder = write(tmp_path, a=half(left=0))
        whole = (tmp_path / "a.png").read_bytes()
        for broken in (whole[: len(whole) // 2], b"no image"):
            (tmp_path / "a.png").write_bytes(broken)
            with pytest.raises(SettingError, match=r"expected an image at .*a\.png, found .*; put a whole one there"):
                Uncompleted(masks=folder)

    @pytest.mark.parametrize(("level", "found"), [(255, "no hole"), (0, "nothing kept"), (1, "nothing kept")])
    def test_a_mask_of_one_kind_is_refused(self, tmp_path: Path, level: int, found: str) -> None:
        """A hole of nothing would give clean images the label `uncompleted`; masks are often written as 0 and 1."""
        with pytest.raises(SettingError, match=rf"expected a hole and something to keep.*a\.png with {found}"):
            Uncompleted(masks=write(tmp_path, a=np.full((32, 32), level, np.uint8)))

    def test_a_mask_that_is_gone_changed_or_unknown_is_told(self, tmp_path: Path) -> None:
        degradation = Uncompleted(masks=write(tmp_path, a=half(left=0)))
        gt = cut(32, 48)
        params = degradation.draw(Rng("1"), gt)
        write(tmp_path, a=half(left=255))
        with pytest.raises(SettingError, match=r"a\.png has changed: expected sha256 .*, found .*; start again"):
            degradation.apply(gt, params)
        (tmp_path / "a.png").unlink()
        with pytest.raises(SettingError, match=r"expected an image at .*a\.png, found .*No such file"):
            degradation.apply(gt, params)
        with pytest.raises(SettingError, match=r"expected a file of sha256 .*, found no folder: masks is not set"):
            Uncompleted().apply(gt, params)
        write(tmp_path, b=half(left=255))
        with pytest.raises(SettingError, match=r"found 1 others in .*; put that file back"):
            Uncompleted(masks=str(tmp_path)).apply(gt, params)


@pytest.mark.parametrize("shape", ["strokes", "text", "scratches", "blocks"])
@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.6])
def test_a_ratio_that_is_asked_for_is_covered(shape: str, ratio: float) -> None:
    degradation, image = Uncompleted(shapes=shape, ratio=ratio), photo()
    params = degradation.draw(Rng("5"), image)
    assert params["hole_ratio"] == ratio
    hole = float((degradation.apply(image, params).truth["mask"] == 0).mean())
    assert abs(hole - ratio) < 0.01


def test_the_ratio_is_the_knob_but_where_masks_decide(tmp_path: Path) -> None:
    assert Uncompleted().knob is not None
    mask = np.full((32, 32), 255, np.uint8)
    mask[:9] = 0
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    assert Uncompleted(masks=str(tmp_path)).knob is None
    with pytest.raises(SettingError, match=r"ratio: expected 0.003 to 0.95, found 2"):
        Uncompleted(ratio=2)
