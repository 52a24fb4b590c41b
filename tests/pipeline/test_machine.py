"""What this machine has: memory, cores and open files."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import cv2
import pytest
import torch

from patina.pipeline.machine import allow_open_files, is_out_of_memory, usable_cores


def opencv(code: int) -> cv2.error:
    error = cv2.error("Insufficient memory")
    error.code = code
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (opencv(cv2.Error.StsNoMem), True),
        (opencv(cv2.Error.StsBadArg), False),
        (OSError("out of memory error when reading image file"), True),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (RuntimeError("can't start new thread"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (torch.OutOfMemoryError("HIP is short of it"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("stage irsde: out of memory with 4 images at a time"), False),
        (RuntimeError("a fault of ours"), False),
        (ValueError("out of memory"), False),
    ],
    ids=str,
)
def test_too_little_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_another_librarys_error_of_that_name_is_not_torchs() -> None:
    class OutOfMemoryError(Exception):
        """Ray's, which kills a worker so that the machine lives."""

    assert not is_out_of_memory(OutOfMemoryError())


def test_torch_is_known_without_it() -> None:
    code = "import sys; from patina.pipeline.machine import is_out_of_memory as f; f(ValueError()); f(MemoryError()); "
    subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], check=True)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cores_are_those_that_this_process_may_use() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    counted = f"{code}from patina.pipeline.machine import usable_cores; print(usable_cores())"
    found = subprocess.run([sys.executable, "-c", counted], check=True, capture_output=True, text=True)
    assert found.stdout == "1\n"
    assert usable_cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("allowed", "at_most", "then"), [(256, 10_000, 4096), (256, 300, 300), (256, 256, 256), (5000, 10_000, 5000)]
)
def test_as_many_files_may_be_open_as_a_build_needs(
    allowed: int, at_most: int, then: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [(allowed, at_most)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    allow_open_files.__wrapped__()
    assert limits[-1] == (then, at_most)
