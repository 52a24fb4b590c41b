"""How far LQ is from what its truth map explains if the map is stored in 8 bits and not in 16: why each has its own.

Make benchmarks/truth_maps.md:  python -m benchmarks.truth_maps [PHOTOS] --save
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import lay_out, machine, publish

Floats: TypeAlias = NDArray[np.float64]
Explained: TypeAlias = Callable[[Floats, Floats, Mapping[str, Any]], Floats]
"""LQ in levels from GT in [0, 1], a map in [0, 1] and parameters; but for what does not depend on the map."""


def linear(encoded: Floats) -> Floats:
    """Light of sRGB values in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def levels(light: Floats) -> Floats:
    """Levels of light, not rounded."""
    clipped = np.clip(light, 0, 1)
    return 255 * np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)


def _hazy(gt: Floats, t: Floats, params: Mapping[str, Any]) -> Floats:
    powers = np.stack([t**extinction for extinction in params["extinction"]], -1)
    return levels((linear(gt) - params["airlight"]) * powers + params["airlight"])


def _snowy(gt: Floats, alpha: Floats, params: Mapping[str, Any]) -> Floats:
    return levels((linear(gt) - params["colour"]) * (1 - alpha[..., None]) + params["colour"])


def _shadowed(gt: Floats, matte: Floats, params: Mapping[str, Any]) -> Floats:
    tints = np.array([1 / (1 + params["blue"]), 1, 1 + params["blue"]])
    skies = tints / (tints + params["ratio"])
    dark = matte[..., None]
    return levels(linear(gt) * (1 - dark * (1 - skies)) - dark * params["offset"] * skies * (1 - skies) / tints)


def _raindrop(gt: Floats, drops: Floats, params: Mapping[str, Any]) -> Floats:
    del params
    return levels(linear(gt) * (1 - drops[..., None]))


def _rainy(gt: Floats, streaks: Floats, params: Mapping[str, Any]) -> Floats:
    del params
    return np.rint(255 * np.clip(gt + streaks[..., None], 0, 1))  # GT's levels are whole, so LQ's are known to a whole


def _rainy_in_light(gt: Floats, streaks: Floats, params: Mapping[str, Any]) -> Floats:
    del params
    return levels(linear(gt) + streaks[..., None])


def _low_light(gt: Floats, noise: Floats, params: Mapping[str, Any]) -> Floats:
    del gt, params
    return 3 * 255 * noise[..., None]  # three standard deviations, within which 99.7 % of the noise is


CASES: tuple[tuple[str, str, dict[str, Any], str, Explained], ...] = (
    ("`rainy`", "rainy", {"light": "linear"}, "streaks", _rainy),  # the same layer in 16 bits, whatever it is added to
    ('`rainy`, light = "linear"', "rainy", {"light": "linear"}, "streaks", _rainy_in_light),
    ("`hazy`", "hazy", {}, "transmission", _hazy),
    ("`snowy`", "snowy", {}, "alpha", _snowy),
    ("`raindrop`, film = 0", "raindrop", {"film": 0}, "drops", _raindrop),
    ("`shadowed`", "shadowed", {}, "matte", _shadowed),
    ("`low-light`, 3 σ", "low-light", {}, "noise", _low_light),
)
"""Row, degradation, settings, map, and what the map explains."""


def measure(photos: list[Path], name: str, settings: Mapping[str, Any], map_name: str, explained: Explained) -> Floats:
    """Differences in levels between what a map of 16 bits and the same in 8 explain, of all photographs' pixels."""
    from patina.pipeline.recipe.parse import parse_degradation
    from patina.synth.rng import Rng

    degradation = parse_degradation(name, settings, Path())
    apart = []
    for i, path in enumerate(photos):
        gt = cv2.imread(str(path))[..., ::-1].copy()
        params = degradation.draw(Rng(f"{i:02x}"), gt)
        stored = degradation.apply(gt, params).truth[map_name]
        whole = stored.astype(np.float64) / 65535
        two = (explained(gt / 255, values, params) for values in (whole, np.rint(whole * 255) / 255))
        fine, coarse = two
        apart.append(np.abs(fine - coarse).ravel())
    return np.concatenate(apart)


def table(photos: list[Path]) -> Iterator[str]:
    """A row for each map."""
    yield "| map | of | largest, levels | 99.9 % below | mean | 8 bits are |"
    yield "|---|---|---|---|---|---|"
    for of, name, settings, map_name, explained in CASES:
        apart = measure(photos, name, settings, map_name, explained)
        most, near, mean = float(apart.max()), float(np.percentile(apart, 99.9)), float(apart.mean())
        enough = "enough" if most <= 0.5 else "too few"
        yield f"| `{map_name}` | {of} | {most:.2f} | {near:.2f} | {mean:.3f} | {enough} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of JPEG files; else those inside scikit-image")
    parser.add_argument("--limit", type=int, default=6, help="photographs that are taken")
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/truth_maps.md")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        every = sorted(options.photos.glob("*.jpg")) if options.photos else lay_out(Path(name), options.limit)
        photos = every[:: max(1, len(every) // options.limit)][: options.limit]
        rows = list(table(photos))
    whose = f"of the folder {options.photos.name}" if options.photos else "inside scikit-image and scikit-learn"
    text = [
        f"{len(photos)} photographs {whose}, default settings but for those named. LQ in levels as the map explains it "
        "by the degradation's own equation, not rounded, from the map as it is computed and from the same rounded to 8 "
        "bits: how far the two are apart, over all pixels and channels. Half a level is what rounding LQ takes anyway: "
        "up to it 8 bits are enough. Rain is added to whole levels, so there what is compared is rounded.",
        "",
        *rows,
        "",
        machine(),
    ]
    publish("Truth maps in 8 bits", "\n".join(text), "truth_maps" if options.save else None)


if __name__ == "__main__":
    main()
