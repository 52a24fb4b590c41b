"""Strips of degraded, restored and clean pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from patina.training.images import Pixels


def save_strips(strips: list[Pixels], path: Path) -> None:
    """Strips under one another, narrower ones filled with white on the right."""
    if not strips:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    width = max(strip.shape[1] for strip in strips)
    rows = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
