"""What can be wrong with a recipe, a source, a dataset or the machine: one base, PipelineError, and its kinds.

Every error of this package is a PipelineError, and also of the built-in kind that it was before there was a base
(ValueError, RuntimeError, OSError), so that code which catches that goes on working. It can be pickled: workers of a
build run in other processes. An error about what several rooms handle (a recipe, a source, a shard) stands here; one
about the matter of a single module (an address, an export, a disk) stands in that module, wherever else it is raised.
"""

from __future__ import annotations

from patina.pipeline.redaction import without_secrets


class PipelineError(Exception):
    """Something that making, reading or handing on a dataset cannot go on with. Says what was found and what to do,
    and no secret of an address that it names."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class SourceError(PipelineError, ValueError):
    """A source that cannot be used as a whole. Says what was found, what was expected and what to do."""


class RecipeError(PipelineError, ValueError):
    """A recipe that cannot be built. Says where, what was found, what was expected and what to write."""


class DamagedShardError(PipelineError, ValueError):
    """A shard that is not what was written. Says which, where and what was found."""


class ManifestError(PipelineError, ValueError):
    """A manifest that cannot be used. Says which, what was found and what to do."""


class BadImageError(PipelineError, ValueError):
    """A file that cannot be used as a photograph. The message is the reason, in words for the user."""


class BuildError(PipelineError, RuntimeError):
    """A build, or other work on a dataset, that cannot go on. Says what was found and what to do; the dataset is as it
    was before."""


class LockedError(PipelineError, RuntimeError):
    """Another build is writing into the folder. Says who."""
