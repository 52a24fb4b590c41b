"""Compiles patina/synth/compiled/*.c when patina is installed, if a C compiler is there: as hatchling's build hook.

    python hatch_build.py    compiles it in a checkout, anew

Without a compiler, or where it fails, patina is installed all the same, and takes longer for the same bytes. The
variable CC names another compiler than cc; PATINA_COMPILED=0 compiles nothing.
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

ROOT = Path(__file__).parent

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Nothing that changes a result: products and sums are not fused, and nothing is reordered."""

CLONES = ("-DPATINA_CLONES",)
"""Two versions of each function. Not every compiler and C library can: then there is one."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the library to a wheel, or leaves it in the checkout for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile. The wheel is then for this platform, and for every version of Python."""
        if self.target_name != "wheel":
            return
        library = compiled(Path(self.root) / "patina" / "synth" / "compiled")
        if library is None:
            self.app.display_warning("patina: no C compiler is at hand (or CC), so that builds of datasets take longer")
            return
        if version != "editable":
            build_data["force_include"][str(library)] = f"patina/{library.name}"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"


def compiled(folder: Path) -> Path | None:
    """The library of the C files in `folder`, made anew; None, and no older one, where that fails."""
    module = runpy.run_path(str(folder / "library.py"))
    library: Path = module["LIBRARY"]
    library.unlink(missing_ok=True)
    found = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    command = next((shlex.split(one) for one in found if shutil.which(shlex.split(one)[0])), None)
    if command is None or os.environ.get(module["SWITCH"]) == "0":
        return None
    sources = f'-DPATINA_SOURCES="{module["sources_digest"](folder)}"'
    files = [str(path) for path in sorted(folder.glob("*.c"))]
    with tempfile.TemporaryDirectory(dir=library.parent) as place:  # nobody loads half a file
        made = Path(place) / library.name
        for more in (CLONES, ()):
            words = [*command, *FLAGS, *more, sources, *files, "-o", str(made)]
            done = subprocess.run(words, check=False, capture_output=True)
            if done.returncode == 0:
                made.replace(library)
                return library
    return None


if __name__ == "__main__":
    sys.exit(None if compiled(ROOT / "patina" / "synth" / "compiled") else "no C compiler is at hand, or it failed")
