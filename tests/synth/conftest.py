from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from patina.synth import depth
from patina.synth.compiled import library

T = TypeVar("T")


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], T]], tuple[T, T]]:
    """What a function gives with compiled loops and without them."""

    def ways(function: Callable[[], T]) -> tuple[T, T]:
        library.functions.cache_clear()
        with monkeypatch.context() as patch:
            patch.delenv(library.SWITCH, raising=False)
            assert library.functions() is not None, "python hatch_build.py compiles them"
            one = function()
            library.functions.cache_clear()
            depth._look.cache_clear()  # which would hand on what the first way made
            patch.setenv(library.SWITCH, "0")
            assert library.functions() is None
            other = function()
        library.functions.cache_clear()
        return one, other

    return ways
