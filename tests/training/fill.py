"""Deterministic weights and inputs, from names and shapes alone.

Any implementation can rebuild the weights under which the golden outputs were
made, with nothing but a state-dict's key names (the *official* names listed in
``*.keys.json``) and shapes.  Only integer arithmetic on 64-bit words is used, so
the numbers do not depend on a random generator of some library.

    u(name)[i]  in [0, 1)   i = flat index in C order
    s(name)[i] = 2 u - 1    in [-1, 1)

``u`` is the splitmix64 finaliser applied to the word (crc32(name) << 32) + i.
All arithmetic is float64, rounded once to float32 at the end.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

_C0 = np.uint64(0x9E3779B97F4A7C15)
_C1 = np.uint64(0xBF58476D1CE4E5B9)
_C2 = np.uint64(0x94D049BB133111EB)


def unit(name: str, shape: Iterable[int]) -> np.ndarray:
    """float64 numbers in [0, 1) that depend on `name` and the flat index only."""
    shape = tuple(int(n) for n in shape)
    count = int(np.prod(shape)) if shape else 1
    seed = zlib.crc32(name.encode("utf-8"))
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))
        z += _C0
        z = (z ^ (z >> np.uint64(30))) * _C1
        z = (z ^ (z >> np.uint64(27))) * _C2
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def signed(name: str, shape: Iterable[int]) -> np.ndarray:
    """float64 numbers in [-1, 1)."""
    return 2.0 * unit(name, shape) - 1.0


def normal(name: str, shape: Iterable[int]) -> np.ndarray:
    """float64 standard normal numbers (Box-Muller over two streams)."""
    a = 1.0 - unit(name + "#a", shape)  # (0, 1]
    b = unit(name + "#b", shape)
    return np.sqrt(-2.0 * np.log(a)) * np.cos(2.0 * math.pi * b)


def _gain(key: str, shape: tuple[int, ...]) -> float:
    # Places where gain 1 would hide what comes before them: linear attention divides
    # its values by height * width, the prompts are weighted by a softmax, and an
    # attention over channels averages its values.
    if key.endswith("to_out.0.weight") and len(shape) == 4:
        return 256.0
    if key.endswith("prompt_mlp.weight"):
        return 64.0
    if key.endswith("text_mlp.2.weight"):
        return 4.0
    if key.endswith(".gradient_descent.linear.weight"):
        return 4.0
    if key.endswith(".gradient_descent.phi.project_out.weight"):
        return 2.0
    return 1.0


def weight(key: str, shape: Iterable[int]) -> np.ndarray:
    """The float32 value of the parameter `key` (official name) of that shape."""
    shape = tuple(int(n) for n in shape)
    s = signed(key, shape)
    last = key.rsplit(".", 1)[-1]
    if len(shape) == 0:  # temperatures of CLIP
        v = math.log(1.0 / 0.07) + 0.1 * s
    elif last == "g" or (last == "weight" and len(shape) == 1):  # gain of a norm
        v = 1.0 + 0.2 * s
    elif key.endswith(".gradient_descent.linear.bias"):  # scores of the prompts
        v = 2.0 * s
    elif last.endswith("bias"):
        v = 0.1 * s
    elif last == "temperature":  # attention over channels
        v = 10.0 + 4.0 * s if ".gradient_descent." in key else 4.0 + 1.6 * s
    elif last == "r":
        v = 0.8 + 0.16 * s
    elif last in ("beta", "gamma"):
        v = 0.3 + 0.1 * s
    elif last in ("prompt", "prompt_param"):
        v = 0.5 + 0.5 * s
    elif len(shape) == 1:  # class embedding
        v = 0.5 * s
    else:  # matrices, kernels, embeddings
        fan_in = int(np.prod(shape)) // shape[0]
        v = _gain(key, shape) * math.sqrt(3.0 / fan_in) * s
    return np.asarray(v, dtype=np.float32)


def fill(shapes: Mapping[str, Iterable[int]], alias: Callable[[str], str] | None = None) -> dict[str, np.ndarray]:
    """Weights of a whole state dict.

    `shapes`: key -> shape.  `alias(key)` names the key whose value is used
    instead (two names of one and the same parameter); None: every key is its own.
    """
    return {k: weight(alias(k) if alias else k, v) for k, v in shapes.items()}


def daclip_alias(key: str) -> str:
    """The frozen image tower is listed twice in an official DA-CLIP checkpoint."""
    return "clip." + key if key.startswith("visual.") else key


def load_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v) for k, v in json.loads(path.read_text("utf-8"))["keys"].items()}


# ---------------------------------------------------------------- inputs
def image(name: str, shape: Iterable[int]) -> np.ndarray:
    """float32 in [0, 1)."""
    return unit(name, shape).astype(np.float32)


def context(name: str, shape: Iterable[int], scale: float = 0.5) -> np.ndarray:
    """float32 normal numbers of that scale (CLIP features have about 0.45)."""
    return (scale * normal(name, shape)).astype(np.float32)


def gauss(name: str, shape: Iterable[int]) -> np.ndarray:
    return normal(name, shape).astype(np.float32)


def tokens(name: str, rows: int, length: int = 77, vocab: int = 49408) -> np.ndarray:
    """int64 token rows: start, some words, end, zeros (as the CLIP tokenizer pads)."""
    out = np.zeros((rows, length), dtype=np.int64)
    for r in range(rows):
        n = 3 + int(unit(f"{name}.{r}.n", (1,))[0] * 12)
        w = (unit(f"{name}.{r}", (n,)) * (vocab - 2 - 1)).astype(np.int64) + 1
        out[r, 0] = vocab - 2
        out[r, 1 : 1 + n] = w
        out[r, 1 + n] = vocab - 1
    return out


def uint8_image(name: str, height: int, width: int) -> np.ndarray:
    """A structured H x W x 3 uint8 picture (waves, an edge and noise)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    ph = unit(name + ".phase", (3, 4)) * 2 * math.pi
    fr = 0.01 + 0.12 * unit(name + ".freq", (3, 4))
    out = np.empty((height, width, 3), dtype=np.float64)
    for c in range(3):
        wave = (
            np.sin(fr[c, 0] * x + ph[c, 0])
            + np.sin(fr[c, 1] * y + ph[c, 1])
            + np.sin(fr[c, 2] * (x + y) + ph[c, 2])
            + np.sin(fr[c, 3] * (x - y) + ph[c, 3])
        )
        out[..., c] = 127.5 + 25.0 * wave
    out[(x > width // 2) & (y > height // 3)] += 40.0
    out += 24.0 * signed(name + ".noise", (height, width, 3))
    return np.clip(np.floor(out + 0.5), 0, 255).astype(np.uint8)
