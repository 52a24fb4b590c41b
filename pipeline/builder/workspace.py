"""A dataset's folder while it is worked on: its lock, its staging folder, and publishing in one step.

OUT/.patina/lock           held by the one build that may write here
OUT/.patina/staging/       shards that are finished but not published, and what is half written
OUT/.patina/versions/      what was published, see `patina.pipeline.versions.version`; OUT/.patina/current: the version
                           that is current
OUT/.patina/aside/         what somebody else put where a build writes: nothing is ever removed there
OUT/.patina/scan.sqlite    digests and inspections, OUT/.patina/captions.sqlite  captions that models made
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from patina.pipeline.cache.database import is_blank
from patina.pipeline.disk_errors import OutputError
from patina.pipeline.errors import LockedError, ManifestError
from patina.pipeline.files import lock
from patina.pipeline.format.layout import CURRENT, PRIVATE, STORES
from patina.pipeline.versions import KEEP
from patina.pipeline.versions.publication import (
    add_version,
    assemble,
    clear_copy,
    expect_links,
    finish_names,
    halves,
    has_names,
    leads,
    make_free_names,
    make_names,
    put_aside,
    switch,
    take_over,
    unpublished,
)
from patina.pipeline.versions.removal import remove_old
from patina.pipeline.versions.version import Version, current_or_none

OLD_JOURNAL = "journal.json"
"""Of a publication that a release before versions began and did not finish."""


def expect_place(out: Path) -> None:
    """Raise ManifestError if the folder `out` holds files, and none of ours; OutputError if it can be no folder."""
    names: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):  # one look, since another run may make or remove it just now
        names = [path.name for path in out.iterdir() if not leads(out, path.name)]
    if names and PRIVATE not in names:
        raise ManifestError(f"{out} holds files and is no patina dataset; name a new or empty folder with --out")
    there = _nearest(out)
    if not there.is_dir():
        found = "a file" if there.exists() else "a link that leads nowhere"
        raise OutputError(f"{out}: expected a folder, found {found} at {there}; name another one with --out")


def expect_writable(out: Path) -> None:
    """Raise OutputError if the folder `out` can be neither made nor changed. Changes nothing."""
    there = _nearest(out)
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: writing in {there} is forbidden; name another folder with --out")


def _nearest(out: Path) -> Path:
    """The folder, or the first one above it that is there."""
    return next((path for path in (out, *out.parents) if os.path.lexists(path)), out)


class Workspace:
    """The folder `out` under its lock. Entering makes the folder, takes the lock and removes what a run that was cut
    short left; an error within it removes what entering made, unless something that is worth keeping lies there.

    without_links  whether to publish by copies where the file system has no links.

    Raises LockedError if another live process holds the lock, OSError if the folder cannot be written, OutputError if
    its file system has no links.
    """

    def __init__(self, out: Path, *, without_links: bool = False) -> None:
        self.out = out.absolute()
        self.without_links = without_links
        self.private = self.out / PRIVATE
        self.staging = self.private / "staging"
        self.aside = self.private / "aside"
        self._held = ExitStack()
        self._lock: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Workspace:
        expect_place(self.out)
        self._made = [path for path in (self.private, self.out, *self.out.parents) if not path.exists()]
        place = self.private / "lock"
        self._lock = self._held.enter_context(lock(place, self._refusal, make=self._make))
        try:
            if not self.staging.is_dir():  # a run that failed removed it before this one had the lock
                self._make()
            expect_links(self.out, self.staging, without_links=self.without_links)
            self._recover()
        except BaseException:
            self._give_up()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._give_up()
        self._release()

    def _give_up(self) -> None:
        try:
            if self.private in self._made:
                with suppress(OSError):  # the error that led here is the one to be told
                    self._remove_made()
        finally:
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

    def publish(
        self,
        shards: Mapping[str, Path],
        papers: Mapping[str, str | bytes | Path],
        digest: str,
        change: str,
        written: Mapping[str, str] | None = None,
    ) -> Version:
        """Publish a version in one step: readers see the dataset as it was or as it is now, and never half of either.

        shards  where each shard lies, by file name: in the staging folder, or in the version before. papers: all other
        files by their path in the dataset; one that is given as a path is moved. digest: of the manifest. change: what
        changed, in words. written: see `add_version`. What is in the staging folder is removed.
        """
        self._tell(take_over(self.out, self.staging, self.aside))
        assembled = self.staging / "version"
        assemble(assembled, shards, papers)
        version = add_version(self.out, assembled, digest, change, written)
        if current_or_none(self.out) is None:
            make_free_names(self.out, version)
        switch(version)
        if not has_names(self.out) or self.without_links:
            self._tell(make_names(self.out, self.aside))
        self.sweep(())
        return version

    def remove_old(self, keep: int = KEEP) -> list[Version]:
        """Remove the versions before the last `keep` that nobody reads; gives them."""
        return remove_old(self.out, keep, self.staging, self.aside)

    def _recover(self) -> None:
        """Remove what a run that was cut short left, and give public names what a copy or a kill took from them."""
        if (self.private / OLD_JOURNAL).exists():
            # Whatever was moved already does not fit the manifest's digests, so it is found and made again.
            put_aside(self.private / OLD_JOURNAL, self.aside)
        pointer = self.private / CURRENT
        if pointer.is_dir() and not pointer.is_symlink():  # a copy that followed links made it
            self._tell(clear_copy(self.out, pointer, self.aside))
        self._tell(finish_names(self.out, self.aside))
        for path in unpublished(self.out):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if current_or_none(self.out) and not has_names(self.out):
            self._tell(make_names(self.out, self.aside))

    def _tell(self, moved: Iterable[Path]) -> None:
        for path in moved:
            logging.getLogger(__name__).warning("moved away, since no build wrote it: now at %s", path)

    def sweep(self, keep: Iterable[str]) -> None:
        """Empty the staging folder but for the files named: leftovers of runs that were cut short."""
        kept = set(keep)
        for path in self.staging.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def is_tidy(out: Path) -> bool:
    """Whether no earlier run left anything in the folder `out` for the next one to finish or to remove."""
    private = out / PRIVATE
    if (private / OLD_JOURNAL).exists() or halves(out):
        return False
    if (private / "staging").is_dir() and any((private / "staging").iterdir()):
        return False
    if current_or_none(out) is None:
        return not os.path.lexists(private / CURRENT)  # a plain dataset: a build with nothing to do leaves it alone
    return has_names(out) and not unpublished(out)
