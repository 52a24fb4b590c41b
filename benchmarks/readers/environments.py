"""The environments in which the readers run: what is installed in each, pinned, and how it is made.

    python -m benchmarks.readers.environments FOLDER

makes those below FOLDER that `make test` needs beside the environment that it runs in, which they see: readers that
want other versions of a package than the others. It takes some seconds each, as torch is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch"
"""The environment that those with `torch=True` see through a .pth file, so that torch lies on the disk once."""


IN_TESTS = ("webdataset", "webdataset-0.2", "energon")
"""Those of readers that `make test` runs and that cannot be the environment that it runs in: a second webdataset,
energon with an earlier tzdata than constraints.txt names, open_clip with a torchvision that can be imported."""


@dataclass(frozen=True)
class Environment:
    """Packages to install, and whether the environment also sees that of torch.

    needs  what the packages bring along and constraints.txt does not name, so that `make test` installs the same
           versions every day.
    """

    packages: tuple[str, ...]
    torch: bool = True
    needs: tuple[str, ...] = ()


ENVIRONMENTS = {
    TORCH: Environment(("torch==2.13.0", "torchvision==0.28.0", "numpy==2.4.6", "pillow==13.0.0"), torch=False),
    "webdataset": Environment(("webdataset==1.0.2", "open_clip_torch==3.3.0", "pandas==3.1.1")),
    "webdataset-0.2": Environment(("webdataset==0.2.86", "open_clip_torch==3.3.0", "pandas==3.1.1")),
    "datasets": Environment(("datasets==5.2.0", "torchdata==0.11.0")),
    "energon": Environment(
        ("megatron-energon==7.4.1",),
        needs=(
            "aiobotocore==3.10.0",
            "aioitertools==0.13.0",
            "botocore==1.43.117",
            "bracex==3.2.3",
            "deprecation==2.1.0",
            "filetype==1.2.0",
            "jmespath==1.1.0",
            "lark==1.3.1",
            "mfusepy==3.1.1",
            "multi-storage-client==1.3.1",
            "prettytable==3.18.0",
            "pyroute2==0.9.7",
            "rapidyaml==0.15.2",
            "s3fs==2026.9.0",
            "tzdata==2025.3",
            "wcmatch==10.2.1",
            "webdataset==1.0.2",
            "xattr==1.3.0",
        ),
    ),
    "litdata": Environment(("litdata==0.2.76",)),
    "streaming": Environment(("mosaicml-streaming==0.13.0",)),
    "webshart": Environment(("webshart==0.4.6",)),
    "tables": Environment(
        (
            "ray[data]==2.60.0",
            "dask[dataframe]==2026.8.0",
            "duckdb==2.0.1",
            "polars==2.1.0",
            "pyarrow==26.0.1",
            "pylance==14.0.2",
            "numpy==2.4.6",
            "pillow==13.0.0",
        ),
        torch=False,
    ),
    "dali": Environment(("nvidia-dali-cuda130==2.4.0", "numpy==2.4.6"), torch=False),
    "datachain": Environment(("datachain==0.62.0", "datasets==5.2.0", "numpy==2.4.6", "pillow==13.0.0"), torch=False),
}

OPERATORS = '''\
"""torchvision beside a torch of another build: declares the two operators that its import needs to be known."""

import sys
from importlib.abc import MetaPathFinder


class _Declare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            from torch.library import Library

            sys._torchvision_operators = Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                sys._torchvision_operators.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        return None


sys.meta_path.insert(0, _Declare())
'''


class InstallError(RuntimeError):
    """An environment that cannot be made; says what pip said."""


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment below `folder`."""
    return folder / name / "bin" / "python"


def make(folder: Path, name: str, seen: Path | None = None) -> None:
    """Make the environment `name` below `folder`, unless its stamp says that it holds these packages already.

    seen  site-packages that hold torch; None: those of the environment TORCH, which is made too.

    Raises InstallError with the last lines of pip if a package cannot be had.
    """
    environment = ENVIRONMENTS[name]
    stamp = folder / name / "packages.txt"
    wanted = "\n".join((*environment.packages, *environment.needs, f"torch={environment.torch}", f"seen={seen}"))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if environment.torch and seen is None:
        make(folder, TORCH)
    _run([sys.executable, "-m", "venv", "--clear", str(folder / name)])
    python, own = str(python_of(folder, name)), _site(folder, name)
    if environment.torch:
        (own / "torch.pth").write_text(f"{seen or _site(folder, TORCH)}\n")
    _run([python, "-m", "pip", "install", "--quiet", *environment.packages, *environment.needs])
    if environment.torch or name == TORCH:
        _mend_torchvision(python, own)
    stamp.write_text(wanted)


def _mend_torchvision(python: str, site: Path) -> None:
    """Where pip found a torch of one build and a torchvision of another, readers that import the latter would not even
    start; none of them uses its operators. A torchvision that can be imported is left as it is."""
    done = subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False, text=True)
    if "torchvision::nms does not exist" in done.stderr:
        (site / "sitecustomize.py").write_text(OPERATORS)
    elif done.returncode:
        raise InstallError(done.stderr.strip().splitlines()[-1])


def _site(folder: Path, name: str) -> Path:
    return (
        folder / name / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    ).resolve()


def _run(command: list[str]) -> None:
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    quiet.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=quiet)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]  # warnings name places
        raise InstallError(errors[-1].removeprefix("ERROR: ") if errors else f"it ended with {done.returncode}")


def main() -> int:
    """Make the environments of `make test`; 1, with pip's words, if one of them cannot be made."""
    if len(sys.argv) != 2:
        print("expected one folder: python -m benchmarks.readers.environments FOLDER", file=sys.stderr)
        return 2
    for name in IN_TESTS:
        try:
            make(Path(sys.argv[1]).resolve(), name, Path(sysconfig.get_path("purelib")))
        except InstallError as error:
            packages = ", ".join(ENVIRONMENTS[name].packages)
            print(f"{packages} cannot be installed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
