"""A dataset at an address such as s3://bucket/name: built in a folder of this machine, of which the address is a copy.

An object store has no links and no renames; it has objects that appear whole, one by one. So everything gets a name
that says what is in it (see `patina.pipeline.export.remote_objects`), and an upload is four steps:

1. What the address lacks goes there, under names that nothing there has: no object that somebody may read changes.
2. manifest.json is replaced. This one request publishes: patina's readers find all that it names, and nothing else.
3. The files for people and other tools (samples.parquet, README.md, …) are written anew, sizes.json last.
4. What is not needed any more is removed.

Cut short before the second step, an upload leaves the earlier dataset, and else the new one; the next upload does the
rest. A reader that does not find an object reads manifest.json again, and begins anew if that changed. Other readers
that list `*.tar` may find shards of both datasets from the first step to the end of the last; sizes.json always names
those of one, and they are there. In step 3 the other files for people are of two datasets.

Two machines may upload one after the other: the later one's dataset stays. At the same time they should not: each sends
again what the other one removed, so that patina's readers find a whole dataset, and the one whose manifest was replaced
is told so; but the files for people may be of two datasets until the next upload.

A machine without the folder fetches the dataset first and goes on from there. Addresses that earlier releases wrote,
where shards have plain names, are read, and taken over by the next upload.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import ManifestError
from patina.pipeline.export.push import FACTS, facts_of
from patina.pipeline.export.remote_objects import (
    PAPERS,
    SIZES,
    TABLES,
    Delivery,
    Object,
    delivery_of,
    digest_of,
    paper_object,
    shard_object,
    strays,
)
from patina.pipeline.export.remote_place import FOLDERS, READ_ONLY, Place, RemoteOutputError, side_by_side
from patina.pipeline.files import write_atomically
from patina.pipeline.format.layout import MANIFEST, PRIVATE, SHARDS
from patina.pipeline.format.manifest import Manifest, NoDatasetError, ShardEntry, load_manifest, parse_manifest
from patina.pipeline.hashing import file_sha256, is_intact
from patina.pipeline.progress import Events
from patina.pipeline.redaction import holds_secret
from patina.pipeline.sources import locations
from patina.pipeline.versions.lease import OpenDataset, open_built, open_dataset
from patina.pipeline.versions.publication import MAY_LACK
from patina.pipeline.versions.version import built_folder

JOURNAL = ".patina-upload.json"
"""At an address that an earlier release wrote: the shards that its upload replaces, if it broke off."""

PROBE = ".patina-probe"

OURS = frozenset({SHARDS, PRIVATE, JOURNAL, PROBE, SIZES, *FACTS})
"""What may lie at the top of an address where patina writes."""

ATTEMPTS = 20
"""Times that a dataset is looked at anew which another one replaces while it is fetched."""


def mirror_of(address: str) -> Path:
    """The folder of this machine where the dataset at an address is built; it lies in the cache."""
    name = re.sub(r"[^\w.-]", "_", locations.base_name(address))[:80] or "dataset"
    plain = locations.place(address).rstrip("/").encode("utf-8", "backslashreplace")
    return locations.cache_folder() / "outputs" / f"{name}-{hashlib.sha256(plain).hexdigest()[:12]}"


def dataset_folder_of(out: str, events: Events) -> Path:
    """The folder of a dataset that is named by a path or an address; what an address holds is fetched first.

    Raises RemoteOutputError, and ManifestError for an address whose manifest cannot be read.
    """
    if not locations.is_remote(out):
        return Path(out).absolute()
    _manifest_at(Place(out))
    return pull(out, events)


def dataset_at(named: str, events: Events) -> OpenDataset:
    """Open a dataset that is named by a path, OUT@VERSION, or an address. Raises ManifestError if it holds none."""
    try:
        return open_built(dataset_folder_of(named, events))
    except NoDatasetError:
        if not locations.is_remote(named):
            raise
        raise ManifestError(f"{named}: expected a patina dataset, found no {MANIFEST}") from None


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
    place = Place(address)
    if place.protocol in READ_ONLY:
        raise RemoteOutputError(
            f"{address}: expected a place that can be written to, such as s3://bucket/name; {place.protocol} can only "
            "be read"
        )
    _expect_ours(place)
    try:
        place.make_folders([PRIVATE])
        place.put(PROBE, b"")
        place.remove(PROBE)
    except RemoteOutputError as error:
        what = f"{place.at(PROBE)}: cannot be written: {error.__cause__}; check the address and its credentials"
        raise RemoteOutputError(what) from error.__cause__


def pull(address: str, events: Events) -> Path:
    """Make the mirror of an address what the address holds, and give its folder. What is there already is not fetched.

    A mirror that is ahead, because an earlier run built and could not upload, stays: its next upload fixes the rest. A
    shard that is not there, or not what its manifest names, is left out: the next build makes it again. So does a build
    with everything where the manifest cannot be read. Raises RemoteOutputError, LockedError.
    """
    folder, place = mirror_of(address), Place(address)
    found = _readable_at(place)
    if found is None or _is_current(folder, found):
        return folder
    (folder / PRIVATE).mkdir(parents=True, exist_ok=True)
    with Workspace(folder) as workspace:
        _fetch(place, found, workspace, events)
    return folder


def push(address: str, events: Events) -> int:
    """Make the address what its mirror holds; gives the number of shards that went over. Raises RemoteOutputError,
    LockedError."""
    folder = mirror_of(address)
    if load_manifest(folder) is None:
        raise RemoteOutputError(f"{folder} holds no dataset to upload; build it first")
    with Workspace(folder), open_dataset(folder) as opened:  # under its lock, against two uploads
        return _send(Place(address), opened, events)


# ---------------------------------------------------------------------------------------------------------------------
# From the address to the mirror


@dataclass(frozen=True)
class _Found:
    """A manifest that lies at the address, and its text."""

    manifest: Manifest
    text: bytes


def _fetch(place: Place, found: _Found, workspace: Workspace, events: Events) -> None:
    """Publish what the address holds as the mirror's next version: all of one manifest, however often it changes
    meanwhile."""
    before: tuple[bytes, set[str]] | None = None
    for _ in range(ATTEMPTS):
        shards, papers, lost = _fetch_what(place, found, workspace, events)
        # Removed or replaced just then; if it is so twice, it is damaged.
        if MANIFEST in lost or (lost and before != (found.text, lost)):
            before = found.text, lost
            found = _still(place)
            continue
        # Before it is published, or a kill in between would have them count as fetched, and as whole at the address.
        _note(workspace.out, *_noted(workspace.out)[0], lost)
        papers |= {MANIFEST: found.text}
        workspace.publish(shards, papers, found.manifest.digest, f"fetched from {place.address}")
        workspace.remove_old()
        _note(workspace.out, found.manifest.digest, digest_of(found.text), lost)
        return
    raise RemoteOutputError(f"{place.address} changes faster than it can be fetched; wait for the uploads")


def _fetch_what(
    place: Place, found: _Found, workspace: Workspace, events: Events
) -> tuple[dict[str, Path], dict[str, str | bytes | Path], set[str]]:
    """Where the shards lie, in the mirror or newly in its staging folder; the other files; and the names of what is
    not at the address as the manifest has it."""
    built = built_folder(workspace.out)
    here = _manifest_here(built)
    known = {shard.name: shard.sha256 for shard in here.shards} if here else {}
    shards = {
        shard.name: built / SHARDS / shard.name
        for shard in found.manifest.shards
        if known.get(shard.name) == shard.sha256 and (built / SHARDS / shard.name).is_file()
    }
    wanted = [shard for shard in found.manifest.shards if shard.name not in shards]
    lost: set[str] = set()
    events.begin("fetching the dataset", len(wanted), "shards")

    # What is fetched lies in the staging folder under a name that tells its bytes: after a kill it is fetched no more.
    def fetch(shard: ShardEntry) -> None:
        names = [shard_object(shard), f"{SHARDS}/{shard.name}"]
        path = _fetch_any(place, names, workspace.staging / Path(names[0]).name, shard.sha256)
        if path:
            shards[shard.name] = path
        else:
            lost.add(shard.name)
        events.advance(1)

    side_by_side(fetch, wanted)
    events.end()
    papers: dict[str, str | bytes | Path] = {}
    old = False
    for name in PAPERS:
        path, is_old = _fetch_paper(place, name, found, workspace.staging, may_be_old=old)
        old = old or is_old
        if path:
            papers[name] = path
        elif name not in MAY_LACK and (not old or name in TABLES):
            lost.add(name)
    if old:
        _drop_unsure(place, found, papers, lost)
    return shards, papers, lost


def _fetch_paper(
    place: Place, name: str, found: _Found, staging: Path, *, may_be_old: bool
) -> tuple[Path | None, bool]:
    """Fetch a table, the card, its picture or the Croissant file; None if it is not there. Gives also whether it lay
    under its plain name alone, where earlier releases wrote it.

    may_be_old  whether that was so of a table. Their digests are in the manifest; card, picture and Croissant
                file have none, and at an address of today their plain names may be another dataset's for a moment.
    """
    target, own = staging / name, paper_object(name, found.manifest, found.text)
    digest = found.manifest.tables.get(name, "")
    path = _fetch_any(place, [own], target, digest)
    if path or not (digest or may_be_old):
        return path, False
    path = _fetch_any(place, [name], target, digest)
    return path, path is not None


def _drop_unsure(place: Place, found: _Found, papers: dict[str, str | bytes | Path], lost: set[str]) -> None:
    """Card, picture and Croissant file have no digest in the manifest. Under plain names they are its own if it is
    still there, since they are replaced after it; and if no upload of an earlier release broke off, which replaced them
    before."""
    if place.read(MANIFEST) != found.text:
        lost.add(MANIFEST)
    if _journal_at(place):
        for name in PAPERS:
            if name not in TABLES:
                papers.pop(name, None)  # the next build writes it again


def _fetch_any(place: Place, names: list[str], target: Path, sha256: str) -> Path | None:
    """Fetch the first of these objects that is there into `target`, unless that lies there already; None if there is
    none, or only one with other bytes."""
    if sha256 and is_intact(target, sha256):
        return target
    half = target.with_name(f"{target.name}.half.tmp")
    absent = []
    for name in names:
        if not place.fetch(name, half):
            absent.append(name)
        elif not sha256 or file_sha256(half) == sha256:
            return half.replace(target)
    if names[0] in absent and len(names) > 1:  # between the two requests an upload may have renamed it
        return _fetch_any(place, names[:1], target, sha256)
    half.unlink(missing_ok=True)
    return None


def _still(place: Place) -> _Found:
    found = _readable_at(place)
    if found is None:
        raise RemoteOutputError(f"{place.at(MANIFEST)}: it was removed or damaged while the dataset was fetched")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# From the mirror to the address


class _Sizes(dict[str, int | None]):
    """What lies at an address: every object's size by its name; None where that is unknown."""

    def fits(self, name: str, size: int) -> bool:
        """Whether an object is there and has that many bytes, as far as the address tells."""
        return name in self and self[name] in {size, None}

    def has(self, item: Object) -> bool:
        """Whether an object is there, as large as it must be."""
        return self.fits(item.name, item.size)


def _sizes_at(place: Place) -> _Sizes:
    found = _Sizes(place.sizes())
    for folder in (SHARDS, PRIVATE):
        found |= {f"{folder}/{name}": size for name, size in place.sizes(folder).items()}
    return found


def _send(place: Place, opened: OpenDataset, events: Events) -> int:
    wanted = delivery_of(opened.folder, _whole_dataset(opened))
    there, found = _sizes_at(place), _readable_at(place)
    torn = {*_noted(opened.home)[1]}
    lacking = [name for name, item in wanted.shards.items() if name in torn or not there.has(item)]
    needless = [*strays(there, {item.name for item in wanted.objects}), *({JOURNAL} & there.keys())]
    needless += (MAY_LACK - wanted.for_people.keys()) & there.keys()
    is_there = found is not None and found.text == wanted.text
    sent = 0
    if not is_there or lacking or needless or torn or not _is_complete(place, there, wanted):
        place.make_folders([SHARDS, PRIVATE])
        sent = _send_shards(place, wanted, lacking, _old_shards(place, there, found, torn), events)
        papers = [item for name, item in wanted.papers.items() if name in torn or not there.has(item)]
        side_by_side(lambda item: _put(place, item), papers)
        if not is_there:
            place.put(MANIFEST, wanted.folder / MANIFEST)
            _expect_no_other(place, wanted)
            _send_again(place, wanted)
        _write_for_people(place, wanted)
        side_by_side(place.remove, needless)
        _expect_no_other(place, wanted)
    _note(opened.home, wanted.manifest.digest, digest_of(wanted.text))
    return sent


def _whole_dataset(opened: OpenDataset) -> Manifest:
    """The manifest. Raises RemoteOutputError if a file is missing, such as a shard that could not be fetched."""
    manifest = load_manifest(opened.folder)
    shards = [f"{SHARDS}/{shard.name}" for shard in manifest.shards] if manifest else []
    names = [MANIFEST, *facts_of(opened.folder), *shards]
    missing = next((name for name in names if not (opened.folder / name).is_file()), None)
    if missing or manifest is None:
        raise RemoteOutputError(f"{opened.home}: {missing} is missing; build it again")
    return manifest


def _is_complete(place: Place, there: _Sizes, wanted: Delivery) -> bool:
    """Whether papers and files for people are there. An upload that broke off before it had written these left
    something needless, or they lack. Sizes do not tell what another machine wrote at the same time; sizes.json does,
    which every upload writes last."""
    lengths = {name: len(b) if isinstance(b, bytes) else b.size for name, b in wanted.for_people.items()}
    has_all = all(map(there.has, wanted.papers.values())) and all(there.fits(n, size) for n, size in lengths.items())
    return has_all and place.read(SIZES) == wanted.for_people[SIZES]


def _write_for_people(place: Place, wanted: Delivery) -> None:
    for name, body in wanted.for_people.items():
        if isinstance(body, bytes):
            place.put(name, body)
        else:
            place.copy(body.name, name, body.path)


def _send_shards(
    place: Place, wanted: Delivery, lacking: list[str], old: Mapping[str, ShardEntry], events: Events
) -> int:
    """Bring shards to the address; gives how many were sent. One that lies there under its plain name is copied."""
    events.begin("uploading", len(lacking), "shards")
    sent: list[str] = []

    def bring(name: str) -> None:
        item = wanted.shards[name]
        if name in old and old[name].sha256 == item.sha256:
            _expect_sound(item)
            if place.copy(f"{SHARDS}/{name}", item.name, item.path):
                sent.append(name)
        else:
            _put(place, item)
            sent.append(name)
        events.advance(1)

    side_by_side(bring, lacking)
    events.end()
    return len(sent)


def _old_shards(place: Place, there: _Sizes, found: _Found | None, torn: Iterable[str]) -> dict[str, ShardEntry]:
    """Shards that an earlier release wrote under plain names, and that are what the manifest there says."""
    if found is None:
        return {}
    unsure = {*torn, *(_journal_at(place) if JOURNAL in there else [])}
    return {
        shard.name: shard
        for shard in found.manifest.shards
        if there.fits(f"{SHARDS}/{shard.name}", shard.bytes) and shard.name not in unsure
    }


def _send_again(place: Place, wanted: Delivery) -> None:
    """After the switch, bring again what another machine's upload removed before it, since no manifest named it yet."""
    there = _sizes_at(place)
    side_by_side(lambda item: _put(place, item), [item for item in wanted.objects if not there.has(item)])


def _expect_no_other(place: Place, wanted: Delivery) -> None:
    """Raise RemoteOutputError if another machine has replaced the manifest meanwhile."""
    if place.read(MANIFEST) != wanted.text:
        raise RemoteOutputError(f"{place.address}: another upload came in between; run it again when it has ended")


def _put(place: Place, item: Object) -> None:
    _expect_sound(item)
    place.put(item.name, item.path)


def _expect_sound(item: Object) -> None:
    """Raise RemoteOutputError for a file whose bytes are not those that its object's name will tell: nobody would look
    there again."""
    if item.sha256 and not is_intact(item.path, item.sha256):
        raise RemoteOutputError(f"{item.path}: its bytes are not those that were written; build it again")


def _expect_ours(place: Place) -> None:
    """Raise RemoteOutputError if something else than a dataset, or an upload that broke off, lies at the address."""
    if place.protocol in FOLDERS and "lock" in place.sizes(PRIVATE):
        raise RemoteOutputError(f"{place.address} is a folder where datasets are built; name it by its path")
    try:
        if _manifest_at(place):
            return
    except ManifestError:
        pass  # ours if the rest is
    names = set(place.sizes())
    foreign = sorted(names - OURS if SHARDS in names else names - {JOURNAL, PROBE, PRIVATE})
    if foreign:
        raise RemoteOutputError(
            f"{place.address} holds files and is no patina dataset, such as {foreign[0]}; name a new or empty place"
        )


# ---------------------------------------------------------------------------------------------------------------------
# What is known of either side


def _manifest_at(place: Place) -> _Found | None:
    """The manifest at an address; None if there is none. Raises ManifestError, RemoteOutputError."""
    text = place.read(MANIFEST)
    if text is None:
        return None
    return _Found(parse_manifest(text.decode("utf-8", "replace"), place.at(MANIFEST)), text)


def _readable_at(place: Place) -> _Found | None:
    try:
        return _manifest_at(place)
    except ManifestError:
        return None


def _journal_at(place: Place) -> list[str]:
    """The shards that an earlier release's upload which broke off may have replaced; torn itself, it says nothing, and
    no shard came after it."""
    try:
        return [str(name) for name in json.loads(place.read(JOURNAL) or b"[]")]
    except (ValueError, TypeError):
        return []


def _manifest_here(folder: Path) -> Manifest | None:
    try:
        return load_manifest(folder)
    except ManifestError:
        return None


def _is_current(folder: Path, there: _Found) -> bool:
    """Whether the mirror holds what the address does, or has gone on from it."""
    built = built_folder(folder)
    here = _manifest_here(built)
    if here is None:
        return False
    (digest, text), _ = _noted(folder)
    if text:
        return digest_of(there.text) in {digest_of((built / MANIFEST).read_bytes()), text}
    return there.manifest.digest in {here.digest, digest}  # an earlier release noted no more


def _noted(folder: Path) -> tuple[tuple[str, str], list[str]]:
    """What this mirror and its address last had in common, as the dataset's digest and that of its manifest.json; and
    the shards and tables that were not as they should be there."""
    try:
        body = json.loads((folder / PRIVATE / "uploaded.json").read_text("utf-8"))
        return (str(body["digest"]), str(body.get("manifest", ""))), [str(name) for name in body.get("torn", [])]
    except (OSError, ValueError, KeyError, TypeError):
        return ("", ""), []


def _note(folder: Path, digest: str, manifest: str, torn: Iterable[str] = ()) -> None:
    body = {"digest": digest, "manifest": manifest, "torn": sorted(torn)}
    uploaded = folder / PRIVATE / "uploaded.json"
    uploaded.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(uploaded, json.dumps(body), durable=False)
