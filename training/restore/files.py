"""Photographs restored from file to file: `patina restore`.

    file ─ decode ─► pixels ─ Restorer.look, .restore ─► 8-bit pixels ─ encode ─► file of the same format
             └ EXIF data, colour profile ─────────────────────────────────┘

A file is written whole or not at all, and never over a photograph that was given. One that cannot be read is told and
passed over. A restored photograph depends on its file, the model, the sampler, its steps, the seed and the tiles.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image

from patina.pipeline.codec.decode import FORMATS, MAX_BYTES, SUFFIXES
from patina.pipeline.errors import BadImageError, SourceError
from patina.pipeline.sources.reader import walk
from patina.pipeline.text import printable
from patina.training.checkpoints.model import write_in_one_step
from patina.training.diffusion.samplers import SamplingError
from patina.training.errors import CheckpointError, ModelInputError
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.photo import encode_photo, read_photo, writable
from patina.training.restore.restorer import Progress, Restorer

MIN_PROBABILITY_NAMED = 0.005
"""Probabilities below it are not named."""

OnRestored = Callable[["Restored"], None]


@dataclass(frozen=True)
class Restored:
    """What became of a file. degradations: the probability of each, 0 to 1; error: why there is no `out`."""

    source: Path
    out: Path | None
    degradations: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def line(self) -> str:
        """For any terminal, such as `a.jpg: noisy 93 %, jpeg-compressed 4 % → out/a.jpg, 1.2 s`."""
        name = printable(str(self.source))
        if self.out is None:
            return f"{name}: {self.error}"
        found = probabilities_line(self.degradations)
        line = f"{name}{': ' if found else ''}{found} → {printable(str(self.out))}, {self.seconds:.1f} s"
        return "; ".join([line, *self.notes])


def probabilities_line(degradations: Mapping[str, float], most: int = 2) -> str:
    """The likeliest degradations in percent: the first, and others that are not nearly nothing."""
    chosen = [
        (degradation, share)
        for i, (degradation, share) in enumerate(degradations.items())
        if i == 0 or share >= MIN_PROBABILITY_NAMED
    ]
    return ", ".join(f"{degradation} {100 * share:.0f} %" for degradation, share in chosen[:most])


# Files


@dataclass(frozen=True)
class RestoreJob:
    """A file to restore, and where it goes. height, width: as its header claims, 0 if it has none."""

    source: Path
    out: Path
    height: int = 0
    width: int = 0


def restore_jobs(paths: Sequence[Path], out: Path) -> list[RestoreJob]:
    """The photographs in `paths`, files or folders, and where below `out` they go: a folder's with its sub-folders.

    Only headers are read. What lies below `out` already is nobody's input. Raises SourceError, before anything is done,
    for a path that is not there, a folder without photographs, and where a file would take another's place.
    """
    if out.exists() and not out.is_dir():
        raise SourceError(f"--out: expected a folder, found a file at {printable(str(out))}")
    found: dict[tuple[str, Path], Path] = {}
    for path in paths:
        for source, name in _photographs(path, out):
            found.setdefault((os.path.realpath(source), name), source)
    jobs = [_restore_job(source, out / name) for (_, name), source in found.items()]
    _check_places(jobs)
    return jobs


def _photographs(path: Path, out: Path) -> list[tuple[Path, Path]]:
    """Each file, and its name below the output folder."""
    if path.is_file():
        return [(path, Path(path.name))]
    if not path.is_dir():
        what = "is neither a file nor a folder" if path.exists() else "there is no such file or folder"
        raise SourceError(f"{printable(str(path))}: {what}; expected photographs, or folders of them")
    own, others = out.resolve(), 0
    inside = path.resolve() in own.parents
    files = []
    for name in walk(str(path), "photographs"):
        file = Path(name)
        if inside and (place := file.parent.resolve()) and (place == own or own in place.parents):
            continue
        if file.suffix.lower() in SUFFIXES and file.is_file():
            files.append((file, file.relative_to(path)))
        else:
            others += 1
    if not files:
        beside = f" among {others} other files" if others else ""
        raise SourceError(f"{printable(str(path))}: expected photographs in this folder, found none{beside}")
    return sorted(files)


def _restore_job(source: Path, out: Path) -> RestoreJob:
    try:
        with PIL.Image.open(source, formats=FORMATS) as picture:
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


def _check_places(jobs: Sequence[RestoreJob]) -> None:
    """Raise SourceError where a file would be written over an input, or two to one place."""
    inputs = {_identity(job.source): job.source for job in jobs}
    takers: dict[Path, Path] = {}
    for job in jobs:
        there = _identity(job.out)
        if there and there in inputs:
            raise SourceError(
                f"{printable(str(job.out))} is a photograph that was given; restored ones never replace those, so "
                "choose another --out"
            )
        other = takers.setdefault(job.out, job.source)
        if other != job.source:
            raise SourceError(
                f"{printable(str(other))} and {printable(str(job.source))} would both become "
                f"{printable(str(job.out))}; restore them into different folders"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def restore_files(
    paths: Sequence[Path],
    out: Path,
    restorer: Restorer,
    options: RestoreOptions | None = None,
    *,
    progress: Progress | None = None,
    on_restored: OnRestored | None = None,
) -> list[Restored]:
    """Restore photographs, or folders of them, into the folder `out`.

    progress  in network calls, of all photographs together. on_restored: called with each file as soon as it is done.

    A file that cannot be read or restored has its `error` in the result. Raises, before anything is done, SourceError
    and ModelInputError; later CheckpointError for a place that takes no files, RunFailedError for lack of memory.
    """
    photo_restorer = PhotoRestorer(restorer, options or RestoreOptions())
    jobs = restore_jobs(paths, out)
    calls = [photo_restorer.calls(e.height, e.width) if e.height else 1 for e in jobs]
    meter = _Meter(progress, sum(calls))
    done = []
    for job, count in zip(jobs, calls, strict=True):
        result = _restored(job, photo_restorer, meter.part(count))
        meter.finish(count)
        done.append(result)
        if on_restored:
            on_restored(result)
    return done


class _Meter:
    """Joins the progress of photographs. Where one takes more calls than it should, its share stays as planned."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._before = self._told = 0

    def part(self, count: int) -> Progress:
        return lambda done, of: self._tell(self._before + count * done // of)

    def finish(self, count: int) -> None:
        self._before += count
        self._tell(self._before)

    def _tell(self, done: int) -> None:
        if self._progress and done > self._told:
            self._told = done
            self._progress(done, self._total)


def _restored(job: RestoreJob, photo_restorer: PhotoRestorer, progress: Progress) -> Restored:
    start = time.monotonic()
    try:
        if (size := job.source.stat().st_size) > MAX_BYTES:
            raise BadImageError(f"has {size / 1e9:,.1f} GB, more than any photograph")
        photo = read_photo(job.source.read_bytes())
        image, condition, notes = photo_restorer.restore(photo.image, progress)
        options = photo_restorer.options
        data, left_out = encode_photo(image, photo, quality=options.quality, strip=options.strip)
    except (BadImageError, OSError, ModelInputError, SamplingError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return Restored(job.source, None, seconds=time.monotonic() - start, error=printable(reason))
    write_photo(job.out, data)
    notes = [*photo.notes, *notes, *left_out]
    return Restored(job.source, job.out, condition.degradations, time.monotonic() - start, tuple(notes))


def write_photo(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or as it was before. Raises CheckpointError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{printable(str(path.parent))}: no folder can be made here ({error.strerror}); choose another --out"
        ) from error
    write_in_one_step(path, lambda temporary: temporary.write_bytes(data))
