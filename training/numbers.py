"""Numbers and texts out of JSON that may be damaged, and numbers for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Row: TypeAlias = Mapping[str, Any]


def read_object(path: Path, troubles: list[str]) -> dict[str, Any]:
    """The object in a file; an empty one, and a trouble, where there is none."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        troubles.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(table, dict):
        troubles.append(f"{path.name} holds {type(table).__name__}; expected an object")
        return {}
    return table


def as_number(value: object) -> float | None:
    """A number, also infinite or NaN; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_texts(value: object) -> list[str]:
    """A list's texts, or none."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def compact(value: float, digits: int = 4) -> str:
    """A number of so many digits: 0.03124, 12,345, 2e-4."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if abs(value) >= 1e-3 or value == 0:
        return f"{value:.{digits}g}".replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return mantissa.rstrip("0").rstrip(".").replace("-", "−") + f"e{int(power)}"


def decibels(value: float) -> str:
    """A value in dB with two digits."""
    return f"{value:.2f}" if math.isfinite(value) else compact(value)


def signed(value: float) -> str:
    """A difference with its sign and two digits."""
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else compact(value)


def thousandths(value: float) -> str:
    """A number with three digits."""
    return f"{value:.3f}" if math.isfinite(value) else compact(value)


def percent(value: float) -> str:
    """A share of one as per cent."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else compact(value)
