"""Memory of a build of camera-size photographs: little more than what one picture after the other takes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from patina.pipeline.builder import samples
from patina.pipeline.builder.samples import SourceFiles, _encoded
from patina.pipeline.codec.decode import Decoded
from patina.pipeline.format.shard import ShardWriter, pack, packed
from patina.pipeline.scan.source import ImageInfo, Source
from tests.pipeline.making import picture

MOST = 1_200_000_000
"""Bytes that a build of 24-megapixel photographs by two workers may hold, Python and its libraries among them."""

CHILD = """
import sys
from contextlib import nullcontext
from pathlib import Path
from patina.pipeline.builder.build import build
from patina.pipeline.builder.processes import Processes
from patina.pipeline.builder.runner import Threads
from patina.pipeline.recipe.parse import load_recipe
from benchmarks.against import resident

def peak():  # of this program alone: ru_maxrss begins with what its parent had
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

if __name__ == "__main__":
    runner = {"threads": Threads, "processes": Processes}[sys.argv[3]](2)
    with resident() if sys.argv[3] == "processes" else nullcontext([0]) as found:
        result = build(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), runner=runner)
    assert sum(shard.synthesised for shard in result.results) == 4
    print(found[0] or peak())
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two photographs of 24 megapixels with a camera's noise, and of two degradations."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "photos").mkdir()
    smooth = cv2.resize(picture(300, 200), (6000, 4000), interpolation=cv2.INTER_CUBIC)
    for i in range(2):
        noise = np.random.Generator(np.random.PCG64(i)).integers(-6, 7, smooth.shape, np.int8)
        noisy = np.asarray(cv2.add(smooth, noise, dtype=cv2.CV_8U))
        cv2.imwrite(str(folder / "photos" / f"{i}.jpg"), noisy, [cv2.IMWRITE_JPEG_QUALITY, 92])
    text = "[[sources]]\npath = 'photos'\n[degradations.motion-blurry]\n[degradations.hazy]\n"
    (folder / "recipe.toml").write_text(text, "utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_two_workers_build_camera_size_photographs_within_1200_mb(large: Path, tmp_path: Path, runner: str) -> None:
    (tmp_path / "child.py").write_text(CHILD, "utf-8")
    command = [sys.executable, str(tmp_path / "child.py"), str(large / "recipe.toml"), str(tmp_path / "out"), runner]
    here = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=here)
    assert ended.returncode == 0, ended.stderr
    assert 300e6 < int(ended.stdout) < MOST, "two photographs and what is made of them are held at the least"


def test_a_picture_and_its_file_are_gone_before_the_next_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is what `pack` gives of all of them together."""
    pictures: list[weakref.ref[np.ndarray]] = []
    files: list[int] = []
    there: list[int] = []

    class File(bytes):
        def __del__(self) -> None:
            files.remove(id(self))

    def encoded(image: np.ndarray) -> list[bytes]:
        there.append(sum(ref() is not None for ref in pictures) + len(files))
        file = File(image.tobytes())
        pictures.append(weakref.ref(image))
        files.append(id(file))
        return [file]

    monkeypatch.setattr(samples, "png_pieces", encoded)
    names = ["png", "gt.png", "depth.png", "mask.png"]
    images = [np.full((400, 300, 3), level, np.uint8) for level in range(len(names))]
    expected = pack("key", [(name, image.tobytes()) for name, image in zip(names, images, strict=True)])
    members: list[tuple[str, samples.Body]] = list(zip(names, images, strict=True))
    del images
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add(packed("key", _encoded(members)))
        writer.finish()
    assert (tmp_path / "a.tar").read_bytes() == expected + bytes(1024)
    assert there == [0, 0, 0, 0]


def test_a_photograph_is_gone_before_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SourceFiles()
    read: list[weakref.ref[np.ndarray]] = []

    def decoded(data: bytes) -> Decoded:
        assert [ref() is not None for ref in read] == [False] * len(read)
        image = np.full((32, 32, 3), data[0], np.uint8)
        read.append(weakref.ref(image))
        return Decoded(image, "", "PNG")

    monkeypatch.setattr(samples, "decode", decoded)
    for i in range(3):
        data = bytes([i])
        (tmp_path / f"{i}").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        info = ImageInfo(width=32, height=32)
        source = Source(digest, digest, (f"{i}",), (str(tmp_path),), str(tmp_path / f"{i}"), 0, "train", 1, info)
        assert files.tile(source, (0, 0, 32, 32), "png").image[0, 0, 0] == i
        assert files.tile(source, (0, 0, 16, 16), "png").image.shape == (16, 16, 3)
    assert len(read) == 3
