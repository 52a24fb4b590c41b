"""A dataset at an address such as s3://bucket/name: built in a folder of this machine, of which the address is a copy.

Only shards that differ go over the wire, by the digests in the two manifests; the manifest is written last, so that it
never names a shard that is not there. A machine without the folder fetches the dataset first and goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline import locations
from pipeline.events import Events
from pipeline.manifest import MANIFEST, SHARDS, Manifest, ManifestError, load_manifest, parse_manifest
from pipeline.push import FACTS
from pipeline.shard import file_sha256

SIDE_BY_SIDE = 8
"""Transfers under way at a time: they wait for the network, and not for this machine."""

READ_ONLY = frozenset({"http", "https", "data", "zip", "tar"})


class RemoteOutputError(RuntimeError):
    """An address that a dataset cannot be written to or read from. Says why, and what to do."""


def mirror_of(address: str) -> Path:
    """The folder of this machine where the dataset at an address is built; it lies in the cache."""
    name = re.sub(r"[^\w.-]", "_", locations.base_name(address)) or "dataset"
    return locations.cache_folder() / "outputs" / f"{name}-{hashlib.sha256(_plain(address).encode()).hexdigest()[:12]}"


def dataset_folder_of(out: str, events: Events) -> Path:
    """The folder of a dataset that is named by a path or an address; what an address holds is fetched first."""
    return pull(out, events) if locations.is_remote(out) else Path(out).absolute()


def expect_writable(address: str) -> None:
    """Raise RemoteOutputError unless files can be written to the address. Leaves nothing there."""
    protocol = address.partition("://")[0]
    if protocol in READ_ONLY:
        raise RemoteOutputError(
            f"{address}: expected a place that can be written to, such as s3://bucket/name; {protocol} can only be read"
        )
    probe = f"{_plain(address)}/.patina-probe"
    try:
        system = locations.system_of(address)
        system.makedirs(_within(address, ""), exist_ok=True)
        system.pipe_file(_within(address, ".patina-probe"), b"")
        system.rm_file(_within(address, ".patina-probe"))
    except Exception as error:
        what = f"{probe}: cannot be written: {error}; check the address and its credentials"
        raise RemoteOutputError(what) from error


def pull(address: str, events: Events) -> Path:
    """Make the mirror of an address what the address holds, and give its folder. What is there already is not fetched.

    A mirror that is ahead, because an earlier run built and could not upload, stays: its next upload mends the rest.
    Raises RemoteOutputError.
    """
    folder = mirror_of(address)
    there = _manifest_at(address)
    here = _manifest_here(folder)
    if there is None or (here is not None and (here.digest == there.digest or _uploaded(folder) == there.digest)):
        return folder
    known = {entry.name: entry.sha256 for entry in here.shards} if here else {}
    wanted = [entry.name for entry in there.shards if known.get(entry.name) != entry.sha256]
    events.begin("fetching the dataset", len(wanted), "shards")
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    (folder / ".patina").mkdir(exist_ok=True)
    sums = {entry.name: entry.sha256 for entry in there.shards}

    def fetch(name: str) -> None:
        target = folder / SHARDS / name
        _get(address, f"{SHARDS}/{name}", target)
        if file_sha256(target) != sums[name]:
            target.unlink()
            raise RemoteOutputError(f"{address}/{SHARDS}/{name}: its bytes are not those that its manifest names")
        events.advance(1)

    _each(fetch, wanted)
    events.end()
    for name in FACTS:
        _get(address, name, folder / name)
    for stray in set(known) - set(sums):
        (folder / SHARDS / stray).unlink(missing_ok=True)
    _note_upload(folder, there)
    return folder


def push(address: str, events: Events) -> int:
    """Make the address what its mirror holds; gives the number of shards that went over. Raises RemoteOutputError."""
    folder = mirror_of(address)
    here = load_manifest(folder)
    if here is None:
        raise RemoteOutputError(f"{folder} holds no dataset to upload; build it first")
    there = _manifest_at(address)
    known = {entry.name: entry.sha256 for entry in there.shards} if there else {}
    changed = [entry.name for entry in here.shards if known.get(entry.name) != entry.sha256]
    events.begin("uploading", len(changed), "shards")

    def put(name: str) -> None:
        _put(address, f"{SHARDS}/{name}", folder / SHARDS / name)
        events.advance(1)

    _each(put, changed)
    for name in FACTS:  # of which the manifest is the last
        _put(address, name, folder / name)
    system = locations.system_of(address)
    for name in sorted(set(known) - {entry.name for entry in here.shards}):
        system.rm_file(_within(address, f"{SHARDS}/{name}"))
    events.end()
    _note_upload(folder, here)
    return len(changed)


# ---------------------------------------------------------------------------------------------------------------------


def _plain(address: str) -> str:
    return address.rstrip("/")


def _within(address: str, name: str) -> str:
    return locations.within(f"{_plain(address)}/{name}".rstrip("/"))


def _each(function: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for _ in pool.map(function, names):
            pass


def _get(address: str, name: str, target: Path) -> None:
    half = target.with_name(target.name + ".half")
    try:
        locations.system_of(address).get_file(_within(address, name), str(half))
    except Exception as error:
        half.unlink(missing_ok=True)
        raise RemoteOutputError(f"{_plain(address)}/{name}: cannot be fetched: {error}") from error
    half.replace(target)


def _put(address: str, name: str, source: Path) -> None:
    try:
        system = locations.system_of(address)
        path = _within(address, name)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(source), path)
    except Exception as error:
        raise RemoteOutputError(f"{_plain(address)}/{name}: cannot be written: {error}; run it again") from error


def _manifest_at(address: str) -> Manifest | None:
    """The manifest at an address; None if nothing is there."""
    system: Any = locations.system_of(address)
    system.invalidate_cache()
    try:
        text = system.cat_file(_within(address, MANIFEST)).decode()
    except FileNotFoundError:
        return None
    except Exception as error:
        raise RemoteOutputError(f"{_plain(address)}/{MANIFEST}: cannot be read: {error}") from error
    return parse_manifest(text, f"{_plain(address)}/{MANIFEST}")


def _manifest_here(folder: Path) -> Manifest | None:
    try:
        return load_manifest(folder)
    except ManifestError:
        return None


def _uploaded(folder: Path) -> str:
    """The digest of the dataset that this mirror and its address last had in common."""
    try:
        return str(json.loads((folder / ".patina" / "uploaded.json").read_text("utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _note_upload(folder: Path, manifest: Manifest) -> None:
    (folder / ".patina" / "uploaded.json").write_text(json.dumps({"digest": manifest.digest}), "utf-8")
