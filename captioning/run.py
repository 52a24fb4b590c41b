"""All photographs through one captioner, or through one model of similarity; what a store knows is not made twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, ClassVar, Protocol

from patina.captioning.captioner import Caption, Captioner, Photo, Run


class Fingerprinted(Protocol):
    """A captioner or a scorer: a name, a version, and settings as JSON."""

    name: ClassVar[str]
    version: ClassVar[int]

    def settings(self) -> dict[str, Any]:
        """All that decides what it says beside the image."""
        ...


class Scorer(Fingerprinted, Protocol):
    """Says how well sentences fit images: `clip_score.ClipScore`, or its double."""

    def prepare(self, run: Run) -> None:
        """Make ready for `stream`. Raises CaptionError, before any work, if it cannot run here."""
        ...

    def stream(self, items: Sequence[tuple[Photo, str]], run: Run) -> Generator[list[tuple[int, float | str]]]:
        """Scores, or problems in words, with the index of their item; batches in any order."""
        ...

    def release(self) -> None:
        """Give back the memory that it took."""
        ...


class Store(Protocol):
    """What models said in earlier runs, by image digest and the fingerprint of the model."""

    def get(self, digests: Iterable[str], fingerprint: str) -> dict[str, str]:
        """Digest -> caption, of those `digests` that the captioner of this fingerprint has captioned."""
        ...

    def put(self, items: Iterable[tuple[str, str]], fingerprint: str) -> None:
        """Keep (digest, caption) pairs: all of them, or none."""
        ...

    def get_scores(self, items: Iterable[tuple[str, str]], fingerprint: str) -> dict[tuple[str, str], float]:
        """(Digest, text) -> score, of those `items` that the scorer of this fingerprint has compared."""
        ...

    def put_scores(self, items: Iterable[tuple[tuple[str, str], float]], fingerprint: str) -> None:
        """Keep ((digest, text), score) pairs: all of them, or none."""
        ...

    def origin(self, fingerprint: str, found: str) -> str:
        """What the model of this fingerprint came from at first: `found`, if it is not known yet."""
        ...


def fingerprint(model: Fingerprinted) -> str:
    """16 hex digits for all that decides what a captioner or scorer says beside the image: name, version, settings."""
    facts = {"name": model.name, "version": model.version, "settings": model.settings()}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def caption_all(
    captioner: Captioner,
    photos: Sequence[Photo],
    store: Store,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Caption]:
    """The caption of every photo, by digest.

    What a `stored` captioner has captioned before comes from the store; the rest is made as `run` says, and each batch
    is kept as soon as it is made: an interruption loses what is in flight. `progress(done, total)` counts the images to
    be made, after each batch. Raises CaptionError, before any work, if the captioner cannot run here.

    Photos of one digest are one image under several names: they are tried in the names' order until one of them has a
    text; if none has, the first one's problem is the image's.
    """
    run = run or Run()
    photos = sorted(photos, key=lambda photo: (photo.name, photo.folder))
    if not captioner.stored:
        return _looked_up(captioner, photos, run, progress)
    names: dict[str, deque[Photo]] = {}
    for photo in photos:
        names.setdefault(photo.digest, deque()).append(photo)
    key = fingerprint(captioner)
    made = {d: Caption(text) for d, text in store.get(names, key).items()}
    queue = [digest for digest in names if digest not in made]
    done, total = 0, len(queue)
    try:
        if queue:
            captioner.prepare(run)
            _compare_origins(captioner, store, key)
        while queue:
            asked = [names[digest].popleft() for digest in queue]
            again = []
            with closing(captioner.stream(asked, run)) as batches:
                for batch in batches:
                    texts = []
                    for i, caption in batch:
                        digest = asked[i].digest
                        if not caption.problem:
                            made[digest] = caption
                            texts.append((digest, caption.text))
                            continue
                        made.setdefault(digest, caption)  # not over the problem that its first name had
                        if names[digest]:
                            again.append(digest)
                            done -= 1
                    store.put(texts, key)
                    done += len(batch)
                    if progress:
                        progress(done, total)
            queue = again
    finally:
        captioner.release()
    return {digest: made[digest] for digest in names}


def _looked_up(
    captioner: Captioner, photos: Sequence[Photo], run: Run, progress: Callable[[int, int], None] | None
) -> dict[str, Caption]:
    """The captions of a captioner that keeps none, which sees all photographs at once; by digest."""
    made: dict[str, Caption] = {}
    if photos:
        captioner.prepare(run)
    try:
        for photo, caption in zip(photos, captioner.caption(photos) if photos else (), strict=True):
            if made.setdefault(photo.digest, caption).problem and not caption.problem:
                made[photo.digest] = caption
    finally:
        captioner.release()
    if progress and made:
        progress(len(made), len(made))
    return made


def _compare_origins(captioner: Captioner, store: Store, key: str) -> None:
    """Warn if the captions that are kept are of another commit of the model than those to come."""
    found = captioner.origin()
    if found and (first := store.origin(key, found)) != found:
        logging.getLogger(__name__).warning(
            "%s: its model was at %s when its first captions were made, and is at %s now; to have all from one, set "
            "revision to either",
            captioner.name,
            first,
            found,
        )


def score_all(
    scorer: Scorer,
    items: Sequence[tuple[Photo, str]],
    store: Store,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], float | str]:
    """How well each text fits its photo, by (digest, text); a problem in words for a photo that cannot be looked at.

    What was compared before comes from the store; each batch of the rest is kept as soon as it is done. Raises
    CaptionError, before any work, if the scorer cannot run here.
    """
    run = run or Run()
    key = fingerprint(scorer)
    wanted = {(photo.digest, text): (photo, text) for photo, text in items}
    made: dict[tuple[str, str], float | str] = dict(store.get_scores(wanted, key))
    rest = [name for name in wanted if name not in made]
    done = 0
    try:
        if rest:
            scorer.prepare(run)
        with closing(scorer.stream([wanted[name] for name in rest], run)) as batches:
            for batch in batches:
                some = {rest[i]: score for i, score in batch}
                made |= some
                store.put_scores([(name, score) for name, score in some.items() if not isinstance(score, str)], key)
                done += len(batch)
                if progress:
                    progress(done, len(rest))
    finally:
        scorer.release()
    return {name: made[name] for name in wanted}
