"""A pickle, followed with symbols in place of objects: what it would make is seen, and nothing is made.

A pickle is a small program for a stack machine. Its words push numbers and strings, gather them in containers, import
anything by name and call it. `follow` walks through that program, keeps numbers, strings and containers as they are,
and leaves an import as a `Name` and a call as a `Made`. So nothing is imported and nothing is called, whatever the file
says.
"""

from __future__ import annotations

import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from patina.training.errors import CheckpointError


class UnsafeCheckpointError(CheckpointError):
    """A file that would have run code if it had been loaded the usual way. It was not run."""


# --- names -------------------------------------------------------------------------------------------------------

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""How torch names a row of numbers in a file, by its type."""

_BUILT = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.nn.parameter.Parameter",
    "collections.OrderedDict",
    "collections.Counter",
    *(str(dtype) for dtype in STORAGES.values()),
}

_HARMLESS = {
    "__builtin__": "object set frozenset slice range xrange complex bytearray bytes dict list tuple int long float str "
    "unicode bool getattr",  # getattr: how enumerations are pickled; as a symbol it gets nothing
    "builtins": "object set frozenset slice range complex bytearray bytes dict list tuple int float str bool getattr",
    "collections": "OrderedDict defaultdict Counter deque",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "functools": "partial",
    "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "pathlib._local": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "_codecs": "encode",
    "copyreg": "_reconstructor",
    "copy_reg": "_reconstructor",
}
"""All of Python's own library that a checkpoint may name beside its tensors."""

_PYTHONS = frozenset(sys.stdlib_module_names) | frozenset(IMPORT_MAPPING)
_CODE = frozenset(("os", "sys", "subprocess", "builtins", "importlib", "system", "popen", "eval", "exec", "__import__"))
"""Parts of a name that reach the above through another library (`some.module.os.system`)."""


def is_torchs(name: str) -> bool:
    """Whether a tensor, a plain container or a number type is meant: what torch's own reader builds."""
    module, _, last = name.rpartition(".")
    return name in _BUILT or (module in ("torch", "torch.storage") and last in STORAGES)


def is_foreign(name: str) -> bool:
    """Whether a class or function of another library is meant, neither Python's own nor what torch's reader builds."""
    return name.split(".", maxsplit=1)[0] not in _PYTHONS and not is_torchs(name)


def _refuse_code(name: str, path: Path) -> None:
    """Raise UnsafeCheckpointError for a name of Python's own library that no weights need."""
    module, _, last = name.rpartition(".")
    first, *rest = name.split(".")
    harmless = first not in _PYTHONS or last in _HARMLESS.get(module, "").split()
    if not harmless or not _CODE.isdisjoint(rest):
        raise UnsafeCheckpointError(
            f"{path}: this file would run code when loaded: it names {name}, which no weights need. Nothing of it was "
            "run. Do not load it with another program; get the checkpoint from its authors"
        )


# --- the pickle, followed with symbols ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Name:
    """An import that was not made."""

    name: str


@dataclass(eq=False)
class Made:
    """A call that was not made, with what was put into its result."""

    function: object
    arguments: object
    items: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stored:
    """A reference to a storage: ("storage", its class, key, device, length)."""

    reference: object


_MARK = object()
"""Stands on the stack where a group of values begins."""

_EMPTY: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,  # its members, being symbols, need not be hashable
    "EMPTY_DICT": dict,
}
_LITERAL = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES "  # noqa: SIM905
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8".split()
)


class _UnfitError(Exception):
    """An instruction that no checkpoint has or that does not fit the stack."""


def follow(file: IO[bytes], path: Path) -> tuple[object, set[str]]:
    """What the pickle at the file's place would make, in symbols, and every name in it; the file is then behind it.

    Raises CheckpointError.
    """
    machine = _Machine(file, path)
    try:
        return machine.run(), machine.names
    except CheckpointError:
        raise
    except (_UnfitError, LookupError, ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise CheckpointError(f"{path}: its pickle is cut short or damaged ({error}); fetch it again") from error


class _Machine:
    """Follows a pickle's instructions (protocols 0 to 5). Imports and calls become symbols; nothing is executed."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.stack: list[Any] = []
        self.memo: dict[int, object] = {}
        self.names: set[str] = set()

    def run(self) -> object:
        for instruction, argument, _ in pickletools.genops(self.file):
            word = instruction.name
            if word == "STOP":
                return self.stack.pop()
            if word in _EMPTY:
                self.stack.append(_EMPTY[word]())
            elif word in _LITERAL:
                self.stack.append(argument)
            elif (step := getattr(self, f"_{word.lower()}", None)) is not None:
                step(argument)
            else:
                raise _UnfitError(f"the instruction {word}")
        raise _UnfitError("no end")

    def _proto(self, argument: object) -> None: ...

    def _frame(self, argument: object) -> None: ...

    # names, calls, storages

    def _import(self, module: object, name: object) -> None:
        full = f"{module}.{name}"
        _refuse_code(full, self.path)
        self.names.add(full)
        self.stack.append(Name(full))

    def _global(self, argument: str) -> None:
        self._import(*argument.split(" ", 1))  # as pickletools tells it: "module name"

    def _stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise _UnfitError("an import whose name is no string")
        self._import(module, name)

    def _reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(Made(function, arguments))

    _newobj = _reduce

    def _newobj_ex(self, _: object) -> None:
        named, arguments, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(Made(function, (arguments, named)))

    def _obj(self, _: object) -> None:
        function, *arguments = self._group()
        self.stack.append(Made(function, tuple(arguments)))

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._group())
        self._global(argument)
        self.stack.append(Made(self.stack.pop(), arguments))

    def _build(self, _: object) -> None:
        self.stack.pop()  # an object's attributes: those of tensors and containers hold no weights
        self.stack[-1]

    def _binpersid(self, _: object) -> None:
        self.stack.append(Stored(self.stack.pop()))

    # the memo and the stack

    def _put(self, place: object) -> None:
        self.memo[int(str(place))] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, place: object) -> None:
        self.stack.append(self.memo[int(str(place))])

    _binget = _long_binget = _get

    def _mark(self, _: object) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: object) -> None:
        self.stack.pop()

    def _dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def _pop_mark(self, _: object) -> None:
        self._group()

    def _group(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            if at == 0:
                raise _UnfitError("a group without a beginning")
            at -= 1
        group = self.stack[at + 1 :]
        del self.stack[at:]
        return group

    # containers

    def _tuple(self, _: object) -> None:
        self.stack.append(tuple(self._group()))

    def _tuple1(self, _: object) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def _tuple2(self, _: object) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: object) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _list(self, _: object) -> None:
        self.stack.append(self._group())

    def _frozenset(self, _: object) -> None:
        self.stack.append(tuple(self._group()))  # its members need not be hashable as symbols

    def _dict(self, _: object) -> None:
        group = self._group()
        self.stack.append({})
        self._fill(group)

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: object) -> None:
        self._extend(self._group())

    _additems = _appends

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)
        elif not isinstance(self.stack[-1], Made):  # a deque, say: what it holds are no weights
            raise _UnfitError("items for what is no list")

    def _setitem(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self, _: object) -> None:
        self._fill(self._group())

    def _fill(self, group: list[Any]) -> None:
        into = self.stack[-1].items if isinstance(self.stack[-1], Made) else self.stack[-1]
        if not isinstance(into, dict) or len(group) % 2:
            raise _UnfitError("entries for what is no dictionary")
        entries = zip(group[::2], group[1::2], strict=True)
        into.update((key, value) for key, value in entries if isinstance(key, str | int))  # others name no weights
