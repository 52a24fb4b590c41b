"""Samplers: the published trajectories, exact solutions, orders of convergence, and batches that change nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from patina.training.diffusion.samplers import SAMPLERS, FewSteps, Model, Noise, SamplingError, generators, weights
from patina.training.diffusion.sde import IRSDE, SdeError
from patina.training.errors import ModelInputError
from tests.training import fill

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "sde.npz")
SHAPE = (1, 3, 8, 8)
SDE = IRSDE()
MU = torch.full((4, 1, 1, 1), 0.4, dtype=torch.float64)
START = torch.tensor([-0.3, -0.05, 0.1, 0.4], dtype=torch.float64).reshape(4, 1, 1, 1)  # x_T - μ
OFFSET, SPREAD = 0.1, 0.15  # of x_0 - μ in the Gaussian case


def stand_in(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
    """What the published trajectories were made with."""
    return torch.tanh(x - mu) * (0.5 + t.reshape(-1, 1, 1, 1) / 200)


def mixture(means: list[float], spreads: list[float]) -> Model:
    """The exact ε̂ = E[z | x_t] for x_0 - μ from a mixture of equal shares, each number of an image on its own."""
    m, s = torch.tensor(means, dtype=torch.float64), torch.tensor(spreads, dtype=torch.float64)

    def eps_hat(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        alpha, sbar = (v.reshape(-1, 1, 1, 1, 1) for v in SDE.at(t))
        variance = alpha**2 * s**2 + sbar**2
        away = (x - mu)[..., None] - alpha * m  # B x C x H x W x components
        share = torch.softmax(-(away**2) / variance / 2 - variance.log() / 2, -1)
        return sbar[..., 0] * (share * away / variance).sum(-1)

    return eps_hat


GAUSSIAN, POINT = mixture([OFFSET], [SPREAD]), mixture([OFFSET], [0.0])
TWO = mixture([-0.1, 0.2], [0.05, 0.08])


def flow(start: Tensor, last: float = 1.0) -> Tensor:
    """What the probability flow makes of x_T - μ in the Gaussian case: D at `last`."""
    alpha, sbar = SDE.at(torch.tensor([SDE.steps, last]))
    variance = alpha**2 * SPREAD**2 + sbar**2
    y = alpha[1] * OFFSET + (variance[1] / variance[0]).sqrt() * (start - alpha[0] * OFFSET)
    return OFFSET + alpha[1] * SPREAD**2 / variance[1] * (y - alpha[1] * OFFSET)


def still(_: int) -> Tensor:
    return torch.zeros_like(MU)


def run(sampler: FewSteps, model: Model, steps: int) -> Tensor:
    """D at the last time."""
    return sampler(model, MU, SDE, noise=still, steps=steps, start=MU + START) - MU


MIXED = run(FewSteps(points="snr"), TWO, 600)
"""The flow of the mixture has no closed form: of an error far below what is compared with it."""


def slopes(sampler: FewSteps, model: Model, exact: Tensor, steps: tuple[int, ...]) -> list[float]:
    errors = [float((run(sampler, model, n) - exact).abs().max()) for n in steps]
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


# The published samplers


@pytest.mark.parametrize("steps", [100, 20])
@pytest.mark.parametrize("name", ["posterior", "sde", "ode"])
def test_trajectories_are_the_published_ones(name: str, steps: int) -> None:
    mu = torch.as_tensor(fill.image("sde.mu", SHAPE))

    def noise(t: int) -> Tensor:
        return torch.as_tensor(fill.gauss(f"sde.traj.z{t}" if t else "sde.start", SHAPE))

    theirs = torch.as_tensor(GOLDEN[f"traj{steps}_{name}"])
    assert torch.equal(SDE.start(mu, noise(0)), torch.as_tensor(GOLDEN[f"traj{steps}_start"]))
    ours = SAMPLERS[name](stand_in, mu, SDE, noise=noise, steps=steps)
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 5e-6  # 8e-7 where measured


@pytest.mark.parametrize("steps", [100, 20])
def test_the_optimum_leads_back_to_the_clean_image(steps: int) -> None:
    sde, _ = SDE.shorter(steps)
    x0, mu = (torch.as_tensor(fill.image(name, SHAPE)) for name in ("sde.x0", "sde.mu"))
    x = sde.start(mu, torch.as_tensor(fill.gauss("sde.start", SHAPE)))
    for t in range(steps, 0, -1):
        x = sde.optimum(x, x0, mu, t)
    torch.testing.assert_close(x, torch.as_tensor(GOLDEN[f"traj{steps}_optimal"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "steps", "times"),
    [("ode", None, [*range(100, 0, -1)]), ("posterior", 5, [100, 80, 60, 40, 20]), ("fast-ode", 1, [100])],
)
def test_times_that_the_network_is_given(name: str, steps: int | None, times: list[int]) -> None:
    seen: list[Tensor] = []
    told: list[tuple[int, int]] = []

    def model(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    SAMPLERS[name](model, MU.float(), SDE, noise=generators(range(4)), steps=steps, progress=progress)
    assert all(t.shape == (4,) and t.dtype == torch.float32 for t in seen)
    assert [t[0].item() for t in seen] == times
    assert told == [(k + 1, len(times)) for k in range(len(times))]


# Few steps


def test_first_order_on_all_indices_is_the_published_posterior_sampler() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(101, *MU.shape, generator=generator, dtype=torch.float64)
    published = SAMPLERS["posterior"](TWO, MU, SDE, noise=lambda t: drawn[t])
    ours = FewSteps(order=1, eta=1.0, correct=False, points="index")(
        TWO, MU, SDE, noise=lambda k: drawn[101 - k if k else 0], steps=100
    )
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-5)  # published tables are float32


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_known_image_is_found_in_any_number_of_steps(order: int, correct: bool) -> None:
    for steps in (1, 2, 5):
        for sampler in (
            FewSteps(order, correct=correct),
            FewSteps(order, correct=correct, eta=1.0),
            FewSteps(order, "noise", correct=correct, points="snr"),
        ):
            found = sampler(POINT, MU, SDE, noise=lambda k: START + k, steps=steps, start=MU + START) - MU
            torch.testing.assert_close(found, torch.full_like(found, OFFSET), rtol=0, atol=1e-9)


@pytest.mark.parametrize("estimate", ["data", "noise"])
@pytest.mark.parametrize(("order", "correct", "slope"), [(1, False, 1), (1, True, 2), (2, False, 2), (2, True, 3)])
def test_order_of_convergence(estimate: str, order: int, correct: bool, slope: int) -> None:
    sampler = FewSteps(order, estimate, correct=correct, points="snr")  # type: ignore[arg-type]
    assert slopes(sampler, GAUSSIAN, flow(START), (40, 80, 160)) == pytest.approx([slope] * 2, abs=0.2)


@pytest.mark.parametrize("estimate", ["data", "noise"])
def test_third_order(estimate: str) -> None:
    # In the Gaussian case the leading error happens to vanish (slope 4), so this one is a mixture.
    sampler = FewSteps(3, estimate, correct=False, points="snr")  # type: ignore[arg-type]
    found = slopes(sampler, TWO, MIXED, (40, 80, 160))
    assert all(slope > 2.7 for slope in found), found
    second = slopes(replace(sampler, order=2), TWO, MIXED, (40, 80, 160))
    assert all(slope < 2.3 for slope in second), second


@pytest.mark.parametrize("model", [GAUSSIAN, TWO], ids=["gaussian", "mixture"])
def test_ten_calls_do_what_a_hundred_published_ones_do(model: Model) -> None:
    exact = flow(START) if model is GAUSSIAN else MIXED

    def away(name: str, steps: int) -> float:
        result = SAMPLERS[name](model, MU, SDE, noise=still, steps=steps, start=MU + START) - MU
        return float((result - exact).abs().mean())

    published = away("ode", 100)
    assert away("fast-ode", 10) < published
    assert away("fast-ode", 20) < published / 2
    assert away("fast-ode", 10) < away("ode", 10) / 5


def moments(sample: Callable[[Tensor, Noise, Tensor], Tensor], calls: int) -> tuple[float, float]:
    """Exact mean and variance of a sampler's results in the Gaussian case.

    There a result is an affine function of the start and of every step's noise. So image 0 gets none of them, image k
    only a one at its own place, and the squared differences add up to the variance.
    """
    mu = torch.zeros(calls + 2, 1, 1, 1, dtype=torch.float64)

    def noise(k: int) -> Tensor:
        z = torch.zeros_like(mu)
        z[k + 1] = 1
        return z

    result = sample(mu, noise, SDE.start(mu, noise(0))).flatten()
    return float(result[0]), float((result[1:] - result[0]).square().sum())


def spread_error(name: str, steps: int) -> float:
    """Of the standard deviation, relative to that of D at t = 1 for true x_1."""

    def sample(mu: Tensor, noise: Noise, start: Tensor) -> Tensor:
        return SAMPLERS[name](GAUSSIAN, mu, SDE, noise=noise, steps=steps, start=start)

    alpha, sbar = (v.item() for v in SDE.at(torch.tensor(1.0)))
    mean, variance = moments(sample, steps)
    assert mean == pytest.approx(OFFSET, abs=0.03)
    return abs(math.sqrt(variance) / (alpha * SPREAD**2 / math.hypot(alpha * SPREAD, sbar)) - 1)


def test_drawn_results_have_the_right_moments() -> None:
    assert spread_error("posterior", 100) < 0.05
    assert spread_error("fast-sde", 10) < 0.05
    errors = [spread_error("fast-sde", steps) for steps in (10, 20, 40)]
    assert errors[2] < errors[1] / 1.8 < errors[0] / 1.8**2


@pytest.mark.parametrize("eta", [0.3, 0.7])
def test_noise_between_none_and_all_leaves_the_marginals(eta: float) -> None:
    def sample(mu: Tensor, noise: Noise, start: Tensor) -> Tensor:
        return FewSteps(2, eta=eta)(GAUSSIAN, mu, SDE, noise=noise, steps=80, start=start)

    mean, variance = moments(sample, 80)
    assert mean == pytest.approx(OFFSET, abs=2e-3)
    assert math.sqrt(variance) == pytest.approx(SPREAD, rel=0.01)


@pytest.mark.parametrize("rate", [-9.0, -1.0, -0.03, 0.0, 1e-4, 0.99, 1.01, 18.0])
def test_weights_integrate_polynomials_exactly(rate: float) -> None:
    v, gauss = np.polynomial.legendre.leggauss(60)
    v, gauss = (v + 1) / 2, gauss / 2
    nodes = [1.0, 0.0, -0.7, -2.0]
    for count in range(1, 5):
        found = weights(rate, nodes[:count])
        for degree in range(count):
            integral = float(np.sum(gauss * np.exp(-rate * (1 - v)) * v**degree))
            assert sum(w * n**degree for w, n in zip(found, nodes, strict=False)) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("points", ["information", "snr", "index"])
def test_times(points: str) -> None:
    sampler = FewSteps(points=points, last=0.5)  # type: ignore[arg-type]
    times = sampler.times(SDE, 9)
    assert times[0] == 100 and times[-1] == 0.5 and bool((times.diff() < 0).all())
    alpha, sbar = SDE.at(times)
    even = {"information": torch.log1p((alpha / sbar) ** 2) / 2, "snr": SDE.log_snr(times), "index": times}[points]
    torch.testing.assert_close(even.diff(), even.diff().mean().expand(8), rtol=1e-6, atol=1e-9)


# Batches, types and bad input


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_result_does_not_depend_on_the_batch(name: str) -> None:
    mu = torch.as_tensor(fill.image("batch.mu", (3, 3, 4, 6)))
    sampler = SAMPLERS[name]
    together = sampler(stand_in, mu, SDE, noise=generators([7, 8, 9]), steps=6)
    turned = sampler(stand_in, mu.flip(0), SDE, noise=generators([9, 8, 7]), steps=6)
    alone = sampler(stand_in, mu[1:2], SDE, noise=generators([8]), steps=6)
    torch.testing.assert_close(turned.flip(0), together, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, together[1:2], rtol=0, atol=1e-5)
    other = sampler(stand_in, mu[1:2], SDE, noise=generators([6]), steps=6)
    assert float((other - alone).abs().max()) > 0.01


@pytest.mark.parametrize("name", ["posterior", "fast-sde"])
def test_low_precision_models_and_images(name: str) -> None:
    def model(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        return 0.1 * stand_in(x, mu, t).bfloat16()

    mu = torch.full((2, 3, 4, 4), 0.5)
    result = SAMPLERS[name](model, mu.bfloat16(), SDE, noise=generators([1, 2]), steps=5)
    assert result.dtype == torch.float32
    exact = SAMPLERS[name](lambda *a: 0.1 * stand_in(*a), mu, SDE, noise=generators([1, 2]), steps=5)
    assert float((result - exact).abs().max() / exact.abs().max()) < 0.01


@pytest.mark.parametrize("name", ["fast-ode", "fast-sde"])
def test_float32_is_enough(name: str) -> None:
    results = [
        SAMPLERS[name](TWO, MU.to(kind), SDE, noise=lambda k: START * (-1) ** k, steps=10) - MU
        for kind in (torch.float32, torch.float64)
    ]
    torch.testing.assert_close(results[0].double(), results[1], rtol=0, atol=2e-5)  # a hundredth of a grey level


def test_no_gradients_are_kept() -> None:
    weight = torch.ones((), requires_grad=True)
    result = SAMPLERS["fast-ode"](
        lambda x, mu, t: weight * stand_in(x, mu, t), MU, SDE, noise=generators(range(4)), steps=3
    )
    assert not result.requires_grad


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_results_that_are_no_image(name: str) -> None:
    def model(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        eps_hat = torch.zeros_like(x)
        eps_hat[2] = math.inf
        return eps_hat

    with pytest.raises(SamplingError, match=r"images \[2\].*max_sigma=50.*posterior"):
        SAMPLERS[name](model, MU, SDE, noise=generators(range(4)), steps=4)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_bad_input_is_refused_before_the_network_is_called(name: str) -> None:
    def model(x: Tensor, mu: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("called")

    sampler = SAMPLERS[name]
    with pytest.raises(ModelInputError, match="3 generators for 4 images"):
        sampler(model, MU, SDE, noise=generators(range(3)))
    with pytest.raises(ModelInputError, match="floating"):
        sampler(model, MU.byte(), SDE, noise=generators(range(4)))
    with pytest.raises(ModelInputError, match="expected B x C x H x W"):
        sampler(model, MU[0], SDE, noise=generators(range(4)))
    with pytest.raises(ModelInputError, match="start of shape"):
        sampler(model, MU, SDE, noise=generators(range(4)), start=MU[:2])
    with pytest.raises((ModelInputError, SdeError), match="0 steps"):
        sampler(model, MU, SDE, noise=generators(range(4)), steps=0)


def test_the_catalogue_holds_the_published_ones_and_the_fast_ones() -> None:
    assert list(SAMPLERS) == ["posterior", "sde", "ode", "fast-ode", "fast-sde"]


def test_noise_and_estimates_of_another_shape() -> None:
    with pytest.raises(ModelInputError, match="the model gave"):
        SAMPLERS["ode"](lambda x, mu, t: x[:1], MU, SDE, noise=generators(range(4)))
    with pytest.raises(ModelInputError, match="noise of shape"):
        SAMPLERS["fast-sde"](stand_in, MU, SDE, noise=lambda k: torch.zeros(1, 1, 1, 1))
    with pytest.raises(SdeError, match="expected 1 to 100"):
        SAMPLERS["posterior"](stand_in, MU, SDE, noise=generators(range(4)), steps=101)


@pytest.mark.parametrize(
    "settings", [{"order": 4}, {"estimate": "x"}, {"eta": 1.5}, {"points": "log"}, {"last": 0.0}, {"last": 100.0}]
)
def test_settings_of_no_sampler(settings: dict[str, float]) -> None:
    with pytest.raises(ModelInputError, match="expected"):
        FewSteps(**settings).times(SDE, 5)  # type: ignore[arg-type]
