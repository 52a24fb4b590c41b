"""Puts a dataset on the Hugging Face hub: what differs goes up, what was dropped goes away, the manifest comes last.

First the bytes, in batches of bounded size, which nobody can see yet; then commits, which only point at them. So an
upload that is cut short leaves the hub as it was and goes on where it stopped, and up to COMMIT changed shards appear
at once, together with card, tables and manifest. More than that take several commits, of which the last one brings the
manifest: a reader may find shards that no manifest names yet, and never a manifest without its shards.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patina.pipeline.errors import ManifestError, PipelineError
from patina.pipeline.format.card import public
from patina.pipeline.format.card_head import hub_licence
from patina.pipeline.format.earlier import papers
from patina.pipeline.format.layout import CARD, CROISSANT, MANIFEST, PRIVATE, SAMPLES, SHARD, SHARDS, SOURCES, STRIP
from patina.pipeline.format.manifest import Manifest, load_manifest, read_sources
from patina.pipeline.hashing import file_sha256
from patina.pipeline.redaction import holds_secret
from patina.pipeline.sources.presets import PRESETS
from patina.pipeline.sources.presets.preset import UNKNOWN
from patina.pipeline.text import counted, human_bytes
from patina.pipeline.versions.lease import open_dataset
from patina.pipeline.versions.publication import MAY_LACK
from patina.pipeline.versions.version import home_of

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

KIND = "dataset"
FACTS = (SAMPLES, SOURCES, CARD, STRIP, CROISSANT, MANIFEST)
"""Files that go up beside the shards, all in the last commit. Nothing else of the folder ever does."""

BATCH_FILES, BATCH_BYTES = 50, 20 << 30
"""Shards that are hashed and uploaded before the next are looked at."""

COMMIT = 500
"""Files of one commit at the most: the hub checks each of them while the client waits."""

HUB_OWN = frozenset((".gitattributes", "README.md", "LICENSE", "LICENSE.md", ".gitignore"))
"""What a repository may hold before its first dataset comes."""

NO_SHARING = re.compile(
    r"all rights reserved|no[nt]?[- ](re)?distribut|do not (re)?distribute|proprietary|confidential|"
    r"no[- ]deriv|\bnd\b|not? (be )?shared|without redistribution",
    re.IGNORECASE,
)
"""Licences that say so in their name. Creative Commons' ND too: a degraded photograph is an adaptation."""


class PushError(PipelineError, RuntimeError):
    """A dataset that cannot or may not go to the hub. Says why and what to do; nothing became visible there."""


@dataclass(frozen=True)
class PushPlan:
    """What a push does.

    upload   shards that the hub lacks or has otherwise, as paths in the repository; delete: those to remove there.
    facts    files beside the shards that differ. keep: how many shards are there already.
    bytes    of upload. private: whether a repository that must be created is. parent: the commit that this builds on;
    empty where there is no repository, or no such branch, yet.
    notes    things to know that stop nothing. blocked: what stops the push, in words, where something is to be changed.
    """

    repo_id: str
    revision: str
    upload: tuple[str, ...]
    delete: tuple[str, ...]
    facts: tuple[str, ...]
    keep: int
    bytes: int
    parent: str = ""
    has_repository: bool = False
    notes: tuple[str, ...] = ()
    blocked: str = ""
    manifest: Manifest = field(repr=False, kw_only=True)

    @property
    def is_empty(self) -> bool:
        """Whether the hub has all of it already."""
        return not (self.upload or self.delete or self.facts)

    def lines(self) -> list[str]:
        """Every step in a line."""
        return [
            *(f"upload {name}" for name in self.upload),
            *(f"delete {name}" for name in self.delete),
            *(f"upload {name}" for name in self.facts),
        ]

    def summary(self) -> str:
        """The plan in one sentence."""
        where = f"{self.repo_id}{f' at {self.revision}' if self.revision else ''}"
        if self.is_empty:
            return f"nothing to upload: {where} has all {counted(self.keep, 'shard')}"
        new = "" if self.has_repository else "a new repository, "
        return (
            f"{where}: {new}{counted(len(self.upload), 'shard')} to upload ({human_bytes(self.bytes)}), "
            f"{len(self.delete)} to delete, {self.keep} there; {counted(len(self.facts), 'other file')}"
        )


@dataclass(frozen=True)
class Pushed:
    """What a push did: its plan, the commits it made in order, and where the dataset is."""

    plan: PushPlan
    commits: tuple[str, ...]
    url: str


def push(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    message: str | None = None,
    may_redistribute: bool = False,
    progress: Callable[[int, int], None] | None = None,
    api: HfApi | None = None,
) -> Pushed:
    """Bring the dataset in `folder`, or a version of it (OUT@VERSION), to the hub's repository `repo_id` (OWNER/NAME),
    which is created if need be.

    private           of a repository that is created; one that exists stays as it is.
    revision          a branch, created if need be; default: main.
    may_redistribute  the caller answers for licences that are not stated or say otherwise.
    progress          called with the shards done and their number.

    Raises PushError before anything is uploaded if the folder is not a whole dataset, its licences do not allow it, or
    the hub holds something else there; and if the hub cannot be reached or refuses.
    """
    with open_dataset(folder) as opened:  # one version to the end, whatever is published meanwhile
        return _push(opened.folder, repo_id, private, revision, message, may_redistribute, progress, api or _api(token))


def _push(
    folder: Path,
    repo_id: str,
    private: bool,
    revision: str | None,
    message: str | None,
    may_redistribute: bool,
    progress: Callable[[int, int], None] | None,
    api: HfApi,
) -> Pushed:
    plan = plan_push(folder, repo_id, revision=revision, may_redistribute=may_redistribute, api=api)
    url = f"{getattr(api, 'endpoint', 'https://huggingface.co')}/datasets/{repo_id}"
    if plan.is_empty:
        return Pushed(plan, (), url)
    if plan.blocked:
        raise PushError(plan.blocked)
    with _asking(f"create {repo_id}"):
        if not plan.has_repository:
            api.create_repo(repo_id, repo_type=KIND, private=private, exist_ok=True)
        if revision and not plan.parent:
            api.create_branch(repo_id, branch=revision, repo_type=KIND, exist_ok=True)
    additions = _upload(folder, plan, api, progress)
    if load_manifest(folder) != plan.manifest:  # of a plain copy that was replaced
        raise PushError(f"{home_of(folder)} was built anew while it was uploaded; run the push again")
    return Pushed(plan, _commit(folder, plan, additions, message, api), url)


def plan_push(
    folder: Path,
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    may_redistribute: bool = False,
    api: HfApi | None = None,
) -> PushPlan:
    """What a push would do. Asks the hub and changes nothing there. Raises PushError like `push`."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id, re.ASCII):
        raise PushError(f"expected a repository as OWNER/NAME, found {repo_id!r}")
    with open_dataset(folder) as opened:
        return _plan_push(opened.folder, repo_id, revision, may_redistribute, api or _api(token))


def _plan_push(folder: Path, repo_id: str, revision: str | None, may_redistribute: bool, api: HfApi) -> PushPlan:
    manifest = check_folder(folder)
    sources = read_sources(folder)
    if not may_redistribute:
        check_licences(sources, manifest.recipe)
    there, parent, has_repository = _on_hub(api, repo_id, revision)
    shards = {f"{SHARDS}/{s.name}": s for s in manifest.shards}
    _expect_ours(api, repo_id, parent, there, shards)
    differ = [path for path, s in shards.items() if _lfs_sha256(there.get(path)) != s.sha256]
    upload = tuple(sorted(differ, key=lambda path: (path in there, path)))  # what replaces nothing goes first
    facts = facts_of(folder)
    kept = {*shards, *facts}
    in_shards = "|".join([SHARD.pattern, *map(re.escape, papers(2))])
    ours = re.compile(rf"{SHARDS}/({in_shards})|{'|'.join(map(re.escape, MAY_LACK))}")
    plan = PushPlan(
        repo_id,
        revision or "",
        upload,
        tuple(sorted(path for path in there if MANIFEST in there and ours.fullmatch(path) and path not in kept)),
        tuple(name for name in facts if not _same(folder / name, there.get(name))),
        len(shards) - len(upload),
        sum(shards[path].bytes for path in upload),
        parent,
        has_repository,
        tuple(_notes(manifest, sources)),
        manifest=manifest,
    )
    if plan.is_empty or getattr(api, "token", None) or _stored_token():
        return plan
    return replace(plan, blocked="no token for the hub: run `hf auth login`, or set HF_TOKEN to one that may write")


@dataclass(frozen=True)
class Contents:
    """What a dataset would hand on, whatever the hub has of it: shards and their bytes, and how many photographs are
    under each licence. others: files beside the shards."""

    shards: int
    bytes: int
    licences: Mapping[str, int]
    others: int

    def lines(self) -> list[str]:
        """All of it in lines."""
        each = [
            f"licence {licence or 'not stated'}: {counted(count, 'photograph')}"
            for licence, count in sorted(self.licences.items())
        ]
        return [f"dataset {counted(self.shards, 'shard')}, {human_bytes(self.bytes)}, {self.others} other files", *each]


def read_contents(folder: Path) -> Contents:
    """What the dataset in `folder`, or a version of it (OUT@VERSION), would hand on. Asks nobody. Raises PushError if
    it is not whole."""
    with open_dataset(folder) as opened:
        manifest, sources = check_folder(opened.folder), read_sources(opened.folder)
        others = len(facts_of(opened.folder))
    licences = Counter(source["licence"].strip() for source in sources)
    return Contents(len(manifest.shards), sum(shard.bytes for shard in manifest.shards), licences, others)


def facts_of(folder: Path) -> tuple[str, ...]:
    """Those of FACTS that a dataset must have, or has."""
    return tuple(name for name in FACTS if name not in MAY_LACK or (folder / name).is_file())


def check_folder(folder: Path) -> Manifest:
    """The manifest of the dataset in `folder`, if all its files are there, as large as it says, its tables with their
    very bytes, and no address in its recipe holds a secret. Raises PushError."""
    try:
        manifest = load_manifest(folder)
    except ManifestError as error:
        raise PushError(str(error)) from None
    if manifest is None:
        raise PushError(f"{home_of(folder)}: expected a dataset, found no {MANIFEST}; build one with `patina build`")
    if (folder / PRIVATE / "journal.json").exists():  # of an earlier release; a version is whole
        raise PushError(f"{folder}: a build was cut short while it published; run `patina build` to mend it")
    wrong = []
    for shard in manifest.shards:
        path = folder / SHARDS / shard.name
        size = path.stat().st_size if path.is_file() else None
        if size != shard.bytes:
            wrong.append(f"{shard.name} {'is missing' if size is None else f'has {size} bytes, not {shard.bytes}'}")
    wrong += [f"{name} is missing" for name in FACTS if name not in MAY_LACK and not (folder / name).is_file()]
    wrong += [
        f"{name} is not as it was written"
        for name, digest in manifest.tables.items()
        if (folder / name).is_file() and file_sha256(folder / name) != digest
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise PushError(
            f"{home_of(folder)}: its files are not those of its manifest: {'; '.join(wrong[:3])}{more}; run `patina "
            "check`, then `patina build`"
        )
    told = [
        manifest.recipe,
        manifest.set_aside,
        manifest.notes,
        manifest.leaks,
        *map(_stored_texts, read_sources(folder)),
    ]
    secret = next((text for text in _texts(told) if "://" in text and holds_secret(text)), None)
    if secret:  # an earlier release stored them
        raise PushError(
            f"{folder} tells of an address with a password or a token in it ({public(secret)}); build again, which "
            "stores it without"
        )
    return manifest


def check_licences(sources: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> None:
    """Raise PushError if a source's licence is not stated, or does not allow its photographs to be passed on.

    recipe  its table: what is known of public sets counts for their sources.
    """
    presets = [PRESETS[t["name"]] for t in recipe["sources"] if t.get("kind") == "preset" and t["name"] in PRESETS]
    closed = {preset.title for preset in presets if preset.redistributable is False}
    bad: dict[str, int] = defaultdict(int)
    for source in sources:
        licence = source["licence"].strip()
        if licence in {"", UNKNOWN}:
            reason = "no licence is stated"
        elif source["set"] in closed or (not _is_open(licence) and NO_SHARING.search(licence)):
            reason = f"{licence!r} does not allow it"
        else:
            continue
        bad[f"{source['set'] or 'a source without a name'}: {reason}"] += 1
    if bad:
        each = [f"{reason} ({counted(count, 'photograph')})" for reason, count in sorted(bad.items())]
        more = f"; and {counted(len(each) - 5, 'source')} more" if len(each) > 5 else ""
        raise PushError(
            f"pushing would pass photographs on that you may have no right to: {'; '.join(each[:5])}{more}; state the "
            "`licence` of your own [[sources]] in the recipe, and say --i-may-redistribute if you have the other "
            "owners' leave"
        )


# ---------------------------------------------------------------------------------------------------------------------
# What is there


def _on_hub(api: HfApi, repo_id: str, revision: str | None) -> tuple[dict[str, RepoFile], str, bool]:
    """Files of the repository by path, its commit, and whether there is one at all; without the branch, as main has."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    with _asking(f"read {repo_id}"):
        try:
            info = api.repo_info(repo_id, repo_type=KIND, revision=revision)
        except RevisionNotFoundError:  # the branch will be made from main
            info = api.repo_info(repo_id, repo_type=KIND)
            entries = api.list_repo_tree(repo_id, recursive=True, repo_type=KIND, revision=info.sha)
            return {e.path: e for e in entries if isinstance(e, RepoFile)}, "", True
        except RepositoryNotFoundError:
            return {}, "", False
        entries = api.list_repo_tree(repo_id, recursive=True, repo_type=KIND, revision=info.sha)
        return {e.path: e for e in entries if isinstance(e, RepoFile)}, info.sha or "", True


def _expect_ours(api: HfApi, repo_id: str, parent: str, there: Mapping[str, RepoFile], shards: Collection[str]) -> None:
    """Raise PushError if the repository holds something that is no dataset of patina, nor a part of a first push."""
    if MANIFEST not in there:
        foreign = sorted(set(there) - HUB_OWN - set(shards))
        if foreign:
            raise PushError(
                f"{repo_id} holds files and no dataset of patina, such as {foreign[0]}; name another repository"
            )
        return
    with _asking(f"read {repo_id}"):
        path = api.hf_hub_download(repo_id, MANIFEST, repo_type=KIND, revision=parent or None)
    try:
        body = json.loads(Path(path).read_text("utf-8"))
    except ValueError:
        body = None
    if not isinstance(body, dict) or not {"recipe", "shards", "digest"} <= body.keys():
        raise PushError(f"{repo_id} holds a {MANIFEST} that is not patina's; name another repository")


def _lfs_sha256(file: RepoFile | None) -> str:
    return file.lfs.sha256 if file is not None and file.lfs is not None else ""


def _same(path: Path, file: RepoFile | None) -> bool:
    """Whether the hub's file has these bytes, by its SHA-256, or by its Git name where it is stored as it is."""
    if file is None or file.size != path.stat().st_size:
        return False
    if file.lfs is not None:
        return file.lfs.sha256 == file_sha256(path)
    data = path.read_bytes()
    return file.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Bringing it there


def _upload(
    folder: Path, plan: PushPlan, api: HfApi, progress: Callable[[int, int], None] | None
) -> list[CommitOperationAdd]:
    """Upload shards batch by batch, each hashed first; gives what commits need to point at them."""
    from huggingface_hub import CommitOperationAdd

    expected = {f"{SHARDS}/{s.name}": s for s in plan.manifest.shards}
    done: list[CommitOperationAdd] = []
    for batch in _batches(plan.upload, [expected[path].bytes for path in plan.upload]):
        additions = []
        for path in batch:
            addition = CommitOperationAdd(path_in_repo=path, path_or_fileobj=folder / path)
            if addition.upload_info.sha256.hex() != expected[path].sha256:
                raise PushError(f"{path}: its bytes are not those that were written; run `patina check {folder}`")
            additions.append(addition)
        with _asking(f"upload to {plan.repo_id}"):
            api.preupload_lfs_files(
                plan.repo_id, additions, repo_type=KIND, revision=plan.revision or None, free_memory=False
            )
        done += additions
        if progress:
            progress(len(done), len(plan.upload))
    return done


def _batches(paths: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    """Paths in order, so many together as BATCH_FILES and BATCH_BYTES allow; one at least."""
    batch: list[str] = []
    total = 0
    for path, size in zip(paths, sizes, strict=True):
        if batch and (len(batch) == BATCH_FILES or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(path)
        total += size
    if batch:
        yield batch


def _commit(
    folder: Path, plan: PushPlan, additions: Sequence[CommitOperationAdd], message: str | None, api: HfApi
) -> tuple[str, ...]:
    """Make everything visible: commits of COMMIT shards at the most, facts and deletions in the last one."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    title = message or f"{plan.manifest.recipe['name']}, digest {plan.manifest.digest[:16]}"
    groups: list[list[CommitOperationAdd | CommitOperationDelete]] = [
        list(additions[start : start + COMMIT]) for start in range(0, len(additions), COMMIT)
    ] or [[]]
    groups[-1] += [CommitOperationDelete(path_in_repo=path) for path in plan.delete]
    groups[-1] += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in plan.facts]
    made: list[str] = []
    parent = plan.parent or None
    for i, operations in enumerate(groups, 1):
        part = f" ({i} of {len(groups)})" if len(groups) > 1 else ""
        with _asking(f"commit to {plan.repo_id}"):
            info = api.create_commit(
                plan.repo_id,
                operations,
                commit_message=title + part,
                repo_type=KIND,
                revision=plan.revision or None,
                parent_commit=parent,  # if somebody else committed meanwhile, the hub refuses
            )
        parent = info.oid
        made.append(info.oid)
    return tuple(made)


# ---------------------------------------------------------------------------------------------------------------------


def _api(token: str | None) -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise PushError("the hub needs huggingface_hub: pip install 'patina-ir[hub]'") from None
    return HfApi(token=token, library_name="patina")


def _stored_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Say in a sentence why the hub could not be asked."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    # the hub's client changes its HTTP library now and then; its own error is derived from that library's
    away: type[BaseException] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (HFValidationError, LocalTokenNotFoundError) as error:
        raise PushError(f"cannot {what}: {error}") from None
    except OfflineModeIsEnabled:
        raise PushError(f"cannot {what}: HF_HUB_OFFLINE is set; unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        hint = {
            401: "no valid token: run `hf auth login`, or set HF_TOKEN to one that may write",
            403: "the token may not write there",
            404: "there is no such repository or branch, or the token may not see it",
            409: "the repository changed meanwhile; run the push again",
            412: "the repository changed meanwhile; run the push again",
            429: "too many requests; wait and run the push again, which goes on where it stopped",
        }.get(status, "")
        reason = error.server_message or str(error).partition("\n")[0]
        raise PushError(f"cannot {what}: {f'{hint} ({reason})' if hint else reason}") from None
    except (away, ConnectionError, TimeoutError) as error:
        raise PushError(
            f"cannot {what}: the hub cannot be reached ({error}); run the push again, which goes on where it stopped"
        ) from None


def _is_open(licence: str) -> bool:
    """Whether the hub knows the licence, and it allows adaptations."""
    return bool(hub_licence(licence)) and "-nd-" not in f"{hub_licence(licence)}-"


def _stored_texts(source: Mapping[str, Any]) -> list[Any]:
    """What a row of sources.parquet says in words of its source's own."""
    return [source[name] for name in ("names", "lq_name", "set", "licence", "attribution")]


def _texts(value: Any) -> Iterator[str]:
    """Every text in a recipe's table."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _notes(manifest: Manifest, sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What somebody should look at before the world does."""
    paths = sorted({text for text in _texts(manifest.recipe) if re.match(r"(/|~/|[A-Za-z]:\\)\S", text)})
    if paths:
        yield f"{MANIFEST} holds the recipe as it was written, with folders of this machine such as {paths[0]}"
    unknown = sorted(
        {source["licence"] for source in sources if source["licence"] and not hub_licence(source["licence"])}
    )
    if unknown:
        names = ", ".join(map(repr, unknown[:5]))
        yield f"the hub knows no licence {names}: see whether it allows passing photographs on"
