"""A dataset, and stages small enough to train in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from patina.pipeline.builder.build import build
from patina.pipeline.plan.planning import Options
from patina.pipeline.recipe.parse import load_recipe
from patina.training.checkpoints.files import steering_file
from patina.training.loop.job import Job, Result
from patina.training.loop.loop import train
from patina.training.stages.plan import parse_file_table
from patina.training.stages.stage import Stage
from tests.pipeline.making import photo

DEGRADATIONS = ("jpeg-compressed", "low-light", "noisy")

RECIPE = """
name = "small"
[split]
val = 0.25
[[sources]]
path = "photos"
[captions]
kind = "template"
"""


def small_dataset(folder: Path, photos: int = 8, side: int = 72, degradations: tuple[str, ...] = DEGRADATIONS) -> Path:
    """A dataset of made-up photographs in these degradations, some of them for validation."""
    source = folder / "photos"
    source.mkdir(parents=True)
    for k in range(photos):
        photo(source / f"{k}.png", seed=k, width=side + 8 * (k % 2), height=side)
    text = RECIPE + "".join(f"[degradations.{degradation}]\n" for degradation in degradations)
    (folder / "recipe.toml").write_text(text, "utf-8")
    build(load_recipe(folder / "recipe.toml"), folder / "dataset", Options())
    return folder / "dataset"


STAGES: dict[str, dict[str, Any]] = {
    "controller": {
        "objective": "contrastive",
        "network": "daclip-b32",
        "size": "tiny",
        "settings": {"image_layers": 1, "text_layers": 1},
        "max_images": 24,
        "save_every": 8,
        "data": {"batch": 4, "order": "scenes", "crop": 64, "view": "patch"},
        "optimiser": {"lr": 1e-3, "betas": [0.9, 0.98], "weight_decay": 0.05, "warmup": 8},
        "validation": {"every": 12, "samples": 3},
    },
    "adapter": {
        "objective": "prompts",
        "network": "clip-adapter-b32",
        "size": "tiny",
        "settings": {"image_layers": 1, "text_layers": 1},
        "max_images": 24,
        "data": {"batch": 8, "crop": 64, "view": "patch-floats"},
        "optimiser": {"name": "adam", "lr": 1e-3, "schedule": "constant"},
        "validation": {"every": 24, "samples": 3},
    },
    "irsde": {
        "objective": "sde",
        "network": "unet-daclip",
        "size": "tiny",
        "after": "controller",
        "max_images": 24,
        "save_every": 8,
        "data": {"batch": 4, "crop": 32, "augment": "symmetries", "view": "patch"},
        "optimiser": {"lr": 1e-3, "betas": [0.9, 0.99], "min_lr": 1e-5},
        "ema": {"decay": 0.9},
        "validation": {"every": 24, "samples": 2, "sampler": "fast-ode", "steps": 2, "side": 48},
    },
    "nafnet": {
        "objective": "direct",
        "network": "nafnet-direct",
        "size": "tiny",
        "after": "controller",
        "max_images": 8,
        "data": {"batch": 4, "crop": 32, "view": "patch"},
        "optimiser": {"lr": 1e-3},
        "validation": {"every": 8, "samples": 2, "side": 48},
    },
    "vlunet": {
        "objective": "described",
        "network": "vlunet-7",
        "size": "tiny",
        "after": "adapter",
        "max_images": 8,
        "data": {"batch": 4, "crop": 32, "augment": "moved", "view": "patch-floats"},
        "optimiser": {"lr": 1e-3, "max_grad_norm": 1.0},
        "validation": {"every": 8, "samples": 2, "side": 48},
    },
}


def stage(name: str, **changes: Any) -> Stage:
    """One of `STAGES`, some of its fields changed; a table's fields are merged."""
    table = {key: dict(value) if isinstance(value, dict) else value for key, value in STAGES[name].items()}
    for key, value in changes.items():
        table[key] = table.get(key, {}) | value if isinstance(value, dict) else value
    return parse_file_table(table, name)


def trained(stage: Stage, dataset: Path, run: Path, **options: Any) -> Result:
    """Train a stage in this process, on what steers it in the same run, or in a file."""
    start = str(steering_file(stage, run) or "")
    how = {"workers": 0, "cpu": True, "tensorboard": False} | options
    return train(Job(stage.table(), str(dataset), str(run), start, **how))


def same_tensors(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two state dicts are equal, bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[k].numpy(), b[k].numpy(), equal_nan=True) for k in a)
