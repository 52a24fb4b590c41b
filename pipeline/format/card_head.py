"""The YAML head of a dataset's card: what the hub and `datasets` read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from patina.pipeline.format.layout import IMAGES, SHARDS, SPLITS
from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.format.sample_schema import FIELDS, Field
from patina.pipeline.format.statistics import Statistics
from patina.pipeline.markdown import markdown_line
from patina.synth.compose import JOINT

HUB_LICENCES = frozenset((
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "c-uda", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1",
    "lgpl-3.0", "mit", "mpl-2.0", "odbl", "odc-by", "ofl-1.1", "pddl", "unlicense", "wtfpl", "zlib",
))  # fmt: skip
"""Licence identifiers that the hub knows, of those that photographs have."""

SPDX = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl", "cc0": "cc0-1.0"}
"""SPDX identifiers and usual names that the hub spells otherwise."""

SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7),
         ("10M<n<100M", 10**8), ("100M<n<1B", 10**9), ("1B<n<10B", 10**10))  # fmt: skip
"""The hub's words for the number of samples, each with the number that it stays below."""


def head(manifest: Manifest, truth: Sequence[str], numbers: Statistics) -> list[str]:
    """The head's lines, with those that part it from the body. `truth` names the truth maps that occur."""
    degradations = sorted({shard.degradation for shard in manifest.shards})
    total = sum(shard.count for shard in manifest.shards)
    labels = sorted({name for label in numbers.labels.counts for name in label.split(JOINT)})
    tags = dict.fromkeys(["image-restoration", "image-degradation", "image-text", *labels, "webdataset", "croissant"])
    size = next((name for name, below in SIZES if total < below), "n>1T" if total >= 10**12 else "other")
    lines = ["---", f"pretty_name: {_yaml(manifest.recipe['name'])}", "language:", "- en"]
    lines += _licence_lines(numbers)
    lines += ["task_categories:", "- image-to-image", "- image-to-text", "size_categories:", f"- {size}"]
    lines += ["tags:", *(f"- {_yaml(tag)}" for tag in [*tags, "patina"])]
    return [*lines, *_configs(manifest, degradations, truth), "---"]


def _licence_lines(numbers: Statistics) -> list[str]:
    """The licence as the hub reads it: one that it knows, if all photographs have that."""
    stated = sorted({rights.licence for rights in numbers.rights})
    known = {hub_licence(licence) for licence in stated}
    if len(known) == 1 and "" not in known:
        return [f"license: {known.pop()}"]
    if stated in ([], [""]):
        return ["license: unknown"]
    one = stated[0] if len(stated) == 1 else "several-licences"
    details = "; ".join(licence or "not stated" for licence in stated)
    name = re.sub(r"[^a-z0-9.]+", "-", one.lower()).strip("-") or "other"
    return ["license: other", f"license_name: {_yaml(name)}", f"license_details: {_yaml(details)}"]


def _configs(manifest: Manifest, degradations: Sequence[str], truth: Sequence[str]) -> list[str]:
    splits = [s for s in SPLITS if any(shard.split == s for shard in manifest.shards)]
    lines = ["configs:"]
    for config in ["default", *degradations]:
        have = [
            s
            for s in splits
            if config == "default" or any((e.split, e.degradation) == (s, config) for e in manifest.shards)
        ]
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in have:
            own = [e for e in manifest.shards if (e.split, e.degradation) == (split, config)]
            paths = [f"{SHARDS}/{split}-{pattern}" for pattern in _patterns(config, own)]
            told = [f"    path: {paths[0]}"] if len(paths) == 1 else ["    path:", *(f"    - {path}" for path in paths)]
            lines += [f"  - split: {split}", *told]
    lines.append("dataset_info:")
    for config in ["default", *degradations]:
        lines += [f"- config_name: {config}", "  features:"]
        # `datasets` infers columns from the first samples alone and silently gives None for a member with another
        # extension. So the union is declared: what may be absent is then null, and what is there is never lost.
        for name in (*IMAGES, *(f"{t}.png" for t in truth)):
            lines += [f"  - name: {name}", "    dtype: image"]
        lines += ["  - name: txt", "    dtype: string", "  - name: json"]
        lines += _features(FIELDS, "    ")
        lines += [f"  - name: {name}\n    dtype: string" for name in ("__key__", "__url__")]
    return lines


def _patterns(config: str, shards: Sequence[ShardEntry]) -> list[str]:
    """What finds the shards of an entry in a folder, and at an address, where a digest stands before the suffix."""
    if config == "default":
        return ["*.tar"]
    groups = {bool(shard.group) for shard in shards}
    return [f"????-{config}--*.tar" if grouped else f"????-{config}.*tar" for grouped in sorted(groups)]


def _features(fields: Sequence[Field], indent: str) -> list[str]:
    lines = [f"{indent}struct:"]
    for field in fields:
        lines.append(f"{indent}- name: {field.name}")
        if field.kind == "struct":
            lines += _features(field.fields, indent + "  ")
        elif field.kind == "strings":
            lines.append(f"{indent}  list: string")
        else:
            lines.append(f"{indent}  dtype: {field.kind}")
    return lines


def hub_licence(licence: str) -> str:
    """The hub's identifier for a licence as people write it (`CC BY 4.0`, `CC0-1.0`); empty if it has none."""
    name = re.sub(r"[\s_]+", "-", licence.strip().lower())
    name = SPDX.get(name, re.sub(r"^((?:a|l)?gpl-\d\.\d)-(?:only|or-later)$", r"\1", name))
    return name if name in HUB_LICENCES else ""


def _yaml(value: str) -> str:
    """A text as a YAML scalar in double quotes: JSON's quoting is YAML's for what is printable."""
    return json.dumps(markdown_line(value), ensure_ascii=False)
