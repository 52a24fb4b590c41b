"""The part of `patina evaluate` that takes one model in place of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patina.flows.cli.output import console, escape, print_notes, print_table, progress

if TYPE_CHECKING:
    from patina.training.jobs.evaluation import Options


@dataclass(frozen=True)
class Asked:
    """The options that one model alone has, and the stages that a run alone has."""

    steering: Path | None
    base: Path | None
    sde: str
    out: Path | None
    stages: tuple[str, ...]


def evaluates_model(path: Path, dataset: Path, options: Options, asked: Asked) -> bool:
    """Evaluate a model and print its table; False, and nothing done, for a run.

    Raises ModelInputError for options of the other.
    """
    from patina.training.errors import ModelInputError
    from patina.training.jobs.model_evaluation import TABLES, Model, evaluate_model, is_model

    if not is_model(path):
        given = {"--steering": asked.steering, "--base": asked.base, "--sde": asked.sde, "--out": asked.out}
        if wrong := [name for name, value in given.items() if value]:
            raise ModelInputError(f"{path} is a run, or nothing; {', '.join(wrong)} are for one model: leave them out")
        return False
    if asked.stages:
        raise ModelInputError(f"{path} is one model, not a run; leave out --stage {' '.join(asked.stages)}")
    from patina.pipeline.progress import Meter

    out = asked.out or Path(f"{path.stem if path.is_file() else path.resolve().name}-evaluation")
    with progress() as events, Meter(events, "evaluating", "images") as meter:
        model = Model(path, asked.steering, asked.base, asked.sde)
        found = evaluate_model(model, dataset, out, options, progress=meter)
    print_table([_row(row) for row in (*found.rows, found.mean)])
    print_notes(found.notes)
    console.print(f"tables   {escape(str(out / TABLES))}   (beside the papers' figures)")
    return True


def _row(row: Any) -> dict[str, str]:
    """One entry, or the mean: what was measured of it."""
    patterns = {
        "named rightly": ("accuracy", "{:.1%}"),
        "PSNR degraded": ("input_psnr", "{:.2f}"),
        "PSNR restored": ("psnr", "{:.2f}"),
        "SSIM": ("ssim", "{:.3f}"),
        "LPIPS": ("lpips", "{:.3f}"),
        "FID": ("fid", "{:.1f}"),
    }
    shown = {"entry": row.entry, "images": f"{row.count:,}"}
    for head, (key, pattern) in patterns.items():
        if hasattr(row, key):
            value = getattr(row, key)
            shown[head] = "–" if value is None else pattern.format(value)
    return shown
