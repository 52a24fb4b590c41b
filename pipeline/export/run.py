"""Makes an export: in a folder beside its target, which it replaces in one step when all is written."""

from __future__ import annotations

import json
import os
import shutil
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from patina.pipeline.disk_errors import explain_disk_errors, explain_errors
from patina.pipeline.errors import ManifestError
from patina.pipeline.export import EXPORTS
from patina.pipeline.export.format import ExportError, Format, Sample, View, cells, sample_of
from patina.pipeline.files import lock, still_names
from patina.pipeline.format.layout import SOURCES, SPLITS
from patina.pipeline.format.manifest import Manifest, ShardEntry, load_manifest, read_table, sources_schema
from patina.pipeline.format.rows import row_of
from patina.pipeline.format.shard import read_shard
from patina.pipeline.hashing import canonical_json, file_sha256
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.pipeline.text import human_bytes, nearest
from patina.pipeline.versions.lease import OpenDataset, open_dataset

MARKER = ".patina-export.json"
"""In every export: of what dataset it is, and how it was made. Hidden, so that readers of folders pass it over."""

LICENCES = "licences.csv"


@dataclass(frozen=True)
class Exported:
    """An export that exists. `fresh`: whether it was written now, and not found as it should be. `samples` and `files`
    count what is in it."""

    out: Path
    samples: int
    files: int
    fresh: bool


def choose(format_name: str, **settings: str) -> Format:
    """The format of that name, with those of `settings` that are not empty. Raises ExportError."""
    if format_name not in EXPORTS:
        raise ExportError(f"--to: there is no format {format_name!r}; {nearest(format_name, EXPORTS)}")
    kind = EXPORTS[format_name]
    given = {name: value for name, value in settings.items() if value}
    if unknown := sorted(given.keys() - {field.name for field in fields(kind)}):
        takers = [name for name, other in EXPORTS.items() if unknown[0] in {f.name for f in fields(other)}]
        raise ExportError(f"--{unknown[0]}: {format_name} does not take it, only {', '.join(takers) or 'none'} does")
    return kind(**given)


def export(
    dataset: Path,
    out: Path,
    to: Format,
    *,
    splits: Sequence[str] = (),
    degradations: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the samples of `dataset` into the folder `out`, laid out as the format says; images keep their bytes.

    dataset               its folder, or a version of it (OUT@VERSION).
    splits, degradations  what to export, the latter by entry or label; empty: all. workers: threads that write files.
    `progress` is called after every sample with (done, total). Memory does not grow with the dataset.

    An `out` that holds an equal export is left alone; an earlier export is replaced as a whole once the new one is
    written; any other folder with files in it is refused; and an interruption leaves what was there. Raises
    ExportError, ManifestError, DamagedShardError, OSError.
    """
    with open_dataset(dataset) as opened:  # one version to the end, whatever is published meanwhile
        return _export(opened, out, to, splits, degradations, workers, progress or (lambda done, total: None))


def _export(
    opened: OpenDataset,
    out: Path,
    to: Format,
    splits: Sequence[str],
    degradations: Sequence[str],
    workers: int,
    progress: Callable[[int, int], None],
) -> Exported:
    dataset, home = opened.home, opened.home.resolve()
    manifest = load_manifest(opened.folder)
    if manifest is None:
        raise ManifestError(f"{dataset}: expected a patina dataset, found no manifest.json")
    view = View(opened.folder, manifest, _chosen(manifest, splits, degradations))
    target = out.resolve()
    if target == home or target in home.parents or home in target.parents:
        raise ExportError(f"{out}: expected a folder apart from the dataset {dataset}, found one inside or around it")
    marker = json.loads(canonical_json(_marker(view, to, splits, degradations)))
    less = "export with fewer --workers, or where there is more"
    with explain_errors(dataset, less), explain_disk_errors(target, building=False), _beside(target) as half:
        earlier = _earlier(target)
        if earlier is not None and {**marker, **_counts(earlier)} == earlier and _files(target) == earlier["files"]:
            return Exported(out, earlier["samples"], earlier["files"], fresh=False)
        if to.copies or half.stat().st_dev != opened.folder.stat().st_dev:
            _expect_room(half, view)
        samples = _write(half, view, to, workers, progress)
        if load_manifest(opened.folder) != manifest:  # of a plain copy that was replaced
            raise ExportError(f"{dataset} was rebuilt while it was exported; export it again")
        marker |= {"samples": samples, "files": _files(half) + 1}
        (half / MARKER).write_text(json.dumps(marker, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
        os.sync()  # else the marker could outlive, through a power cut, files that it vouches for
        _replace(target, half)
    return Exported(out, samples, marker["files"], fresh=True)


def _chosen(manifest: Manifest, splits: Sequence[str], degradations: Sequence[str]) -> tuple[ShardEntry, ...]:
    """The shards to export. Raises ExportError for names that the dataset does not have."""
    labels = {
        shard.degradation: {
            shard.degradation,
            manifest.identities.get(shard.degradation, {}).get("label", shard.degradation),
        }
        for shard in manifest.shards
    }
    for name in degradations:
        if not any(name in names for names in labels.values()):
            raise ExportError(
                f"--degradation: the dataset has no {name!r}; {nearest(name, set().union(*labels.values()))}"
            )
    have = {shard.split for shard in manifest.shards}
    for split in splits:
        if split not in have:
            raise ExportError(f"--split: the dataset has no {split!r}; {nearest(split, have)}")
    chosen = tuple(
        shard
        for shard in manifest.shards
        if (not splits or shard.split in splits)
        and (not degradations or labels[shard.degradation].intersection(degradations))
    )
    if not chosen:
        what = " ".join([*splits, *degradations]) or "it has no shard"
        raise ExportError(f"nothing to export: the dataset has no sample of {what}")
    return chosen


def _marker(view: View, to: Format, splits: Sequence[str], degradations: Sequence[str]) -> dict[str, Any]:
    """All that decides an export's files."""
    return {
        "format": to.name,
        "version": to.version,
        "settings": asdict(to),
        "name": view.manifest.recipe["name"],
        "dataset": view.manifest.digest,
        "sources": view.manifest.sources_digest,
        "split": [split for split in SPLITS if split in splits],
        "degradation": sorted(set(degradations)),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The folder


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, locked for this process and removed at the end unless it was renamed. Finishes
    what an interrupted run left there. Raises ExportError if another process exports to the same place."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        above = next(path for path in target.parents if path.exists())
        raise ExportError(f"{target}: expected a folder to write, found that {above} is a file; name another") from None
    half, old = _named(target, "half"), _named(target, "old")

    def refusal(_: str) -> ExportError:
        return ExportError(f"{target} is being exported to by another process; wait for it or stop it")

    # The folder itself is locked, so that nothing but the export is left where the user wants it.
    with lock(half, refusal, make=partial(half.mkdir, exist_ok=True), folder=True) as descriptor:
        try:
            if old.exists() and not target.exists():  # cut short between the two renames of `_replace`
                old.rename(target)
            shutil.rmtree(old, ignore_errors=True)
            for path in half.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield half
        finally:
            if still_names(half, descriptor):  # else it has its own name by now
                shutil.rmtree(half, ignore_errors=True)


def _named(target: Path, part: str) -> Path:
    return target.with_name(f".{target.name}.patina-{part}")


def _earlier(target: Path) -> dict[str, Any] | None:
    """The marker of the export in `target`; None if nothing is there. Raises ExportError if it may not be replaced."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not target.is_dir():
        raise ExportError(f"{target}: expected a folder to write, found a file; name a new or empty folder with --out")
    try:
        found: dict[str, Any] = json.loads((target / MARKER).read_text("utf-8"))
        written = found["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(
            f"{target} holds something else than an export of patina; name a new or empty folder with --out"
        ) from None
    if (extra := _files(target) - written) > 0:
        raise ExportError(
            f"{target} holds {extra} file{'s' * (extra != 1)} that its export did not write, and replacing it would "
            "lose them; move them away, or name another folder with --out"
        )
    return found


def _counts(marker: dict[str, Any]) -> dict[str, Any]:
    """What a marker says beyond what decides the files."""
    return {name: marker.get(name) for name in ("samples", "files")}


def _files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _expect_room(half: Path, view: View) -> None:
    need, free = sum(shard.bytes for shard in view.shards), shutil.disk_usage(half).free
    if need > free:
        raise ExportError(f"{half.parent}: the export needs about {human_bytes(need)}, {human_bytes(free)} are free")


def _replace(target: Path, half: Path) -> None:
    """Put `half` in the place of `target`: the earlier one goes when the new one has its name."""
    old = _named(target, "old")
    if target.exists():
        target.rename(old)
    half.rename(target)
    shutil.rmtree(old, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# The samples


def _write(half: Path, view: View, to: Format, workers: int, progress: Callable[[int, int], None]) -> int:
    """Write all samples; gives their number."""
    rights: Counter[tuple[str, str]] = Counter()
    writer = to.open(half, view)

    def add(sample: Sample) -> Callable[[], None]:
        then = writer.add(sample)
        owed = (sample.source["licence"], sample.source["attribution"])

        def finish() -> None:
            then()
            rights[owed] += 1

        return finish

    try:
        total = sum(shard.count for shard in view.shards)
        for done, finish in enumerate(_in_order(add, _samples(view), workers), 1):
            finish()
            progress(done, total)
    finally:
        writer.close()
    lines = [cells((*owed, str(count))) for owed, count in sorted(rights.items())]
    (half / LICENCES).write_text("".join([cells(("licence", "attribution", "samples")), *lines]), "utf-8")
    return rights.total()


def _in_order(
    add: Callable[[Sample], Callable[[], None]], samples: Iterable[Sample], workers: int
) -> Iterator[Callable[[], None]]:
    """Results in the samples' order, of several threads at most a few samples ahead."""
    if workers == 1:
        yield from map(add, samples)
        return
    waiting: deque[Future[Callable[[], None]]] = deque()
    with stoppable_threads(workers) as pool:
        for sample in samples:
            waiting.append(pool.submit(add, sample))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _samples(view: View) -> Iterator[Sample]:
    """Every sample of the view. Raises ExportError if a shard is not what was written, before its first one."""
    sources = _Sources(view.folder)
    for shard in view.shards:
        path = view.path(shard)
        if not path.exists() or file_sha256(path) != shard.sha256:
            what = "its bytes are not those that were written" if path.exists() else "is missing"
            raise ExportError(f"{path}: {what}; `patina build` makes it again, and then export again")
        for key, members, span in read_shard(path):
            expect_wanted()
            row = row_of(key, members, span, shard.name, shard.split)
            yield sample_of(row, members, sources.row(row.source_sha256))


class _Sources:
    """Rows of sources.parquet by digest: kept as columns, since a million of them as objects would take gigabytes."""

    def __init__(self, folder: Path) -> None:
        self._table = read_table(folder / SOURCES, sources_schema()).combine_chunks()
        self._digests = self._table["digest"]

    def row(self, digest: str) -> dict[str, Any]:
        """One row. Raises ManifestError if there is none."""
        place = bisect_left(range(len(self._digests)), digest, key=lambda i: self._digests[i].as_py())
        found: list[dict[str, Any]] = self._table.slice(place, 1).to_pylist()
        if not found or found[0]["digest"] != digest:
            raise ManifestError(f"{SOURCES} lacks the source {digest}; `patina build` makes it again")
        return found[0]
