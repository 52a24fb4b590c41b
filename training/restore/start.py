"""Weights that a network begins with: of a published file, or of a model of a run."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from patina.training import official
from patina.training.checkpoints import model as checkpoint
from patina.training.errors import CheckpointError


def load_start(net: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network of the same kind and size.

    path  a published file (`universal-ir.pth`, `daclip_ViT-B-32.pt`, VLU-Net's `.ckpt`, `clip_tuned.pth`, which holds
          the adapters alone), or a model.safetensors of a run.

    Raises CheckpointError for a file that holds another network, or one of another size.
    """
    if path.suffix != ".safetensors":
        official.load(path, into=net)
        return
    try:
        checkpoint.restore(net, checkpoint.load(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
