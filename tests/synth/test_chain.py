"""Random chains: what is drawn, what the words promise, what small pictures do, and that each is made again by bits."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patina.pipeline.errors import RecipeError
from patina.pipeline.recipe.chains import chain_of
from patina.pipeline.recipe.parse import parse_degradation
from patina.synth.chain import Chain, Step
from patina.synth.chains import CHAINS
from patina.synth.degradation import SettingError
from patina.synth.degradations.blurred import Blurred
from patina.synth.degradations.downsampled import Downsampled
from patina.synth.degradations.noisy import Noisy
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, psnr

WORD_OF = {"blurred": "blur", "noisy": "noise", "downsampled": "resize", "jpeg-compressed": "jpeg"}


def chain(name: Any, **settings: Any) -> Chain:
    made = parse_degradation("chain", {"chain": name, **settings}, Path.cwd())
    assert isinstance(made, Chain)
    return made


def drawn(one: Chain, count: int) -> list[dict[str, Any]]:
    return [one.draw(Rng(f"{i + 1:x}"), cut(40, 48)) for i in range(count)]


@pytest.mark.parametrize("name", CHAINS)
def test_each_is_made_again_by_its_parameters_alone(name: str) -> None:
    image, one = cut(61, 83), chain(name)
    for params in drawn(one, 8):
        first = one.apply(image, params)
        kept = json.loads(json.dumps(params))
        assert kept == params
        again = chain(name).apply(image, kept)
        assert first.image.shape == image.shape and first.image.dtype == np.uint8
        assert np.array_equal(first.image, again.image)
        assert not first.truth and first.file is None
        assert 10 < psnr(image, first.image) < 60


@pytest.mark.parametrize("name", CHAINS)
def test_settings_are_json_and_the_smallest_picture_works(name: str) -> None:
    one = chain(name)
    assert json.loads(json.dumps(one.settings())) == one.settings()
    for params in drawn(one, 6):
        assert one.apply(flat(16, 16, 90), params).image.shape == (16, 16, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_sample_bears_its_words_exactly(count: int) -> None:
    for words in combinations(WORD_OF.values(), count):
        one = chain("wild-ir", words=list(words))
        assert one.name == "+".join(words)
        for params in drawn(one, 30):
            assert {WORD_OF[name] for name, _ in params["parts"]} == set(words)


def test_all_of_wild_ir_is_there_as_often_as_it_says() -> None:
    """Chances and ranges of its three rounds, of 500 draws; a resize makes it sure that the picture comes back."""
    found = drawn(chain("wild-ir"), 500)
    parts = [part for params in found for part in params["parts"]]
    per = {name: sum(part[0] == name for part in parts) / 500 for name in WORD_OF}
    assert per["blurred"] == pytest.approx(0.8 + 0.4 + 0.8, abs=0.12)
    assert 0.6 <= per["noisy"] < 1.15 and 0.8 <= per["jpeg-compressed"] < 1.3
    assert per["downsampled"] == 1, "it is one of its words"
    assert all(60 <= params["quality"] <= 100 for name, params in parts if name == "jpeg-compressed")
    assert all(params["sigma"] <= 5 for name, params in parts if params.get("model") == "gaussian")
    grey = [params["grey"] for name, params in parts if name == "noisy"]
    assert 0.3 < np.mean(grey) < 0.5
    kinds = [params["kind"] for name, params in parts if name == "blurred"]
    assert {"gaussian", "generalised", "plateau", "disc", "box", "line", "sinc"} == set(kinds)
    assert all(len(params["back"]) == 1 for params in found)


def test_rounds_keep_their_order_and_shuffled_steps_take_any() -> None:
    steps = [{"use": "noisy"}, {"use": "blurred"}, {"use": "jpeg-compressed"}]
    orders = [[name for name, _ in params["parts"]] for params in drawn(chain([steps, [{"use": "noisy"}]]), 20)]
    assert {tuple(order) for order in orders} == {("noisy", "blurred", "jpeg-compressed", "noisy")}
    shuffled = chain([steps, [{"use": "noisy"}]], shuffle=True)
    orders = [[name for name, _ in params["parts"]] for params in drawn(shuffled, 200)]
    assert len({tuple(order) for order in orders}) == 6 and all(order[3] == "noisy" for order in orders)


def test_steps_of_one_kind_keep_their_order() -> None:
    """BSRGAN's second resizing comes after its first."""
    for params in drawn(chain("bsrgan"), 60):
        scales = [one["scale"] for name, one in params["parts"] if name == "downsampled"]
        assert scales[-1] == 0.25 and len(scales) <= 2


def test_another_setting_of_one_step_leaves_what_the_others_draw() -> None:
    def params(sigma: float) -> dict[str, Any]:
        noise = {"use": "noisy", "sigma": {"min": 1, "max": 9}}
        return drawn(chain([[{"use": "blurred", "sigma": sigma}, noise]]), 1)[0]

    one, other = params(1), params(2)
    assert one["parts"][0] != other["parts"][0] and one["parts"][1] == other["parts"][1]


def test_what_follows_a_resize_sees_the_small_picture() -> None:
    """Noise on a picture of a quarter of the size has grains of four pixels when it is enlarged; noise after the way
    back has not."""

    def grain(*steps: dict[str, Any]) -> float:
        one = chain([list(steps)])
        lq = one.apply(flat(96, 96, 128), drawn(one, 1)[0]).image.astype(float) - 128
        return float((lq[:, 1:] * lq[:, :-1]).mean() / (lq * lq).mean())

    small, noise = {"use": "downsampled", "scale": 0.25}, {"use": "noisy", "sigma": 10}
    assert grain(small, noise) > 0.7
    assert abs(grain(small, {"return": "bicubic"}, noise)) < 0.1


def test_what_knows_the_pictures_size_gets_it_back_first() -> None:
    one = chain([[{"use": "downsampled", "scale": 0.5}, {"use": "uncompleted", "fill": [255, 0, 0]}]])
    image = flat(48, 64, 90)
    hole = (one.apply(image, drawn(one, 1)[0]).image == (255, 0, 0)).all(axis=2)
    assert 0.01 < hole.mean() < 0.7, "its edge is sharp and its colour exact: nothing was enlarged after it"


def test_steps_that_are_no_degradation_in_a_label_are_free() -> None:
    one = chain([[{"use": "noisy"}, {"use": "blurred", "chance": 0.5, "word": ""}]])
    assert one.name == "noisy"
    counts = [len(params["parts"]) for params in drawn(one, 100)]
    assert 0.35 < counts.count(2) / 100 < 0.65


def test_a_chain_needs_words_and_steps_that_go_together() -> None:
    noise = Step(((1.0, Noisy()),), word="noisy")
    with pytest.raises(SettingError, match="shuffle: expected true or false for each of 1 rounds"):
        Chain(((noise,),), (True, False), ("noisy",))
    with pytest.raises(SettingError, match="words: no step is called 'rain'; its steps are called noisy"):
        Chain(((noise,),), (True,), ("rain",))
    with pytest.raises(SettingError, match="words: a chain has one word at least"):
        Chain(((noise,),), (True,), ())
    with pytest.raises(SettingError, match="a chain has a step with a degradation at least"):
        Chain(((Step((), back=("bicubic",)),),), (True,), ("noisy",))
    with pytest.raises(SettingError, match="or else is the way back"):
        Step(((1.0, Downsampled()),), back=("bicubic",))
    with pytest.raises(SettingError, match="either: all odds are 0"):
        Step(((0.0, Blurred()),))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"chain": "wild"}, "chain: no chain is called 'wild'; did you mean 'wild-ir'?"),
        ({"chain": []}, "chain chain: the list is empty; give one step at least"),
        ({"chain": 3}, "chain chain: expected one of real-esrgan, bsrgan, wild-ir, or a list of steps or of rounds"),
        (
            {"chain": [{"chance": 1}]},
            "step 1 of round 1: expected one of the keys use, either and return, found none of",
        ),
        ({"chain": [{"use": "noisy", "return": "area"}]}, "expected one of the keys use, either and return, found use"),
        ({"chain": [{"use": "noisi"}]}, "no degradation is called 'noisi'; did you mean 'noisy'?"),
        ({"chain": [{"use": "noisy", "sigmas": 3}]}, "has no key 'sigmas'; did you mean 'sigma'?"),
        ({"chain": [{"use": "noisy", "severity": "mild"}]}, "a step has no severity; give noisy settings instead"),
        ({"chain": [{"use": "noisy", "chance": 2}]}, "chance: expected 0 to 1, found 2"),
        ({"chain": [{"use": "noisy", "chance": True}]}, "chance: expected a number, found True"),
        ({"chain": [{"use": "noisy", "word": "A b"}]}, "word: expected lower-case letters, digits and single -, found"),
        ({"chain": [{"return": "cubic"}, {"use": "noisy"}]}, "return: expected one of nearest, area, bilinear"),
        ({"chain": [{"either": []}]}, "either: the list is empty; give one degradation at least"),
        ({"chain": [{"either": [{"use": "noisy"}, {"use": "blurred"}]}]}, "the choices are of several names; give the"),
        ({"chain": "wild-ir", "shuffle": [True]}, "shuffle: expected true or false, or a list of one for each of 3"),
        ({"chain": "wild-ir", "words": ["rain"]}, "words: no step is called 'rain'; its steps are called blur, resize"),
        ({"chain": "wild-ir", "sigma": 3}, "chain has no key 'sigma'"),
    ],
)
def test_a_table_that_cannot_work_is_refused_in_words(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse_degradation("chain", settings, Path.cwd())
    assert expected in str(raised.value)


@pytest.mark.parametrize("name", CHAINS)
def test_the_resolved_table_reads_back_to_the_same_chain(name: str) -> None:
    one, table = chain_of("chain", {"chain": name}, Path.cwd())
    again, same = chain_of("chain", json.loads(json.dumps(table)), Path.cwd())
    assert again.settings() == one.settings() and same == table
