"""Which errors are told in one line: those that a user can mend."""

from __future__ import annotations


def is_for_the_user(error: Exception) -> bool:
    """Whether an error says what a user can do, so that one line of it is enough: one of the five packages' own, of the
    system, or of a store that is in use."""
    from sqlite3 import OperationalError

    from patina.captioning.captioner import CaptionError
    from patina.flows.errors import FlowError
    from patina.pipeline.errors import PipelineError
    from patina.synth.degradation import SettingError
    from patina.training.errors import TrainingError

    ours = (SettingError, CaptionError, PipelineError, TrainingError, FlowError)
    return isinstance(error, (*ours, OSError, OperationalError))
