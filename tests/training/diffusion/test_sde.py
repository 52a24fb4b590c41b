"""IR-SDE against the published class's numbers, and against what the equation says of itself.

`golden/sde.npz` holds the published numbers (float32, on a CPU); inputs are made by `fill` from their names.
"""

from __future__ import annotations

import itertools
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from patina.training.diffusion.sde import IRSDE, Schedule, SdeError, noise_loss
from patina.training.errors import ModelInputError
from tests.training import fill

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "sde.npz")
ONE, FOUR = (1, 3, 8, 8), (4, 3, 8, 8)


def golden(name: str) -> Tensor:
    return torch.as_tensor(GOLDEN[name])


def gauss(name: str, shape: tuple[int, ...] = ONE) -> Tensor:
    return torch.as_tensor(fill.gauss(name, shape))


def image(name: str, shape: tuple[int, ...] = ONE) -> Tensor:
    return torch.as_tensor(fill.image(name, shape))


def error(ours: Tensor, name: str) -> float:
    """The largest difference, relative to the largest number."""
    theirs = golden(name).double()
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs).abs().max() / theirs.abs().max())


X0, MU = image("sde.x0"), image("sde.mu")
X, EPS, Z = 0.2 * gauss("sde.xt") + MU, gauss("sde.eps"), gauss("sde.z")


@pytest.mark.parametrize(
    ("name", "sde"),
    [
        ("cosine", IRSDE()),
        ("linear", IRSDE(schedule="linear")),
        ("constant", IRSDE(schedule="constant")),
        ("cosine20", IRSDE().shorter(20)[0]),
    ],
)
def test_tables_are_the_published_ones(name: str, sde: IRSDE) -> None:
    tables = sde.tables()
    for ours, theirs in (
        (tables.theta, "thetas"),
        (tables.cum, "thetas_cumsum"),
        (tables.sigma, "sigmas"),
        (tables.sbar, "sigma_bars"),
    ):
        assert ours.dtype == torch.float32
        # Each number on its own, the tiny ones of small t as well: float64 tables are up to 3e-5 away there.
        torch.testing.assert_close(ours, golden(f"{name}_{theirs}"), rtol=2e-6, atol=0)
    assert sde.dt == pytest.approx(float(golden(f"{name}_dt")), rel=1e-7)


def test_max_sigma_is_in_grey_levels_or_a_share() -> None:
    assert error(IRSDE(10).tables().sbar, "cosine_max10_sigma_bars") < 1e-6
    assert error(IRSDE(70).tables().sbar, "cosine_max70_sigma_bars") < 1e-6
    assert IRSDE(0.25).lam == float(golden("cosine_max0.25_max_sigma")) == 0.25
    assert IRSDE(1).lam == 1 / 255


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("t", [1, 2, 50, 99, 100])
def test_every_step_is_the_published_one(schedule: Schedule, t: int) -> None:
    sde = IRSDE(schedule=schedule)
    for name, ours in {
        "score": sde.score(EPS, t),
        "mu_bar": sde.mean(X0, MU, t),
        "drift": sde.drift(X, MU, t),
        "dispersion": sde.dispersion(Z, t),
        "forward_step": sde.forward_step(X, MU, t, Z),
        "sde_mean": sde.reverse_mean(X, MU, EPS, t),
        "sde_step": sde.reverse_step(X, MU, EPS, t, Z),
        "ode_step": sde.ode_step(X, MU, EPS, t),
        "x0_from_noise": sde.x0_hat(X, MU, EPS, t),
        "optimum": sde.optimum(X, X0, MU, t),
        "posterior_std": sde.posterior_std(t, X).reshape(()),
        "posterior_step": sde.posterior_step(X, MU, EPS, t, Z),
        "real_noise": sde.noise(X, X0, MU, t),
        "real_score": sde.true_score(X, X0, MU, t),
    }.items():
        assert error(ours, f"{schedule}_t{t}_{name}") < 1e-6, name


def test_a_training_batch_is_the_published_one() -> None:
    sde, t = IRSDE(), torch.tensor([1, 17, 50, 100])
    x0, mu, z, eps = image("sde.b.x0", FOUR), image("sde.b.mu", FOUR), gauss("sde.b.z", FOUR), gauss("sde.b.eps", FOUR)
    x = sde.marginal(x0, mu, t, z)
    assert error(x, "batch_states") < 1e-6
    assert error(sde.reverse_mean(x, mu, eps, t), "batch_expectation") < 1e-6
    assert error(sde.optimum(x, x0, mu, t), "batch_optimum") < 1e-6
    assert error(sde.likelihood_loss(x, x0, mu, eps, t), "batch_l1") < 1e-6
    assert error(sde.likelihood_loss(x, x0, mu, eps, t, "l2"), "batch_l2") < 1e-6
    assert error(sde.tables().alpha[t].reshape(4, 1, 1, 1), "batch_weights") < 1e-6
    assert error(sde.start(mu, z), "noise_state_f32") < 1e-6


def test_indices_of_a_batch_and_of_each_image_agree() -> None:
    sde, t = IRSDE(), torch.tensor([3, 77])
    x, mu, eps = torch.cat((X, X + 0.1)), torch.cat((MU, MU)), torch.cat((EPS, -EPS))
    together = sde.posterior_step(x, mu, eps, t, eps)
    for i in range(2):
        one = slice(i, i + 1)
        assert torch.equal(together[one], sde.posterior_step(x[one], mu[one], eps[one], int(t[i]), eps[one]))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_what_the_schedule_promises(schedule: Schedule) -> None:
    sde = IRSDE(70, 50, schedule, 0.01)
    tables = sde.tables()
    assert tables.alpha[-1] == pytest.approx(0.01, rel=1e-5)  # a share eps is left
    assert tables.alpha[0] == 1 and tables.sbar[0] == 0
    torch.testing.assert_close(tables.alpha**2 + (tables.sbar / sde.lam) ** 2, torch.ones(51), rtol=1e-6, atol=0)
    assert bool((tables.cum.diff() > 0).all())
    torch.testing.assert_close(tables.cum.diff(), tables.theta[1:], rtol=1e-4, atol=2e-6)


def euler_moments(sde: IRSDE) -> tuple[float, float]:
    """Mean (of x_0 = 1, μ = 0) and variance at T of the forward steps, by their own recursion."""
    theta, sigma = sde.tables().theta.double(), sde.tables().sigma.double()
    mean, variance = 1.0, 0.0
    for t in range(1, sde.steps + 1):
        mean *= 1 - theta[t].item() * sde.dt
        variance = variance * (1 - theta[t].item() * sde.dt) ** 2 + sigma[t].item() ** 2 * sde.dt
    return mean, variance


def test_forward_steps_tend_to_the_marginals_at_first_order() -> None:
    away = []
    for steps in (200, 400, 800):
        sde = IRSDE(steps=steps)
        mean, variance = euler_moments(sde)
        closed = sde.lam**2 * (1 - sde.eps**2)
        away.append((abs(mean - sde.eps) / sde.eps, abs(variance - closed) / closed))
    for coarse, fine in itertools.pairwise(away):
        assert coarse[0] / fine[0] == pytest.approx(2, rel=0.1)
        assert coarse[1] / fine[1] == pytest.approx(2, rel=0.1)


def test_simulated_paths_have_the_marginals_mean_and_spread() -> None:
    sde, generator = IRSDE(steps=300), torch.Generator().manual_seed(1)
    x0, mu = torch.full((1, 1, 1, 20_000), 0.8), torch.full((1, 1, 1, 20_000), 0.3)
    x = x0
    for t in range(1, 201):
        x = sde.forward_step(x, mu, t, torch.randn(x.shape, generator=generator))
        if t in (50, 200):
            sbar = float(sde.tables().sbar[t])
            assert float(x.mean()) == pytest.approx(float(sde.mean(x0, mu, t)[0, 0, 0, 0]), abs=0.02 * sbar + 0.004)
            assert float(x.std()) == pytest.approx(sbar, rel=0.03)


def test_the_optimum_is_bayes_theorem() -> None:
    sde = IRSDE()
    torch.testing.assert_close(sde.optimum(X, X0, MU, 1), X0, rtol=0, atol=1e-6)
    for t in (2, 40, 100):
        alpha, sbar = sde.at(torch.tensor([t - 1.0, float(t)]))
        # x_(t-1) given x_0 has spread σ̄_(t-1), x_t given x_(t-1) has λ √(1 - A²): multiply, complete the square.
        a = alpha[1] / alpha[0]
        precision = 1 / sbar[0] ** 2 + a**2 / (sde.lam**2 * (1 - a**2))
        mean = (
            MU.double() + (alpha[0] * (X0 - MU) / sbar[0] ** 2 + a * (X - MU) / (sde.lam**2 * (1 - a**2))) / precision
        )
        # At t = 2 the published float32 arithmetic keeps some four digits of 1 - C².
        torch.testing.assert_close(sde.optimum(X, X0, MU, t).double(), mean, rtol=0, atol=2e-4 if t == 2 else 2e-6)
        assert float(sde.posterior_std(t, X)) == pytest.approx(float(precision**-0.5), rel=2e-4 if t == 2 else 1e-5)
    assert float(sde.posterior_std(1, X)) < 1e-11


def test_the_true_noise_gives_the_true_score_and_image() -> None:
    sde, t = IRSDE(), 30
    x = sde.marginal(X0, MU, t, Z)
    torch.testing.assert_close(sde.noise(x, X0, MU, t), Z, rtol=0, atol=1e-5)
    torch.testing.assert_close(sde.score(Z, t), sde.true_score(x, X0, MU, t), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sde.x0_hat(x, MU, Z, t), X0, rtol=0, atol=1e-6)


def test_the_likelihood_loss_is_weighted_noise_matching_up_to_dt_squared() -> None:
    left = []
    for steps in (100, 200, 400):
        sde, t = IRSDE(steps=steps), steps // 2
        x = sde.marginal(X0, MU, t, Z)
        factor = float(sde.tables().sigma[t] ** 2 * sde.dt / sde.tables().sbar[t])
        difference = sde.reverse_mean(x, MU, EPS, t) - sde.optimum(x, X0, MU, t)
        left.append(float((difference - factor * (Z - EPS)).abs().max()))
    for coarse, fine in itertools.pairwise(left):
        assert coarse / fine == pytest.approx(4, rel=0.15)


def test_the_image_loss_is_the_distance_of_the_images_up_to_its_largest_weight() -> None:
    sde = IRSDE()
    x = sde.marginal(X0, MU, 30, Z)
    distance = (sde.x0_hat(x, MU, EPS, 30) - X0).abs().mean()
    torch.testing.assert_close(sde.image_loss(MU, EPS, Z, 30, most=1e9), distance, rtol=1e-5, atol=0)
    assert float(sde.image_loss(MU, EPS, Z, 100, most=2)) == pytest.approx(2 * float((EPS - Z).abs().mean()), rel=1e-6)


def test_losses_are_means_and_let_gradients_through() -> None:
    assert float(noise_loss(torch.full(ONE, 3.0), torch.ones(ONE))) == 2
    assert float(noise_loss(torch.full(ONE, 3.0), torch.ones(ONE), "l2")) == 4
    sde, eps_hat = IRSDE(), Z.clone().requires_grad_()
    x = sde.marginal(X0, MU, 60, Z)
    sde.likelihood_loss(x, X0, MU, eps_hat, 60, "l2").backward()  # type: ignore[no-untyped-call]
    assert eps_hat.grad is not None and float(eps_hat.grad.abs().max()) < 1e-4  # the true noise is about the minimum
    with pytest.raises(SdeError, match="l1 or l2"):
        noise_loss(X, X, "huber")  # type: ignore[arg-type]


def test_training_states() -> None:
    sde = IRSDE(steps=10)
    x0, mu = torch.rand(4000, 1, 2, 2), torch.rand(4000, 1, 2, 2)
    states = sde.training_states(x0, mu, torch.Generator().manual_seed(3))
    assert torch.equal(states.x, sde.marginal(x0, mu, states.t, states.z))
    counts = torch.bincount(states.t, minlength=11)
    assert counts[0] == 0 and len(counts) == 11
    assert float(((counts[1:] - 400) ** 2 / 400).sum()) < 27.9  # χ² of nine degrees of freedom, one in a thousand
    assert float(states.z.mean()) == pytest.approx(0, abs=0.03) and float(states.z.std()) == pytest.approx(1, abs=0.03)
    again = sde.training_states(x0, mu, torch.Generator().manual_seed(3))
    other = sde.training_states(x0, mu, torch.Generator().manual_seed(4))
    assert torch.equal(states.x, again.x) and not torch.equal(states.t, other.t)


def test_tables_made_under_inference_serve_in_training() -> None:
    sde = IRSDE(33, 7)  # settings of no other test, so that the tables are made here
    with torch.inference_mode():
        sde.mean(X0, MU, 3)
        sde.at(torch.tensor(3.0))
    eps_hat = torch.zeros(ONE, requires_grad=True)
    sde.likelihood_loss(X, X0, MU, eps_hat, 3).backward()  # type: ignore[no-untyped-call]
    assert eps_hat.grad is not None


def test_a_pickled_equation_carries_its_settings_alone() -> None:
    sde = IRSDE(70, 30, "linear", 0.01)
    sde.tables()
    again = pickle.loads(pickle.dumps(sde))
    assert again == sde and "_made" in vars(sde) and "_made" not in vars(again)
    assert torch.equal(again.tables().sbar, sde.tables().sbar)


def test_low_precision_estimates_are_taken_up_to_float32() -> None:
    step = IRSDE().posterior_step(X, MU, EPS.bfloat16(), 50, Z)
    assert step.dtype == torch.float32
    assert torch.equal(step, IRSDE().posterior_step(X, MU, EPS.bfloat16().float(), 50, Z))
    assert IRSDE().score(EPS.bfloat16(), 50).dtype == torch.float32


@pytest.mark.slow
def test_a_training_step_compiles_as_one_graph() -> None:
    sde, t = IRSDE(), torch.tensor([5])
    sde.tables()

    def loss(x: Tensor, eps_hat: Tensor) -> Tensor:
        return sde.likelihood_loss(x, X0, MU, eps_hat, t)

    assert torch.equal(torch.compile(loss, backend="eager", fullgraph=True)(X, EPS), loss(X, EPS))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_between_indices(schedule: Schedule) -> None:
    sde = IRSDE(schedule=schedule)
    alpha, sbar = sde.at(torch.arange(101))
    torch.testing.assert_close(alpha, sde.tables().alpha.double(), rtol=2e-6, atol=0)
    torch.testing.assert_close(sbar[1:], sde.tables().sbar[1:].double(), rtol=5e-5, atol=0)
    t = torch.linspace(0.5, 100, 777, dtype=torch.float64)
    snr = sde.log_snr(t)
    assert bool((snr.diff() < 0).all())
    torch.testing.assert_close(sde.time_of(snr), t, rtol=1e-10, atol=1e-10)
    assert sde.time_of(torch.tensor([-40.0, 40.0])).tolist() == pytest.approx([100, 0], abs=1e-9)
    half = sde.at(torch.tensor(40.5))[0]  # θ is constant from one index to the next
    assert float(half) == pytest.approx(float((alpha[40] * alpha[41]).sqrt()), rel=1e-12)


def test_shorter() -> None:
    short, factor = IRSDE(70, 100, "linear", 0.01).shorter(25)
    assert (short, factor) == (IRSDE(70, 25, "linear", 0.01), 4.0)
    for steps in (0, 101):
        with pytest.raises(SdeError, match="expected 1 to 100"):
            IRSDE().shorter(steps)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "sigmoid"},
        {"max_sigma": 0},
        {"max_sigma": math.nan},
        {"steps": 0},
        {"eps": 0.0},
        {"eps": 1.0},
    ],
)
def test_settings_that_make_no_equation(settings: dict[str, float]) -> None:
    with pytest.raises(SdeError, match="expected"):
        IRSDE(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "t",
    [0, 101, -1, torch.tensor([0]), torch.tensor([101]), torch.tensor([5.0]), torch.tensor([5, 6]), torch.tensor(5)],
)
def test_indices_that_are_none(t: int | Tensor) -> None:
    with pytest.raises(ModelInputError, match="expected"):
        IRSDE().optimum(X, X0, MU, t)


def test_pairs_that_are_none() -> None:
    with pytest.raises(ModelInputError, match="beside"):
        IRSDE().training_states(X0, MU[..., :4], torch.Generator())
    with pytest.raises(ModelInputError, match="divide by 255"):
        IRSDE().training_states(X0.byte(), MU.byte(), torch.Generator())
