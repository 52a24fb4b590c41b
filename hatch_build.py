"""Compiles patina/synth/compiled/*.c when patina is installed, if a C compiler is there: as hatchling's build hook.

    python hatch_build.py    compiles it in a checkout, anew

Without a compiler, or where it fails, patina is installed all the same, and takes longer for the same bytes. The
variable CC names another compiler than cc, gcc and clang, with its arguments; PATINA_COMPILED=0 compiles nothing.
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

EXACT = ("-fno-fast-math", "-ffp-contract=off")
"""After the arguments of CC: products and sums are not fused, and nothing is reordered."""

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared", *EXACT, "-fno-math-errno", "-fno-trapping-math")

CLONES = ("-DPATINA_CLONES",)
"""Two versions of each function. Not every compiler and C library can: then there is one."""

LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).patina_sources"


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
    failed = "found no C compiler: cc, gcc, clang, or CC names one"
    for command in [own] if own else filter(shutil.which, ("cc", "gcc", "clang")):
        for more in (CLONES, ()):
            try:
                words = [*shlex.split(command), *FLAGS, *more, digest, *files, "-o", str(library)]
                for step in (words, [sys.executable, "-c", LOADS, str(library)]):
                    subprocess.run(step, check=True, capture_output=True, text=True, errors="replace")
                return ""
            except subprocess.CalledProcessError as error:
                failed = f"{command}: {error.stderr[-600:].strip()}"
            except (OSError, ValueError) as error:  # CC names no program, or has a quote too few
                failed = f"{command}: {error}"
    return failed


if __name__ == "__main__":
    sys.exit(compile_in_place(Path(__file__).parent / FOLDER) or None)
