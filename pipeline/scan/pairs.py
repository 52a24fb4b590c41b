"""Whether two images are a pair: equal sizes, one scene in one place, in the same colours, the degraded one where it
belongs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

import cv2

from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError, SourceError
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan import agreement
from patina.pipeline.scan.agreement import Likeness, Scale
from patina.pipeline.scan.digests import inspector_id
from patina.pipeline.scan.reading import SourceChangedError, load_clean, read_verified
from patina.pipeline.scan.shifts import find_shift
from patina.pipeline.scan.source import Source, display_name
from patina.pipeline.scan.traces import Traces, measure, says_nothing, sense
from patina.pipeline.sources.preset import FromPreset
from patina.pipeline.sources.reader import Reader
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.synth.image import Image

COMPARISON = 2
"""Raised when pairs are compared in another way, so that all are compared again."""

EQUAL = "its two images are equal, pixel for pixel"
NEARLY_EQUAL = "its two images hardly differ, by one level at the most"
EXCHANGED_COLOURS = "red and blue are exchanged between its two images"
CLEANER = "its degraded image looks like the cleaner one of the two"

ALIKE = 0.3
"""Share of pixels outside of holes of one colour that are equal, from which the scene is the same: of other scenes a
tenth are, and of true pairs half."""

NOTED = 100
"""Pairs of one source that are named for one reason; the rest are counted."""

SWAPPED = {
    "pairs": "are the folders `lq` and `gt` swapped?",
    "list": "are its columns swapped? Lines are LQ,GT, the degraded image first.",
}
"""What to ask where most pairs look exchanged, by the kind of the source."""


@dataclass(frozen=True)
class PairCheck:
    """What the comparison of an LQ with its GT found; `problem` if they cannot be a pair.

    notes             what is odd about them, whatever their label.
    shift_x, shift_y  pixels by which the LQ lies to the right of and below the GT; 0 where it cannot be told.
    traces            what tells which of the two is the degraded one.
    """

    problem: str = ""
    notes: tuple[str, ...] = ()
    shift_x: float = 0.0
    shift_y: float = 0.0
    traces: Traces = field(default_factory=Traces)

    @property
    def ratio(self) -> float:
        """Sharpness of the LQ over that of the GT."""
        return self.traces.ratio


def check_pair(lq: Image, gt: Image) -> PairCheck:
    """Compare two RGB uint8 images that are said to be a pair."""
    if lq.shape != gt.shape:
        return PairCheck(_unequal(lq, gt))
    most = int(cv2.absdiff(lq, gt).max())
    if most <= 1:
        return PairCheck(notes=(NEARLY_EQUAL if most else EQUAL,))
    degraded, clean = agreement.scales(lq), agreement.scales(gt)
    own = agreement.likenesses(degraded, clean)
    traces = measure(lq, gt, agreement.gains(degraded, clean))
    turn = agreement.turned(degraded, clean, own)
    if turn:
        return PairCheck(_turned(turn), traces=traces)
    shift = find_shift(lq, gt, agreement.structure(degraded) / max(agreement.structure(clean), 1e-6))
    if shift.far:
        problem = (
            f"its degraded image is shifted by ({shift.x:+.1f}, {shift.y:+.1f}) px against the clean one; "
            "align them first"
        )
    else:
        problem = _other_scene(degraded, clean, own, traces)
        problem = "" if problem and _is_dark_with_holes(lq) else problem
    exchanged = not problem and agreement.channels_exchanged(degraded, clean, own)
    return PairCheck(problem, (EXCHANGED_COLOURS,) * exchanged, shift.x, shift.y, traces)


def _unequal(lq: Image, gt: Image) -> str:
    (h, w), (gh, gw) = lq.shape[:2], gt.shape[:2]
    said = f"its degraded image is {w}×{h} px and the clean one {gw}×{gh}; they must be equal"
    if (h, w) == (gw, gh) and (turn := agreement.turned(agreement.scales(lq), agreement.scales(gt), ())):
        return f"{said}; {_turned(turn)}"
    return said


def _turned(turn: str) -> str:
    return (
        f"its degraded image is {turn} against the clean one; turn one of them, or write the EXIF orientation that one "
        "of them lacks"
    )


def _is_dark_with_holes(lq: Image) -> bool:
    """Whether white holes were made in a dark picture: their edges outweigh all that is left of the scene."""
    grey = cv2.cvtColor(lq, cv2.COLOR_RGB2GRAY)
    white = int((grey == 255).sum())
    return white * 20 >= grey.size and int((grey < 64).sum()) * 2 >= grey.size - white


def _other_scene(lq: Sequence[Scale], gt: Sequence[Scale], own: Sequence[Likeness], traces: Traces) -> str:
    """Why the two are no pair, if they show different scenes; outside of holes of one colour, a pair is alike."""
    if traces.alike >= ALIKE or not agreement.another_scene(lq, gt, own):
        return ""
    return "its degraded image shows another scene than the clean one, or another part of it: no detail agrees"


def swapped(degradation: str, check: PairCheck) -> bool:
    """Whether, for `degradation`, the LQ looks like the clean one of the two."""
    return sense(degradation, check.traces) < 0


def comparer_id() -> str:
    """What decides what a comparison finds: its version and the codecs."""
    return f"pair-{COMPARISON}-{inspector_id()}"


def check_pairs(
    sources: Sequence[Source], recipe: Recipe, store: ScanStore, workers: int
) -> tuple[dict[int, str], list[str]]:
    """Pairs to set aside by their place in `sources`, with reasons; and notes."""
    pairs = [i for i, s in enumerate(sources) if s.is_pair]
    keys = {i: (_as_cut(sources[i]), sources[i].lq_digest) for i in pairs}
    comparer = comparer_id()
    new = [i for i in pairs if store.pair(*keys[i], comparer) is None]
    with stoppable_threads(workers) as pool:
        for start in range(0, len(new), 256):  # stored by the batch, as digests are
            batch = new[start : start + 256]
            records = list(pool.map(lambda i: _compare(sources[i]), batch))
            store.put_pairs([(*keys[i], comparer, r) for i, r in zip(batch, records, strict=True) if r])
    bad: dict[int, str] = {}
    good: dict[int, dict[int, PairCheck]] = defaultdict(dict)
    for i in pairs:
        record = store.pair(*keys[i], comparer)
        if record is None:
            bad[i] = "changed or vanished while it was read"
            continue
        check = _stored_check(record)
        if check.problem:
            bad[i] = check.problem
        else:
            good[sources[i].source_index][i] = check
    notes: list[str] = []
    for source_index, checks in good.items():
        reader = recipe.sources[source_index]
        exchanged = [] if _keeps_order(reader) else _exchanged(sources, checks, source_index, reader.kind)
        for reason in (EQUAL, NEARLY_EQUAL, EXCHANGED_COLOURS):
            notes += _noted(sources, [i for i, check in checks.items() if reason in check.notes], reason)
        notes += _noted(sources, exchanged, CLEANER)
    for source_index in sorted({sources[i].source_index for i in pairs}):
        own = [i for i in pairs if sources[i].source_index == source_index]
        notes += _reported(recipe.sources[source_index], {_name(sources[i]): i in bad for i in own})
    return bad, notes


def _keeps_order(reader: Reader) -> bool:
    """Whether the recipe answers for the order of a source's pairs, whatever they look like."""
    return bool(getattr(reader, "keep_order", False))


def _reported(reader: Reader, pairs: Mapping[str, bool]) -> list[str]:
    """Of the pairs of a public set that are reported to be wrong, which were found so here: `pairs` says of each by its
    name whether it was set aside."""
    wrong = reader.preset.wrong_pairs if isinstance(reader, FromPreset) else ()
    there = [name for name in pairs if PurePosixPath(name.partition(" with ")[0]).stem in wrong]
    if not isinstance(reader, FromPreset) or not there:
        return []
    told = [
        f"{verdict}: {', '.join(names)}"
        for verdict, names in (
            ("set aside", [name for name in there if pairs[name]]),
            ("found in order", [name for name in there if not pairs[name]]),
        )
        if names
    ]
    return [f"{reader.name}: of the pairs reported to be wrong ({reader.preset.reported}) {'; '.join(told)}"]


def _noted(sources: Sequence[Source], places: Sequence[int], reason: str) -> list[str]:
    """A line for each of these pairs; of very many, one for the rest."""
    lines = [f"{_name(sources[i])}: {reason}" for i in places[:NOTED]]
    more = len(places) - NOTED
    return lines if more <= 0 else [*lines, f"{more} more pairs of this source: {reason}"]


def _name(source: Source) -> str:
    return display_name(source.names[0], source.lq_name)


def _exchanged(sources: Sequence[Source], checks: Mapping[int, PairCheck], source_index: int, kind: str) -> list[int]:
    """The pairs of one source whose two images look exchanged. Raises SourceError if most of them do, or most of those
    of one label."""
    senses = {i: sense(sources[i].degradation, check.traces) for i, check in checks.items()}
    by_label: dict[str, list[int]] = defaultdict(list)
    for i in senses:
        by_label[sources[i].degradation].append(i)
    for group in [list(senses), *(by_label.values() if len(by_label) > 1 else [])]:
        wrong = [i for i in group if senses[i] < 0]
        unsure = all(says_nothing(sources[i].degradation) for i in wrong)
        few = len(by_label) > 1 and len(group) < len(senses)  # one label of several, by which a single pair may err
        if _most([senses[i] for i in group], 3 if unsure or few else 1, unsure):
            raise SourceError(
                f"[[sources]] {source_index + 1}: in {len(wrong)} of {len(group)} pairs the `lq` image looks like the "
                f"clean one for {sources[wrong[0]].degradation!r}, as in {_name(sources[wrong[0]])}; "
                f"{SWAPPED.get(kind, 'are its degraded and clean images swapped?')} If they are in order, write "
                "keep_order = true"
            )
    return [i for i, found in senses.items() if found < 0]


def _most(senses: Iterable[int], least: int, unsure: bool) -> bool:
    """Whether a source's pairs look exchanged as a whole: over half of all, or a third where hardly one of the others
    speaks against it. `least`: how many it takes; `unsure`: the labels tell nothing, so that none may speak against."""
    found = list(senses)
    wrong, right = found.count(-1), found.count(1)
    if wrong < least or (unsure and right):
        return False
    return wrong * 2 > len(found) or (wrong >= 3 and wrong * 3 >= len(found) and right * 4 <= wrong)


def _stored_check(record: str) -> PairCheck:
    """What a comparison stored."""
    facts = json.loads(record)
    return PairCheck(**{**facts, "notes": tuple(facts["notes"]), "traces": Traces(**facts["traces"])})


def _as_cut(source: Source) -> str:
    return f"{source.content} less {source.border}" if source.border else source.content


def _compare(source: Source) -> str:
    """The record of one pair's check; empty if the files are no longer what the scan saw."""
    expect_wanted()
    try:
        clean = load_clean(source.path, source.content, source.border)
        degraded: Image = decode(read_verified(source.lq, source.lq_digest)).image
    except (SourceChangedError, BadImageError):
        return ""
    return json.dumps(asdict(check_pair(degraded, clean)))
