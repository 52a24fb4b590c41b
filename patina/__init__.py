"""Image-text-degradation datasets for image restoration, and the models that are trained on them.

    degrade       one image, degraded              degradations  all degradations, with their settings
    severity      how strongly it was degraded     figures       PSNR and SSIM, as papers print them
    plan, build, check, diff                       a dataset from a recipe, as the commands of these names do
    read_samples, read_members                     a dataset's samples: their table, their files
    Dataset, Stream                                as tensors, by number or as a stream
    wds_decoder   what webdataset is to make of them
    Restorer      a trained model on photographs   caption       sentences about photographs

What a function needs is imported when its name is first used: `import patina` loads no library. Wrong arguments raise
TypeError or ValueError; all other errors that a user can mend are kinds of ValueError, RuntimeError or OSError.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patina._face.building import build, check, diff, plan
    from patina._face.captioning import caption
    from patina._face.dataset import Dataset
    from patina._face.degrading import degradations, degrade, figures, severity
    from patina._face.reading import read_members, read_samples, wds_decoder
    from patina._face.restoring import Restorer
    from patina._face.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Restorer",
    "Stream",
    "__version__",
    "build",
    "caption",
    "check",
    "degradations",
    "degrade",
    "diff",
    "figures",
    "plan",
    "read_members",
    "read_samples",
    "severity",
    "wds_decoder",
]

_HOMES = {
    "Dataset": "dataset",
    "Restorer": "restoring",
    "Stream": "stream",
    "build": "building",
    "caption": "captioning",
    "check": "building",
    "degradations": "degrading",
    "degrade": "degrading",
    "diff": "building",
    "figures": "degrading",
    "plan": "building",
    "read_members": "reading",
    "read_samples": "reading",
    "severity": "degrading",
    "wds_decoder": "reading",
}
"""Where each public name is defined, below `patina._face`."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'patina' has no attribute {name!r}")
    try:
        found: object = getattr(import_module(f"patina._face.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "patina").partition(".")[0] == "patina":
            raise
        raise ImportError(
            f"patina.{name} needs {error.name}: pip install 'patina-ir[train]'", name=error.name
        ) from error
    globals()[name] = found  # so that this is called once for each name
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
