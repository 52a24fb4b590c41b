"""The names of a dataset's files and folders."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
SOURCES = "sources.parquet"
SHARDS = "shards"

ROLES = {"lq": ("png", "jpg"), "gt": ("gt.png", "gt.jpg")}
"""Extensions of a sample's two images; it has one of each role."""

IMAGES = (*ROLES["lq"], *ROLES["gt"])


def shard_name(split: str, degradation: str, bucket: int) -> str:
    """The file name of a shard."""
    return f"{split}-{degradation}-{bucket:04d}.tar"


PRIVATE = ".patina"
VERSIONS = "versions"
CURRENT = "current"
STORES = ("scan.sqlite", "captions.sqlite")
