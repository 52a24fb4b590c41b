"""Silhouettes of what stands between the sun and a scene: foliage, a person, a pole, a building, blinds.

Each is made of polygons in a plane across the sun's rays: x to the right, y from the foot, at 0, upwards; a picture's
short side is 1. Whoever throws their shadow stretches, turns and flattens them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from patina.synth.elementary import cosine, distance, interpolated, sine
from patina.synth.rng import Rng

Points = NDArray[np.float64]
"""…×2, x and y."""


FAR = 11.0
"""What has no end that a picture could show reaches this far, in short sides."""


@dataclass(frozen=True)
class Layer:
    """Blocks of polygons, N×V×2, and how soft their shadow is at y = 0 and from `top`, as shares of the softest."""

    polygons: list[Points]
    near: float
    far: float
    top: float = 1.0


@dataclass(frozen=True)
class Occluder:
    """What throws a shadow.

    outside  points that no picture shows: its foot, because it does not stand in the picture itself.
    inside   points that every picture shows, so that what it is can be told.
    turn     how far, either way, its shadow may turn from upright, radians.
    thickness  what fine drawing leaves of the shadow that a coarse one has, about.
    is_long  whether its shadow leaves the picture lengthwise, so that its area goes with its width alone.
    """

    layers: list[Layer]
    outside: list[tuple[float, float]] = field(default_factory=list)
    inside: list[tuple[float, float]] = field(default_factory=list)
    turn: float = math.pi
    thickness: float = 1.0
    is_long: bool = False


def foliage(rng: Rng) -> Occluder:
    """A crown of boughs, twigs and leaves. Boughs are at three heights, so shadows of three softnesses overlap."""
    leaf, slim, thick = rng.log_uniform(0.028, 0.07), rng.uniform(0.35, 0.65), rng.uniform(1.1, 2.6)
    layers: list[list[Points]] = [[], [], []]
    boughs = rng.integer(8, 11)
    for i in range(boughs):
        heading = math.radians(-80 + 160 * (i + rng.uniform(-0.4, 0.4)) / (boughs - 1))
        layers[i % 3] += _bough(rng, heading, rng.uniform(0.9, 1.5), leaf, slim, thick)
    return Occluder(
        [Layer(p, soft, soft) for p, soft in zip(layers, (0.12, 0.4, 1.0), strict=True)],
        outside=[(0, 0)],
        thickness=0.7,
    )


def _bough(rng: Rng, heading: float, length: float, leaf: float, slim: float, thick: float) -> list[Points]:
    """A curving branch from the origin, twigs on both sides of it, and leaves along them: three blocks of polygons."""
    spine = _paths(rng, np.zeros((1, 2)), np.array([heading]), np.array([length]), 9, 0.16)
    count = 20
    chance = rng.uniforms(3 * count).reshape(3, count)
    place = np.linspace(0.12, 1, count)
    roots = _at(spine[0], place)
    leans = heading + np.where(np.arange(count) % 2, 1, -1) * (0.35 + 0.85 * chance[0])
    reaches = length * (0.12 + 0.2 * chance[1]) * (1.15 - 0.7 * place)
    twigs = _paths(rng, roots, leans, reaches, 4, 0.25)
    leaves = round(float(reaches.sum()) / leaf * thick)
    chance = rng.uniforms(5 * leaves).reshape(5, leaves)
    # Each leaf has its twig, the longer the likelier.
    twig = np.searchsorted(np.cumsum(reaches) / reaches.sum(), chance[0]).clip(0, count - 1)
    where = 4 * (0.1 + 0.9 * chance[1])
    before = np.minimum(where.astype(int), 3)
    part = (where - before)[:, None]
    stems = twigs[twig, before] * (1 - part) + twigs[twig, before + 1] * part
    side = np.where(chance[2] < 0.5, 1, -1) * (0.2 + np.abs(2 * chance[2] - 1))
    long = leaf * (0.6 + 0.7 * chance[3])
    wide = long * slim * np.abs(cosine(2.8 * (chance[4] - 0.5)))  # it may be seen from its edge
    shape = np.array([[0.1, 0], [0.3, 0.42], [0.5, 0.5], [0.75, 0.3], [1, 0], [0.75, -0.3], [0.5, -0.5], [0.3, -0.42]])
    angle = (leans[twig] + side)[:, None]
    x, y = shape[:, 1] * wide[:, None], shape[:, 0] * long[:, None]
    across, along = sine(angle), cosine(angle)
    blades = stems[:, None] + np.stack([x * along + y * across, y * along - x * across], -1)
    return [_strokes(spine, 0.013 * length, 0.003), _strokes(twigs, 0.004, 0.0015), blades]


def person(rng: Rng) -> Occluder:
    """A grown-up of seven and a half heads who stands, walks or takes the photograph."""
    height, slim = rng.uniform(0.6, 1.0), rng.uniform(0.8, 1.05)
    stride, lean, ahead = rng.uniform(0.0, 0.11), rng.uniform(-0.03, 0.03), rng.choice([-1, 1])
    side = [(0.03, 0.9), (0.033, 0.855), (0.07, 0.838), (0.12, 0.815), (0.128, 0.76), (0.112, 0.68), (0.095, 0.61)]
    side += [(0.1, 0.53), (0.103, 0.46), (0.05, 0.43)]
    trunk = np.array(side + [(-x, y) for x, y in reversed(side)]) * (slim, 1)
    parts = [_ellipse(lean * 0.5, 0.932, 0.044, 0.064), _rounded(trunk)]
    hair = rng.uniform()
    if hair < 0.4:
        parts.append(_ellipse(lean * 0.5, 0.935 - 0.08 * hair, 0.053, 0.066))
    elif hair < 0.6:  # a hat
        parts += [_ellipse(lean * 0.5, 0.965, 0.095, 0.014), _ellipse(lean * 0.5, 0.985, 0.052, 0.032)]
    for leg in (-1, 1):
        ankle = leg * (0.035 + stride)
        knee = (leg * 0.05 + 0.5 * leg * stride + ahead * 0.25 * stride, 0.26)
        parts += _limb([(leg * 0.052 * slim, 0.47), knee, (ankle, 0.04)], [0.054 * slim, 0.04, 0.024])
        parts.append(_ellipse(ankle + ahead * 0.022, 0.018, 0.045, 0.018))
    pose = rng.uniform()
    for arm in (-1, 1):
        shoulder, bend = (arm * 0.1 * slim, 0.793), rng.uniform(0.0, 0.05)
        if pose < 0.3:  # both hands at the face: the photographer
            elbow, hand = (arm * (0.165 + bend), 0.72), (arm * 0.05, 0.885)
        elif pose < 0.45:  # a hand on the hip
            elbow, hand = (arm * (0.2 + bend), 0.64), (arm * 0.1, 0.53)
        else:
            swing = arm * ahead * stride
            elbow, hand = (arm * (0.132 + bend) * slim, 0.63), (arm * (0.135 + 1.6 * bend) * slim + swing, 0.475)
        parts += _limb([shoulder, elbow, hand], [0.033, 0.026, 0.019])
    dress = rng.uniform()
    if dress < 0.3:  # a coat or a skirt
        hem = rng.uniform(0.22, 0.38)
        skirt = [(0.088, 0.58), (0.105, 0.5), (0.14, hem), (-0.14, hem), (-0.105, 0.5), (-0.088, 0.58)]
        parts.append(_rounded(np.array(skirt)))
    elif dress < 0.5:  # a bag
        parts.append(_rounded(np.array([(0.11, 0.56), (0.2, 0.57), (0.215, 0.42), (0.1, 0.41)])))
    polygons = [part * height for part in parts]
    return Occluder(
        [Layer(polygons, 0.1, 1, height)], outside=[(0, 0.05)], inside=[(0, 0.93 * height)], turn=0.9, thickness=0.93
    )


def pole(rng: Rng) -> Occluder:
    """A lamp, a sign or a mast with wires, longer than the picture is wide."""
    height, wide = rng.uniform(1.2, 1.8), rng.uniform(0.016, 0.036)
    parts = [_quad((0, 0), (0, height), wide, 0.6 * wide)]
    kind = rng.integer(0, 2)
    if kind == 0:
        arm = rng.choice([-1, 1]) * rng.uniform(0.15, 0.35)
        parts += _limb([(0, 0.96 * height), (0.4 * arm, 1.005 * height), (arm, 1.01 * height)], [wide * 0.45] * 3)
        parts.append(_ellipse(1.2 * arm, 1.005 * height, 0.085, 0.026))
    elif kind == 1:
        size, corners = rng.uniform(0.11, 0.16), rng.choice([3, 4, 8, 40])
        angles = math.pi / corners + 2 * math.pi * np.arange(corners) / corners
        parts.append((np.stack([sine(angles), cosine(angles)], -1) * size + (0, height - size))[None])
    else:
        for level in (0.94, 0.86):
            half, y = rng.uniform(0.16, 0.24), level * height
            parts.append(_quad((-half, y), (half, y), 0.012, 0.012))
            for x in (-0.92 * half, -0.5 * half, 0.5 * half, 0.92 * half):
                parts.append(_quad((x, y), (x, y + 0.035), 0.008, 0.006))
                # Wires hang between masts; from here to either next, as far as any picture sees.
                across = np.linspace(-7, 7, 41)
                near = 1 - np.abs(across) / 7
                hang = y + 0.035 - 0.35 * (1 - near * near)
                parts.append(_strokes(np.stack([across + x, hang], -1)[None], 0.0022, 0.0022))
    return Occluder(
        [Layer(parts, 0.08, 1, height)],
        outside=[(0, 0)],
        inside=[(0, 0.8 * height)],
        turn=1.5,
        thickness=0.8,
        is_long=True,
    )


def building(rng: Rng) -> Occluder:
    """A roof's edge: flat, gabled or in steps, with chimneys and aerials. Its foot is far below."""
    corners, x, y = [(-FAR, -FAR), (-FAR, 0.0)], -FAR, 0.0
    parts: list[Points] = []
    while x < FAR:
        wide = rng.uniform(0.7, 2.0)
        y = min(max(y + rng.choice([-1, 1]) * rng.uniform(0.08, 0.35), -0.5), 0.5)
        gable = wide * rng.uniform(0.2, 0.4) if rng.uniform() < 0.35 and wide < 1.4 else 0.0
        corners += [(x, y), (x + wide / 2, y + gable), (x + wide, y)]
        for _ in range(rng.integer(0, 2)):
            share, thick, tall = rng.uniform(0.1, 0.9), rng.uniform(0.025, 0.05), rng.uniform(0.08, 0.16)
            foot = (x + share * wide, y + gable * (1 - abs(2 * share - 1)) - 0.05)
            if rng.uniform() < 0.3:
                thick, tall = 0.005, 2 * tall
            parts.append(_quad(foot, (foot[0], foot[1] + 0.05 + tall), thick, thick))
        x += wide
    corners += [(x, -FAR)]
    return Occluder([Layer([np.array(corners)[None], *parts], 0.6, 1.0, 0.5)])


def blinds(rng: Rng) -> Occluder:
    """Slats with their cords, or a railing's bars with its posts, over all of the picture."""
    pitch = rng.uniform(0.07, 0.17)
    thick = pitch * rng.uniform(0.15, 0.45) / 2
    place = np.arange(-FAR, FAR, pitch)
    bend = pitch * 0.04 * (rng.uniforms(len(place)) - 0.5)
    far = np.full(len(place), FAR)
    slats = np.stack([np.stack([-far, place + bend], -1), np.stack([far, place - bend], -1)], 1)
    gap, cord = rng.uniform(0.7, 1.3), rng.choice([0.002, 0.004, 0.016])
    cords = [[(x, -FAR), (x, FAR)] for x in np.arange(-FAR, FAR, gap)]
    parts = [_strokes(slats, thick, thick), _strokes(np.array(cords), cord, cord)]
    return Occluder([Layer(parts, 0.25, 1.0, 2.0)])


KINDS: dict[str, Callable[[Rng], Occluder]] = {
    "foliage": foliage,
    "person": person,
    "pole": pole,
    "building": building,
    "blinds": blinds,
}


def _paths(rng: Rng, starts: Points, headings: Points, lengths: Points, steps: int, wander: float) -> Points:
    """Wandering lines, N×(steps + 1)×2, from N×2 starts; heading 0 is along y and grows towards x."""
    turns = (rng.uniforms(len(starts) * steps).reshape(-1, steps) - 0.5) * 2 * wander
    angles = headings[:, None] + np.cumsum(turns, axis=1)
    moves = np.stack([sine(angles), cosine(angles)], -1) * (lengths / steps)[:, None, None]
    return np.concatenate([starts[:, None], starts[:, None] + np.cumsum(moves, axis=1)], axis=1)


def _at(path: Points, places: Points) -> Points:
    """Points at shares 0..1 of a path, P×2."""
    ends = np.linspace(0, 1, len(path))
    return np.stack([interpolated(places, ends, path[:, 0]), interpolated(places, ends, path[:, 1])], -1)


def _strokes(paths: Points, first: float, last: float) -> Points:
    """Lines N×V×2 as polygons N×2V×2, of a half width that runs from `first` to `last`."""
    along = np.gradient(paths, axis=1)
    along /= distance(along[..., :1], along[..., 1:])
    side = np.stack([along[..., 1], -along[..., 0]], -1) * np.linspace(first, last, paths.shape[1])[:, None]
    return np.concatenate([paths + side, (paths - side)[:, ::-1]], axis=1)


def _quad(start: tuple[float, float], end: tuple[float, float], first: float, last: float) -> Points:
    return _strokes(np.array([[start, end]]), first, last)


def _limb(joints: Sequence[tuple[float, float]], widths: Sequence[float]) -> list[Points]:
    """An arm or a leg: two straight parts between three joints with these half widths, all round."""
    parts = [_ellipse(x, y, wide, wide) for (x, y), wide in zip(joints, widths, strict=True)]
    return parts + [_quad(joints[i], joints[i + 1], widths[i], widths[i + 1]) for i in (0, 1)]


def _ellipse(x: float, y: float, wide: float, high: float) -> Points:
    right, up = _circle()
    return np.stack([x + wide * right, y + high * up], -1)[None]


@cache
def _circle() -> Points:
    """28 points of a circle, x and y."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([cosine(angles), sine(angles)])


def _rounded(corners: Points) -> Points:
    """A polygon with its corners cut off thrice, each time at a quarter of its sides (Chaikin)."""
    for _ in range(3):
        after = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * after, 0.25 * corners + 0.75 * after], 1).reshape(-1, 2)
    return corners[None]
