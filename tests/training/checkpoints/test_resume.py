"""The lock of a stage's folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from patina.training.checkpoints.resume import StageFolder
from patina.training.errors import StageError


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
