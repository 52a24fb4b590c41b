"""IR-SDE: the mean-reverting stochastic differential equation between a clean image and its degraded one.

    dx = θ_t (μ - x) dt + σ_t dw,    σ_t² = 2 λ² θ_t                              (IR-SDE, forward SDE, section 3.1)

x is pulled from the clean image x_0 towards the degraded image μ while noise grows to the standard deviation λ. Time is
counted in indices t = 0..T, one index lasts dt. With ᾱ_t = exp(-(θ_1 + … + θ_t) dt),

    x_t = μ + ᾱ_t (x_0 - μ) + σ̄_t z,    σ̄_t² = λ² (1 - ᾱ_t²),    z ~ N(0, 1)               (section 3.1)

A network gives ε̂(x_t, μ, t), an estimate of z. At T a share `eps` of x_0 - μ is left. "IR-SDE" is Luo et al., Image
Restoration with Mean-Reverting Stochastic Differential Equations, ICML 2023.

Images are B x C x H x W of floating numbers, by convention RGB in [0, 1]; x and x_t may lie outside. Every method is a
function of its arguments alone: μ is one of them, and nothing is kept between calls.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from patina.training.errors import ModelInputError, TrainingError

Schedule: TypeAlias = Literal["cosine", "linear", "constant"]
Distance: TypeAlias = Literal["l1", "l2"]
Index: TypeAlias = int | Tensor
"""t of the whole batch as an int, or of each image as B integers; 1..T."""


class SdeError(TrainingError, ValueError):
    """Settings that make no such equation. Says what was found and what was expected."""


class States(NamedTuple):
    """A training batch: indices t (B, int64), noisy images x_t and the noise z that is in them (both B x C x H x W)."""

    t: Tensor
    x: Tensor
    z: Tensor


class Tables(NamedTuple):
    """What a schedule comes to: dt, and for t = 0..T float32 tables of T+1 numbers each.

    The names are those of the module's equations. `toward_x` and `toward_x0` are the two factors of the optimum, and
    `posterior_std` its spread; they are NaN at t = 0, from which no step leads back.
    """

    dt: float
    theta: Tensor
    cum: Tensor  # θ_1 + … + θ_t
    sigma: Tensor
    sbar: Tensor
    alpha: Tensor  # ᾱ_t
    growth: Tensor  # 1/ᾱ_t
    toward_x: Tensor
    toward_x0: Tensor
    posterior_std: Tensor


@dataclass(frozen=True)
class IRSDE:
    """The equation with its schedule, discretised in `steps` indices.

    max_sigma  λ: in grey levels of 255 if 1 or more (50 in the papers), else as a share of the range.
    steps      T, 100 in the papers.
    schedule   how θ runs over the indices. Raises SdeError for one that is not known.
    eps        the share of x_0 - μ that is left at T; it sets dt.
    """

    max_sigma: float = 50
    steps: int = 100
    schedule: Schedule = "cosine"
    eps: float = 0.005

    def __post_init__(self) -> None:
        if self.schedule not in _THETA:
            raise SdeError(f"schedule {self.schedule!r}; expected one of {', '.join(_THETA)}")
        if not (math.isfinite(self.max_sigma) and self.max_sigma > 0):
            raise SdeError(f"max_sigma {self.max_sigma}; expected more than 0, such as 50")
        if self.steps < 1:
            raise SdeError(f"{self.steps} steps; expected 1 or more, such as 100")
        if not 0 < self.eps < 1:
            raise SdeError(f"eps {self.eps}; expected a share between 0 and 1, such as 0.005")

    def __getstate__(self) -> dict[str, object]:
        """The settings alone: a pickled or copied equation makes its tables anew, wherever it arrives."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    # The schedule

    @property
    def lam(self) -> float:
        """λ, the standard deviation of the noise that the equation tends to."""
        return self.max_sigma / 255 if self.max_sigma >= 1 else self.max_sigma

    @property
    def dt(self) -> float:
        """The time that one index lasts, so that exp(-cum_T dt) = eps."""
        return self.tables().dt

    def tables(self, device: torch.device | str = "cpu") -> Tables:
        """The schedule on a device. Made once for each device."""
        device = torch.device(device)
        if device not in self._made:
            self._made[device] = _tables(self, device)
        return self._made[device]

    def shorter(self, steps: int) -> tuple[IRSDE, float]:
        """The published way to fewer steps: the same kind of schedule over `steps` indices, and the factor T / `steps`
        by which its t is multiplied for a network that was trained with this one.

        Noise at index t of the one and at t·factor of the other are only about alike: each schedule is built for its
        own number of indices. `patina.training.diffusion.samplers.FewSteps` keeps the trained schedule instead.
        """
        if not 1 <= steps <= self.steps:
            raise SdeError(f"{steps} steps of a schedule of {self.steps}; expected 1 to {self.steps}")
        return replace(self, steps=steps), self.steps / steps

    # Forward in time

    def start(self, mu: Tensor, z: Tensor) -> Tensor:
        """x_T as sampling starts from: μ + λ z (λ, where the marginal has λ √(1 - eps²))."""
        return mu + self.lam * z

    def mean(self, x0: Tensor, mu: Tensor, t: Index) -> Tensor:
        """The mean of x_t: μ + ᾱ_t (x_0 - μ)."""
        return mu + (x0 - mu) * self._at("alpha", t, mu)

    def marginal(self, x0: Tensor, mu: Tensor, t: Index, z: Tensor) -> Tensor:
        """x_t from standard normal z: the mean plus σ̄_t z."""
        return self.mean(x0, mu, t) + self._at("sbar", t, mu) * z

    def noise(self, x: Tensor, x0: Tensor, mu: Tensor, t: Index) -> Tensor:
        """The z that is in x_t, which ε̂ estimates."""
        return (x - self.mean(x0, mu, t)) / self._at("sbar", t, mu)

    def true_score(self, x: Tensor, x0: Tensor, mu: Tensor, t: Index) -> Tensor:
        """∇ log p(x_t | x_0) = -(x_t - mean) / σ̄_t²."""
        return -(x - self.mean(x0, mu, t)) / self._at("sbar", t, mu) ** 2

    def drift(self, x: Tensor, mu: Tensor, t: Index) -> Tensor:
        """θ_t (μ - x) dt."""
        return self._at("theta", t, mu) * (mu - x) * self.dt

    def dispersion(self, z: Tensor, t: Index) -> Tensor:
        """σ_t √dt z."""
        return self._at("sigma", t, z) * (z * math.sqrt(self.dt))

    def forward_step(self, x: Tensor, mu: Tensor, t: Index, z: Tensor) -> Tensor:
        """x_t from x_(t-1), by one Euler-Maruyama step of the equation."""
        return x + self.drift(x, mu, t) + self.dispersion(z, t)

    # Backward in time: from x_t to x_(t-1)

    def score(self, eps_hat: Tensor, t: Index) -> Tensor:
        """The estimated score -ε̂ / σ̄_t."""
        return -eps_hat / self._at("sbar", t, eps_hat)

    def reverse_mean(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index) -> Tensor:
        """x_(t-1) of the reverse-time SDE (section 3.2) without its noise: x - [θ_t (μ - x) - σ_t² score] dt."""
        return self._euler(x, mu, eps_hat, t, 1.0)

    def reverse_step(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index, z: Tensor) -> Tensor:
        """x_(t-1) of the reverse-time SDE: its mean minus σ_t √dt z, at t = 1 as well."""
        return self.reverse_mean(x, mu, eps_hat, t) - self.dispersion(z, t)

    def ode_step(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index) -> Tensor:
        """x_(t-1) of the probability-flow ODE: x - [θ_t (μ - x) - ½ σ_t² score] dt."""
        return self._euler(x, mu, eps_hat, t, 0.5)

    def x0_hat(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index) -> Tensor:
        """The clean image that ε̂ implies: μ + (x - μ - σ̄_t ε̂) / ᾱ_t. Not clamped: early ones lie far outside [0, 1]."""
        return mu + (x - mu - self._at("sbar", t, mu) * eps_hat) * self._at("growth", t, mu)

    def optimum(self, x: Tensor, x0: Tensor, mu: Tensor, t: Index) -> Tensor:
        """The likeliest x_(t-1) given x_t and x_0 (section 3.3), which is also its mean; x_0 itself at t = 1.

        With A = exp(-θ_t dt), B = ᾱ_t, C = ᾱ_(t-1):

            μ + A (1 - C²) / (1 - B²) (x - μ) + C (1 - A²) / (1 - B²) (x_0 - μ)
        """
        return self._at("toward_x", t, mu) * (x - mu) + self._at("toward_x0", t, mu) * (x0 - mu) + mu

    def posterior_std(self, t: Index, like: Tensor) -> Tensor:
        """The standard deviation of x_(t-1) given x_t and x_0, shaped to multiply `like`; about 6e-12 at t = 1."""
        return self._at("posterior_std", t, like)

    def posterior_step(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index, z: Tensor) -> Tensor:
        """A draw of x_(t-1) given x_t and the estimated x_0: the optimum for it, plus the posterior's spread."""
        x0 = self.x0_hat(x, mu, eps_hat, t)
        return self.optimum(x, x0, mu, t) + self.posterior_std(t, mu) * z

    # Training

    def training_states(self, x0: Tensor, mu: Tensor, generator: torch.Generator) -> States:
        """x_t of each pair, at an index drawn uniformly from 1..T for each.

        The generator may live on the CPU (the same numbers everywhere) or on the images' device (faster). Each process
        of several has to bring its own, seeded with its rank: nothing here knows of other processes.
        """
        _check_pair(x0, mu)
        place = generator.device
        t = torch.randint(1, self.steps + 1, (len(x0),), generator=generator, device=place).to(x0.device)
        z = torch.randn(x0.shape, generator=generator, device=place, dtype=x0.dtype).to(x0.device)
        return States(t, self.marginal(x0, mu, t, z), z)

    def likelihood_loss(
        self, x: Tensor, x0: Tensor, mu: Tensor, eps_hat: Tensor, t: Index, distance: Distance = "l1"
    ) -> Tensor:
        """Maximum likelihood: the mean distance of the reverse step's mean and the optimum (section 3.3), a number.

        Up to terms of dt² this is the noise's own error, times σ_t² dt / σ̄_t: late indices (small t) weigh more.
        """
        return _distance(self.reverse_mean(x, mu, eps_hat, t) - self.optimum(x, x0, mu, t), distance)

    def image_loss(
        self, mu: Tensor, eps_hat: Tensor, z: Tensor, t: Index, most: float = 5.0, distance: Distance = "l1"
    ) -> Tensor:
        """The mean distance of the clean image and the one that ε̂ stands for: σ̄_t / ᾱ_t times the noise's error.

        Early indices (large t) weigh more, as they do in a sampler of few steps; `most` is the largest weight. None of
        the papers'.
        """
        weight = (self._at("sbar", t, mu) / self._at("alpha", t, mu)).clamp(max=most)
        return _distance(weight * (eps_hat - z), distance)

    # The schedule at any time, for solvers that choose their own

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """ᾱ and σ̄ at times t in 0..T that need not be whole, float64, of t's shape.

        θ is taken as constant between indices, so cum runs straight from one index to the next. It is what the optimum
        assumes of a step (A = exp(-θ_t dt)), it meets the trained values at every index, and it is inverted in closed
        form. The integral of the schedule's own formula would meet them only up to its quadrature error.
        """
        exponent = self._exponents
        t = t.to("cpu", torch.float64)
        below = t.floor().clamp(0, self.steps - 1).long()
        k = torch.lerp(exponent[below], exponent[below + 1], t - below)
        return (-k).exp(), self.lam * (-torch.expm1(-2 * k)).sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """ℓ = ln(ᾱ_t / σ̄_t), float64: it falls with t; infinite at t = 0."""
        alpha, sbar = self.at(t)
        return alpha.log() - sbar.log()

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time t of each ℓ, float64: the inverse of `log_snr`, held within 0..T.

        From ᾱ² + (σ̄/λ)² = 1: ᾱ^-2 = 1 + e^(-2ℓ) / λ².
        """
        exponent = self._exponents
        k = torch.log1p(torch.exp(-2 * log_snr.to("cpu", torch.float64)) / self.lam**2) / 2
        above = torch.searchsorted(exponent, k.clamp(max=exponent[-1])).clamp(1, self.steps)
        share = (k - exponent[above - 1]) / (exponent[above] - exponent[above - 1])
        return (above - 1 + share).clamp(0, self.steps)

    # Inside

    @cached_property
    def _made(self) -> dict[torch.device, Tables]:
        return {}

    @cached_property
    def _exponents(self) -> Tensor:
        """cum_t dt for t = 0..T, float64, from the float32 tables with which a network was trained."""
        with torch.inference_mode(False):
            return self.tables().cum.double() * self.dt

    def _euler(self, x: Tensor, mu: Tensor, eps_hat: Tensor, t: Index, share: float) -> Tensor:
        pull = self._at("theta", t, mu) * (mu - x)
        return x - (pull - share * self._at("sigma", t, mu) ** 2 * self.score(eps_hat, t)) * self.dt

    def _at(self, name: str, t: Index, like: Tensor) -> Tensor:
        """A table's numbers at t, shaped to multiply `like`: B or 1 x 1 x … x 1, float32.

        Kept of as many dimensions as `like`, so that low-precision ε̂ are taken up to float32 and not the table down.
        """
        table: Tensor = getattr(self.tables(like.device), name)
        rest = (1,) * (like.ndim - 1)
        if isinstance(t, Tensor):
            self._check_indices(t, like)
            return table[t.to(like.device)].reshape(-1, *rest)
        index = operator.index(t)
        if not 1 <= index <= self.steps:
            raise ModelInputError(f"t = {index}; expected an index from 1 to {self.steps}")
        return table[index].reshape(1, *rest)

    def _check_indices(self, t: Tensor, like: Tensor) -> None:
        """Values are looked at only on the CPU (elsewhere that would wait for the device), outside compiled graphs."""
        if t.is_floating_point() or t.ndim != 1 or len(t) != len(like):
            raise ModelInputError(
                f"t of shape {tuple(t.shape)}, {t.dtype}, for a batch of {len(like)}; expected {len(like)} integers"
            )
        if t.device.type != "cpu" or torch.compiler.is_compiling() or not len(t):
            return
        if not 1 <= int(t.min()) <= int(t.max()) <= self.steps:
            raise ModelInputError(f"t from {int(t.min())} to {int(t.max())}; expected indices from 1 to {self.steps}")


def noise_loss(eps_hat: Tensor, z: Tensor, distance: Distance = "l1") -> Tensor:
    """Noise matching: the mean distance of ε̂ and the noise that was added (section 3.2), a number."""
    return _distance(eps_hat - z, distance)


def _distance(difference: Tensor, distance: Distance) -> Tensor:
    if distance not in ("l1", "l2"):
        raise SdeError(f"distance {distance!r}; expected l1 or l2")
    return difference.abs().mean() if distance == "l1" else difference.square().mean()


def _check_pair(x0: Tensor, mu: Tensor) -> None:
    if x0.shape != mu.shape:
        raise ModelInputError(f"clean images of shape {tuple(x0.shape)} beside degraded ones of {tuple(mu.shape)}")
    if not (x0.is_floating_point() and mu.is_floating_point()):
        raise ModelInputError(
            f"images of {x0.dtype} and {mu.dtype}; expected floating numbers in [0, 1]: divide by 255"
        )


# The tables. Networks were trained with float32 tables, in this order of operations, and differences such as 1 - ᾱ²
# near t = 0 keep only three or four of its digits: the exact values would be others. So every operation is rounded to
# float32, and the functions (cos, exp, log) are rounded from float64, so that no library's last bit decides.


def _rounded(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x.double()).float()


def _cosine(steps: int) -> Tensor:
    """θ_i = 1 - f((i + 1) / (T + 2)) / f(0), f(u) = cos²((u + s) / (1 + s) π/2), s = 0.008."""
    s = 0.008
    u = torch.arange(steps + 3, dtype=torch.float32, device="cpu") / (steps + 2)
    f = _rounded(torch.cos, (u + s) / (1 + s) * math.pi * 0.5) ** 2
    return 1 - (f / f[0])[1:-1]


def _linear(steps: int) -> Tensor:
    """From 0.0001 k to 0.02 k, k = 1000 / (T + 1)."""
    k = 1000 / (steps + 1)
    return torch.linspace(0.0001 * k, 0.02 * k, steps + 1, dtype=torch.float32, device="cpu")


def _constant(steps: int) -> Tensor:
    """θ_i = 1."""
    return torch.ones(steps + 1, dtype=torch.float32, device="cpu")


_THETA: dict[str, Callable[[int], Tensor]] = {"cosine": _cosine, "linear": _linear, "constant": _constant}
"""θ_0..θ_T of T steps, by the schedule's name."""


def _tables(sde: IRSDE, device: torch.device) -> Tables:
    with torch.inference_mode(False):  # tensors made under inference could not be used in training later
        lam, theta = sde.lam, _THETA[sde.schedule](sde.steps)
        cum = theta.double().cumsum(0).float() - theta[0]
        dt = -1 / cum[-1] * math.log(sde.eps)
        a, b, c = (_rounded(torch.exp, -v * dt) for v in (theta, cum, cum.roll(1)))  # A, B, C of `optimum`
        a2, b2, c2 = (_rounded(torch.exp, -2 * v * dt) for v in (theta, cum, cum.roll(1)))
        variance = ((1 - a2) * (1 - c2) / (1 - b2)).clamp(min=1e-20 * dt.item())  # of the posterior, over λ²
        tables = Tables(
            dt=dt.item(),
            theta=theta,
            cum=cum,
            sigma=(2 * lam**2 * theta).sqrt(),
            sbar=(lam**2 * (1 - b2)).sqrt(),
            alpha=b,
            growth=_rounded(torch.exp, cum * dt),
            toward_x=a * (1 - c**2) / (1 - b**2),
            toward_x0=c * (1 - a**2) / (1 - b**2),
            posterior_std=lam * _rounded(torch.exp, 0.5 * _rounded(torch.log, variance)),
        )
        for name in ("toward_x", "toward_x0", "posterior_std"):
            getattr(tables, name)[0] = math.nan
        return Tables(tables.dt, *(table.to(device) for table in tables[1:]))
