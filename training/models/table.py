"""Sizes and costs of the networks beside the papers' figures.

Networks are built and run on torch's `meta` device: shapes only, no memory, little time. Two conventions are in use:

MACs          multiplications with addition, all of them: half of the FLOPs that torch's FlopCounterMode counts.
papers' MACs  the papers' tables have a counter of their own, `count_by_hooks`, and call its MACs "FLOPs".

patina does less than the published code for the same numbers, so its own MACs are at most the published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from patina.training.models import CATALOGUE, Cost, Published

SIDE = 256


@dataclass(frozen=True)
class Row:
    """One network. `macs` (10⁹) is what patina does for one image of 256 x 256, or for one view of a CLIP."""

    network: str
    parameters: int
    trainable: int
    macs: float
    published: Cost
    remark: str = ""


def model_table(networks: Iterable[str] = tuple(CATALOGUE)) -> list[Row]:
    """A row for each network of these names. KeyError for a name that the catalogue does not have."""
    return [_row(network, CATALOGUE[network]) for network in networks]


def shown_rows(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The table in texts. Figures that nobody gives are a dash."""
    return [
        {
            "network": row.network,
            "parameters": _thousands(row.parameters),
            "trainable": _thousands(row.trainable),
            "GMACs": f"{row.macs:.1f}",
            "published": "–" if row.published.macs is None else f"{row.published.macs:.1f}",
            "paper says": _pair(row.published.paper_parameters, row.published.paper_macs),
            "by its counter": _pair(row.published.hook_parameters, row.published.hook_macs),
        }
        for row in rows
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """What the columns of the table mean, and what there is to say of its networks."""
    remarks = [f"{row.network}: {row.remark}." for row in rows if row.remark]
    return [
        f"GMACs           10⁹ multiplications with addition for one image of {SIDE}×{SIDE} (CLIP: one view), as patina",
        "                computes it. FLOPs are twice that.",
        "published       the same of the published code, which does more for the same numbers.",
        'paper says      millions of parameters and "FLOPs", which are MACs by its own counter: dense layers once, not',
        "                for each token; attention and bare parameters not at all.",
        "by its counter  the same, measured on the published code.",
        *([""] if remarks else []),
        *remarks,
    ]


def count_macs(run: Callable[[], object]) -> float:
    """All MACs of what `run` does, in 10⁹: convolutions and matrix products, attention among them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops()) / 2e9


def count_by_hooks(net: nn.Module, run: Callable[[], object]) -> tuple[float, float]:
    """What the papers' counter makes of `run`: 10⁶ parameters and 10⁹ MACs of the modules of `net` that it calls.

    Only modules without children are seen. A convolution counts the numbers of its weight for each position of its
    output; any other module those of its weight, once, whatever the number of tokens. What is called as a function, or
    is a parameter of a module with children, is not counted. A module called twice has its parameters counted once.
    """
    parameters: dict[nn.Module, int] = {}
    macs = 0.0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal macs
        parameters[module] = sum(p.numel() for p in module.parameters(recurse=False))
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor):
            macs += weight.numel() * (math.prod(output.shape[2:]) if isinstance(module, nn.Conv2d) else 1)

    hooks = [m.register_forward_hook(count) for m in net.modules() if next(m.children(), None) is None]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(parameters.values()) / 1e6, macs / 1e9


def example(entry: Published, side: int = SIDE, batch: int = 1) -> dict[str, Tensor]:
    """Inputs of that size without content, on torch's present device."""
    sizes = {"B": batch, "S": side}
    shapes = {name: [sizes.get(part) or int(part) for part in shape.split()] for name, shape in entry.inputs.items()}
    return {name: torch.empty(shape) for name, shape in shapes.items()}


def _row(network: str, entry: Published) -> Row:
    with torch.device("meta"):
        net, inputs = entry.build().eval(), example(entry)
        macs = count_macs(lambda: getattr(net, entry.counted)(**inputs))
    parameters = list(net.parameters())
    return Row(
        network,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=macs,
        published=entry.cost,
        remark=entry.remark,
    )


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _figure(number: float | None, unit: str) -> str:
    return "–" if number is None else f"{number:g}{unit}"


def _pair(millions: float | None, billions: float | None) -> str:
    return "–" if millions is None and billions is None else f"{_figure(millions, ' M')}, {_figure(billions, ' G')}"
