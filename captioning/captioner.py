"""The protocol that every captioner follows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

LOOKED_UP_AT_ONCE = 16  # photographs in a batch of a captioner without a model

# Format characters without a look of their own. An override of direction (U+202E) shows other words than there are, and
# tags (U+E0000 on) hide whole sentences.
UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
JOINERS = "\u200c\u200d"


class CaptionError(ValueError):
    """A captioner that cannot work as it is set, or here. Says what was found, what was expected and what to do.

    Raised when the captioner is made, or by `prepare`, before any work starts; while it works, only by what stops all
    of it, such as a worker that died. What ails one photo is its Caption's problem instead.
    """


@dataclass(frozen=True, slots=True)
class Photo:
    """One clean image to be captioned.

    digest  SHA-256 of the image file's bytes, hexadecimal: what the image is.
    name    its path relative to the source's folder, with forward slashes.
    folder  the source's folder, as a string; `folder/name` is the file.
    load    decodes it when a captioner needs pixels: H×W×3 uint8 RGB.
    width, height  pixels, and mean: the mean level of R, G and B, 0..255: known without decoding.
    caption the one that the source itself brings (a table's column, an archive's .txt member), as written; "" for none.
    """

    digest: str
    name: str
    folder: str
    load: Callable[[], NDArray[np.uint8]]
    width: int = 0
    height: int = 0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    caption: str = ""


@dataclass(frozen=True)
class Run:
    """How a captioner runs, and never what it says (in float32; in less, a tie may fall otherwise in another batch).

    batch    photographs that a model sees at once; 0: as many as suit the device.
    devices  where it runs, as torch names them (`cuda:0`, `cpu`), one replica of the model on each: a device that is
             named twice has two. Empty: all CUDA devices, or the CPU where there is none.
    threads  that decode and prepare photographs ahead of each replica, one each at a time; 0: as many as suit.

    Raises CaptionError for a number or a name that cannot be.
    """

    batch: int = 0
    devices: tuple[str, ...] = ()
    threads: int = 0

    def __post_init__(self) -> None:
        for name, number in (("batch", self.batch), ("threads", self.threads)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise CaptionError(f"{name}: expected a whole number from 0, found {number!r}")
        if not isinstance(self.devices, tuple) or not all(isinstance(d, str) and d for d in self.devices):
            raise CaptionError(f"devices: expected names such as ('cuda:0', 'cuda:1'), found {self.devices!r}")


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption, one line without control characters; or, where there is none, the problem in words and no text.

    missing  whether nobody wrote one, for which a fallback is there; else what was written cannot be used.
    more     further captions of the image, in their order, for further variants of its samples.
    """

    text: str
    problem: str = ""
    missing: bool = field(default=False, compare=False)
    more: tuple[str, ...] = ()


class Captioner(Protocol):
    """Makes sentences about images. A dataclass whose fields are its settings, with defaults.

    name     what recipes call it.
    version  raised whenever the same image may get another sentence under the same settings.
    stored   whether its captions are worth keeping in the store: true for a model, false where looking one up or
             making one costs less than the store does (and where an edited caption file must show at once).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    stored: ClassVar[bool]

    def settings(self) -> dict[str, Any]:
        """All that decides the sentences beside the image, as JSON; with name and version it is the fingerprint."""
        ...

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """One caption for each of `photos`, in their order. A problem with one photo never raises.

        Where one is not `stored`, `photos` are all that there are: what is written for one of them is not another's.
        """
        ...

    def classes(
        self, widths: NDArray[np.int64], heights: NDArray[np.int64], means: NDArray[np.float64]
    ) -> NDArray[np.int64] | None:
        """Where a caption follows from a photo's size in pixels and its mean levels (N×3) alone: N numbers, equal only
        for photos that `caption` has the same words for, so that of a million photos it is asked about a few. None for
        a captioner that looks at more."""
        del widths, heights, means
        return None

    def notes(self, photos: Sequence[Photo], others: Iterable[str] = ()) -> list[str]:
        """What there is to know of all photographs of a dataset together, such as rows of a table that fit none; it
        stops nothing. `others`: names of files that were set aside."""
        del photos, others
        return []

    def prepare(self, run: Run) -> None:
        """Make ready for `stream`. Raises CaptionError, before any work, if the captioner cannot run here."""
        del run  # what needs no model can run anywhere

    def stream(self, photos: Sequence[Photo], run: Run) -> Generator[list[tuple[int, Caption]]]:
        """Captions with the index of their photo, a batch as soon as it is made, batches in any order."""
        size = run.batch or LOOKED_UP_AT_ONCE
        for start in range(0, len(photos), size):
            yield list(enumerate(self.caption(photos[start : start + size]), start))

    def origin(self) -> str:
        """What a name that may be moved stood for when `prepare` loaded it, such as a commit; "" where none may."""
        return ""

    def release(self) -> None:
        """Give back the memory that `prepare` and `stream` took."""
        del self  # what has no model holds none


def one_line(text: str) -> str:
    """`text` on one line: every run of white space becomes one space, the ends are trimmed.

    Control characters go, and so do characters that nobody sees: marks of direction, zero-width spaces, tags. Joiners
    stay, as Persian and emoji need them, unless there is nothing else.
    """
    spaced = "".join(" " if character.isspace() else character for character in text)
    kept = "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cs", "Co"})
    line = " ".join(UNSEEN.sub("", kept).split())
    return line if line.strip(JOINERS + " ") else ""


def is_folder(written: str) -> bool:
    """Whether a setting that may be a name on a hub or a path is a path: it starts with `.` or `~`, or is absolute."""
    return written.startswith((".", "~")) or Path(written).is_absolute()
