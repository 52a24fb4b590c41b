"""Files of captions as they come broken: each is read, or one line says what and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patina.captioning.captioner import CaptionError, Photo
from patina.captioning.sidecar import Sidecar
from tests.fuzzing import expect_one_line, mutations

TEXTS = {
    "captions.csv": b'name,caption\na.png,a dog\nb.png,"a cat, ""asleep"""\n',
    "captions.tsv": b"filepath\ttitle\na.png\ta dog\nb.png\ta cat\n",
    "captions.jsonl": b'{"name": "a.png", "caption": "a dog"}\n{"name": "b.png", "caption": null}\n',
    "captions.json": b'{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],\n'
    b'"annotations": [{"id": 5, "image_id": 1, "caption": "a dog"}, {"id": 6, "image_id": 2, "caption": "a cat"}]}\n',
}


def photo_in(folder: Path, name: str) -> Photo:
    return Photo("0" * 64, name, str(folder), lambda: np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize("name", TEXTS)
def test_broken_tables(name: str, tmp_path: Path) -> None:
    photos = [photo_in(tmp_path, n) for n in ("a.png", "b.png", "deep/c.png")]
    read = 0
    for data in mutations(TEXTS[name], 250, 3):
        (tmp_path / name).write_bytes(data)
        try:
            captions = Sidecar(path=str(tmp_path / name)).caption(photos)
        except CaptionError as error:
            expect_one_line(error, name)
            continue
        read += 1
        for caption in captions:
            assert "\n" not in caption.text + caption.problem
    assert 0 < read < 250


def test_broken_text_files(tmp_path: Path) -> None:
    for data in mutations(b"a dog on grass\n", 200, 4):
        (tmp_path / "a.png.txt").write_bytes(data)
        (caption,) = Sidecar().caption([photo_in(tmp_path, "a.png")])
        assert bool(caption.text) is not bool(caption.problem)
        assert "\n" not in caption.text + caption.problem
