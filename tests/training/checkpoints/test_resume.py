"""A stage's folder: its lock, states that are damaged, and what killed trainings left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from patina.pipeline.files import replacing
from patina.training.checkpoints.files import read_header
from patina.training.checkpoints.resume import StageFolder, State
from patina.training.errors import CheckpointError, StageError


def test_a_stage_is_trained_by_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with StageFolder(tmp_path / "irsde").held():
        words = rf"irsde: another training \(process {os.getpid()} of .*\) writes there; wait for it or end it"
        with pytest.raises(StageError, match=words), StageFolder(tmp_path / "irsde").held():
            pass
        assert sum(slept) == 60
    with StageFolder(tmp_path / "irsde").held():
        assert (tmp_path / ".irsde.lock").exists()
        assert not list((tmp_path / "irsde").iterdir())


def test_a_folder_that_cannot_be_locked_is_told(tmp_path: Path) -> None:
    (tmp_path / "irsde").touch()
    with pytest.raises(StageError, match="cannot be made and locked"), StageFolder(tmp_path / "irsde").held():
        pass


# States


def stored(folder: StageFolder, seen: int = 128, keep: int = 2) -> Path:
    """A small state in a stage's folder."""
    tensors = {"net.w": torch.arange(6.0).reshape(2, 3), "optimiser.step.w": torch.tensor(4.0)}
    folder.path.mkdir(exist_ok=True)
    state = State(seen, tensors, {"best": 1.25, "scaler": {"scale": 2.0}})
    return folder.save(state, network="unet", settings={"widths": [1, 2]}, keep=keep)


def header_of(path: Path) -> tuple[int, bytes]:
    """Where the header's text ends, and all bytes of a file."""
    data = path.read_bytes()
    return 8 + int.from_bytes(data[:8], "little"), data


def test_a_bit_that_flipped_anywhere_in_a_states_header_shows(tmp_path: Path) -> None:
    """It is noticed, or it changes nothing that is read: spaces at the end, or a key that only this sum has."""
    folder = StageFolder(tmp_path / "irsde")
    path = stored(folder)
    end, data = header_of(path)
    whole, _ = folder.latest()
    assert whole is not None
    unnoticed = 0
    for place in range(end):
        for bit in (0, 1, 5):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            state, troubles = folder.latest()
            if state is None:
                assert len(troubles) == 1
                assert "\n" not in troubles[0]
                continue
            unnoticed += 1
            assert (state.seen, state.values) == (whole.seen, whole.values), f"byte {place}, bit {bit}"
            assert state.tensors.keys() == whole.tensors.keys()
            assert all(torch.equal(state.tensors[name], whole.tensors[name]) for name in whole.tensors)
    assert unnoticed < 40  # of the two thousand


def test_a_flipped_digit_of_the_images_seen_is_passed_over_for_the_state_before(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "irsde")
    stored(folder, 64)
    path = stored(folder, 128)
    for old, new in ((b'\\"seen\\":\\"128\\"', b'\\"seen\\":\\"129\\"'), (b"1.25", b"1.35")):
        data = path.read_bytes()
        assert data.count(old) == 1
        path.write_bytes(data.replace(old, new))
        state, (trouble,) = folder.latest()
        assert state is not None
        assert state.seen == 64
        assert "its header does not fit its own sum" in trouble
        with pytest.raises(CheckpointError, match="does not fit its own sum"):
            read_header(path)
        path.write_bytes(data)


def test_states_of_an_earlier_release_load_and_their_name_is_held_against_them(tmp_path: Path) -> None:
    """They have no sum; how many images were seen stands in the file's name too."""
    folder = StageFolder(tmp_path / "irsde")
    path = stored(folder)
    _, data = header_of(path)
    head, middle, rest = data.partition(b',\\"sum\\":\\"')
    text = (head + rest[rest.index(b'\\"') + 2 :])[8:]
    length = int.from_bytes(data[:8], "little") - len(middle) - 64 - 2
    path.write_bytes(length.to_bytes(8, "little") + text)
    assert "sum" not in read_header(path)
    state, troubles = folder.latest()
    assert troubles == []
    assert state is not None
    assert (state.seen, state.values["best"]) == (128, 1.25)
    path.write_bytes(path.read_bytes().replace(b'\\"seen\\":\\"128\\"', b'\\"seen\\":\\"192\\"'))
    state, (trouble,) = folder.latest()
    assert state is None
    assert "tells of 192 images" in trouble
    path.write_bytes(path.read_bytes().replace(b'\\"seen\\":\\"192\\"', b'\\"sehn\\":\\"128\\"'))
    assert "no state of a training ('seen')" in folder.latest()[1][0]


def test_what_a_killed_training_left_half_written_is_gone_with_the_next(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "irsde")
    code = (
        "import os, sys; from pathlib import Path; from patina.pipeline.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as half: half.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    (folder.path / "samples").mkdir(parents=True)
    for place in (folder.path / "state-000000000064.safetensors", folder.path / "samples" / "1.png"):
        assert subprocess.run([sys.executable, "-c", code, str(place)], check=False).returncode == -9
    left = [path for path in folder.path.rglob("*") if path.is_file()]
    assert len(left) == 2
    with replacing(folder.path / "job.json") as mine:
        with folder.held():
            assert [path for path in folder.path.rglob("*") if path.is_file()] == [mine], "which is still being written"
        mine.write_text("{}")
    assert [path.name for path in folder.path.rglob("*") if path.is_file()] == ["job.json"]
