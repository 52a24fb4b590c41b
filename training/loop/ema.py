"""An exponential moving average of a network's weights, kept beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from patina.training.stages.stage import Ema


class MovingAverage:
    """The average w̄ := d w̄ + (1 - d) w of what learns, float32 on the network's device.

    Plain: d is `decay`, every `every` steps, from the starting weights on. Published (IR-SDE): at call c nothing unless
    c is a multiple of `every`; a copy while c <= 100; then d = min(decay, 1 - (1 + c - 100)^(-2/3)).
    """

    START = 100

    def __init__(self, net: nn.Module, settings: Ema) -> None:
        self._settings = settings
        self.tensors = {n: p.detach().float().clone() for n, p in net.named_parameters() if p.requires_grad}

    def decay_at(self, step: int) -> float | None:
        """d at the step (the first is 0), None where nothing is done."""
        s = self._settings
        if step % s.every:
            return None
        if not s.published:
            return s.decay
        return 0.0 if step <= self.START else min(s.decay, 1 - (1 + step - self.START) ** (-2 / 3))

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after a step."""
        decay = self.decay_at(step)
        if decay is None:
            return
        own = dict(net.named_parameters())
        weights = [own[name].detach().float() for name in self.tensors]
        torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the averages of an earlier process."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def exchange(self, net: nn.Module) -> None:
        """Swap the network's weights and the averages. Twice is nothing."""
        own = dict(net.named_parameters())
        for name, tensor in self.tensors.items():
            kept = own[name].detach().clone()
            own[name].copy_(tensor)
            tensor.copy_(kept)
