"""A dataset's folder while it is worked on: its lock, its staging folder, and publishing in one step.

OUT/.patina/lock           held by the one build that may write here
OUT/.patina/staging/       shards that are finished but not published, and what is half written
OUT/.patina/journal.json   a publication under way; whoever finds one finishes it
OUT/.patina/scan.sqlite    digests and inspections, OUT/.patina/captions.sqlite  captions that models made
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from patina.pipeline.cache.database import is_blank
from patina.pipeline.errors import LockedError, ManifestError
from patina.pipeline.files import lock, sync, write_atomically
from patina.pipeline.format.layout import MANIFEST, PRIVATE, SHARDS, STORES


class Workspace:
    """The folder `out` under its lock. Entering makes the folder, takes the lock and finishes a broken publication; an
    error within it removes what entering made, unless something that is worth keeping lies there by then.

    Raises LockedError if another live process holds the lock, OSError if the folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.absolute()
        self.private = self.out / PRIVATE
        self.staging = self.private / "staging"
        self._held = ExitStack()
        self._lock: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Workspace:
        self._expect_ours()
        self._made = [path for path in (self.private, self.out, *self.out.parents) if not path.exists()]
        place = self.private / "lock"
        self._lock = self._held.enter_context(lock(place, self._refusal, make=self._make))
        try:
            if not self.staging.is_dir():  # a run that failed removed it before this one had the lock
                self._make()
            self._finish_publication()
        except BaseException:
            self._release()
            raise
        return self

    def _expect_ours(self) -> None:
        """Raise ManifestError if the folder holds files, and none of ours."""
        names: list[str] = []
        with suppress(FileNotFoundError):  # one look, since another run may make or remove the folder just now
            names = [path.name for path in self.out.iterdir()]
        if names and PRIVATE not in names:
            raise ManifestError(
                f"{self.out} holds files and is no patina dataset; name a new or empty folder with --out"
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and self.private in self._made:
            with suppress(OSError):  # the error that led here is the one to be told
                self._remove_made()
        self._release()

    def _make(self) -> None:
        self.staging.mkdir(parents=True, exist_ok=True)

    def _refusal(self, holder: str) -> LockedError:
        return LockedError(f"{self.out} is being built by {holder}; wait for it or stop it")

    def _remove_made(self) -> None:
        """Remove the folders that entering made, if there is nothing in them but a lock and stores without a row.

        The lock goes last of what lies in the private folder, and is still held: whoever opened its file meanwhile
        finds that the name is gone, or another file's, and asks again.
        """
        there = {path.name for path in self.private.iterdir()}
        stores = [self.private / name for name in STORES if name in there]
        if there - {"lock", "staging", *STORES} or any(self.staging.iterdir()) or not all(map(is_blank, stores)):
            return
        for store in stores:
            store.unlink()
        self.staging.rmdir()
        (self.private / "lock").unlink()
        for path in self._made:
            path.rmdir()

    def _release(self) -> None:
        self._held.close()
        self._lock = None

    # -----------------------------------------------------------------------------------------------------------------

    def publish(self, staged: Mapping[str, Path], texts: Mapping[str, str | bytes | Path], drop: Sequence[str]) -> None:
        """Replace the dataset in one step: readers see the old one or the new one, and never half a shard.

        staged  finished shards by file name. texts: other files by path relative to the folder, in the order in which
        they are to be replaced, manifest last. drop: file names of shards to remove. What is in the staging folder
        and not published is removed.
        """
        fresh = self.staging / "publish"
        shutil.rmtree(fresh, ignore_errors=True)
        moves = [[str(path.relative_to(self.private)), f"{SHARDS}/{name}"] for name, path in staged.items()]
        folders = {self.staging}
        for name, content in texts.items():
            path = fresh / name
            folders.add(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                content.replace(path)
            else:
                path.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            sync(path)
            moves.append([str(path.relative_to(self.private)), name])
        for folder in folders:  # a journal must not outlive, in a power cut, the names that it speaks of
            sync(folder)
        journal = self.private / "journal.json"
        body = json.dumps({"moves": moves, "drop": [f"{SHARDS}/{name}" for name in drop]})
        write_atomically(journal, body, durable=True, temporary=journal.with_suffix(".tmp"))  # by its name it is swept
        self._finish_publication()
        self.sweep(())

    def _finish_publication(self) -> None:
        """Carry out the journal, from whatever point an earlier run left it at."""
        journal = self.private / "journal.json"
        try:
            moves, drop = _read_journal(journal.read_bytes())
        except FileNotFoundError:
            return
        except (ValueError, IsADirectoryError) as error:
            # Whatever was moved already does not fit the old manifest's digests, so it is found and made again.
            logging.getLogger(__name__).warning("%s is damaged (%s): put aside", journal, error)
            self._put_aside(journal)
            return
        self._expect_folder(self.out / SHARDS)
        *others, manifest = moves
        for staged, final in others:
            self._move(staged, final)
        for name in drop:
            if (self.out / name).is_dir():
                self._put_aside(self.out / name)
            (self.out / name).unlink(missing_ok=True)
        sync(self.out / SHARDS)
        self._move(*manifest)
        sync(self.out)
        journal.unlink()
        sync(self.private)

    def _move(self, staged: str, final: str) -> None:
        source, target = self.private / staged, self.out / final
        if source.exists():  # else it was moved before the run was cut short
            if target.is_dir():  # nothing replaces a folder
                self._put_aside(target)
            source.replace(target)

    def _expect_folder(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            self._put_aside(path)
        path.mkdir(exist_ok=True)

    def _put_aside(self, path: Path) -> None:
        """Move what is no file of ours out of the way, into a folder of the private one where nothing is removed."""
        aside = self.private / "aside"
        aside.mkdir(exist_ok=True)
        free = next(p for i in range(1 << 20) if not (p := aside / f"{path.name}.{i}").exists())
        path.replace(free)

    def sweep(self, keep: Iterable[str]) -> None:
        """Empty the staging folder but for the files named: leftovers of runs that were cut short."""
        kept = set(keep)
        self.private.joinpath("journal.tmp").unlink(missing_ok=True)
        for path in self.staging.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read_journal(data: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """Moves and names to drop. Raises ValueError for what `publish` would not have written, such as a way out."""
    try:
        body = json.loads(data)
        moves, drop = [(str(staged), str(final)) for staged, final in body["moves"]], [str(n) for n in body["drop"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no journal: {error}") from None
    paths = [PurePosixPath(path) for path in (*(p for move in moves for p in move), *drop)]
    outside = [path for path in paths if path.is_absolute() or ".." in path.parts or not path.parts]
    if outside or not moves or moves[-1][1] != MANIFEST or any(not s.startswith("staging/") for s, _ in moves):
        raise ValueError(f"no journal of a publication: {outside or moves[-1:]}")
    return moves, drop


def is_tidy(out: Path) -> bool:
    """Whether no earlier run left anything in the folder `out` for the next one to finish or to remove."""
    private = out / PRIVATE
    left = any((private / name).exists() for name in ("journal.json", "journal.tmp"))
    return not left and not ((private / "staging").is_dir() and any((private / "staging").iterdir()))
