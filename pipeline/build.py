"""Makes one shard: the only place where images, degradations and captions meet."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2

from patina.pipeline.codec import Decoded, codec_fingerprint, decode, encode_png, is_out_of_memory, keep_freed_memory
from patina.pipeline.manifest import SampleRow, ShardEntry
from patina.pipeline.plan import SCHEMA, WantedSample, Worded
from patina.pipeline.recipe import canonical_json
from patina.pipeline.recovered import recover
from patina.pipeline.shard import (
    DamagedShardError,
    Members,
    Span,
    file_sha256,
    pack,
    read_shard,
    read_span,
    unpack,
    write_shard,
)
from patina.pipeline.source import Source, read_verified, without_border
from patina.synth.degradation import Degradation, Place
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.severity import at_clip_size, measure
from patina.synth.words import parts_of, text_of


class BuildError(RuntimeError):
    """A build, or other work on a dataset, that cannot go on. Says what was found and what to do; the dataset is as it
    was before."""


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


@dataclass(frozen=True)
class Copy:
    """Where a sample lies already: a shard's path and the place in it."""

    path: str
    span: Span


@dataclass(frozen=True)
class ShardJob:
    """All that is needed to make one shard, on any machine that sees the sources and the dataset's folder.

    same         copies of samples that are wholly as wanted, by fingerprint.
    same_pixels  copies of samples that lack only their present caption, by the digest of what decides their images.
    old_shards   SHA-256 of every shard that is copied from, by path.
    """

    split: str
    word: str
    bucket: int
    fingerprint: str
    samples: tuple[WantedSample, ...] = field(repr=False)
    degradation: Degradation | None
    same: Mapping[str, Copy] = field(repr=False)
    same_pixels: Mapping[str, Copy] = field(repr=False)
    old_shards: Mapping[str, str] = field(repr=False)
    staging: str
    codec: str

    @property
    def name(self) -> str:
        """File name of the shard."""
        return ShardEntry(self.split, self.word, self.bucket, "", "", 0, 0).name


@dataclass(frozen=True)
class ShardResult:
    """A shard that lies in the staging folder, ready to be published.

    seconds and megapixels are those of synthesis alone, for the estimate of the next plan.
    """

    entry: ShardEntry
    rows: tuple[SampleRow, ...] = field(repr=False)
    staged: str
    synthesised: int = 0
    captioned: int = 0
    copied: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0


def build_shard(job: ShardJob, progress: Callable[[int], None] | None = None) -> ShardResult:
    """Make one shard in the staging folder, or find it there finished by an earlier run.

    Samples that exist already are copied as bytes, once their old shard's digest was verified; the rest is made.
    `progress` is called with 1 after every sample. Raises SourceChangedError, OSError, BuildError.
    """
    staged = Path(job.staging) / f"{job.name}.{job.fingerprint[:16]}"
    earlier = _finished(staged, job)
    if earlier:
        if progress:
            progress(len(job.samples))
        return earlier
    if codec_fingerprint() != job.codec:
        raise BuildError(
            f"this worker's image codecs give other bytes (fingerprint {codec_fingerprint()}) than those of the plan "
            f"({job.codec}); install the same versions of pillow and isal on every machine"
        )
    cv2.setNumThreads(1)  # shards are built side by side
    keep_freed_memory()
    maker = _Maker(job)
    facts: list[dict[str, Any]] = []

    def packed() -> Iterator[bytes]:
        for sample in job.samples:
            data, fact = maker.sample(sample)
            facts.append(fact)
            yield data
            if progress:
                progress(1)

    # its own: a worker that its scheduler took for dead may still write the same shard
    temporary = staged.with_name(f"{staged.name}.{secrets.token_hex(4)}.tmp")
    half = temporary.with_name(f"{temporary.stem}.json.tmp")
    try:
        written = write_shard(temporary, packed())
        entry = ShardEntry(
            job.split, job.word, job.bucket, job.fingerprint, written.sha256, written.size, len(job.samples)
        )
        rows = tuple(
            _row(sample.key, fact, span, job.name, job.split)
            for sample, fact, span in zip(job.samples, facts, written.spans, strict=True)
        )
        _put(temporary, staged)
        body = json.dumps({"entry": asdict(entry), "rows": [asdict(row) for row in rows]})
        half.write_text(f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}", "utf-8")
        _put(half, staged.with_name(staged.name + ".json"))  # last: an index stands for a shard that is whole
    except Exception as error:
        for path in (temporary, half):  # on a full disk, what is half written is in the way of the rest
            path.unlink(missing_ok=True)
        if not is_out_of_memory(error):
            raise
        sample = job.samples[min(len(facts), len(job.samples) - 1)]
        size = f"{sample.tile[2]}×{sample.tile[3]} px of {sample.source.names[0]}"
        raise BuildError(f"{job.name}: too little memory for {size}; {LESS_MEMORY}") from error
    return ShardResult(
        entry, rows, str(staged), maker.synthesised, maker.captioned, maker.copied, maker.seconds, maker.megapixels
    )


def _put(half: Path, final: Path) -> None:
    if final.is_dir():  # nothing replaces a folder, and none of ours is called so
        shutil.rmtree(final)
    half.replace(final)


def _finished(staged: Path, job: ShardJob) -> ShardResult | None:
    """The shard, if an earlier run left it whole in the staging folder."""
    index = staged.with_name(staged.name + ".json")
    try:
        digest, _, text = index.read_text("utf-8").partition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        body = json.loads(text)
        entry = ShardEntry(**body["entry"])
        if entry.fingerprint != job.fingerprint or file_sha256(staged) != entry.sha256:
            return None
        return ShardResult(entry, tuple(SampleRow(**row) for row in body["rows"]), str(staged), copied=entry.count)
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Maker:
    """Makes the samples of one job; remembers the last source, since its tiles and variants follow one another."""

    def __init__(self, job: ShardJob) -> None:
        self._job = job
        self._source = ""
        self._clean: tuple[bytes, Decoded]
        self._degraded: tuple[bytes, Decoded]
        self._sound: dict[str, bool] = {}
        self.synthesised = self.captioned = self.copied = 0
        self.seconds = self.megapixels = 0.0

    def sample(self, sample: WantedSample) -> tuple[bytes, dict[str, Any]]:
        """One packed sample and the contents of its KEY.json: copied, newly captioned, or made."""
        found = self._copy(self._job.same.get(sample.fingerprint))
        if found:
            data, members = found
            self.copied += 1
            return data, json.loads(members["json"])
        found = self._copy(self._job.same_pixels.get(sample.pixels))
        if found:
            _, members = found
            fact = {**json.loads(members["json"]), "key": sample.key}
            fact |= _worded(sample, json.loads(fact["params"]), fact["severity"])
            kept = [(e, body) for e, body in members.items() if e not in {"txt", "json"}]
            self.captioned += 1
            return pack(sample.key, _ordered(kept, sample.caption, fact)), fact
        start = time.thread_time()
        images, fact = self._make(sample)
        data = pack(sample.key, _ordered(images, sample.caption, fact))
        self.seconds += time.thread_time() - start
        self.megapixels += sample.tile[2] * sample.tile[3] / 1e6
        self.synthesised += 1
        return data, fact

    def _copy(self, copy: Copy | None) -> tuple[bytes, dict[str, bytes]] | None:
        """A sample's bytes and members from an old shard, unless that shard is not what was written any more."""
        if copy is None:
            return None
        if copy.path not in self._sound:
            try:
                self._sound[copy.path] = file_sha256(Path(copy.path)) == self._job.old_shards[copy.path]
            except OSError:
                self._sound[copy.path] = False
        if not self._sound[copy.path]:
            return None
        data = read_span(Path(copy.path), copy.span)
        return data, unpack(data, Path(copy.path).name)[1]

    def _make(self, sample: WantedSample) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
        self._load(sample.source)
        own, decoded = self._clean
        clean, whole = _cut(without_border(decoded.image, sample.source.border), sample.tile)
        whole = whole and not sample.source.border
        gt = (decoded.suffix, own) if whole and decoded.suffix else ("png", encode_png(clean))
        params: Mapping[str, Any] = {}
        truth: list[tuple[str, bytes]] = []
        if sample.source.is_pair:
            own, decoded = self._degraded
            degraded, whole = _cut(decoded.image, sample.tile)
            lq = (decoded.suffix, own) if whole and decoded.suffix else ("png", encode_png(degraded))
            recovered = recover(sample.label, sample.source.lq_name, degraded, clean)
            params = {**recovered.params, **sample.source.params}
            truth = [(f"{name}.png", encode_png(values)) for name, values in recovered.truth.items()]
        else:
            degradation = self._job.degradation
            assert degradation is not None, "a job with clean sources has its degradation"
            params = degradation.draw(Rng(sample.seed), clean, _place(sample))
            result = degradation.apply(clean, params)
            degraded = result.image
            lq = result.file or ("png", encode_png(degraded))
            maps = {**result.truth, **result.steps}
            truth = [(f"{name}.png", encode_png(values)) for name, values in maps.items()]
        x, y, width, height = sample.tile
        severity = severity_facts(clean, degraded)
        fact = {
            "schema": SCHEMA,
            "key": sample.key,
            "entry": sample.entry,
            "degradation": sample.label,
            "degradations": list(sample.words),
            "params": canonical_json(params),
            "seed": sample.seed,
            "variant": sample.variant,
            "source": sample.source.digest,
            "content": sample.source.content,
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "severity": severity,
            "pixels": sample.pixels,
            **_worded(sample, params, severity),
        }
        return [(lq[0], lq[1]), (f"gt.{gt[0]}", gt[1]), *truth], fact

    def _load(self, source: Source) -> None:
        if self._source == source.digest:
            return
        data = read_verified(source.path, source.content)
        self._clean = (data, decode(data))
        if source.is_pair:
            data = read_verified(source.lq, source.lq_digest)
            self._degraded = (data, decode(data))
        self._source = source.digest


def _worded(sample: WantedSample, params: Mapping[str, Any], severity: Mapping[str, Any]) -> dict[str, Any]:
    """What KEY.json says in words, and the fingerprint that covers it."""
    caption = sample.caption
    return {
        "text": text_of(parts_of(sample.label, params), severity["score"], sample.pixels).facts(),
        "caption": caption.text,
        "captioner": caption.captioner,
        "fingerprint": sample.fingerprint,
    }


def _ordered(images: list[tuple[str, bytes]], caption: Worded, fact: Mapping[str, Any]) -> Members:
    """LQ, GT, caption, facts, truth maps: the order of the stored format."""
    return [
        *images[:2],
        ("txt", caption.text.encode()),
        ("json", canonical_json(fact).encode()),
        *images[2:],
    ]


def _cut(image: Image, tile: tuple[int, int, int, int]) -> tuple[Image, bool]:
    """A tile of an image, contiguous, and whether it is the whole image."""
    x, y, width, height = tile
    whole = (width, height) == (image.shape[1], image.shape[0])
    return (image if whole else image[y : y + height, x : x + width].copy()), whole


def _place(sample: WantedSample) -> Place:
    looks = sample.source.looks
    return Place(sample.source.names[0], *sample.tile, looks.width, looks.height)


def _row(key: str, fact: Mapping[str, Any], span: Span, shard: str, split: str) -> SampleRow:
    same = ("entry", "variant", "x", "y", "width", "height", "source", "params", "seed")
    more = ("caption", "captioner", "fingerprint", "pixels")
    severity = fact["severity"]
    return SampleRow(
        key=key,
        shard=shard,
        offset=span.offset,
        size=span.size,
        split=split,
        degradation=fact["degradation"],
        psnr=severity["psnr"],
        ssim=severity["ssim"],
        severity=severity["score"],
        clip_severity=severity["clip_score"],
        sentence=fact["text"]["sentence"],
        **{name: fact[name] for name in (*same, *more)},
    )


def severity_facts(clean: Image, degraded: Image) -> dict[str, Any]:
    """What KEY.json says of severity: measured at full size, and at the 224 px that CLIP sees."""
    full = measure(clean, degraded)
    small = measure(at_clip_size(clean), at_clip_size(degraded))
    return {
        **asdict(full),
        "word": full.word,
        **{f"clip_{name}": value for name, value in asdict(small).items()},
        "clip_word": small.word,
    }


def rows_of_shard(path: Path, split: str) -> list[SampleRow]:
    """The rows of samples.parquet for one shard, read from the shard itself. Raises DamagedShardError."""
    return [row_of(key, members, span, path.name, split) for key, members, span in read_shard(path)]


def row_of(key: str, members: Mapping[str, bytes], span: Span, shard: str, split: str) -> SampleRow:
    """The row of samples.parquet for one sample, from its KEY.json. Raises DamagedShardError."""
    try:
        return _row(key, json.loads(members["json"]), span, shard, split)
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedShardError(f"{shard}: {key}.json is missing or not as written ({error})") from None
