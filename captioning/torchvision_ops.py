"""torchvision beside a torch of another build: a CPU torch with the registry's CUDA torchvision, for instance.

torchvision's compiled operators then do not load, and importing the package fails because it registers metadata for
two of them. open_clip, timm, torchmetrics and BLIP in transformers fail with it, although they use none of the two.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_library: Any = None  # kept for ever: torch un-registers the operators of a library that is collected

MISSING = ("nms", "qnms")


def ensure_torchvision() -> ModuleType:
    """torchvision, importable on any build of torch. Call it before the first import of anything that imports it.

    Where torchvision loads as it is, nothing else happens. Where its operators are missing, the two that it needs to
    be known are declared, without an implementation: calling them raises. Other errors are passed on.
    """
    global _library  # noqa: PLW0603
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    from torch.library import Library

    _library = Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in MISSING:
        _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
