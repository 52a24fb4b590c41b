"""Samplers: from a degraded image μ and noise to a clean image, through a network that estimates the noise.

The published ones walk down every index of the schedule, one network call each. `FewSteps` integrates the same equation
with its linear part exact, so that it needs 5 to 20 calls at times of its own choice.

**Derivation.** With y = x - μ the marginals of IR-SDE (see `patina.training.diffusion.sde`) are y_t = ᾱ_t y_0 + σ̄_t z.
Since ᾱ² + (σ̄/λ)² = 1, y/λ is a variance-preserving diffusion, and what is known of those holds here. Let ℓ = ln(ᾱ/σ̄),
half the logarithm of the signal-to-noise ratio: it grows while t falls, and serves as time. Between indices θ is
constant, so ᾱ, σ̄ and ℓ are known at every t, and dℓ/dt = -σ_t² / (2 σ̄²). For every η the reverse-time equation

    dy = [-θ y - (1 + η²)/2 σ_t² score] dt + η σ_t dw̄

has the marginals of IR-SDE; η = 0 is the probability-flow ODE, η = 1 the reverse SDE. The score is -ε̂/σ̄; put there
either ε̂ or D = (y - σ̄ ε̂)/ᾱ, the estimate of y_0, and solve the linear part by an integrating factor. From ℓ_s to
ℓ_t = ℓ_s + h:

    noise:  y_t = ᾱ_t/ᾱ_s y_s           - (1 + η²) σ̄_t ∫ e^{ℓ_t - ℓ} ε̂ dℓ              + η σ̄_t √(e^{2h} - 1) z
    data:   y_t = σ̄_t/σ̄_s e^{-η² h} y_s + (1 + η²) ᾱ_t ∫ e^{-(1 + η²)(ℓ_t - ℓ)} D dℓ   + σ̄_t √(1 - e^{-2 η² h}) z

Nothing is approximated so far. Order p puts the polynomial through the last p estimates in place of ε̂ or D, and
integrates it exactly against the exponential: a linear multistep method, still one call a step. The corrector, once the
estimate at ℓ_t is there, does the step before once more with it among the nodes: one more order, and no more calls. At
the last time the image is μ + D, as the step to ℓ = ∞ gives it.

The order holds for η = 0. For η > 0 estimates carry the noise of the path, so that higher orders make the error smaller
but not its order higher. Data, first order, η = 1 is the published posterior step between any two times: with all
indices as times, the published posterior sampler.

**Times.** A Gaussian y_0 of standard deviation 1 is told by y_t to I = ½ ln(1 + (ᾱ/σ̄)²) nats. Differences of images in
[0, 1] have at most that deviation. Times uniform in I spend calls where something is decided: at late t, where noise
covers all, I stands still (uniform ℓ wastes a third of its steps there), at early t it runs as ℓ. Best up to some 15
calls. As the first step stays long in ℓ, the order of convergence shows only with times uniform in ℓ: take those for
many calls.

At T a share eps of y_0 is left in the mean, but sampling starts from μ + λ z, which leaves it out, as published.

After Zhang and Chen, exponential integrators for diffusion models (2022); Lu et al., DPM-Solver++ (2022); Zhao et al.,
UniPC (2023); Li et al., MaRS (2025). The weights here follow from the two lines above alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from patina.training.diffusion.sde import IRSDE
from patina.training.errors import ModelInputError, NotFiniteError

Model: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""ε̂ from (x_t, μ, t): B x C x H x W twice, and B floats in the indices of the schedule that was trained."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told after each network call how many are done, and of how many."""

Noise: TypeAlias = Callable[[int], Tensor]
"""Standard normal B x C x H x W for a step: 0 is the start, then the index t (published) or the number 1, 2, … of a
step."""


class SamplingError(NotFiniteError):
    """A sampler's result that is no image. Says what to look at."""


class Sampler(Protocol):
    """Something of `SAMPLERS`."""

    def __call__(
        self,
        model: Model,
        mu: Tensor,
        sde: IRSDE,
        *,
        noise: Noise | Sequence[torch.Generator],
        steps: int | None = None,
        start: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Restore the degraded images `mu` (B x C x H x W, floating, [0, 1]). Not clamped; float32 or wider.

        sde    with which the model was trained.
        noise  one generator for each image, so that a result does not depend on the batch that its image is in; or a
               function that gives the noise itself.
        steps  network calls; None: the sampler's own default.
        start  x_T, if it shall not be drawn.

        Raises ModelInputError for other shapes, SdeError for too many steps, SamplingError if NaN or infinity come out.
        """


# The published samplers

Step: TypeAlias = Callable[[IRSDE, Tensor, Tensor, Tensor, int, Noise], Tensor]
"""x_(t-1) from (sde, x_t, μ, ε̂, t, noise)."""


def _posterior(sde: IRSDE, x: Tensor, mu: Tensor, eps_hat: Tensor, t: int, noise: Noise) -> Tensor:
    return sde.posterior_step(x, mu, eps_hat, t, noise(t))


def _reverse(sde: IRSDE, x: Tensor, mu: Tensor, eps_hat: Tensor, t: int, noise: Noise) -> Tensor:
    return sde.reverse_step(x, mu, eps_hat, t, noise(t))


def _flow(sde: IRSDE, x: Tensor, mu: Tensor, eps_hat: Tensor, t: int, noise: Noise) -> Tensor:
    return sde.ode_step(x, mu, eps_hat, t)


@dataclass(frozen=True)
class Published:
    """A step of `IRSDE` at every index T..1; fewer steps as published, by a schedule of that many (`IRSDE.shorter`)."""

    step: Step

    @torch.no_grad()
    def __call__(
        self,
        model: Model,
        mu: Tensor,
        sde: IRSDE,
        *,
        noise: Noise | Sequence[torch.Generator],
        steps: int | None = None,
        start: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """See `Sampler`. Without `steps`, all of the schedule's."""
        short, factor = sde.shorter(sde.steps if steps is None else steps)
        mu, noise = _prepared(mu, noise)
        x = _started(sde, mu, noise, start)
        for t in range(short.steps, 0, -1):
            eps_hat = _estimate(model, x, mu, t * factor)
            x = self.step(short, x, mu, eps_hat, t, noise)
            if progress:
                progress(short.steps - t + 1, short.steps)
        return _finished(x, sde)


# Fewer steps


class Leg(NamedTuple):
    """One step's numbers: y_t = keep y_s + Σ weights · estimates (newest first) + std z."""

    keep: float
    weights: tuple[float, ...]
    std: float

    def apply(self, y: Tensor, estimates: Sequence[Tensor], z: Tensor) -> Tensor:
        """y_t; estimates beyond the weights are not used."""
        total = self.keep * y
        for weight, estimate in zip(self.weights, estimates, strict=False):
            total = total.add(estimate, alpha=weight)
        return total.add(z, alpha=self.std) if self.std else total


class Curve(NamedTuple):
    """ᾱ, σ̄ and ℓ at the times of a run."""

    alpha: list[float]
    sbar: list[float]
    snr: list[float]


class Stage(NamedTuple):
    """One network call: its time with ᾱ and σ̄ there, the step before done again, and the step after."""

    t: float
    alpha: float
    sbar: float
    correction: Leg | None
    advance: Leg | None


@dataclass(frozen=True)
class FewSteps:
    """Exponential multistep integration of the reverse equation, in the notation of the module's derivation.

    order     1 to 3: how many estimates the polynomial goes through, as far as there are so many yet.
    estimate  what is held as a polynomial of ℓ: `data` (D) or `noise` (ε̂). Errors of extrapolated noise grow by e^h at
              a step of h, so it wants many steps, points in `snr` or `index`, and no corrector.
    eta       η: 0 for the probability-flow ODE, 1 for the reverse SDE, or between.
    correct   do each step once more with the estimate at its end.
    points    times uniform in `information` (I, up to some 15 calls), in `snr` (ℓ, for more) or in `index` (t).
    last      the time of the last call, in indices; 1 is the least at which networks are trained.
    """

    order: int = 3
    estimate: Literal["data", "noise"] = "data"
    eta: float = 0.0
    correct: bool = True
    points: Literal["information", "snr", "index"] = "information"
    last: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ModelInputError(f"order {self.order}; expected 1, 2 or 3")
        if self.estimate not in ("data", "noise"):
            raise ModelInputError(f"estimate {self.estimate!r}; expected data or noise")
        if self.points not in ("information", "snr", "index"):
            raise ModelInputError(f"points {self.points!r}; expected information, snr or index")
        if not 0 <= self.eta <= 1:
            raise ModelInputError(f"eta {self.eta}; expected 0 (ODE) to 1 (SDE)")

    @torch.no_grad()
    def __call__(
        self,
        model: Model,
        mu: Tensor,
        sde: IRSDE,
        *,
        noise: Noise | Sequence[torch.Generator],
        steps: int | None = None,
        start: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """See `Sampler`. Without `steps`, 10."""
        plan = self.plan(sde, 10 if steps is None else steps)
        mu, noise = _prepared(mu, noise)
        y = _started(sde, mu, noise, start) - mu  # B x C x H x W
        z = still = torch.zeros_like(y)
        before = y  # the state that the last step left from, with noise z
        estimates: list[Tensor] = []  # newest first
        data = y
        for k, stage in enumerate(plan):
            eps_hat = _estimate(model, mu + y, mu, stage.t)
            data = (y - stage.sbar * eps_hat) / stage.alpha
            estimates = [data if self.estimate == "data" else eps_hat, *estimates[: self.order]]
            if stage.correction:
                y = stage.correction.apply(before, estimates, z)
            if stage.advance:
                before, z = y, noise(k + 1) if self.eta > 0 else still
                y = stage.advance.apply(y, estimates, z)
            if progress:
                progress(k + 1, len(plan))
        return _finished(mu + data, sde)

    def times(self, sde: IRSDE, steps: int) -> Tensor:
        """The times of the network calls: `steps` falling numbers from T to `last`, float64 (only T for one step).

        Raises ModelInputError for fewer than one step, or if `last` is not between 0 and T.
        """
        if steps < 1:
            raise ModelInputError(f"{steps} steps; expected 1 or more, such as 10")
        if not 0 < self.last < sde.steps:
            raise ModelInputError(f"last = {self.last}; expected a time above 0 and below {sde.steps}")
        ends = torch.tensor([sde.steps, self.last], dtype=torch.float64)
        snr = sde.log_snr(ends)
        if self.points == "information":
            information = _even(torch.log1p(torch.exp(2 * snr)) / 2, steps)
            times = sde.time_of(torch.log(torch.expm1(2 * information)) / 2)
        elif self.points == "snr":
            times = sde.time_of(_even(snr, steps))
        else:
            times = _even(ends, steps)
        times[-1], times[0] = ends[1], ends[0]
        return times

    def plan(self, sde: IRSDE, steps: int) -> list[Stage]:
        """All the numbers of a run, which depend on no image. Raises as `times` does."""
        times = self.times(sde, steps)
        alpha, sbar = sde.at(times)
        curve = Curve(alpha.tolist(), sbar.tolist(), (alpha.log() - sbar.log()).tolist())
        last = steps - 1
        return [
            Stage(
                t,
                curve.alpha[k],
                curve.sbar[k],
                self._leg(curve, k - 1, newest=k) if self.correct and 0 < k < last else None,
                self._leg(curve, k, newest=k) if k < last else None,
            )
            for k, t in enumerate(times.tolist())
        ]

    def _leg(self, curve: Curve, k: int, newest: int) -> Leg:
        """The step from time k to k + 1, with estimates at times `newest`, `newest` - 1, …: k, or k + 1 to correct."""
        alpha, sbar, snr = curve
        count = min(self.order + newest - k, newest + 1)
        h = snr[k + 1] - snr[k]
        nodes = [(snr[newest - j] - snr[k]) / h for j in range(count)]
        spread = self.eta**2
        if self.estimate == "data":
            keep, std = sbar[k + 1] / sbar[k] * math.exp(-spread * h), math.sqrt(-math.expm1(-2 * spread * h))
            rate, scale = 1 + spread, (1 + spread) * alpha[k + 1]
        else:
            keep, std = alpha[k + 1] / alpha[k], self.eta * math.sqrt(math.expm1(2 * h))
            rate, scale = -1.0, -(1 + spread) * sbar[k + 1]
        return Leg(keep, tuple(scale * h * w for w in weights(rate * h, nodes)), sbar[k + 1] * std)


def _even(ends: Tensor, count: int) -> Tensor:
    return torch.linspace(ends[0].item(), ends[1].item(), count, dtype=torch.float64)


def weights(rate: float, nodes: Sequence[float]) -> list[float]:
    """w_j with Σ w_j p(nodes_j) = ∫_0^1 e^{-rate (1 - v)} p(v) dv for every polynomial p of degree below len(nodes)."""
    degree = len(nodes)
    powers = torch.tensor([[v**n for v in nodes] for n in range(degree)], dtype=torch.float64)
    moments = torch.tensor([_moment(rate, n) for n in range(degree)], dtype=torch.float64)
    found: list[float] = torch.linalg.solve(powers, moments).tolist()
    return found


def _moment(rate: float, n: int) -> float:
    """∫_0^1 e^{-rate (1 - v)} v^n dv.

    By parts from n - 1, which loses digits where the rate is small; there by Σ_k (-rate)^k n! / (n + k + 1)!.
    """
    if abs(rate) < 1:
        return math.fsum((-rate) ** k * math.factorial(n) / math.factorial(n + k + 1) for k in range(20))
    return -math.expm1(-rate) / rate if n == 0 else (1 - n * _moment(rate, n - 1)) / rate


# What both kinds share


def generators(seeds: Iterable[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """One generator for each image from its own seed. On the CPU the numbers are the same on every machine."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def _prepared(mu: Tensor, noise: Noise | Sequence[torch.Generator]) -> tuple[Tensor, Noise]:
    """μ of float32 or wider, and where noise comes from."""
    if mu.ndim != 4 or 0 in mu.shape or not mu.is_floating_point():
        raise ModelInputError(
            f"degraded images of shape {tuple(mu.shape)}, {mu.dtype}; expected B x C x H x W of floating numbers"
        )
    mu = mu if mu.dtype == torch.float64 else mu.float()
    if not isinstance(noise, Sequence):
        return mu, _checked(noise, mu)
    if len(noise) != len(mu):
        raise ModelInputError(f"{len(noise)} generators for {len(mu)} images; expected one for each")

    def drawn(_: int) -> Tensor:
        shape = (1, *mu.shape[1:])
        each = [torch.randn(shape, generator=g, device=g.device, dtype=mu.dtype).to(mu.device) for g in noise]
        return torch.cat(each)  # B x C x H x W

    return mu, drawn


def _checked(noise: Noise, mu: Tensor) -> Noise:
    def checked(step: int) -> Tensor:
        z = noise(step).to(mu)
        if z.shape != mu.shape:
            raise ModelInputError(f"noise of shape {tuple(z.shape)} for images of {tuple(mu.shape)}")
        return z

    return checked


def _started(sde: IRSDE, mu: Tensor, noise: Noise, start: Tensor | None) -> Tensor:
    x = sde.start(mu, noise(0)) if start is None else start.to(mu)
    if x.shape != mu.shape:
        raise ModelInputError(f"a start of shape {tuple(x.shape)} for degraded images of {tuple(mu.shape)}")
    return x


def _estimate(model: Model, x: Tensor, mu: Tensor, t: float) -> Tensor:
    """ε̂ in x's type, whatever the network computes in."""
    eps_hat = model(x, mu, torch.full((len(x),), t, dtype=x.dtype, device=x.device))
    if eps_hat.shape != x.shape:
        raise ModelInputError(
            f"the model gave {tuple(eps_hat.shape)} for images of {tuple(x.shape)}; expected the same"
        )
    return eps_hat.to(x.dtype)


def _finished(x: Tensor, sde: IRSDE) -> Tensor:
    if not torch.isfinite(x).all():
        bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
        raise SamplingError(
            f"images {bad} of the batch came out with NaN or infinity; look whether the network was trained with this "
            f"schedule ({sde}: a wrong max_sigma gives noise), whether its weights and the images are finite, and "
            "whether it overflows in half precision; then try the sampler `posterior` with all steps"
        )
    return x


SAMPLERS: Mapping[str, Sampler] = {
    # as published, one call for each of the schedule's indices
    "posterior": Published(_posterior),  # the papers' choice since 2024: draws from p(x_(t-1) | x_t, estimated x_0)
    "sde": Published(_reverse),  # Euler-Maruyama on the reverse SDE: the first paper's numbers
    "ode": Published(_flow),  # Euler on the probability-flow ODE
    # few calls
    "fast-ode": FewSteps(),  # one answer for one start
    "fast-sde": FewSteps(eta=1.0),  # a draw, as from `posterior`
}
"""By name. Another few-step sampler is a `FewSteps` of other settings."""
