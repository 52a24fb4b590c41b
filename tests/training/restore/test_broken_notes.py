"""A model file's notes as somebody changed them: the model is loaded, or one line says what and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import MODEL
from patina.training.errors import CheckpointError, TrainingError
from patina.training.models import unet
from patina.training.restore.load import load_conditioner, load_network, load_restorer
from patina.training.stages.plan import parse_stage
from tests.fuzzing import expect_one_line, mutations
from tests.training.stages.test_broken_stages import TEXT


@pytest.fixture(scope="module")
def held() -> checkpoint.Checkpoint:
    """A tiny network with the notes of a stage."""
    torch.manual_seed(0)
    stage = parse_stage(TEXT.replace("[data]", "size = 'tiny'\n[data]", 1), "mine")
    net = unet.UNet(unet.UNetSettings(widths=(8, 8)))
    fields = checkpoint.settings_to_json(net.settings)
    notes = {
        "stage": json.dumps(stage.table()),
        "words": '["noisy", "hazy"]',
        "texts": '["noisy", "hazy"]',
        "start": "",
    }
    return checkpoint.Checkpoint("unet-irsde", fields, net.state_dict(), notes)


def written(held: checkpoint.Checkpoint, path: Path, notes: Mapping[str, str]) -> Path:
    checkpoint.write(checkpoint.Checkpoint(held.network, held.settings, held.tensors, notes), path)
    return path


def test_the_model_with_its_own_notes_is_loaded(held: checkpoint.Checkpoint, tmp_path: Path) -> None:
    load_network(written(held, tmp_path / MODEL, held.notes))


@pytest.mark.parametrize("name", ["stage", "words", "texts", "start"])
def test_broken_notes(name: str, held: checkpoint.Checkpoint, tmp_path: Path) -> None:
    for number, data in enumerate(mutations(held.notes[name].encode() or b"0" * 64, 50, len(name))):
        note = data.decode("utf-8", "replace")
        path = written(held, tmp_path / f"{number}.safetensors", {**held.notes, name: note})
        for load in (load_restorer, load_conditioner):
            if load is load_conditioner and name in {"words", "texts"} and _is_whole(note):
                continue  # then the network itself is asked, which steers nothing
            try:
                load(path)
            except TrainingError as error:
                expect_one_line(error, str(path))
            except AttributeError as error:
                assert load is load_conditioner, repr(error)  # notes of a conditioner on another network
                assert "encode_text" in str(error) or "context_length" in str(error)
        path.unlink()


def _is_whole(note: str) -> bool:
    try:
        return isinstance(json.loads(note), list)
    except (ValueError, RecursionError):
        return False


def test_notes_that_are_missing(held: checkpoint.Checkpoint, tmp_path: Path) -> None:
    for name in ("stage", "words", "texts"):
        notes = {key: note for key, note in held.notes.items() if key != name}
        with pytest.raises(CheckpointError) as caught:
            load_conditioner(written(held, tmp_path / MODEL, notes))
        expect_one_line(caught.value, MODEL)
