"""WebDataset tars: samples whose members share a name up to its first dot, used where they lie in their tar."""

from __future__ import annotations

import codecs
import glob
import json
import math
import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.codec.file_kinds import REMEDIES
from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets
from patina.pipeline.sources import columns, locations
from patina.pipeline.sources.json_keys import split_setting, text_at, text_keys, value_at
from patina.pipeline.sources.pairs import check_label
from patina.pipeline.sources.reader import Candidate, Found, Refusal, below, walk
from patina.pipeline.sources.rights import Rights, Stated, rights_in
from patina.pipeline.sources.tar_index import SUFFIXES as TARS
from patina.pipeline.sources.tar_index import TarIndex, tar_index, uncompressed
from patina.pipeline.text import counted, nearest, one_line, printable, shown

MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
"""A member's name: key up to the first dot of the base name, dot, extension."""

CAPTION = "txt,caption.txt"
LONGEST_TEXT = 1 << 20
SHOWN_KEYS = 20
LONGEST_SHOWN = 200  # characters of a member's name
OUT = "with .. in the name"
REMEDY = "pack plain files, by names without .. and, for links, with `tar --dereference --hard-dereference`"
QUIET = frozenset({".DS_Store", ".gitignore", ".gitattributes", ".gitkeep", ".nfs"})
_PAPERS = "LICENSE LICENCE README NOTICE COPYING AUTHORS CHANGELOG MANIFEST VERSION SHA256SUMS MD5SUMS"
PAPERS = frozenset(_PAPERS.split())
"""What may lie beside samples without a word."""
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")

OWN = re.compile(
    r"(?:.*/)?(train|val|test)-(?!\d+-of-\d)(?:\d{4}-[a-z0-9][a-z0-9+-]*(?:\.[0-9a-f]{16})?|[^/]+-\d{4})", re.DOTALL
)
"""A shard of a patina dataset, without its suffix: in its folder or at an address, where a digest follows; the last
form is that of the second version of the stored format. `train-0000-of-0010` is how others number theirs."""

Span = tuple[int, int]
"""Offset and size of a member's bytes in its tar."""


@repr_without_secrets
@dataclass(frozen=True)
class WebDataset:
    """The samples in the tars that `path` names: one tar, a pattern such as train-{0000..0009}.tar or train-*.tar, or a
    folder; .tar.gz, .tgz, .tar.bz2 and .tar.xz are uncompressed into the cache.

    lq                 extensions of the member with the degraded image, such as "png,jpg": the one that a sample has is
                       read.
    gt                 extensions of the member with the clean image, such as "gt.png,gt.jpg", likewise. `gt` alone: the
                       samples are clean images. Neither: they are pairs if any sample has a member gt.png, hq.jpg or
                       the like beside a plain image or an lq.png, and else clean images, of the one plain image.
    caption            extensions of the member with the caption, likewise. json:caption is the text, or the first of
                       the texts, under the key `caption` of the member json, where img2dataset and others write it;
                       json:meta.caption is a key within a key. "txt,json:caption" takes the first of the two that a
                       sample has.
    degradation        the label of all pairs; "" to take each one's from the text of its member json under the key
                       `degradation_field`, or from a member of that name such as degradation.txt. patina's own
                       parameters are taken over from the same json.
    keep_order         take each pair's images as they are named, even where most of them look exchanged.

    The samples of a patina dataset's val and test shards stay in val and test, unless `split` says otherwise. They keep
    the licences and attributions of its sources.parquet, unless `licence` and `attribution` say otherwise.
    """

    kind: ClassVar[str] = "webdataset"
    path: str = field(metadata={"folder": True})
    lq: str = ""
    gt: str = ""
    caption: str = CAPTION
    degradation: str = ""
    degradation_field: str = "degradation"
    degradations: tuple[str, ...] = ()
    keep_order: bool = False
    split: str = ""
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        if self.lq and not self.gt:
            raise SourceError('lq: expected gt beside it, such as lq = "png,jpg" and gt = "gt.png,gt.jpg"')
        if self.degradation:
            check_label(self.degradation)
        for member, key in _caption_parts(self.caption):
            if key and not _is_json(member):
                raise SourceError(f"caption: expected a key of a member json, such as json:{key}, found {member}:{key}")

    @property
    def title(self) -> str:
        """The tar's or folder's name; for a pattern, what stands before its first variable part."""
        name = re.split(r"[{*?\[]", _stem(locations.base_name(self.path)), maxsplit=1)[0].rstrip("-_.")
        return name or locations.base_name(self.root)

    @property
    def has_pairs(self) -> bool:
        """Unless only the clean image is named, perhaps: the samples tell."""
        return bool(self.lq) or not self.gt

    @property
    def root(self) -> str:
        """The folder that the tars lie below."""
        if not self.path.lower().endswith(TARS):
            return self.path
        fixed = re.split(r"[{*?\[]", self.path, maxsplit=1)[0]
        return fixed.rpartition("/")[0] or "/"

    def find(self) -> Found:
        """Index the tars, and read captions and labels. Raises SourceError if there is no tar, or no sample to use."""
        tars, refusals, notes = self._tars()
        samples = [s for tar in tars for s in tar.samples]
        roles = self._roles(samples)
        captions = _Captions(_caption_parts(self.caption), samples)
        candidates: list[Candidate] = []
        ignored = sum(tar.ignored for tar in tars)
        for tar in tars:
            refusals += tar.refusals
            if not tar.samples:
                continue
            with _Texts(tar.file) as texts:
                for sample in tar.samples:
                    found = self._candidate(sample, roles, texts, captions, refusals)
                    if isinstance(found, Refusal):
                        refusals.append(found)
                    else:
                        candidates.append(found)
        captions.expect_keys()
        if not candidates:
            first = f"; the first: {refusals[0].name} {refusals[0].reason}" if refusals else ""
            raise SourceError(
                f"path: expected samples with images in {self.path}, found none that can be used among {len(samples)} "
                f"in {len(tars)} tar{'s' * (len(tars) != 1)}{first}"
            )
        notes += [note for tar in tars for note in tar.notes]
        if self.caption == CAPTION and not any(c.caption for c in candidates):
            notes += captions.left_in_json(samples)
        return Found(sorted(candidates, key=lambda c: (c.name, c.lq)), refusals, ignored, notes)

    def _candidate(
        self, sample: _Sample, roles: _Roles, texts: _Texts, captions: _Captions, refusals: list[Refusal]
    ) -> Candidate | Refusal:
        """What a sample gives; what ails its caption alone goes to `refusals`."""
        sides: list[str] = []
        for what, wanted in (("clean", roles.gt), ("degraded", roles.lq)):
            if wanted is None:
                continue
            found = [e for e in sample.members if e in wanted]
            if len(found) != 1:
                several = (
                    f"several {what} images, {' and '.join(found)}; name one in `{'gt' if what == 'clean' else 'lq'}`"
                )
                none = (
                    f"no {what} image ({', '.join(wanted) or 'any'}): only {', '.join(map(_advised, sample.members))}"
                )
                return Refusal(sample.name, f"has {several if found else none}")
            sides.append(found[0])
        asked = bool(sample.side) or (roles.lq is not None and not self.degradation)
        facts, trouble = _facts(sample, texts) if asked else ({}, "")
        caption, member, problem = captions.read(sample, texts)
        if problem:
            refusals.append(Refusal(f"{sample.name}.{member}", f"{problem}; its image is taken without a caption"))
        lq, label, params = "", "", dict[str, float | int | str]()
        if roles.lq is not None:
            lq = sample.location(sides[1])
            if not self.degradation:
                label, params, problem = self._label(sample, facts, trouble, texts)
                if problem:
                    return Refusal(sample.name, problem)
        lq_name = f"{posixpath.basename(sample.name)}.{sides[1]}" if lq else ""
        name = f"{sample.name}.{sides[0]}"
        side = sample.side if {"schema", "fingerprint"} <= facts.keys() else ""  # it is patina's, not only its name
        place, (licence, owed) = sample.location(sides[0]), sample.stated
        return Candidate(name, place, lq, lq_name, label, side, caption, params, licence=licence, attribution=owed)

    def _label(
        self, sample: _Sample, facts: Mapping[str, Any], trouble: str, texts: _Texts
    ) -> tuple[str, dict[str, float | int | str], str]:
        """A pair's label and parameters; or the problem."""
        label, params = "", dict[str, float | int | str]()
        if trouble:
            return "", {}, f"its member json {trouble}"
        if isinstance(facts.get(self.degradation_field), str):
            label, params = facts[self.degradation_field], _params(facts.get("params"))
        own = next((e for e in (self.degradation_field, f"{self.degradation_field}.txt") if e in sample.members), "")
        if own and not label:
            label, problem = texts.read(sample.members[own])
            if problem:
                return "", {}, f"its member {own} {problem}"
        label = columns.label_of(label)
        if not label:
            return "", {}, f"is a pair without a degradation: no {self.degradation_field!r} in a member json, none set"
        return label, params, columns.label_problem(label)

    def _roles(self, samples: Sequence[_Sample]) -> _Roles:
        """Which extensions hold the clean and the degraded images: as set, or as all the samples have them."""
        if self.gt:
            return _Roles(_extensions(self.gt), _extensions(self.lq) if self.lq else None)
        present = dict.fromkeys(e for sample in samples for e in sample.members)
        plain = [e for e in present if f".{e}" in SUFFIXES]
        clean = [e for e in present if _side(e) in columns.GT]
        degraded = [*plain, *(e for e in present if _side(e) in columns.LQ)]
        both = any(not set(clean).isdisjoint(s.members) and not set(degraded).isdisjoint(s.members) for s in samples)
        if both:
            return _Roles(tuple(clean), tuple(degraded))
        gt = tuple(plain or clean)
        self._expect_no_doubt(samples, gt, present)
        told = next((e for e in present if e.partition(".")[0] in {"degradation", self.degradation_field}), "")
        if told:
            raise SourceError(
                f"gt: the samples have a member {shown(told)} that tells a degradation, and no degraded images beside "
                f"{columns.listed(gt)}, so that these would become clean ones; if they are clean, say so: "
                f'gt = "{",".join(gt)}"'
            )
        return _Roles(gt)

    def _expect_no_doubt(self, samples: Iterable[_Sample], gt: Sequence[str], present: Iterable[str]) -> None:
        """Raise SourceError where a sample has images whose extensions do not tell which is clean."""
        strange = {e for e in present if _side(e) and e not in gt and not columns.is_aside(e)}
        for sample in samples:
            own = next((e for e in sample.members if e in gt), "")
            other = next((e for e in sample.members if e in strange), "")
            if other and (own or not gt):
                images = [own, other] if own else [e for e in sample.members if e in strange]
                found = f"member{'s' * (len(images) > 1)} {' and '.join(images[:3])}"
                found = one_line(f"{sample.name} the {found}", 400)
                raise SourceError(
                    "gt: expected one image in each sample, or a pair whose extensions tell which is clean; found in "
                    f'{found}; name the clean one, as gt = "…", and for pairs the '
                    'degraded one, as lq = "…", and their degradation'
                )

    def _tars(self) -> tuple[list[_Tar], list[Refusal], list[str]]:
        """Every tar, indexed; those that cannot be read at all; and notes."""
        tars, refusals, stems = [], list[Refusal](), dict[str, str]()
        rights: dict[str, Rights] = {}
        for name, location in self._list():
            if (stem := _stem(name)) in stems:
                refusals.append(Refusal(name, f"has the name of {stems[stem]}, which is read; move one of them away"))
                continue
            stems[stem] = name
            home = _dataset_of(location) if OWN.fullmatch(stem) else ""
            if home and home not in rights:
                rights[home] = rights_in(home)
            try:
                file = uncompressed(locations.local_copy(location))
                tars.append(_Tar(name, file, rights.get(home, Rights())))
            except OSError as error:
                why = str(error) if error.strerror is None else f"cannot be read: {error.strerror}"
                refusals.append(Refusal(name, why))
        return tars, refusals, [note for found in rights.values() for note in found.notes]

    def _list(self) -> list[tuple[str, str]]:
        """Name relative to the root, and location, of every tar that `path` means. Raises SourceError for none."""
        remote = locations.is_remote(self.path)
        if not self.path.lower().endswith(TARS):
            found = self._below(self.path)
        elif remote:
            found = self._remote()
        else:
            patterns = [self.path] if Path(self.path).exists() else _expand(self.path)
            found = [f for p in patterns for f in _local(p)]
        if not found or (found == [self.path] and not remote and not Path(self.path).exists()):
            raise SourceError(f"path: expected tars ({', '.join(TARS)}) at {self.path}, found none")
        inner = self.root.rstrip("/") + "/"
        return sorted({(printable(below(self.root, f) if remote else f.removeprefix(inner)), f) for f in found})

    def _remote(self) -> list[str]:
        patterns = _expand(self.path)
        if not any(glob.has_magic(p) for p in patterns):
            return patterns
        files = {below(self.root, address): address for address in self._below(self.root)}
        names = [below(self.root, p) for p in patterns]
        return [address for name, address in files.items() if any(fnmatchcase(name, n) for n in names)]

    def _below(self, folder: str) -> list[str]:
        if not locations.is_remote(folder):
            if not Path(folder).is_dir():
                found = "a file with another suffix" if Path(folder).exists() else "nothing"
                raise SourceError(
                    f"path: expected a tar ({', '.join(TARS)}) or a folder of tars at {folder}, found {found}"
                )
            return [p for p in walk(folder, "path", datasets=True) if p.lower().endswith(TARS)]
        try:
            return [a for a in locations.list_remote(folder) if a.lower().endswith(TARS)]
        except locations.LocationError as error:
            raise SourceError(f"path: {error}") from None


@dataclass(frozen=True)
class _Roles:
    """Extensions of clean images, and of degraded ones; None where the samples are clean images alone."""

    gt: tuple[str, ...]
    lq: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Sample:
    """Members by extension; `name` is that of its tar and its key, `side` the one that its tar keeps from training;
    `stated` its licence and attribution."""

    name: str
    file: str
    members: Mapping[str, Span]
    side: str
    stated: Stated

    def location(self, extension: str) -> str:
        """Where a member's bytes lie."""
        return locations.part(self.file, *self.members[extension])


class _Tar:
    """One tar: its whole samples, what is set aside, and the number of members that belong to no sample."""

    def __init__(self, name: str, file: Path, rights: Rights) -> None:
        index = tar_index(file)
        self.file = file
        self.ignored = 0
        self.refusals: list[Refusal] = []
        self.notes: list[str] = []
        stem = _stem(name)
        groups: dict[str, dict[str, Span]] = {}
        broken: dict[str, str] = {}
        odd: dict[str, list[str]] = defaultdict(list)  # members that belong to no sample, by what ails them
        for path, offset, size in index.members:
            key, extension = split_name(path)
            if not key:
                self.ignored += 1
                odd[_oddity(path)].append(path)
                continue
            members = groups.setdefault(key, {})
            if extension in members:
                broken[key] = f"has two members {extension}; keep one, or give the samples keys of their own"
            members[extension] = (offset, size)
        torn = split_name(index.torn)[0]
        if torn:
            broken[torn] = f"is cut off within its member {split_name(index.torn)[1]}"
        if index.problem:
            self.refusals.append(Refusal(name, printable(index.problem)))
        elif not groups:
            self.refusals.append(
                Refusal(name, f"holds no sample: none of {len(index.members)} members is KEY.extension")
            )
        self.refusals += [Refusal(printable(f"{stem}/{key}"), reason) for key, reason in broken.items()]
        self._tell(name, index, odd)
        side = columns.held_out(own[1]) if (own := OWN.fullmatch(stem)) else ""
        self.samples = [
            _Sample(printable(f"{stem}/{key}"), str(file), members, side, rights.of(key))
            for key, members in groups.items()
            if key not in broken
        ]

    def _tell(self, name: str, index: TarIndex, odd: Mapping[str, Sequence[str]]) -> None:
        """Say what is no plain file, once for the tar, and what belongs to no sample, by what ails it."""
        unread = [example(count, kind, first) for kind, count, first in index.others]
        unread += [example(len(odd[OUT]), f"member {OUT}", odd[OUT][0])] if OUT in odd else []
        if unread:
            self.refusals.append(Refusal(name, f"holds {'; '.join(unread)}: they are not read; {REMEDY}"))
        for ailment, paths in odd.items():
            if ailment not in {"", OUT}:
                what = example(len(paths), f"member {ailment}", paths[0])
                self.notes.append(f"{name}: {what}: passed over, as no part of a sample (KEY.extension)")


class _Texts:
    """The small members of one tar, read as UTF-8."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> _Texts:
        self._open = self._file.open("rb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self, span: Span) -> tuple[str, str]:
        """The text of a member; or what is wrong with it."""
        offset, size = span
        if size > LONGEST_TEXT:
            return "", f"has {size} bytes, more than a text has"
        data = os.pread(self._open.fileno(), size, offset).removeprefix(codecs.BOM_UTF8)
        try:
            return data.decode(), ""
        except UnicodeDecodeError as error:
            return "", f"is not UTF-8, it has byte 0x{data[error.start]:02x}"


class _Captions:
    """Reads samples' captions: from the first of the members, or of the keys of members json, that a sample has.

    Raises SourceError for a member json without a key: its whole text is no sentence.
    """

    def __init__(self, parts: Sequence[tuple[str, str]], samples: Sequence[_Sample]) -> None:
        self._parts = parts
        self._there: Counter[tuple[str, str]] = Counter()
        self._keys: dict[str, dict[str, None]] = defaultdict(dict)  # of each member, as they come
        for member, key in parts:
            if _is_json(member) and not key and (first := next((s for s in samples if member in s.members), None)):
                with _Texts(Path(first.file)) as texts:
                    keys = list(text_keys(_facts(first, texts, member)[0]))
                known = [key for key in (*columns.CAPTION, *keys) if key in keys]
                remedy = f"{member}:{known[0]}" if known else f"{member}:KEY"
                raise SourceError(
                    f"caption: the member {member} holds JSON and no sentence; name the key of the sentence, such as "
                    f'caption = "{remedy}"; found in {one_line(first.name, 200)}.{member} the keys {_some(keys)}'
                )

    def read(self, sample: _Sample, texts: _Texts) -> tuple[str, str, str]:
        """The caption; the member that was read for it; and what is wrong with it."""
        for member, key in self._parts:
            if member not in sample.members:
                continue
            if not key:
                text, problem = texts.read(sample.members[member])
                return text, member, problem
            facts, problem = _facts(sample, texts, member)
            text, other = text_at(facts, key)
            self._there[member, key] += value_at(facts, key) is not None
            if len(self._keys[member]) < SHOWN_KEYS:
                self._keys[member] |= dict.fromkeys(text_keys(facts))
            if text or problem or other:
                return text, member, problem or other
        return "", "", ""

    def left_in_json(self, samples: Sequence[_Sample]) -> list[str]:
        """A note if no sample has a caption of its own, and the first member json tells one."""
        first = next((sample for sample in samples if "json" in sample.members), None)
        if first is None:
            return []
        with _Texts(Path(first.file)) as texts:
            keys = set(text_keys(_facts(first, texts)[0]))
        key = next((key for key in columns.CAPTION if key in keys), "")
        name = one_line(first.name, 200)
        told = f"no sample has a member {CAPTION.replace(',', ' or ')}, and {name}.json has a text under {key!r}"
        return [f'{told}; for captions from there set caption = "json:{key}"'] if key else []

    def expect_keys(self) -> None:
        """Raise SourceError for a key that no member had."""
        for member, key in self._parts:
            found = list(self._keys.get(member, ()))
            if key and found and not self._there[member, key]:
                raise SourceError(
                    f"caption: no member {member} has a text under the key {key!r}; "
                    f"{one_line(nearest(key, found[:SHOWN_KEYS]), 500)}"
                )


def _caption_parts(setting: str) -> list[tuple[str, str]]:
    """Member and key of each part of the setting; "" for a member that is the caption as a whole."""
    parts = (split_setting(part) for part in setting.split(",") if part.strip())
    return [(member.lstrip(".").lower(), key) for member, key in parts]


def _is_json(member: str) -> bool:
    return member == "json" or member.endswith(".json")


def _some(names: Sequence[str]) -> str:
    """Names for a message, as many as it can bear."""
    more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
    return one_line(", ".join(map(repr, names[:SHOWN_KEYS])) + more, 500) if names else "of no text"


def _facts(sample: _Sample, texts: _Texts, member: str = "json") -> tuple[Mapping[str, Any], str]:
    """What a sample's member json says, if it is an object; and what is wrong with it."""
    if member not in sample.members:
        return {}, ""
    text, problem = texts.read(sample.members[member])
    if problem:
        return {}, problem
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"is no JSON: {error}"
    return facts if isinstance(facts, dict) else {}, ""


def split_name(path: str) -> tuple[str, str]:
    """Key and extension (in small letters) of a member; two empty texts if it belongs to no sample.

    Hidden files belong to none, such as macOS's `._photo.jpg`, nor does what has no extension, or leads out of the tar.
    Absolute names are read as if they began below it.
    """
    match = MEMBER.fullmatch("/".join(step for step in path.split("/") if step not in {"", "."}))
    if not match or any(step.startswith((".", "__MACOSX")) for step in match[1].split("/")):
        return "", ""
    return match[1], match[2].lower()


def example(count: int, noun: str, first: str) -> str:
    """How many members there are of a kind, and the first."""
    head, _, tail = noun.partition(" with")
    what = counted(count, head) + (f" with{tail}" if tail else "")
    return f"{what}, such as {shown(printable(first), LONGEST_SHOWN)}"


def _oddity(path: str) -> str:
    """What ails a member that belongs to no sample, in words; "" for what systems and people put beside samples."""
    steps = [step for step in path.split("/") if step not in {"", "."}]
    if ".." in steps:
        return OUT
    base = steps[-1] if steps else ""
    if base.startswith("._") or any(step in QUIET or step.startswith("__MACOSX") for step in steps):
        return ""
    if any(step.startswith(".") for step in steps):
        return "with a hidden name or no key"
    return "" if base.upper() in PAPERS else "with no extension"


def _local(pattern: str) -> list[str]:
    """The files of a pattern; one without variable parts is its own, whether it is there or not."""
    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [pattern]
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - a Path's glob takes no absolute pattern


def _dataset_of(location: str) -> str:
    """The folder of the dataset that a shard belongs to; the shard's own, where it does not lie among others."""
    folder = location.rpartition("/")[0]
    return folder.removesuffix("/shards") or "/"


def _stem(name: str) -> str:
    """A tar's name without its suffix."""
    return next((name[: -len(s)] for s in TARS if name.lower().endswith(s)), name)


def _extensions(setting: str) -> tuple[str, ...]:
    return tuple(e.strip().lstrip(".").lower() for e in setting.split(",") if e.strip())


def _advised(extension: str) -> str:
    """A member's extension; with what to do, where it is that of a picture that is not read."""
    remedy = "" if f".{extension}" in SUFFIXES else REMEDIES.get(f".{extension}", "")
    return f"{extension} ({remedy})" if remedy else extension


def _side(extension: str) -> str:
    """What stands before the image suffix, as `gt` in gt.png; empty for anything else."""
    side, _, suffix = extension.rpartition(".")
    return side if f".{suffix}" in SUFFIXES else ""


def _params(value: Any) -> dict[str, float | int | str]:
    """Numbers and texts out of parameters as patina stores them: an object, or its JSON as one text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, dict):
        return {}
    return {
        printable(key): printable(v) if isinstance(v, str) else v
        for key, v in value.items()
        if (isinstance(v, int | str) and not isinstance(v, bool)) or (isinstance(v, float) and math.isfinite(v))
    }


def _expand(pattern: str) -> list[str]:
    """`a-{0..2}.tar` and `{a,b}.tar` as shells expand them; numbers keep the width of the first."""
    found = BRACES.search(pattern)
    if not found:
        return [pattern]
    span = RANGE.fullmatch(found[1])
    parts: Sequence[str] = found[1].split(",")
    if span:
        width = len(span[1])
        parts = [f"{number:0{width}d}" for number in range(int(span[1]), int(span[2]) + 1)]
    return [p for part in parts for p in _expand(pattern[: found.start()] + part + pattern[found.end() :])]
