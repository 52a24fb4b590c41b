"""The dataset that all readers get, its exports, and what patina's own tables and members say of it (truth.json)."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from patina.pipeline.builder.build import build
from patina.pipeline.export.run import choose, export
from patina.pipeline.format.manifest import SampleRow, read_members, read_samples
from patina.pipeline.recipe.parse import parse_recipe

EXPORTS = ("parquet", "mds", "litdata", "energon", "webshart")
WORDS: dict[str, Any] = {
    "noisy": {"sigma": 25},
    "noisy-50": {"use": "noisy", "sigma": 50},
    "jpeg-compressed": {"quality": 20},
    "hazy": {},
    "uncompleted": {},
    "hazy+rainy": {"steps": True},
}
SPLIT = {"val": 0.2, "test": 0.2}
BUCKETS = 3
PHOTOGRAPHS = 30
SIZE = (72, 96)


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Something like a photograph, H×W×3: blocks of colour of several sizes, and grain."""
    draw = np.random.Generator(np.random.PCG64(seed))
    height, width = SIZE
    light = np.full((height, width, 3), 120.0)
    for cells, strength in ((2, 45), (6, 30), (24, 14)):
        blocks = draw.normal(0, strength, (cells, cells, 3))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        light += blocks[rows][:, columns]
    return np.clip(np.rint(light + draw.normal(0, 3, light.shape)), 0, 255).astype(np.uint8)


def _kind(number: int) -> str:
    return "jpg" if number % 2 else "png"


def make(folder: Path, storage: dict[str, Any] | None = None) -> Path:
    """Build the dataset below `folder`: PNG and JPEG photographs, and pairs whose LQ is a JPEG. Gives its folder."""
    for i in range(PHOTOGRAPHS):
        kind = "gt" if i >= PHOTOGRAPHS - 3 else "photos"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture(i)).save(folder / kind / f"p{i:02d}.{_kind(i)}")
    (folder / "lq").mkdir(exist_ok=True)
    for path in sorted((folder / "gt").iterdir()):
        PIL.Image.open(path).save(folder / "lq" / f"{path.stem}.jpg", quality=60)
    lines = [{"name": f"p{i:02d}.{_kind(i)}", "caption": f"a made picture, number {i}"} for i in range(PHOTOGRAPHS)]
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    table = {
        "sources": [{"path": "photos"}, {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "snowy"}],
        "captions": {"kind": "sidecar", "path": "captions.jsonl"},
        "degradations": WORDS,
        "split": SPLIT,
        "buckets": BUCKETS,
        **({"storage": storage} if storage else {}),
    }
    build(parse_recipe(table, folder, "readers"), folder / "out")
    return folder / "out"


def export_all(dataset: Path, folder: Path) -> None:
    """Write every export that a reader gets, below `folder`."""
    for name in EXPORTS:
        export(dataset, folder / name, choose(name))


def write_truth(dataset: Path, path: Path) -> None:
    """Write what patina itself says of each sample: of each image the digest of its file's bytes, of its values, and
    its kind."""
    rows = read_samples(dataset)
    samples = [_told(row, read_members(dataset, row)) for row in rows]
    shards: dict[str, int] = {}
    for row in rows:
        shards[row.shard] = shards.get(row.shard, 0) + 1
    path.write_text(json.dumps({"samples": samples, "shards": shards}, indent=1), "utf-8")


def _told(row: SampleRow, members: dict[str, bytes]) -> dict[str, Any]:
    pictures = {name: body for name, body in members.items() if name not in {"txt", "json"}}
    return {
        "key": row.key,
        "split": row.split,
        "shard": row.shard,
        "entry": row.entry,
        "caption": row.caption,
        "severity": row.severity,
        "place": [row.offset, row.size],
        "members": {name: _image(body) for name, body in pictures.items()},
        "facts": hashlib.sha256(members["json"]).hexdigest(),
    }


def _image(body: bytes) -> dict[str, Any]:
    with PIL.Image.open(io.BytesIO(body)) as opened:
        values = np.asarray(opened)
    values = values.astype(np.uint16) if values.dtype.itemsize > 1 else values  # Pillow's 16 bits have two names
    return {
        "bytes": hashlib.sha256(body).hexdigest(),
        "values": hashlib.sha256(repr((values.shape, str(values.dtype))).encode() + values.tobytes()).hexdigest(),
        "bits": 8 * values.dtype.itemsize,
    }
