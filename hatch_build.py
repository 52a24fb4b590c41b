"""Compiles patina/synth/compiled/*.c when patina is installed, if a C compiler is there: as hatchling's build hook.

    python hatch_build.py    compiles it in a checkout, anew

Without a compiler, or where it fails, patina is installed all the same, and takes longer for the same bytes. The
variable CC names another compiler than cc, gcc and clang, with its arguments; CFLAGS, CPPFLAGS, LDFLAGS and, on a Mac,
ARCHFLAGS are passed on; PATINA_COMPILED=0 compiles nothing.

Whatever the compiler and its arguments: a library is kept only if it computes as IEEE 754 says, each operation rounded
on its own, and leaves the process as it was. One for another processor cannot be asked, and is not kept. One for both
kinds of Mac (universal2) is asked in the half for the processor at hand, and kept by that: nothing asks the other half.
"""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "patina/synth/compiled"

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
"""After the arguments of CC, and before those of CFLAGS."""

EXACT = (
    "-fno-fast-math",
    "-fno-unsafe-math-optimizations",  # which the one before it leaves on, and which has subnormal numbers lost
    "-fno-associative-math",
    "-fno-reciprocal-math",
    "-fno-finite-math-only",
    "-fsigned-zeros",
    "-ffp-contract=off",  # the last: clang takes some of the others for a word on this as well
)
"""After all others: nothing is fused, reordered, or replaced by what is nearly as good."""

CLONES = ("-DPATINA_CLONES",)
"""Two versions of each function. Not every compiler and C library can: then there is one."""

PROOF = """
import ctypes, struct, sys
library = ctypes.CDLL(sys.argv[1])
library.patina_sources
def single(x): return struct.unpack("f", struct.pack("f", x))[0]
n, word, numbers = 100, 1, []
for _ in range(3 * n):  # of -4096 to 4096, with all their digits
    word = word * 1664525 + 1013904223 & 0xFFFFFFFF
    numbers.append(single(word / 2.0**19 - 4096))
a, b, c = numbers[:n], numbers[n:2 * n], numbers[2 * n:]
expected, sum = [], 0.0
for x, y, z in zip(a, b, c):
    sum = single(sum + x)
    expected += [single(single(x * y) + z), single(x / z), single(x / 255.0), float(round(x)), x * 2.0**-140, sum]
expected[4::6] = map(single, expected[4::6])
pack = lambda values: (ctypes.c_float * len(values))(*values)
found = pack([0.0] * 6 * n)
library.patina_operations(pack(a), pack(b), pack(c), ctypes.c_ssize_t(n), found)
wrong = [i % 6 for i in range(6 * n) if found[i] != expected[i]]
if wrong or sys.float_info.min / 2 == 0:
    names = "product and sum, quotient, quotient by 255, nearest, subnormals, sum".split(", ")
    sys.exit(f"it rounds otherwise than IEEE 754: {', '.join(names[i] for i in sorted(set(wrong))) or names[4]}")
"""
"""Ends with 0 if a library loads, computes as Python does, and leaves subnormal numbers alone, here and elsewhere."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to a wheel, or leaves it in the checkout for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile. A wheel with the library is for this platform, and for every version of Python."""
        if self.target_name != "wheel":
            return
        sources = Path(self.root) / FOLDER
        if version == "editable":
            self._tell(compile_in_place(sources))
            return
        self._place = tempfile.TemporaryDirectory()
        library = Path(self._place.name) / library_of(sources).name
        if self._tell(compile_to(library, sources)):
            build_data["force_include"][str(library)] = f"patina/{library.name}"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for the wheel, which has it now."""
        if hasattr(self, "_place"):
            self._place.cleanup()

    def _tell(self, failed: str) -> bool:
        if failed:
            self.app.display_warning(f"patina: no inner loops are compiled, so that builds take longer: {failed}")
        return not failed


def library_of(sources: Path) -> Path:
    """Where patina looks for the library of the C files of a folder."""
    library: Path = runpy.run_path(str(sources / "library.py"))["LIBRARY"]
    return library


def compile_in_place(sources: Path) -> str:
    """Compile the C files of a folder to where patina looks for the library. Gives why not, and then none stays there;
    "" if it was done."""
    library = library_of(sources)
    try:
        with tempfile.TemporaryDirectory(dir=library.parent) as place:  # nobody loads half a file
            made = Path(place) / library.name
            failed = compile_to(made, sources)
            if failed:
                library.unlink(missing_ok=True)
            else:
                made.replace(library)
            return failed
    except OSError as error:  # a folder that nobody may write to, or a library that is in use, on some systems
        return str(error)


def compile_to(library: Path, sources: Path) -> str:
    """Compile the C files of a folder to this file. Gives why not; "" if it was done."""
    module = runpy.run_path(str(sources / "library.py"))
    if os.environ.get(module["SWITCH"]) == "0":
        return f"{module['SWITCH']} is 0"
    own = os.environ.get("CC", "").strip()
    digest = f'-DPATINA_SOURCES="{module["sources_digest"](sources)}"'
    files = [str(path) for path in sorted(sources.glob("*.c"))]
    try:
        passed_on = given()
    except ValueError as error:  # which is no compiler's fault
        return str(error)
    failed = "found no C compiler: cc, gcc, clang, or CC names one"
    for command in [own] if own else filter(shutil.which, ("cc", "gcc", "clang")):
        for more in (CLONES, ()):
            try:
                words = [*shlex.split(command), *FLAGS, *passed_on, *EXACT, *more, digest, *files, "-o", str(library)]
                for step in (words, [sys.executable, "-c", PROOF, str(library)]):
                    subprocess.run(step, check=True, capture_output=True, text=True, errors="replace")
                return ""
            except subprocess.CalledProcessError as error:
                failed = f"{command}: {error.stderr[-600:].strip()}"
            except (OSError, ValueError) as error:  # CC names no program, or has itself a quote too few
                failed = f"{command}: {error}"
    return failed


def given(system: str = sys.platform, platform: str = sysconfig.get_platform()) -> list[str]:
    """Arguments for the compiler from the environment, as those who package for a system or cross-compile set them. On
    a Mac a wheel for both kinds of processor gets code for both. Raises ValueError, which names the variable, if a
    quote is missing."""
    words = [word for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS") for word in words_of(name)]
    if system != "darwin":
        return words
    both = "-arch arm64 -arch x86_64" if platform.endswith("universal2") else ""
    return [*words_of("ARCHFLAGS", both), *words]


def words_of(name: str, default: str = "") -> list[str]:
    """The words of a variable of the environment. Raises ValueError, which names it, if a quote is missing."""
    value = os.environ.get(name, default)
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{name} is {value!r}, which no shell could read: {error}; close it, or unset it") from error


if __name__ == "__main__":
    sys.exit(compile_in_place(Path(__file__).parent / FOLDER) or None)
