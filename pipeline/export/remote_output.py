"""A dataset at an address such as s3://bucket/name: built in a folder of this machine, of which the address is a copy.

Only shards that differ go over the wire, by the digests in the two manifests; the manifest is written last, so that it
never names a shard that is not there. While shards are replaced, a journal at the address names them: after an upload
that broke off they count as unknown, whatever the manifest says. A machine without the folder fetches the dataset first
and goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import ManifestError, PipelineError
from patina.pipeline.export.push import FACTS
from patina.pipeline.files import write_atomically
from patina.pipeline.format.layout import MANIFEST, PRIVATE, SHARDS
from patina.pipeline.format.manifest import Manifest, dataset_folder, load_manifest, parse_manifest
from patina.pipeline.hashing import file_sha256
from patina.pipeline.progress import Events
from patina.pipeline.redaction import holds_secret
from patina.pipeline.sources import locations
from patina.pipeline.sources.locations import cause_to_tell

SIDE_BY_SIDE = 8
"""Transfers under way at a time: they wait for the network, and not for this machine."""

READ_ONLY = frozenset({"http", "https", "data", "zip", "tar"})

JOURNAL = ".patina-upload.json"
"""At the address, while an upload is under way: the shards that it replaces."""

PROBE = ".patina-probe"

OURS = frozenset({SHARDS, JOURNAL, PROBE, *(name for name in FACTS if "/" not in name)})
"""What may lie at the top of an address where patina writes."""

A_SHARD = re.compile(r"(train|val|test)-[a-z0-9+-]+-\d{4,}\.tar")


class RemoteOutputError(PipelineError, RuntimeError):
    """An address that a dataset cannot be written to or read from. Says why, and what to do."""


def mirror_of(address: str) -> Path:
    """The folder of this machine where the dataset at an address is built; it lies in the cache."""
    name = re.sub(r"[^\w.-]", "_", locations.base_name(address))[:80] or "dataset"
    plain = _plain(locations.place(address)).encode("utf-8", "backslashreplace")
    return locations.cache_folder() / "outputs" / f"{name}-{hashlib.sha256(plain).hexdigest()[:12]}"


def dataset_folder_of(out: str, events: Events) -> Path:
    """The folder of a dataset that is named by a path or an address; what an address holds is fetched first.

    Raises RemoteOutputError, and ManifestError for an address whose manifest cannot be read.
    """
    if not locations.is_remote(out):
        return Path(out).absolute()
    _manifest_at(out)
    return pull(out, events)


def dataset_at(named: str, events: Events) -> Path:
    """The folder of a dataset that is named by a path or an address. Raises ManifestError if it holds none."""
    folder = dataset_folder_of(named, events)
    if locations.is_remote(named) and load_manifest(folder) is None:
        raise ManifestError(f"{named}: expected a patina dataset, found no {MANIFEST}")
    return dataset_folder(folder)


def expect_no_secret(address: str) -> None:
    """Raise RemoteOutputError for an address of an output with a password or a signature in it: orchestrators keep
    what a run is called with, and no file system that can be written to reads it there."""
    if locations.is_remote(address) and holds_secret(address):
        raise RemoteOutputError(
            f"{address}: an output's address was given with a password or a token in it; write it without, and give "
            "the secret by environment variable or fsspec's configuration"
        )


def expect_writable(address: str) -> None:
    """Raise RemoteOutputError unless files can be written to the address, and none but a dataset's lie there. Leaves
    nothing there."""
    expect_no_secret(address)
    protocol = address.partition("://")[0]
    if protocol in READ_ONLY:
        raise RemoteOutputError(
            f"{address}: expected a place that can be written to, such as s3://bucket/name; {protocol} can only be read"
        )
    _expect_ours(address)
    try:
        system = locations.system_of(address)
        system.makedirs(_within(address, ""), exist_ok=True)
        system.pipe_file(_within(address, PROBE), b"")
        system.rm_file(_within(address, PROBE))
    except Exception as error:
        what = f"{_plain(address)}/{PROBE}: cannot be written: {error}; check the address and its credentials"
        raise RemoteOutputError(what) from cause_to_tell(error)


def pull(address: str, events: Events) -> Path:
    """Make the mirror of an address what the address holds, and give its folder. What is there already is not fetched.

    A mirror that is ahead, because an earlier run built and could not upload, stays: its next upload fixes the rest. A
    shard that is not what its manifest names, as an upload that broke off leaves it, is left out: the next build makes
    it again. So does a build with everything where the manifest cannot be read. Raises RemoteOutputError, LockedError.
    """
    folder = mirror_of(address)
    found = _readable_at(address)
    if found is None or _is_current(folder, found[0]):
        return folder
    (folder / PRIVATE).mkdir(parents=True, exist_ok=True)
    with Workspace(folder) as workspace:
        _fetch(address, *found, workspace, events)
    return folder


def push(address: str, events: Events) -> int:
    """Make the address what its mirror holds; gives the number of shards that went over. Raises RemoteOutputError,
    LockedError."""
    folder = mirror_of(address)
    if load_manifest(folder) is None:
        raise RemoteOutputError(f"{folder} holds no dataset to upload; build it first")
    with Workspace(folder):  # or a build might replace shards on their way
        return _send(address, folder, events)


# ---------------------------------------------------------------------------------------------------------------------


def _fetch(address: str, there: Manifest, text: bytes, workspace: Workspace, events: Events) -> None:
    """Make the mirror what `there` says, whose text is given. The manifest comes last here as well."""
    folder = workspace.out
    here = _manifest_here(folder)
    known = {shard.name: shard.sha256 for shard in here.shards} if here else {}
    sums = {shard.name: shard.sha256 for shard in there.shards}
    wanted = [name for name, digest in sums.items() if known.get(name) != digest]
    events.begin("fetching the dataset", len(wanted), "shards")
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    torn: list[str] = []

    # What is fetched lies in the staging folder until it is whole, and not beside its target as `write_atomically` has
    # it: there the next run removes what a killed one left, and no reader of the dataset meets it.
    def fetch(name: str) -> None:
        half, target = workspace.staging / name, folder / SHARDS / name
        _get(address, f"{SHARDS}/{name}", half)
        if file_sha256(half) == sums[name]:
            half.replace(target)
        else:
            half.unlink()
            target.unlink(missing_ok=True)
            torn.append(name)
        events.advance(1)

    _each(fetch, wanted)
    events.end()
    _note(folder, _noted(folder)[0], torn)  # before the manifest, which would have them count as fetched
    for name in FACTS:
        half, target = workspace.staging / Path(name).name, folder / name
        if name == MANIFEST:
            half.write_bytes(text)  # and not what may have been written there meanwhile
        elif not _get(address, name, half, needed=False):
            target.unlink(missing_ok=True)  # the build writes it again
            continue
        half.replace(target)
    for path in (folder / SHARDS).glob("*.tar"):
        if path.name not in sums:
            path.unlink()
    _note(folder, there.digest, torn)


def _send(address: str, folder: Path, events: Events) -> int:
    here = load_manifest(folder)
    assert here is not None, "it was there under no lock"
    found = _readable_at(address)
    unsure = {*_journal_at(address), *_noted(folder)[1]}
    if found and found[1] == (folder / MANIFEST).read_bytes() and not unsure and not _strays(address, here):
        _note(folder, here.digest)
        return 0
    known = {shard.name: shard.sha256 for shard in found[0].shards if shard.name not in unsure} if found else {}
    changed = [shard.name for shard in here.shards if known.get(shard.name) != shard.sha256]
    events.begin("uploading", len(changed), "shards")
    _write(address, JOURNAL, json.dumps(sorted({*unsure, *changed})).encode())

    def put(name: str) -> None:
        _put(address, f"{SHARDS}/{name}", folder / SHARDS / name)
        events.advance(1)

    _each(put, changed)
    for name in FACTS:  # of which the manifest is the last
        _put(address, name, folder / name)
    _remove(address, JOURNAL)
    for name in _strays(address, here):
        _remove(address, f"{SHARDS}/{name}")
    events.end()
    _note(folder, here.digest)
    return len(changed)


def _plain(address: str) -> str:
    return address.rstrip("/")


def _within(address: str, name: str) -> str:
    return locations.within(f"{_plain(address)}/{name}".rstrip("/"))


def _each(function: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for _ in pool.map(function, names):
            pass


def _get(address: str, name: str, target: Path, *, needed: bool = True) -> bool:
    """Fetch a file; False if it is not there and not `needed`."""
    try:
        locations.system_of(address).get_file(_within(address, name), str(target))
    except Exception as error:
        target.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError) and not needed:
            return False
        raise RemoteOutputError(f"{_plain(address)}/{name}: cannot be fetched: {error}") from locations.cause_to_tell(
            error
        )
    return True


def _put(address: str, name: str, source: Path) -> None:
    try:
        system = locations.system_of(address)
        path = _within(address, name)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(source), path)
    except Exception as error:
        raise RemoteOutputError(
            f"{_plain(address)}/{name}: cannot be written: {error}; run it again"
        ) from cause_to_tell(error)


def _write(address: str, name: str, data: bytes) -> None:
    try:
        locations.system_of(address).pipe_file(_within(address, name), data)
    except Exception as error:
        raise RemoteOutputError(
            f"{_plain(address)}/{name}: cannot be written: {error}; run it again"
        ) from cause_to_tell(error)


def _remove(address: str, name: str) -> None:
    try:
        locations.system_of(address).rm_file(_within(address, name))
    except Exception as error:
        raise RemoteOutputError(
            f"{_plain(address)}/{name}: cannot be removed: {error}; run it again"
        ) from cause_to_tell(error)


def _read(address: str, name: str) -> bytes | None:
    """A small file's bytes; None if it is not there."""
    system: Any = locations.system_of(address)
    system.invalidate_cache()
    try:
        data: bytes = system.cat_file(_within(address, name))
    except FileNotFoundError:
        return None
    except Exception as error:
        raise RemoteOutputError(f"{_plain(address)}/{name}: cannot be read: {error}") from locations.cause_to_tell(
            error
        )
    return data


def _names_at(address: str, folder: str = "") -> set[str]:
    """Names of the files and folders at the address, or in a folder there."""
    system: Any = locations.system_of(address)
    system.invalidate_cache()
    place = _within(address, folder)
    try:
        found = [str(path).rstrip("/") for path in system.ls(place, detail=False)]
    except FileNotFoundError:
        return set()
    except Exception as error:
        raise RemoteOutputError(f"{_plain(address)}/{folder}: cannot be listed: {error}") from locations.cause_to_tell(
            error
        )
    return {path.rpartition("/")[2] for path in found if path.strip("/") != place.strip("/")}


def _expect_ours(address: str) -> None:
    """Raise RemoteOutputError if something else than a dataset, or an upload that broke off, lies at the address."""
    try:
        if _manifest_at(address):
            return
    except ManifestError:
        pass  # ours if the rest is
    names = _names_at(address)
    foreign = sorted(names - OURS if SHARDS in names else names - {JOURNAL, PROBE})
    if foreign:
        raise RemoteOutputError(
            f"{address} holds files and is no patina dataset, such as {foreign[0]}; name a new or empty place"
        )


def _strays(address: str, manifest: Manifest) -> list[str]:
    """Shards at the address that the manifest does not name: a reader that takes *.tar would train on them."""
    known = {shard.name for shard in manifest.shards}
    return sorted(name for name in _names_at(address, SHARDS) if A_SHARD.fullmatch(name) and name not in known)


def _manifest_at(address: str) -> tuple[Manifest, bytes] | None:
    """The manifest at an address and its text; None if there is none. Raises ManifestError, RemoteOutputError."""
    text = _read(address, MANIFEST)
    if text is None:
        return None
    return parse_manifest(text.decode("utf-8", "replace"), f"{_plain(address)}/{MANIFEST}"), text


def _readable_at(address: str) -> tuple[Manifest, bytes] | None:
    try:
        return _manifest_at(address)
    except ManifestError:
        return None


def _journal_at(address: str) -> list[str]:
    """The shards that an upload which broke off may have replaced; torn itself, it says nothing, and no shard came
    after it."""
    try:
        return [str(name) for name in json.loads(_read(address, JOURNAL) or b"[]")]
    except (ValueError, TypeError):
        return []


def _manifest_here(folder: Path) -> Manifest | None:
    try:
        return load_manifest(folder)
    except ManifestError:
        return None


def _is_current(folder: Path, there: Manifest) -> bool:
    """Whether the mirror holds what the address does, or has gone on from it."""
    here = _manifest_here(folder)
    return here is not None and there.digest in {here.digest, _noted(folder)[0]}


def _noted(folder: Path) -> tuple[str, list[str]]:
    """The digest of the dataset that this mirror and its address last had in common, and the shards that were not as
    they should be there."""
    try:
        body = json.loads((folder / PRIVATE / "uploaded.json").read_text("utf-8"))
        return str(body["digest"]), [str(name) for name in body.get("torn", [])]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def _note(folder: Path, digest: str, torn: Iterable[str] = ()) -> None:
    body = {"digest": digest, "torn": sorted(torn)}
    uploaded = folder / PRIVATE / "uploaded.json"
    uploaded.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(uploaded, json.dumps(body), durable=False)
