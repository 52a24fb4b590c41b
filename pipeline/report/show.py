"""One sample's whole story: from which photograph, what was done to it, where it lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import SampleRow, read_members, read_samples, read_sources, sources_by_digest
from patina.pipeline.format.untrusted import facts_of, params_of
from patina.pipeline.text import human_bytes, nearest
from patina.pipeline.versions.version import called


def find_samples(folder: Path, query: str) -> list[SampleRow]:
    """The samples whose key begins with `query`, or whose photograph has that name. Raises ManifestError if none."""
    rows = read_samples(folder)
    found = [row for row in rows if row.key.startswith(query)]
    if found:
        return found
    sources = read_sources(folder)
    digests = {s["digest"] for s in sources if any(query in {n, Path(n).name, Path(n).stem} for n in s["names"])}
    found = [row for row in rows if row.source_sha256 in digests]
    if not found:
        names = [row.key for row in rows] + [name for source in sources for name in source["names"]]
        hint = nearest(query, names).partition("known:")[0].strip() or "`samples.parquet` lists all keys"
        raise ManifestError(
            f"{called(folder)}: no sample's key begins with {query!r} and no photograph has this name; {hint}"
        )
    return found


def _parameter_lines(params: Mapping[str, Any]) -> list[str]:
    """Parameters for people: a line, of a composite one for each part; KEY.json has them in full."""
    if "parts" in params:
        return [f"{name}: {line}" for name, part in params["parts"] for line in _parameter_lines(part)]
    return [", ".join(f"{name} {_value(value)}" for name, value in params.items()) or "none are known"]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} {_value(inner)}' for name, inner in value.items())}}}"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "–"


def _word(fact: Mapping[str, Any], name: str) -> str:
    """A severity's word, which the table does not repeat."""
    severity = fact.get("severity")
    return str(severity.get(name, "unknown")) if isinstance(severity, dict) else "unknown"


def story(folder: Path, row: SampleRow, extract: Path | None = None) -> str:
    """All that is known of a sample, as text of a line each; with `extract`, its files are written there too."""
    source = sources_by_digest(folder)[row.source_sha256]
    members = read_members(folder, row)
    fact = facts_of(members, f"{row.shard} {row.key}")
    words = {name: _word(fact, name) for name in ("word", "clip_word")}
    files = ", ".join(f"{row.key}.{name} ({human_bytes(len(body))})" for name, body in members.items())
    lines = {
        "key": row.key,
        "photograph": ", ".join(source["names"]) + (f", degraded: {source['lq_name']}" if source["lq_name"] else ""),
        "licence": ", ".join(filter(None, (source["licence"], source["attribution"]))) or "not stated",
        "source": row.source_sha256,
        "split": row.split,
        "tile": f"{row.width}×{row.height} at ({row.x}, {row.y}) of {source['width']}×{source['height']} px",
        "caption": f"{row.caption}   [{row.captioner}]",
        "degradation": row.degradation + (f", variant {row.variant}" if row.variant else ""),
        "parameters": f"\n{' ':12} ".join(_parameter_lines(params_of(row.params, f"{row.shard} {row.key}"))),
        "seed": row.seed or "none: the degraded image came with the clean one",
        "in words": row.sentence,
        "severity": f"{row.severity:.0f} of 100, {words['word']}; at 224 px {row.clip_severity:.0f}, "
        f"{words['clip_word']}",
        "PSNR, SSIM": _figures(row),
        "shard": f"{SHARDS}/{row.shard}, {row.size} bytes from {row.offset}",
        "files": files,
        "fingerprint": row.fingerprint,
    }
    if extract is not None:
        extract.mkdir(parents=True, exist_ok=True)
        for name, body in members.items():
            (extract / f"{row.key}.{row.degradation}.{name}").write_bytes(body)
        lines["extracted to"] = str(extract)
    return "\n".join(f"{name:12} {value}" for name, value in lines.items()) + "\n"


def _figures(row: SampleRow) -> str:
    """Papers' figures; of a dataset of the second version of the stored format, which had none but PSNR, what to do."""
    if math.isnan(row.ssim):
        return f"{row.psnr:.2f} dB over RGB; the others were not stored then, build again to have them"
    return f"{row.psnr:.2f} dB, {row.ssim:.3f} over RGB; {row.psnr_y:.2f} dB, {row.ssim_y:.3f} over luma"
