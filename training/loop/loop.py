"""One loop for all stages: batches in, a model out, and at any moment a state to go on from.

    python -m patina.training.loop JOB.json                       one process
    accelerate launch --num_processes 4 -m patina.training.loop JOB.json

Everything that enters a step follows from the stage, the dataset and the number of images seen: order, crops, noise and
rate. So a state holds weights, averages and the optimiser, and a run that was killed and started again gives, on a CPU,
the same bits as one that was not. SIGTERM and SIGINT end it after the step with a state of that step.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patina.pipeline.errors import PipelineError
from patina.pipeline.machine import is_out_of_memory, usable_cores
from patina.pipeline.versions.version import home_of, version_of
from patina.training.checkpoints import model as checkpoint
from patina.training.checkpoints.files import BEST, MODEL, SAMPLES, weights_digest
from patina.training.checkpoints.resume import StageFolder, State, load_optimiser, optimiser_tensors
from patina.training.data.batches import Batch, Plan, load
from patina.training.data.dataset import dataset_manifest, open_dataset
from patina.training.data.index import Index
from patina.training.errors import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    CheckpointError,
    NotFiniteError,
    RunFailedError,
    StageError,
    TrainingError,
)
from patina.training.evaluation.measures import left_out_note
from patina.training.interrupt import Stop
from patina.training.loop.ema import MovingAverage
from patina.training.loop.job import Job, Result
from patina.training.loop.lion import Lion
from patina.training.loop.meter import Meter, log
from patina.training.loop.readiness import Resources, expect_ready
from patina.training.loop.trackers import tracked_settings
from patina.training.loop.validate import Validated, validate
from patina.training.models.layers import told_not_finite
from patina.training.objectives.base import Learner
from patina.training.objectives.contrastive import Contrastive, Prompts
from patina.training.objectives.make import make_learner
from patina.training.objectives.texts import class_names
from patina.training.restore.load import load_conditioner, steering_of
from patina.training.stages.plan import parse_table
from patina.training.stages.stage import STEERED_BY, Stage


def train(job: Job) -> Result:
    """Train a stage from where it stands. Raises StageError, RunFailedError, CheckpointError.

    A stage that is finished with the same fingerprint is left alone.
    """
    with open_dataset(job.dataset) as opened:  # one version to the end, whatever is published meanwhile
        return _train(replace(job, dataset=str(opened.folder)))


def _train(job: Job) -> Result:
    stage = parse_table(job.stage, str(job.stage["name"]))
    dataset, start = Path(job.dataset), Path(job.start) if job.start else None
    folder = StageFolder(Path(job.run) / stage.name)
    digests = Digests(
        dataset_manifest(dataset).digest,
        weights_digest(start) if start else "",
        weights_digest(Path(stage.start)) if stage.start else "",
    )
    resources = Resources(
        int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available() and not job.cpu, job.gradient_accumulation
    )
    steering = steering_of(start) if start else None
    index = expect_ready(stage, dataset, folder.path, resources, start, steering)
    if folder.finished(stage.fingerprint(*digests)):
        return Result(stage.max_images, True, 0.0, folder.path / MODEL, notes=["nothing to do: the stage is finished"])
    with Stop().listening() as stop:
        return _Loop(job, stage, index, folder, digests, start).run(stop)


class Digests(NamedTuple):
    """What a training stands on: dataset, the model that steers it, the weights that it begins with; or empty."""

    dataset: str
    steering: str = ""
    weights: str = ""


class _Loop:
    """The loop's parts, on one process of several."""

    def __init__(
        self,
        job: Job,
        stage: Stage,
        index: Index,
        folder: StageFolder,
        digests: Digests,
        start: Path | None,
    ) -> None:
        from accelerate import Accelerator

        self.job, self.stage, self.index, self.folder = job, stage, index, folder
        self.digests = digests
        precision = "no" if stage.precision == "fp32" else stage.precision
        self.accelerator: Any = Accelerator(mixed_precision=precision, cpu=job.cpu, log_with=list(job.trackers) or None)
        self.device, self.world = self.accelerator.device, self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        self.gradient_accumulation = job.gradient_accumulation
        conditioner = load_conditioner(start)[0] if start else None
        if conditioner and conditioner.stage.objective != STEERED_BY.get(stage.objective):
            raise StageError(
                f"stage {stage.name}: `{stage.objective}` starts from a stage of `{STEERED_BY.get(stage.objective)}`; "
                f"{start} is `{conditioner.stage.objective}`"
            )
        self.learner: Learner = make_learner(stage, index, conditioner)
        self.learner.to(self.device)
        self.learner.place(self.device)
        if job.compile:
            self.learner.net.compile()
        self.names: dict[Tensor, str] = {p: n for n, p in self.learner.net.named_parameters()}
        self.optimiser = _optimiser(stage, self.learner)
        self.ema = MovingAverage(self.learner.net, stage.ema) if stage.ema.decay else None
        self.module, self.stepper = self.accelerator.prepare(self.learner, self.optimiser)
        self.seen, self.best, self.notes = 0, -math.inf, list[str]()
        self._writer: Any = None

    def order_plan(self, seen: int) -> Plan:
        """What is left to see."""
        batch = self.stage.data.batch
        end = self.stage.steps * batch
        if self.job.stop_at:
            end = min(end, max(seen, self.job.stop_at // batch * batch))
        return Plan(seen, end, batch, self.accelerator.process_index, self.world, self.gradient_accumulation)

    def run(self, stop: Stop) -> Result:
        """Train to the end, or until asked to stop."""
        with self.folder.held() if self.main else nullcontext():
            return self._run(stop)

    def _run(self, stop: Stop) -> Result:
        began = time.monotonic()
        if self.main:
            self.folder.open(self.stage, *self.digests)
        self.accelerator.wait_for_everyone()
        self._resume()
        if self.job.trackers:
            name = Path(self.job.run).resolve().name
            self.accelerator.init_trackers(f"patina-{name}", config=tracked_settings(self.stage))
        if self.main:
            self.folder.cut_metrics(self.seen)
            self.folder.beat()
        plan = self.order_plan(self.seen)
        finished_early = stop.asked
        while self.seen < plan.end and not finished_early:
            try:
                finished_early = self._steps(plan, stop)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._with_less_memory(error)
                plan = self.order_plan(self.seen)
        if self.seen < self.stage.steps * self.stage.data.batch:
            self._save()
            self._close()
            return Result(self.seen, False, time.monotonic() - began, notes=self.notes)
        if self.main:
            self._finish(time.monotonic() - began)
        self.accelerator.wait_for_everyone()
        self._close()
        return Result(self.seen, True, time.monotonic() - began, self.folder.path / MODEL, self.best, self.notes)

    # One stretch of steps

    def _steps(self, plan: Plan, stop: Stop) -> bool:
        """Steps until the plan's end; True if asked to stop. Gradients of a step that fails are dropped."""
        ahead = usable_cores() - 1  # processes that may read ahead: one core is for this one
        workers = ahead // self.world if self.job.workers < 0 else self.job.workers
        data = self.stage.data
        learner, seed = self.learner, self.stage.seed
        wanted: dict[str, Any] = {"view_side": learner.view_side, "images": learner.sees_images}
        batches = iter(load(self.index, data, plan, seed=seed, workers=workers, **wanted))
        meter = Meter(self.stage.max_images, self.seen, self.main and sys.stderr.isatty(), alone=self.world == 1)
        self.learner.net.train()
        while self.seen < plan.end:
            seen = self.seen
            lr = self.stage.optimiser.lr_at(seen, self.stage.max_images, data.batch)
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            losses: dict[str, Tensor] = {}
            for piece in range(self.gradient_accumulation):
                waited = time.perf_counter()
                batch: Batch = next(batches).to(self.device)
                meter.waited += time.perf_counter() - waited
                last = piece == self.gradient_accumulation - 1
                with nullcontext() if last else self.accelerator.no_sync(self.module):
                    found = self.module(batch)
                    self.accelerator.backward(found["loss"] / self.gradient_accumulation)
                for name, value in found.items():
                    losses[name] = losses.get(name, 0) + value.detach() / self.gradient_accumulation
            if self.stage.optimiser.max_grad_norm:
                self.accelerator.clip_grad_norm_(self.learner.net.parameters(), self.stage.optimiser.max_grad_norm)
            self.stepper.step()
            self.stepper.zero_grad(set_to_none=True)
            self.learner.after_step()
            step = seen // data.batch
            if self.ema:
                self.ema.update(self.learner.net, step)
            self.seen = seen + data.batch
            meter.add(losses, lr)
            asked = stop.asked if self.world == 1 else meter.due() and self._anyone(stop.asked)
            if meter.due() or self.seen >= plan.end:
                self._report(meter)
            every = self.stage.validation.every
            if every and (self.seen // every > seen // every or self.seen >= self.stage.steps * data.batch):
                self._report(meter)
                self._validate()
                meter.restart()
            if self.stage.save_every and self.seen // self.stage.save_every > seen // self.stage.save_every:
                self._report(meter)
                self._save()
            if asked:
                return True
        meter.close()
        return False

    def _anyone(self, asked: bool) -> bool:
        flag = torch.tensor([float(asked)], device=self.device)
        return bool(self.accelerator.reduce(flag, "sum").item() > 0)

    def _mean(self, value: Tensor) -> Tensor:
        """Over all processes."""
        return self.accelerator.reduce(value, "mean")  # type: ignore[no-any-return]

    def _report(self, meter: Meter) -> None:
        """A line of metrics; stops a training whose numbers are not finite, before they reach a state."""
        if not meter.steps:
            return
        row = meter.row(self.seen, self._mean)
        if not all(math.isfinite(v) for v in row.values()):
            raise self._not_finite(f"the loss is {row['loss']}")
        if self.main:
            self.folder.beat()
            self._log(row)
            meter.show(self.stage.name, row)
        meter.restart()

    def _not_finite(self, found: str) -> RunFailedError:
        """The error that stops a training whose numbers are not finite, from what was found."""
        kept = self.folder.states()
        return RunFailedError(
            f"stage {self.stage.name}: {found} near image {self.seen:,}; lower optimiser.lr "
            f"({self.optimiser.param_groups[0]['lr']:.1e} now), clip the gradients (optimiser.max_grad_norm = 1) or "
            "train in fp32 or bf16; " + (f"{kept[-1].name} is from before" if kept else "no state was saved yet")
        )

    def _expect_finite(self, weights: Mapping[str, Tensor]) -> None:
        """Raise RunFailedError rather than store weights that are not finite."""
        if told := told_not_finite(weights):
            raise self._not_finite(f"{told},")

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self.job.trackers:
            self.accelerator.end_training()

    def _log(self, row: Mapping[str, float]) -> None:
        self.folder.log(row)
        if self.job.trackers:
            values = {f"{self.stage.name}/{name}": value for name, value in row.items() if name != "seen"}
            self.accelerator.log(values, step=int(row["seen"]))
        if not self.job.tensorboard:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=self.seen)
        for name, value in row.items():
            if name != "seen":
                self._writer.add_scalar(name, value, int(row["seen"]))

    # Memory

    def _with_less_memory(self, error: BaseException) -> None:
        batch, world = self.stage.data.batch, self.world
        self.stepper.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = batch // (world * self.gradient_accumulation)
        problem = f"stage {self.stage.name}: out of memory with {size} images at a time"
        if self.stage.objective == "contrastive" and (not self.stage.data.group or size // 2 % self.stage.data.group):
            raise RunFailedError(
                f"{problem}; a contrastive batch cannot be split, as its images are compared with each other: lower "
                "data.batch, train in bf16, or take more GPUs"
            ) from error
        if size % 2 or world > 1:
            raise RunFailedError(
                f"{problem}; lower data.batch or data.crop, train in bf16, or start with pieces = "
                f"{2 * self.gradient_accumulation}"
            ) from error
        self.gradient_accumulation *= 2
        self.notes.append(f"{problem}: goes on with {size // 2} at a time, {self.gradient_accumulation} accumulated")
        log.warning(self.notes[-1])

    # States

    def _resume(self) -> None:
        state, troubles = self.folder.latest()
        for trouble in troubles:
            log.warning("passed over: %s", trouble)
        if state is None:
            return
        net = self.learner.net
        own = dict(net.named_parameters())
        with torch.no_grad():
            for name, tensor in state.part("net").items():
                own[name].copy_(tensor)
        if self.ema:
            self.ema.load(state.part("average"))
        load_optimiser(self.optimiser, {p: n for n, p in own.items()}, state.part("optimiser"))
        if self.accelerator.scaler is not None and state.values.get("scaler"):
            self.accelerator.scaler.load_state_dict(state.values["scaler"])
        self.seen, self.best = state.seen, state.values.get("best", -math.inf)
        log.info("%s: goes on after %s images", self.stage.name, f"{self.seen:,}")

    def _save(self) -> None:
        if not self.main:
            return
        net = self.learner.net
        tensors: dict[str, Tensor] = {f"net.{n}": p for n, p in net.named_parameters() if p.requires_grad}
        if self.ema:
            tensors |= {f"average.{n}": t for n, t in self.ema.tensors.items()}
        tensors |= {f"optimiser.{n}": t for n, t in optimiser_tensors(self.optimiser, self.names).items()}
        self._expect_finite({n: t for n, t in tensors.items() if not n.startswith("optimiser.")})
        scaler = self.accelerator.scaler
        values = {"best": self.best if math.isfinite(self.best) else None, "scaler": scaler and scaler.state_dict()}
        values = {k: v for k, v in values.items() if v is not None}
        settings = checkpoint.settings_to_json(net.settings)
        try:
            path = self.folder.save(
                State(self.seen, tensors, values), network=self.stage.network, settings=settings, keep=self.stage.keep
            )
        except CheckpointError as error:
            kept = self.folder.states()
            raise RunFailedError(f"{error}; {kept[-1].name if kept else 'no earlier state'} is intact") from error
        log.info("%s: saved %s", self.stage.name, path.name)

    def _model(self, name: str) -> str:
        """Write the network as it is used, averaged if the stage averages; gives its digest. Raises RunFailedError."""
        net = self.learner.net
        if self.ema:
            self.ema.exchange(net)
        try:
            self._expect_finite(net.state_dict())
            return checkpoint.save(
                net,
                self.folder.path / name,
                network=self.stage.network,
                notes=self._lineage(),
                only="trainable" if self.stage.pretrained and not self.stage.start else "all",
                base_name=self.stage.pretrained,
            )
        finally:
            if self.ema:
                self.ema.exchange(net)

    def _lineage(self) -> dict[str, str]:
        from importlib.metadata import version as installed

        learner = self.learner
        texts = learner.degradation_texts if isinstance(learner, Contrastive | Prompts) else []
        return {
            "stage": json.dumps(self.stage.table(), sort_keys=True),
            "fingerprint": self.stage.fingerprint(*self.digests),
            "dataset": self.digests.dataset,
            "dataset_folder": home_of(Path(self.job.dataset)).resolve().name,
            "dataset_version": version.name if (version := version_of(Path(self.job.dataset))) else "",
            "start": self.digests.steering,
            **({"weights": f"{Path(self.stage.start).name}, {weights}"} if (weights := self.digests.weights) else {}),
            "seen": str(self.seen),
            "seed": str(self.stage.seed),
            "words": json.dumps(list(class_names(self.stage, self.index) if texts else self.index.names)),
            "texts": json.dumps(list(texts)),
            "patina": installed("patina-ir"),
            "torch": torch.__version__,
        }

    def _finish(self, seconds: float) -> None:
        digest = self._model(MODEL)
        if not (self.folder.path / BEST).exists():
            self._model(BEST)
        self.folder.finish(
            {
                "fingerprint": self.stage.fingerprint(*self.digests),
                "model": digest,
                "seen": self.seen,
                "seconds": round(seconds, 1),
                "best": self.best if math.isfinite(self.best) else None,
                "notes": self.notes,
                "saved": self.learner.saved(),
            }
        )
        self.folder.forget_states()

    # Validation

    def _validate(self) -> None:
        if self.main:
            if self.ema:
                self.ema.exchange(self.learner.net)
            try:
                found: Validated | None = validate(
                    self.stage, self.learner, Path(self.job.dataset), self.device, self.folder.path / SAMPLES, self.seen
                )
            except NotFiniteError as error:
                raise self._not_finite(f"in the validation {error},") from error
            finally:
                if self.ema:
                    self.ema.exchange(self.learner.net)
                self.learner.net.train()
            if found is not None:
                self._log({"seen": self.seen, **found.row()})
                log.info("%s: %s", self.stage.name, found)
                if found.left_out and (note := left_out_note(found.left_out)) not in self.notes:
                    self.notes.append(note)
                    log.warning("%s: %s", self.stage.name, note)
                if found.score > self.best:
                    self.best = found.score
                    self._model(BEST)
        self.accelerator.wait_for_everyone()


def _optimiser(stage: Stage, learner: Learner) -> torch.optim.Optimizer:
    o = stage.optimiser
    if o.name == "lion":
        return Lion(learner.groups(o.weight_decay), lr=o.lr, betas=o.betas, weight_decay=o.weight_decay)
    kind = torch.optim.AdamW if o.name == "adamw" else torch.optim.Adam
    # One kernel for all of an update: 1.7 to 3.9 times as fast on a CPU, where PyTorch's default is one at a time
    return kind(learner.groups(o.weight_decay), lr=o.lr, betas=o.betas, eps=o.eps, fused=True)


def main(arguments: list[str] | None = None) -> int:
    """Train the job of a JSON file; EXIT_STOPPED if asked to stop, 1 and a line for what a user can fix."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    path = Path((arguments or sys.argv[1:])[0])
    try:
        result = train(Job.load(path))
    except (TrainingError, PipelineError) as error:
        print(f"patina: {error}", file=sys.stderr)
        return EXIT_REFUSED
    print(json.dumps({"seen": result.seen, "finished": result.finished, "seconds": result.seconds}), flush=True)
    return 0 if result.finished else EXIT_STOPPED
