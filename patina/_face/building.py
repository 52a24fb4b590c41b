"""Datasets: planned, built, checked and compared, as the commands of these names do, without Prefect and in silence."""

from __future__ import annotations

from pathlib import Path

from patina._face.arguments import AnyPath, AnyRecipe, path_of, recipe_of, share, whole
from patina.pipeline.builder.build import build as build_folder
from patina.pipeline.builder.dry_run import dry_run
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Threads
from patina.pipeline.export.remote_output import dataset_at, dataset_folder_of, expect_writable, pull, push
from patina.pipeline.machine import usable_cores
from patina.pipeline.plan.planning import Options, PlannedBuild
from patina.pipeline.progress import Silent
from patina.pipeline.report.check import Checked
from patina.pipeline.report.check import check as check_folder
from patina.pipeline.report.diff import Diff, read_snapshot
from patina.pipeline.report.diff import diff as compare
from patina.pipeline.sources.expect import expect_sources
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.versions import KEEP


def plan(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    workers: int = 0,
    strict: bool = False,
    max_set_aside: float = 0.05,
    paranoid: bool = False,
) -> PlannedBuild:
    """Say what `build` would make, keep and drop, and why. Changes nothing.

    Args:
        recipe: A TOML file, the name of a recipe that comes with patina, a table as TOML gives it (its relative paths
            start at the working folder), or a Recipe.
        out: The dataset's folder, or an address such as s3://bucket/name.
        workers: How many photographs are read side by side; 0: one on each core.
        paranoid: Whether every photograph and shard is read and hashed, whatever its times say.
        strict, max_set_aside: As `build` would be given them.

    Returns:
        A plan: `blocked` is what `build` would stop for, in words, or empty; `plan.summary()` is one line in words,
        `plan.is_empty` whether there is nothing to do, `refusals` are the inputs that would be set aside, each with its
        `name` and `reason`, and `notes` what else there is to know. Look at `blocked` and `refusals` first: the summary
        is about shards alone.

    Raises:
        RecipeError, SourceError, ManifestError: ValueErrors: the recipe, a source or the dataset there cannot be used.
        BuildError: A RuntimeError: a build cannot be planned.
        OSError: A file cannot be read.

    Examples:
        >>> import patina
        >>> planned = patina.plan("recipe.toml", "NEW")
        >>> planned.plan.is_empty, len(planned.plan.build), len(planned.refusals)
        (False, 4, 0)
    """
    loaded, named = recipe_of(recipe), path_of(out, "out")
    cores = whole(workers, "workers") or usable_cores()
    options = Options(cores, strict, share(max_set_aside, "max_set_aside"), paranoid)
    expect_sources(loaded.sources)
    return dry_run(loaded, dataset_folder_of(named, Silent()), options)


def build(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    workers: int = 0,
    strict: bool = False,
    max_set_aside: float = 0.05,
    paranoid: bool = False,
    keep: int = KEEP,
) -> BuildResult:
    """Build a dataset, or rebuild what is stale: shards of LQ, GT, caption and parameters. Prints nothing.

    All of it appears at once, and the dataset is as it was before if anything goes wrong or the process ends: call it
    again to continue.

    Args:
        recipe: As `plan` takes it.
        out: The dataset's folder, made if it is not there, or an address such as s3://bucket/name.
        workers: How many threads of this process build shards; 0: one on each core.
        strict: Whether an input that must be set aside is an error.
        max_set_aside: The share of unusable inputs, 0 to 1, above which nothing is built; ten are always allowed, but
            never more than half of all, and with `strict` none.
        keep: How many versions stay, this one among them: OUT@previous is the one before.
        paranoid: Whether every photograph and shard is read and hashed, whatever its times say.

    Returns:
        A report: `manifest` is the dataset's (`manifest.digest` names its bytes, `manifest.shards` have `split`,
        `degradation`, `count`), `samples_written` counts the samples of rewritten shards, `planned.refusals` are the
        inputs that were set aside.

    Raises:
        RecipeError, SourceError, ManifestError: ValueErrors: the recipe, a source or the dataset there cannot be used.
        BuildError, LockedError, RemoteOutputError: RuntimeErrors: the build was refused, another one runs, or the
            address cannot be written.
        OSError: A file cannot be read or written.

    Examples:
        >>> import patina
        >>> report = patina.build("recipe.toml", "OUT")
        >>> sorted({shard.degradation for shard in report.manifest.shards})
        ['jpeg-compressed', 'noisy']
        >>> patina.build("recipe.toml", "OUT").samples_written
        0
    """
    loaded, named = recipe_of(recipe), path_of(out, "out")
    workers = whole(workers, "workers") or usable_cores()
    options = Options(workers, strict, share(max_set_aside, "max_set_aside"), paranoid, keep=whole(keep, "keep", 1))
    expect_sources(loaded.sources)
    runner = Threads(workers)
    if not is_remote(named):
        return build_folder(loaded, Path(named), options, runner)
    expect_writable(named)
    report = build_folder(loaded, pull(named, Silent()), options, runner)
    push(named, Silent())
    return report


def check(dataset: AnyPath, *, replay: int | None = 0, recipe: AnyRecipe | None = None, workers: int = 0) -> Checked:
    """Check that a dataset is, byte for byte, what its manifest says: hashes, counts, tables, images, copies.

    Args:
        dataset: The dataset's folder, a version of it such as "OUT@3" or "OUT@previous", or an address such as
            s3://bucket/name, which is fetched first.
        replay: How many samples to make again from GT and parameters, and to compare with the stored LQ; None: all of
            them.
        recipe: As `plan` takes it; needed for replaying if it names folders, such as one of masks.
        workers: How many shards are checked side by side; 0: one on each core.

    Returns:
        What was found: `ok` is whether nothing was, `findings` say where and what, `summary` is one line.

    Raises:
        ManifestError: A ValueError: there is no dataset.
        BuildError: A RuntimeError: a sample cannot be made again here.
        OSError: A file cannot be read.

    Examples:
        >>> import patina
        >>> patina.check("OUT", replay=None).summary
        '4 shards, 8 samples, 8 replayed'
    """
    folder = None if recipe is None else recipe_of(recipe).folder
    workers = whole(workers, "workers") or usable_cores()
    if replay is not None:
        replay = whole(replay, "replay (None makes all samples again)")
    with dataset_at(path_of(dataset, "dataset"), Silent()) as opened:
        return check_folder(opened.folder, replay, workers=workers, recipe_folder=folder)


def diff(old: AnyPath, new: AnyPath) -> Diff:
    """Say what changed between two datasets, or one at two times, from their manifests and tables.

    Args:
        old, new: Folders of datasets, versions of one such as "OUT@previous", or manifest.json files with both tables
            beside them.

    Returns:
        The difference: `is_empty` is whether the two are equal, and `lines()` all of it in words.

    Raises:
        ManifestError: A ValueError: there is no dataset, or a damaged one.

    Examples:
        >>> import patina
        >>> patina.diff("OUT", "OUT").is_empty
        True
    """
    sides = (Path(path_of(old, "old")), Path(path_of(new, "new")))
    return compare(*(read_snapshot(side.absolute()) for side in sides))
