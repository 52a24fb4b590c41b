"""The pixels of a source, read again and verified."""

from __future__ import annotations

import hashlib

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import PipelineError
from patina.pipeline.redaction import without_secrets
from patina.pipeline.sources import locations
from patina.pipeline.text import printable
from patina.synth.image import Image


def load_clean(path: str, content: str, border: int = 0) -> Image:
    """A clean image's pixels, H×W×3 RGB uint8, less `border` pixels on every side. Raises SourceChangedError,
    BadImageError."""
    return without_border(decode(read_verified(path, content)).image, border)


def without_border(image: Image, border: int) -> Image:
    """The image less `border` pixels on every side, contiguous."""
    return image[border:-border, border:-border].copy() if border else image


def read_verified(path: str, digest: str) -> bytes:
    """A source file's bytes, if they are still those of `digest`. Raises SourceChangedError otherwise."""
    try:
        data = locations.read(path, digest)
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        if locations.is_remote(path):  # what the cache had was damaged, or else the source changed
            data, found = locations.fetch(path)
            if found == digest:
                return data
    except OSError as error:
        if error.errno in locations.OURS:
            raise
        raise SourceChangedError(path, f"{error.strerror or error}") from None
    raise SourceChangedError(path, "its bytes changed after the scan")


class SourceChangedError(PipelineError, RuntimeError):
    """A source changed or vanished while the build was under way; scanning again tells what it is now."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return without_secrets(f"{printable(locations.display_address(self.path))}: {self.what}")
