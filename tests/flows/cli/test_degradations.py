"""`patina degradations` and `patina --version`: what they print, and their exit codes."""

from __future__ import annotations

import dataclasses
import re
import tomllib

import pytest
from typer.testing import CliRunner

import patina
from patina.flows.cli.app import app
from patina.synth.degradation import SettingError
from patina.synth.degradations import CATALOGUE
from patina.synth.describe import DegradationInfo, describe, setting_texts
from tests.flows.cli.test_commands import Patina
from tests.flows.cli.test_commands import patina as command  # noqa: F401 - a fixture

every = pytest.mark.parametrize("one", describe(), ids=lambda one: one.name)


def printed(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_all_are_listed_with_a_sentence_each() -> None:
    text = printed("degradations")
    for one in describe():
        assert re.search(rf"^{one.name} +{re.escape(one.description)}$", text, re.MULTILINE)
    assert [one.name for one in describe()] == list(CATALOGUE)


@every
def test_every_setting_of_every_class_is_described(one: DegradationInfo) -> None:
    assert {s.name for s in one.settings} == {f.name for f in dataclasses.fields(CATALOGUE[one.name])}  # type: ignore[arg-type]
    for setting in one.settings:
        assert len(setting.text) > 10, f"{one.name}: its docstring has no line for {setting.name}"
        assert "  " not in setting.text and setting.text.endswith((".", '"'))
    assert one.description and one.description[0].isupper()


@every
def test_it_is_what_the_class_is(one: DegradationInfo) -> None:
    default = CATALOGUE[one.name]()
    assert (one.version, one.truth) == (default.version, default.truth)
    for setting in one.settings:
        assert setting.default == getattr(default, setting.name)
    assert default.knob is not None and one.knob is not None
    assert one.knob.name == default.knob.setting
    assert sum(setting.is_knob for setting in one.settings) == 1


@every
def test_the_block_of_settings_can_be_copied_into_a_recipe(one: DegradationInfo) -> None:
    head, _, block = printed("degradations", one.name).partition(f"[degradations.{one.name}]\n")
    assert one.description in head and f"knob     {one.knob.name if one.knob else ''}" in head
    lines = [line.partition("  ")[0] for line in block.rstrip().splitlines()]
    table = tomllib.loads("\n".join(lines))
    assert CATALOGUE[one.name](**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}) is not None
    for setting in one.settings:
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        assert table[setting.name] == default
        assert setting.text in block


def test_a_docstrings_block_of_settings_ends_where_other_text_begins() -> None:
    class Made:
        """About it.

        one   1 to 2,
              and more.
        two   at last.

        three is no setting here.   one
            four  neither
        """

    found = setting_texts(Made, ["one", "two", "three", "four"])  # type: ignore[arg-type]
    assert found == {"one": "1 to 2, and more.", "two": "at last."}


def test_ranges_are_those_that_are_refused() -> None:
    """The text's range is the one that the class holds its setting to: a spot check of the layout `low..high`."""
    rainy = {s.name: s.text for one in describe() if one.name == "rainy" for s in one.settings}
    assert "mm/h, 0.1..300" in rainy["rate"]
    CATALOGUE["rainy"](rate=300)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"rate: expected 0\.1 to 300, found 301"):
        CATALOGUE["rainy"](rate=301)  # type: ignore[call-arg]


def test_an_unknown_word_is_told_with_the_nearest_and_exit_code_1(command: Patina) -> None:  # noqa: F811
    done = command("degradations", "rany")
    assert done.returncode == 1
    assert done.stderr.startswith("error  no degradation is called 'rany'; did you mean 'rainy'? known: ")
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_the_version_is_the_packages(command: Patina) -> None:  # noqa: F811
    assert printed("--version") == f"patina {patina.__version__}\n"
    assert command("--version").stdout == f"patina {patina.__version__}\n"


def test_a_composite_is_told_where_its_settings_stand() -> None:
    done = CliRunner().invoke(app, ["degradations", "hazy+rainy"])
    assert isinstance(done.exception, SettingError)
    assert str(done.exception) == (
        "hazy+rainy is a composite, whose parts have settings of their own: see patina degradations hazy, "
        "patina degradations rainy"
    )


def test_a_ladder_tells_the_words_over_the_knobs_range() -> None:
    text = printed("degradations", "noisy", "--ladder")
    assert "noisy, sigma\n" in text and "noisy, iso, model = sensor\n" in text
    rows = re.findall(r"^ *([\d.e+]+) +([\d.]+) +(.*)$", text, re.MULTILINE)
    assert rows[0][::2] == ("1", "very weak noise, standard deviation about 1 of 255, slight to see")
    assert rows[12][::2] == ("200", "very strong noise, standard deviation about 200 of 255, extreme to see")
    assert "noisy, scale, model = poisson\n" in text
    assert len(rows) == 39


def test_a_ladder_of_an_unknown_word_is_refused(command: Patina) -> None:  # noqa: F811
    done = command("degradations", "rany", "--ladder")
    assert done.returncode == 1 and "did you mean 'rainy'?" in done.stderr
