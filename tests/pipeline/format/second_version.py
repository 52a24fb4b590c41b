"""A dataset of the second version of the stored format, from one of this version: what an earlier release would have
built of the same recipe."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from patina.pipeline.format.layout import MANIFEST, SAMPLES, SHARDS
from patina.pipeline.format.manifest import load_manifest, samples_schema
from patina.pipeline.format.shard import pack, read_shard, write_shard
from patina.pipeline.hashing import canonical_json, file_sha256
from patina.pipeline.plan.planning import PlannedBuild
from tests.pipeline.making import make_plain

INT32 = ("variant", "x", "y", "width", "height")


def make_second(out: Path, planned: PlannedBuild) -> None:
    """Rewrite the dataset in `out`, which `planned` is a plan of, as one of the second version; a plain folder, its
    private one is lost."""
    make_plain(out)
    manifest = load_manifest(out)
    assert manifest is not None
    contents = {s.key: _content(s) for source in planned.wanted.sources for e in _entries(planned, source)
                for s in planned.wanted.samples(source, e)}  # fmt: skip
    body = json.loads((out / MANIFEST).read_text())
    rows: list[dict[str, Any]] = []
    shards = []
    for shard, told in zip(manifest.shards, body["shards"], strict=True):
        name = f"{shard.split}-{shard.degradation}-{shard.bucket:04d}.tar"
        packed, facts = [], []
        for key, members, _ in read_shard(out / SHARDS / shard.name):
            fact = json.loads(members["json"])
            fact["source"] = fact.pop("source_sha256")
            severity = {"ssim": fact["severity"]["structure"], "clip_ssim": fact["severity"]["clip_structure"]}
            unknown = ("structure", "clip_structure", "psnr_y", "ssim_y")
            fact["severity"] = {k: v for k, v in (fact["severity"] | severity).items() if k not in unknown}
            old = key.replace(f"-{shard.degradation.replace('+', '_')}", "", 1)
            fact |= {"schema": 2, "key": old, "fingerprint": contents[key]}
            packed.append(
                pack(old, [(e, canonical_json(fact).encode() if e == "json" else b) for e, b in members.items()])
            )
            facts.append(fact)
        written = write_shard(out / SHARDS / f"{name}.new", packed)
        (out / SHARDS / shard.name).unlink()
        lines = "".join(f"{fact['key']} {fact['fingerprint']}\n" for fact in facts)
        told |= {"name": name, "sha256": written.sha256, "bytes": written.size}
        told["fingerprint"] = hashlib.sha256(lines.encode()).hexdigest()
        shards.append(told)
        for fact, span in zip(facts, written.spans, strict=True):
            rows.append(_row(fact, name, shard.split, span.offset, span.size))
    for path in (out / SHARDS).glob("*.new"):
        path.rename(path.with_suffix(""))
    shards.sort(key=lambda one: one["name"])
    rows.sort(key=lambda row: (row["shard"], row["offset"]))
    _write_samples(out / SAMPLES, rows)
    (out / SHARDS / "sizes.json").write_text(canonical_json({one["name"]: one["count"] for one in shards}))
    lines = "".join(f"{one['sha256']}  {one['name']}\n" for one in shards)
    body |= {"format": 1, "shards": shards, "digest": hashlib.sha256(lines.encode()).hexdigest()}
    body["tables"][SAMPLES] = file_sha256(out / SAMPLES)
    body.pop("sum")
    (out / MANIFEST).write_text(json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    shutil.rmtree(out / ".patina", ignore_errors=True)


def _entries(planned: PlannedBuild, source: Any) -> tuple[str, ...]:
    return (source.degradation,) if source.is_pair else source.entries or tuple(planned.recipe.degradations)


def _content(sample: Any) -> str:
    """A sample's fingerprint in the second version."""
    return hashlib.sha256(sample.pixels.encode() + sample.caption.wording).hexdigest()[:32]


def _row(fact: dict[str, Any], shard: str, split: str, offset: int, size: int) -> dict[str, Any]:
    same = ("key", "entry", "degradation", "variant", "x", "y", "width", "height", "source", "params", "seed",
            "caption", "captioner", "fingerprint", "pixels")  # fmt: skip
    severity, text = fact["severity"], fact["text"]
    return {
        **{name: fact[name] for name in same},
        **{"shard": shard, "split": split, "offset": offset, "size": size},
        **{"psnr": severity["psnr"], "ssim": severity["ssim"], "severity": severity["score"]},
        **{"clip_severity": severity["clip_score"], "sentence": text["sentence"]},
    }


def _write_samples(path: Path, rows: list[dict[str, Any]]) -> None:
    fields = [
        (("source" if f.name == "source_sha256" else f.name), pa.int32() if f.name in INT32 else f.type)
        for f in samples_schema()
        if f.name not in {"psnr_y", "ssim_y"}
    ]
    schema = pa.schema(fields)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
