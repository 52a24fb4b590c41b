"""Modules whose code runs when they are first used, and tables of classes that import them so."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from patina.later import Later, Table, put_off, when_run, with_collection, without_collection

SLOW = """
import time
PARTS = []
time.sleep(0.1)
PARTS.append("whole")
LIMIT = 7
def limit(): return LIMIT
"""


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A module and a package of this test's own, with a module in it, that can be imported."""
    module, package = (f"{kind}_{abs(hash(request.node.name))}" for kind in ("slow", "whole"))
    (tmp_path / f"{module}.py").write_text(SLOW, "utf-8")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("ORDER = ['package']\nfrom . import inner\n", "utf-8")
    (tmp_path / package / "inner.py").write_text("from . import ORDER\nORDER.append('inner')\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return module, package


def imported(name: str) -> Any:
    return importlib.import_module(name)


def is_waiting(module: ModuleType) -> bool:
    return isinstance(module, Later)


def test_code_runs_when_something_is_asked_for_and_the_object_stays_the_same(names: tuple[str, str]) -> None:
    put_off(names[0])
    module = imported(names[0])
    assert is_waiting(module)
    assert module.__name__ == names[0]
    assert module.__spec__.origin.endswith(f"{names[0]}.py")
    assert is_waiting(module), "what the import itself knows needs no code"
    assert module.PARTS == ["whole"]
    assert type(module) is ModuleType
    assert sys.modules[names[0]] is module
    assert module.__spec__.loader is module.__loader__
    assert module.__loader__.get_source(names[0]) == SLOW


def test_what_is_set_on_it_is_set_after_its_code_has_run(names: tuple[str, str]) -> None:
    put_off(names[0])
    module = imported(names[0])
    module.LIMIT = 9
    assert module.limit() == 9


def test_threads_that_use_it_at_once_all_see_it_whole(names: tuple[str, str]) -> None:
    put_off(names[0])
    module, seen = imported(names[0]), []
    threads = [threading.Thread(target=lambda: seen.append((list(module.PARTS), module.LIMIT))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(["whole"], 7)] * 8


def test_a_module_of_a_package_finds_the_package_run(names: tuple[str, str]) -> None:
    put_off(names[1])
    package = imported(names[1])
    assert is_waiting(package)
    inner = imported(f"{names[1]}.inner")
    assert inner is package.inner is sys.modules[inner.__name__]
    assert inner.__spec__.loader is inner.__loader__
    assert package.ORDER == ["package", "inner"]


def test_what_fails_says_so_at_each_use(names: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / f"{names[0]}.py").write_text("raise ImportError('libGL is missing')\n", "utf-8")
    put_off(names[0])
    module = imported(names[0])
    for _ in range(2):
        with pytest.raises(ImportError, match="libGL is missing"):
            _ = module.LIMIT


def test_what_is_not_there_fails_at_its_import() -> None:
    put_off("no_such_module_here")
    with pytest.raises(ModuleNotFoundError):
        imported("no_such_module_here")


def test_what_was_imported_before_stays_as_it_is(names: tuple[str, str]) -> None:
    module = imported(names[0])
    put_off(names[0])
    assert imported(names[0]) is module
    assert not is_waiting(module)


def test_something_can_wait_for_the_code(names: tuple[str, str]) -> None:
    def lower(module: Any) -> None:
        module.LIMIT = 3

    put_off(names[0])
    module = imported(names[0])
    when_run(module, lower)
    assert is_waiting(module)
    assert module.limit() == 3
    when_run(module, lambda own: setattr(own, "LIMIT", 2))
    assert module.limit() == 2


def test_the_libraries_that_the_command_puts_off_work() -> None:
    """OpenCV, which imports another module of its name; Pillow without its own limit; a part of Arrow before Arrow."""
    code = (
        "from patina.later import Later, put_off\n"
        "put_off('cv2', 'PIL.Image', 'PIL.ImageOps', 'pyarrow'); put_off('cv2')\n"
        "import cv2, PIL.Image, pyarrow, numpy as np, patina.pipeline.codec.decode as codec\n"
        "assert all(isinstance(one, Later) for one in (cv2, PIL.Image, pyarrow))\n"
        "import pyarrow.parquet\n"
        "assert pyarrow.table({'a': [1]}).num_rows == 1 and not isinstance(pyarrow, Later)\n"
        "assert int(cv2.absdiff(np.full((2, 2), 5), np.full((2, 2), 2)).max()) == 3\n"
        "assert PIL.Image.MAX_IMAGE_PIXELS is None\n"
        "assert {'JPEG', 'PNG', 'WEBP', 'TIFF'} <= set(codec.readable_formats())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_imports_a_class_when_it_is_asked_for() -> None:
    code = (
        "import sys\nfrom patina.synth.degradations import CATALOGUE, EVERY\n"
        "found = lambda: sorted(name for name in sys.modules if name.startswith('patina.synth.degradations.'))\n"
        "assert 'hazy' in CATALOGUE and len(EVERY) >= 22 and list(CATALOGUE)[0] == 'motion-blurry' and not found()\n"
        "assert CATALOGUE['banded'].__name__ == 'Banded' and found() == ['patina.synth.degradations.banded'], found()\n"
        "assert CATALOGUE['banded'] is EVERY['banded'] is dict(CATALOGUE)['banded']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_can_be_added_to() -> None:
    table: Table[object] = Table("collections", {"ordered-dict": "abc.Mapping", "abc": "Sequence"})
    assert table["ordered-dict"].__name__ == "Mapping"
    assert table["abc"].__name__ == "Sequence"
    table["own"] = int
    assert list(table) == ["ordered-dict", "abc", "own"]
    del table["abc"]
    assert "abc" not in table
    with pytest.raises(KeyError):
        _ = table["abc"]


def test_garbage_is_looked_for_as_before_when_it_is_over() -> None:
    assert gc.isenabled()
    with without_collection():
        assert not gc.isenabled()
        with with_collection():
            assert gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()  # what was frozen is this whole test run's
