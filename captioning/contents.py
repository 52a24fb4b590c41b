"""What a local model is: a digest of its files, whatever they lie under."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from patina.captioning.captioner import CaptionError

COUNTED = (".json", ".txt", ".jinja", ".model", ".tiktoken", ".safetensors", ".bin", ".pt", ".pth")  # what models load

_lock = threading.Lock()
_known: dict[tuple[str, int, int, int], str] = {}  # by path, size, mtime and inode


def content_digest(path: str) -> str:
    """SHA-256, in hexadecimal, of a model's file, or of the names and contents of the files of its folder.

    Files are read once a process, and again when their size or time changes. Raises CaptionError if there are none.
    """
    place = Path(path).expanduser()
    try:
        if place.is_file():
            return _file_digest(place)
        files = sorted(p for p in place.iterdir() if p.suffix in COUNTED and p.is_file() and p.name[0] != ".")
        lines = [f"{file.name} {_file_digest(file)}\n" for file in files]
    except OSError as error:
        raise CaptionError(f"the model at {path!r} cannot be read: {error.strerror}; put it there") from None
    if not lines:
        raise CaptionError(f"expected a model's folder, found none of its files ({', '.join(COUNTED)}) in {path!r}")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(file: Path) -> str:
    stat = file.stat()
    key = (str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    with _lock:
        if key not in _known:
            with file.open("rb") as opened:
                _known[key] = hashlib.file_digest(opened, "sha256").hexdigest()
        return _known[key]
