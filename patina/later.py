"""Libraries whose code runs when something of them is first used, and not when they are imported.

A plan of a dataset that is up to date decodes no photograph and reads no table, and yet it goes through modules that
import OpenCV, Pillow and Arrow for what else they do. It would spend a quarter of its time on loading these three.

`put_off` is for the command alone: there, what is imported and never used is waiting time. A module that has been put
off is in `sys.modules` as any other, and becomes an ordinary one, the same object, when something of it is asked for.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from importlib.abc import Loader  # at run time, its module would bring a dozen others


class Later(ModuleType):
    """A module whose code has not run. Threads that use it at once wait for the one that runs it."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):  # as what the import itself sets, before any code may run
            _run(self)
        return ModuleType.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:  # such as __version__, which the import does not set
        _run(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("__"):
            _run(self)
        ModuleType.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        _run(self)
        return list(ModuleType.__dir__(self))


def put_off(*names: str) -> None:
    """From now on, importing one of these modules does not run its code, unless it was imported already."""
    _FINDER.names.update(name for name in names if name not in sys.modules)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def when_run(module: ModuleType, then: Callable[[ModuleType], object]) -> None:
    """Call `then` with the module once its code has run: now, if it has."""
    put = _put_of(module)
    if put is None:
        then(module)
    else:
        put.then.append(then)


@contextmanager
def without_collection() -> Iterator[None]:
    """Within it, nobody looks for garbage: what is imported leaves none, and is looked through again and again."""
    with _collection(False):
        yield


@contextmanager
def with_collection() -> Iterator[None]:
    """Within it, garbage is looked for, as is usual."""
    with _collection(True):
        yield


@contextmanager
def _collection(wanted: bool) -> Iterator[None]:
    before = gc.isenabled()
    _collect(wanted)
    try:
        yield
    finally:
        _collect(before)


def _collect(wanted: bool) -> None:
    if wanted and not gc.isenabled():
        gc.freeze()  # what was imported stays: it need not be looked through either
        gc.enable()
    elif not wanted:
        gc.disable()


T = TypeVar("T")


class Table(MutableMapping[str, type[T]]):
    """Classes by name, in the order of the table; each one's module is imported when it is first asked for.

    homes  by name, the class, which is in the module of this name below `package`; or MODULE.CLASS.
    """

    def __init__(self, package: str, homes: Mapping[str, str]) -> None:
        self._package = package
        self._found: dict[str, str | type[T]] = dict(homes)

    def __getitem__(self, name: str) -> type[T]:
        found = self._found[name]
        if isinstance(found, str):
            module, _, kind = found.rpartition(".")
            module = module or name.replace("-", "_")
            found = self._found[name] = getattr(import_module(f"{self._package}.{module}"), kind)
        return found

    def __setitem__(self, name: str, kind: type[T]) -> None:
        self._found[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __contains__(self, name: object) -> bool:  # and imports nothing, as MutableMapping's would
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<table of {', '.join(self)}>"


class _Put:
    """Stands for the loader `whole` of a module until its code has run. then: what is called next."""

    def __init__(self, whole: Loader) -> None:
        self.whole = whole
        self.then: list[Callable[[ModuleType], object]] = []
        self.lock = RLock()
        self.is_busy = True
        """Whether the import sets the module up, or the thread that holds the lock runs its code."""

    def __getattr__(self, name: str) -> Any:  # what else a loader is asked for, such as sources and resources
        return getattr(self.whole, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        self.is_busy = False


def _put_of(module: ModuleType) -> _Put | None:
    loader = module.__spec__.loader if module.__spec__ else None
    return loader if isinstance(loader, _Put) else None


def _run(module: ModuleType) -> None:
    """Run the module's code, if it has not run. Raises what that raises, and again on the next use."""
    put = _put_of(module)
    if put is None:
        return
    with put.lock:
        if put.is_busy or _put_of(module) is None:
            return
        put.is_busy = True
        try:
            put.whole.exec_module(module)
        finally:
            put.is_busy = False
        module.__spec__.loader = module.__loader__ = put.whole  # type: ignore[union-attr]
        module.__class__ = ModuleType
        for then in put.then:
            then(module)


class _There:
    """Gives a module that is there already, as it is: the import would run its code again."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    @classmethod
    def spec_of(cls, module: ModuleType) -> ModuleSpec:
        """A spec of it, which it has until the import is over: the import takes the one that it finds there."""
        module.__spec__ = ModuleSpec(module.__name__, cls(module))  # type: ignore[arg-type]
        return module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder:
    """Finds modules that are to be put off. Each once: OpenCV, while it runs, imports another module of its name."""

    def __init__(self) -> None:
        self.names = set[str]()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package = sys.modules.get(name.rpartition(".")[0])
        if isinstance(package, Later):  # a module within a package finds it as it expects it
            _run(package)
            if name in sys.modules:  # the package has imported it, which is too late for the import that asks
                return _There.spec_of(sys.modules[name])
        if name not in self.names:
            return None
        self.names.discard(name)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Put(spec.loader)  # type: ignore[assignment]  # in all but its class
        return spec


_FINDER = _Finder()
