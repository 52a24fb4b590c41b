"""What this machine has, and what to do when it runs short: cores and memory."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from patina.pipeline.errors import BuildError

OUT_OF_MEMORY_TEXTS = (
    (OSError, "out of memory"),  # Pillow's
    (RuntimeError, "can't start new thread"),  # Python's
    (RuntimeError, "can't allocate memory"),  # torch's, on the CPU
    (RuntimeError, "CUDA error: out of memory"),  # torch's, where it was not torch that asked
)
"""What errors that are no MemoryError say of too little memory, by their kind."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says, in Python's, Pillow's, OpenCV's or torch's way."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", 0) == cv2.Error.StsNoMem
    return (
        isinstance(error, MemoryError)
        or any(isinstance(error, kind) and text in str(error) for kind, text in OUT_OF_MEMORY_TEXTS)
        # torch is known by name, since a dataset is built without it
        or any(kind.__name__ == "OutOfMemoryError" and kind.__module__ == "torch" for kind in type(error).__mro__)
    )


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 30 MB for the next image, instead of giving them back to the kernel.

    Freeing one block of that size raises its thresholds for good (mallopt(3), M_MMAP_THRESHOLD): fresh memory costs a
    page fault every 4 KiB, which is a third of the time of degradations that work in floats. Elsewhere it does nothing.
    """
    np.empty(30 << 20, np.uint8)


OPEN_FILES = 4096
"""Files that a build may have open: 16 shards that are made together, and as many old ones, for each of many threads.
By default Linux allows 1,024, and macOS 256."""


@cache
def allow_open_files() -> None:
    """Let this process have `OPEN_FILES` open, if the system lets it: shards that are made together are open together,
    and so are those that they copy from."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


LESS_MEMORY = "build with fewer --workers, or cut photographs into [tiles]; what is finished is kept"


@contextmanager
def within_memory(advice: str = LESS_MEMORY) -> Iterator[None]:
    """Within it, too little memory is a BuildError that says what to do."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise BuildError(f"too little memory{f' for {error}' if str(error) else ''}; {advice}") from error


def available_memory() -> int:
    """Bytes that this machine, or the container that this process is in, can still give; 0 if nothing tells."""
    free = _number_in(Path("/proc/meminfo"), r"MemAvailable:\s+(\d+) kB") * 1024
    group = Path("/sys/fs/cgroup")
    limit, used = (_number_in(group / name, r"(\d+)\s*") for name in ("memory.max", "memory.current"))
    return min(free, max(limit - used, 1)) if limit and free else free


def _number_in(path: Path, pattern: str) -> int:
    try:
        found = re.search(pattern, path.read_text("ascii"))
    except (OSError, ValueError):
        return 0
    return int(found[1]) if found else 0


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
