"""The protocol of an export format, and what the formats share: samples, and lists that grow by the line."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

from patina.pipeline.errors import DamagedShardError, PipelineError
from patina.pipeline.format.earlier import FIGURES, is_second, is_unmeasured
from patina.pipeline.format.layout import IMAGES, ROLES, SHARDS
from patina.pipeline.format.manifest import Manifest, SampleRow, ShardEntry
from patina.pipeline.format.sample_schema import checked
from patina.pipeline.format.shard import BLOCK, MEMBER, Span
from patina.pipeline.format.untrusted import facts_of, is_finite
from patina.synth.compose import JOINT


class ExportError(PipelineError, ValueError):
    """An export that cannot be made. Says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Sample:
    """One sample as it is exported; every body is the stored member's own bytes.

    fact     the contents of its KEY.json. lq, gt: suffix (png or jpg) and bytes. maps: PNG files by name, which are
             truth maps and intermediate targets (`mask`, `step-1`).
    members  all of them by extension, in the order in which they lie in their shard.
    source   its row of sources.parquet.
    """

    row: SampleRow
    fact: Mapping[str, Any] = field(repr=False)
    lq: tuple[str, bytes] = field(repr=False)
    gt: tuple[str, bytes] = field(repr=False)
    maps: Mapping[str, bytes] = field(repr=False)
    members: Mapping[str, bytes] = field(repr=False)
    source: Mapping[str, Any] = field(repr=False)

    @property
    def degradations(self) -> list[str]:
        """The degradations that it underwent, in order."""
        return self.row.degradation.split(JOINT)

    def places(self) -> dict[str, Span]:
        """Where each member's own bytes lie in the shard, without header and padding, by extension."""
        found, offset = {}, self.row.offset
        for name, body in self.members.items():
            found[name] = Span(offset + BLOCK, len(body))
            offset += BLOCK + len(body) + -len(body) % BLOCK
        return found


@dataclass(frozen=True)
class View:
    """The part of the dataset in `folder` that is exported: some of its shards, in the manifest's order."""

    folder: Path
    manifest: Manifest
    shards: tuple[ShardEntry, ...]

    def path(self, shard: ShardEntry) -> Path:
        """The file of a shard."""
        return self.folder / SHARDS / shard.name

    @property
    def digest(self) -> str:
        """SHA-256 of the shards' names and bytes: what names this part of the dataset."""
        lines = "".join(f"{shard.sha256}  {shard.name}\n" for shard in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def shared(self) -> frozenset[str]:
        """Labels that several of the dataset's entries have, such as `noisy` of noisy-15 and noisy-50. Of the whole
        dataset: a file's name does not depend on what else is exported."""
        entries: dict[str, set[str]] = {}
        for entry in {shard.degradation for shard in self.manifest.shards}:
            for label in {entry, self.manifest.identities.get(entry, {}).get("label", entry)}:  # pairs: the former
                entries.setdefault(label, set()).add(entry)
        return frozenset(label for label, found in entries.items() if len(found) > 1)


class Writer(Protocol):
    """Writes one export into its folder."""

    def add(self, sample: Sample) -> Callable[[], None]:
        """Write what can be written in any order; several threads may do so side by side. Gives what is then left to be
        done, which one thread calls in the samples' order."""
        ...

    def close(self) -> None:
        """Finish all files. Called once, after an error too."""
        ...


class Format(Protocol):
    """One way to lay a dataset out for others. A frozen dataclass whose fields are its settings, with defaults.

    name     its name on the command line.
    version  raised whenever the same dataset gives other files, so that earlier exports count as stale.
    copies   whether it writes the images anew; False: its files are links to the shards, and indexes of them.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    copies: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export of `view` into the empty `folder`. Raises ExportError where the format cannot hold it."""
        ...


def map_names(view: View) -> list[str]:
    """Names of the truth maps and intermediate targets in the view, from the headers of its shards alone: what can be
    recovered of a pair differs from pair to pair, so no sample speaks for the others. Raises ExportError."""
    found: set[str] = set()
    for shard in view.shards:
        path = view.path(shard)
        try:
            found |= _extensions(path)
        except (OSError, ValueError) as error:
            raise ExportError(f"{path}: cannot be read: {error}; `patina build` makes it again") from None
    return sorted(name.removesuffix(".png") for name in found - {*IMAGES, "txt", "json"})


def _extensions(path: Path) -> set[str]:
    """All that follows a key in a shard's members. Skips their bodies; says nothing about a damaged shard, whose digest
    tells. Raises OSError, ValueError."""
    found = set()
    with path.open("rb") as file:
        while (header := file.read(BLOCK)).strip(b"\0"):
            name, size = header[:100].rstrip(b"\0").decode("ascii"), int(header[124:135], 8)
            member = MEMBER.fullmatch(name)
            if not member or member[2].startswith("."):  # names of maps become names of folders and columns
                raise ValueError(f"expected KEY.extension, found {name[:60]!r}")
            found.add(member[2])
            file.seek(size + -size % BLOCK, os.SEEK_CUR)
    return found


def sample_of(row: SampleRow, members: Mapping[str, bytes], source: Mapping[str, Any]) -> Sample:
    """A sample from its members by extension. Raises DamagedShardError unless it has one LQ and one GT."""
    found = {role: [name for name in names if name in members] for role, names in ROLES.items()}
    if any(len(names) != 1 for names in found.values()):
        raise DamagedShardError(f"{row.shard} {row.key}: expected one LQ and one GT, found {', '.join(members)}")
    (lq,), (gt,) = found["lq"], found["gt"]
    rest = {name: body for name, body in members.items() if name not in {lq, gt, "txt", "json"}}
    return Sample(
        row=row,
        fact=_facts(row, members),
        lq=(lq, members[lq]),
        gt=(gt.removeprefix("gt."), members[gt]),
        maps={name.removesuffix(".png"): body for name, body in rest.items()},
        members=members,
        source=source,
    )


def _facts(row: SampleRow, members: Mapping[str, bytes]) -> dict[str, Any]:
    """KEY.json as patina writes it. Raises DamagedShardError for any other."""
    where = f"{row.shard} {row.key}"
    fact = facts_of(members, where)
    try:
        checked(fact)
    except TypeError as error:
        raise DamagedShardError(f"{where}: {error}; run `patina check`") from None
    if is_unmeasured(fact):  # no number, which JSON and Parquet write as null
        fact = {**fact, "severity": {**fact["severity"], **dict.fromkeys(FIGURES)}}
    if not is_finite(fact):
        raise DamagedShardError(f"{where}: its .json holds what is no number; run `patina check`")
    return fact


def stem_of(sample: Sample, shared: frozenset[str]) -> str:
    """Its files' name without suffix, unique among samples of one label and split: the key. In the second version of
    the stored format keys named no entry, so that theirs stands behind them where several entries share the label."""
    row = sample.row
    return f"{row.key}-{row.entry}" if row.degradation in shared and is_second(row.key) else row.key


def put(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it where they are missing."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def put_pair(folder: Path, sample: Sample, place: str, stem: str, names: tuple[str, str]) -> tuple[str, str]:
    """Write LQ and GT into `place`/{names} below `folder`; gives both paths relative to it. Their stems are equal, so
    that a reader which pairs two sorted listings meets them in the same order, whatever their suffixes."""
    lq, gt = (f"{place}/{name}/{stem}.{kind}" for name, (kind, _) in zip(names, (sample.lq, sample.gt), strict=True))
    put(folder / lq, sample.lq[1])
    put(folder / gt, sample.gt[1])
    return lq, gt


def cells(values: Sequence[str], delimiter: str = ",") -> str:
    """One line of a table: quoted where need be, quotes doubled (RFC 4180), ends with a line feed."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow(values)
    return line.getvalue()


class Lists:
    """Text files below `folder` that grow by the line: UTF-8, line feeds, opened when the first line comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    def add(self, name: str, line: str, head: str = "") -> None:
        """Append a line, which brings its line feed, to the file `name`; `head` goes before the first one."""
        if name not in self._files:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[name] = path.open("w", encoding="utf-8", newline="")
            self._files[name].write(head)
        self._files[name].write(line)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
