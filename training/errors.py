"""Errors that a user of networks and checkpoints can mend: one base, TrainingError, and its kinds. Knows no torch, so
that the command can name them.

Which error stands here, and what else each is, goes by the rule of `patina.pipeline.errors`.
"""

from __future__ import annotations


class TrainingError(Exception):
    """Something that a network, its training or its use cannot go on with. Says what was found and what to do."""


class CheckpointError(TrainingError, ValueError):
    """A file that cannot be read or written as a checkpoint. Says which, what was found and what to do."""


class ModelInputError(TrainingError, ValueError):
    """Tensors that a network cannot take. Says what was found, what was expected and what to do."""


class MissingTorchError(TrainingError, ImportError):
    """The libraries of the networks are not installed. Says which, and what installs them."""


class StageError(TrainingError, ValueError):
    """A stage, plan or dataset that cannot be trained with. Says what was found, what was expected and what to do."""


class RunFailedError(TrainingError, RuntimeError):
    """A training, or a restoration, that went wrong while it ran: numbers that are not finite, memory, a disk. Says
    what to do."""


class NotFiniteError(TrainingError, RuntimeError):
    """A network's numbers that are no picture, and no description of one: NaN or infinity is among them. Says how many,
    of how many, and what to look at."""


EXIT_STOPPED = 3
"""Exit status of a loop that was asked to stop and left a state."""

EXIT_REFUSED = 1
"""Exit status of a loop that met something a user must mend; its last line says what."""


class StageCrashedError(RunFailedError):
    """A stage's process that died. Trying again goes on from its last state."""
