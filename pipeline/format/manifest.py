"""The manifest: the dataset as it is. Written last, replaced in one step, and beside it two tables.

manifest.json     the recipe, the shards with their digests, totals, inputs set aside, versions of what made it
samples.parquet   one row a sample: where it lies, what was drawn, its caption and its severity
sources.parquet   one row a source: digest, names, size, licence, split
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from patina.pipeline.errors import ManifestError
from patina.pipeline.format.earlier import FIGURES, FORMER, figures_unknown
from patina.pipeline.format.layout import KEY, MANIFEST, SAMPLES, SCHEMA, SHARD, SHARDS, SOURCES, shard_name
from patina.pipeline.format.shard import Span, read_span, unpack
from patina.pipeline.format.untrusted import MANIFEST_KINDS, expect_kinds, expect_values, is_text
from patina.pipeline.hashing import canonical_json
from patina.pipeline.redaction import without_secrets, without_secrets_in
from patina.pipeline.tables import read_columns

FORMATS = {1: 2, 2: 3}
"""Versions of manifest.json that can be read, and that of the stored format which each stands for."""


@dataclass(frozen=True)
class ShardEntry:
    """One shard that exists.

    fingerprint  digest of what it was made from (its samples' fingerprints); sha256 is that of the file's bytes.
    group        what tells it from other shards of its entry and bucket, whose samples have other members; mostly "".
    schema       version of the stored format by which it is named.
    """

    split: str
    degradation: str
    bucket: int
    fingerprint: str
    sha256: str
    bytes: int
    count: int
    group: str = ""
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """File name below `shards/`."""
        return shard_name(self.split, self.degradation, self.bucket, self.group, self.schema)


@dataclass(frozen=True)
class SampleRow:
    """One row of samples.parquet. `fingerprint` covers all of the sample, `pixels` all but its caption; `severity` and
    `clip_severity` are scores from 0 to 100."""

    key: str
    shard: str
    offset: int
    size: int
    split: str
    entry: str
    degradation: str
    variant: int
    x: int
    y: int
    width: int
    height: int
    source_sha256: str
    params: str
    seed: str
    psnr: float
    psnr_y: float
    ssim: float
    ssim_y: float
    severity: float
    clip_severity: float
    caption: str
    captioner: str
    sentence: str
    fingerprint: str
    pixels: str

    @property
    def span(self) -> Span:
        """Where its members lie in the shard."""
        return Span(self.offset, self.size)


@cache  # and no constant: most plans read no table, and need no Arrow
def samples_schema() -> pa.Schema:
    """The columns of samples.parquet."""
    return pa.schema(
        [
            *((name, pa.string()) for name in ("key", "shard")),
            *((name, pa.int64()) for name in ("offset", "size")),
            *((name, pa.string()) for name in ("split", "entry", "degradation")),
            *((name, pa.int64()) for name in ("variant", "x", "y", "width", "height")),
            *((name, pa.string()) for name in ("source_sha256", "params", "seed")),
            *((name, pa.float64()) for name in ("psnr", "psnr_y", "ssim", "ssim_y", "severity", "clip_severity")),
            *((name, pa.string()) for name in ("caption", "captioner", "sentence", "fingerprint", "pixels")),
        ]
    )


@cache
def sources_schema() -> pa.Schema:
    """The columns of sources.parquet."""
    return pa.schema(
        [
            *((name, pa.string()) for name in ("digest", "content", "lq_digest", "lq_name")),
            ("names", pa.list_(pa.string())),
            *((name, pa.string()) for name in ("split", "degradation", "set", "licence", "attribution", "phash")),
            *((name, pa.int64()) for name in ("bytes", "width", "height")),
            ("similarity", pa.float64()),
        ]
    )


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says.

    schema      version of the stored format that the dataset has.
    identities  for each degradation, all that its samples' fingerprints share: the reason why a shard is stale.
    captioner   the one that is asked first, and captioners: the fingerprints of all that are asked, by `name@version`.
    set_aside   inputs that could not be used, each with its reason. notes: things to know that stopped nothing.
    leaks       photographs that show the same scene, and what was done about them.
    sources_digest  digest of sources.parquet's contents.
    """

    recipe: Mapping[str, Any]
    recipe_digest: str
    codec: str
    identities: Mapping[str, Mapping[str, Any]]
    captioner: str
    shards: tuple[ShardEntry, ...]
    sources: int
    duplicates: int
    sources_digest: str
    set_aside: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    captioners: Mapping[str, str] = field(default_factory=dict)
    leaks: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """SHA-256 that names the dataset: of its shards' names and bytes, and of nothing else."""
        lines = "".join(f"{s.sha256}  {s.name}\n" for s in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()

    def shard(self, name: str) -> ShardEntry | None:
        """The shard of that file name."""
        return next((s for s in self.shards if s.name == name), None)

    def to_json(self) -> str:
        """The text of manifest.json: sorted keys, two spaces, a line a shard's field; the same for the same dataset."""
        totals: dict[str, dict[str, int]] = {}
        for shard in self.shards:
            counts = totals.setdefault(shard.split, {})
            counts[shard.degradation] = counts.get(shard.degradation, 0) + shard.count
        body = {
            "format": next(number for number, schema in FORMATS.items() if schema == self.schema),
            "digest": self.digest,
            "recipe": without_secrets_in(self.recipe),
            "recipe_digest": self.recipe_digest,
            "codec": self.codec,
            "identities": self.identities,
            "captioner": self.captioner,
            "shards": [{"name": s.name, **_told(s)} for s in self.shards],
            "totals": {
                "samples": sum(s.count for s in self.shards),
                "bytes": sum(s.bytes for s in self.shards),
                "by_split": totals,
            },
            "sources": self.sources,
            "duplicates": self.duplicates,
            "sources_digest": self.sources_digest,
            "set_aside": [{key: without_secrets(text) for key, text in one.items()} for one in self.set_aside],
            "notes": [without_secrets(note) for note in self.notes],
            "captioners": self.captioners,
            "leaks": self.leaks,
            "tables": self.tables,
            "versions": self.versions,
        }
        return _spelt({**body, "sum": _sum(body)})


def _told(shard: ShardEntry) -> dict[str, Any]:
    return {name: value for name, value in asdict(shard).items() if name != "schema"}


def _spelt(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _sum(body: Mapping[str, Any]) -> str:
    """SHA-256 of all that a manifest says but this: a flipped bit in a name or a reason would show nowhere else."""
    text = _spelt({key: value for key, value in body.items() if key != "sum"})
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of the dataset in `folder`; None if there is none yet. Raises ManifestError if it is damaged."""
    path = folder / MANIFEST
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}; `patina build` makes it again") from None
    return parse_manifest(text, str(path))


def parse_manifest(text: str, path: str) -> Manifest:
    """The manifest whose text was found at `path`. Raises ManifestError."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ManifestError(f"{path}: cannot be read: {error}; `patina build` makes it again") from None
    found = body.get("format") if isinstance(body, dict) else type(body).__name__
    if not isinstance(found, int) or found not in FORMATS:
        raise ManifestError(
            f"{path}: expected the format {' or '.join(map(str, FORMATS))}, found {found!r}; read it with the release "
            "of patina that wrote it, or a later one"
        )
    schema = FORMATS[found]
    try:
        expect_kinds(body, MANIFEST_KINDS, path)
    except (TypeError, RecursionError) as error:
        raise ManifestError(f"{error}; it was edited or damaged, and `patina build` makes it again") from None
    if not is_text(body):
        raise ManifestError(f"{path}: expected text, found half of a character; it was edited, and not by patina")
    if other := sorted(body["tables"].keys() - {SAMPLES, SOURCES}):  # names become paths, as those of shards below
        raise ManifestError(f"{path}: {other[0]!r} is no table of a dataset; it was edited, and not by patina")
    try:
        named = ({k: v for k, v in shard.items() if k not in {"name", "schema"}} for shard in body["shards"])
        shards = tuple(ShardEntry(**fields, schema=schema) for fields in named)
        plain = {k: body[k] for k in ("recipe", "recipe_digest", "codec", "identities", "captioner", "sources")}
        rest = {k: body[k] for k in ("duplicates", "sources_digest", "captioners", "leaks", "tables", "versions")}
        manifest = Manifest(
            **plain,
            shards=shards,
            set_aside=tuple(body["set_aside"]),
            notes=tuple(body["notes"]),
            **rest,
            schema=schema,
        )
    except (KeyError, TypeError) as error:
        raise ManifestError(f"{path}: a key is missing or of another kind: {error}") from None
    for shard in shards:  # names become paths, and the dataset may be a stranger's
        if not isinstance(shard.group, str) or not SHARD.fullmatch(shard.name):
            raise ManifestError(f"{path}: {shard.name!r} is no name of a shard; it was edited, and not by patina")
    if "sum" in body and body["sum"] != _sum(body):  # an earlier release wrote none
        raise ManifestError(
            f"{path}: does not fit its own sum: it was edited or damaged; `patina build` makes it again"
        )
    if manifest.digest != body.get("digest"):
        raise ManifestError(f"{path}: its digest does not fit its list of shards: it was edited or damaged")
    return manifest


def versions() -> dict[str, str]:
    """Versions of all that can change a dataset's bytes, for the manifest."""
    found = {"python": platform.python_version()}
    packages = ("numpy", "opencv-python-headless", "pillow", "isal", "pyarrow")
    for name, package in {"patina": "patina-ir", **{package: package for package in packages}}.items():
        found[name] = _version(package)
    return found


@cache
def _version(package: str) -> str:
    """Asked once, as the answer is parsed out of the package's description: it is that of what this process imports."""
    from importlib.metadata import PackageNotFoundError, version  # where it is used: it brings mail and sockets

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def samples_table(rows: Iterable[SampleRow]) -> pa.Table:
    """Rows as a table of samples_schema()."""
    rows = list(rows)
    return pa.table({name: [getattr(row, name) for row in rows] for name in samples_schema().names}, samples_schema())


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` out of one of a dataset's tables. Raises ManifestError, MemoryError."""
    try:
        table = figures_unknown(read_columns(path, schema, FORMER))
    except MemoryError:  # pyarrow's own is also an ArrowException
        raise
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())  # some of them end in a line feed
        raise ManifestError(f"{path}: cannot be read: {why}; `patina build` makes it again") from None
    expect_values(table, str(path))
    return table


def read_samples(folder: Path, shards: Sequence[str] | None = None) -> list[SampleRow]:
    """Rows of samples.parquet, of all shards or of those named, by shard and offset. None there: no rows."""
    table = read_samples_table(folder, shards)
    rows: list[dict[str, Any]] = table.to_pylist()
    if rows and math.isnan(rows[0]["psnr_y"]):  # of the second version; one object, so that rows of it are equal
        rows = [row | dict.fromkeys(FIGURES, math.nan) for row in rows]
    return [SampleRow(**row) for row in rows]


def read_members(folder: Path, row: SampleRow) -> dict[str, bytes]:
    """A sample's members by extension, from the dataset in `folder`. Raises DamagedShardError, OSError."""
    return unpack(read_span(folder / SHARDS / row.shard, row.span), row.shard)[1]


def read_samples_table(folder: Path, shards: Sequence[str] | None = None) -> pa.Table:
    """As `read_samples`, as a table of samples_schema(). Raises ManifestError."""
    path = folder / SAMPLES
    if not path.exists():
        return samples_table(())
    table = read_table(path, samples_schema())
    import pyarrow.compute as pc  # where it is used: it takes longer than a plan of a few photographs

    for column, rule in (("key", KEY), ("shard", f"^{SHARD.pattern}$")):  # they become paths, as a stranger wrote them
        if not pc.all(pc.match_substring_regex(table[column], rule), min_count=0).as_py():
            raise ManifestError(f"{path}: its column {column!r} holds what patina never writes; do not use it")
    return table if shards is None else table.filter(pc.is_in(table["shard"], pa.array(list(shards), pa.string())))


def write_samples(path: Path, folder: Path, kept: Sequence[str], made: Iterable[SampleRow]) -> None:
    """Write samples.parquet to `path`: the rows of `kept` shards as they stand in `folder`, and the `made` ones."""
    import pyarrow.parquet as pq  # where it is used: it brings all file systems

    table = pa.concat_tables([read_samples_table(folder, kept), samples_table(made)])
    pq.write_table(table.sort_by([("shard", "ascending"), ("offset", "ascending")]), path, compression="zstd")


def write_sources(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write sources.parquet to `path`."""
    import pyarrow.parquet as pq  # where it is used: it brings all file systems

    rows = list(rows)  # they may be made anew whenever they are looked at
    columns = {name: [row[name] for row in rows] for name in sources_schema().names}
    pq.write_table(pa.table(columns, sources_schema()), path, compression="zstd")


def read_sources(folder: Path) -> list[dict[str, Any]]:
    """Rows of sources.parquet, in digest order. Raises ManifestError."""
    rows: list[dict[str, Any]] = read_table(folder / SOURCES, sources_schema()).to_pylist()
    return rows


def read_sides(folder: Path) -> dict[str, str]:
    """The split of each source by its digest; nothing where the table is not there or damaged."""
    try:
        table = read_table(folder / SOURCES, sources_schema())
    except ManifestError:
        return {}
    return dict(zip(table["digest"].to_pylist(), table["split"].to_pylist(), strict=True))


class SourceRows(dict[str, dict[str, Any]]):
    """Rows of sources.parquet by digest. Asking for one that is not there raises ManifestError."""

    def __missing__(self, digest: str) -> dict[str, Any]:
        raise ManifestError(f"{SOURCES} lacks the source {digest[:64]}; `patina build` makes it again")


def sources_by_digest(folder: Path) -> SourceRows:
    """The sources of a dataset. Raises ManifestError."""
    return SourceRows((row["digest"], row) for row in read_sources(folder))


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of rows' contents, whatever the file format does."""
    return texts_digest(map(canonical_json, rows))


def texts_digest(texts: Iterable[str]) -> str:
    """As `rows_digest`, of rows that are canonical JSON already."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


class NoDatasetError(ManifestError):
    """A folder that holds no dataset."""


def dataset_folder(path: Path) -> Path:
    """`path`, if it holds a dataset. Raises NoDatasetError if not, ManifestError for a damaged one."""
    if not (path / MANIFEST).exists():
        raise NoDatasetError(f"{path}: expected a patina dataset, found no {MANIFEST}; build one with `patina build`")
    load_manifest(path)
    return path
