"""What models of torch need alike, whatever they make: where they run, and how a batch gets there."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from patina.captioning.captioner import CaptionError, Run
from patina.captioning.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_setting = threading.Lock()

ON_CPU = 8  # items in a batch: more gains nothing there
LEAST, MOST, STEP = 8, 256, 8  # items in a batch on a GPU
# What errors say that are not torch's own for it.
NO_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
INSTALL = "pip install 'patina-ir[captions]'"


def require(*packages: str) -> None:
    """Make sure that these are installed, and that torchvision can be imported. Raises CaptionError."""
    missing = [name for name in ("torch", "torchvision", *packages) if find_spec(name) is None]
    if missing:
        raise CaptionError(f"captions by a model need {' and '.join(missing)}, not installed here: {INSTALL}")
    try:
        ensure_torchvision()
    except (ImportError, OSError, RuntimeError) as error:
        raise CaptionError(f"torch or torchvision is installed but cannot be imported: {error}; {INSTALL}") from None


def devices(run: Run) -> tuple[str, ...]:
    """Where to run, one name a replica. Raises CaptionError for a device that is not here."""
    import torch

    if not run.devices:
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)
    for name in run.devices:
        try:
            device = torch.device(name)
            if device.type != "cuda":
                torch.empty(0, device=device)
            elif (device.index or 0) >= torch.cuda.device_count():  # without a context there, which takes its memory
                raise RuntimeError(f"of {torch.cuda.device_count()} CUDA devices")
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            here = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
            raise CaptionError(f"devices: {name!r} is not here ({first_line(error)}); here: {here}") from None
    return run.devices


def moved(network: torch.nn.Module, device: str, model: str) -> torch.nn.Module:
    """The network on its device, to be asked and not trained. Raises CaptionError if it does not fit there."""
    there = within_memory(lambda: network.to(device).eval())
    if there is None:
        raise CaptionError(
            f"the model {model!r} does not fit into the memory of {device}: see what else runs there, or use another "
            "device or a smaller model"
        )
    return there


def batch_size(run: Run, device: str, megabytes: float) -> int:
    """Items at once on `device`, each of which takes about `megabytes` there: what fits into half of what is free."""
    import torch

    if run.batch:
        return run.batch
    if torch.device(device).type != "cuda":
        return ON_CPU
    free = torch.cuda.mem_get_info(device)[0] / 2**20
    return min(MOST, max(LEAST, int(free / 2 / megabytes) // STEP * STEP))


def joined(features: Sequence[dict[str, torch.Tensor]], device: str) -> dict[str, torch.Tensor]:
    """One batch: tensors of equal names end to end, in page-locked memory if they go to a CUDA device."""
    import torch

    batch = {name: torch.cat([one[name] for one in features]) for name in features[0]}
    if torch.device(device).type != "cuda":
        return batch
    try:
        return {name: tensor.pin_memory() for name, tensor in batch.items()}
    except RuntimeError:  # no more memory may be locked: then it is copied a little slower
        return batch


def to_device(batch: dict[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    """The batch on its device; the copy runs while this process goes on."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def within_memory(function: Callable[[], T]) -> T | None:
    """What `function` gives; None if the device's memory does not suffice, with what it took given back."""
    try:
        return function()
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
    given_back()  # out of the handler, whose traceback holds the tensors
    return None


def _no_memory(error: MemoryError | RuntimeError) -> bool:
    import torch

    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(words in str(error) for words in NO_MEMORY)


def single_threaded() -> None:
    """Let this thread's arithmetic in torch stay on it, where several threads share the cores already."""
    import torch

    with _setting:
        others = torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, and of all that torch sees first after it: those get theirs back
        restorer = threading.Thread(target=torch.set_num_threads, args=(others,))
        restorer.start()
        restorer.join()


def given_back() -> None:
    """Let other processes have the memory of tensors that are gone, which torch keeps for the next ones."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def whole_digits() -> Iterator[None]:
    """Arithmetic in float32 with all its digits. By default cuDNN's convolutions have three (TF32), and other code may
    have asked for as few elsewhere. Other precisions stay as they are."""
    import torch

    backends: Any = torch.backends
    name: str
    whole: str | bool
    places: tuple[Any, ...]
    if hasattr(backends.cuda.matmul, "fp32_precision"):  # since torch 2.9, where the older names may raise
        name, whole = "fp32_precision", "ieee"
        places = backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul
    else:
        name, whole = "allow_tf32", False
        places = backends.cuda.matmul, backends.cudnn
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, whole)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)


def first_line(error: BaseException) -> str:
    """What an exception says, in short."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
