"""What cannot be measured is left out of every mean and named; what is not finite is an error, and never a number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from patina.pipeline.builder.build import build
from patina.training.data.index import read_index
from patina.training.data.reading import read_pair
from patina.training.errors import ModelInputError, NotFiniteError, StageError
from patina.training.evaluation import measures
from patina.training.evaluation.evaluate import classify, evaluate
from patina.training.evaluation.metrics import PROTOCOLS, measure
from patina.training.images import middle
from tests.pipeline.making import photo, picture, tiny_recipe
from tests.training.evaluation.test_evaluate import PLAIN, doing

SIZES = ((64, 48), (120, 16), (17, 90), (18, 40), (19, 19), (60, 30))
"""Width and height of the photographs, px."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    for k, (width, height) in enumerate(SIZES):
        photo(folder / "photos" / f"{k}.png", width, height, seed=k)
    build(tiny_recipe(folder, degradations={"noisy": {}, "jpeg-compressed": {}}, split={"val": 1.0}), folder / "out")
    return folder / "out"


def sides(dataset: Path, entry: str) -> dict[str, int]:
    """The shorter side of each picture of an entry, by key."""
    index = read_index(dataset, "val", [entry])
    return {str(index.keys[row]): min(read_pair(index, row)[0].shape[:2]) for row in range(len(index))}


@pytest.mark.parametrize(("protocol", "least"), [("daclip", 19), ("vlunet", 16)])
def test_a_protocol_measures_from_its_least_side_on_and_not_below(protocol: str, least: int) -> None:
    assert PROTOCOLS[protocol].least == least
    for side in range(1, 40):
        for image in (picture(side, 64), picture(64, side)):
            if side >= least:
                assert measure(image, image, protocol)["ssim"] == pytest.approx(1)
            else:
                with pytest.raises(ModelInputError):
                    measure(image, image, protocol)


@pytest.mark.parametrize(("protocol", "least"), [("daclip", 19), ("vlunet", 16)])
def test_pictures_too_small_for_ssim_are_left_out_and_named(dataset: Path, protocol: str, least: int) -> None:
    found = evaluate(doing(lambda lq: lq), dataset, protocol=protocol, **PLAIN)
    small = {
        f"{row.entry} {key}" for row in found.rows for key, side in sides(dataset, row.entry).items() if side < least
    }
    for row in found.rows:
        index = read_index(dataset, "val", [row.entry])
        pairs = [read_pair(index, k) for k in range(len(index))]
        kept = [measure(lq, gt, protocol)["ssim"] for lq, gt in pairs if min(lq.shape[:2]) >= least]
        assert row.count == len(kept)
        assert row.ssim == pytest.approx(sum(kept) / len(kept), abs=1e-4)
    assert found.mean.count == 2 * len(SIZES) - len(small)
    if not small:
        assert found.notes == ()
        return
    (note,) = found.notes
    assert note.startswith(f"{len(small)} pictures left out of every mean: ")
    assert sum(name in note for name in small) == min(len(small), 5)
    assert f"px; {protocol} measures from {least} px on each side" in note
    assert note.endswith("; and 1 more")


def test_if_every_picture_is_too_small_it_is_an_error(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png", 90, 16)
    build(tiny_recipe(tmp_path, split={"val": 1.0}), tmp_path / "out")
    with pytest.raises(
        StageError, match=r"no picture can be measured: 1 picture left out .*: noisy [\w-]+: 90 x 16 px"
    ):
        evaluate(doing(lambda lq: lq), tmp_path / "out", **PLAIN)
    assert evaluate(doing(lambda lq: lq), tmp_path / "out", protocol="vlunet", **PLAIN).mean.count == 1
    with pytest.raises(StageError, match="side = 8; vlunet measures from 16 px"):
        evaluate(doing(lambda lq: lq), tmp_path / "out", protocol="vlunet", side=8, **PLAIN)


def test_an_entry_of_which_nothing_is_left_has_no_row_and_a_note(dataset: Path) -> None:
    first = {entry: min(sides(dataset, entry)) for entry in ("noisy", "jpeg-compressed")}
    index = read_index(dataset, "val")
    by_shape = {middle(read_pair(index, k)[0], 16).tobytes(): index.label(k) for k in range(len(index))}

    def picky(lq: Tensor) -> Tensor:
        levels = (lq[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        if by_shape[levels.tobytes()].startswith("noisy"):
            raise ModelInputError("images that this network cannot take")
        return lq

    found = evaluate(doing(picky), dataset, protocol="vlunet", **PLAIN)
    assert [row.entry for row in found.rows] == ["jpeg-compressed"]
    assert found.mean.psnr == found.rows[0].psnr
    assert "noisy: no picture of it can be measured, so the tables lack it" in found.notes
    assert any(f"noisy {first['noisy']}: images that this network cannot take" in note for note in found.notes)


def test_lpips_is_of_those_that_are_large_enough_and_the_note_names_the_others(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Side:
        """Stands in for LPIPS: the shorter side."""

        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, restored: Tensor, gt: Any) -> float:
            return float(min(gt.shape[:2]))

    monkeypatch.setattr(measures, "Lpips", Side)
    found = evaluate(doing(lambda lq: lq), dataset, protocol="vlunet", lpips=True, fid=False)
    for row in found.rows:
        large = [side for side in sides(dataset, row.entry).values() if side >= 32]
        assert row.count == len(SIZES)
        assert row.lpips == row.input_lpips == sum(large) / len(large)
    (note,) = found.notes
    assert note.startswith("LPIPS: without 10 pictures of less than 32 px on a side: ")
    none = evaluate(doing(lambda lq: lq), dataset, protocol="vlunet", lpips=True, fid=False, side=20)
    assert none.mean.lpips is None
    assert any(note.startswith("LPIPS: not computed: each is of less than 32 px") for note in none.notes)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_picture_that_is_not_finite_is_an_error_that_names_it(dataset: Path, strange: float) -> None:
    def spoiled(lq: Tensor) -> Tensor:
        out = lq.clone()
        if lq.shape[-1] == 19:
            out[0, 1, 4, 5] = strange
        return out

    with pytest.raises(
        NotFiniteError, match=r"jpeg-compressed [0-9a-f]{16}-[a-z-]+: the network gave 1 of 1,083 numbers"
    ):
        evaluate(doing(spoiled), dataset, **PLAIN)


def test_a_clip_that_is_not_finite_names_no_degradation_by_chance(dataset: Path) -> None:
    seeing = doing(lambda lq: lq, ("noisy", "jpeg-compressed"))
    assert seeing.conditioner
    seeing.conditioner.contexts = lambda views: {"degradation_context": torch.full((1, 2), math.nan)}  # type: ignore[method-assign]
    for ask in (classify, evaluate):
        with pytest.raises(NotFiniteError, match=r"jpeg-compressed [0-9a-f]{16}-[a-z-]+: the CLIP"):
            ask(seeing, dataset)
