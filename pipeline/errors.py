"""What can be wrong with a recipe, a source, a dataset or the machine: one base, PipelineError, and its kinds."""

from __future__ import annotations


class SourceError(ValueError):
    """A source that cannot be used as a whole. Says what was found, what was expected and what to do."""


class RecipeError(ValueError):
    """A recipe that cannot be built. Says where, what was found, what was expected and what to write."""


class DamagedShardError(ValueError):
    """A shard that is not what was written. Says which, where and what was found."""


class ManifestError(ValueError):
    """A manifest that cannot be used. Says which, what was found and what to do."""


class BadImageError(ValueError):
    """A file that cannot be used as a photograph. The message is the reason, in words for the user."""


class BuildError(RuntimeError):
    """A build, or other work on a dataset, that cannot go on. Says what was found and what to do; the dataset is as it
    was before."""


class LockedError(RuntimeError):
    """Another build is writing into the folder. Says who."""
