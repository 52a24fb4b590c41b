from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.synth.degradation import Place, SettingError
from patina.synth.depth import CLOSE, ENCLOSED, FARTHEST, NEAREST, Depths, as_truth, brightness, prior
from patina.synth.image import Image, to_float
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

WHOLE = Place("photo.jpg", 0, 0, 80, 60, 80, 60)


def depth_of(image: Image, folder: str = "", place: Place | None = None) -> Any:
    depths = Depths(folder)
    return depths.of(to_float(image), depths.draw(Rng("2a"), place))


def landscape(height: int = 240, width: int = 320) -> Image:
    """Blue sky with a dark tower in it, over detailed ground."""
    image = np.empty((height, width, 3), np.uint8)
    sky = height * 45 // 100
    image[:sky] = (100, 150, 225)
    image[sky:] = cut(height - sky, width) // 2
    image[sky // 3 : sky, width // 2 : width // 2 + width // 16] = (60, 40, 30)
    return image


class TestPrior:
    def test_sky_is_farthest_and_the_ground_comes_nearer_downwards(self) -> None:
        depth = depth_of(landscape())
        assert depth.dtype == np.float32 and depth.shape == (240, 320)
        assert np.median(depth[:90]) > 0.95 * FARTHEST
        rows = np.median(depth[115:], axis=1)
        assert np.all(np.diff(rows[::8]) < 0)
        assert rows[0] < 200 and rows[-1] < 6

    def test_edges_are_the_photographs(self) -> None:
        """The tower before the sky is near up to its own edge, and the sky beside it far."""
        depth = depth_of(landscape())
        assert np.median(depth[60:90, 164:176]) < 200
        assert np.median(depth[60:90, 150:156]) > 1000 and np.median(depth[60:90, 184:190]) > 1000

    def test_where_there_is_no_sky_nothing_is_endlessly_far(self) -> None:
        for image in (cut(120, 160) // 2, flat(64, 64, 90), flat(64, 64, 0)):
            depth = depth_of(image)
            assert np.percentile(depth, 90) < 200

    def test_a_tile_knows_where_it_is_in_its_photograph(self) -> None:
        """The upper half of a picture lies farther away than the lower half does, although both look alike."""
        half = cut(120, 320) // 2
        upper = depth_of(half, place=Place("p.jpg", 0, 0, 320, 120, 320, 240))
        lower = depth_of(half, place=Place("p.jpg", 0, 120, 320, 120, 320, 240))
        assert np.median(lower) < 0.7 * np.median(upper)

    def test_without_sky_something_fills_the_view(self) -> None:
        """Texture up to the upper edge is a wall or a wood, and a blurred background behind it is a close-up's."""
        grain = np.random.default_rng(0).integers(40, 200, (240, 320, 1)).astype(np.uint8).repeat(3, 2)
        assert np.median(depth_of(grain)[:60]) == pytest.approx(ENCLOSED, rel=0.3)
        close = np.full_like(grain, 90)
        close[60:180, 80:240] = grain[60:180, 80:240]
        assert depth_of(close).max() < 1.3 * CLOSE

    @pytest.mark.parametrize("level", [40, 90])
    def test_water_under_the_sky_is_none(self, level: int) -> None:
        """Smooth water of nearly the sky's colour below a straight horizon lies on the ground."""
        scene = np.full((240, 320, 3), (110, 160, 230), np.uint8)
        scene[120:] = (110 - level // 4, 160 - level // 4, 230 - level // 4)
        depth = depth_of(scene)
        assert np.median(depth[:100]) > 0.95 * FARTHEST
        assert np.median(depth[160:]) < 100

    def test_what_is_amid_the_sky_is_as_far(self) -> None:
        """A moon or a cloud leaves no hole in the haze."""
        scene = landscape()
        scene[30:50, 60:90] = 255
        assert np.median(depth_of(scene)[35:45, 65:85]) > 0.5 * FARTHEST

    def test_what_stands_before_the_sky_gets_farther_towards_it(self) -> None:
        """No cut-out: from the ground to the sky there is a way."""
        rows = np.median(depth_of(landscape()), axis=1)
        between = (rows > 200) & (rows < 0.8 * FARTHEST)
        assert between.sum() >= 4

    @given(height=st.integers(16, 90), width=st.integers(16, 90), seed=st.integers(1, 99))
    def test_it_is_depth_at_any_size(self, height: int, width: int, seed: int) -> None:
        image = to_float(cut(height, width))
        depth = prior(image, Depths().draw(Rng(f"{seed:x}"), None))
        assert depth.shape == (height, width) and depth.dtype == np.float32
        assert depth.min() >= NEAREST and depth.max() <= FARTHEST

    def test_size_hardly_matters(self) -> None:
        large = cv2.resize(landscape(), (960, 720), interpolation=cv2.INTER_CUBIC)
        small, other = depth_of(landscape()), depth_of(np.asarray(large, np.uint8))
        other = cv2.resize(other, (320, 240), interpolation=cv2.INTER_AREA)
        assert np.median(np.abs(np.log(small / other))) < 0.05


class TestFolder:
    def test_arrays_are_metres_and_pngs_millimetres(self, tmp_path: Path) -> None:
        metres = np.linspace(1, 60, 60 * 80).reshape(60, 80)
        np.save(tmp_path / "photo.npy", metres)
        (tmp_path / "there").mkdir()
        PIL.Image.fromarray((metres * 1000).astype(np.uint16)).save(tmp_path / "there" / "other.v2.png")
        found = depth_of(flat(60, 80, 0), str(tmp_path), WHOLE)
        assert np.abs(found - metres).max() < 1e-5
        found = depth_of(flat(60, 80, 0), str(tmp_path), Place("there/other.v2.jpg", 0, 0, 80, 60, 80, 60))
        assert np.abs(found - metres).max() < 0.0011

    def test_a_tile_gets_its_part_at_any_resolution(self, tmp_path: Path) -> None:
        x = np.tile(np.arange(40.0) + 1, (30, 1))  # half the photograph's size
        np.save(tmp_path / "photo.npy", x)
        found = depth_of(flat(20, 40, 0), str(tmp_path), Place("photo.jpg", 40, 20, 40, 20, 80, 60))
        assert found.shape == (20, 40)
        assert found[0, 0] == pytest.approx(21) and found[0, -1] == pytest.approx(40)
        assert np.all(np.diff(found[0]) >= 0)

    def test_unknown_places_take_the_farther_neighbour(self, tmp_path: Path) -> None:
        metres = np.full((60, 80), 5.0)
        metres[:, 40:] = 9.0
        metres[:, 30:45] = 0
        metres[10, :20] = np.nan
        metres[11] = 0
        metres[12, 70:] = np.inf
        np.save(tmp_path / "photo.npy", metres)
        found = depth_of(flat(60, 80, 0), str(tmp_path), WHOLE)
        assert np.all(found[0, 30:45] == 9) and found[10, 0] == 5 and np.all(found[11] == FARTHEST)
        assert np.all(found[12, 70:] == FARTHEST)

    def test_steps_of_the_truth_are_fine_where_all_is_near(self, tmp_path: Path) -> None:
        for metres, step in ((60.0, 0.001), (70.0, 1 / 32)):
            np.save(tmp_path / "photo.npy", np.full((60, 80), metres))
            depths = Depths(str(tmp_path))
            params = depths.draw(Rng("2a"), WHOLE)
            assert params["depth_step"] == step
            truth = as_truth(depths.of(to_float(flat(60, 80, 0)), params), step)
            assert truth.dtype == np.uint16 and truth[0, 0] * step == pytest.approx(metres)

    def test_files_count_by_content_and_name(self, tmp_path: Path) -> None:
        np.save(tmp_path / "photo.npy", np.ones((60, 80)))
        before = Depths(str(tmp_path)).digest_for("photo.jpg")
        moved = tmp_path.rename(tmp_path.with_name("moved"))
        assert Depths(str(moved)).digest_for("photo.jpg") == before
        np.save(moved / "photo.npy", np.full((60, 80), 2.0))
        assert Depths(str(moved)).digest_for("photo.jpg") != before
        assert Depths().digest_for("photo.jpg") == ""

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({}, "expected depth maps (.npy, .png) in "),
            ({"photo.npy": np.ones((60, 80)), "photo.png": np.ones((60, 80), np.uint16)}, "expected one depth map a "),
        ],
    )
    def test_folders_that_cannot_work(self, tmp_path: Path, files: dict[str, Any], says: str) -> None:
        write(tmp_path, files)
        with pytest.raises(SettingError, match=r"^depth: ") as raised:
            Depths(str(tmp_path))
        assert says in str(raised.value)

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({"other.npy": np.ones((60, 80))}, "expected photo.png or photo.npy for photo.jpg in "),
            ({"photo.npy": np.ones((60, 80), int)}, "found int64 of shape (60, 80)"),
            ({"photo.npy": np.ones((60, 80, 3))}, "found float64 of shape (60, 80, 3)"),
            ({"photo.png": np.ones((60, 80), np.uint8)}, "found a PNG of mode L"),
            ({"photo.npy": b"nothing"}, "expected a 16-bit grey PNG in millimetres or H×W floats in metres at "),
            ({"photo.png": b"nothing"}, "expected a 16-bit grey PNG in millimetres or H×W floats in metres at "),
            ({"photo.npy": np.zeros((60, 80))}, "expected distances above 0 in "),
            ({"photo.npy": np.ones((80, 60))}, "expected the proportions of photo.jpg, 80×60, found 60×80 at "),
        ],
    )
    def test_files_that_cannot_work(self, tmp_path: Path, files: dict[str, Any], says: str) -> None:
        write(tmp_path, files)
        with pytest.raises(SettingError, match=r"^depth: ") as raised:
            Depths(str(tmp_path)).draw(Rng("2a"), WHOLE)
        assert says in str(raised.value)

    def test_a_folder_needs_a_photographs_name(self, tmp_path: Path) -> None:
        np.save(tmp_path / "photo.npy", np.ones((60, 80)))
        with pytest.raises(SettingError, match="needs to know which photograph it is"):
            Depths(str(tmp_path)).draw(Rng("2a"), None)

    def test_a_map_that_is_gone_or_changed_is_missed(self, tmp_path: Path) -> None:
        np.save(tmp_path / "photo.npy", np.ones((60, 80)))
        depths = Depths(str(tmp_path))
        params, image = depths.draw(Rng("2a"), WHOLE), to_float(flat(60, 80, 0))
        with pytest.raises(SettingError, match=r"no folder: depth is not set; put that file back"):
            Depths().of(image, params)
        depths.of(image, params)
        np.save(tmp_path / "photo.npy", np.full((60, 80), 2.0))
        with pytest.raises(SettingError, match="has changed"):
            depths.of(image, params)
        with pytest.raises(SettingError, match="found 1 others in "):
            Depths(str(tmp_path)).of(image, params)


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif name.endswith(".npy"):
            np.save(folder / name, content)
        else:
            PIL.Image.fromarray(content).save(folder / name)


def test_brightness_follows_the_light_of_the_scene() -> None:
    assert brightness(flat(40, 40, 0)) == 0.25
    assert brightness(flat(40, 40, 255)) == brightness(photo()) == 1
    assert brightness(flat(40, 40, 51)) == pytest.approx(0.45, abs=0.001)


def test_depths_beyond_all_levels_are_the_largest_one() -> None:
    """OpenCV makes 0 of a float above 2^31."""
    depths = np.array([[0, 1, 655.35, 700, 1e9, 1e30]], np.float32)
    assert as_truth(depths, 0.01).tolist() == [[0, 100, 65535, 65535, 65535, 65535]]
