"""What models of torch need alike, whatever they make: where they run, and how a batch gets there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from captioning.captioner import CaptionError, Run
from captioning.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

ON_CPU = 8  # items in a batch: more gains nothing there
LEAST, MOST, STEP = 8, 256, 8  # items in a batch on a GPU
INSTALL = "pip install 'patina[captions]'"


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
            torch.empty(0, device=device)
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
    if torch.device(device).type == "cuda":
        return {name: tensor.pin_memory() for name, tensor in batch.items()}
    return batch


def sent(batch: dict[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    """The batch on its device; the copy runs while this process goes on."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def within_memory(function: Callable[[], T]) -> T | None:
    """What `function` gives; None if the device's memory does not suffice, with what it took given back."""
    import torch

    try:
        return function()
    except torch.OutOfMemoryError:
        pass  # and out of the handler, whose traceback holds the tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def first_line(error: BaseException) -> str:
    """What an exception says, in short."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
