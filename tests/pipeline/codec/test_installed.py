"""What is known of the codecs without trying them: only as long as nothing changed that decides what they give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec import installed
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.codec.installed import RECORD, confirm, known_fingerprint, recall, record_of
from patina.pipeline.format.layout import PRIVATE, STORES
from patina.pipeline.plan.planning import Options, Stores, plan_build, plan_from_stores
from tests.pipeline.making import photos, tiny_recipe

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells what a process executes")

OTHER = "0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_recalled() -> Iterator[None]:
    yield
    recall("")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of a library that has lain there for long; all of this process's own do not count."""
    library = tmp_path / "libjpeg.so"
    library.write_bytes(b"code")
    monkeypatch.setattr(installed, "executed_files", lambda: [str(library)])
    monkeypatch.setattr(installed, "_begun_ns", lambda: time.time_ns() + 3_600_000_000_000)
    return library


def test_a_record_holds_while_nothing_changes(settled: Path) -> None:
    record = record_of(OTHER)
    assert recall(record)
    assert known_fingerprint() == OTHER
    assert not recall("")
    assert known_fingerprint() == codec_fingerprint()


@pytest.mark.parametrize("change", ["contents", "times", "replaced", "gone"])
def test_a_changed_library_ends_it(settled: Path, change: str) -> None:
    record, stat = record_of(OTHER), settled.stat()
    if change == "contents":  # of the same size and date, as a package's files may be
        settled.write_bytes(b"edoc")
        os.utime(settled, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "times":
        os.utime(settled, ns=(stat.st_atime_ns, stat.st_mtime_ns - 1))
    elif change == "replaced":
        settled.with_suffix(".new").write_bytes(b"code")
        settled.with_suffix(".new").replace(settled)
    else:
        settled.unlink()
    assert not recall(record)


def test_so_does_all_else_that_decides(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(OTHER)
    names = iter("abcdefgh")
    for change in (
        lambda own: own.setenv("OPENCV_CPU_DISABLE", "AVX2"),
        lambda own: own.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512F"),
        lambda own: own.setattr(installed, "_first_environment", lambda: [b"LD_PRELOAD=/x.so"]),
        lambda own: own.setattr(installed, "_processor", lambda: {"flags": next(names)}),
        lambda own: own.setattr(installed, "_abilities", lambda: {"AVX2": False}),
        lambda own: own.setattr(sys, "version", "3.99"),
        lambda own: own.setattr(installed, "find_spec", lambda name: None if name == "isal" else find_spec(name)),
        lambda own: own.setattr(installed, "find_spec", lambda name: ModuleSpec(name, None, origin=f"/other/{name}")),
    ):
        with monkeypatch.context() as own:
            change(own)
            assert not recall(record)
        assert recall(record)
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/as/OpenCV/sets/it")  # too late for anything to read it
    assert recall(record)


@pytest.mark.parametrize("young_by", [installed.SETTLED_NS - 1_000_000_000, -1_000_000_000])
def test_what_changed_since_the_process_began_is_not_trusted(
    settled: Path, monkeypatch: pytest.MonkeyPatch, young_by: int
) -> None:
    """The process may have loaded what lay there before; and a clock of two seconds tells no later change apart."""
    record = record_of(OTHER)
    monkeypatch.setattr(installed, "_begun_ns", lambda: settled.stat().st_ctime_ns + young_by)
    assert record_of(OTHER) == ""
    assert not recall(record)


@pytest.mark.parametrize(
    "record", ["{", "[]", "null", "7", '{"files": 3}', '{"fingerprint": "x", "files": [], "state": ""}']
)
def test_a_damaged_record_is_none(record: str) -> None:
    assert not recall(record)


def test_a_system_that_tells_nothing_has_no_record(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> dict[str, str]:
        raise ValueError("expected lines such as `flags` in /proc/cpuinfo, found none")

    with monkeypatch.context() as own:
        own.setattr(installed, "_processor", unknown)
        assert record_of(OTHER) == ""
    monkeypatch.setattr(installed, "executed_files", list)
    assert record_of(OTHER) == ""


def test_the_record_names_what_was_executed() -> None:
    codec_fingerprint()
    files = installed.executed_files()
    for part in ("cv2", "_imaging", "isal_zlib", "_multiarray_umath", "codec/png.py", "synth/elementary.py"):
        assert any(part in file for file in files), part
    assert all(Path(file).is_file() for file in files if not file.endswith("(deleted)"))


def test_confirming_tries(settled: Path) -> None:
    assert recall(record_of(OTHER))
    assert not confirm()
    assert known_fingerprint() == codec_fingerprint()
    assert recall(record_of(codec_fingerprint()))
    assert confirm()


# ---------------------------------------------------------------------------------------------------------------------
# In a plan


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 2)
    build(tiny_recipe(tmp_path), tmp_path / "out", Options(workers=1))
    return tmp_path / "out"


def keep(out: Path, record: str) -> None:
    with ScanStore(out / PRIVATE / STORES[0]) as store:
        store.put([], [(*RECORD, record)])


def kept(out: Path) -> dict[str, Any]:
    with ScanStore(out / PRIVATE / STORES[0]) as store:
        record = store.inspection(*RECORD)
    return json.loads(record) if record else {}


def test_a_plan_keeps_what_it_tried_and_the_next_one_recalls_it(dataset: Path, settled: Path) -> None:
    recipe = tiny_recipe(dataset.parent)
    keep(dataset, "")
    assert plan_build(recipe, dataset, Options()).plan.is_empty
    assert kept(dataset)["fingerprint"] == codec_fingerprint()
    assert recall(json.dumps(kept(dataset)))
    before = kept(dataset)
    assert plan_build(recipe, dataset, Options()).plan.is_empty
    assert kept(dataset) == before


def test_what_is_recalled_wrongly_makes_nothing_stale(dataset: Path, settled: Path) -> None:
    """By it, every shard would be; so it is tried before anything is made, and the plan is made anew."""
    keep(dataset, record_of(OTHER))
    planned = plan_build(tiny_recipe(dataset.parent), dataset, Options())
    assert planned.plan.is_empty
    assert planned.wanted.codec == codec_fingerprint() == kept(dataset)["fingerprint"]


def test_a_paranoid_plan_tries(dataset: Path, settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(dataset, record_of(OTHER))
    monkeypatch.setattr("patina.pipeline.plan.planning.confirm", lambda: pytest.fail("nothing was recalled"))
    assert plan_build(tiny_recipe(dataset.parent), dataset, Options(paranoid=True)).plan.is_empty


def test_a_stale_dataset_is_planned_by_what_was_tried(dataset: Path, settled: Path) -> None:
    keep(dataset, record_of(codec_fingerprint()))
    recipe = replace(tiny_recipe(dataset.parent), seed=7)
    with Stores.open(dataset) as stores:
        planned = plan_from_stores(recipe, dataset, stores, Options())
    assert not planned.plan.is_empty
    assert installed._Recalled.fingerprint == ""


def test_another_process_recalls_it(tmp_path: Path) -> None:
    """Unless a file of this checkout or an installed one changed a moment ago."""
    code = (
        "import sys; from patina.pipeline.codec import installed as i; from patina.pipeline.codec.fingerprint import "
        "codec_fingerprint as f\nprint(i.record_of(f()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if not told:
        pytest.skip("a library or a module changed just now")
    (tmp_path / "record").write_text(told, "utf-8")
    code = (
        "import sys; from pathlib import Path; from patina.pipeline.codec import installed as i\n"
        "print(i.recall(Path(sys.argv[1]).read_text('utf-8')), i.known_fingerprint(), 'cv2' in sys.modules)"
    )
    call = [sys.executable, "-c", code, str(tmp_path / "record")]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", json.loads(told)["fingerprint"], "False"]
