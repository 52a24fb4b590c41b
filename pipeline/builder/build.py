"""Building a dataset from end to end: scan, plan, caption, shards, publish. Knows what to do, not where it runs."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from patina.pipeline.builder.batches import expect_sources_seen
from patina.pipeline.builder.job import ShardResult
from patina.pipeline.builder.jobs import build_shards, make_jobs
from patina.pipeline.builder.processes import Processes
from patina.pipeline.builder.publish import publish
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Runner, Threads
from patina.pipeline.builder.workspace import Workspace, is_tidy
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.disk_errors import explain_disk_errors
from patina.pipeline.errors import BadImageError, BuildError, ManifestError
from patina.pipeline.format.layout import MANIFEST, PRIVATE
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.machine import within_memory
from patina.pipeline.plan.captions import CaptioningResult, chain_of, generate_captions
from patina.pipeline.plan.planning import Options, PlannedBuild, Stores, check_budget, plan_build, plan_from_stores
from patina.pipeline.progress import Events, Silent
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.reading import SourceChangedError, load_clean
from patina.pipeline.text import printable
from patina.pipeline.versions.version import built_folder, expect_home


def build(
    recipe: Recipe,
    out: Path,
    options: Options | None = None,
    runner: Runner | None = None,
    events: Events | None = None,
) -> BuildResult:
    """Build or rebuild the dataset of `recipe` in `out`: only what is stale is made, and all of it appears at once.

    Running it again is the way to continue after any interruption. Raises RecipeError, SourceError, BuildError,
    LockedError, ManifestError or OSError; whatever it raises, the dataset is as it was before.
    """
    options, runner, events = options or Options(), runner or Threads(), events or Silent()
    expect_home(out)
    start = time.monotonic()
    if isinstance(runner, Processes):
        runner.prepare()  # imports take as long as scanning some hundred photographs
    with explain_disk_errors(out):
        _adopt(out)
    workplace = Workspace(out, without_links=options.without_links)
    with within_memory(), explain_disk_errors(out), workplace as workspace, Stores.open(workspace.out) as stores:
        made, changed_path = 0, ""
        problems: dict[tuple[str, str], str] = {}
        read_once = replace(options, paranoid=False)  # every byte was read by the first plan
        for _ in range(3):
            planned = runner.call(
                "scan and plan", lambda: plan_from_stores(recipe, workspace.out, stores, options, events)
            )
            check_budget(planned, options)
            for _ in range(2 * len(chain_of(recipe))):  # what one captioner was refused goes to the next, to be judged
                if not planned.captions.pending:
                    break
                make = partial(generate_captions, recipe, planned.captions, stores.captions, options.captioning, events)
                found = runner.call("caption", make)
                _keep_problems(planned, found, stores.scans)
                made += found.captions
                problems |= found.problems
                planned = plan_from_stores(recipe, workspace.out, stores, read_once, problems=problems)
                check_budget(planned, options)
            if planned.plan.captions:  # photographs that came or changed while captions were made
                changed_path = next(s.path for s in planned.wanted.sources if planned.wanted.captions[s.digest] is None)
                continue
            if planned.plan.is_empty and planned.built:
                workspace.sweep(())
                return BuildResult(planned.built, planned, (), time.monotonic() - start, made)
            suited = runner.suited(planned.plan.seconds) if isinstance(runner, Threads) else runner
            if isinstance(suited, Processes) and planned.plan.build:
                suited.prepare()
            jobs = make_jobs(planned, workspace, stores.scans)
            events.begin("building shards", sum(len(job.samples) for job in jobs), "samples")
            batches = build_shards(jobs, planned.plan.seconds, suited, workspace.staging, events)
            events.end()
            results = [r for batch in batches for r in batch if isinstance(r, ShardResult)]
            changed = [r for batch in batches for r in batch if isinstance(r, SourceChangedError)]
            if not changed:
                break
            if not runner.shares_memory:
                expect_sources_seen(changed, planned.wanted.sources)
            stores.scans.forget(error.path for error in changed)
            changed_path = changed[0].path
        else:
            raise BuildError(
                f"sources keep changing while they are read, such as {printable(changed_path)}; build when they rest"
            )
        manifest = runner.call("publish", partial(publish, planned, workspace, results, stores, options.keep))
        return BuildResult(manifest, planned, tuple(results), time.monotonic() - start, made)


def result_if_idle(recipe: Recipe, out: Path, options: Options, events: Events | None = None) -> BuildResult | None:
    """The report of a build that has nothing to do; None if there is something. Far quicker than finding out with
    locks and an orchestrator. Raises like `build`."""
    expect_home(out)
    if not (built_folder(out) / MANIFEST).exists() or not is_tidy(out):
        return None
    start = time.monotonic()
    planned = plan_build(recipe, out, options, events)
    if not planned.plan.is_empty or planned.built is None:
        return None
    check_budget(planned, options)
    return BuildResult(planned.built, planned, (), time.monotonic() - start)


def _keep_problems(planned: PlannedBuild, made: CaptioningResult, store: ScanStore) -> None:
    """Keep what models could not caption or judge, so that a build with nothing new asks none of them again; but not
    where a photograph could not be read just now."""
    contents = {content for _, content in made.problems}
    sources = {source.content: source for source in planned.wanted.sources if source.content in contents}
    kept = []
    for (model, content), reason in made.problems.items():
        source = sources[content]
        try:
            load_clean(source.path, content)
        except (SourceChangedError, BadImageError):
            continue
        kept.append((model, content, source.names[0], reason))
    store.put_problems(kept)


def _adopt(out: Path) -> None:
    """Make the private folder of a dataset that was copied without it. Whatever else lies in `out` is let be."""
    try:
        if load_manifest(out):
            (out / PRIVATE).mkdir(exist_ok=True)
    except ManifestError:
        return  # a damaged one, or none of patina's: entering the workspace tells
