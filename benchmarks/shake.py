"""How straight a hand's path is during one exposure, and which `shake` of `motion-blurry` is as straight.

    python -m benchmarks.shake [--save]

Straightness is the chord of a path over its length, 1 for a straight line. Beside the synthesiser's paths stand those
of physics: a hand's tremor, one swing of 10 Hz in each direction with a phase of its own, and a movement with all
frequencies from 1 to 12 Hz, whose displacement falls as 1/f. GoPro's blurred pictures (Nah et al., CVPR 2017) are means
of 7 to 13 frames at 240 a second: 29 to 54 ms. Pure arithmetic, with fixed seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import publish
from patina.pipeline.markdown import markdown_table
from patina.synth.degradations.motion_blurry import MotionBlurry, _Movement
from patina.synth.rng import Rng

SHAKES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 1.0)
EXPOSURES = (7 / 240, 13 / 240)
PATHS = 1000


def straightness(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Chord over length, 0..1; 1 for a path of no length."""
    length = float(np.hypot(np.diff(x), np.diff(y)).sum())
    return float(np.hypot(x[-1] - x[0], y[-1] - y[0])) / length if length else 1.0


def ours(shake: float) -> list[float]:
    """Of the synthesiser's paths at its own range of exposures."""
    found, one = [], MotionBlurry(shake=shake, light="encoded", rotation=0, zoom=0)
    image = np.zeros((8, 8, 3), np.uint8)
    for i in range(PATHS):
        movement = _Movement.of(one.draw(Rng(f"{i:x}"), image), 1.0)
        found.append(straightness(movement.right, movement.down))
    return found


def of_physics(frequencies: NDArray[np.float64]) -> list[float]:
    """Of sums of swings at these frequencies, Hz, their displacements 1/f with normal amplitudes and even phases."""
    random, found = np.random.default_rng(0), []
    for _ in range(PATHS):
        time = np.linspace(0, random.uniform(*EXPOSURES), 200)

        def along(time: NDArray[np.float64] = time) -> NDArray[np.float64]:
            phases = random.uniform(0, 2 * np.pi, len(frequencies))
            size = random.normal(size=len(frequencies)) / frequencies
            return np.asarray(size @ np.sin(2 * np.pi * np.outer(frequencies, time) + phases[:, None]))

        found.append(straightness(along(), along()))
    return found


def row(name: str, found: list[float]) -> list[str]:
    """Tenth, fiftieth and ninetieth of a hundred."""
    return [name, *(f"{x:.2f}" for x in np.quantile(found, (0.1, 0.5, 0.9)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="keep the table in benchmarks/shake.md")
    options = parser.parse_args()
    table = [["path", "10 %", "median", "90 %"]]
    table.append(row("tremor of 10 Hz alone, 29 to 54 ms", of_physics(np.array([10.0]))))
    table.append(row("1 to 12 Hz, displacement as 1/f, 29 to 54 ms", of_physics(np.arange(1.0, 13.0))))
    table += [row(f"`shake = {shake:g}`", ours(shake)) for shake in SHAKES]
    told = (
        f"Chord of a path over its length, of {PATHS} paths each, by `python -m benchmarks.shake --save`. So the "
        'recipes that blur as GoPro does (`light = "encoded"`) draw `shake` from 0 to 0.15: with 0.3, as earlier '
        "releases had it, half of the paths came back upon themselves, which no hand does within 54 ms."
    )
    lines = [*markdown_table(table, escape=str), "", told]
    publish("How straight a hand's path is during an exposure", "\n".join(lines), "shake" if options.save else None)


if __name__ == "__main__":
    main()
