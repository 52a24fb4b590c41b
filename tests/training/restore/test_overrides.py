"""What a restorer is told in place of what its CLIP sees; restoring in passes, and over the eight symmetries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patina.training.errors import ModelInputError, StageError
from patina.training.images import Pixels, to_bytes
from patina.training.models import clip_adapter, daclip
from patina.training.restore.files import restore_files
from patina.training.restore.load import load_conditioner
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.overrides import rows_of, steered_towards
from patina.training.restore.restorer import Restorer
from patina.training.restore.symmetries import SYMMETRIES, mean_of_symmetries, turned, turned_back
from patina.training.stages.stage import CLEAN
from tests.pipeline.making import photo, picture
from tests.training.restore.test_restorer import described, diffusion, made_up, of_pixels
from tests.training.running import small_dataset, stage, trained


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(6)


# Told


@pytest.mark.parametrize("asked", [[0], [7], [2, 5], [0, 1, 2, 3]])
def test_what_is_asked_for_is_named_first_and_the_rest_of_the_embedding_stays(asked: list[int]) -> None:
    d, texts = torch.randn(1, 64) * 7, torch.randn(10, 64)
    steered = steered_towards(d, texts, asked)
    assert steered.norm() == pytest.approx(float(d.norm()), rel=1e-5)
    products = (steered @ texts.T)[0]
    first = set(products.argsort(descending=True)[: len(asked)].tolist())
    assert first == set(asked)
    assert float(products[asked].std(correction=0)) < 1e-3
    span = torch.linalg.pinv(texts) @ texts
    outside = [v - v @ span.T for v in (d, steered)]
    assert torch.cosine_similarity(*outside).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("make", [diffusion, described])
def test_a_restorer_follows_what_it_is_told(make: Callable[[], Restorer]) -> None:
    restorer = make()
    image = picture(40, 32)
    found = restorer.look(image)
    last = list(found.degradations)[-1]
    told = restorer.told(found, [last])
    if make is diffusion:
        assert next(iter(told.degradations)) == last
        assert torch.equal(told.contexts["image_context"], found.contexts["image_context"])
    assert told.degradations[last] > found.degradations[last]
    other = restorer.restore(image, condition=told)
    if make is described:  # a U-Net of random weights heeds its prompt too little to show
        assert not torch.equal(other, restorer.restore(image))


def test_names_are_the_clips_own_or_those_of_recipes() -> None:
    prompts = clip_adapter.PROMPTS
    assert rows_of(["hazy", "image with blur", "noisy-25"], prompts, {}) == [3, 5, 1]
    assert rows_of(["noisy"], prompts, {prompts[2]: 0.6, prompts[0]: 0.1}) == [2]
    assert rows_of(["rainy"], daclip.DEGRADATIONS, {}) == [6]
    with pytest.raises(ModelInputError, match="--degradation rain: the CLIP does not know it; did you mean 'rainy'"):
        rows_of(["rain"], daclip.DEGRADATIONS, {})


def test_options_that_cannot_be_are_told_before_anything_is_restored() -> None:
    alone = of_pixels("described")[0]
    for options, restorer, said in (
        (
            RestoreOptions(degradations=("rainy",)),
            alone,
            "has no CLIP that names degradations; leave out --degradation",
        ),
        (RestoreOptions(passes=2), alone, "leave out --passes"),
        (RestoreOptions(passes=0), alone, "passes 0; expected 1 or more"),
        (RestoreOptions(degradations=("fog",)), described(), "--degradation fog: the CLIP does not know it"),
        (RestoreOptions(passes=2, degradations=("hazy",)), described(), "leave one of them out"),
    ):
        with pytest.raises(ModelInputError, match=said):
            PhotoRestorer(restorer, options)


# Passes


class Layers(nn.Module):
    """Takes the veil off a photograph that it is told of: the n-th word's is 2**n levels."""

    def forward(self, lq: Tensor, degradation_context: Tensor) -> Tensor:
        word = int(degradation_context[0].argmax())
        return lq - (0 if word == 3 else 2**word) / 255


class Sees:
    """Names the heaviest veil of a grey photograph: levels above 64 in bits, `clean` where none is left."""

    view, side, view_side = "photo", 0, 8

    def to(self, _: object) -> Sees:
        return self

    def contexts(self, views: Tensor) -> dict[str, Tensor]:
        from patina.training.data.views import MEAN, STD

        level = round(float(views[0, 0, 0, 0]) * STD[0] * 255 + MEAN[0] * 255) - 64
        word = max(0, level).bit_length() - 1
        return {"degradation_context": torch.eye(4)[[word if word >= 0 else 3]]}


WORDS = ("light", "middling", "heavy", CLEAN)


def layered() -> Restorer:
    sees: Any = Sees()
    return Restorer(Layers(), sees, made_up("described"), degradations=WORDS, texts=torch.eye(4))


def flat(level: int) -> Pixels:
    return np.full((16, 20, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("level", "passes", "left", "order"),
    [
        (64 + 7, 5, 64, ["heavy", "middling", "light"]),
        (64 + 7, 2, 65, ["heavy", "middling"]),
        (64 + 5, 9, 64, ["heavy", "light"]),
        (64 + 1, 9, 64, ["light"]),
    ],
)
def test_a_mixed_picture_is_restored_the_strongest_first_and_it_stops(
    level: int, passes: int, left: int, order: Sequence[str]
) -> None:
    photos = PhotoRestorer(layered(), RestoreOptions(passes=passes))
    restored, seen, notes = photos.restore(flat(level))
    assert np.array_equal(restored, flat(left))
    assert next(iter(seen.degradations)) == order[0]
    assert notes == [f"in {len(order)} {'pass' if len(order) == 1 else 'passes'}: {', '.join(order)}"]


def test_a_degradation_that_stays_ends_the_passes() -> None:
    class Nothing(nn.Module):
        def forward(self, lq: Tensor, degradation_context: Tensor) -> Tensor:
            return lq

    sees: Any = Sees()
    restorer = Restorer(Nothing(), sees, made_up("described"), degradations=WORDS, texts=torch.eye(4))
    told: list[tuple[int, int]] = []
    _, _, notes = PhotoRestorer(restorer, RestoreOptions(passes=9)).restore(flat(70), lambda *now: told.append(now))
    assert notes == ["in 1 pass: heavy"]
    assert told == [(1, 9)]


# Clean


def test_a_clean_picture_is_left_alone_unless_its_degradations_are_given(tmp_path: Path) -> None:
    image = flat(60)
    for passes in (1, 4):
        restored, seen, notes = PhotoRestorer(layered(), RestoreOptions(passes=passes)).restore(image)
        assert seen.is_clean
        assert np.array_equal(restored, image)
        assert notes == ["looks clean, so it is left as it is; --degradation restores it all the same"]
    restored, _, notes = PhotoRestorer(layered(), RestoreOptions(degradations=("heavy",))).restore(image)
    assert np.array_equal(restored, flat(56))
    assert notes == []


def test_a_clip_that_is_shown_clean_photographs_learns_their_name(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path, photos=8, degradations=("noisy", "low-light"))
    for name in ("controller", "adapter"):
        made = stage(name, data={"clean_share": 0.5}, max_images=8, validation={"every": 8, "samples": 2})
        assert trained(made, dataset, tmp_path / "run").finished
        _, words, texts = load_conditioner(tmp_path / "run" / name / "model.safetensors")
        assert words == ("low-light", "noisy", CLEAN)
        assert len(texts) == 3


def test_clean_photographs_are_shown_as_they_are(tmp_path: Path) -> None:
    from patina.training.data.batches import Plan, load
    from patina.training.data.index import read_index

    dataset = small_dataset(tmp_path, photos=8, degradations=("noisy",))
    made = stage("adapter", data={"clean_share": 0.5})
    index = read_index(dataset, "train")
    (batch,) = load(index, made.data, Plan(0, 8, 8, 0, 1, 1), seed=3, view_side=64, workers=0)
    clean = batch.entries == len(index.names)
    assert 0 < int(clean.sum()) < 8
    for lq, gt, is_clean in zip(batch.lq, batch.gt, clean.tolist(), strict=True):
        assert torch.equal(lq, gt) == is_clean
    with pytest.raises(StageError, match=r"clean_share = 0\.5; expected a share .* and of a CLIP alone"):
        stage("vlunet", data={"clean_share": 0.5})


# The eight symmetries


def test_the_eight_are_different_and_each_is_undone() -> None:
    image = picture(24, 16)
    seen = set()
    for symmetry in range(SYMMETRIES):
        one = turned(image, symmetry)
        seen.add((one.shape, one.tobytes()))
        back = turned_back(torch.from_numpy(one).permute(2, 0, 1), symmetry)
        assert np.array_equal(back.permute(1, 2, 0).numpy(), image)
    assert len(seen) == SYMMETRIES


def test_the_mean_is_of_all_eight() -> None:
    image = picture(24, 16)

    def marked(one: Pixels, number: int) -> Tensor:
        return torch.from_numpy(one).permute(2, 0, 1).float() + number

    mean = mean_of_symmetries(marked, image)
    expected = torch.from_numpy(image).permute(2, 0, 1).float() + 3.5
    assert torch.allclose(mean, expected, atol=1e-4)


def test_the_ensemble_of_a_network_is_the_same_for_a_turned_photograph(tmp_path: Path) -> None:
    restorer = Restorer(nn.Conv2d(3, 3, 3, padding=1), None, made_up("described"))
    photos = PhotoRestorer(restorer, RestoreOptions(ensemble=True))
    image = picture(24, 16)
    told: list[tuple[int, int]] = []
    whole = photos.restore(image, lambda *now: told.append(now))[0]
    assert told == [(k, 8) for k in range(1, 9)]
    assert photos.calls(16, 24) == 8
    for symmetry in range(SYMMETRIES):
        assert np.abs(photos.restore(turned(image, symmetry))[0].astype(int) - turned(whole, symmetry)).max() <= 1
    plain = to_bytes(restorer.restore(image))
    assert not np.array_equal(whole, plain)


def test_files_are_restored_by_all_of_it(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    (result,) = restore_files(
        [tmp_path / "a.png"], tmp_path / "out", described(), RestoreOptions(degradations=("hazy",), ensemble=True)
    )
    assert result.error == ""
    assert result.out
