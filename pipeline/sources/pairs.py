"""Existing LQ/GT pairs in two folders, matched by what their names say and never by their place in a list."""

from __future__ import annotations

import difflib
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar

from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import locations
from patina.pipeline.sources.passed_over import passed_over
from patina.pipeline.sources.reader import Candidate, Found, Refusal, list_images
from patina.synth.compose import JOINT
from patina.synth.degradations import DACLIP_DEGRADATIONS

RULES = ("name", "stem", "regex")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SIDES = frozenset({"gt", "hq", "clean", "clear", "sharp", "norain", "target", "groundtruth"})


def check_label(label: str) -> None:
    """Raise SourceError unless `label` can name degradations: letters and digits, joined by -, and several by +. A
    name that is nearly one of the ten is taken for a slip."""
    for name in label.split(JOINT):
        close = difflib.get_close_matches(name, DACLIP_DEGRADATIONS, n=1, cutoff=0.75)
        if not NAME.fullmatch(name) or (close and name not in DACLIP_DEGRADATIONS):
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise SourceError(
                f"degradation: expected a word such as {', '.join(DACLIP_DEGRADATIONS)}, found {name!r}; {hint}".strip(
                    "; "
                )
            )


def set_name(folder: str) -> str:
    """What to call the set whose clean images lie in `folder`: the first name upwards that names no mere side."""
    folder = locations.place(folder)
    steps = [step for step in folder.rstrip("/").split("/") if step]
    return next((step for step in reversed(steps) if step.lower() not in SIDES), steps[-1] if steps else folder)


@repr_without_secrets
@dataclass(frozen=True)
class Pairs:
    """Degraded images below `lq`, clean ones below `gt`, all with the label `degradation`.

    match    `name`: equal relative names, whatever their suffixes; `stem`: equal file names without suffix, in
             whatever folder; `regex`: equal groups of `pattern`, searched in the relative names (`gt_pattern` for the
             clean side, where it differs). One clean image may serve several degraded ones, never the reverse.
    keep_order  take each pair's images as they are named, even where most of them look exchanged.
    """

    kind: ClassVar[str] = "pairs"
    lq: str = field(metadata={"folder": True})
    gt: str = field(metadata={"folder": True})
    degradation: str
    match: str = "name"
    pattern: str = ""
    gt_pattern: str = ""
    keep_order: bool = False
    split: str = ""
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        check_label(self.degradation)
        if self.match not in RULES:
            raise SourceError(f"match: expected one of {', '.join(RULES)}, found {self.match!r}")
        if (self.match == "regex") != bool(self.pattern):
            raise SourceError('pattern: give one with match = "regex", and only with it')
        for setting, pattern in (("pattern", self.pattern), ("gt_pattern", self.gt_pattern)):
            try:
                with warnings.catch_warnings():  # of patterns that a later Python may read otherwise
                    warnings.simplefilter("ignore")
                    groups = re.compile(pattern).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise SourceError(f"{setting}: {pattern!r} is no regular expression: {error}") from None
            if pattern and not groups:
                raise SourceError(f"{setting}: {pattern!r} needs a group in parentheses around what must be equal")

    @property
    def title(self) -> str:
        """The name of the folder of clean images, or of the one above if that is called gt or the like."""
        return set_name(self.gt)

    @property
    def has_pairs(self) -> bool:
        """Always."""
        return True

    @property
    def degradations(self) -> tuple[str, ...]:
        """None is applied to pairs."""
        return ()

    @property
    def root(self) -> str:
        """The folder of clean images."""
        return self.gt

    def find(self) -> Found:
        """List both folders and match them. Raises SourceError if one is not there or nothing matches."""
        listings = {"lq": list_images(self.lq, "lq"), "gt": list_images(self.gt, "gt")}
        lq_files, gt_files = (listing.files for listing in listings.values())
        notes = [passed_over(f"{self.title} {side}", listing.unread) for side, listing in listings.items()]
        notes = [note for note in notes if note]
        refusals: list[Refusal] = []
        clean: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
        for name, path in gt_files:
            key = self._key(name, self.gt_pattern or self.pattern)
            if key is None:
                refusals.append(Refusal(f"gt/{name}", f"its name does not match {self.gt_pattern or self.pattern!r}"))
            else:
                clean[key].append((name, path))
        candidates, used = [], set()
        for name, path in lq_files:
            key = self._key(name, self.pattern)
            partners = clean.get(key, []) if key is not None else []
            if key is None:
                refusals.append(Refusal(f"lq/{name}", f"its name does not match {self.pattern!r}"))
            elif not partners:
                refusals.append(Refusal(f"lq/{name}", f"no clean image matches it by {self.match}"))
            elif len(partners) > 1:
                both = " and ".join(n for n, _ in partners[:2])
                refusals.append(Refusal(f"lq/{name}", f"several clean images match it by {self.match}: {both}"))
            else:
                candidates.append(Candidate(partners[0][0], partners[0][1], path))
            if key is not None:
                used.add(key)
        unused = [n for key, files in clean.items() if key not in used for n, _ in files]
        refusals += [Refusal(f"gt/{n}", f"no degraded image matches it by {self.match}") for n in unused]
        if not candidates:
            example = f", such as {lq_files[0][0]} and {gt_files[0][0]}" if lq_files and gt_files else ""
            raise SourceError(
                f"expected pairs matched by {self.match}, found none among {len(lq_files)} images in {self.lq} and "
                f"{len(gt_files)} in {self.gt}{example}; {'; '.join([*notes, 'try another `match`'])}"
            )
        ignored = sum(listing.ignored for listing in listings.values())
        return Found(sorted(candidates, key=lambda c: (c.name, c.lq)), refusals, ignored, notes)

    def _key(self, name: str, pattern: str) -> tuple[str, ...] | None:
        if self.match == "name":
            return (str(PurePosixPath(name).with_suffix("")),)
        if self.match == "stem":
            return (PurePosixPath(name).stem,)
        found = re.search(pattern, name)
        return tuple(group or "" for group in found.groups()) if found else None
