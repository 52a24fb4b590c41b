"""What decides the pixels and bytes that the libraries here give, as far as a process sees it without trying them.

`fingerprint.codec_fingerprint` is found by trial: pictures are encoded, decoded and computed with. Its result holds for
as long as nothing of what it rests on changes, and that is written down here: each file that was executed, by its path
and stat; the processor, by its name, its microcode and what it can do; the kernel's start; the variables of the
environment that choose between ways to compute. On another machine, after a restart, or after anything was installed,
the trial is made again, which takes some tenths of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np

from patina.pipeline.hashing import canonical_json
from patina.synth.compiled.library import LIBRARY, SWITCH

LIBRARIES = ("cv2", "numpy", "PIL", "isal")
"""Whose place decides which of several installed ones is imported."""

OURS = ("patina.synth", "patina.pipeline.codec")
"""What of patina the fingerprint depends on; there may be several checkouts too."""

MAYBE_THERE = ("/etc/ld.so.cache", "/etc/ld.so.preload", str(LIBRARY))
"""Files that count, whether they are there or not; the last one is `patina.synth.compiled`'s."""

AT_START = (b"LD_", b"GLIBC_")
"""How the variables begin that the system reads when a process begins, and never again. OpenCV sets one of them."""

SETTINGS = ("OPENCV_", "NPY_", "NUMPY_", "OPENBLAS_", "MKL_", "JSIMD_", "IPP_", "OMP_", "KMP_", SWITCH)
"""How the variables begin by which libraries, and `patina.synth.compiled`, choose between ways to compute the same."""

PROCESSOR = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features", "isa", "cpu"),
)
"""Lines of /proc/cpuinfo that differ between processors and not between moments."""

RECORD = ("codecs", "known fingerprint")
"""What a store of records by two names calls the record of `recall` and `record_of`."""

SETTLED_NS = 2_000_000_000
"""Older than this, before the process began, a file's last change must be: a coarse clock tells no later one apart."""


class _Recalled:
    """What `recall` found, for this process. "" for nothing."""

    fingerprint = ""


def known_fingerprint() -> str:
    """`fingerprint.codec_fingerprint`, as `recall` was told it, or by trial."""
    return _Recalled.fingerprint or _tried()


def recall(record: str) -> bool:
    """Take the fingerprint of a record for this machine's, if nothing changed since. Gives whether it could."""
    _Recalled.fingerprint = _still_holds(record) if record else ""
    return bool(_Recalled.fingerprint)


def confirm() -> bool:
    """Whether a trial gives what was recalled; from now on, its result is what is known."""
    recalled, _Recalled.fingerprint = _Recalled.fingerprint, ""
    return _tried() == recalled


def extra_fingerprint(format: str) -> str:
    """`fingerprint.extra_fingerprint`."""
    from patina.pipeline.codec.fingerprint import extra_fingerprint as tried

    return tried(format)


def _tried() -> str:
    from patina.pipeline.codec.fingerprint import codec_fingerprint  # it brings all codecs and degradations

    return codec_fingerprint()


Stats: TypeAlias = Sequence[tuple[str, int, int, int, int]]
"""Files by path, each with inode, size and times of change of contents and of inode (ns)."""


def state_of(stats: Stats) -> str:
    """A digest of all of it, with these files; "" where it cannot be told, as on systems without /proc."""
    try:
        told = [
            sys.version,
            list(os.uname()),
            Path("/proc/sys/kernel/random/boot_id").read_text("ascii"),
            _processor(),
            _abilities(),
            sorted(os.fsdecode(one) for one in _first_environment() if one.startswith(AT_START)),
            {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)},
            {name: spec.origin if (spec := find_spec(name)) else None for name in (*LIBRARIES, *OURS)},
            [_stats([path]) for path in MAYBE_THERE],
            stats,
        ]
    except (OSError, ValueError, AttributeError):
        return ""
    return hashlib.sha256(canonical_json(told).encode("utf-8", "surrogateescape")).hexdigest()


def executed_files() -> list[str]:
    """The libraries whose code this process holds, and the modules of `LIBRARIES` and of our own that it has imported;
    none where nothing tells."""
    try:
        maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text("utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    files = {line[5] for line in maps if len(line) == 6 and "x" in line[1] and line[5].startswith("/")}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in LIBRARIES or name.startswith(OURS):
            files.update(filter(None, [getattr(module, "__file__", None)]))
    return sorted(files)


def record_of(fingerprint: str) -> str:
    """What a later process needs to know that this fingerprint still holds; "" where it could not."""
    stats = _stats(executed_files())
    state = state_of(stats) if _are_older(stats) else ""
    files = [path for path, *_ in stats]
    return json.dumps({"fingerprint": fingerprint, "files": files, "state": state}) if state else ""


def _still_holds(record: str) -> str:
    """The fingerprint of a record, if nothing changed since; else ""."""
    try:
        told = json.loads(record)
        fingerprint, files, state = (told[name] for name in ("fingerprint", "files", "state"))
        stats = _stats(files)
        return str(fingerprint) if _are_older(stats) and state == state_of(stats) else ""
    except (ValueError, TypeError, KeyError):
        return ""


def _are_older(stats: Stats) -> bool:
    """Whether no file changed since the process began, nor shortly before: what it has loaded is what lies there. False
    where there are none, or nothing tells."""
    try:
        return bool(stats) and max(max(stat[3:]) for stat in stats) < _begun_ns() - SETTLED_NS
    except (OSError, ValueError, AttributeError):
        return False


def _stats(files: Iterable[str]) -> Stats:
    """No files at all if one of them is gone, was replaced, or lies in an archive."""
    try:
        found = [(path, os.stat(path)) for path in files]  # noqa: PTH116  hundreds of them, before anything is planned
    except (OSError, ValueError):
        return ()
    return [(path, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found]


def _first_environment() -> list[bytes]:
    return Path("/proc/self/environ").read_bytes().split(b"\0")


def _processor() -> dict[str, str]:
    """What the kernel says of the first processor. Raises ValueError if that tells nothing."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123  a line at a time: there may be hundreds of them
        found = dict(_fields(file))
    if not found:
        raise ValueError("expected lines such as `flags` in /proc/cpuinfo, found none")
    return found


def _fields(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if not line.strip():
            return
        name, _, value = line.partition(":")
        if name.strip() in PROCESSOR:
            yield name.strip(), value.strip()


def _abilities() -> dict[str, bool]:
    """What NumPy found that the processor can do by asking it, which emulators answer too."""
    core = getattr(np, "_core", None)
    return dict(getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {}))


def _begun_ns() -> int:
    """When this process began, ns since the epoch. Raises OSError, ValueError where nothing tells."""
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    since_boot = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return time.time_ns() - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_boot)
