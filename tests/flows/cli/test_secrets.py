"""No password and no signature of an address reaches a file of the dataset, a cache, a printed line or an error.

Every kind of source that may be named by an address is given one with a marker in it; the marker is then looked for in
every file that was written and in all that was said.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from typer.testing import CliRunner

from patina.flows.cli.app import app
from patina.flows.cli.user_errors import is_for_the_user
from patina.pipeline.builder.build import build
from patina.pipeline.export.push import check_folder
from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import load_recipe
from tests.pipeline.making import photo, photos
from tests.pipeline.serving import Server, serving

MARKER = "Zx9SecretMarker"
USER = f"me:{MARKER}@"
QUERIES = (
    f"X-Amz-Algorithm=A&X-Amz-Signature={MARKER}", f"X-Amz-Credential={MARKER}/2026/eu",
    f"X-Amz-Security-Token={MARKER}",
    f"sv=1&sig={MARKER}&se=2", f"se={MARKER}&sig=1", f"Expires=1&Signature={MARKER}", f"Key-Pair-Id={MARKER}",
    f"Policy={MARKER}", f"X-Goog-Signature={MARKER}", f"token={MARKER}", f"access_token={MARKER}", f"api_key={MARKER}",
    f"id=7&apikey={MARKER}", f"password={MARKER}", f"w=9&auth={MARKER}", f"jwt=eyJ{MARKER}.e30.x",
)  # fmt: skip

Sources = list[dict[str, Any]]
Kind = Callable[[Path, str], Sources]
"""Makes what a source needs in a folder, of which `site` is served; gives the [[sources]] tables. host: of the site."""


def with_user(host: str, path: str) -> str:
    return f"http://{USER}{host}/{path}"


def folder(at: Path, host: str) -> Sources:
    return [{"path": with_user(host, "photos")}]


def pairs(at: Path, host: str) -> Sources:
    for name in ("lq", "gt"):
        photos(at / "site" / "set" / name, 4)
    photo(at / "site" / "set" / "lq" / "alone.png", seed=9)
    return [{"kind": "pairs", "lq": with_user(host, "set/lq"), "gt": with_user(host, "set/gt"), "degradation": "rainy"}]


def listed(at: Path, host: str, query: str, user: str = "") -> list[str]:
    names = ["good-000.png", "good-001.png", "good-002.png", "broken.png", "missing.png"]
    return [f"http://{user}{host}/photos/{name}?{query}" for name in names]


def list_of(*queries: str, user: str = "") -> Kind:
    """A list of photographs with each of these queries, some of which cannot be read."""

    def make(at: Path, host: str) -> Sources:
        places = [place for query in queries for place in listed(at, host, query, user)]
        (at / "list.csv").write_text("\n".join(["image", *places]), "utf-8")
        return [{"kind": "list", "path": "list.csv"}]

    return make


def lines(at: Path, host: str) -> Sources:
    places = listed(at, host, QUERIES[0], USER)
    (at / "list.txt").write_text("\n".join([f"{place}\t{place}" for place in places]), "utf-8")
    return [{"kind": "list", "path": "list.txt", "degradation": "rainy"}]


def jsonl(at: Path, host: str) -> Sources:
    rows = [json.dumps({"gt": place, "caption": "a wall"}) for place in listed(at, host, QUERIES[3], USER)]
    (at / "list.jsonl").write_text("\n".join([*rows, "{"]), "utf-8")
    return [{"kind": "list", "path": "list.jsonl"}]


def remote_list(at: Path, host: str) -> Sources:
    text = "\n".join(["image", "good-000.png", "good-001.png", "missing.png"])
    (at / "site" / "photos" / "list.csv").write_text(text, "utf-8")
    return [{"kind": "list", "path": f"{with_user(host, 'photos/list.csv')}?{QUERIES[1]}"}]


def tars(at: Path, host: str, path: str) -> Sources:
    (at / "site" / "tars").mkdir()
    with tarfile.open(at / "site" / "tars" / "set-0000.tar", "w") as tar:
        for file in sorted((at / "site" / "photos").glob("*.png")):
            tar.add(file, file.name)
    (at / "site" / "tars" / "set-0001.tar").write_bytes(b"no tar at all" * 100)
    return [{"kind": "webdataset", "path": with_user(host, path)}]


def huggingface(at: Path, host: str) -> Sources:
    (at / "hub").mkdir()
    cells = [{"bytes": None, "path": place} for place in listed(at, host, QUERIES[9])]
    licence = [f"see https://{USER}example.org/terms?{QUERIES[10]}"] * len(cells)
    table = pa.table(
        {"image": pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()})), "licence": licence}
    )
    pq.write_table(table, at / "hub" / "train.parquet")
    return [{"kind": "huggingface", "path": "./hub"}]


KINDS: dict[str, Kind] = {
    "folder": folder,
    "pairs": pairs,
    # a build sets ten photographs aside at the most, and these are two a query
    **{f"list.csv {i}": list_of(*QUERIES[i::4]) for i in range(4)},
    "list.csv alone": list_of(QUERIES[4]),
    "list.csv user": list_of("id=1", user=USER),
    "list.txt pairs": lines,
    "list.jsonl": jsonl,
    "list by address": remote_list,
    "tar": lambda at, host: tars(at, host, "tars/set-0000.tar"),
    "tars": lambda at, host: tars(at, host, "tars"),
    "tars by pattern": lambda at, host: tars(at, host, "tars/set-{0000..0002}.tar"),
    "huggingface": huggingface,
    "stated rights": lambda at, host: [
        {"path": with_user(host, "photos"), "licence": f"http://{USER}h/l", "attribution": f"http://h/?{QUERIES[11]}"}
    ],
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Photographs on a web server, of which one is broken; remote bytes are kept in `tmp_path`/cache."""
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    photos(tmp_path / "site" / "photos", 4)
    (tmp_path / "site" / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with serving(tmp_path / "site") as server:
        yield server


def written(path: Path, sources: Sources, **tables: Any) -> Path:
    """A recipe's file."""
    path.write_text(tomli_w.dumps({"sources": sources, "degradations": {"noisy": {}}, **tables}), "utf-8")
    return path


def texts_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder with its bytes; of a table in Parquet, whose columns are packed, all that it says."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
            if path.suffix == ".parquet":
                yield f"{path.name}, unpacked", repr(pq.read_table(path).to_pylist()).encode()
                yield f"{path.name}, schema", repr(pq.read_schema(path)).encode()


def said(*words: object) -> str:
    """What a command prints, and the error that `main` would print."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    error = "" if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
    assert not error or (isinstance(done.exception, Exception) and is_for_the_user(done.exception)), error
    return done.output + error


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_stored_or_said_holds_a_secret(kind: str, tmp_path: Path, site: Server) -> None:
    host = site.address.removeprefix("http://")
    tables: dict[str, Any] = {"split": {"val": 0.3}}
    recipe = written(tmp_path / "recipe.toml", KINDS[kind](tmp_path, host), **tables)
    assert MARKER in recipe.read_text("utf-8") + "".join(
        path.read_text("utf-8", "replace") for path in tmp_path.glob("[lh]*/*") if path.is_file()
    ) + "".join(path.read_text("utf-8") for path in tmp_path.glob("list.*"))
    out = tmp_path / "out"
    loaded = load_recipe(recipe)
    report = build(loaded, out)
    assert report.manifest.sources >= 2
    candidates = [source.find().candidates for source in loaded.sources]
    spoken = [repr(report), repr(report.planned), loaded.to_toml()]
    spoken += [repr(loaded), repr(candidates), repr(report.planned.wanted.sources)]
    key = report.planned.wanted.sources[0].names[0]
    for words in (
        ("plan", recipe, "--out", out, "--recipe"), ("plan", recipe, "--out", tmp_path / "new"),
        ("build", recipe, "--out", out), ("check", out, "--replay", "all", "--recipe", recipe),
        ("show", key, "--out", out), ("show", "no such photograph", "--out", out), ("gallery", out),
        ("push", out, "me/set", "--dry-run"),
        ("diff", out, out), ("export", out, "--to", "folders", "--out", tmp_path / "exported"),
    ):  # fmt: skip
        spoken.append(said(*words))
    assert not [text for text in spoken if MARKER in text]
    check_folder(out)  # nothing that a push would refuse
    for place in (out, tmp_path / "cache", tmp_path / "exported"):
        assert [name for name, data in texts_in(place) if MARKER.encode() in data] == []


@pytest.mark.parametrize("kind", ["folder", "list.csv alone", "tar", "list by address"])
def test_a_renewed_signature_changes_nothing(kind: str, tmp_path: Path, site: Server) -> None:
    recipe = written(tmp_path / "recipe.toml", KINDS[kind](tmp_path, site.address.removeprefix("http://")))
    first = build(load_recipe(recipe), tmp_path / "out")
    digest = load_recipe(recipe).digest
    for path in (recipe, *tmp_path.glob("list.*")):
        path.write_text(path.read_text("utf-8").replace(MARKER, "renewed"), "utf-8")
    fetched = len([path for path in site.gets() if "good" in path])
    again = plan_build(load_recipe(recipe), tmp_path / "out", Options())
    assert load_recipe(recipe).digest == digest
    assert again.plan.is_empty
    assert len([path for path in site.gets() if "good" in path]) == fetched, (
        "what is remembered of an address goes by the address without its secret"
    )
    assert build(load_recipe(recipe), tmp_path / "out").manifest == first.manifest


def test_two_addresses_that_differ_in_a_secret_alone_are_two_photographs(tmp_path: Path, site: Server) -> None:
    """Some servers name their files by a parameter that elsewhere is a secret: both are read."""
    places = [f"{site.address}/photos/good-000.png?key=a", f"{site.address}/photos/good-000.png?key=b"]
    (tmp_path / "list.csv").write_text("\n".join(["image", *places]), "utf-8")
    recipe = written(tmp_path / "recipe.toml", [{"kind": "list", "path": "list.csv"}])
    assert build(load_recipe(recipe), tmp_path / "out").planned.scan.seen == 2
    assert plan_build(load_recipe(recipe), tmp_path / "out", Options()).scan.hashed == 2


WRONG: dict[str, tuple[Sources, dict[str, Any]]] = {
    "no such folder": ([{"path": f"http://{USER}HOST/nothing"}], {}),
    "nobody answers": ([{"path": f"http://{USER}127.0.0.1:9/x"}], {}),
    "no such host": ([{"path": f"http://{USER}host.invalid/x?{QUERIES[9]}"}], {}),
    "no address": ([{"path": f"http://{USER}[/x?{QUERIES[9]}"}], {}),
    "no reader": ([{"path": f"nosuch://{USER}HOST/x"}], {}),
    "a reader with settings": ([{"path": f"github://org:repo@main/x?{QUERIES[9]}"}], {}),
    "pairs": ([{"kind": "pairs", "lq": f"http://{USER}HOST/nothing", "gt": "x", "degradation": "hazy"}], {}),
    "list": ([{"kind": "list", "path": f"http://HOST/nothing.csv?{QUERIES[0]}"}], {}),
    "tar": ([{"kind": "webdataset", "path": f"http://{USER}HOST/nothing.tar"}], {}),
    "signed tar": ([{"kind": "webdataset", "path": f"http://HOST/nothing.tar?{QUERIES[0]}"}], {}),
    "preset": ([{"kind": "preset", "name": "gopro", "path": f"http://{USER}HOST/photos"}], {}),
    "dataset": ([{"kind": "huggingface", "path": f"https://{USER}HOST/set?{QUERIES[9]}"}], {}),
    "captions": ([{"path": "site/photos"}], {"captions": {"kind": "sidecar", "path": f"http://{USER}HOST/c.csv"}}),
    "masks": (
        [{"path": "site/photos"}],
        {"degradations": {"uncompleted": {"masks": f"http://{USER}HOST/masks?{QUERIES[9]}"}}},
    ),
    "wrong kind": ([{"path": "site/photos", "split": f"http://{USER}HOST/x"}], {}),
    "wrong key": ([{"path": "site/photos", "include": 5, "licence": f"http://{USER}HOST/x"}], {}),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_tell_no_secret(name: str, tmp_path: Path, site: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patina.pipeline.sources.locations.PAUSES", ())
    monkeypatch.setattr("patina.flows.building.BACKOFF", 0.0)
    sources, tables = WRONG[name]
    recipe = written(tmp_path / "recipe.toml", sources, **tables)
    recipe.write_text(recipe.read_text("utf-8").replace("HOST", site.address.removeprefix("http://")), "utf-8")
    out = tmp_path / "out"
    spoken = said("plan", recipe, "--out", out, "--recipe") + said("build", recipe, "--out", out)
    assert spoken.strip()
    assert MARKER not in spoken
    assert [name for name, data in texts_in(out) if MARKER.encode() in data] == []


@pytest.mark.parametrize("command", ["build", "plan", "check", "gallery", "show"])
@pytest.mark.parametrize(
    "address", [f"s3://key:{MARKER}@bucket/x", f"memory://b/x?{QUERIES[9]}", f"http://{USER}h.invalid/x"]
)
def test_addresses_of_datasets_tell_no_secret(
    command: str, address: str, tmp_path: Path, site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = written(tmp_path / "recipe.toml", [{"path": "site/photos"}])
    words = {"build": ["build", recipe, "--out", address], "plan": ["plan", recipe, "--out", address]}
    words |= {"show": ["show", "x", "--out", address]}
    assert MARKER not in said(*words.get(command, [command, address]))
    assert [name for name, data in texts_in(tmp_path / "cache") if MARKER.encode() in data] == []


def test_what_an_earlier_release_stored_is_taken_out(tmp_path: Path, site: Server) -> None:
    """A manifest, a table and a store with secrets in them: one build later they are gone."""
    import sqlite3

    from patina.pipeline.cache.database import seal

    recipe = written(tmp_path / "recipe.toml", [{"path": f"{site.address}/photos"}])
    out = tmp_path / "out"
    build(load_recipe(recipe), out)
    body = json.loads((out / MANIFEST).read_text("utf-8"))
    body["recipe"]["sources"][0]["path"] = f"http://{USER}h/photos"
    del body["sum"]
    (out / MANIFEST).write_text(json.dumps(body), "utf-8")
    with sqlite3.connect(out / ".patina" / "scan.sqlite") as store:
        key = (f"http://{USER}h/photos/a.png", "tag", 5)
        store.execute("INSERT INTO remote VALUES (?,?,?,?)", (*key, seal("0" * 64, *key)))
    store.close()
    with pytest.raises(Exception, match="tells of an address with a password"):
        check_folder(out)
    photo(tmp_path / "site" / "photos" / "new.png", seed=77)
    build(load_recipe(recipe), out)
    assert load_manifest(out) is not None
    assert [name for name, data in texts_in(out) if MARKER.encode() in data] == []
