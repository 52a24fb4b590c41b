"""Tables for compiled loops that mix 8-bit levels with light and make levels of it again."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from patina.synth.image import level_light, to_encoded_levels


@cache
def level_tables() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The linear light of each of the 256 levels; and levels of light, 65536 for 0..1, as `to_encoded_levels` has them.
    Read-only."""
    levels = to_encoded_levels((np.arange(65536) / 65535).astype(np.float32))
    levels.setflags(write=False)
    return level_light(), levels
