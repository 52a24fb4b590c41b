"""What the stages learn: each objective as a module that takes a batch and gives its losses.

    contrastive  DA-CLIP's controller         L = L_con(image, caption) + L_con(degra, degradation)
    prompts      VLU-Net's adapters           cross entropy of a view over the prompts
    sde          U-Net, NAFNet by IR-SDE      |reverse mean(x_t, ε̂) - optimum(x_t, x_0)|, or |ε̂ - z|, or |x̂_0 - x_0|
    direct       NAFNet with embeddings       |net(lq; content, degradation) - gt|
    described    VLU-Net                      |net(lq, d) - gt|

A learner's own parameters are those of `net`. What steers it is frozen, kept beside and in no state dict. Losses are in
float32, whatever the network computes in. All randomness comes from the batch's numbers.
"""

from __future__ import annotations

from pathlib import Path

import torch

from patina.training.data.index import Index
from patina.training.errors import StageError
from patina.training.objectives.base import Learner
from patina.training.objectives.contrastive import Contrastive, Prompts
from patina.training.objectives.restoring import Direct, Sde
from patina.training.restore.conditioning import Conditioner
from patina.training.restore.start import load_start
from patina.training.stages.stage import Stage


def make_learner(stage: Stage, index: Index, conditioner: Conditioner | None) -> Learner:
    """The learner of a stage, its network with starting values from the stage's seed, or from the file of its `start`.

    Raises StageError for settings that the network does not have, and if what steers it is of another width;
    CheckpointError for a start that holds another network.
    """
    if stage.after and conditioner is None:
        raise StageError(f"stage {stage.name} is steered by {stage.after!r}, which is not there")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        if stage.names_degradations:
            learner: Learner = Contrastive(stage, index) if stage.objective == "contrastive" else Prompts(stage, index)
        else:
            learner = Sde(stage, conditioner) if stage.objective == "sde" else Direct(stage, conditioner)
    if stage.start:
        load_start(learner.net, Path(stage.start))
    return learner
