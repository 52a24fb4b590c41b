"""One source becomes the samples of one degradation."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from isal.isal_zlib import crc32

from patina.pipeline.builder.job import Copy, ShardJob, stamp_of
from patina.pipeline.codec.decode import Decoded, decode
from patina.pipeline.codec.png import encode_png, png_pieces
from patina.pipeline.disk_errors import OPEN
from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.earlier import FIGURES, facts_now, is_unmeasured
from patina.pipeline.format.layout import ROLES, SCHEMA
from patina.pipeline.format.manifest import SampleRow
from patina.pipeline.format.sample_schema import checked
from patina.pipeline.format.shard import ShardReader, packed, unpack
from patina.pipeline.hashing import canonical_json
from patina.pipeline.plan.wanted import AssignedCaption, WantedSample, is_told_as_now
from patina.pipeline.scan.reading import read_verified, without_border
from patina.pipeline.scan.recovered import recover, unknown_maps
from patina.pipeline.scan.source import Source
from patina.synth import figures, severity
from patina.synth.degradation import Place
from patina.synth.image import Image, Map
from patina.synth.rng import Rng
from patina.synth.strips import heed
from patina.synth.words import hole_in, parts_of, text_of

HOLES = ("mask", "uncompleted-mask")
"""The truth maps that say what of a picture is missing: of `uncompleted` alone, and as a part of a composite."""

_log = logging.getLogger(__name__)

Body: TypeAlias = Sequence[bytes] | Image | Map
"""A member: its bytes in pieces, or a picture or a map that is to be encoded as a PNG."""

Member: TypeAlias = tuple[str, Sequence[bytes]]
"""A member's extension, and its bytes in pieces."""


class SourceFiles:
    """The files of a source, read and decoded, and a tile of it; the last ones are kept, since a tile's variants and
    degradations follow one another.

    clean, degraded  bytes and pixels of the clean image and, of a pair, of the degraded one.
    """

    def __init__(self) -> None:
        self._source = ""
        self._files: list[tuple[bytes, Decoded]] = []
        self._tiles: dict[tuple[object, ...], CleanTile] = {}

    @property
    def clean(self) -> tuple[bytes, Decoded]:
        """The clean image's."""
        return self._files[0]

    @property
    def degraded(self) -> tuple[bytes, Decoded]:
        """The degraded image's, of a pair."""
        return self._files[1]

    def load(self, source: Source) -> None:
        """Read what is not there. Raises SourceChangedError, BadImageError, OSError."""
        if self._source == source.digest:
            return
        self._source, self._files, self._tiles = "", [], {}  # gone before the next photograph is there
        data = read_verified(source.path, source.content)
        self._files.append((data, decode(data)))
        if source.is_pair:
            data = read_verified(source.lq, source.lq_digest)
            self._files.append((data, decode(data)))
        self._source = source.digest

    def tile(self, source: Source, tile: tuple[int, int, int, int], stored: str) -> CleanTile:
        """A tile of the clean image, its file as `[storage]` says. Raises like `load`."""
        self.load(source)
        key = source.digest, tile, stored
        if key not in self._tiles:
            self._tiles.clear()
            own, decoded = self.clean
            image, whole = _cut(without_border(decoded.image, source.border), tile)
            file = _own(decoded, own, whole and not source.border, stored) or ("png", png_pieces(image))
            self._tiles[key] = CleanTile(image, file)
        return self._tiles[key]


class CleanTile:
    """A clean image, H×W×3 RGB uint8, with suffix and bytes, in pieces, of the file that is stored, and what is
    measured of it."""

    def __init__(self, image: Image, file: tuple[str, Sequence[bytes]]) -> None:
        self.image, self.file = image, file
        self._severity, self._figures = severity.Reference(image), figures.Reference(image)

    def severity_facts(self, degraded: Image) -> dict[str, Any]:
        """What KEY.json says of severity: measured at full size, and at CLIP's 224 px; and papers' figures."""
        full = self._severity.measure(degraded)
        small = self._severity.at_clip_size.measure(severity.at_clip_size(degraded))
        return {
            **vars(full),
            **_papers(self._figures.figures(degraded)),
            "word": full.level,
            **{f"clip_{name}": value for name, value in vars(small).items()},
            "clip_word": small.level,
        }


class MadeSample(NamedTuple):
    """One packed sample, in pieces, and the contents of its KEY.json; for the contents of one that is copied as it is
    stands its row. sum: CRC-32 of its bytes, where it was looked at already."""

    pieces: Iterable[bytes]
    fact: dict[str, Any] | SampleRow
    sum: int | None = None


class SampleMaker:
    """Makes the samples of one job. `files`: the source that is at hand."""

    def __init__(self, job: ShardJob, files: SourceFiles | None = None) -> None:
        self._job = job
        self._files = files or SourceFiles()
        self._sound: dict[str, bool] = {}
        self._rotten: list[Copy] = []
        self._from: tuple[str, ShardReader] | None = None
        self.synthesised = self.captioned = self.copied = 0
        self.seconds = 0.0

    def __enter__(self) -> SampleMaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the old shard that is open, if there is one."""
        if self._from:
            self._from[1].close()
            self._from = None

    def sample(self, sample: WantedSample) -> MadeSample:
        """One sample: copied, newly captioned, or made.

        Images are encoded as their pieces are taken, before the next sample is asked for.
        """
        copy = self._job.same.get(sample.fingerprint)
        if copy and copy.row and (whole := self._bytes(copy)) is not None:
            self.copied += 1
            return MadeSample([whole], copy.row, copy.sum if copy.path not in self._sound else None)
        found = self._copy(copy)
        if found:
            data, members = found
            fact = facts_now(json.loads(members["json"]))
            self.copied += 1
            return MadeSample([data], fact) if fact["schema"] == SCHEMA else _told_anew(sample, members, fact)
        found = self._copy(self._job.same_pixels.get(sample.pixels))
        if found:
            _, members = found
            self.captioned += 1
            return _told_anew(sample, members, facts_now(json.loads(members["json"])))
        start = time.thread_time()
        images, fact = self._make(sample)
        ordered = _ordered(_with_maps(sample, images), sample.caption, fact)
        self.seconds += time.thread_time() - start
        self.synthesised += 1
        return MadeSample(packed(sample.key, self._timed(_encoded(ordered))), fact)

    def _timed(self, members: Iterator[Member]) -> Iterator[Member]:
        """The same; the time that making them takes is counted."""
        while True:
            start = time.thread_time()
            member = next(members, None)
            self.seconds += time.thread_time() - start
            if member is None:
                return
            yield member
            del member  # before the next one is made

    def _copy(self, copy: Copy | None) -> tuple[bytes, dict[str, bytes]] | None:
        """A sample's bytes and members from an old shard, unless that shard is not what was written any more."""
        data = self._bytes(copy) if copy else None
        if copy is None or data is None:
            return None
        return data, unpack(data, Path(copy.path).name)[1]

    def _bytes(self, copy: Copy) -> bytes | None:
        """A sample's bytes from an old shard, unless they are not what was written any more.

        Either the shard's digest says so, or, while its stat is as it was when that was known, the sample's own sum: so
        nothing that rotted on the disk is copied, and nothing is hashed twice.
        """
        if self._rotten and copy in self._rotten:
            return None
        try:
            shard = self._old(copy.path)
            is_trusted = copy.sum is not None and stamp_of(shard.stat()) == self._job.trusted.get(copy.path)
        except OSError as error:
            if error.errno in OPEN:  # it is there, and this is no reason to make its samples again
                raise
            return None
        if is_trusted:
            with suppress(DamagedShardError, OSError):
                data = shard.read(copy.span)
                if crc32(data) == copy.sum:
                    return data
            self._rotten.append(copy)
            key = copy.row.key if copy.row else f"the sample at {copy.span.offset}"
            _log.warning("%s: %s is damaged, and is made anew; run `patina check` on the dataset", copy.path, key)
            return None
        if copy.path not in self._sound:
            try:
                self._sound[copy.path] = shard.sha256() == self._job.old_shards[copy.path]
            except OSError:
                self._sound[copy.path] = False
        return shard.read(copy.span) if self._sound[copy.path] else None

    def _old(self, path: str) -> ShardReader:
        """The old shard, open: samples that follow one another lie in the same one, mostly. Raises OSError."""
        if self._from is None or self._from[0] != path:
            self.close()
            self._from = path, ShardReader(Path(path))
        return self._from[1]

    def _make(self, sample: WantedSample) -> tuple[list[tuple[str, Body]], dict[str, Any]]:
        """LQ, GT and truth maps by their members' names, and what KEY.json says."""
        tile = self._files.tile(sample.source, sample.tile, self._job.storage.gt)
        clean, gt = tile.image, tile.file
        params: Mapping[str, Any] = {}
        truth: list[tuple[str, Body]] = []
        lq: tuple[str, Body]
        masks: list[Map] = []
        if sample.source.is_pair:
            own, decoded = self._files.degraded
            degraded, whole = _cut(decoded.image, sample.tile)
            lq = _own(decoded, own, whole, self._job.storage.lq) or ("png", degraded)
            recovered = recover(sample.label, sample.source.lq_name, degraded, clean)
            params = {**recovered.params, **sample.source.params}
            truth = [(f"{name}.png", [encode_png(values)]) for name, values in recovered.truth.items()]
        else:
            degradation = self._job.degradation
            assert degradation is not None, "a job with clean sources has its degradation"
            params = degradation.draw(Rng(sample.seed), clean, _place(sample))
            result = degradation.apply(clean, params)
            degraded = result.image
            file = result.file if self._job.storage.lq == "own" else None
            lq = (file[0], [file[1]]) if file else ("png", degraded)
            truth = [(f"{name}.png", values) for name, values in {**result.truth, **result.steps}.items()]
            masks = [result.truth[name] for name in HOLES if name in result.truth]
        x, y, width, height = sample.tile
        measured = tile.severity_facts(degraded)
        fact = {
            "schema": SCHEMA,
            "key": sample.key,
            "entry": sample.entry,
            "degradation": sample.label,
            "degradations": list(sample.degradations),
            "params": canonical_json(params),
            "seed": sample.seed,
            "variant": sample.variant,
            "source_sha256": sample.source.digest,
            "content": sample.source.content,
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "severity": measured,
            "pixels": sample.pixels,
            **_text_facts(sample, params, measured, masks),
        }
        return [lq, (f"gt.{gt[0]}", gt[1]), *truth], fact


def _encoded(members: list[tuple[str, Body]]) -> Iterator[Member]:
    """Members as files, each made when it is asked for; `members` is used up, so that none is held any longer."""
    members.reverse()
    while members:
        heed()
        name, body = members.pop()
        pieces = png_pieces(body) if isinstance(body, np.ndarray) else body
        del body
        yield name, pieces
        del pieces


def _own(decoded: Decoded, data: bytes, is_whole: bool, stored: str) -> tuple[str, Sequence[bytes]] | None:
    """Suffix and bytes of a file that is stored as it is; None for one that is encoded anew."""
    if not is_whole or not decoded.suffix or (stored == "png" and decoded.suffix != "png"):
        return None
    return decoded.suffix, [data]


def _told_anew(sample: WantedSample, members: Mapping[str, bytes], fact: Mapping[str, Any]) -> MadeSample:
    """A sample of images that are there already: its key, its words and their fingerprint are as wanted now."""
    told = {**fact, "schema": SCHEMA, "key": sample.key}
    if is_unmeasured(fact) or not is_told_as_now(fact):
        lq, gt = (decode(next(members[e] for e in ROLES[role] if e in members)).image for role in ("lq", "gt"))
        told["severity"] = {**fact["severity"], **_papers(figures.figures(gt, lq))}
    files = [members[f"{name}.png"] for name in HOLES if f"{name}.png" in members]
    masks = (decode(file).image[..., 0] for file in files)
    told |= _text_facts(sample, json.loads(told["params"]), told["severity"], masks)
    kept: list[tuple[str, Body]] = [
        (extension, [body]) for extension, body in members.items() if extension not in {"txt", "json"}
    ]
    ordered = _ordered(_with_maps(sample, kept), sample.caption, told)
    return MadeSample(packed(sample.key, _encoded(ordered)), told)


def _with_maps(sample: WantedSample, images: list[tuple[str, Body]]) -> list[tuple[str, Body]]:
    """The images of a sample with all truth maps that it shall have: of a pair of which none could be recovered, those
    that say so, or none."""
    label = sample.label if sample.source.is_pair else ""
    unknown = {f"{n}.png": [encode_png(m)] for n, m in unknown_maps(label, sample.tile[3], sample.tile[2]).items()}
    if not unknown:
        return images
    known = [
        (name, body) for name, body in images if name not in unknown or unknown[name] != body or name == "clipped.png"
    ]
    if "streaks.png" not in dict(known):
        known = [(name, body) for name, body in known if name not in unknown]
        known += unknown.items() if sample.every_map else ()
    return known


def _text_facts(
    sample: WantedSample, params: Mapping[str, Any], measured: Mapping[str, Any], masks: Iterable[Map]
) -> dict[str, Any]:
    """What KEY.json says in words, and the fingerprint that covers it. `masks`: of what is missing, none or one."""
    caption = sample.caption
    hole = next(map(hole_in, masks), None)
    parts = parts_of(sample.label, params)
    return {
        "text": text_of(parts, measured["score"], sample.pixels, measured["residual_std"], hole).facts(),
        "caption": caption.text,
        "captioner": caption.captioner,
        "fingerprint": sample.fingerprint,
    }


def _ordered(
    images: list[tuple[str, Body]], caption: AssignedCaption, fact: Mapping[str, Any]
) -> list[tuple[str, Body]]:
    """LQ, GT, caption, facts, truth maps: the order of the stored format. Raises TypeError for facts that are not as
    KEY.json's schema says."""
    return [
        *images[:2],
        ("txt", [caption.text.encode()]),
        ("json", [canonical_json(checked(fact)).encode()]),
        *images[2:],
    ]


def _cut(image: Image, tile: tuple[int, int, int, int]) -> tuple[Image, bool]:
    """A tile of an image, contiguous, and whether it is the whole image."""
    x, y, width, height = tile
    whole = (width, height) == (image.shape[1], image.shape[0])
    return (image if whole else image[y : y + height, x : x + width].copy()), whole


def _place(sample: WantedSample) -> Place:
    info = sample.source.info
    return Place(sample.source.names[0], *sample.tile, info.width, info.height)


def severity_facts(clean: Image, degraded: Image) -> dict[str, Any]:
    """What KEY.json says of severity, of two images: see `CleanTile.severity_facts`."""
    return CleanTile(clean, ("", ())).severity_facts(degraded)


def _papers(found: figures.Figures) -> dict[str, float]:
    """The figures that papers print, beside the PSNR that severity has measured already."""
    return {name: getattr(found, name) for name in FIGURES}
