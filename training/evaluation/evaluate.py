"""How good a finished model is, degradation by degradation, beside what the papers print.

    split of a dataset ─ each entry in turn ─► LQ ─ look ─► does the CLIP name it?   (the papers' accuracy)
                                               └─ restore ─► PSNR, SSIM, LPIPS, FID against GT, and LQ's own

An image's noise follows from the seed and its key, so which others are evaluated, and in which order, changes nothing.
Means are over entries, each counted once whatever the number of its images, as the papers average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from patina.training.data.dataset import dataset_digest
from patina.training.data.index import Index, read_index
from patina.training.data.reading import LQ, read_image
from patina.training.diffusion.samplers import SAMPLERS
from patina.training.errors import StageError
from patina.training.evaluation.layout import MEAN
from patina.training.evaluation.measures import (
    EntryResults,
    Measures,
    Notes,
    RestoreSettings,
    Weights,
    left_out_note,
    mean_row,
    named,
    named_row,
    restore_row,
    rows_by_entry,
    uncached,
)
from patina.training.evaluation.metrics import PERFECT, PROTOCOLS, expect_side, fid_caution
from patina.training.evaluation.pictures import save_strips
from patina.training.evaluation.results import Classification, Evaluation, NamedRow, Row
from patina.training.restore.clips import load_published_clip
from patina.training.restore.load import load_conditioner, load_restorer, origin_of
from patina.training.restore.restorer import Precision, Progress, Restorer, check_precision
from patina.training.restore.tiles import Tiling


def evaluate(
    run: Path | Restorer,
    dataset: Path,
    *,
    split: str = "val",
    entries: Sequence[str] = (),
    per_entry: int = 0,
    protocol: str = "daclip",
    sampler: str = "",
    steps: int = 0,
    tiling: Tiling | None = None,
    side: int = 0,
    seed: int = 0,
    lpips: Weights = True,
    fid: Weights = True,
    metrics: Sequence[str] = (),
    precision: Precision = "fp32",
    device: torch.device | str = "cpu",
    pictures: Path | None = None,
    progress: Progress | None = None,
    stage: str = "",
    best: bool = False,
) -> Evaluation:
    """Restore a split and measure it.

    run        a run's folder, a stage's, a model file (`stage`, `best` as of `load_restorer`), or a restorer.
    entries    to take; empty: all that are one degradation. per_entry: images of each, the first by key, of as many
               photographs as there are; 0: all.
    side       of the centre that is restored and measured, px; 0: whole images. The CLIP looks at whole ones.
    protocol   `daclip` or `vlunet`: how PSNR and SSIM are measured.
    sampler    empty: the stage's. steps: 0: the sampler's own number, or the stage's.
    lpips, fid weights of their networks. What cannot be had becomes a note.
    metrics    further ones, of pyiqa by name. What cannot be had becomes a note, too.
    precision  of the restorer's network: "bf16" is bfloat16 by PyTorch's autocast, which a note then tells.
    pictures   folder for ENTRY.png: strips of LQ, restored, GT; the best image first, the worst last.
    A picture that is too small for the measures, or for the network, is left out of every mean, and a note names it.
    Raises StageError, CheckpointError, ModelInputError, NotFiniteError, DamagedShardError in words.
    """
    _check(protocol, sampler, per_entry, steps, side)
    check_precision(precision)
    restorer = run if isinstance(run, Restorer) else load_restorer(run, stage=stage, best=best, device=device)
    index = uncached(read_index(dataset, split, entries))
    digest = dataset_digest(index.folder)
    notes = Notes()
    measures = Measures(protocol, lpips, fid, restorer.device, notes, metrics)
    settings = RestoreSettings(sampler, steps, tiling or Tiling(), seed, side, precision)
    if precision == "bf16":
        notes.add("restored in bfloat16")
    if side:
        notes.add(f"restored and measured: squares of at most {side} px from the middle")
    restorer.calls(sampler if restorer.is_diffusion else "", steps)
    rows = _measured_rows(restorer, index, per_entry, settings, measures, pictures, progress)
    if measures.fid:
        notes.add(fid_caution(row.count for row in rows))
    if equal := measures.equal:
        notes.add(f"{equal:,} pictures equal to the clean ones count as {PERFECT:g} dB")
    if not restorer.is_diffusion and (sampler or steps):
        notes.add(f"{restorer.stage.name} restores in one pass; sampler and steps were not used")
    return Evaluation(
        restorer.stage.name,
        digest,
        split,
        protocol,
        (sampler or restorer.stage.validation.sampler) if restorer.is_diffusion else "",
        (steps or (0 if sampler else restorer.stage.validation.steps)) if restorer.is_diffusion else 0,
        seed,
        tuple(rows),
        mean_row(rows),
        tuple(notes.texts),
    )


def _measured_rows(
    restorer: Restorer,
    index: Index,
    per_entry: int,
    settings: RestoreSettings,
    measures: Measures,
    pictures: Path | None,
    progress: Progress | None,
) -> list[Row]:
    """Each entry's means. What cannot be measured is left out with a note; raises StageError if nothing is left."""
    taken = rows_by_entry(index, per_entry)
    total, done, rows = sum(len(chosen) for _, chosen in taken), 0, []
    for entry, chosen in taken:
        found = EntryResults(index.names[entry], index.degradations[entry])
        for row in chosen:
            measured = restore_row(restorer, index, int(row), settings, measures)
            if measured:
                found.add(*measured)
            done += 1
            if progress:
                progress(done, total)
        if not found:
            measures.notes.add(f"{found.name}: no picture of it can be measured, so the tables lack it")
            continue
        rows.append(found.row(measures))
        measures.notes.add(found.caution())
        if pictures:
            save_strips(found.strips(), pictures / f"{found.name}.png")
    if not rows:
        raise StageError(f"no picture can be measured: {left_out_note(measures.left_out)}")
    measures.note_left_out(sum(row.count for row in rows))
    return rows


def classify(
    model: Path | Restorer,
    dataset: Path,
    *,
    split: str = "val",
    entries: Sequence[str] = (),
    per_entry: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Classification:
    """How often a CLIP names the degradation, from the whole photograph alone: a controller's or adapter's model file.

    A restorer is asked for what steers it. The rest as of `evaluate`. Raises StageError, CheckpointError,
    DamagedShardError in words.
    """
    _check("daclip", "", per_entry, 0, 0)
    clip = model if isinstance(model, Restorer) else looker(model, device)
    if clip.conditioner is None:
        raise StageError(f"{clip.stage.name} has no CLIP that names degradations; choose a controller or adapter")
    index = uncached(read_index(dataset, split, entries))
    digest = dataset_digest(index.folder)
    taken = rows_by_entry(index, per_entry)
    total, done, rows, degradations = sum(len(chosen) for _, chosen in taken), 0, [], set[str]()
    for entry, chosen in taken:
        names: Counter[str] = Counter()
        for row in chosen:
            with named(index, int(row)):
                seen = clip.look(read_image(index, int(row), LQ)).degradations
            degradations |= set(seen)
            names[next(iter(seen), "")] += 1
            done += 1
            if progress:
                progress(done, total)
        rows.append(named_row(index.names[entry], index.degradations[entry], names, degradations))
    unknown = [row.entry for row in rows if row.accuracy is None]
    note = (
        (f"{', '.join(unknown)}: unknown to the CLIP, which has {', '.join(sorted(degradations))}",) if unknown else ()
    )
    known = [row.accuracy for row in rows if row.accuracy is not None]
    mean = NamedRow(MEAN, "", total, float(np.mean(known)) if known else None)
    return Classification(clip.stage.name, digest, split, tuple(sorted(degradations)), tuple(rows), mean, note)


def _check(protocol: str, sampler: str, per_entry: int, steps: int, side: int) -> None:
    if protocol not in PROTOCOLS:
        raise StageError(f"no protocol {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    if sampler and sampler not in SAMPLERS:
        raise StageError(f"no sampler {sampler!r}; known are {', '.join(SAMPLERS)}")
    if per_entry < 0 or steps < 0:
        raise StageError(f"per_entry = {per_entry}, steps = {steps}; expected 0 (all) or more")
    expect_side(protocol, side)


def looker(path: Path, device: torch.device | str, *, base: Path | None = None) -> Restorer:
    """What looks and does not restore: the CLIP of a stage's model file, or of a published one.

    base  of `clip_tuned.pth`, see `load_published_clip`. Raises CheckpointError, StageError.
    """
    if path.suffix != ".safetensors":
        clip = load_published_clip(path, base=base)
        conditioner, degradations, texts = clip.conditioner, clip.degradations, clip.texts
        return Restorer(
            nn.Identity(),
            conditioner,
            conditioner.stage,
            degradations=degradations,
            texts=texts,
            device=device,
            notes=clip.notes,
        )
    stage = origin_of(path)[0].stage
    if not stage.names_degradations:
        raise StageError(
            f"{path} restores; give the model of a controller or adapter, or evaluate this one, which names them too"
        )
    conditioner, degradations, texts = load_conditioner(path)
    return Restorer(nn.Identity(), conditioner, stage, degradations=degradations, texts=texts, device=device)
