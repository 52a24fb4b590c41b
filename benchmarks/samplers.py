"""How many network calls a sampler of IR-SDE needs, measured where the exact answer is known.

    python -m benchmarks.samplers [--images 1500] [--steps 5 7 10 14 20 50 100] [--save]

x_0 - μ is a mixture of six Gaussians in six dimensions, with standard deviations of about 1 to 40 grey levels. Its
score has a closed form, which stands in for the network, so that all that is left of an error is the sampler's own.
Errors are in grey levels of 255:

path          of samplers without noise: the mean distance of each number from where the exact probability flow leads
              it from the same start (the most accurate sampler with 600 calls).
distribution  the sliced Wasserstein-1 distance from the mixture: the mean over 64 directions of the distance between
              sorted projections. True draws of the same number are not at 0 either: their distance is stated.

Every sampler has the same starts, and each its noise from the same seed.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.photos import publish
from patina.training.diffusion.samplers import SAMPLERS, FewSteps, Noise, Sampler
from patina.training.diffusion.sde import IRSDE

SDE = IRSDE()
DIMENSIONS, COMPONENTS, DIRECTIONS = 6, 6, 64

COMPARED: Mapping[str, tuple[Sampler, bool]] = {  # and whether it follows the flow, so that it has a path
    "`posterior` (published)": (SAMPLERS["posterior"], False),
    "`sde` (published)": (SAMPLERS["sde"], False),
    "`ode` (published)": (SAMPLERS["ode"], True),
    "**`fast-ode`**: order 3, corrected": (SAMPLERS["fast-ode"], True),
    "the same, times uniform in ℓ": (FewSteps(points="snr"), True),
    "order 2, corrected": (FewSteps(2), True),
    "order 3": (FewSteps(3, correct=False), True),
    "order 2": (FewSteps(2, correct=False), True),
    "order 2, uniform in ℓ (as DPM-Solver++ 2M)": (FewSteps(2, correct=False, points="snr"), True),
    "order 2 in the noise, uniform in ℓ": (FewSteps(2, "noise", correct=False, points="snr"), True),
    "order 1, uniform in ℓ (as DDIM)": (FewSteps(1, correct=False, points="snr"), True),
    "**`fast-sde`**: order 3, corrected, η = 1": (SAMPLERS["fast-sde"], False),
    "the same, times uniform in ℓ, η = 1": (FewSteps(eta=1.0, points="snr"), False),
    "order 2, η = 1": (FewSteps(2, correct=False, eta=1.0), False),
    "order 1, uniform in t, η = 1 (posterior steps)": (FewSteps(1, correct=False, eta=1.0, points="index"), False),
}


class Mixture:
    """p(x_0 - μ), its draws and its ε̂ = E[z | x_t]."""

    def __init__(self, generator: torch.Generator) -> None:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.means = 0.15 * normal(COMPONENTS, DIMENSIONS)
        scales = torch.tensor([1, 3, 5, 10, 20, 40], dtype=torch.float64)[:, None] / 255
        self.spreads = scales * (0.25 * normal(COMPONENTS, DIMENSIONS)).exp()
        self.log_shares = (0.5 * normal(COMPONENTS)).log_softmax(0)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(self.log_shares.exp(), count, replacement=True, generator=generator)
        z = torch.randn(count, DIMENSIONS, generator=generator, dtype=torch.float64)
        return self.means[which] + self.spreads[which] * z  # B x 6

    def __call__(self, x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        alpha, sbar = SDE.at(t[0])
        away = (x - mu).flatten(1)[:, None] - alpha * self.means  # B x components x 6
        variance = alpha**2 * self.spreads**2 + sbar**2
        log_share = self.log_shares - (away**2 / variance + variance.log()).sum(-1) / 2
        share = log_share.softmax(1)[..., None]
        return (sbar * (share * away / variance).sum(1)).reshape(x.shape)


class Distance:
    """Sliced Wasserstein-1 distance of `count` samples from a mixture."""

    def __init__(self, mixture: Mixture, count: int, generator: torch.Generator, *, truth: int = 200_000) -> None:
        directions = torch.randn(DIMENSIONS, DIRECTIONS, generator=generator, dtype=torch.float64)
        self.directions = directions / directions.norm(dim=0)
        middles = ((torch.arange(count) + 0.5) / count * truth).long()
        self.quantiles = (mixture.draw(truth, generator) @ self.directions).sort(0).values[middles]

    def __call__(self, samples: Tensor) -> float:
        return 255 * float(((samples.flatten(1) @ self.directions).sort(0).values - self.quantiles).abs().mean())


def seeded(shape: Sequence[int]) -> Noise:
    generator = torch.Generator().manual_seed(2)
    return lambda _: torch.randn(tuple(shape), generator=generator, dtype=torch.float64)


def measure(images: int, steps: Sequence[int]) -> str:
    """The two tables, in Markdown."""
    generator = torch.Generator().manual_seed(1)
    mixture = Mixture(generator)
    distance = Distance(mixture, images, generator)
    mu = torch.full((images, DIMENSIONS, 1, 1), 0.5, dtype=torch.float64)
    start = SDE.start(mu, torch.randn(mu.shape, generator=generator, dtype=torch.float64))

    def run(sampler: Sampler, calls: int) -> Tensor:
        return sampler(mixture, mu, SDE, noise=seeded(mu.shape), steps=calls, start=start) - mu

    exact = run(FewSteps(points="snr"), 600)
    floor = [distance(mixture.draw(images, generator)) for _ in range(20)]
    paths, distances = [], []
    for name, (sampler, follows) in COMPARED.items():
        results = [run(sampler, calls) for calls in steps]
        distances.append([name, *(f"{distance(result):.2f}" for result in results)])
        if follows:
            paths.append([name, *(f"{255 * float((result - exact).abs().mean()):.3f}" for result in results)])
    return "\n".join(
        [
            "Path: mean distance from the exact flow's end, in grey levels, by network calls.",
            "",
            *_table(["sampler", *map(str, steps)], paths),
            "",
            f"Distribution: sliced Wasserstein-1 distance of {images} results, in grey levels, by network calls. "
            "As many true",
            f"draws have {sum(floor) / len(floor):.2f} ({min(floor):.2f} to {max(floor):.2f} in 20 trials); the exact "
            f"flow from these starts has {distance(exact):.2f}.",
            "",
            *_table(["sampler", *map(str, steps)], distances),
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def main() -> None:
    """Print the tables; with --save, keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 7, 10, 14, 20, 50, 100])
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    lines = [
        measure(options.images, options.steps),
        "",
        f"Measured by `python -m benchmarks.samplers --images {options.images}`",
        f"on {_machine()}.",
    ]
    text = "\n".join(lines)
    publish("Samplers: error by network calls, beside the exact answer", text, "samplers" if options.save else None)


def _machine() -> str:
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = cpus[0].partition(":")[2].strip() if cpus else platform.processor()
    return f"{cpu}, {len(cpus)} cores, Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
