"""Datasets at addresses for tests: delivered as the flow does it, and what must lie at the address then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec

from patina.pipeline.builder.build import Silent, build
from patina.pipeline.export.remote_output import expect_writable, pull, push
from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.versions.version import built_folder
from tests.pipeline.making import photos, tiny_recipe


def deliver(recipe: Recipe, address: str) -> int:
    """What the flow does with an output elsewhere; gives the number of shards that were sent."""
    expect_writable(address)
    build(recipe, pull(address, Silent()))
    return push(address, Silent())


def at(address: str) -> dict[str, bytes]:
    """Every file below an address."""
    system = fsspec.filesystem("memory")
    base = address.removeprefix("memory:/") + "/"
    return {path.removeprefix(base): system.cat_file(path) for path in system.find(address)}


def public(out: Path) -> dict[str, bytes]:
    """Every file of a dataset that a reader sees."""
    folder = built_folder(out)
    files = [p for p in folder.rglob("*") if p.is_file() and ".patina" not in p.relative_to(folder).parts]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def objects(out: Path) -> dict[str, bytes]:
    """Every object of a dataset at an address: shards under names with their digests, what belongs to one manifest
    under names that are found by it, and the rest for people, where lists name shards as they are there."""
    files = public(out)
    named = {name: f"{name[:-4]}.{sha(body)}.tar" for name, body in files.items() if name.endswith(".tar")}
    there = {named.get(name, name): body for name, body in files.items()}
    for name in ("samples.parquet", "sources.parquet"):
        there[f".patina/{name.replace('.', f'.{sha(files[name])}.')}"] = files[name]
    for name in ("README.md", "croissant.json", "strip.jpg"):
        there[f".patina/{name.replace('.', f'.{sha(files[MANIFEST])}.')}"] = files[name]
    manifest = json.loads(files[MANIFEST])
    sizes = json.dumps({s["name"]: s["count"] for s in manifest["shards"]}, sort_keys=True, separators=(",", ":"))
    for name, written in (("croissant.json", files["croissant.json"].decode()), ("sizes.json", sizes)):
        text = written
        for old, new in named.items():
            text = text.replace(old, new).replace(f'"{old[7:]}"', f'"{new[7:]}"')
        there[name] = text.encode()
    return there


def recipes(tmp_path: Path) -> tuple[Recipe, Recipe]:
    """Two recipes whose shards have the same names and other bytes."""
    photos(tmp_path / "photos", 6)
    return tiny_recipe(tmp_path, buckets=3, seed=1), tiny_recipe(tmp_path, buckets=3, seed=2)
