"""OUT/README.md: the dataset's card, whose YAML head lets `datasets.load_dataset(OUT)` read the shards as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.manifest import SHARDS, Manifest
from pipeline.plan import human_bytes

# `datasets` infers columns from the first samples alone and silently gives None for a member with another extension.
# So the union is declared: what may be absent is then null, and what is there is never lost.
IMAGES = ("png", "jpg", "gt.png", "gt.jpg")
FACTS = {
    "schema": "int64", "key": "string", "entry": "string", "degradation": "string", "degradations": ["string"],
    "params": "string", "seed": "string", "variant": "int64", "source": "string", "content": "string", "x": "int64",
    "y": "int64", "width": "int64", "height": "int64",
    "severity": {
        "psnr": "float64", "ssim": "float64", "residual_mean": "float64", "residual_std": "float64",
        "score": "float64", "word": "string", "clip_psnr": "float64", "clip_ssim": "float64",
        "clip_residual_mean": "float64", "clip_residual_std": "float64", "clip_score": "float64",
        "clip_word": "string",
    },
    "text": {"sentence": "string", "instruction": "string", "prompt": "string"},
    "pixels": "string", "caption": "string", "captioner": "string", "fingerprint": "string",
}  # fmt: skip


def card(manifest: Manifest, truth: Iterable[str]) -> str:
    """The text of OUT/README.md. `truth` names the truth maps that occur."""
    words = sorted({shard.degradation for shard in manifest.shards})
    splits = [s for s in ("train", "val", "test") if any(shard.split == s for shard in manifest.shards)]
    lines = ["---", "configs:"]
    for word in ["default", *words]:
        pattern = "*" if word == "default" else f"{word}-*"
        have = [
            s
            for s in splits
            if word == "default" or any((e.split, e.degradation) == (s, word) for e in manifest.shards)
        ]
        lines += [f"- config_name: {word}", "  data_files:"]
        for split in have:
            lines += [f"  - split: {split}", f"    path: {SHARDS}/{split}-{pattern}.tar"]
    lines.append("dataset_info:")
    for word in ["default", *words]:
        lines += [f"- config_name: {word}", "  features:"]
        for name in (*IMAGES, *(f"{t}.png" for t in sorted(truth))):
            lines += [f"  - name: {name}", "    dtype: image"]
        lines += ["  - name: txt", "    dtype: string", "  - name: json"]
        lines += _features(FACTS, "    ")
        lines += [f"  - name: {name}\n    dtype: string" for name in ("__key__", "__url__")]
    total = sum(s.count for s in manifest.shards)
    size = human_bytes(sum(s.bytes for s in manifest.shards))
    lines += [
        "---",
        "",
        f"# {manifest.recipe['name']}",
        "",
        f"{total:,} image–text–degradation samples from {manifest.sources:,} photographs in {len(manifest.shards)} "
        f"WebDataset shards, {size}. Made by patina; digest `{manifest.digest[:16]}`.",
        "",
        f"| split | {' | '.join(words)} |",
        f"|---|{'---|' * len(words)}",
    ]
    for split in splits:
        counts = [sum(s.count for s in manifest.shards if (s.split, s.degradation) == (split, w)) for w in words]
        lines.append(f"| {split} | {' | '.join(f'{c:,}' for c in counts)} |")
    lines += [
        "",
        "A sample's members: `KEY.png` or `KEY.jpg`, the degraded image (LQ); `KEY.gt.png` or `KEY.gt.jpg`, the clean",
        "one (GT); `KEY.txt`, the caption of the clean image; `KEY.json`, degradation, parameters, seed, source, tile",
        "and PSNR; truth maps such as `KEY.mask.png` (255 = kept, 0 = hole) where a degradation has one.",
        "",
        "```python",
        'datasets.load_dataset("PATH/OF/THIS/FOLDER", "default", split="train")',
        "```",
        "",
    ]
    licences = {(s.get("licence", ""), s.get("attribution", "")) for s in manifest.recipe["sources"]}
    named = sorted((licence, who) for licence, who in licences if licence or who)
    if named:
        lines += [
            "Sources:",
            "",
            *(f"- {licence or 'no licence stated'}{f': {who}' if who else ''}" for licence, who in named),
            "",
        ]
    return "\n".join(lines)


def _features(facts: Mapping[str, object], indent: str) -> list[str]:
    lines = [f"{indent}struct:"]
    for name, kind in facts.items():
        lines.append(f"{indent}- name: {name}")
        if isinstance(kind, dict):
            lines += _features(kind, indent + "  ")
        elif isinstance(kind, list):
            lines.append(f"{indent}  list: {kind[0]}")
        else:
            lines.append(f"{indent}  dtype: {kind}")
    return lines
