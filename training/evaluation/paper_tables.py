"""What the papers print, to stand beside what is measured here.

    DA-CLIP   Luo et al., ICLR 2024: one model for ten degradations
    VLU-Net   Zeng et al., CVPR 2025: one model for three tasks (NHR) or five (NHRBL)

Their test sets are theirs (`TEST_SETS`); a figure beside one of another set shows an order of size and no more.

VLU-Net's figures are as public tables of later work repeat them; those of AdaIR, InstructIR and PromptIR beside them
are of their own papers. A test holds every row to the mean that is printed with it, and those that do not fit are
marked. DA-CLIP's tables are in `daclip_tables`. Where a figure is not known for certain a dash is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from patina.training.evaluation import daclip_tables
from patina.training.evaluation.paper_rows import Metric, Row, Table
from patina.training.models.daclip import DEGRADATIONS
from patina.training.stages.stage import Objective

NHR = ("hazy", "rainy", "noisy-15", "noisy-25", "noisy-50")
NHRBL = ("hazy", "rainy", "noisy-25", "motion-blurry", "low-light")
"""VLU-Net's columns."""

TEST_SETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "daclip": {
            "motion-blurry": "GoPro",
            "hazy": "RESIDE-6k",
            "jpeg-compressed": "LIVE1, quality 10",
            "low-light": "LOL",
            "noisy": "CBSD68, σ 50",
            "noisy-50": "CBSD68, σ 50",
            "raindrop": "RainDrop",
            "rainy": "Rain100H",
            "shadowed": "SRD",
            "snowy": "Snow100K-L",
            "uncompleted": "CelebA-HQ 256",
        },
        "vlunet": {
            "hazy": "SOTS outdoor",
            "rainy": "Rain100L",
            "noisy-15": "CBSD68",
            "noisy-25": "CBSD68",
            "noisy-50": "CBSD68",
            "motion-blurry": "GoPro",
            "low-light": "LOL",
        },
    }
)
"""Where the papers' figures were measured, by protocol and entry."""

INPUTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "psnr": {"noisy-15": 24.84, "noisy-25": 20.53, "noisy-50": 15.00, "jpeg-compressed": 25.83},
        "ssim": {"noisy-15": 0.592, "noisy-25": 0.417, "noisy-50": 0.219, "jpeg-compressed": 0.745},
    }
)
"""Degraded CBSD68, measured: noise clipped and rounded; JPEG of quality 10, 4:2:0. RGB, no border, SSIM of 7 x 7 px."""


SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "AdaIR": "AdaIR (Cui et al., ICLR 2025, arXiv 2403.14614)",
        "InstructIR": "InstructIR (Conde et al., ECCV 2024, arXiv 2401.16468)",
        "PromptIR": "PromptIR (Potlapalli et al., NeurIPS 2023, arXiv 2306.13090)",
    }
)
"""Whose figures stand beside VLU-Net's."""


def _five(entries: Sequence[str], method: str, decimals: int, mean: float, *figures: float) -> Row:
    return Row(method, dict(zip(entries, figures, strict=True)), mean, decimals, SOURCES.get(method, ""))


NHR_TABLES: tuple[Table, ...] = (
    Table(
        "VLU-Net, three tasks",
        "psnr",
        NHR,
        (
            _five(NHR, "VLU-Net", 2, 32.70, 30.71, 38.93, 34.13, 31.48, 28.23),
            _five(NHR, "AdaIR", 2, 32.69, 31.06, 38.64, 34.12, 31.45, 28.19),
            _five(NHR, "InstructIR", 2, 32.43, 30.22, 37.98, 34.15, 31.52, 28.30),
            _five(NHR, "PromptIR", 2, 32.06, 30.58, 36.37, 33.98, 31.31, 28.06),
        ),
    ),
    Table(
        "VLU-Net, three tasks",
        "ssim",
        NHR,
        (
            _five(NHR, "VLU-Net", 3, 0.919, 0.980, 0.984, 0.935, 0.892, 0.804),
            _five(NHR, "AdaIR", 3, 0.918, 0.980, 0.983, 0.935, 0.892, 0.802),
            _five(NHR, "InstructIR", 3, 0.913, 0.959, 0.978, 0.933, 0.890, 0.804),
            _five(NHR, "PromptIR", 3, 0.913, 0.974, 0.972, 0.933, 0.888, 0.799),
        ),
    ),
)

NHRBL_TABLES: tuple[Table, ...] = (
    Table(
        "VLU-Net, five tasks",
        "psnr",
        NHRBL,
        (
            _five(NHRBL, "VLU-Net", 2, 30.11, 30.84, 38.54, 31.43, 27.46, 22.29),
            _five(NHRBL, "AdaIR", 2, 30.20, 30.53, 38.02, 31.35, 28.12, 23.00),
            _five(NHRBL, "InstructIR", 2, 29.55, 27.10, 36.84, 31.40, 29.40, 23.00),
            _five(NHRBL, "PromptIR", 2, 29.15, 26.54, 36.37, 31.47, 28.71, 22.68),
        ),
    ),
    Table(
        "VLU-Net, five tasks",
        "ssim",
        NHRBL,
        (
            _five(NHRBL, "VLU-Net", 3, 0.905, 0.980, 0.982, 0.891, 0.840, 0.833),
            _five(NHRBL, "AdaIR", 3, 0.910, 0.978, 0.981, 0.889, 0.858, 0.845),
            _five(NHRBL, "InstructIR", 3, 0.907, 0.956, 0.973, 0.887, 0.886, 0.836),
            _five(NHRBL, "PromptIR", 3, 0.904, 0.949, 0.970, 0.886, 0.881, 0.832),
        ),
    ),
)


def tables(protocol: str, entries: Collection[str]) -> dict[Metric, Table]:
    """The papers' tables that belong beside these entries, by metric.

    protocol  `daclip`: its ten degradations, and beside rain, low light, blur and haze the networks of one task;
              `vlunet`: three tasks, or five if blur or low light is among the entries.
    """
    if protocol == "vlunet":
        chosen = NHRBL_TABLES if {"motion-blurry", "low-light"} & set(entries) else NHR_TABLES
    else:
        chosen = daclip_tables.TABLES
    return {table.metric: table for table in chosen}


DESCRIBED_ORDER = ("noisy", "hazy", "rainy", "motion-blurry", "low-light")
"""VLU-Net's order of tasks: noise, haze, rain, blur, low light."""


def in_papers_order(names: Iterable[str], objective: Objective | None = None) -> list[str]:
    """Entries such as `noisy-25` in the order of the paper that the objective is of: by their degradation, then by
    name with numbers as numbers; unknown names and composites last."""
    order = DESCRIBED_ORDER if objective in ("prompts", "described") else DEGRADATIONS

    def place(name: str) -> tuple[int, float, str]:
        for k, degradation in enumerate(order):
            if name == degradation or name.startswith(f"{degradation}-"):
                tail = name[len(degradation) + 1 :]
                return k, float(tail) if tail.isdecimal() else 0.0, name
        return len(order), 0.0, name

    return sorted(names, key=place)
