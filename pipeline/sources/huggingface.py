"""A dataset of Hugging Face's `datasets`: from the hub, a folder of files, or saved to disk. Images are not decoded."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import quote

from patina.pipeline.cache.scans import RECENT_NS
from patina.pipeline.errors import SourceError
from patina.pipeline.redaction import repr_without_secrets, without_secrets
from patina.pipeline.sources import columns, locations
from patina.pipeline.sources.dataset_columns import (
    ImageColumns,
    by_name,
    caption_column,
    clean_beside,
    expect_clean,
    expect_no_sides,
    expect_readable,
    image_columns,
    is_picture_name,
    no_image,
    own_column,
    suffix_of,
    unread_note,
    with_inner,
    within,
)
from patina.pipeline.sources.dataset_tars import tar_features
from patina.pipeline.sources.pairs import check_label
from patina.pipeline.sources.reader import Candidate, Found, Refusal, walk
from patina.pipeline.sources.rights import Rights, rights_in
from patina.pipeline.text import printable, shown

VERSION = 4
"""Raised when the reader says something else of the same dataset, so that all are read again."""

HUB = "hf://datasets/"
CAPTION = (*columns.CAPTION, "txt")  # `txt` in WebDatasets, patina's own among them
DEGRADATION = (*columns.DEGRADATION, "json.degradation")
IN_TARS = {"__key__", "__url__"}  # columns that the library gives to rows that it read from tars
OTHER_SUFFIX = (
    "; if its tar holds one of another suffix, which the library passes over behind the first samples, read a copy of "
    'the tars with kind = "webdataset"'
)
LONGEST_PATH = 4096
PEEKED = 8  # rows that tell whether a column of bytes or texts holds images
SOURCE = ("json.source_sha256", "json.source")  # the digest of a photograph, in patina's own datasets
IN_CACHE = re.compile(r".*/(?:snapshots/[0-9a-f]{40}|downloads/(?:extracted/)?[0-9a-f]{64})/(.+)", re.DOTALL)


@repr_without_secrets
@dataclass(frozen=True)
class HuggingFace:
    """The rows of the split `split_name` of the dataset `path`: a name on the hub such as owner/set, or a folder (begun
    with ./ or absolute) with its files or with what `save_to_disk` wrote.

    split_name         rows of a validation or test split, and those of which a column `split` says so, stay on that
                       side, unless `split` says otherwise.
    name               the dataset's configuration; "" for its default.
    revision           its branch, tag or commit on the hub; "" for its default.
    image              the column with the clean image: as such, as a file's bytes, or as a path below the folder. Of
                       several columns, "gt.png,gt.jpg", the one that a row has is read. "": the rows are pairs if the
                       columns' names say so (gt or hq beside lq, or beside png and jpg as in patina's own datasets),
                       else clean images of the only column of images; if there are several columns and their names do
                       not decide, the recipe must name one.
    lq                 the column with the degraded image, likewise.
    caption            the column with captions, json.caption for one within a column of objects; "": the first of
                       caption, text, title, txt. The first of a list counts.
    degradation        the label of all pairs; else `degradation_column`; else the column degradation, label, or
                       json.degradation (a dot leads into a column of objects).
    streaming          read rows as they come, and put no copy of the dataset into the library's own cache.
    keep_order         take each pair's images as they are named, even where most of them look exchanged.

    Licences and attributions come from the columns `licence` (or `license`) and `attribution`, for a dataset of
    patina's from its sources.parquet. What `licence` and `attribution` say here stands above them.

    Images that are no local files are kept in patina's cache, and with them the list of what the dataset holds: as long
    as it does not change, no row is read a second time. A dataset's own code is never run.
    """

    kind: ClassVar[str] = "huggingface"
    path: str = field(metadata={"folder_or_name": True})
    name: str = ""
    split_name: str = "train"
    revision: str = ""
    image: str = ""
    lq: str = ""
    caption: str = ""
    degradation_column: str = ""
    degradation: str = ""
    streaming: bool = False
    degradations: tuple[str, ...] = ()
    keep_order: bool = False
    split: str = ""
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise SourceError(f"path: expected a dataset's name such as owner/set, or a folder, found {self.path!r}")
        if not isinstance(self.streaming, bool):
            raise SourceError(f"streaming: expected true or false, found {self.streaming!r}")
        if self.degradation:
            check_label(self.degradation)
        if self.degradation and self.degradation_column:
            raise SourceError("degradation and degradation_column: give the one or the other")

    @property
    def title(self) -> str:
        """The dataset's name without its owner; the folder's."""
        return locations.base_name(self.path)

    @property
    def has_pairs(self) -> bool:
        """Unless only the clean image is named, perhaps: the columns tell."""
        return bool(self.lq) or not self.image

    @property
    def root(self) -> str:
        """The dataset's folder, or its address on the hub."""
        return self.path if self._is_local else f"{HUB}{self.path}"

    @property
    def _home(self) -> str:
        """The folder or the address on the hub, of the revision that is read."""
        return self.root if self._is_local or not self.revision else f"{self.root}@{quote(self.revision, safe='')}"

    @property
    def _is_local(self) -> bool:
        return Path(self.path).is_absolute()

    def find(self) -> Found:
        """List the rows; images that are no local files are kept in the cache on the way.

        Raises SourceError if the library is missing, the dataset, its split or a column is not there, or no row can be
        used.
        """
        datasets = _library()
        told: list[str] = []
        with _quiet(datasets):
            try:
                data = self._load(datasets, told)
                features = dict(data.features or {}) or _first_features(datasets, data)
                roles, notes = self._roles(datasets, features, data)
                fingerprint = self._fingerprint(data)
            except SourceError:
                raise
            except Exception as error:  # the library, its file systems and the hub's client have their own kinds
                raise self._explained(error) from None
            rights = rights_in(self._home) if roles.source else Rights()
            index = self._index(roles, fingerprint, rights)
            found = _cached_scan(index) if index else None
            if found is None:
                try:
                    found = self._read(datasets, data, roles, features, rights)
                except Exception as error:
                    raise self._explained(error) from None
                if index:
                    _keep(index, found)
        if not found.candidates:
            first = f"; the first: {found.refusals[0].name} {found.refusals[0].reason}" if found.refusals else ""
            raise SourceError(
                f"path: none of the {len(found.refusals)} rows of {self._display_name} can be used{first}"
            )
        return replace(found, notes=(*rights.notes, *told, *notes))

    def _load(self, datasets: ModuleType, notes: list[str]) -> Any:
        """The split as the library gives it: a Dataset, or an IterableDataset. What it passes over goes to `notes`."""
        if self._is_local and not Path(self.path).is_dir():
            what = "a file" if Path(self.path).exists() else "nothing"
            raise SourceError(f"path: expected a folder with a dataset at {self.path}, found {what}")
        if self._is_local and (Path(self.path) / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(self.path)
            if self.split_name not in splits:
                raise SourceError(f"split_name: {self.path} has no split {self.split_name!r} but {', '.join(splits)}")
            return splits[self.split_name].with_format(None)
        if self._is_local and (Path(self.path) / "state.json").is_file():
            return datasets.load_from_disk(self.path).with_format(None)
        features, told = tar_features(datasets, self.path, self.name, self.split_name) if self._is_local else (None, [])
        notes += told
        return datasets.load_dataset(
            self.path,
            self.name or None,
            split=self.split_name,
            revision=self.revision or None,
            streaming=self.streaming,
            features=features,
        ).with_format(None)  # a saved dataset may want its rows as tensors

    def _roles(self, datasets: ModuleType, features: Mapping[str, Any], data: Any) -> tuple[_Roles, tuple[str, ...]]:
        """Which columns hold what; and notes."""
        names = list(features)
        inner = with_inner(features)
        caption = caption_column(datasets, features, self.caption, CAPTION)
        label = self.degradation_column
        if label:
            columns.pick(inner, "degradation_column", label, ())
        elif not self.degradation:
            label = columns.pick(inner, "", "", DEGRADATION)
        chosen = self._image_roles(datasets, features, data)
        gt, lq = chosen.gt, chosen.lq
        if not gt:
            raise SourceError(
                f"image: expected a column of clean images, found {columns.listed(names)}; name one"
                f"{no_image(datasets, features)}"
            )
        if not lq and not self.image:
            expect_clean(datasets, features, gt[0], label)
        stated = [columns.pick(inner, "", "", known) for known in (columns.LICENCE, columns.ATTRIBUTION, SOURCE)]
        caption = "" if caption in {*gt, *lq} else caption
        in_tars = {*names} >= IN_TARS
        side = columns.pick(names, "", "", columns.SPLIT)
        roles = _Roles(gt, lq, caption, label if lq else "", stated[0], stated[1], stated[2], side, in_tars)
        if lq and not self.degradation and not label:
            raise SourceError(
                f"degradation: expected a column {' or '.join(DEGRADATION)} beside the pairs' images, found "
                f"{columns.listed(names)}; name it in degradation_column, or set one label for all"
            )
        read = [name for name in (*gt, *lq, caption, label, side, *stated) if name]
        notes = [*chosen.notes, *unread_note(features, read)]
        return roles, tuple(f"{locations.base_name(self.path)}: {note}" for note in notes)

    def _image_roles(self, datasets: ModuleType, features: Mapping[str, Any], data: Any) -> ImageColumns:
        """The columns of images: those that are named, else by the names of all that there are."""
        names = list(features)
        gt, lq = _wanted(names, "image", self.image), _wanted(names, "lq", self.lq)
        for setting, chosen in (("image", gt), ("lq", lq)):
            for column in chosen:
                expect_readable(datasets, setting, column, features[column])
        if gt:
            return ImageColumns(gt, lq)
        images = image_columns(datasets, features, lambda loose: self._peek(data, features, loose))
        if lq:
            return ImageColumns(clean_beside(images, lq), lq)
        found = by_name(images)
        if not found.lq:
            expect_no_sides(datasets, features)
        return found

    def _peek(self, data: Any, features: Mapping[str, Any], loose: Sequence[str]) -> dict[str, bool]:
        """Which columns of bytes and of texts hold images, going by the first rows; texts in local folders alone."""
        looked = [c for c in loose if self._is_local or "binary" in str(getattr(features[c], "dtype", ""))]
        rows = list(islice(data.select_columns(looked), PEEKED)) if looked else []
        cells = {c: [row[c] for row in rows if row.get(c) is not None] for c in looked}
        return {column: bool(found) and all(map(self._is_file, found)) for column, found in cells.items()}

    def _is_file(self, cell: Any) -> bool:
        """Whether a cell is an image file's bytes, or leads to one below the dataset's folder."""
        if isinstance(cell, bytes):
            return bool(suffix_of(cell))
        if not isinstance(cell, str) or not is_picture_name(cell):
            return False
        try:
            return Path(self._below(cell)).is_file()
        except (OSError, ValueError):
            return False

    def _read(
        self, datasets: ModuleType, data: Any, roles: _Roles, features: Mapping[str, Any], rights: Rights
    ) -> Found:
        texts = (roles.caption, roles.label, roles.licence, roles.attribution, roles.source, roles.side)
        wanted = dict.fromkeys(c for c in (*roles.gt, *roles.lq, *texts) if c)
        own = [own_column(features, name) for name in wanted]
        data = data.select_columns(list(dict.fromkeys(own)))
        for column in (*roles.gt, *roles.lq):
            data = data.cast_column(column, datasets.Image(decode=False))
        class_names = _class_names(features.get(roles.label))
        sides = _class_names(features.get(roles.side))
        candidates: list[Candidate] = []
        refusals: list[Refusal] = []
        for number, row in enumerate(data):
            found = self._candidate(number, row, roles, class_names)
            if isinstance(found, Refusal):
                refusals.append(found)
                continue
            licence, owed = rights.of(_text_of(within(row, roles.source), ()))
            licence = (
                printable(_text_of(within(row, roles.licence), _class_names(features.get(roles.licence)))) or licence
            )
            owed = printable(_text_of(within(row, roles.attribution), ())) or owed
            licence, owed = without_secrets(licence), without_secrets(owed)  # what is found is kept in the cache
            held_out = columns.held_out(_text_of(within(row, roles.side), sides).strip())
            candidates.append(replace(found, licence=licence, attribution=owed, split=held_out or found.split))
        return Found(_distinct(candidates), refusals)

    def _candidate(
        self, number: int, row: Mapping[str, Any], roles: _Roles, class_names: Sequence[str]
    ) -> Candidate | Refusal:
        split = re.sub(r"[^\w-]+", "-", self.split_name).strip("-")  # it may be a part, train[:10%]
        nameless = f"{split}-{number:06d}"
        sides: list[tuple[str, str]] = []
        for chosen, mark in ((roles.gt, ""), (roles.lq, ".lq")):
            if not chosen:
                continue
            present = [c for c in chosen if row[c] is not None]
            if len(present) != 1:
                several = f"images in several columns, {' and '.join(present)}; name one of them"
                none = f"no image in {columns.listed(chosen)}{OTHER_SUFFIX if roles.in_tars else ''}"
                return Refusal(nameless, f"has {several if present else none}")
            try:
                sides.append(self._image(row[present[0]], nameless + mark))
            except OSError as error:
                reason = f"its image in the column {present[0]!r} cannot be read: {without_secrets(str(error))}"
                return Refusal(nameless, reason)
        label = "" if self.degradation else _text_of(within(row, roles.label), class_names)
        if roles.lq and not self.degradation:
            label = columns.label_of(label)
            problem = columns.label_problem(label) if label else f"has no text in its column {roles.label!r}"
            if problem:
                return Refusal(nameless, problem)
        (path, name), (lq, lq_name) = sides[0], (*sides[1:], ("", ""))[0]
        lq_name = PurePosixPath(lq_name).name
        side = columns.held_out(self.split_name.partition("[")[0])  # a part, test[:10%], too
        return Candidate(name, path, lq, lq_name, label, side, _text_of(within(row, roles.caption), ()))

    def _image(self, cell: Mapping[str, Any], nameless: str) -> tuple[str, str]:
        """Location and name of an undecoded image. Raises OSError."""
        path, data = str(cell.get("path") or ""), cell.get("bytes")
        if data is None and locations.is_remote(path):
            import fsspec

            try:
                with fsspec.open(path, "rb") as file:
                    data = file.read()
            except Exception as error:  # each file system has its own kinds
                raise locations.LocationError(f"{path}: {error}") from None  # its text may quote the address
        if data is None:
            if not path:
                raise locations.LocationError("neither bytes nor a path")
            if len(path) > LONGEST_PATH:
                raise locations.LocationError(f"{shown(path)} is no path; text that is base64 is not read")
            if not Path(self._below(path)).is_file():
                raise locations.LocationError(f"there is no file {path}")
            path = os.path.abspath(self._below(path))  # noqa: PTH100 - links stay as they are written
            return path, self._name(path)
        location = str(locations.keep(data, hashlib.sha256(data).hexdigest()))
        if not path:
            return location, f"{nameless}.{suffix_of(data) or 'bin'}"
        return location, self._name(path)

    def _below(self, path: str) -> str:
        """Where a path leads: a relative one starts at the dataset's folder. Raises LocationError if it leads out."""
        if not self._is_local or Path(path).is_absolute():
            return path
        if ".." in PurePosixPath(path.replace("\\", "/")).parts:
            raise locations.LocationError(f"the path {shown(path)} leads out of the dataset's folder")
        return str(Path(self.path) / path)

    def _name(self, path: str) -> str:
        """A dataset's own path of an image, without the folders that are this machine's."""
        path = locations.place(path)
        inner = path.rpartition("::")[0] if "::" in path else path  # a/b.png in zip://a/b.png::hf://…
        inner = inner.partition("://")[2] or inner
        root = self.path.rstrip("/") + "/"
        if self._is_local and inner.startswith(root):
            inner = inner.removeprefix(root)
        elif found := IN_CACHE.fullmatch(inner):
            inner = found[1]
        elif PurePosixPath(inner).is_absolute() or ".." in PurePosixPath(inner).parts or locations.is_remote(path):
            inner = PurePosixPath(inner).name
        return printable(inner)

    def _fingerprint(self, data: Any) -> str:
        """A text that changes when the dataset does; empty if nothing tells."""
        own = getattr(data, "_fingerprint", None)
        if own and not self.streaming:
            return str(own)
        if self._is_local:
            return _state_of(self.path)
        import huggingface_hub

        info = huggingface_hub.HfApi().dataset_info(self.path, revision=self.revision or None)
        return str(info.sha or "")

    def _index(self, roles: _Roles, fingerprint: str, rights: Rights) -> Path | None:
        """Where the list of such a dataset's images is kept; None if nothing tells when it changes."""
        if not fingerprint:
            return None
        facts = {k: v for k, v in asdict(self).items() if k not in {"licence", "attribution", "split", "degradations"}}
        key = json.dumps([VERSION, fingerprint, rights.digest, facts, asdict(roles)], sort_keys=True)
        return locations.cache_folder() / "huggingface" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    @property
    def _display_name(self) -> str:
        return f"{self.path}, split {self.split_name}"

    def _explained(self, error: Exception) -> SourceError:
        """What the library said, as a sentence with a remedy."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        words = " ".join(str(error).split()) or type(error).__name__
        words = words if len(words) < 400 else words[:400] + "…"
        away = {"ConnectionError", "OfflineModeIsEnabled", "TimeoutError", "HTTPError"}
        lower = words.lower()
        sentences = (
            (
                "gated" in lower or "GatedRepoError" in kinds,
                f"path: the dataset {self.path} is gated: accept its terms on its page, then run `hf auth login` or "
                "set HF_TOKEN",
            ),
            (
                kinds & {"EmptyDatasetError", "DataFilesNotFoundError"},
                f"path: {self.path} holds no files that `datasets` knows how to read: {words}",
            ),
            (
                "RevisionNotFoundError" in kinds or (self.revision and "revision" in lower),
                f"revision: {self.path} has no {self.revision!r}: {words}",
            ),
            (
                kinds & {"DatasetNotFoundError", "RepositoryNotFoundError"},
                f"path: there is no dataset {self.path} on the hub; check the name, or log in if it is private; begin "
                "the path of a folder with ./",
            ),
            (
                "share the same prefix or the same types" in lower,
                f"path: {self.path} holds tars whose samples have members of different suffixes, which the library "
                'cannot take in; read a copy of them with kind = "webdataset"',
            ),
            (words.startswith("Unknown split"), f"split_name: {words}"),
            ("BuilderConfig" in words or "Config name" in words, f"name: {words}"),
            (
                "scripts are no longer supported" in lower,
                f"path: {self.path} is made by code of its own, which is not run; save it as parquet",
            ),
            (
                kinds & away and not self._is_local,
                f"path: the hub cannot be reached for {self.path} ({words}); check the connection and HF_HUB_OFFLINE, "
                "or give the path of a copy, begun with ./",
            ),
        )
        return SourceError(next((said for holds, said in sentences if holds), f"path: {self._display_name}: {words}"))


@dataclass(frozen=True)
class _Roles:
    """Columns of clean and of degraded images, and of texts: captions, labels, licences, attributions, digests of
    sources, sides. Empty where there are none. in_tars: whether the library reads the rows from tars."""

    gt: tuple[str, ...]
    lq: tuple[str, ...]
    caption: str
    label: str
    licence: str
    attribution: str
    source: str
    side: str = ""
    in_tars: bool = False


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        what = f"the package `datasets` is needed and cannot be imported ({error})"
        raise SourceError(f"kind huggingface: {what}; pip install 'patina-ir[hub]'") from None
    library: ModuleType = datasets
    return library


@contextmanager
def _quiet(datasets: ModuleType) -> Iterator[None]:
    """No progress bars, logs or warnings of the libraries on the terminal; afterwards as it was."""
    import huggingface_hub.utils

    hub: Any = huggingface_hub.utils  # these functions are documented, and not declared
    bars, hub_bars = datasets.utils.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    level, hub_level = datasets.logging.get_verbosity(), hub.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets.disable_progress_bars()
        hub.disable_progress_bars()
        datasets.logging.set_verbosity_error()
        hub.logging.set_verbosity_error()
        try:
            yield
        finally:
            datasets.logging.set_verbosity(level)
            hub.logging.set_verbosity(hub_level)
            if bars:
                datasets.enable_progress_bars()
            if hub_bars:
                hub.enable_progress_bars()


def _first_features(datasets: ModuleType, data: Any) -> dict[str, Any]:
    """The columns of a stream that does not know them, by its first row."""
    row = next(iter(data), None)
    return dict(datasets.Dataset.from_list([row]).features) if row else {}


def _wanted(names: Sequence[str], setting: str, written: str) -> tuple[str, ...]:
    if not written or written in names:
        return (written,) if written else ()
    return tuple(columns.pick(names, setting, c.strip(), ()) for c in written.split(",") if c.strip())


def _class_names(feature: Any) -> Sequence[str]:
    """The words that a column's numbers stand for, if they do."""
    return tuple(getattr(feature, "names", None) or ())


def _text_of(value: Any, class_names: Sequence[str]) -> str:
    """A cell as text: the first of a list, the word of a class; empty for anything else."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(class_names):
        return class_names[value]
    return value if isinstance(value, str) else ""


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """In name order; different images of one name get a number before it, 1/a.png and so on, in the order of rows."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for candidate in candidates:
        same = numbers[candidate.name]
        same.setdefault(candidate.path, len(same) + 1)
    renamed = [
        replace(c, name=f"{numbers[c.name][c.path]}/{c.name}") if len(numbers[c.name]) > 1 else c for c in candidates
    ]
    return sorted(renamed, key=lambda c: (c.name, c.lq))


def _state_of(folder: str) -> str:
    """A digest of the names, sizes and times of all files in a folder; empty if one changed just now."""
    digest = hashlib.sha256()
    newest = 0
    for path in sorted(walk(folder, "path", datasets=True)):
        stat = os.stat(path)  # noqa: PTH116
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
        digest.update(f"{os.fsencode(path)!r} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n".encode())
    return digest.hexdigest() if time.time_ns() - newest >= RECENT_NS else ""


def _cached_scan(index: Path) -> Found | None:
    """What an earlier scan found, if all its files are still there."""
    try:
        record = json.loads(index.read_bytes())
        candidates = [Candidate(**{**c, "sizes": tuple(map(tuple, c["sizes"]))}) for c in record["candidates"]]
        refusals = [Refusal(**r) for r in record["refusals"]]
    except (OSError, ValueError, KeyError, TypeError):  # a cache: what cannot be read is made again
        return None
    whole = all(os.path.exists(path) for c in candidates for path in (c.path, c.lq) if path)  # noqa: PTH110
    return Found(candidates, refusals) if whole else None


def _keep(index: Path, found: Found) -> None:
    record = {"candidates": [asdict(c) for c in found.candidates], "refusals": [asdict(r) for r in found.refusals]}
    with locations.caching(index) as half:
        half.write_text(json.dumps(record), encoding="ascii")
