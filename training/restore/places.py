"""Which photographs are restored, and where each goes: the plan of `patina restore`, checked before the first picture.

Nothing that was given is replaced, and nothing is passed over unseen. Files are compared as what they are on the disk:
links, hard links and names that a file system takes for one are one file.

A folder may be restored into a folder within it, again and again. So that the results of an earlier run are told from
photographs that were given, each result's digest is noted in patina's cache; what lies in the output folder and has not
that digest counts as given.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from patina.pipeline.codec.decode import SUFFIXES, readable_formats
from patina.pipeline.errors import SourceError
from patina.pipeline.hashing import file_sha256
from patina.pipeline.sources.locations import cache_folder
from patina.pipeline.sources.passed_over import passed_over, unread_kinds
from patina.pipeline.sources.reader import walk
from patina.pipeline.text import printable
from patina.training.errors import CheckpointError
from patina.training.restore.photo import writable

MOST_NAMED = 5
"""Files of one folder that are passed over for one reason, up to which each has a line of its own."""


@dataclass(frozen=True)
class RestoreJob:
    """A file to restore, and where it goes. height, width: as its header claims, 0 if it has none."""

    source: Path
    out: Path
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class RestorePlan:
    """What a run does: its jobs; the image files that it passes over, each with the reason in words; and a sentence for
    each folder with pictures of kinds that are not read."""

    jobs: tuple[RestoreJob, ...]
    passed: tuple[tuple[Path, str], ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """A line for each file that is passed over; one for a folder's, where there are many of one reason, or where
        they are of kinds that are not read."""
        groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path, reason in self.passed:
            groups[path.parent, reason].append(path)
        lines = []
        for (folder, reason), files in groups.items():
            if len(files) <= MOST_NAMED:
                lines += [f"passed over {printable(str(path))}: {reason}" for path in files]
            else:
                first, last = printable(files[0].name), printable(files[-1].name)
                what = f"{len(files):,} files in {printable(str(folder))}, {first} to {last}"
                lines.append(f"passed over {what}: each {reason}")
        return [*lines, *self.unread]


def restore_jobs(paths: Sequence[Path], out: Path) -> list[RestoreJob]:
    """The photographs in `paths`, files or folders, and where below `out` they go. Raises like `plan_restoring`."""
    return list(plan_restoring(paths, out).jobs)


def plan_restoring(paths: Sequence[Path], out: Path) -> RestorePlan:
    """The photographs in `paths`, files or folders, and where below `out` they go: a folder's with its sub-folders.

    Only headers are read, and of earlier results their bytes. Raises SourceError, before anything is done, for a path
    that is not there, a folder without photographs, and where a file would take the place of one that was given or of
    another's result; CheckpointError where a folder would have to take the place of a file.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise SourceError(f"--out: expected a folder, found a file at {printable(str(out))}")
    results = _results_in(out)
    found: dict[tuple[str, Path], Path] = {}
    passed: dict[Path, str] = {}
    unread: dict[str, None] = {}
    given: list[Path] = []
    for path in paths:
        for source, name in _photographs(path, out, results, passed, unread):
            found.setdefault((os.path.realpath(source), name), source)
            given.append(source)
    jobs = [_restore_job(source, out / name) for (_, name), source in found.items()]
    kept = [path for path, reason in passed.items() if reason != EARLIER]
    _expect_free([*given, *kept], jobs, out)
    taken = {os.path.realpath(path) for path in given}
    left = [(path, reason) for path, reason in passed.items() if os.path.realpath(path) not in taken]
    return RestorePlan(tuple(jobs), tuple(sorted(left)), tuple(unread))


EARLIER = "is the result of an earlier run into this folder"


def _photographs(
    path: Path, out: Path, results: Mapping[str, str], passed: dict[Path, str], unread: dict[str, None]
) -> list[tuple[Path, Path]]:
    """Each file, and its name below the output folder; the image files that are passed over are added to `passed`, and
    to `unread` a sentence on those of kinds that are not read."""
    if path.is_file():
        return [(path, Path(path.name))]
    if not path.is_dir():
        what = "is neither a file nor a folder" if path.exists() else "there is no such file or folder"
        raise SourceError(f"{printable(str(path))}: {what}; expected photographs, or folders of them")
    own = out.resolve()
    asked_for = own in (path.resolve(), *path.resolve().parents)  # the output folder itself, or one in it
    files, others, strange = [], 0, dict[str, str]()
    for name in walk(str(path), "photographs"):
        file = Path(name)
        if file.suffix.lower() not in SUFFIXES:
            others += 1
            strange[file.relative_to(path).as_posix()] = name
        elif not file.is_file():
            others += 1
            passed[file] = "leads to nothing" if file.is_symlink() else "is no plain file"
        elif not asked_for and _is_result(file, results):
            passed[file] = EARLIER
        else:
            files.append((file, file.relative_to(path)))
    note = passed_over(printable(str(path)), unread_kinds(strange, strange))
    if not files:
        beside = f" among {others} other files" if others else ""
        told = f"; {note}" if note else ""
        raise SourceError(f"{printable(str(path))}: expected photographs in this folder, found none{beside}{told}")
    if note:
        unread[note] = None
    seen = {file for file, _ in files}
    for file in _image_files(path):
        if file not in seen:
            passed.setdefault(file, "is hidden, or part of a patina dataset; name its folder to restore it")
    return sorted(files)


def _image_files(folder: Path) -> Iterator[Path]:
    """All image files below a folder by their suffix, those too that `walk` does not enter; each folder once."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        yield from (Path(root, name) for name in names if Path(name).suffix.lower() in SUFFIXES)


def _restore_job(source: Path, out: Path) -> RestoreJob:
    try:
        with PIL.Image.open(source, formats=readable_formats()) as picture:
            found, (width, height) = picture.format or "", picture.size
    except Exception:  # codecs raise all kinds; reading the file will tell the reason
        return RestoreJob(source, out)
    written = writable(found)
    usual = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif")}.get(written, ())
    if written != found and out.suffix.lower() not in usual:
        out = out.with_suffix({"JPEG": ".jpg", "PNG": ".png"}[written])
    elif found == "PPM" and out.suffix.lower() == ".pbm":
        out = out.with_suffix(".pgm")
    return RestoreJob(source, out, height, width)


# ---------------------------------------------------------------------------------------------------------------------
# Places


def _expect_free(given: Sequence[Path], jobs: Sequence[RestoreJob], out: Path) -> None:
    """Raise SourceError where a file would be written over a given one, over a folder, or two to one place;
    CheckpointError below a file."""
    files = {identity for path in given if (identity := _identity(path))}
    names = {_place(path) for path in given}
    folded = ignores_case(out)
    takers: dict[str, Path] = {}
    for job in jobs:
        place = _place(job.out)
        if place in names or _identity(job.out) in files:
            raise SourceError(
                f"{printable(str(job.out))} is a photograph that was given; restored ones never replace those, so "
                "choose another --out, or remove it if it is a result that is not wanted"
            )
        if job.out.is_dir():
            raise SourceError(
                f"{printable(str(job.out))} is a folder, where a photograph would go; choose another --out"
            )
        for above in job.out.parents:
            if out in above.parents and os.path.lexists(above) and not above.is_dir():
                what = "no folder can be made here, for it is a file; choose another --out"
                raise CheckpointError(f"{printable(str(above))}: {what}")
        key = unicodedata.normalize("NFC", place).casefold() if folded else place
        other = takers.setdefault(key, job.source)
        if other != job.source:
            raise SourceError(
                f"{printable(str(other))} and {printable(str(job.source))} would both become "
                f"{printable(str(job.out))}; restore them into different folders"
            )
    for key, source in takers.items():
        above_it = next((takers[str(parent)] for parent in Path(key).parents if str(parent) in takers), None)
        if above_it:
            raise SourceError(
                f"{printable(str(above_it))} would become a file where {printable(str(source))} needs a folder; "
                "restore them into different folders"
            )


def _place(path: Path) -> str:
    """The real path of a file's folder, and its name: where a file of this name is written or replaced."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - of a million files


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def ignores_case(folder: Path) -> bool:
    """Whether `A` and `a` are one name in a folder, going by the nearest one above that is there and has a letter in
    its name. Where none has, they are taken for one."""
    place = Path(os.path.realpath(folder))
    for path in (place, *place.parents):
        other = path.with_name(path.name.swapcase()) if path.name else path
        if path.exists() and other != path:
            return _identity(other) == _identity(path)
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Results of earlier runs


def note_result(out: Path, path: Path, data: bytes) -> None:
    """Note in the cache that the file `path`, below the output folder `out`, is a result: what its digest is."""
    note = {"path": _place(path), "sha256": hashlib.sha256(data).hexdigest()}
    with suppress(OSError):  # without the note a later run takes the result for a photograph, and says so
        file = _notes_of(out)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")


def _results_in(out: Path) -> dict[str, str]:
    """Digests of the results of earlier runs into a folder, by place."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in _notes_of(out).read_text("utf-8", "replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that a killed run tore
                note = json.loads(line)
                found[str(note["path"])] = str(note["sha256"])
    return found


def _notes_of(out: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()[:32]
    return cache_folder() / "restored" / f"{name}.jsonl"


def _is_result(path: Path, results: Mapping[str, str]) -> bool:
    """Whether a file is, byte for byte, what an earlier run wrote there."""
    digest = results.get(_place(path))
    try:
        return digest is not None and file_sha256(path) == digest
    except OSError:
        return False
