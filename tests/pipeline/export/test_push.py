"""Pushing to the hub, against a double that keeps repositories in memory and takes what the real one takes."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

import patina.pipeline.export.push
from patina.flows.cli.app import app
from patina.flows.cli.user_errors import is_for_the_user
from patina.pipeline.builder.build import build
from patina.pipeline.export.push import FACTS, PushError, check_licences, plan_push, push, read_contents
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.report.gallery import write_gallery
from patina.pipeline.sources.presets import PRESETS
from patina.pipeline.text import human_bytes
from tests.pipeline.making import photo, photos, tiny_recipe

OWN = ["README.md", "croissant.json", MANIFEST, "samples.parquet", "sources.parquet", "strip.jpg"]
REPO = "someone/some-photographs"
HTTP: Any = importlib.import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])  # the client's library


@dataclass
class Commit:
    """One commit of a branch: its message, and every file after it."""

    oid: str
    message: str
    operations: list[Any]
    files: dict[str, bytes]


@dataclass
class Hub:
    """The hub in memory: repositories by name, each a list of commits by branch. `calls` are the names of all calls
    made; `fails` lets one of them raise."""

    folder: Path
    token: str | None = "a token"
    repos: dict[str, dict[str, list[Commit]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)
    before_commit: Callable[[], object] = lambda: None

    endpoint = "https://hub.example"

    def _called(self, name: str, *args: Any, **kwargs: Any) -> None:
        inspect.signature(getattr(HfApi, name)).bind(None, *args, **kwargs)  # TypeError where the real one has no such
        assert kwargs["repo_type"] == "dataset", "the default is a model"
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]

    def files(self, repo: str = REPO, branch: str = "main") -> dict[str, bytes]:
        return self.repos[repo][branch][-1].files

    def commits(self, repo: str = REPO, branch: str = "main") -> list[Commit]:
        return self.repos[repo][branch][1:]

    def _commit(self, repo: str, revision: str | None) -> Commit:
        if repo not in self.repos:
            raise RepositoryNotFoundError("no such repository", response=answer(404))
        branches = self.repos[repo]
        for commits in branches.values():
            for commit in commits:
                if commit.oid == revision:
                    return commit
        if (revision or "main") not in branches:
            raise RevisionNotFoundError("no such branch", response=answer(404))
        return branches[revision or "main"][-1]

    def create_repo(self, repo_id: str, **kwargs: Any) -> None:
        self._called("create_repo", repo_id, **kwargs)
        self.repos.setdefault(repo_id, {"main": [Commit(oid(b"first"), "", [], {".gitattributes": b"*.tar lfs"})]})
        self.private.setdefault(repo_id, kwargs["private"])

    def create_branch(self, repo_id: str, **kwargs: Any) -> None:
        self._called("create_branch", repo_id, **kwargs)
        self.repos[repo_id].setdefault(kwargs["branch"], [self._commit(repo_id, None)])

    def repo_info(self, repo_id: str, **kwargs: Any) -> Any:
        self._called("repo_info", repo_id, **kwargs)
        commit = self._commit(repo_id, kwargs.get("revision"))
        return type("Info", (), {"sha": commit.oid})

    def list_repo_tree(self, repo_id: str, **kwargs: Any) -> Iterable[RepoFile]:
        self._called("list_repo_tree", repo_id, **kwargs)
        assert kwargs["recursive"]
        for path, data in self._commit(repo_id, kwargs["revision"]).files.items():
            large = path.endswith((".tar", ".parquet"))
            lfs = {"size": len(data), "oid": hashlib.sha256(data).hexdigest(), "pointerSize": 130}
            name = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            yield RepoFile(path=path, size=len(data), oid=name, lfs=lfs if large else None)

    def hf_hub_download(self, repo_id: str, filename: str, **kwargs: Any) -> str:
        self._called("hf_hub_download", repo_id, filename, **kwargs)
        path = self.folder / "download.json"
        path.write_bytes(self._commit(repo_id, kwargs["revision"]).files[filename])
        return str(path)

    def preupload_lfs_files(self, repo_id: str, additions: Iterable[CommitOperationAdd], **kwargs: Any) -> None:
        self._called("preupload_lfs_files", repo_id, additions, **kwargs)
        for addition in additions:
            with addition.as_file() as file:
                self.blobs[addition.path_in_repo] = file.read()

    def create_commit(self, repo_id: str, operations: Iterable[Any], **kwargs: Any) -> Any:
        self.before_commit()
        self._called("create_commit", repo_id, operations, **kwargs)
        branch = self.repos[repo_id][kwargs.get("revision") or "main"]
        if kwargs["parent_commit"] not in {None, branch[-1].oid}:
            raise HfHubHTTPError("the branch has moved", response=answer(412))
        files = dict(branch[-1].files)
        for operation in operations:
            if isinstance(operation, CommitOperationDelete):
                del files[operation.path_in_repo]
            else:
                with operation.as_file() as file:
                    files[operation.path_in_repo] = file.read()
        commit = Commit(oid(str(len(branch)).encode() + branch[-1].oid.encode()), kwargs["commit_message"],
                        list(operations), files)  # fmt: skip
        branch.append(commit)
        return type("Done", (), {"oid": commit.oid})


def oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def answer(status: int) -> Any:
    return HTTP.Response(status, request=HTTP.Request("GET", "https://hub.example"))


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    return Hub(tmp_path)


BUILT: dict[tuple[tuple[str, ...], str], Path] = {}


@pytest.fixture(scope="module", autouse=True)
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests push is built once and copied."""
    for words, licence in (((*TWO,), CC0), (("noisy",), CC0)):
        folder = tmp_path_factory.mktemp("built")
        dataset(folder, words, licence)
        BUILT[words, licence] = folder
    yield
    BUILT.clear()


TWO, CC0 = ("noisy", "jpeg-compressed"), "CC0-1.0"


def dataset(folder: Path, words: Iterable[str] = TWO, licence: str = CC0) -> Path:
    """A dataset of the photographs in `folder`/photos; of four new ones if there are none."""
    words = tuple(words)
    if not (folder / "photos").exists():
        if (words, licence) in BUILT:
            shutil.copytree(BUILT[words, licence], folder, dirs_exist_ok=True)
            return folder / "out"
        photos(folder / "photos", 4)
    sources = [{"path": "photos", "licence": licence}]
    build(tiny_recipe(folder, sources=sources, degradations={w: {} for w in words}, buckets=2), folder / "out")
    return folder / "out"


def shards(out: Path) -> list[str]:
    manifest = load_manifest(out)
    assert manifest is not None
    return [f"{SHARDS}/{s.name}" for s in manifest.shards]


def expect_whole(hub: Hub, out: Path, branch: str = "main") -> None:
    """The hub has the dataset's files, byte for byte, and no other."""
    files = {name: data for name, data in hub.files(branch=branch).items() if name != ".gitattributes"}
    assert sorted(files) == sorted([*OWN, *shards(out)])
    for name, data in files.items():
        assert data == (out / name).read_bytes(), name


# ---------------------------------------------------------------------------------------------------------------------


def test_a_first_push_brings_all_of_it_in_one_commit(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    write_gallery(out, None, 4)
    (out / "notes.txt").write_text("mine", "utf-8")
    seen: list[tuple[int, int]] = []
    done = push(out, REPO, private=True, progress=lambda done, total: seen.append((done, total)), api=hub)
    expect_whole(hub, out)
    assert hub.private == {REPO: True}
    assert seen[-1] == (len(shards(out)), len(shards(out)))
    assert done.url == f"https://hub.example/datasets/{REPO}"
    (commit,) = hub.commits()
    assert done.commits == (commit.oid,)
    manifest = load_manifest(out)
    assert manifest is not None
    assert commit.message == f"tiny, digest {manifest.digest[:16]}"
    assert commit.operations[-1].path_in_repo == MANIFEST
    assert hub.calls.index("preupload_lfs_files") < hub.calls.index("create_commit")


def test_a_second_push_does_nothing(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    push(out, REPO, api=hub)
    hub.calls.clear()
    done = push(out, REPO, api=hub)
    assert done.commits == ()
    assert set(hub.calls) == {"repo_info", "list_repo_tree", "hf_hub_download"}
    assert done.plan.summary() == f"nothing to upload: {REPO} has all {len(shards(out))} shards"


def test_only_what_differs_goes_up_and_what_was_dropped_goes_away(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    push(out, REPO, api=hub)
    before = {name: (out / name).read_bytes() for name in shards(out)}
    photo(tmp_path / "photos" / "new.png", seed=77)
    dataset(tmp_path, ["noisy", "uncompleted"])
    hub.blobs.clear()
    plan = plan_push(out, REPO, api=hub)
    done = push(out, REPO, api=hub)
    expect_whole(hub, out)
    changed = {name for name in shards(out) if before.get(name) != (out / name).read_bytes()}
    assert set(hub.blobs) == set(done.plan.upload) == changed
    assert 0 < done.plan.keep < len(shards(out))
    assert set(done.plan.delete) == set(before) - set(shards(out)) != set()
    assert len(hub.commits()) == 2
    new = [name not in before for name in done.plan.upload]
    assert new == sorted(new, reverse=True), "what replaces nothing goes first"
    assert plan == done.plan


def test_a_dry_run_changes_nothing(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    plan = plan_push(out, REPO, api=hub)
    assert hub.calls == ["repo_info"]
    assert not hub.repos
    assert plan.lines() == [f"upload {name}" for name in [*sorted(shards(out)), *plan.facts]]
    assert plan.facts[-1] == MANIFEST
    size = sum((out / name).stat().st_size for name in shards(out))
    assert plan.bytes == size
    assert f"a new repository, {len(shards(out))} shards to upload" in plan.summary()


def test_a_branch_is_made_and_main_stays(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    push(out, REPO, api=hub)
    first = dict(hub.files())
    dataset(tmp_path, ["noisy"])
    done = push(out, REPO, revision="noise", api=hub)
    expect_whole(hub, out, "noise")
    assert hub.files() == first
    assert not done.plan.upload, "main has the same shards"
    assert push(out, REPO, revision="noise", api=hub).commits == ()


def test_many_shards_go_in_batches_and_commits_of_bounded_size(
    tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = dataset(tmp_path, ["noisy", "jpeg-compressed", "uncompleted"])
    count = len(shards(out))
    assert count >= 5
    monkeypatch.setattr(patina.pipeline.export.push, "BATCH_FILES", 2)
    monkeypatch.setattr(patina.pipeline.export.push, "COMMIT", 3)
    done = push(out, REPO, message="all of it", api=hub)
    expect_whole(hub, out)
    assert hub.calls.count("preupload_lfs_files") == -(-count // 2)
    commits = hub.commits()
    assert len(commits) == len(done.commits) == -(-count // 3)
    assert [c.message for c in commits] == [f"all of it ({i} of {len(commits)})" for i in range(1, len(commits) + 1)]
    for commit in commits[:-1]:
        assert len(commit.operations) == 3
        assert not set(OWN) & set(commit.files), "a manifest comes with the last of its shards"
    monkeypatch.setattr(patina.pipeline.export.push, "BATCH_BYTES", 1)
    assert list(patina.pipeline.export.push._batches(["a", "b"], [5, 5])) == [["a"], ["b"]]


def test_an_upload_that_was_cut_short_goes_on(tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = dataset(tmp_path)
    monkeypatch.setattr(patina.pipeline.export.push, "COMMIT", 1)
    slow = HTTP.ReadTimeout("too slow")
    hub.before_commit = lambda: hub.commits() and hub.fails.update(create_commit=slow)  # the second one fails
    with pytest.raises(PushError, match=r"cannot commit to someone/.*: the hub cannot be reached \(too slow\)"):
        push(out, REPO, api=hub)
    assert MANIFEST not in hub.files()
    hub.before_commit = lambda: None
    hub.fails.clear()
    done = push(out, REPO, api=hub)
    expect_whole(hub, out)
    assert done.plan.keep == 1, "the first commit's shard is there"


# ---------------------------------------------------------------------------------------------------------------------
# Refusals, all before anything goes up


@pytest.mark.parametrize(
    "licence", ["", "  ", "All rights reserved", "CC-BY-ND-4.0", "CC BY-NC-ND 4.0", "no redistribution"]
)
def test_licences_that_do_not_allow_it(licence: str, tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path, ["noisy"], licence)
    with pytest.raises(PushError, match=r"no right to: photos: .*\(4 photographs\).*--i-may-redistribute"):
        push(out, REPO, api=hub)
    assert not hub.calls
    push(out, REPO, may_redistribute=True, api=hub)
    expect_whole(hub, out)


@pytest.mark.parametrize("licence", ["CC0-1.0", "CC BY-NC-SA 4.0", "public domain", "MIT", "Flickr terms"])
def test_licences_that_do(licence: str) -> None:
    check_licences([{"licence": licence, "set": "mine"}], {"sources": [{"kind": "folder"}]})


def test_what_is_known_of_public_sets_counts() -> None:
    for name, preset in PRESETS.items():
        rows = [{"licence": preset.terms, "set": preset.title}]
        recipe = {"sources": [{"kind": "preset", "name": name}]}
        if preset.redistributable is False or preset.licence is None:
            with pytest.raises(PushError, match="no right to"):
                check_licences(rows, recipe)
        elif preset.redistributable:
            check_licences(rows, recipe)
    closed = next(preset for preset in PRESETS.values() if preset.redistributable is False)
    rows = [{"licence": "CC0-1.0", "set": closed.title}]
    check_licences(rows, {"sources": [{"kind": "folder"}]})


def test_more_sets_than_are_named_are_counted() -> None:
    rows = [{"licence": "", "set": f"set {i}"} for i in range(7)]
    with pytest.raises(PushError, match=r"set 4: no licence is stated \(1 photograph\); and 2 sources more; state"):
        check_licences(rows, {"sources": [{"kind": "folder"}]})


def damaged_shard(out: Path) -> None:
    path = out / shards(out)[0]
    path.write_bytes(path.read_bytes()[:-512])


def other_table(out: Path) -> None:
    (out / "samples.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / MANIFEST).unlink(), "expected a dataset, found no manifest.json"),
        (lambda out: (out / MANIFEST).write_text("{", "utf-8"), "cannot be read"),
        (lambda out: (out / shards(out)[0]).unlink(), r"\.tar is missing; run `patina check`"),
        (damaged_shard, r"\.tar has \d+ bytes, not \d+"),
        (lambda out: (out / "README.md").unlink(), r"README\.md is missing"),
        (other_table, r"samples\.parquet is not as it was written"),
        (lambda out: (out / ".patina" / "journal.json").write_text("{}", "utf-8"), "cut short while it published"),
    ],
)
def test_a_folder_that_is_no_whole_dataset(
    damage: Callable[[Path], object], message: str, tmp_path: Path, hub: Any
) -> None:
    out = dataset(tmp_path)
    damage(out)
    with pytest.raises(PushError, match=message):
        push(out, REPO, api=hub)
    assert not hub.calls


def test_bytes_that_changed_and_kept_their_size(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    path = out / shards(out)[0]
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(PushError, match="its bytes are not those that were written; run `patina check"):
        push(out, REPO, api=hub)
    assert not hub.blobs
    assert not hub.commits()


def test_a_dataset_that_is_built_anew_meanwhile(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    photo(tmp_path / "photos" / "new.png", seed=77)
    with pytest.raises(PushError, match="was built anew while it was uploaded"):
        push(out, REPO, progress=lambda done, total: dataset(tmp_path) and None, api=hub)
    assert not hub.commits()


@pytest.mark.parametrize("name", ["photographs", "a/b/c", "a b/c", ""])
def test_names_that_are_none(name: str, tmp_path: Path, hub: Any) -> None:
    with pytest.raises(PushError, match="expected a repository as OWNER/NAME"):
        push(dataset(tmp_path, ["noisy"]), name, api=hub)


@pytest.mark.parametrize("files", [{"train.csv": b"1"}, {"manifest.json": b"{}"}, {"manifest.json": b"<html>"}])
def test_a_repository_that_holds_something_else(files: dict[str, bytes], tmp_path: Path, hub: Any) -> None:
    hub.repos[REPO] = {"main": [Commit(oid(b"x"), "", [], files)]}
    with pytest.raises(PushError, match="name another repository"):
        push(dataset(tmp_path), REPO, api=hub)
    assert hub.files() == files


def test_somebody_who_commits_meanwhile(tmp_path: Path, hub: Any) -> None:
    out = dataset(tmp_path)
    push(out, REPO, api=hub)
    dataset(tmp_path, ["noisy"])
    branch = hub.repos[REPO]["main"]
    hub.before_commit = lambda: branch.append(Commit(oid(b"other"), "", [], dict(branch[-1].files)))
    with pytest.raises(PushError, match="the repository changed meanwhile; run the push again"):
        push(out, REPO, api=hub)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HfHubHTTPError("refused", response=answer(401)), "no valid token: run `hf auth login`"),
        (HfHubHTTPError("refused", response=answer(403)), "the token may not write there"),
        (HfHubHTTPError("broken", response=answer(500)), "broken"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set; unset it"),
        (HTTP.ConnectError("no route"), r"the hub cannot be reached \(no route\)"),
    ],
)
def test_a_hub_that_refuses_or_is_not_there(error: Exception, message: str, tmp_path: Path, hub: Any) -> None:
    hub.fails["repo_info"] = error
    with pytest.raises(PushError, match=f"cannot read {REPO}: .*{message}"):
        push(dataset(tmp_path), REPO, api=hub)


def test_without_a_token(tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = None
    monkeypatch.setattr(patina.pipeline.export.push, "_stored_token", lambda: None)
    with pytest.raises(PushError, match="no token for the hub: run `hf auth login`"):
        push(dataset(tmp_path), REPO, api=hub)
    assert hub.calls == ["repo_info"]


def test_a_hub_that_nobody_answers_for_is_said_of_the_real_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as taken:  # bound, and does not listen: every connection to it is refused
        taken.bind(("127.0.0.1", 0))
        api = huggingface_hub.HfApi(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(PushError, match=r"cannot read .*: the hub cannot be reached \(.*\); run the push again"):
            plan_push(dataset(tmp_path), REPO, api=api)


def test_no_network_is_said_by_the_real_client(tmp_path: Path) -> None:
    with pytest.raises(PushError, match="HF_HUB_OFFLINE is set; unset it"):
        plan_push(dataset(tmp_path), REPO)


def test_addresses_with_secrets_and_folders_of_the_machine(tmp_path: Path, hub: Any) -> None:
    photos(tmp_path / "photos", 2)
    sources = [{"path": str(tmp_path / "photos"), "licence": "their own"}]
    build(tiny_recipe(tmp_path, sources=sources), tmp_path / "out")
    notes = plan_push(tmp_path / "out", REPO, api=hub).notes
    assert f"folders of this machine such as {tmp_path / 'photos'}" in notes[0]
    assert "the hub knows no licence 'their own'" in notes[1]
    path = tmp_path / "out" / MANIFEST
    body = json.loads(path.read_text("utf-8"))
    del body["sum"]
    for address in ("https://me:pw@example.org/a", "https://example.org/a?X-Amz-Signature=f00", "s3://b?token=f00"):
        body["recipe"]["sources"][0]["path"] = address
        path.write_text(json.dumps(body), "utf-8")
        with pytest.raises(PushError, match="a password or a token in it") as caught:
            plan_push(tmp_path / "out", REPO, api=hub)
        assert "f00" not in str(caught.value)
        assert "pw@" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------


def test_the_command(
    tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    out = dataset(tmp_path)
    monkeypatch.setattr(patina.pipeline.export.push, "_api", lambda token: hub)
    run = CliRunner()
    said = run.invoke(app, ["push", str(out), REPO, "--dry-run"])
    assert said.exit_code == 0, said.output
    assert f"upload {shards(out)[0]}" in said.output
    assert "a new repository" in said.output
    assert not hub.repos
    said = run.invoke(app, ["push", str(out), REPO, "--private"])
    assert said.exit_code == 0, said.output
    assert f"https://hub.example/datasets/{REPO}" in said.output
    assert hub.private == {REPO: True}
    expect_whole(hub, out)
    other = dataset(tmp_path / "other", ["noisy"], "")
    said = run.invoke(app, ["push", str(other), REPO])
    assert isinstance(said.exception, PushError)
    assert is_for_the_user(said.exception)


def test_a_dry_run_without_the_hub_tells_of_bytes_and_licences(
    tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    out = dataset(tmp_path)
    size = sum((out / path).stat().st_size for path in shards(out))
    hub.fails["repo_info"] = OfflineModeIsEnabled("offline")
    monkeypatch.setattr(patina.pipeline.export.push, "_api", lambda token: hub)
    said = CliRunner().invoke(app, ["push", str(out), REPO, "--dry-run"])
    assert f"dataset {len(shards(out))} shards, {human_bytes(size)}, {len(FACTS)} other files" in said.output
    assert f"licence {CC0}: 4 photographs" in said.output
    assert isinstance(said.exception, PushError), "as the push itself"


def test_a_dry_run_says_what_a_push_would_stop_for(tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = None
    monkeypatch.setattr(patina.pipeline.export.push, "_stored_token", lambda: None)
    out = dataset(tmp_path)
    assert plan_push(out, REPO, api=hub).blocked.startswith("no token for the hub")
    hub.token = "one"
    assert plan_push(out, REPO, api=hub).blocked == ""
    push(out, REPO, api=hub)
    hub.token = None
    assert plan_push(out, REPO, api=hub).blocked == "", "nothing is to be uploaded"
    unlicensed = dataset(tmp_path / "other", licence="")
    assert read_contents(unlicensed).lines()[-1] == "licence not stated: 4 photographs"
    with pytest.raises(PushError, match="no licence is stated"):
        plan_push(unlicensed, REPO, api=hub)
