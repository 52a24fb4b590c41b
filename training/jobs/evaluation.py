"""Evaluations and the report of a run, each made in a process of its own.

    RUN/STAGE/model.safetensors, dataset ─► patina.training.jobs.evaluation < JOB ─► RUN/STAGE/evaluation.json …
    RUN                                  ─►                  "                ─► RUN/report.html, summary.md

An evaluation stays as long as model, dataset and options are those that it was made with: RUN/STAGE/evaluated.json says
which these were. Imports no torch, but in that process.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from patina.children import python
from patina.output import outlive_readers
from patina.pipeline.errors import PipelineError
from patina.pipeline.files import temporary_folder
from patina.pipeline.text import rate_of
from patina.pipeline.versions.lease import pinned
from patina.training.checkpoints.files import DONE, MODEL, STAGE, model_digest, read_table, weights_digest, write_text
from patina.training.data.dataset import dataset_digest
from patina.training.errors import EXIT_REFUSED, StageError, TrainingError
from patina.training.jobs.process import ERROR_PREFIX, OnMessage, run_process
from patina.training.stages.plan import parse_table
from patina.training.stages.stage import WEIGHTS, Stage

EVALUATION, PICTURES, EVALUATION_INPUTS = "evaluation.json", "evaluation", "evaluated.json"
PAGE, SUMMARY = "report.html", "summary.md"

PROGRESS_SECONDS = 2.0
"""Seconds between two lines of an evaluation that say how far it is."""

SamplerName: TypeAlias = Literal["", "posterior", "sde", "ode", "fast-ode", "fast-sde"]
"""Names in `patina.training.diffusion.samplers`; empty: the stage's own."""

SplitName: TypeAlias = Literal["train", "val", "test"]

ProtocolName: TypeAlias = Literal["daclip", "vlunet"]

PrecisionName: TypeAlias = Literal["fp32", "bf16"]
"""What a restorer's network computes in."""


@dataclass(frozen=True)
class Options:
    """What is evaluated, and how. But for `cpu`, all of it decides what comes out.

    split      of the dataset. entries: of the recipe; empty: those that the stage took to learn from.
    per_entry  images of each; 0: all.
    protocol   whose way of measuring PSNR and SSIM.
    sampler, steps  of a network that estimates noise; empty and 0: the stage's.
    tile, overlap   px; 0: whole images.
    side       of the centre that is restored, px; 0: whole images.
    precision  "bf16": the restorer's network computes in bfloat16.
    lpips, fid whether these are asked for. metrics: further ones, of pyiqa by name.
    lpips_weights, fid_weights  files of their networks' weights, as the libraries download them; empty: by name, from
               the libraries' caches or servers.
    """

    split: SplitName = "val"
    entries: tuple[str, ...] = ()
    per_entry: int = 0
    protocol: ProtocolName = "daclip"
    sampler: SamplerName = ""
    steps: int = 0
    seed: int = 0
    tile: int = 0
    overlap: int = 32
    side: int = 0
    lpips: bool = True
    fid: bool = True
    metrics: tuple[str, ...] = ()
    lpips_weights: str = ""
    fid_weights: str = ""
    precision: PrecisionName = "fp32"
    cpu: bool = False

    def deciding(self, stage: Stage) -> dict[str, Any]:
        """The options that a stage's evaluation depends on."""
        table = {k: v for k, v in asdict(self).items() if k != "cpu"}
        table["entries"] = list(self.entries or stage.data.entries)
        if not table["metrics"]:
            del table["metrics"]  # so that evaluations of before there were any stay current
        if table["precision"] == "fp32":
            del table["precision"]  # likewise
        for name in ("lpips_weights", "fid_weights"):  # by what they hold; evaluations of before have none
            if file := table.pop(name):
                table[name] = weights_digest(Path(file))
        if stage.names_degradations:
            return {k: table[k] for k in ("split", "entries", "per_entry")}
        if stage.objective != "sde":
            del table["sampler"], table["steps"], table["seed"]
        return table

    def weights_of(self, metric: Literal["lpips", "fid"]) -> bool | Path:
        """What `evaluate` takes for a metric: its weights' file, whether it is asked for by name, or not at all."""
        asked, file = (self.lpips, self.lpips_weights) if metric == "lpips" else (self.fid, self.fid_weights)
        return Path(file) if asked and file else asked


@dataclass(frozen=True)
class Outcome:
    """A finished stage: images seen, seconds of its last start, its best validation in words, its model."""

    stage: str
    images: int
    seconds: float
    score: str
    model: Path


@dataclass(frozen=True)
class Candidate:
    """A finished stage of a run. held: whether its evaluation is there, of the same model, dataset and options."""

    stage: Stage
    folder: Path
    held: bool


def outcome(run: Path, stage: Stage) -> Outcome:
    """What a finished stage came to. Raises StageError if it is not finished."""
    folder = run / stage.name
    done = read_table(folder / DONE)
    if not done or not (folder / MODEL).exists():
        raise StageError(f"{folder}: the stage is not finished; `patina train` goes on with it")
    best = done.get("best")
    known = isinstance(best, int | float) and math.isfinite(best)
    score = (f"{best:.0%} named rightly" if stage.names_degradations else f"{best:.2f} dB") if known else "–"
    return Outcome(stage.name, int(done.get("seen", 0)), float(done.get("seconds", 0.0)), score, folder / MODEL)


def candidates(run: Path, dataset: Path, options: Options, stages: Sequence[str] = ()) -> list[Candidate]:
    """The finished stages of a run, or those of these names; what steers comes first.

    Raises StageError for a folder that is no run, a dataset that is none, and stages that are not finished.
    """
    if not run.is_dir():
        what = "is no folder, and no file of weights" if run.exists() else "there is no such file or folder"
        raise StageError(
            f"{run}: {what}; expected the folder of a run, such as `patina train --run` makes, a stage of it, or one "
            f"model's file ({', '.join(WEIGHTS)})"
        )
    digest = dataset_digest(dataset)
    found = {path.parent.name: path.parent for path in sorted(run.glob(f"*/{DONE}")) if _is_finished(path.parent)}
    if not found:
        raise StageError(f"{run}: no finished stage; `patina train` trains them")
    if lacking := [name for name in stages if name not in found]:
        raise StageError(f"{run}: no finished stage {', '.join(lacking)}; finished are {', '.join(found)}")
    listed = []
    for name in dict.fromkeys(stages or found):
        stage = parse_table(read_table(found[name] / STAGE)["stage"], name)
        made = read_table(found[name] / EVALUATION_INPUTS).get("fingerprint")
        fingerprint = fingerprint_of(stage, model_digest(found[name]), digest, options)
        listed.append(Candidate(stage, found[name], made == fingerprint and (found[name] / EVALUATION).exists()))
    return sorted(listed, key=lambda candidate: (bool(candidate.stage.after), candidate.stage.name))


def fingerprint_of(stage: Stage, model: str, dataset: str, options: Options) -> str:
    """What decides an evaluation: the digests of model and dataset, and the options that matter to the stage."""
    body = {"model": model, "dataset": dataset, "options": options.deciding(stage)}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def summary_rows(found: Sequence[Candidate]) -> tuple[list[dict[str, str]], list[str]]:
    """The means of evaluations, a row a stage, and what they note, each once."""
    rows, notes = [], list[str]()
    for candidate in found:
        table = json.loads((candidate.folder / EVALUATION).read_text("utf-8"))
        rows.append(_row(candidate.stage, table["mean"]))
        notes += [f"{candidate.stage.name}: {note}" for note in table["notes"]]
    return rows, list(dict.fromkeys(notes))


def _row(stage: Stage, mean: Mapping[str, Any]) -> dict[str, str]:
    """Such as 24.13 dB of the degraded images, 27.02 of the restored ones; `–` for what was not measured."""

    def figure(key: str, pattern: str) -> str:
        value = mean.get(key)
        return "–" if value is None else pattern.format(value)

    return {
        "stage": stage.name,
        "images": figure("count", "{:,}"),
        "named rightly": figure("accuracy", "{:.0%}"),
        "PSNR degraded": figure("input_psnr", "{:.2f}"),
        "PSNR restored": figure("psnr", "{:.2f}"),
        "gain": figure("gain", "{:+.2f}"),
        "SSIM degraded": figure("input_ssim", "{:.3f}"),
        "SSIM restored": figure("ssim", "{:.3f}"),
        "LPIPS": figure("lpips", "{:.3f}"),
        "FID": figure("fid", "{:.1f}"),
    }


def run_evaluation(candidate: Candidate, dataset: Path, options: Options, on_message: OnMessage = print) -> Path:
    """Evaluate a stage in a process of its own; gives its evaluation.json. An interruption ends that process.

    Raises StageError for what a user must mend, StageCrashedError if the process died.
    """
    _run(
        {
            "what": "evaluate",
            "folder": str(candidate.folder),
            "stage": candidate.stage.table(),
            "dataset": str(dataset),
            "options": asdict(options),
        },
        f"the evaluation of {candidate.stage.name}",
        on_message,
    )
    return candidate.folder / EVALUATION


def run_report(
    run: Path,
    dataset: Path | None = None,
    plan: Mapping[str, Stage] | None = None,
    skipped: Sequence[str] = (),
    on_message: OnMessage = print,
) -> Path:
    """Write RUN/report.html and RUN/summary.md in a process of its own; gives the page. Raises as `run_evaluation`."""
    _run(
        {
            "what": "report",
            "run": str(run),
            "dataset": str(dataset) if dataset else "",
            "plan": {name: stage.table() for name, stage in plan.items()} if plan else {},
            "skipped": list(skipped),
        },
        "the report",
        on_message,
    )
    return run / PAGE


def _run(job: Mapping[str, Any], what: str, on_message: OnMessage) -> None:
    command = [*python(), "-m", "patina.training.jobs.evaluation"]
    ended = run_process(
        command, lambda line: None if line.startswith(ERROR_PREFIX) else on_message(line), text=json.dumps(job)
    )
    if ended.status != 0:
        raise ended.error(what)


def _is_finished(folder: Path) -> bool:
    done = read_table(folder / DONE)
    same = bool(done) and done.get("fingerprint") == read_table(folder / STAGE).get("fingerprint")
    return same and not folder.name.endswith(".before") and (folder / MODEL).exists()


# ---------------------------------------------------------------------------------------------------------------------
# In the process


class _Meter:
    """A line every other second; ends the process once nobody waits for it."""

    def __init__(self, what: str) -> None:
        from patina.training.interrupt import Stop

        self._what, self._stop = what, Stop()
        self._begun = self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if self._stop.asked:
            sys.exit("nobody waits for this evaluation any more")
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or done == total:
            self._told = now
            rate = done / max(1e-9, now - self._begun)
            left = (total - done) / rate
            print(f"{self._what} {done:,} of {total:,} images, {rate_of(rate)} img/s, {left:.0f} s left", flush=True)


def _evaluate(job: Mapping[str, Any]) -> None:
    """Evaluate a stage and replace what an earlier evaluation left."""
    import torch

    from patina.training.evaluation.evaluate import classify, evaluate
    from patina.training.restore.tiles import Tiling

    folder, dataset = Path(job["folder"]), pinned(Path(job["dataset"])).folder
    stage = parse_table(job["stage"], str(job["stage"]["name"]))
    options = Options(
        **{**job["options"], "entries": tuple(job["options"]["entries"]), "metrics": tuple(job["options"]["metrics"])}
    )
    entries = options.entries or stage.data.entries
    model = model_digest(folder)
    fingerprint = fingerprint_of(stage, model, dataset_digest(dataset), options)
    device = "cuda" if torch.cuda.is_available() and not options.cpu else "cpu"
    meter = _Meter(stage.name)
    with temporary_folder(folder / PICTURES) as fresh:
        if stage.names_degradations:
            text = classify(
                folder / MODEL,
                dataset,
                split=options.split,
                entries=entries,
                per_entry=options.per_entry,
                device=device,
                progress=meter,
            ).to_json()
        else:
            text = evaluate(
                folder / MODEL,
                dataset,
                split=options.split,
                entries=entries,
                per_entry=options.per_entry,
                protocol=options.protocol,
                sampler=options.sampler if stage.objective == "sde" else "",
                steps=options.steps if stage.objective == "sde" else 0,
                tiling=Tiling(options.tile, options.overlap),
                side=options.side,
                seed=options.seed,
                metrics=options.metrics,
                lpips=options.weights_of("lpips"),
                fid=options.weights_of("fid"),
                precision=options.precision,
                device=device,
                pictures=fresh,
                progress=meter,
            ).to_json()
        (folder / EVALUATION_INPUTS).unlink(
            missing_ok=True
        )  # so that a death before the last line leaves one to make again
        shutil.rmtree(folder / PICTURES, ignore_errors=True)
        if not stage.names_degradations:
            fresh.rename(folder / PICTURES)
        write_text(folder / EVALUATION, text)
        made = {"fingerprint": fingerprint, "model": model, "options": options.deciding(stage)}
        write_text(folder / EVALUATION_INPUTS, json.dumps(made, indent=1, sort_keys=True) + "\n")


def _report(job: Mapping[str, Any]) -> None:
    """Write the page and the summary."""
    from patina.training.report.page import summary_markdown, write_report

    run, plan = Path(job["run"]), {name: parse_table(table, name) for name, table in job["plan"].items()}
    dataset = pinned(Path(job["dataset"])).folder if job["dataset"] else None
    write_report(run, dataset, plan=plan or None, skipped=job["skipped"])
    write_text(run / SUMMARY, summary_markdown(run, plan=plan or None, skipped=job["skipped"]))


def main() -> int:
    """Do the job of standard input; 1 with one line for an error that a user can mend."""
    outlive_readers()
    job = json.load(sys.stdin)
    try:
        {"evaluate": _evaluate, "report": _report}[job["what"]](job)
    except (TrainingError, PipelineError, OSError) as error:
        print(f"{ERROR_PREFIX}{str(error).replace(os.linesep, ' ')}", flush=True)
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
