"""Photographs restored from file to file: `patina restore`.

    file ─ decode ─► pixels ─ Restorer.look, .restore ─► 8-bit pixels ─ encode ─► file of the same format
             └ EXIF data, colour profile ─────────────────────────────────┘

A file is written whole or not at all, and never over a photograph that was given. One that cannot be read is told and
passed over. A restored photograph depends on its file, the model, the sampler, its steps, the seed and the tiles.
"""

from __future__ import annotations

import io
import os
import re
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from patina.pipeline.codec.decode import FORMATS, MAX_BYTES, SUFFIXES, decode
from patina.pipeline.errors import BadImageError, SourceError
from patina.pipeline.sources.reader import walk
from patina.pipeline.text import printable
from patina.training.checkpoint import write_in_one_step
from patina.training.data import Pixels
from patina.training.errors import CheckpointError, ModelInputError, TrainingError
from patina.training.models.daclip import ClipWeightsError
from patina.training.models.unet import UNet
from patina.training.restorer import Look, Progress, Restorer, Tiling, load_published, load_restorer
from patina.training.samplers import SamplingError
from patina.training.validate import to_bytes

WHOLE = 1_000_000
"""Pixels up to which a network of one pass gets the whole photograph, unless told otherwise."""

TILE, OVERLAP = 512, 32
"""Tiles of larger ones, and of all by a sampler, px."""

REACH = 32
"""Times a U-Net's multiple: tiles of those with attention. 512 px at the published depth, where the lowest level has
64 x 64 positions; a shallower one has more of them, and attention takes the square of their number."""

SMALLEST_TILE = 64
"""Below it little of a photograph is seen at once, and overlaps cost more than they save. px."""

PROFILES = {"RGB": b"RGB ", "L": b"GRAY"}
"""The colours of an ICC profile that fits an image, in its header."""

BARELY = 0.005
"""Shares below it are not named."""

LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432)
"""TIFF's tags that describe a photograph rather than how it is stored."""

LONGEST = 65533
"""Bytes that a JPEG file takes of EXIF data."""

EXIF_FOLDERS = (0x8769, 0x8825)
"""Of the camera, and of the place."""

Told = Callable[["Restored"], None]


@dataclass(frozen=True)
class How:
    """How photographs are restored.

    sampler  of `patina.training.samplers`, steps: its network calls; empty and 0: as the stage has it.
    tile     side, px; 0: never in tiles; None: whole if it is small, see `WHOLE`. overlap: None: 32, or less if tiles
             are small.
    strip    leave EXIF data out. quality: of JPEG, WebP and AVIF files, 1 to 100.
    """

    sampler: str = ""
    steps: int = 0
    seed: int = 0
    tile: int | None = None
    overlap: int | None = None
    strip: bool = False
    quality: int = 95

    def check(self, restorer: Restorer) -> None:
        """Raise ModelInputError if that cannot be done with this restorer."""
        if not restorer.is_diffusion and (self.sampler or self.steps):
            raise ModelInputError(f"{restorer.stage.name} restores in one pass; leave out the sampler and its steps")
        restorer.calls(self.sampler, self.steps)
        if self.seed < 0:
            raise ModelInputError(f"seed {self.seed}; expected 0 or more")
        if self.tile is not None and 0 < self.tile < SMALLEST_TILE:
            raise ModelInputError(f"tiles of {self.tile} px; expected {SMALLEST_TILE} or more, or 0 for none")
        if not 1 <= self.quality <= 100:
            raise ModelInputError(f"quality {self.quality}; expected 1 to 100")
        self.tiling(WHOLE, WHOLE, restorer)

    def tiling(self, height: int, width: int, restorer: Restorer, most: int = 0) -> Tiling:
        """The tiles of a photograph of this size. most: side that memory allows, 0: any."""
        side = self.tile
        if side is None:
            side = 0 if not restorer.is_diffusion and height * width <= WHOLE else usual_tile(restorer)
        overlap = min(OVERLAP, side // 4) if self.overlap is None else self.overlap
        if most and (side == 0 or side > most):
            side, overlap = most, min(OVERLAP if self.overlap is None else self.overlap, most // 4)
        return Tiling(side, overlap)


def usual_tile(restorer: Restorer) -> int:
    """Side of the tiles that suit a network, px."""
    net = restorer.net
    if isinstance(net, UNet) and net.settings.image_context is not None:
        return min(TILE, REACH * net.settings.multiple)
    return TILE


@dataclass(frozen=True)
class Photo:
    """A photograph as it was read.

    image    H x W x 3 uint8 RGB, upright.
    format   of the file to write; mode: RGB, or L of a grey one.
    exif     EXIF block, upright; profile: ICC, fitting `mode`; both may be empty.
    options  of Pillow's writer of that format.
    notes    what the written file lacks, in words.
    """

    image: Pixels
    format: str
    mode: str = "RGB"
    exif: bytes = b""
    profile: bytes = b""
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """What became of a file. words: how much it looked like each degradation, 0 to 1; error: why there is no `out`."""

    source: Path
    out: Path | None
    words: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def line(self) -> str:
        """For any terminal, such as `a.jpg: noisy 93 %, jpeg-compressed 4 % → out/a.jpg, 1.2 s`."""
        name = printable(str(self.source))
        if self.out is None:
            return f"{name}: {self.error}"
        found = spoken(self.words)
        told = f"{name}{': ' if found else ''}{found} → {printable(str(self.out))}, {self.seconds:.1f} s"
        return "; ".join([told, *self.notes])


def spoken(words: Mapping[str, float], most: int = 2) -> str:
    """The likeliest degradations in percent: the first, and others that are not nearly nothing."""
    chosen = [(word, share) for i, (word, share) in enumerate(words.items()) if i == 0 or share >= BARELY]
    return ", ".join(f"{word} {100 * share:.0f} %" for word, share in chosen[:most])


# One photograph


def read_photo(data: bytes) -> Photo:
    """The photograph in an image file, and what of the file goes into the restored one. Raises BadImageError."""
    decoded = decode(data)
    with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        picture.load()  # a PNG's EXIF data may come last
        notes = list(_lost(picture, data))
        written = writable(decoded.format)
        mode = "L" if picture.mode in ("1", "L", "LA", "I") or picture.mode.startswith("I;16") else "RGB"
        profile = picture.info.get("icc_profile") or b""
        if profile and profile[16:20] != PROFILES[mode]:
            profile = b""
            notes.append("its colour profile, of other colours, is left out")
        exif = _tiff_exif(picture) if decoded.format == "TIFF" else picture.info.get("exif") or b""
        upright = upright_exif(exif, *decoded.image.shape[:2])
        if exif and not upright:
            notes.append("its EXIF data cannot be followed and is left out")
        options: dict[str, Any] = {}
        if decoded.format == "TIFF":
            own = picture.info.get("compression", "raw")
            options["compression"] = own if own in LOSSLESS_TIFF else "tiff_adobe_deflate"
        elif decoded.format == "WEBP":
            options["lossless"] = _is_lossless(data)
    return Photo(decoded.image, written, mode, upright, profile, options, tuple(notes))


def writable(format: str) -> str:
    """The format of a restored photograph, by that of its file: the same, or what comes nearest."""
    nearest = {"MPO": "JPEG", "GIF": "PNG"}.get(format, format)
    return nearest if nearest in PIL.Image.SAVE else "PNG"


def _lost(picture: PIL.Image.Image, data: bytes) -> list[str]:
    notes = []
    if _bits(picture, data) > 8:
        notes.append("of its 16 bits a channel, 8 are restored")
    if picture.has_transparency_data:
        notes.append("its alpha channel, opaque everywhere, is left out")
    if picture.format == "MPO":
        notes.append("of its pictures the first is restored")
    elif picture.format != writable(picture.format or ""):
        notes.append(f"written as {writable(picture.format or '')}, not {picture.format}")
    if picture.mode == "CMYK":
        notes.append("written as RGB, not CMYK")
    return notes


def _bits(picture: PIL.Image.Image, data: bytes) -> int:
    """Bits a channel. Pillow opens 16-bit colours as 8-bit ones, so the headers are asked."""
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return int(max(bits) if isinstance(bits, tuple) else bits)
    if picture.format == "PPM":
        head = re.sub(rb"#[^\n]*\n", b" ", data[:1024]).split(maxsplit=4)
        return 16 if len(head) > 3 and head[3].isdigit() and int(head[3]) > 255 else 8
    return 16 if picture.mode.startswith("I") else 8


def _is_lossless(data: bytes) -> bool:
    """Of a WebP file: whether the picture's chunk is a lossless one."""
    place = 12
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        place += 8 + length + length % 2
    return False


def _tiff_exif(picture: PIL.Image.Image) -> bytes:
    """A TIFF has its EXIF data among the tags that say how it is stored: those that describe it, as a block."""
    own, kept = picture.getexif(), PIL.Image.Exif()
    kept.update({tag: own[tag] for tag in DESCRIPTIVE if tag in own})
    for tag in EXIF_FOLDERS:
        if found := own.get_ifd(tag):
            kept[tag] = dict(found)
    return kept.tobytes() if len(kept) else b""


def upright_exif(exif: bytes, height: int, width: int) -> bytes:
    """The same EXIF block for an upright image of this size, with `Exif` before it; empty if it cannot be followed.

    Orientation becomes 1 and the sides are set, in place: what a camera's maker keeps there by offsets stays right.
    The preview, which shows the photograph as it was, is unlinked.
    """
    block = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]), "")
    if not order:
        return b""
    try:
        first = struct.unpack_from(order + "I", block, 4)[0]
        inner, end = _set_tags(block, order, first, {0x0112: 1})
        struct.pack_into(order + "I", block, end, 0)
        if inner:
            _set_tags(block, order, inner, {0xA002: width, 0xA003: height})
    except struct.error:
        return b""
    return b"Exif\0\0" + bytes(block)


def _set_tags(block: bytearray, order: str, place: int, values: Mapping[int, int]) -> tuple[int, int]:
    """Set single numbers of the folder of tags at `place`. Returns where the camera's folder lies, 0 if there is none,
    and where this folder ends."""
    inner, entry = 0, place + 2
    for _ in range(struct.unpack_from(order + "H", block, place)[0]):
        tag, kind, count = struct.unpack_from(order + "HHI", block, entry)
        if tag in values and count == 1 and kind in (3, 4) and values[tag] < (1 << 16 if kind == 3 else 1 << 32):
            struct.pack_into(order + ("H" if kind == 3 else "I"), block, entry + 8, values[tag])
        elif tag == EXIF_FOLDERS[0]:
            inner = struct.unpack_from(order + "I", block, entry + 8)[0]
        entry += 12
    return inner, entry


def encode_photo(image: Pixels, photo: Photo, *, quality: int = 95, strip: bool = False) -> tuple[bytes, list[str]]:
    """An image file with the pixels of `image` and the rest of `photo`; and what did not go into it, in words.

    strip  leave EXIF data out. JPEG with full chroma.
    """
    notes, options, exif = [], dict(photo.options), b"" if strip else photo.exif
    if photo.format == "JPEG" and len(exif) > LONGEST:
        exif = b""
        notes.append("its EXIF data is too long for a JPEG file and is left out")
    if photo.format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if photo.format in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    if photo.format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        if photo.profile:
            options["icc_profile"] = photo.profile
        if exif:
            options["exif"] = exif
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(np.ascontiguousarray(image))
    (picture.convert("L") if photo.mode == "L" else picture).save(buffer, photo.format, **options)
    return buffer.getvalue(), notes


class Worker:
    """Restores one photograph after the other, and remembers the largest tile that memory allows."""

    def __init__(self, restorer: Restorer, how: How) -> None:
        """Raises ModelInputError for what the restorer cannot do."""
        how.check(restorer)
        self.restorer, self.how = restorer, how
        self._most = 0

    def calls(self, height: int, width: int) -> int:
        """Network calls that a photograph of this size takes."""
        windows = self.how.tiling(height, width, self.restorer, self._most).windows(height, width)
        return len(windows) * self.restorer.calls(self.how.sampler, self.how.steps)

    def restore(self, image: Pixels, progress: Progress | None = None) -> tuple[Pixels, Look, list[str]]:
        """The restored image, H x W x 3 uint8 as `image` is, what it looked like, and what there is to say.

        Too little memory halves the tiles. Raises TrainingError where the smallest do not fit, SamplingError.
        """
        look, how = self.restorer.look(image), self.how
        height, width = image.shape[:2]
        notes: list[str] = []
        while True:
            tiling = how.tiling(height, width, self.restorer, self._most)
            try:
                restored = self.restorer.restore(
                    image,
                    look=look,
                    seed=how.seed,
                    sampler=how.sampler,
                    steps=how.steps,
                    tiling=tiling,
                    progress=progress,
                )
                return np.ascontiguousarray(to_bytes(restored)), look, notes
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
            self._most = self._smaller(min(tiling.side or max(height, width), max(height, width)))
            notes = [f"in tiles of {self._most} px, for lack of memory"]
            if self.restorer.device.type == "cuda":
                torch.cuda.empty_cache()

    def _smaller(self, side: int) -> int:
        half = side // 32 * 16  # whole multiples, so that networks need not pad
        if half < SMALLEST_TILE:
            raise TrainingError(
                f"too little memory on {self.restorer.device} even for tiles of {side} px; end what else uses it, or "
                "choose another --device"
            )
        return half


def _is_out_of_memory(error: Exception) -> bool:
    """In Python's, CUDA's or the CPU allocator's way."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


# Files


@dataclass(frozen=True)
class Errand:
    """A file to restore, and where it goes. height, width: as its header claims, 0 if it has none."""

    source: Path
    out: Path
    height: int = 0
    width: int = 0


def errands(paths: Sequence[Path], out: Path) -> list[Errand]:
    """The photographs in `paths`, files or folders, and where below `out` they go: a folder's with its sub-folders.

    Only headers are read. What lies below `out` already is nobody's input. Raises SourceError, before anything is done,
    for a path that is not there, a folder without photographs, and where a file would take another's place.
    """
    if out.exists() and not out.is_dir():
        raise SourceError(f"--out: expected a folder, found a file at {printable(str(out))}")
    found: dict[tuple[str, Path], Path] = {}
    for path in paths:
        for source, name in _photographs(path, out):
            found.setdefault((os.path.realpath(source), name), source)
    made = [_errand(source, out / name) for (_, name), source in found.items()]
    _check_places(made)
    return made


def _photographs(path: Path, out: Path) -> list[tuple[Path, Path]]:
    """Each file, and its name below the output folder."""
    if path.is_file():
        return [(path, Path(path.name))]
    if not path.is_dir():
        what = "is neither a file nor a folder" if path.exists() else "there is no such file or folder"
        raise SourceError(f"{printable(str(path))}: {what}; expected photographs, or folders of them")
    own, others = out.resolve(), 0
    inside = path.resolve() in own.parents
    files = []
    for name in walk(str(path), "photographs"):
        file = Path(name)
        if inside and (place := file.parent.resolve()) and (place == own or own in place.parents):
            continue
        if file.suffix.lower() in SUFFIXES and file.is_file():
            files.append((file, file.relative_to(path)))
        else:
            others += 1
    if not files:
        beside = f" among {others} other files" if others else ""
        raise SourceError(f"{printable(str(path))}: expected photographs in this folder, found none{beside}")
    return sorted(files)


def _errand(source: Path, out: Path) -> Errand:
    try:
        with PIL.Image.open(source, formats=FORMATS) as picture:
            found, (width, height) = picture.format or "", picture.size
    except Exception:  # codecs raise all kinds; reading the file will tell the reason
        return Errand(source, out)
    written = writable(found)
    usual = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif")}.get(written, ())
    if written != found and out.suffix.lower() not in usual:
        out = out.with_suffix({"JPEG": ".jpg", "PNG": ".png"}[written])
    elif found == "PPM" and out.suffix.lower() == ".pbm":
        out = out.with_suffix(".pgm")
    return Errand(source, out, height, width)


def _check_places(made: Sequence[Errand]) -> None:
    """Raise SourceError where a file would be written over an input, or two to one place."""
    inputs = {_identity(errand.source): errand.source for errand in made}
    takers: dict[Path, Path] = {}
    for errand in made:
        there = _identity(errand.out)
        if there and there in inputs:
            raise SourceError(
                f"{printable(str(errand.out))} is a photograph that was given; restored ones never replace those, so "
                "choose another --out"
            )
        other = takers.setdefault(errand.out, errand.source)
        if other != errand.source:
            raise SourceError(
                f"{printable(str(other))} and {printable(str(errand.source))} would both become "
                f"{printable(str(errand.out))}; restore them into different folders"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def restore_files(
    paths: Sequence[Path],
    out: Path,
    restorer: Restorer,
    how: How | None = None,
    *,
    progress: Progress | None = None,
    told: Told | None = None,
) -> list[Restored]:
    """Restore photographs, or folders of them, into the folder `out`.

    progress  in network calls, of all photographs together. told: of each file as soon as it is done.

    A file that cannot be read or restored has its `error` in the result. Raises, before anything is done, SourceError
    and ModelInputError; later CheckpointError for a place that takes no files, TrainingError for lack of memory.
    """
    worker = Worker(restorer, how or How())
    todo = errands(paths, out)
    calls = [worker.calls(e.height, e.width) if e.height else 1 for e in todo]
    meter = _Meter(progress, sum(calls))
    done = []
    for errand, count in zip(todo, calls, strict=True):
        result = _restored(errand, worker, meter.part(count))
        meter.finish(count)
        done.append(result)
        if told:
            told(result)
    return done


class _Meter:
    """Joins the progress of photographs. Where one takes more calls than it should, its share stays as planned."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total = progress, total
        self._before = self._told = 0

    def part(self, count: int) -> Progress:
        return lambda done, of: self._tell(self._before + count * done // of)

    def finish(self, count: int) -> None:
        self._before += count
        self._tell(self._before)

    def _tell(self, done: int) -> None:
        if self._progress and done > self._told:
            self._told = done
            self._progress(done, self._total)


def _restored(errand: Errand, worker: Worker, progress: Progress) -> Restored:
    start = time.monotonic()
    try:
        if (size := errand.source.stat().st_size) > MAX_BYTES:
            raise BadImageError(f"has {size / 1e9:,.1f} GB, more than any photograph")
        photo = read_photo(errand.source.read_bytes())
        image, look, notes = worker.restore(photo.image, progress)
        data, left_out = encode_photo(image, photo, quality=worker.how.quality, strip=worker.how.strip)
    except (BadImageError, OSError, ModelInputError, SamplingError) as error:
        told = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        return Restored(errand.source, None, seconds=time.monotonic() - start, error=printable(told))
    write_photo(errand.out, data)
    notes = [*photo.notes, *notes, *left_out]
    return Restored(errand.source, errand.out, look.words, time.monotonic() - start, tuple(notes))


def write_photo(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or as it was before. Raises CheckpointError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{printable(str(path.parent))}: no folder can be made here ({error.strerror}); choose another --out"
        ) from error
    write_in_one_step(path, lambda temporary: temporary.write_bytes(data))


# Models


def load_model(model: Path, *, steering: Path | None = None, stage: str = "", device: str = "") -> Restorer:
    """The restorer of a run, a stage's folder, a model.safetensors, or a published .pth, .pt or .ckpt file.

    steering  the published file that steers a published restorer. device: such as `cuda:0`; empty: a GPU if there is
              one, else the CPU.
    Raises CheckpointError, StageError, ModelInputError.
    """
    place = usable_device(device)
    if not model.exists():
        raise CheckpointError(f"{model}: no such file or folder; give a run, a stage of it or a model file")
    try:
        if model.is_dir() or model.suffix == ".safetensors":
            if steering:
                raise ModelInputError(f"{model} finds in its run what steers it; leave out --steering {steering}")
            return load_restorer(model, stage=stage, device=place)
        if stage:
            raise ModelInputError(f"{model} is one model, not a run; leave out --stage {stage}")
        return load_published(model, steering, device=place)
    except ClipWeightsError as error:
        raise CheckpointError(f"{model}: {error}") from error


def usable_device(named: str) -> torch.device:
    """The device of that name. Raises ModelInputError if there is none such."""
    if not named:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelInputError(f"--device {named} cannot be used ({reason}); leave it out, or give cpu") from error
    return device
