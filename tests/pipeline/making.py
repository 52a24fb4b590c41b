"""What the tests of this folder are made of: pictures out of nothing, a tiny recipe, and a finished dataset's parts."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from patina.pipeline.format.layout import PRIVATE, SHARDS
from patina.pipeline.format.manifest import Manifest, load_manifest, read_sources
from patina.pipeline.format.shard import read_shard
from patina.pipeline.recipe.parse import parse_recipe
from patina.pipeline.recipe.recipe import Recipe
from patina.synth.image import Image


def public_files(out: Path) -> dict[str, Path]:
    """Every file that a reader finds in a dataset's folder, through whatever links, by its name there; what lies in the
    private folder is the builder's own."""
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(out, followlinks=True):
        folders[:] = sorted(name for name in folders if Path(place, name) != out / PRIVATE)
        paths = [Path(place, name) for name in sorted(names)]
        found |= {path.relative_to(out).as_posix(): path for path in paths if path.is_file()}
    return found


def make_plain(out: Path) -> None:
    """Make a dataset what a copy of it is that follows links and leaves the private folder out."""
    plain = out.with_name(f"{out.name}.plain")
    shutil.copytree(out, plain, ignore=lambda _, names: {PRIVATE} & set(names))
    shutil.rmtree(out)
    plain.rename(out)


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image:
    """Something like a photograph, H×W×3: light from one side, objects with edges, and texture on every scale."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.repeat((x * np.cos(angle) + y * np.sin(angle))[..., None], 3, axis=2) * 90 + rng.uniform(90, 130, 3)
    for _ in range(12):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(3, width // 4 + 4)), int(rng.integers(3, height // 4 + 4)))
        colour = (rng.uniform(30, 225) + rng.normal(0, 25, 3)).tolist()
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    for cells, strength in ((4, 30), (9, 22), (20, 16), (45, 10), (100, 6)):  # finer and weaker, as in nature
        shape = (max(2, cells * height // width), cells)
        grid = rng.normal(0, strength, (*shape, 1)) + rng.normal(0, strength / 4, (*shape, 3))
        light += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def save(path: Path, image: Image, **how: Any) -> Path:
    """Write pixels in the format that the suffix names; `how` goes to Pillow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path, **how)
    return path


def photo(path: Path, width: int = 64, height: int = 48, seed: int = 0, **how: Any) -> Path:
    """Write `picture(width, height, seed)` to `path`."""
    return save(path, picture(width, height, seed), **how)


def photos(folder: Path, count: int, width: int = 64, height: int = 48, first: int = 0) -> list[Path]:
    """Write `count` different photographs, `good-000.png` and so on."""
    return [photo(folder / f"good-{i:03d}.png", width, height, first + i) for i in range(count)]


def encoded(image: Image, kind: str, **how: Any) -> bytes:
    """Pixels as the bytes of an image file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **how)
    return buffer.getvalue()


def pixels(data: bytes) -> Image:
    """An image file's pixels as any reader sees them: by Pillow alone, without patina's decoder."""
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert opened.mode in {"RGB", "L"}, "a stored image is plain RGB, a truth map grey"
        return np.array(opened)


def tiny_recipe(folder: Path, **changes: Any) -> Recipe:
    """The photographs in `folder`/photos with noise of σ = 25, whole, in one shard; `changes` replace whole tables."""
    table: dict[str, Any] = {"sources": [{"path": "photos"}], "degradations": {"noisy": {"sigma": 25}}}
    return parse_recipe({**table, **changes}, folder, "tiny")


@dataclass(frozen=True)
class Stored:
    """One sample as it lies in a shard."""

    key: str
    shard: str
    members: Mapping[str, bytes]

    @property
    def lq(self) -> tuple[str, bytes]:
        """Suffix and bytes of the degraded image."""
        return self._one("png", "jpg")

    @property
    def gt(self) -> tuple[str, bytes]:
        """Suffix and bytes of the clean image."""
        suffix, data = self._one("gt.png", "gt.jpg")
        return suffix.removeprefix("gt."), data

    def _one(self, *names: str) -> tuple[str, bytes]:
        found = [(name, self.members[name]) for name in names if name in self.members]
        assert len(found) == 1, f"expected one of {names}, found {list(self.members)}"
        return found[0]


@dataclass(frozen=True)
class Built:
    """A dataset as it lies on the disk: its manifest, its samples by source name, and what was set aside, by name."""

    manifest: Manifest
    samples: Mapping[str, list[Stored]]
    set_aside: Mapping[str, str]


def read_built(out: Path) -> Built:
    """Read the dataset in `out` from its shards and tables."""
    manifest = load_manifest(out)
    assert manifest is not None
    names = {row["digest"][:16]: row["names"] for row in read_sources(out)}
    samples: dict[str, list[Stored]] = {}
    for shard in manifest.shards:
        for key, members, _ in read_shard(out / SHARDS / shard.name):
            for name in names[key[:16]]:
                samples.setdefault(name, []).append(Stored(key, shard.name, members))
    return Built(manifest, samples, {r["name"]: r["reason"] for r in manifest.set_aside})


def copied(made: Path, place: Path) -> Path:
    """All of a folder that was made once, photographs and datasets, in another one for a test that changes it."""
    return Path(shutil.copytree(made, place, symlinks=True, dirs_exist_ok=True))
