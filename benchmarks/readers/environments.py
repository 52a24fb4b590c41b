"""The environments in which the readers run: what is installed in each, pinned, and how it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch"
"""The environment that those with `torch=True` see through a .pth file, so that torch lies on the disk once."""


@dataclass(frozen=True)
class Environment:
    """Packages to install, and whether the environment also sees that of torch."""

    packages: tuple[str, ...]
    torch: bool = True


ENVIRONMENTS = {
    TORCH: Environment(("torch==2.13.0", "torchvision==0.28.0", "numpy==2.4.6", "pillow==13.0.0"), torch=False),
    "webdataset": Environment(("webdataset==1.0.2", "open_clip_torch==3.3.0", "pandas==3.1.1")),
    "webdataset-0.2": Environment(("webdataset==0.2.86", "open_clip_torch==3.3.0", "pandas==3.1.1")),
    "datasets": Environment(("datasets==5.2.0", "torchdata==0.11.0")),
    "energon": Environment(("megatron-energon==7.4.1",)),
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


def make(folder: Path, name: str) -> None:
    """Make the environment `name` below `folder`, unless its stamp says that it holds these packages already.

    Raises InstallError with the last lines of pip if a package cannot be had.
    """
    environment = ENVIRONMENTS[name]
    stamp = folder / name / "packages.txt"
    wanted = "\n".join((*environment.packages, f"torch={environment.torch}"))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if environment.torch:
        make(folder, TORCH)
    _run([sys.executable, "-m", "venv", "--clear", str(folder / name)])
    if environment.torch:
        (_site(folder, name) / "torch.pth").write_text(f"{_site(folder, TORCH)}\n")
    _run([str(python_of(folder, name)), "-m", "pip", "install", "--quiet", *environment.packages])
    if name == TORCH:
        _mend_torchvision(folder)
    elif environment.torch and (hook := _site(folder, TORCH) / "sitecustomize.py").exists():
        (_site(folder, name) / "sitecustomize.py").write_text(hook.read_text())
    stamp.write_text(wanted)


def _mend_torchvision(folder: Path) -> None:
    """Where pip found a torch of one build and a torchvision of another, readers that import the latter would not even
    start; none of them uses its operators. A torchvision that can be imported is left as it is."""
    done = subprocess.run(
        [python_of(folder, TORCH), "-c", "import torchvision"], capture_output=True, check=False, text=True
    )
    if "torchvision::nms does not exist" in done.stderr:
        (_site(folder, TORCH) / "sitecustomize.py").write_text(OPERATORS)
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
