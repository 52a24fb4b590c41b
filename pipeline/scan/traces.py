"""Which of a pair's two images is the degraded one, by the traces that degradations leave.

What is measured of a pair knows no label; what it means for one of the ten words, for several of them, and for a word
of one's own is in three tables. Every rule has three answers, and none where a trace is faint: the pair is as it should
be, it looks exchanged, or nothing can be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patina.synth.compose import JOINT
from patina.synth.image import Image
from patina.synth.resampling import averaged

CHANGED = 12
"""Grey levels from which a pixel counts as changed."""

BLOCK = 8
"""Pixels of JPEG's blocks; grain is counted in such blocks too."""

LEAST_SHARPNESS = 0.5
"""Levels per pixel that are added to both: a blank page has none, and any dirt would make it infinitely sharper."""

LEAST_PIXELS = 96 * 96
"""Of a picture whose blocks are counted: fewer make no statistics."""

HOLES = 0.8
"""Share of the changed pixels that have one level, as in holes."""

QUARTER = 4
NEIGHBOURS = np.ones((3, 3), np.uint8)

Levels = NDArray[np.int16]


@dataclass(frozen=True)
class Traces:
    """What is measured of an LQ and its GT, by whole numbers rounded at the end.

    ratio              sharpness of the LQ over that of the GT.
    light              mean level of the LQ over that of the GT.
    changed, darker    share of pixels that differ, and share of these that are darker in the LQ.
    flat_lq, flat_gt   the largest share of the changed pixels that have one level of grey, of 32.
    alike              share of the pixels with details on both sides whose levels are equal, within 4; asked only where
                       either flat share is HOLES.
    grid_lq, grid_gt   steps at every eighth row and column over those elsewhere: 1 without a grid of blocks.
    grain_lq, grain_gt noise in levels: of the calmest tenth of all blocks.
    finer              share of blocks whose LQ has more of the finest details, less that of those with less.
    within             the finest details of the LQ over those of the GT, where both differ.
    edges              how steep the LQ is over how steep the GT is, along the borders of where they differ.
    gain_low, gain_high  as in `agreement.gains`.
    """

    ratio: float = 1.0
    light: float = 1.0
    changed: float = 0.0
    darker: float = 0.5
    flat_lq: float = 0.0
    flat_gt: float = 0.0
    alike: float = 0.0
    grid_lq: float = 1.0
    grid_gt: float = 1.0
    grain_lq: float = 0.0
    grain_gt: float = 0.0
    finer: float = 0.0
    within: float = 1.0
    edges: float = 1.0
    gain_low: float = 1.0
    gain_high: float = 1.0


@dataclass(frozen=True)
class _Look:
    """One image: grey levels, its sharpness, its grid of blocks, and per block the sum of its finest details."""

    grey: NDArray[np.uint8]
    sharpness: float
    grid: float
    blocks: NDArray[np.int32]


def measure(lq: Image, gt: Image, gains: tuple[float, float]) -> Traces:
    """Compare two H×W×3 RGB uint8 images of one size; `gains` as `agreement.gains` finds them."""
    one, other = _look(lq), _look(gt)
    differ = np.asarray(cv2.absdiff(one.grey, other.grey), np.uint8)
    changed = np.asarray(cv2.threshold(differ, CHANGED, 255, cv2.THRESH_BINARY)[1], np.uint8)  # 255 where they differ
    count = cv2.countNonZero(changed)
    darker = cv2.countNonZero(cv2.bitwise_and(changed, cv2.compare(one.grey, other.grey, cv2.CMP_LT)))
    flat_lq, flat_gt = _largest_share(one.grey, changed, count), _largest_share(other.grey, changed, count)
    return Traces(
        ratio=round((one.sharpness + LEAST_SHARPNESS) / (other.sharpness + LEAST_SHARPNESS), 4),
        light=round(_total(one.grey) / max(_total(other.grey), 1), 4),
        changed=round(count / changed.size, 4),
        darker=round(darker / count, 4) if count else 0.5,
        flat_lq=flat_lq,
        flat_gt=flat_gt,
        alike=_alike(one.grey, other.grey, differ) if max(flat_lq, flat_gt) >= HOLES else 0.0,
        **(_of_blocks(one, other, changed) if changed.size >= LEAST_PIXELS else {}),
        gain_low=gains[0],
        gain_high=gains[1],
    )


def _of_blocks(lq: _Look, gt: _Look, changed: NDArray[np.uint8]) -> dict[str, float]:
    """What takes many blocks to be measured."""
    return {
        "grid_lq": lq.grid,
        "grid_gt": gt.grid,
        "grain_lq": _grain(lq.blocks),
        "grain_gt": _grain(gt.blocks),
        "finer": _finer(lq.blocks, gt.blocks),
        "within": _within(lq.blocks, gt.blocks, changed),
        "edges": _edges(lq.grey, gt.grey),
    }


def _look(image: Image) -> _Look:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    wide = grey.astype(np.int16)
    across, down = np.diff(wide, axis=1), np.diff(wide, axis=0)
    corners = np.abs(np.diff(across, axis=0))  # a straight edge has none; grain has most
    across, down = np.abs(across), np.abs(down)
    sums = across.sum(0, dtype=np.int64), down.sum(1, dtype=np.int64)
    sharpness = sum(int(part.sum()) / max(whole.size, 1) for part, whole in zip(sums, (across, down), strict=True))
    return _Look(grey, sharpness, _grid(sums, grey.size), _block_sums(corners))


def _total(grey: NDArray[np.uint8]) -> int:
    return int(grey.sum(dtype=np.int64))


def _grid(sums: Sequence[NDArray[np.int64]], pixels: int) -> float:
    """The steps at the strongest of eight phases over the mean of the other seven. Half a level on top keeps
    smooth pictures, in which any step is a strong one, at 1."""
    phases = np.zeros(BLOCK, np.int64)
    for steps in sums:
        whole = len(steps) // BLOCK * BLOCK
        phases += steps[:whole].reshape(-1, BLOCK).sum(0)
    most, all_of_them = int(phases.max()), int(phases.sum())
    return round((7 * most + pixels // 2) / (all_of_them - most + pixels // 2), 4)


def _block_sums(values: Levels | NDArray[np.uint8]) -> NDArray[np.int32]:
    rows, columns = values.shape[0] // BLOCK, values.shape[1] // BLOCK
    whole = values[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns * BLOCK)
    return np.asarray(whole.sum(1, dtype=np.int32).reshape(rows, columns, BLOCK).sum(2, dtype=np.int32))


def _largest_share(grey: NDArray[np.uint8], changed: NDArray[np.uint8], count: int) -> float:
    if not count:
        return 0.0
    return round(int(cv2.calcHist([grey], [0], changed, [32], [0, 256]).max()) / count, 4)


def _steepness(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most that a pixel's neighbours differ by."""
    return np.asarray(cv2.subtract(cv2.dilate(grey, NEIGHBOURS), cv2.erode(grey, NEIGHBOURS)), np.uint8)


def _alike(lq: NDArray[np.uint8], gt: NDArray[np.uint8], differ: NDArray[np.uint8]) -> float:
    both = cv2.threshold(cv2.min(_steepness(lq), _steepness(gt)), 6, 255, cv2.THRESH_BINARY)[1]
    count = cv2.countNonZero(both)
    equal = cv2.bitwise_and(both, cv2.threshold(differ, 4, 255, cv2.THRESH_BINARY_INV)[1])
    return round(cv2.countNonZero(equal) / count, 4) if count else 0.0


def _grain(blocks: NDArray[np.int32]) -> float:
    """White noise of σ levels has corners of 1.6σ on average."""
    if not blocks.size:
        return 0.0
    calm = np.sort(blocks, axis=None)[blocks.size // 10]
    return round(int(calm) / (1.6 * BLOCK * BLOCK), 4)


def _finer(lq: NDArray[np.int32], gt: NDArray[np.int32]) -> float:
    """Blocks count where one has a third more than the other, and half a level a pixel."""
    if not lq.size:
        return 0.0
    least = BLOCK * BLOCK // 2
    more = int(((3 * lq > 4 * gt) & (lq - gt >= least)).sum())
    less = int(((3 * gt > 4 * lq) & (gt - lq >= least)).sum())
    return round((more - less) / lq.size, 4)


def _within(lq: NDArray[np.int32], gt: NDArray[np.int32], changed: NDArray[np.uint8]) -> float:
    """Over blocks half of whose pixels are changed; 1 where these are fewer than four."""
    inside = changed[: lq.shape[0] * BLOCK, : lq.shape[1] * BLOCK]
    most = _block_sums(inside) * 2 >= 255 * BLOCK * BLOCK
    if int(most.sum()) < 4:
        return 1.0
    return round((int(lq[most].sum()) + 1) / (int(gt[most].sum()) + 1), 4)


def _edges(lq: NDArray[np.uint8], gt: NDArray[np.uint8]) -> float:
    """Where something lies before the scene, it ends: the image that it is in has an edge there. At a quarter of the
    size, since drops end softly."""
    if min(lq.shape) < 4 * QUARTER:
        return 1.0
    one, other = averaged(lq, QUARTER), averaged(gt, QUARTER)
    differ = (cv2.absdiff(one, other) > CHANGED).astype(np.uint8)
    closed = cv2.morphologyEx(differ, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    regions = cv2.morphologyEx(closed, cv2.MORPH_OPEN, NEIGHBOURS)
    border = _steepness(np.asarray(regions, np.uint8)) > 0
    if int(border.sum()) < 16:
        return 1.0
    sums = [int(_steepness(grey)[border].sum(dtype=np.int64)) + 1 for grey in (one, other)]
    return round(sums[0] / sums[1], 4)


# ---------------------------------------------------------------------------------------------------------------------
# What the traces mean: above 0 the pair is as it should be, below 0 it looks exchanged, 0 tells nothing

Rule = Callable[[Traces], int]

CLEAR = 1.1
"""A tenth more or less of sharpness: pairs that hardly differ tell nothing."""

CLEAR_EDGE = 1.4
"""How much steeper one image is along the borders of drops, which only those who have them are."""

ONE_LEVEL = 0.7
"""Share of the changed pixels that have one level in the GT: a white page, which nothing can make brighter."""


def _sign(right: bool, exchanged: bool) -> int:
    return int(right) - int(exchanged)


def _blunted(t: Traces) -> int:
    """Blur takes sharpness, noise apart: as far as both share their details, and altogether."""
    return _sign(t.ratio < 1 / CLEAR, t.ratio > CLEAR)


def _veiled(t: Traces) -> int:
    """Haze takes contrast and adds light. A bright sky keeps the mean where it was, so contrast alone tells that a pair
    is right, and both together that it is not."""
    shown = t.changed >= 0.02 and t.flat_gt < ONE_LEVEL
    return _sign(t.ratio < 1 / CLEAR, t.ratio > CLEAR and t.light < 1 and shown)


def _darkened(t: Traces) -> int:
    """Little light: noise may make the darker image the sharper one, so that sharpness tells nothing."""
    return _sign(t.light < 1 / CLEAR, t.light > CLEAR and t.changed >= 0.1)


def _grainy(t: Traces) -> int:
    """Noise adds to sharpness."""
    return _sign(t.ratio > CLEAR, t.ratio < 1 / CLEAR)


def _grained(t: Traces) -> int:
    """Noise in what another degradation has made smoother or sharper: in the calmest parts alone."""
    return _sign(t.grain_lq >= 1.5 * t.grain_gt + 1, t.grain_gt >= 1.5 * t.grain_lq + 1)


def _brightened(t: Traces) -> int:
    """Rain and snow, and haze with them, add light; their veil takes as much contrast as streaks and flakes add."""
    if t.changed < 0.02:
        return 0
    darker = t.darker >= 0.75 and (t.light < 0.8 or (t.light < 1 and t.ratio < 1 / CLEAR))
    return _sign(t.darker <= 0.25 and t.light > 1, darker and t.flat_gt < ONE_LEVEL)


def _lifted(t: Traces) -> int:
    """Of several that add light, where sharpness may go either way."""
    if t.changed < 0.05:
        return 0
    darker = t.darker >= 0.75 and t.light < 1 / 1.05
    return _sign(t.darker <= 0.25 and t.light > 1.05, darker and t.flat_gt < ONE_LEVEL)


def _gridded(t: Traces) -> int:
    """JPEG leaves the grid of its blocks."""
    most, least = max(t.grid_lq, t.grid_gt), min(t.grid_lq, t.grid_gt)
    if most < 1.2 or most < 1.15 * least:
        return 0
    return _sign(t.grid_lq > t.grid_gt, t.grid_gt > t.grid_lq and t.grid_lq < 1.2)


def _blocky(t: Traces) -> int:
    """A codec's grid; WebP, which smooths its own, takes the finest details, and both take them from blocks. A clean
    image may be a JPEG file itself, and a fine one of it hardly differs: then nothing tells."""
    found = _gridded(t)
    if found or t.grid_lq == t.grid_gt:
        return found
    if t.grid_lq > t.grid_gt:
        return int(t.finer <= -0.25 and t.ratio < 1)
    return -int(t.finer >= 0.5 and t.ratio > 1.2 and t.changed >= 0.02 and t.flat_gt < ONE_LEVEL)


def _noisy_and_blocky(t: Traces) -> int:
    """A codec may take weak noise away again, and noise hides blocks: so noise that is missing tells nothing."""
    grid, grain = _gridded(t), _grained(t)
    return _verdict([grid, grain]) if grid else max(grain, 0)


def _shaded(t: Traces) -> int:
    """A shadow darkens what it changes."""
    return _sign(t.darker >= 0.75, t.darker <= 0.25) if t.changed >= 0.01 else 0


def _dropped(t: Traces) -> int:
    """Drops on the glass have an edge, and most are out of focus, so that what they change is blurrier. A sharp one has
    a small picture in it: more details tell nothing, unless both images share them, as no such picture is in the GT.

    A clear edge in the GT alone outweighs that it has more details there, unless it has them nearly everywhere: then
    the LQ was blurred beside its drops.
    """
    if t.changed < 0.01:
        return 0
    is_shared = 0.9 <= t.gain_high < 1.15
    if t.edges <= 1 / CLEAR_EDGE and t.finer > -0.75 and is_shared:
        return -1
    is_sharper = t.within > 1 / 0.7 and t.finer > 0 and is_shared and t.edges <= 1
    blurrier = _sign(t.within < 0.7 and t.finer <= 0, is_sharper)
    return _verdict([blurrier, _sign(t.edges >= 1.15, t.edges <= 1 / 1.2)])


def _holed(t: Traces) -> int:
    """A hole has one colour, and what was there had several."""
    if t.changed < 0.005:
        return 0
    return _sign(t.flat_lq >= 0.9 and t.flat_gt < 0.8, t.flat_gt >= 0.9 and t.flat_lq < 0.8)


def _darkened_in_haze(t: Traces) -> int:
    """Where air or flakes are lit too, a dark image may become the brighter one; it has less contrast then."""
    return _sign(t.light < 1 / CLEAR, t.light > CLEAR and t.ratio > CLEAR)


def _enlarged(t: Traces) -> int:
    """What was enlarged lacks the finest details; pixels drawn as squares have edges of their own, so that only what
    both images share tells anything."""
    return _sign(t.gain_high < 0.9, t.gain_low > CLEAR and t.gain_high > 1.5)


def _any(t: Traces) -> int:
    """For a word that says nothing: traces that hardly anything but a degradation leaves, and only strong ones. Where
    two of them contradict each other, none counts."""
    kept = t.gain_high >= 0.9  # or else the LQ may be a blurred copy of a GT that has grain or a grid itself
    calm_lq, calm_gt = t.grain_gt >= 3 * t.grain_lq, t.grain_lq >= 3 * t.grain_gt
    even = 0.8 < t.gain_low <= t.gain_high < 1.25
    signs = [
        _sign(t.grain_lq >= 6 and calm_gt, t.grain_gt >= 6 and calm_lq and kept),
        _sign(t.grid_lq >= 1.5 and t.grid_gt < 1.2, t.grid_gt >= 1.5 and t.grid_lq < 1.2 and kept and t.grain_lq < 3),
        _sign(t.gain_high <= 1 / 1.5, t.gain_low >= 1.5),
        _sign(t.light <= 0.25, t.light >= 4),
        _sign(t.ratio <= 0.4 and t.light > 1, t.ratio >= 2.5 and t.light < 0.9 and even),
    ]
    return _verdict(signs)


def _verdict(signs: Sequence[int]) -> int:
    """What the signs that tell something agree upon; 0 if they do not."""
    told = {sign for sign in signs if sign}
    return told.pop() if len(told) == 1 else 0


OF_WORDS: Mapping[str, Rule] = {
    "motion-blurry": _blunted,
    "hazy": _veiled,
    "jpeg-compressed": _blocky,
    "low-light": _darkened,
    "noisy": _grainy,
    "raindrop": _dropped,
    "rainy": _brightened,
    "shadowed": _shaded,
    "snowy": _brightened,
    "uncompleted": _holed,
}
"""What tells of each of the ten words."""

LIT = frozenset({"hazy", "rainy", "snowy"})
"""They add light of their own."""

OF_OWN_WORDS: Sequence[tuple[str, Rule]] = (
    (r"sharpen|bokeh|moire|alias|ringing|halo|hdr|pixel|mosaic|contrast", lambda t: 0),
    (r"super-?res|low-?res|\bdown-?s|\bup-?s|bicubic|enlarg", _enlarged),
    (r"rain-?drop|\bdrop", _dropped),
    (r"inpaint|\bhole|mask|missing|complete|scratch", _holed),
    (r"jpe?g|webp|compress", _blocky),
    (r"nois|\bgrain|speckle", _grainy),
    (r"blur|focus|\bshak", _blunted),
    (r"\bhaz|fog|\bmist|\bsmo[gk]|\bdust|\bsand|under-?water", _veiled),
    (r"dark|night|low-?light|under-?exp", _darkened),
    (r"shadow", _shaded),
    (r"\brain|\bsnow", _brightened),
    (r"flare|\bglare|\bfad(e|ed|ing)\b|\baged\b", _lifted),
)
"""What tells of words of one's own, by patterns searched in them; the first line that fits counts. What the first line
names may make an image sharper or not, so that nothing tells."""


def sense(label: str, traces: Traces) -> int:
    """What the traces say of a pair with this label, one word or several joined by `+`: 1 that its LQ is the degraded
    one, -1 that both look exchanged, 0 nothing."""
    return _verdict([rule(traces) for rule in _rules(label.split(JOINT))])


def _rules(words: Sequence[str]) -> list[Rule]:
    """What tells of several degradations in one image, in whatever order they are named: a hole hides whatever else was
    there, what comes late in the light's way covers what comes early, and little light covers all but a codec's blocks.
    """
    if len(words) == 1:
        return [OF_WORDS.get(words[0]) or _own_rule(words[0])]
    have = set(words)
    if not have <= OF_WORDS.keys():
        return [_any]
    if "uncompleted" in have:
        return [_holed]
    codec: list[Rule] = [_gridded] if "jpeg-compressed" in have else []
    if "low-light" in have:
        return [_darkened_in_haze if have & LIT else _darkened, *codec]
    if "noisy" in have:
        return [_noisy_and_blocky if codec else _grained]
    return codec or _early_rules(have)


def _early_rules(have: set[str]) -> list[Rule]:
    """Of several degradations that neither the sensor nor a codec makes."""
    if have & LIT:
        return [] if "shadowed" in have else [_lifted]
    if "raindrop" in have:
        return [_dropped]  # its edges are sharp where all else is blurred
    return [OF_WORDS[word] for word in ("motion-blurry", "shadowed") if word in have]


def _own_rule(word: str) -> Rule:
    return next((rule for pattern, rule in OF_OWN_WORDS if re.search(pattern, word)), _any)


def says_nothing(label: str) -> bool:
    """Whether a label tells nothing of what was done, so that only strong traces count."""
    return _rules(label.split(JOINT)) == [_any]
