"""Uploads to an address, cut short at every request and met by readers at every request: nobody finds a mixture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from patina.pipeline.builder.build import Silent, build
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.export import remote_place
from patina.pipeline.export.remote_output import JOURNAL, dataset_at, expect_writable, mirror_of, pull, push
from patina.pipeline.export.remote_place import RemoteOutputError
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.report.check import check
from patina.pipeline.versions.version import built_folder, published_versions
from tests.pipeline.delivering import at, deliver, objects, public, recipes, sha
from tests.pipeline.making import copied, photo, tiny_recipe
from tests.pipeline.serving import serving

ADDRESS = "memory://bucket/set"

REQUESTS = ("put_file", "pipe_file", "cp_file", "rm_file", "get_file", "cat_file", "ls", "makedirs")


class Killed(BaseException):
    """The process ends here: nothing catches it."""


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_place, "SIDE_BY_SIDE", 1)


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """fsspec's memory file system, empty before and after."""
    fsspec.filesystem("memory").store.clear()
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on as another machine, by its name."""

    def change(name: str) -> None:
        monkeypatch.setenv("PATINA_CACHE", str(tmp_path / f"cache-{name}"))

    change("builder")
    return change


@contextmanager
def before_each_request(act: Callable[[int], None], system: object = None) -> Iterator[None]:
    """Call `act` with 1, 2, … before each request to the memory file system, but not before those that it makes."""
    kind = type(system or fsspec.filesystem("memory"))
    count, acting = 0, False

    def watched(verb: str) -> Callable[..., object]:
        real = getattr(kind, verb)

        def request(self: object, *names: object, **how: object) -> object:
            nonlocal count, acting
            if not acting:
                count, acting = count + 1, True
                try:
                    act(count)
                finally:
                    acting = False
            return real(self, *names, **how)

        return request

    with pytest.MonkeyPatch.context() as patch:
        for verb in REQUESTS:
            patch.setattr(kind, verb, watched(verb))
        yield


def kill_at(last: int) -> Callable[[int], None]:
    def act(count: int) -> None:
        if count >= last:
            raise Killed

    return act


def lay(files: Mapping[str, bytes]) -> None:
    """Make the address hold these files and nothing else."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name, body in files.items():
        system.pipe_file(f"{ADDRESS}/{name}", body)


def fetched(machine: Callable[[str], None]) -> dict[str, bytes]:
    """What a machine that never saw the dataset finds, as files of a folder; empty for none."""
    machine("reader")
    shutil.rmtree(mirror_of(ADDRESS), ignore_errors=True)
    found = public(pull(ADDRESS, Silent())) if MANIFEST in at(ADDRESS) else {}
    machine("builder")
    return found


def expect_promises(there: Mapping[str, bytes], wholes: list[dict[str, bytes]]) -> None:
    """What readers other than patina's are promised at every instant: every shard is whole, and the two lists name
    shards of one dataset, which are all there."""
    plain = {name: body for whole in wholes for name, body in whole.items() if name.endswith(".tar")}
    for name, body in there.items():
        if name.endswith(".tar") and name not in plain:
            assert name.endswith(f".{sha(body)}.tar")
    if "sizes.json" in there:
        listed = {f"shards/{name}" for name in json.loads(there["sizes.json"])}
        assert listed <= there.keys()
        assert listed in [{name for name in whole if name.endswith(".tar")} for whole in wholes]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The datasets of two recipes, and the builder's mirror, which holds the second one, not uploaded."""
    folder = tmp_path_factory.mktemp("once")
    old, new = recipes(folder)
    build(old, folder / "old")
    photo(folder / "photos" / "more.png", seed=50)
    build(new, folder / "new")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATINA_CACHE", str(folder / "cache-builder"))
        build(new, mirror_of(ADDRESS))
    return folder


@pytest.fixture
def two(once: Path, tmp_path: Path, machine: Callable[[str], None]) -> tuple[Recipe, Recipe, Path, Path]:
    """Two recipes, and their datasets in folders; the builder's mirror holds the second one, not uploaded."""
    copied(once, tmp_path)
    old, new = recipes(tmp_path)
    return old, new, tmp_path / "old", tmp_path / "new"


def earlier_release(out: Path) -> dict[str, bytes]:
    """An address as an earlier release left it."""
    return public(out)


def nothing(out: Path) -> dict[str, bytes]:
    del out
    return {}


@pytest.mark.parametrize("before", [nothing, objects, earlier_release])
def test_an_upload_killed_at_any_request_leaves_the_old_or_the_new_dataset_whole(
    two: tuple[Recipe, Recipe, Path, Path],
    machine: Callable[[str], None],
    before: Callable[[Path], dict[str, bytes]],
) -> None:
    _, _, old, new = two
    start, found = before(old), []
    first = public(old) if start else {}
    for last in range(1, 1000):
        lay(start)
        try:
            with before_each_request(kill_at(last)):
                push(ADDRESS, Silent())
            break
        except Killed:
            pass
        expect_promises(at(ADDRESS), [start, objects(new)])
        found.append(fetched(machine))
        assert found[-1] in (first, public(new))
        if last % 3 == 0:  # the next upload does the rest
            push(ADDRESS, Silent())
            assert at(ADDRESS) == objects(new)
    assert at(ADDRESS) == objects(new)
    assert len(found) > 20
    assert found == sorted(found, key=lambda one: one == public(new)), "first the old one, then the new one"
    assert found[0] == first
    assert found[-1] == public(new)


def test_a_reader_at_every_request_of_an_upload_finds_one_dataset(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    _, _, old, new = two
    lay(objects(old))
    found = []

    def read(count: int) -> None:
        del count
        expect_promises(at(ADDRESS), [objects(old), objects(new)])
        found.append(fetched(machine))

    with before_each_request(read):
        push(ADDRESS, Silent())
    assert {found.count(public(old)) > 5, found.count(public(new)) > 5} == {True}
    assert found.count(public(old)) + found.count(public(new)) == len(found)


@pytest.mark.parametrize("before", [objects, earlier_release])
def test_an_upload_at_every_request_of_a_reader_gives_it_one_dataset(
    two: tuple[Recipe, Recipe, Path, Path],
    machine: Callable[[str], None],
    before: Callable[[Path], dict[str, bytes]],
) -> None:
    """All objects that the reader has yet to fetch are gone then."""
    _, _, old, new = two
    found = []
    for moment in range(1, 1000):
        lay(before(old))
        met = False

        def upload(count: int, moment: int = moment) -> None:
            nonlocal met
            if count == moment:
                met = True
                machine("builder")
                push(ADDRESS, Silent())

        machine("reader")
        shutil.rmtree(mirror_of(ADDRESS), ignore_errors=True)
        with before_each_request(upload):
            folder = pull(ADDRESS, Silent())
        if not met:
            break
        found.append(public(folder))
        assert found[-1] in (public(old), public(new))
    assert len(found) > 5
    assert public(new) in found


def test_a_reader_in_another_process_meets_no_mixture_in_a_folder(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    """The address is a folder, whose files are half there while they are written, and both processes run at once."""
    old, new = recipes(tmp_path)
    address = f"file://{tmp_path}/nas/set"
    machine("other")
    build(new, pull(address, Silent()))
    machine("builder")
    deliver(old, address)
    reader = """
import sys
from pathlib import Path
from patina.pipeline.export.remote_output import dataset_at
from patina.pipeline.progress import Silent
from patina.pipeline.report.check import check
seen = set()
while not Path(sys.argv[2]).exists():
    with dataset_at(sys.argv[1], Silent()) as opened:
        checked = check(opened.folder, 0)
        assert checked.ok, checked.findings
        digest = opened.version.digest
        assert digest in (opened.folder / "README.md").read_text("utf-8")
        assert digest in (opened.folder / "croissant.json").read_text("utf-8")
        seen.add(digest)
print(len(seen))
"""
    stop = tmp_path / "stop"
    environment = {**os.environ, "PATINA_CACHE": str(tmp_path / "cache-reader")}
    command = [sys.executable, "-c", reader, address, str(stop)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for turn in range(2000):
            machine("other" if turn % 2 == 0 else "builder")
            push(address, Silent())
            homes = list((tmp_path / "cache-reader" / "outputs").glob("*/.patina/current"))
            if process.poll() is not None or (homes and published_versions(homes[0].parents[1])[-1].number > 4):
                break
    finally:
        stop.touch()
        told, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong
    assert told.strip() == "2", "it met both"


def test_a_file_that_is_half_written_in_a_folder_is_nobodys(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = recipes(tmp_path)
    address = f"file://{tmp_path}/nas/set"
    deliver(old, address)
    build(new, mirror_of(address))
    kind = type(fsspec.filesystem("file"))
    real = kind.put_file

    def torn(self: object, source: str, path: str, **how: object) -> None:
        if not source.endswith(MANIFEST):
            real(self, source, path, **how)
            return
        Path(path).write_bytes(Path(source).read_bytes()[:100])
        raise OSError("the network went away")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "put_file", torn)
        with pytest.raises(RemoteOutputError, match="the network went away"):
            push(address, Silent())
    build(old, tmp_path / "old")
    machine("reader")
    assert public(pull(address, Silent())) == public(tmp_path / "old")
    machine("builder")
    push(address, Silent())
    left = {p.relative_to(tmp_path / "nas" / "set").as_posix() for p in (tmp_path / "nas").rglob("*") if p.is_file()}
    assert left == objects(mirror_of(address)).keys(), "what was half written is removed"


@pytest.mark.parametrize("copies", [True, False])
def test_what_an_earlier_release_wrote_is_read_and_taken_over_without_making_or_sending_a_shard(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    old, _ = recipes(tmp_path)
    build(old, tmp_path / "old")
    lay({**public(tmp_path / "old"), JOURNAL: b"[]", "notes.txt": b"mine"})
    expect_writable(ADDRESS)
    report = build(old, pull(ADDRESS, Silent()))
    assert report.results == ()
    kind = type(fsspec.filesystem("memory"))
    if not copies:
        monkeypatch.setattr(kind, "cp_file", fsspec.AbstractFileSystem.cp_file)
    sent = push(ADDRESS, Silent())
    assert sent == (0 if copies else len(report.manifest.shards))
    assert at(ADDRESS) == {**objects(tmp_path / "old"), "notes.txt": b"mine"}
    assert push(ADDRESS, Silent()) == 0


def test_shards_that_an_earlier_release_may_have_replaced_are_not_taken_over(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    """Its upload broke off: one shard is the new dataset's, as large as the old one, and the journal says so."""
    old, _ = recipes(tmp_path)
    build(old, tmp_path / "old")
    build(old, mirror_of(ADDRESS))
    files = public(tmp_path / "old")
    name = next(name for name in files if name.endswith(".tar"))
    lay({**files, name: bytes(len(files[name])), JOURNAL: json.dumps([name.removeprefix("shards/")]).encode()})
    assert push(ADDRESS, Silent()) == 1
    assert at(ADDRESS) == objects(tmp_path / "old")


def test_a_card_that_an_earlier_release_may_have_replaced_is_not_taken_for_the_dataset_s(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    """Its upload broke off before the manifest: the card is the new dataset's, and everything else the old one's."""
    old_recipe, _, old, new = two
    lay({**public(old), "README.md": public(new)["README.md"], JOURNAL: b'["train-0000-noisy.tar"]'})
    found = fetched(machine)
    unsure = {"README.md", "strip.jpg", "croissant.json"}
    assert found == {name: body for name, body in public(old).items() if name not in unsure}
    machine("reader")
    photo_of_new = old.parent / "photos" / "more.png"
    photo_of_new.unlink()
    assert build(old_recipe, mirror_of(ADDRESS)).results == ()
    assert public(mirror_of(ADDRESS)) == public(old)


@pytest.mark.parametrize("harm", ["gone", "torn"])
def test_a_shard_that_is_not_as_it_should_be_there_is_made_and_sent_again(
    tmp_path: Path, machine: Callable[[str], None], harm: str
) -> None:
    old, _ = recipes(tmp_path)
    deliver(old, ADDRESS)
    whole = at(ADDRESS)
    name = next(name for name in sorted(whole) if name.endswith(".tar"))
    lay({**whole, name: bytes(len(whole[name]))} if harm == "torn" else {n: b for n, b in whole.items() if n != name})
    machine("other")
    folder = pull(ADDRESS, Silent())
    (finding,) = check(folder, None).findings
    assert f"{finding}".count(Path(name).name.partition(".")[0])
    report = build(old, folder)
    assert len(report.results) == 1
    assert push(ADDRESS, Silent()) == 1
    assert at(ADDRESS) == whole


def test_a_torn_shard_stays_known_to_a_fetch_that_was_killed_once_it_had_published(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the shard that the build makes again would pass for the one at the address, by name and size."""
    old, _ = recipes(tmp_path)
    deliver(old, ADDRESS)
    whole = at(ADDRESS)
    name = next(name for name in sorted(whole) if name.endswith(".tar"))
    lay({**whole, name: bytes(len(whole[name]))})
    machine("other")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Workspace, "remove_old", killed)
        pull(ADDRESS, Silent())
    assert deliver(old, ADDRESS) == 1
    assert at(ADDRESS) == whole


def test_a_list_of_shards_that_is_not_the_dataset_s_is_written_again(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    """As an upload from another machine at the same time may leave it: as long, and of other digests."""
    old, _ = recipes(tmp_path)
    deliver(old, ADDRESS)
    whole = at(ADDRESS)
    lay({**whole, "sizes.json": bytes(len(whole["sizes.json"])), "README.md": b"x"})
    assert push(ADDRESS, Silent()) == 0
    assert at(ADDRESS) == whole
    lay({**whole, "sizes.json": bytes(len(whole["sizes.json"]))})
    assert push(ADDRESS, Silent()) == 0
    assert at(ADDRESS) == whole


def test_what_a_killed_fetch_had_whole_is_not_fetched_again(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    _, _, old, _ = two
    lay(objects(old))
    machine("reader")
    got: list[int] = []
    with before_each_request(kill_at(4)), pytest.raises(Killed):
        pull(ADDRESS, Silent())
    staged = list((mirror_of(ADDRESS) / ".patina" / "staging").glob("*.tar"))
    assert staged
    with before_each_request(got.append):
        folder = pull(ADDRESS, Silent())
    assert public(folder) == public(old)
    assert len(got) == 1 + 3 - len(staged) + 5, "the manifest, the other shards, and five files"
    assert not list((folder / ".patina" / "staging").iterdir())


def test_the_later_of_two_machines_stays_and_nothing_of_it_is_removed(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    old, _, first, second = two
    push(ADDRESS, Silent())
    machine("other")
    build(old, mirror_of(ADDRESS))
    push(ADDRESS, Silent())
    build(old, first)
    assert at(ADDRESS) == objects(first)
    machine("builder")
    push(ADDRESS, Silent())
    assert at(ADDRESS) == objects(second)


def test_two_machines_at_once_leave_one_dataset_whole(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    """One uploads all of its own between any two requests of the other. The one that is told so is not there."""
    old, _, first, second = two
    machine("other")
    build(old, mirror_of(ADDRESS))
    build(old, first)
    outcomes = set()
    for moment in range(1, 1000):
        lay({})
        met = False

        def upload(count: int, moment: int = moment) -> None:
            nonlocal met
            if count == moment:
                met = True
                machine("other")
                push(ADDRESS, Silent())

        machine("builder")
        refused = False
        try:
            with before_each_request(upload):
                push(ADDRESS, Silent())
        except RemoteOutputError as error:
            assert "another upload came in between" in str(error)
            refused = True
        if not met:
            break
        found = fetched(machine)
        assert found == public(first if refused else second)
        outcomes.add(refused)
        machine("builder")
        push(ADDRESS, Silent())
        assert at(ADDRESS) == objects(second), "run again, it is there, and the other one's objects are not"
    assert outcomes == {False, True}


def test_strays_go_and_what_somebody_else_put_there_stays(tmp_path: Path, machine: Callable[[str], None]) -> None:
    old, _ = recipes(tmp_path)
    deliver(old, ADDRESS)
    whole = at(ADDRESS)
    theirs = {"shards/mine.tar": b"1", ".patina/versions/1-0123456789abcdef/x": b"2", "notes/a.txt": b"3"}
    ours = {
        "shards/train-0000-hazy.tar": b"4",
        "shards/train-0000-noisy.0123456789abcdef.tar": b"5",
        "shards/train-0000-noisy--jpg.0123456789abcdef.tar": b"5",
        "shards/train-noisy-0000.0123456789abcdef.tar": b"5",
        "shards/sizes.json": b"8",
        ".patina/samples.0123456789abcdef.parquet": b"6",
        ".patina/README.0123456789abcdef.md": b"7",
        JOURNAL: b"[]",
    }
    lay({**whole, **theirs, **ours})
    assert push(ADDRESS, Silent()) == 0
    assert at(ADDRESS) == {**whole, **theirs}


def test_a_change_of_facts_alone_reaches_another_machine(tmp_path: Path, machine: Callable[[str], None]) -> None:
    """The dataset's digest, which is of its shards, stays then; manifest, tables and card do not."""
    recipe = tiny_recipe(tmp_path, sources=[{"path": "photos", "licence": "CC0-1.0"}])
    other = tiny_recipe(tmp_path, sources=[{"path": "photos", "licence": "CC-BY-4.0"}])
    for i in range(3):
        photo(tmp_path / "photos" / f"{i}.png", seed=i)
    deliver(recipe, ADDRESS)
    machine("other")
    pull(ADDRESS, Silent())
    machine("builder")
    assert deliver(other, ADDRESS) == 0
    sent = at(ADDRESS)
    machine("other")
    folder = pull(ADDRESS, Silent())
    assert objects(folder) == sent
    assert len(published_versions(folder)) == 2


def test_a_reader_keeps_the_version_that_it_opened(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    _, _, old, new = two
    lay(objects(old))
    machine("reader")
    with dataset_at(ADDRESS, Silent()) as opened:
        before = public(opened.folder)
        machine("builder")
        push(ADDRESS, Silent())
        machine("reader")
        with dataset_at(ADDRESS, Silent()) as later:
            assert public(later.folder) == public(new)
        assert public(opened.folder) == before == public(old)


def test_a_mirror_of_an_earlier_release_becomes_one_with_versions(
    two: tuple[Recipe, Recipe, Path, Path], machine: Callable[[str], None]
) -> None:
    _, _, old, new = two
    machine("reader")
    mirror = mirror_of(ADDRESS)
    for name, body in public(old).items():
        (mirror / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror / name).write_bytes(body)
    (mirror / ".patina").mkdir()
    digest = json.loads(public(old)[MANIFEST])["digest"]
    (mirror / ".patina" / "uploaded.json").write_text(json.dumps({"digest": digest, "torn": []}))
    lay(public(old))
    assert public(pull(ADDRESS, Silent())) == public(old)
    lay(objects(new))
    assert public(pull(ADDRESS, Silent())) == public(new)
    assert [public(version.folder) for version in published_versions(mirror)] == [public(old), public(new)]


@pytest.mark.parametrize("layout", [objects, earlier_release])
def test_a_dataset_on_a_web_server_is_read_without_listing_anything(
    tmp_path: Path, machine: Callable[[str], None], layout: Callable[[Path], dict[str, bytes]]
) -> None:
    old, _ = recipes(tmp_path)
    build(old, tmp_path / "old")
    for name, body in layout(tmp_path / "old").items():
        (tmp_path / "www" / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "www" / "set" / name).write_bytes(body)
    with serving(tmp_path / "www") as server:
        folder = pull(f"{server.address}/set", Silent())
        assert public(folder) == public(tmp_path / "old")
        assert not [path for _, path in server.requests if path.endswith("/")]


def test_a_copy_by_other_tools_is_a_dataset_once_the_digests_are_off_its_names(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    old, _ = recipes(tmp_path)
    build(old, tmp_path / "old")
    for name, body in objects(tmp_path / "old").items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(body)
    rename = 'for f in shards/*.*.tar; do mv "$f" "${f%.*.tar}.tar"; done'
    assert rename in (Path(__file__).parents[3] / "docs" / "addresses.md").read_text("utf-8")
    subprocess.run(["sh", "-c", rename], cwd=tmp_path / "copy", check=True)
    assert check(tmp_path / "copy", None).ok


def test_a_shard_that_was_damaged_here_is_not_sent(tmp_path: Path, machine: Callable[[str], None]) -> None:
    old, _ = recipes(tmp_path)
    build(old, mirror_of(ADDRESS))
    shard = sorted((built_folder(mirror_of(ADDRESS)) / SHARDS).glob("*.tar"))[0]
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(RemoteOutputError, match="its bytes are not those that were written; build it again"):
        push(ADDRESS, Silent())
    assert MANIFEST not in at(ADDRESS)


def test_a_folder_where_datasets_are_built_is_no_address(tmp_path: Path, machine: Callable[[str], None]) -> None:
    """Or an upload would write into the version that its readers hold."""
    old, _ = recipes(tmp_path)
    build(old, tmp_path / "old")
    with pytest.raises(RemoteOutputError, match="is a folder where datasets are built; name it by its path"):
        expect_writable(f"file://{tmp_path}/old")
