"""Which errors are told in one line: those that a user can mend."""

from __future__ import annotations


def is_for_the_user(error: Exception) -> bool:
    """Whether an error says what a user can do, so that one line of it is enough."""
    from sqlite3 import OperationalError

    from patina.captioning.captioner import CaptionError
    from patina.flows.errors import FindingsError, RunError
    from patina.pipeline.errors import (
        BuildError,
        DamagedShardError,
        LockedError,
        ManifestError,
        RecipeError,
        SourceError,
    )
    from patina.pipeline.export.format import ExportError
    from patina.pipeline.export.push import PushError
    from patina.pipeline.export.remote_output import RemoteOutputError
    from patina.synth.degradation import SettingError
    from patina.training.errors import CheckpointError, MissingTorchError, ModelInputError, StageError, TrainingError
    from patina.training.restore.depth import DepthModelError

    pipelines = (RemoteOutputError, RecipeError, SourceError, BuildError, LockedError, ManifestError, DamagedShardError)
    trained = (DepthModelError, CheckpointError, ModelInputError, MissingTorchError, StageError, TrainingError)
    ours = (*pipelines, *trained, CaptionError, SettingError)
    return isinstance(error, (*ours, FindingsError, RunError, ExportError, PushError, OSError, OperationalError))
