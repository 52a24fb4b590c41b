"""What holds for every captioner, and for captions at all."""

from __future__ import annotations

import csv
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.captioning import CAPTIONERS
from patina.captioning.captioner import Caption, CaptionError, Run, is_folder, one_line
from patina.captioning.sidecar import Sidecar
from patina.flows.demo import GREY_PHOTOS, PHOTOS
from patina.pipeline.recipe.shipped import FOLDER
from tests.captioning.doubles import photo

DEMO_CAPTIONS = FOLDER / "demo-captions.csv"


@pytest.mark.parametrize("word", CAPTIONERS)
def test_a_captioner_is_its_word_frozen_picklable_and_its_settings_are_json(word: str) -> None:
    captioner = CAPTIONERS[word]()
    assert captioner.name == word and captioner.version >= 1
    assert json.loads(json.dumps(captioner.settings())) == captioner.settings()
    assert pickle.loads(pickle.dumps(captioner)) == captioner == CAPTIONERS[word]()
    with pytest.raises(AttributeError):
        captioner.text = captioner.path = "another"  # type: ignore[attr-defined]


WITHOUT_MODEL = [word for word in CAPTIONERS if not CAPTIONERS[word].stored]  # one with a model: see its own test


@pytest.mark.parametrize("word", WITHOUT_MODEL)
def test_one_bad_photo_is_a_problem_of_its_own(word: str, tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError("truncated")

    captions = CAPTIONERS[word]().caption([photo("a/x.jpg", tmp_path, broken), photo("y.jpg", tmp_path, broken)])  # type: ignore[arg-type]
    assert all(caption.problem and not caption.text for caption in captions)
    assert "'a/x.jpg'" in captions[0].problem and "'y.jpg'" in captions[1].problem
    assert CAPTIONERS[word]().caption([]) == []


@pytest.mark.parametrize("word", WITHOUT_MODEL)
def test_without_a_model_there_is_nothing_to_prepare_and_batches_are_plain(word: str, tmp_path: Path) -> None:
    captioner, photos = CAPTIONERS[word](), [photo(f"{i}.jpg", tmp_path, caption="x", width=1) for i in range(40)]
    captioner.prepare(Run(devices=("a device that is not here",)))
    for run, size in ((Run(), 16), (Run(batch=7), 7)):
        batches = list(captioner.stream(photos, run))
        assert [i for some in batches for i, _ in some] == list(range(40)) and len(batches[0]) == size
        assert [caption for some in batches for _, caption in some] == captioner.caption(photos)
    captioner.release()


@pytest.mark.parametrize(
    "wrong", [{"batch": -1}, {"batch": True}, {"threads": -1}, {"devices": "cuda"}, {"devices": ("",)}]
)
def test_a_run_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(CaptionError, match=f"{next(iter(wrong))}: expected"):
        Run(**wrong)


def test_a_path_is_told_from_a_name() -> None:
    assert all(map(is_folder, ["./model", "../model", "~/model", "/models/blip", "."]))
    assert not any(map(is_folder, ["Salesforce/blip-image-captioning-large", "ViT-B-32", "hf-hub:a/b", "model"]))


def test_the_catalogue_imports_nothing_heavy_and_nobody() -> None:
    others = "torch", "transformers", "open_clip", "sqlite3", "cv2", "PIL", "synth", "pipeline", "flows", "prefect"
    code = f"import sys, captioning; print(sorted(set(sys.modules) & {set(others)!r}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@settings(deadline=None)
@given(st.text())
def test_one_line_is_one_line_and_stays_it(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line == line.strip()
    assert line.splitlines() == ([line] if line else [])


@pytest.mark.parametrize(
    "text, line",
    [
        ("a dog\u202e tac a\u202c in a hat", "a dog tac a in a hat"),
        ("\u2067a\u2069 \u200ecat\u200f\u061c", "a cat"),
        ("\ufeffa\u200b cat\u2060s\u00adleep", "a catsleep"),
        ("a flag \U0001f3f4\U000e0067\U000e0062\U000e007f here", "a flag \U0001f3f4 here"),
        ("a\x00b\u2028c\u2029d\x85e\x1cf\x0bg", "ab c d e f g"),
        ("a \ud800 dog \ue000", "a dog"),
        ("\u200d", ""),
        ("\u200c \u200d\ufeff", ""),
        ("خانه\u200cها", "خانه\u200cها"),  # Persian needs its joiners
        ("a family \U0001f468\u200d\U0001f469\u200d\U0001f467", "a family \U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("a sign: 50 % off", "a sign: 50 % off"),
    ],
)
def test_what_nobody_sees_goes_and_what_is_seen_stays(text: str, line: str) -> None:
    assert one_line(text) == line


def test_the_demo_has_a_caption_for_each_photograph() -> None:
    names = [name for packages in (PHOTOS, GREY_PHOTOS) for _, names in packages.values() for name in names]
    captions = Sidecar(str(DEMO_CAPTIONS)).caption([photo(name) for name in names])
    with DEMO_CAPTIONS.open(encoding="utf-8", newline="") as file:
        assert {row["name"]: row["caption"] for row in csv.DictReader(file)} == {
            name: caption.text for name, caption in zip(names, captions, strict=True)
        }
    assert all(c.text[0].islower() and not c.text.endswith(".") and len(c.text) > 60 for c in captions)
    assert captions[names.index("coffee.png")] == Caption(
        "espresso in a small red-brown cup: a spoon lies on the saucer, and the wooden table glows in warm light"
    )
