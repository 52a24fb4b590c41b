"""A disk whose power is cut, and datasets small enough to be cut at every step."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.format.layout import MANIFEST, SHARDS
from tests.pipeline.making import public_files

OLD = {
    "README.md": b"old card",
    "croissant.json": b"old croissant",
    MANIFEST: b"old manifest",
    "samples.parquet": b"old samples",
    f"{SHARDS}/a.tar": b"old a",
    f"{SHARDS}/b.tar": b"old b",
    f"{SHARDS}/gone.tar": b"old gone",
    f"{SHARDS}/sizes.json": b"old sizes",
    "sources.parquet": b"old sources",
}
NEW = {
    "README.md": rb"new card \udcff",
    "croissant.json": b"new croissant",
    MANIFEST: b"new manifest",
    "samples.parquet": b"new samples",
    f"{SHARDS}/a.tar": b"old a",  # kept
    f"{SHARDS}/b.tar": b"new b",
    f"{SHARDS}/c.tar": b"new c",
    f"{SHARDS}/sizes.json": b"new sizes",
    "sources.parquet": b"new sources",
}


def public(out: Path) -> dict[str, bytes]:
    """Every file that a reader finds, through whatever links."""
    return {name: path.read_bytes() for name, path in public_files(out).items()}


def publish(out: Path, files: dict[str, bytes], kept: Path | None = None) -> None:
    """Stage and publish these files; shards with the bytes of the one in the folder `kept` are kept."""
    with Workspace(out) as workspace:
        shards: dict[str, Path] = {}
        papers: dict[str, str | bytes | Path] = {}
        for name, data in files.items():
            if not name.endswith(".tar"):
                papers[name] = data
            elif kept and (kept / name).exists() and (kept / name).read_bytes() == data:
                shards[Path(name).name] = kept / name
            else:
                staged = workspace.staging / f"{Path(name).name}.0123"
                staged.write_bytes(data)
                shards[staged.name.removesuffix(".0123")] = staged
        papers["README.md"] = files["README.md"].decode().replace(r"\udcff", "\udcff")  # a name that is no UTF-8
        workspace.publish(shards, papers, files[MANIFEST].hex().ljust(64, "0"), "a test's")
        assert list(workspace.staging.iterdir()) == []


class PowerCutError(BaseException):
    """Nothing catches it, as nothing catches the real one."""


class Disk:
    """Counts the operations that change folders, and cuts the power before the nth one."""

    OPERATIONS = ("replace", "rename", "unlink", "mkdir", "rmdir", "write_bytes", "write_text", "symlink_to", "touch")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self.limit = 0, sys.maxsize
        for name in self.OPERATIONS:
            monkeypatch.setattr(Path, name, self._counted(getattr(Path, name)))
        monkeypatch.setattr(os, "link", self._counted(os.link))

    def _counted(self, operation: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.done >= self.limit:
                raise PowerCutError
            self.done += 1
            return operation(*args, **kwargs)

        return counted

    @contextlib.contextmanager
    def cut_after(self, operations: int) -> Iterator[None]:
        self.done, self.limit = 0, operations
        try:
            yield
        finally:
            self.limit = sys.maxsize
