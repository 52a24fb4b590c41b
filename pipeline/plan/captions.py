"""The caption of every photograph: whose sentence it gets, what a model has yet to make, what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from patina.captioning.captioner import Caption, Captioner, Photo, Run
from patina.captioning.clip_score import ClipScore
from patina.captioning.filters import Filters
from patina.captioning.run import caption_all, fingerprint, score_all
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.plan.wanted import AssignedCaption
from patina.pipeline.progress import Events, Meter
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.scan.columns import ByDigest, Sources, firsts_of, hex_of
from patina.pipeline.scan.reading import load_clean
from patina.pipeline.scan.source import Source
from patina.pipeline.sources.reader import Refusal
from patina.pipeline.text import counted, one_line
from patina.synth.image import Image

LONGEST_REASON = 400  # characters of the first one that a note tells

ALIKE = 1 << 12
"""Captions that are remembered while all are judged: those of a template are few."""

Problems = Mapping[tuple[str, str], str]
"""Why a model could not caption or judge an image, by fingerprint of the captioner or scorer and content digest."""


@dataclass(frozen=True)
class CaptionState:
    """The caption of every source as far as it is known.

    assigned    by source digest; None where a model has yet to make or to judge it.
    similarity  cosine similarity of image and caption by source digest, where the recipe asks for it.
    refusals    sources without a usable caption, with reasons.
    to_caption  sources that a captioner has yet to see, by its place in the recipe's chain; to_score: sources and the
                captions that are yet to be judged.
    notes       what there is to know of the captions of all of them; it stops nothing.
    """

    assigned: Mapping[str, AssignedCaption | None] = field(repr=False)
    similarity: Mapping[str, float] = field(repr=False)
    refusals: tuple[Refusal, ...]
    to_caption: Mapping[int, Sequence[Source]] = field(repr=False)
    to_score: tuple[tuple[Source, str], ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def pending(self) -> int:
        """How many sources wait for a model."""
        return sum(map(len, self.to_caption.values())) + len(self.to_score)


def resolve_captions(
    recipe: Recipe,
    sources: Sequence[Source],
    store: CaptionStore,
    problems: Problems,
    set_aside: Sequence[str] = (),
) -> CaptionState:
    """Ask the recipe's captioners in turn for a sentence that passes its filters. Loads no model: what only a model can
    tell, and has not told yet, is left pending. `set_aside`: names of inputs that are no sources."""
    columns = Sources.of(sources)
    if assigned := _by_looks(recipe, columns, store):
        return CaptionState(assigned, {}, (), {}, (), tuple(_notes_of(recipe, columns, set_aside)))
    contents, names = hex_of(columns.contents), list(columns.names)
    known: dict[str, AssignedCaption] = {}  # by content
    similarity: dict[str, float] = {}
    reasons: dict[str, str] = {}
    to_caption: dict[int, Sequence[Source]] = {}
    to_score: list[tuple[Source, str]] = []
    rest = list(range(len(columns)))
    problem_of = lru_cache(ALIKE)(recipe.filters.problem)
    of_words = lru_cache(ALIKE)(AssignedCaption)  # one object for all that are alike
    unusable: dict[str, str] = {}  # why the first captioner's sentence cannot be used, by content
    for place, captioner in enumerate(chain_of(recipe)):
        captions = _captions(captioner, _some(columns, rest), store, problems)
        scores: dict[str, float | str] = {}
        if recipe.similarity:
            asked = (contents[row] for row in rest)
            texts = {content: c.text for content in asked if (c := captions.get(content)) and not c.problem}
            scores = _scores(recipe.similarity, texts, store, problems)
        after: list[int] = []
        name, prompt = label(captioner), getattr(captioner, "prompt", "")
        unseen: list[int] = []
        for row in rest:
            content = contents[row]
            caption = captions.get(content)
            if caption is None:
                unseen.append(row)
                continue
            caption = _filtered(caption, recipe.filters, prompt)
            reason = caption.problem or problem_of(caption.text, prompt)
            if not reason and recipe.similarity:
                score = scores.get(content)
                if score is None:
                    to_score.append((columns[row], caption.text))
                    continue
                reason = score if isinstance(score, str) else recipe.similarity.problem(score, caption.text)
                if not isinstance(score, str) and not reason:
                    similarity[content] = score
            if reason:
                reasons.setdefault(content, reason)
                if not caption.missing and not place:
                    unusable[content] = reason
                after.append(row)
            else:
                known[content] = of_words(caption.text, name, caption.more)
        if unseen:
            to_caption[place] = _some(columns, unseen)
        rest = after
    refused = set(rest)
    digests = hex_of(columns.digests)
    named = dict(zip(reversed(contents), reversed(names), strict=True))  # of several, the first one's name
    return CaptionState(
        _assigned(columns, [row for row in range(len(columns)) if row not in refused], contents, known),
        {digests[row]: similarity[content] for row, content in enumerate(contents) if content in similarity},
        tuple(Refusal(names[row], reasons[contents[row]]) for row in rest),
        to_caption,
        tuple(to_score),
        (
            *_notes_of(recipe, columns, set_aside),
            *_replaced(recipe, {contents[row] for row in rest}, named, unusable),
            *_left_over(recipe, named, known),
        ),
    )


def _assigned(
    sources: Sources, rows: Sequence[int], contents: Sequence[str], known: Mapping[str, AssignedCaption]
) -> ByDigest[AssignedCaption | None]:
    """The captions of the sources in these rows; by content `known` ones."""
    numbers: dict[AssignedCaption | None, int] = {}
    codes = [numbers.setdefault(known.get(contents[row]), len(numbers)) for row in rows]
    return ByDigest(_some(sources, rows).digests, np.array(codes, np.int32), list(numbers))


def _some(sources: Sources, rows: Sequence[int]) -> Sources:
    return sources if len(rows) == len(sources) else sources.take(np.array(rows, np.intp))


def _by_looks(recipe: Recipe, sources: Sources, store: CaptionStore) -> ByDigest[AssignedCaption | None] | None:
    """The captions of all, where the first captioner has words for each by its size and mean levels alone, and all of
    them pass: then a few photographs are asked about, and no other captioner is. None otherwise."""
    captioner = recipe.captioner
    if recipe.similarity or not len(sources) or len(firsts_of(sources.contents)) < len(sources):
        return None
    classes = captioner.classes(sources.widths, sources.heights, sources.means)
    if classes is None:
        return None
    _, firsts, codes = np.unique(classes, return_index=True, return_inverse=True)
    photos = [photos_of(sources[row])[0] for row in firsts.tolist()]
    made = caption_all(captioner, photos, store)
    captions = [made[photo.digest] for photo in photos]
    prompt = getattr(captioner, "prompt", "")
    if any(one.problem or one.more or recipe.filters.problem(one.text, prompt) for one in captions):
        return None
    words = [AssignedCaption(caption.text, label(captioner)) for caption in captions]
    return ByDigest(sources.digests, codes.astype(np.int32), words)


def _filtered(caption: Caption, filters: Filters, prompt: str) -> Caption:
    """Of several captions of an image, those that pass; the first where none does, to be refused."""
    if not caption.more:
        return caption
    passed = [text for text in (caption.text, *caption.more) if not filters.problem(text, prompt)]
    return Caption(passed[0], more=tuple(passed[1:])) if passed else Caption(caption.text)


def _notes_of(recipe: Recipe, sources: Sequence[Source], set_aside: Sequence[str]) -> list[str]:
    """What the captioners have to say of all photographs together."""
    asked = [captioner for captioner in chain_of(recipe) if type(captioner).notes is not Captioner.notes]
    photos = [photo for source in sources for photo in photos_of(source)] if asked else []
    return [note for captioner in asked for note in captioner.notes(photos, set_aside)]


def _left_over(recipe: Recipe, names: Mapping[str, str], known: Mapping[str, AssignedCaption]) -> list[str]:
    """A sentence on captions that no sample has, as there are more of them than variants. names: by content."""
    most = max((synthesis.variants for synthesis in recipe.degradations.values()), default=1)
    more = {content: names[content] for content, caption in known.items() if len(caption.more) >= most}
    if not more:
        return []
    return [
        f"captions: {counted(len(more), 'photograph')} with more captions than variants, of which a degradation has "
        f"{most} at the most, so that the rest are used nowhere; the first: {min(more.values())}"
    ]


def _replaced(recipe: Recipe, refused: Set[str], names: Mapping[str, str], unusable: Mapping[str, str]) -> list[str]:
    """A sentence on captions that are there, cannot be used, and had to be replaced by the fallback's. refused:
    contents without any caption. names: by content."""
    named = {content: names[content] for content in unusable if content not in refused}
    if not recipe.fallback or not named:
        return []
    content, name = min(named.items(), key=lambda item: (item[1], item[0]))
    what = f"{counted(len(named), 'caption')} by {label(recipe.captioner)} cannot be used"
    return [
        f"captions: {what}, and the fallback {label(recipe.fallback)} speaks instead; "
        f"the first: {name}: {one_line(unusable[content], LONGEST_REASON)}"
    ]


@dataclass(frozen=True)
class CaptioningResult:
    """What models did: how many captions they made, and what they could not caption or judge."""

    captions: int
    problems: Problems


def generate_captions(
    recipe: Recipe, captions: CaptionState, store: CaptionStore, run: Run, events: Events
) -> CaptioningResult:
    """Let models make the captions and similarities that are pending; each batch is stored when it is done.

    Raises CaptionError, before any work, if a model cannot be had.
    """
    chain = chain_of(recipe)
    first_last = [chain[place] for place in sorted(captions.to_caption, reverse=True)]
    _expect_ready([*([recipe.similarity] if recipe.similarity else []), *first_last], run)
    count = 0
    problems: dict[tuple[str, str], str] = {}
    for place, sources in captions.to_caption.items():
        photos = list({s.content: photos_of(s)[0] for s in sources}.values())
        with Meter(events, "captioning", "photographs") as meter:
            made = caption_all(chain[place], photos, store, run=run, progress=meter)
        key = fingerprint(chain[place])
        failed = {(key, content): caption.problem for content, caption in made.items() if caption.problem}
        count += len(made) - len(failed)
        problems |= failed
    if recipe.similarity and captions.to_score:
        items = list({(s.content, text): (photos_of(s)[0], text) for s, text in captions.to_score}.values())
        with Meter(events, "comparing captions", "photographs") as meter:
            scores = score_all(recipe.similarity, items, store, run=run, progress=meter)
        key = fingerprint(recipe.similarity)
        problems |= {(key, content): score for (content, _), score in scores.items() if isinstance(score, str)}
    return CaptioningResult(count, problems)


def _expect_ready(models: Sequence[Captioner | ClipScore], run: Run) -> None:
    """Raise CaptionError if one of the models cannot be had: hours of captioning are lost on a scorer that is missing.
    The last one, whose turn comes first, stays loaded."""
    for model in models[:-1]:
        model.prepare(run)
        model.release()
    if models:
        models[-1].prepare(run)


def chain_of(recipe: Recipe) -> list[Captioner]:
    """The recipe's captioners, in the order in which they are asked."""
    return [recipe.captioner, *([recipe.fallback] if recipe.fallback else [])]


def label(model: Captioner | ClipScore) -> str:
    """A captioner as samples name it, or what judges captions: `name@version`."""
    return f"{model.name}@{model.version}"


def photos_of(source: Source) -> list[Photo]:
    """One photo for each name of a source: a caption file may know it by any of them."""
    info, load = source.info, _Load(source.path, source.content)
    return [
        Photo(source.content, name, root, load, info.width, info.height, info.mean, caption)
        for name, root, caption in zip(source.names, source.roots, source.captions, strict=True)
    ]


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Load:
    """Decodes a photograph; a third of a partial's memory, of which a million are held."""

    path: str
    content: str

    def __call__(self) -> Image:
        """Verified, else the store would keep a caption of other bytes under this digest."""
        return load_clean(self.path, self.content)


def _captions(captioner: Captioner, sources: Sources, store: CaptionStore, problems: Problems) -> dict[str, Caption]:
    """What is known of this captioner's sentences, by content."""
    if not captioner.stored:
        return caption_all(captioner, [photo for s in sources for photo in photos_of(s)], store)
    key = fingerprint(captioner)
    contents = hex_of(sources.contents)
    made = {c: Caption("", problems[key, c]) for c in contents if (key, c) in problems}
    return made | {content: Caption(text) for content, text in store.get(contents, key).items()}


def _scores(
    scorer: ClipScore, texts: Mapping[str, str], store: CaptionStore, problems: Problems
) -> dict[str, float | str]:
    """What is known of these captions' similarity to their images, by content; a text says why there is none."""
    key = fingerprint(scorer)
    failed: dict[str, float | str] = {c: problems[key, c] for c in texts if (key, c) in problems}
    return failed | {content: score for (content, _), score in store.get_scores(texts.items(), key).items()}
