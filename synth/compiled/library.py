"""Loading what was compiled, if it is there and was made of the sources beside it.

The functions are plain C, called by ctypes: they take addresses and sizes, check nothing, and run without the
interpreter's lock. So nobody but the file that has the same computation in NumPy calls one.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # hatch_build.py reads this file where NumPy is not installed yet
    import numpy as np
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent

LIBRARY = FOLDER.parents[1] / "loops.so"
"""What hatch_build.py makes, in the package's own folder: an sdist takes in all that lies in this one."""

SWITCH = "PATINA_COMPILED"
"""This variable of the environment, set to 0, leaves the library aside."""

_PROTOTYPE = re.compile(r"^CLONED void (patina_\w+)\(([^)]*)\)", re.MULTILINE)

_KINDS = {"ptrdiff_t": ctypes.c_ssize_t, "int32_t": ctypes.c_int32, "float": ctypes.c_float, "double": ctypes.c_double}


@cache
def functions() -> ctypes.CDLL | None:
    """The compiled functions by their names; None where they were not compiled, are of other sources than those that
    lie here, or are not wanted."""
    library, _ = _loaded()
    for name, arguments in signatures(FOLDER).items() if library else ():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library


def state() -> str:
    """Whether compiled loops are used here, in words, with the reason if not."""
    return _loaded()[1]


def _loaded() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(SWITCH) == "0":
        return None, f"not used: {SWITCH} is 0"
    if not LIBRARY.exists():
        return None, "not compiled: install patina anew where a C compiler is (cc, gcc, clang, or CC names one)"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        made_of = library.patina_sources
    except (OSError, AttributeError) as error:
        return None, f"not used: {LIBRARY} cannot be loaded ({error})"
    made_of.restype = ctypes.c_char_p
    if made_of() != sources_digest(FOLDER).encode():
        return None, f"not used: {LIBRARY} was compiled from other sources; install patina anew"
    return library, f"used: {LIBRARY}"


def signatures(folder: Path) -> dict[str, tuple[type, ...]]:
    """The arguments of every function in the C files of a folder: `CLONED void patina_name(…)`, of pointers, sizes and
    numbers. ctypes believes what it is told, so it is told what the compiler was."""
    text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*.c")))
    return {name: tuple(map(_kind, arguments.split(","))) for name, arguments in _PROTOTYPE.findall(text)}


def _kind(argument: str) -> type:
    return ctypes.c_void_p if "*" in argument else _KINDS[argument.split()[-2]]


def sources_digest(folder: Path) -> str:
    """16 hex digits of the C files of a folder and their names: hatch_build.py writes them into the library."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def pointer(array: NDArray[np.generic]) -> int:
    """The address of an array's first value. The array must live until the call returns."""
    address: int = array.__array_interface__["data"][0]
    return address
