"""Photographs restored from file to file: `patina restore`.

    file ─ decode ─► pixels ─ Restorer.look, .restore ─► 8-bit pixels ─ encode ─► file of the same format
             └ EXIF data, colour profile ─────────────────────────────────┘

A file is written whole or not at all, and never over a photograph that was given (`places`). One that cannot be read is
told and passed over. A restored photograph depends on its file, the model, the sampler, its steps, the seed and the
tiles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patina.pipeline.codec.decode import MAX_BYTES
from patina.pipeline.errors import BadImageError
from patina.pipeline.text import printable
from patina.training.checkpoints.model import write_in_one_step
from patina.training.errors import CheckpointError, ModelInputError, NotFiniteError
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.photo import encode_photo, read_photo
from patina.training.restore.places import RestoreJob, note_result, plan_restoring
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
    jobs = plan_restoring(paths, out).jobs
    calls = [photo_restorer.calls(e.height, e.width) if e.height else 1 for e in jobs]
    meter = _Meter(progress, sum(calls))
    done = []
    for job, count in zip(jobs, calls, strict=True):
        result = _restored(job, out, photo_restorer, meter.part(count))
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


def _restored(job: RestoreJob, out: Path, photo_restorer: PhotoRestorer, progress: Progress) -> Restored:
    start = time.monotonic()
    try:
        if (size := job.source.stat().st_size) > MAX_BYTES:
            raise BadImageError(f"has {size / 1e9:,.1f} GB, more than any photograph")
        photo = read_photo(job.source.read_bytes())
        image, condition, notes = photo_restorer.restore(photo.image, progress)
        options = photo_restorer.options
        data, left_out = encode_photo(image, photo, quality=options.quality, strip=options.strip)
    except (BadImageError, OSError, ModelInputError, NotFiniteError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return Restored(job.source, None, seconds=time.monotonic() - start, error=printable(reason))
    write_photo(job.out, data)
    note_result(out, job.out, data)
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
