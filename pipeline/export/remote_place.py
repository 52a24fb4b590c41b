"""The requests that a dataset at an address needs, of any file system of fsspec: read, fetch, put, copy, list, remove.

An object store shows an object when all of it is there. Folders do not, so there a file is written under another name
first, and renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from patina.pipeline.errors import PipelineError
from patina.pipeline.format.layout import PRIVATE
from patina.pipeline.sources import locations
from patina.pipeline.sources.locations import cause_to_tell
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.pipeline.text import printable

T = TypeVar("T")

SIDE_BY_SIDE = 8
"""Transfers under way at a time: they wait for the network, and not for this machine."""

READ_ONLY = frozenset({"http", "https", "data", "zip", "tar"})

FOLDERS = frozenset({"file", "local", "sftp", "ssh"})
"""Protocols that show half a file while it is written, and whose renaming replaces a file in one step."""

HALF = ".half"
"""How a file's name ends that is being written in such a folder; it lies in the address's private folder."""


LONGEST = 300
"""Characters of an address that an error quotes."""


class RemoteOutputError(PipelineError, RuntimeError):
    """An address that a dataset cannot be written to or read from. Says why, and what to do."""


class Place:
    """The objects below an address, each by its name there, such as `shards/NAME`. Everything raises RemoteOutputError
    where the address answers with an error."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.protocol = address.partition("://")[0]

    def at(self, name: str) -> str:
        """The address of an object, for people: without secrets, on one line."""
        place = locations.place(self.address)
        short = place if len(place) <= LONGEST else f"{place[:LONGEST]}…"
        return printable(f"{short}/{name}".rstrip("/"))

    def read(self, name: str) -> bytes | None:
        """A small object's bytes; None if it is not there."""
        try:
            self._system.invalidate_cache()
            data: bytes = self._system.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system of fsspec has its own kinds
            raise RemoteOutputError(f"{self.at(name)}: cannot be read: {error}") from cause_to_tell(error)
        return data

    def fetch(self, name: str, target: Path) -> bool:
        """Fetch an object into the file `target`; False if it is not there."""
        try:
            self._system.get_file(self._path(name), str(target))
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            return False
        except Exception as error:
            target.unlink(missing_ok=True)
            raise RemoteOutputError(f"{self.at(name)}: cannot be fetched: {error}") from cause_to_tell(error)
        return True

    def make_folders(self, names: Iterable[str]) -> None:
        """Make folders, where the file system has any."""
        for name in names:
            try:
                self._system.makedirs(self._path(name), exist_ok=True)
            except Exception as error:
                raise RemoteOutputError(f"{self.at(name)}: cannot be made: {error}; run it again") from cause_to_tell(
                    error
                )

    def put(self, name: str, body: Path | bytes) -> None:
        """Write an object in one step, from a file or from bytes."""

        def write(path: str) -> None:
            if isinstance(body, Path):
                self._system.put_file(str(body), path)
            else:
                self._system.pipe_file(path, body)

        try:
            self._in_one_step(name, write)
        except Exception as error:
            raise RemoteOutputError(f"{self.at(name)}: cannot be written: {error}; run it again") from cause_to_tell(
                error
            )

    def copy(self, name: str, new: str, body: Path | bytes) -> bool:
        """Give an object a second name, without sending it where the other side can copy; else `body` is sent. Gives
        whether it was sent."""
        try:
            self._in_one_step(new, lambda path: self._system.cp_file(self._path(name), path))
        except Exception:  # it cannot copy, or not this one: too large, gone meanwhile
            self.put(new, body)
            return True
        return False

    def remove(self, name: str) -> None:
        """Remove an object; one that is gone already is no error."""
        try:
            self._system.rm_file(self._path(name))
        except FileNotFoundError:
            return
        except Exception as error:
            raise RemoteOutputError(f"{self.at(name)}: cannot be removed: {error}; run it again") from cause_to_tell(
                error
            )

    def sizes(self, folder: str = "") -> dict[str, int | None]:
        """What lies in a folder by its name there, with its size in bytes; None where that is unknown, or for a folder.
        Empty for a folder that is not there."""
        place = self._path(folder)
        try:
            self._system.invalidate_cache()
            found = self._system.ls(place, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise RemoteOutputError(f"{self.at(folder)}: cannot be listed: {error}") from cause_to_tell(error)
        sizes: dict[str, int | None] = {}
        for info in found:
            path, size = str(info["name"]).rstrip("/"), info.get("size")
            if path.strip("/") != place.strip("/"):
                is_file = info.get("type") == "file" and size is not None
                sizes[path.rpartition("/")[2]] = int(size) if is_file else None
        return sizes

    @property
    def _system(self) -> Any:
        return locations.system_of(self.address)

    def _path(self, name: str) -> str:
        return locations.within(f"{self.address}/{name}".rstrip("/"))

    def _in_one_step(self, name: str, write: Callable[[str], object]) -> None:
        if self.protocol not in FOLDERS:
            write(self._path(name))
            return
        half = self._path(f"{PRIVATE}/{name.replace('/', '-')}{HALF}")
        write(half)
        self._system.mv(half, self._path(name))


def side_by_side(function: Callable[[T], object], items: Sequence[T]) -> None:
    """Call the function with each item, several at a time; the first error is raised once those under way ended."""

    def one(item: T) -> None:
        expect_wanted()
        function(item)

    with stoppable_threads(SIDE_BY_SIDE) as pool:
        futures = [pool.submit(one, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
