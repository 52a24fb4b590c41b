"""The tables of DA-CLIP's paper (Luo et al., ICLR 2024, arXiv 2310.01018v2), as printed.

    Table 2       networks of one task each: rain, low light, blur, haze
    Table 4       how often the degradation is named, in percent
    Tables 6-9    one network for ten degradations: PSNR, SSIM, LPIPS, FID

"DA-CLIP" is what the paper calls "Ours": IR-SDE's U-Net with DA-CLIP's embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from patina.training.evaluation.paper_rows import Metric, Row, Table
from patina.training.models.daclip import DEGRADATIONS

_Printed: TypeAlias = Mapping[str, tuple[tuple[float, ...], float]]
"""By method: the figures of the ten degradations in the paper's order, and the mean."""

_PSNR: _Printed = {
    "NAFNet": ((26.12, 24.05, 26.81, 22.16, 27.16, 30.67, 27.32, 24.16, 25.94, 29.03), 26.34),
    "NAFNet + DA-CLIP": ((26.40, 26.39, 27.13, 23.09, 27.43, 31.08, 28.23, 25.80, 26.64, 30.01), 27.22),
    "AirNet": ((26.25, 23.56, 26.98, 14.24, 27.51, 30.68, 28.45, 23.48, 24.87, 30.15), 25.62),
    "PromptIR": ((26.50, 25.19, 26.95, 23.14, 27.56, 31.35, 29.24, 24.06, 27.23, 30.22), 27.14),
    "IR-SDE": ((24.13, 17.44, 24.21, 16.07, 24.82, 28.49, 26.64, 22.18, 24.70, 27.56), 23.64),
    "DA-CLIP": ((27.03, 29.53, 23.70, 22.09, 24.36, 30.81, 29.41, 27.27, 26.83, 28.94), 27.01),
}

_SSIM: _Printed = {
    "NAFNet": ((0.804, 0.926, 0.780, 0.809, 0.768, 0.924, 0.848, 0.839, 0.869, 0.901), 0.847),
    "NAFNet + DA-CLIP": ((0.816, 0.948, 0.798, 0.823, 0.777, 0.928, 0.869, 0.849, 0.880, 0.914), 0.861),
    "AirNet": ((0.805, 0.916, 0.783, 0.781, 0.769, 0.926, 0.867, 0.832, 0.846, 0.911), 0.844),
    "PromptIR": ((0.815, 0.933, 0.784, 0.829, 0.774, 0.931, 0.876, 0.842, 0.887, 0.918), 0.859),
    "IR-SDE": ((0.730, 0.832, 0.615, 0.719, 0.640, 0.822, 0.808, 0.667, 0.828, 0.876), 0.754),
    "DA-CLIP": ((0.810, 0.931, 0.532, 0.796, 0.579, 0.882, 0.854, 0.811, 0.854, 0.894), 0.794),
}

_LPIPS: _Printed = {
    "NAFNet": ((0.284, 0.043, 0.303, 0.158, 0.216, 0.082, 0.180, 0.138, 0.096, 0.085), 0.159),
    "NAFNet + DA-CLIP": ((0.261, 0.034, 0.284, 0.140, 0.218, 0.083, 0.146, 0.135, 0.083, 0.071), 27.22),
    "AirNet": ((0.279, 0.063, 0.302, 0.321, 0.264, 0.095, 0.163, 0.145, 0.112, 0.071), 0.182),
    "PromptIR": ((0.267, 0.051, 0.269, 0.140, 0.230, 0.078, 0.147, 0.143, 0.082, 0.068), 0.147),
    "IR-SDE": ((0.198, 0.168, 0.246, 0.185, 0.232, 0.113, 0.142, 0.223, 0.107, 0.065), 0.167),
    "DA-CLIP": ((0.140, 0.037, 0.317, 0.114, 0.272, 0.068, 0.085, 0.118, 0.072, 0.047), 0.127),
}

_FID: _Printed = {
    "NAFNet": ((42.99, 15.73, 71.88, 73.94, 82.08, 56.43, 86.35, 47.32, 35.76, 44.32), 55.68),
    "NAFNet + DA-CLIP": ((36.36, 11.80, 68.60, 71.80, 79.07, 43.34, 66.50, 37.86, 29.19, 34.93), 47.94),
    "AirNet": ((41.23, 21.91, 78.56, 154.2, 93.89, 52.71, 72.07, 64.13, 36.99, 32.93), 64.86),
    "PromptIR": ((36.5, 10.85, 73.02, 67.15, 84.51, 44.48, 61.88, 43.24, 28.29, 32.69), 48.26),
    "IR-SDE": ((29.79, 23.16, 61.85, 66.42, 79.38, 50.22, 63.07, 50.71, 34.63, 32.61), 49.18),
    "DA-CLIP": ((14.13, 5.66, 42.05, 52.23, 64.71, 38.91, 52.78, 25.48, 27.26, 25.73), 34.89),
}

_ACCURACY: _Printed = {
    "OpenAI CLIP": ((80.3, 72.9, 20.7, 13.3, 1.5, 1.7, 80, 29.9, 27.0, 0), 26.7),
    "CLIP + finetune": ((95.6, 100, 100, 100, 100, 100, 100, 100, 100, 100), 99.6),
    "DA-CLIP w/o Zero": ((90.1, 99, 100, 100, 97.1, 96.5, 100, 99.7, 99, 100), 98.1),
    "DA-CLIP": ((91.6, 100, 100, 100, 100, 100, 100, 100, 100, 100), 99.2),
}

_ONE_TASK: Mapping[str, Mapping[str, tuple[float, float, float, float]]] = {
    "rainy": {
        "JORDER": (26.25, 0.835, 0.197, 94.58),
        "PReNet": (29.46, 0.899, 0.128, 52.67),
        "MPRNet": (30.41, 0.891, 0.158, 61.59),
        "MAXIM": (30.81, 0.903, 0.133, 58.72),
        "IR-SDE": (31.65, 0.904, 0.047, 18.64),
        "DA-CLIP": (33.91, 0.926, 0.031, 11.79),
    },
    "low-light": {
        "EnlightenGAN": (17.61, 0.653, 0.372, 94.71),
        "MIRNet": (24.14, 0.830, 0.250, 69.18),
        "URetinex-Net": (19.84, 0.824, 0.237, 52.38),
        "MAXIM": (23.43, 0.863, 0.098, 48.59),
        "IR-SDE": (20.45, 0.787, 0.129, 47.28),
        "DA-CLIP": (23.77, 0.830, 0.083, 34.03),
    },
    "motion-blurry": {
        "DeepDeblur": (29.08, 0.913, 0.135, 15.14),
        "DeblurGAN": (28.70, 0.858, 0.178, 27.02),
        "DeblurGANv2": (29.55, 0.934, 0.117, 13.40),
        "MAXIM": (32.86, 0.940, 0.089, 11.57),
        "IR-SDE": (30.70, 0.901, 0.064, 6.32),
        "DA-CLIP": (30.88, 0.903, 0.058, 6.15),
    },
    "hazy": {
        "GCANet": (26.59, 0.935, 0.052, 11.52),
        "GridDehazeNet": (25.86, 0.944, 0.048, 10.62),
        "DehazeFormer": (30.29, 0.964, 0.045, 7.58),
        "MAXIM": (29.12, 0.932, 0.043, 8.12),
        "IR-SDE": (25.25, 0.906, 0.060, 8.33),
        "DA-CLIP": (30.16, 0.936, 0.030, 5.52),
    },
}
"""Table 2, by degradation and method: PSNR, SSIM, LPIPS, FID of networks that know this task alone."""

_METRICS: tuple[Metric, ...] = ("psnr", "ssim", "lpips", "fid")  # Table 2's columns
_DECIMALS: Mapping[Metric, int] = {"psnr": 2, "ssim": 3, "lpips": 3, "fid": 2, "accuracy": 1}


def _ten(metric: Metric, printed: _Printed) -> list[Row]:
    """The rows of one of the tables over the ten degradations."""
    return [
        Row(method, dict(zip(DEGRADATIONS, figures, strict=True)), mean, _DECIMALS[metric])
        for method, (figures, mean) in printed.items()
    ]


def _one_task(metric: Metric) -> list[Row]:
    """The rows of Table 2: each method's figures of the tasks that it is printed for."""
    place = _METRICS.index(metric)
    methods = dict.fromkeys(method for printed in _ONE_TASK.values() for method in printed)
    return [
        Row(
            f"{method}, one task",
            {entry: printed[method][place] for entry, printed in _ONE_TASK.items() if method in printed},
            None,
            _DECIMALS[metric],
        )
        for method in methods
    ]


_BY_METRIC: Mapping[Metric, tuple[int, _Printed]] = {
    "psnr": (6, _PSNR),
    "ssim": (7, _SSIM),
    "lpips": (8, _LPIPS),
    "fid": (9, _FID),
}
"""The number of each table over the ten degradations, and its figures."""

TABLES: tuple[Table, ...] = (
    *(
        Table(f"DA-CLIP, Tables {number} and 2", metric, DEGRADATIONS, (*_ten(metric, printed), *_one_task(metric)))
        for metric, (number, printed) in _BY_METRIC.items()
    ),
    Table("DA-CLIP, Table 4", "accuracy", DEGRADATIONS, tuple(_ten("accuracy", _ACCURACY))),
)
"""By metric."""
