"""Stage files as they come broken: each is read, or one line says what and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from patina.training.errors import StageError
from patina.training.stages.plan import PLANS, load_plan, parse_stage, parse_table, plan_texts
from tests.fuzzing import expect_one_line, mutations

TEXT = """objective = 'sde'
network = 'unet-irsde'
max_images = 64

[data]
batch = 4
crop = 32
weights = {noisy = 2.0}

[optimiser]
lr = 1e-4
betas = [0.9, 0.99]

[ema]
decay = 0.99

[sde]
schedule = 'cosine'

[validation]
every = 32
"""


def texts() -> dict[str, str]:
    return {f"{plan}/{name}": text for plan in PLANS for name, text in plan_texts(plan).items()}


@pytest.mark.parametrize("name", sorted(texts()))
def test_broken_stages(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    read = 0
    for data in mutations(texts()[name].encode(), 60, len(name)):
        file.write_bytes(data)
        try:
            (stage,) = load_plan(file).values()
        except StageError as error:
            expect_one_line(error, "mine")
            continue
        read += 1
        assert parse_table(stage.table(), "mine") == stage
    assert read < 60


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lr = 1e-4", "lr = '1e-3'", "optimiser.lr = '1e-3': input should be a valid number"),
        ("lr = 1e-4", "lr = true", "optimiser.lr = True: input should be a valid number"),
        ("batch = 4", "batch = '4'", "data.batch = '4': input should be a valid integer"),
        ("batch = 4", "batch = 4.0", "data.batch = 4.0: input should be a valid integer"),
        ("batch = 4", "batch = true", "data.batch = True: input should be a valid integer"),
        ("'cosine'", "1979-05-27", "sde.schedule = '1979-05-27'"),
        ("lr = 1e-4", "lr = nan", "optimiser.lr"),
        ("lr = 1e-4", "learning_rate = 1e-4\nlr = 1e-4", "unknown setting 'optimiser.learning_rate'; "),
        ("lr = 1e-4", "lrr = 1e-4\nlr = 1e-4", "unknown setting 'optimiser.lrr'; did you mean 'lr'?"),
        ("max_images", "max_image = 64\nmax_images", "unknown setting 'max_image'; did you mean 'max_images'?"),
        ("crop", "crops = 1\ncrop", "unknown setting 'data.crops'; did you mean 'crop'?"),
        ("every", "evry = 1\nevery", "unknown setting 'validation.evry'; did you mean 'every'?"),
    ],
)  # fmt: skip
def test_wrong_kinds_and_names_are_told_with_the_nearest_name(old: str, new: str, told: str) -> None:
    assert parse_stage(TEXT, "mine").optimiser.lr == 1e-4
    assert TEXT.count(old) == 1
    with pytest.raises(StageError) as caught:
        parse_stage(TEXT.replace(old, new), "mine")
    expect_one_line(caught.value, "stage mine")
    assert told in str(caught.value)


def test_whole_numbers_count_as_numbers_and_lists_as_tuples() -> None:
    stage = parse_stage(TEXT.replace("lr = 1e-4", "lr = 1").replace("crop = 32", "crop = 32\nentries = ['noisy']"), "a")
    assert (stage.optimiser.lr, stage.data.entries, stage.optimiser.betas) == (1.0, ("noisy",), (0.9, 0.99))


def test_a_stage_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(TEXT.encode("utf-16"))
    for where in (tmp_path / "mine.toml", tmp_path):
        with pytest.raises(StageError, match=r"mine\.toml: no TOML: it is no UTF-8 text"):
            load_plan(where)
    (tmp_path / "mine.toml").unlink()
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(StageError, match=r"mine\.toml: cannot be read: Is a directory"):
        load_plan(tmp_path)
