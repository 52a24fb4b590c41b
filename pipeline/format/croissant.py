"""OUT/croissant.json: the dataset in Croissant 1.1 (JSON-LD), so that tools find its files, columns and types.

Shards, tables and manifest with their SHA-256; a record set for each of the two tables, for the splits and the labels
that occur, and for each degradation one of its LQs, one of its GTs and one of each truth map, each with split, caption
and label: a regex takes the key from the members' names, by which samples.parquet is joined. It holds no date but the
recipe's `published`, since the same dataset shall have the same bytes, whenever it is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from patina.pipeline.format.card import TRUTH, public
from patina.pipeline.format.card_head import hub_licence
from patina.pipeline.format.layout import MANIFEST, ROLES, SAMPLES, SHARDS, SOURCES, SPLITS, key_part
from patina.pipeline.format.manifest import Manifest, ShardEntry, samples_schema, sources_schema
from patina.pipeline.format.sample_schema import MEANINGS
from patina.pipeline.format.statistics import Statistics
from patina.pipeline.text import counted

Json: TypeAlias = dict[str, Any]
Member: TypeAlias = tuple[str, str, Sequence[str]]
"""Images of a kind: name, meaning and extensions."""

CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context of Croissant 1.1: the short names of its terms."""

CONFORMS = "http://mlcommons.org/croissant/1.1"

COLUMNS = {
    "shard": f"file name of its shard, below {SHARDS}/",
    "offset": "where its members begin in the shard, bytes",
    "size": "how many bytes they have there, headers and padding included",
    "split": "train, val or test",
    **MEANINGS,
}
"""Columns of samples.parquet, explained."""

SOURCE_COLUMNS = {
    "digest": "SHA-256 of the photograph's bytes; for a pair, of its label and both files' digests",
    "content": "SHA-256 of the clean image's bytes",
    "lq_digest": "SHA-256 of a pair's degraded image; empty for clean photographs",
    "lq_name": "file name of a pair's degraded image",
    "names": "every relative name under which these bytes were found",
    "split": "train, val or test",
    "degradation": "a pair's label; empty for clean photographs",
    "set": "what the source that it came from is called",
    "licence": "as stated by the recipe or the source; empty if nobody did",
    "attribution": "whom to name",
    "phash": "perceptual hash of the clean image, 64 bits in hex",
    "bytes": "size of its file, for a pair of both",
    "width": "px, after the file's rotation was applied",
    "height": "px, after the file's rotation was applied",
    "similarity": "of the clean image and its caption, by a CLIP model; null where it was not measured",
}
"""Columns of sources.parquet, explained."""

DIGEST = "[0-9a-f]" * 16
VARIANT = f"-v{'[0-9]' * 3}"

MEMBERS = (
    ("lq", "LQ, the degraded image", ROLES["lq"]),
    ("gt", "GT, the clean image", ROLES["gt"]),
)
"""Images of every sample: name, meaning and extensions."""

TOLD = ("split", "caption", "degradation")
"""Columns of samples.parquet that stand beside each image."""


def key_globs(entry: str, tile: tuple[int, int] | None = (5, 5)) -> tuple[str, ...]:
    """Globs of the keys of an entry's samples: `*.png` would take maps for images.

    tile  digits that a tile's y and x may have at the most; None where nothing is cut.
    """
    sides = [["[0-9]" * n for n in range(5, most + 1)] for most in tile] if tile else []
    places = [f"-y{y}x{x}" for y in sides[0] for x in sides[1]] if tile else [""]
    return tuple(f"{DIGEST}-{key_part(entry)}{place}{variant}" for place in places for variant in ("", VARIANT))


def croissant(
    manifest: Manifest, sizes: Mapping[str, int], numbers: Statistics, truth: Mapping[str, Sequence[str]]
) -> str:
    """The text of croissant.json: sorted keys, two spaces; the same for the same dataset.

    sizes  bytes of each of the manifest's tables, by file name. truth: names of each entry's truth maps.
    """
    entries = sorted({shard.degradation for shard in manifest.shards})
    members = {entry: [*MEMBERS, *(_map(name) for name in truth.get(entry, ()))] for entry in entries}
    total = sum(shard.count for shard in manifest.shards)
    body = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": str(manifest.recipe["name"]),
        "description": f"{counted(total, 'image–text–degradation sample')} from "
        f"{counted(manifest.sources, 'photograph')}: a clean image, "
        f"the same degraded ({', '.join(entries)}), a caption, and what was done to it.",
        "version": f"1.0.0+{manifest.digest[:16]}",
        "inLanguage": "en",
        "keywords": ["image restoration", "image degradation", *entries],
        "license": _licences(numbers),
        "citeAs": f"{manifest.recipe['name']}, built by patina, digest {manifest.digest}",
        "isLiveDataset": False,
        **({"datePublished": manifest.recipe["published"]} if manifest.recipe.get("published") else {}),
        "distribution": [*_files(manifest, sizes), *_file_sets(manifest, members, _digits(manifest, numbers))],
        "recordSet": [
            _table("samples", "One record a sample.", SAMPLES, samples_schema(), COLUMNS, ("shard", "key")),
            _table(
                "sources", "One record a photograph or pair.", SOURCES, sources_schema(), SOURCE_COLUMNS, ("digest",)
            ),
            _list("splits", "cr:Split", "Parts of the dataset.", [s for s in SPLITS if s in numbers.counts]),
            _list("labels", "sc:Enumeration", "Labels of degradations.", sorted(numbers.labels.counts)),
            *(_images(entry, *member) for entry in entries for member in members[entry]),
        ],
    }
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _map(name: str) -> Member:
    """A truth map, or an intermediate target of a composite, as a member."""
    meaning, _ = TRUTH.get(name.rpartition("-")[2], ("the image after a part of a composite", ""))
    return name, meaning, (f"{name}.png",)


def _digits(manifest: Manifest, numbers: Statistics) -> tuple[int, int] | None:
    """Digits that a tile's y and x may have in keys."""
    if not manifest.recipe.get("tiles"):
        return None
    sides = numbers.sources.sides
    widest, highest = (max((side[i] for side in sides), default=0) for i in (0, 1))
    return max(5, len(str(highest))), max(5, len(str(widest)))


def _list(name: str, kind: str, what: str, values: Sequence[str]) -> Json:
    """A record set of texts that stand in it."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": what,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/name",
                "name": "name",
                "description": "as in samples.parquet",
                "dataType": "sc:Text",
            }
        ],
        "data": [{f"{name}/name": value} for value in values],
    }


def _licences(numbers: Statistics) -> list[str]:
    """Every licence that is stated; as its SPDX page's address where the hub knows it."""
    stated = sorted({rights.licence for rights in numbers.rights if rights.licence})
    known = {licence: hub_licence(licence) for licence in stated}
    addresses = [f"https://spdx.org/licenses/{_spdx(known[one])}" if known[one] else public(one) for one in stated]
    return list(dict.fromkeys(addresses)) or ["not stated"]


def _spdx(licence: str) -> str:
    """An SPDX identifier from the hub's."""
    names = {"odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0", "pddl": "PDDL-1.0", "mit": "MIT", "apache-2.0": "Apache-2.0"}
    return names.get(licence, licence.upper())


def _files(manifest: Manifest, sizes: Mapping[str, int]) -> list[Json]:
    """The manifest, the tables and every shard."""
    text = manifest.to_json().encode("utf-8", "backslashreplace")
    parquet = "application/x-parquet"
    own = hashlib.sha256(text).hexdigest()
    return [
        _file(MANIFEST, "recipe, shards, totals, inputs set aside, versions", "application/json", own, len(text)),
        *(
            _file(name, what, parquet, manifest.tables[name], sizes[name])
            for name, what in ((SAMPLES, "one row a sample"), (SOURCES, "one row a photograph or pair"))
        ),
        *(
            _file(
                f"{SHARDS}/{s.name}",
                f"{counted(s.count, 'sample')}, {s.degradation}, {s.split}",
                "application/x-tar",
                s.sha256,
                s.bytes,
            )
            for s in manifest.shards
        ),
    ]


def _file(path: str, what: str, kind: str, sha256: str, size: int) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "description": what,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _file_sets(manifest: Manifest, members: Mapping[str, Sequence[Member]], tile: tuple[int, int] | None) -> list[Json]:
    """The members of each degradation's shards, by kind."""
    shards: dict[str, list[ShardEntry]] = {entry: [] for entry in members}
    for shard in manifest.shards:
        shards[shard.degradation].append(shard)
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}-files-{entry}",
            "name": f"{name}-files-{entry}",
            "description": f"{what}, in all shards of {entry}",
            "containedIn": [{"@id": f"{SHARDS}/{shard.name}"} for shard in shards[entry]],
            "encodingFormat": ["image/png", "image/jpeg"],
            "includes": [f"{key}.{extension}" for key in key_globs(entry, tile) for extension in extensions],
        }
        for entry, own in members.items()
        for name, what, extensions in own
    ]


def _table(name: str, what: str, file: str, schema: pa.Schema, columns: Mapping[str, str], key: Sequence[str]) -> Json:
    """A record set of a Parquet file's columns."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": what,
        "key": [{"@id": f"{name}/{column}"} for column in key],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column.name}",
                "name": column.name,
                "description": columns.get(column.name, column.name),
                **_type(column.type),
                "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
            }
            for column in schema
        ],
    }


def _type(kind: pa.DataType) -> Json:
    """A column's type in Croissant's words."""
    if pa.types.is_list(kind):
        return {**_type(kind.value_type), "isArray": True, "arrayShape": "-1"}
    if pa.types.is_integer(kind):
        return {"dataType": "sc:Integer"}
    return {"dataType": "sc:Float" if pa.types.is_floating(kind) else "sc:Text"}


def _images(entry: str, name: str, what: str, _: Sequence[str]) -> Json:
    """The record set of one image of each of a degradation's samples, with its key, and what samples.parquet tells of
    that sample.

    LQ and GT are two record sets with equal keys: Croissant joins columns as they are, and not what a regex finds in
    two file names.
    """
    own, files = f"{name}-{entry}", {"fileSet": {"@id": f"{name}-files-{entry}"}}
    table = {"fileObject": {"@id": SAMPLES}}
    return {
        "@type": "cr:RecordSet",
        "@id": own,
        "name": own,
        "description": f"{what}, of every sample of {entry}. Keys as in samples.parquet, in its rows of this entry.",
        "key": {"@id": f"{own}/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{own}/key",
                "name": "key",
                "description": COLUMNS["key"],
                "dataType": "sc:Text",
                "source": {
                    **files,
                    "extract": {"fileProperty": "filename"},
                    "transform": {"regex": r"^([\w-]+)\."},
                },
                "references": {**table, "extract": {"column": "key"}},
            },
            {
                "@type": "cr:Field",
                "@id": f"{own}/{name}",
                "name": name,
                "description": what,
                "dataType": "sc:ImageObject",
                "source": {**files, "extract": {"fileProperty": "content"}},
            },
            *(
                {
                    "@type": "cr:Field",
                    "@id": f"{own}/{column}",
                    "name": column,
                    "description": COLUMNS[column],
                    "dataType": "sc:Text",
                    "source": {**table, "extract": {"column": column}},
                }
                for column in TOLD
            ),
        ],
    }
