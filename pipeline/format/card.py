"""OUT/README.md: the dataset's card, whose YAML head lets `datasets.load_dataset(OUT)` read the shards as they are.

All of it follows from the manifest and the two tables: no date, no folder of the machine that built it. Names, captions
and attributions come from anywhere, so every text goes through `markdown_text` into Markdown and through `_yaml` into
YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import tomli_w

from patina.pipeline.format.card_head import head
from patina.pipeline.format.layout import SHARDS, SPLITS, STRIP
from patina.pipeline.format.manifest import Manifest, ShardEntry
from patina.pipeline.format.sample_schema import FIELDS
from patina.pipeline.format.statistics import BATCHES, Statistics
from patina.pipeline.markdown import fenced, markdown_table, markdown_text
from patina.pipeline.redaction import without_secrets
from patina.pipeline.text import counted, human_bytes
from patina.synth.compose import JOINT
from patina.synth.degradations import DACLIP_DEGRADATIONS, EVERY

TRUTH: Mapping[str, tuple[str, str]] = {
    **{name: told for kind in EVERY.values() for name, told in kind.maps.items()},
    "kernel": (
        "blur kernel at the centre of the image, k×k with k odd: what a point of light became. GT is convolved with it "
        "in linear light (in sRGB levels where `params` have a `light` that is `encoded`), after its highlights were "
        "brightened. Flip it both ways for OpenCV's `filter2D` and torch's `conv2d`, which correlate; deepinv's `Blur` "
        "takes it as it is",
        "16 bits, Σ = 65535",
    ),
    "transmission": ("share t of green light that the air lets through", "16 bits, 65535 = 1"),
    "depth": (
        "way through the air to what is seen, in metres; where `params` have a `model` that is `reside`, a relative "
        "depth r without a unit, with t = `transmission`^r",
        "16 bits, steps of `depth_step`",
    ),
    "noise": ("standard deviation of the noise, as seen after brightening", "16 bits, 65535 = 1, full scale"),
    "drops": ("share M of a pixel's light that comes through drops", "16 bits, 65535 = 1"),
    "streaks": (
        "rain layer S that was added, or recovered from a pair",
        '8 bits, 255 = 1; 16 bits, 65535 = 1, where it was added to light = "linear"',
    ),
    "clipped": (
        "where `streaks` of a pair is a lower bound: LQ is white, or it is unknown",
        "8 bits, 255 = so",
    ),
    "matte": ("share of the sun that is shaded, 1 in the umbra", "16 bits, 65535 = 1"),
    "alpha": ("opacity α of the snow", "16 bits, 65535 = 1"),
    "mask": ("what is kept and what is a hole", "8 bits, 255 = kept, 0 = hole"),
}
"""Truth maps by name: what each tells, and its levels. H×W grey PNG, aligned with LQ and GT but for the kernel. A
degradation beyond DA-CLIP's ten tells of its own as `maps` of its class."""

MEMBERS = (
    (
        "`KEY.png` or `KEY.jpg`",
        "LQ, the degraded image, RGB; a JPEG only where the degradation is JPEG or a pair's LQ was one",
    ),
    (
        "`KEY.gt.png` or `KEY.gt.jpg`",
        "GT, the clean image; the photograph's own bytes where nothing was cut, rotated or converted",
    ),
    ("`KEY.txt`", "caption of the clean image, one line, UTF-8"),
    ("`KEY.json`", "everything else, as below; the same keys in every sample"),
)
"""Files of a sample, in Markdown, explained; truth maps come after them."""

FIELD_ROWS = (
    ("key",), ("degradation",), ("degradations",), ("entry",), ("params",), ("seed",), ("source_sha256", "content"),
    ("x", "y", "width", "height"), ("variant",), ("severity",), ("text",), ("caption", "captioner"),
    ("pixels", "fingerprint"),
)  # fmt: skip
"""Rows of the table that explains the fields of KEY.json: which stand in each; the first one's text tells of all."""

CITATIONS = {
    "daclip": """@inproceedings{luo2024controlling,
  title     = {Controlling Vision-Language Models for Multi-Task Image Restoration},
  author    = {Luo, Ziwei and Gustafsson, Fredrik K. and Zhao, Zheng and Sj{\\"o}lund, Jens and Sch{\\"o}n, Thomas B.},
  booktitle = {International Conference on Learning Representations},
  year      = {2024},
  note      = {arXiv:2310.01018}
}""",
    "blip2": """@inproceedings{li2023blip2,
  title     = {{BLIP-2}: Bootstrapping Language-Image Pre-training with Frozen Image Encoders
               and Large Language Models},
  author    = {Li, Junnan and Li, Dongxu and Savarese, Silvio and Hoi, Steven},
  booktitle = {International Conference on Machine Learning},
  year      = {2023},
  note      = {arXiv:2301.12597}
}""",
    "blip": """@inproceedings{li2022blip,
  title     = {{BLIP}: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding
               and Generation},
  author    = {Li, Junnan and Li, Dongxu and Xiong, Caiming and Hoi, Steven},
  booktitle = {International Conference on Machine Learning},
  year      = {2022},
  note      = {arXiv:2201.12086}
}""",
}  # fmt: skip
"""Works whose data are in the dataset: DA-CLIP's label words, and the captioners'."""

NO_PATHS = frozenset(("pattern", "gt_pattern", "include", "text"))
"""Keys of a recipe whose texts may begin with a slash and are no paths."""

RANKS = (2, 4, 8)
"""Numbers of ranks for which the card tells the samples of each."""

LISTED = 50
"""Lines of a list at the most."""


def card(
    manifest: Manifest,
    truth: Iterable[str],
    numbers: Statistics,
    shown: Sequence[tuple[Mapping[str, Any], Sequence[str]]] = (),
) -> str:
    """The text of OUT/README.md. `truth` names the truth maps that occur, `numbers` are the dataset's statistics.

    shown  what the picture beside the card shows: rows of sources.parquet, each with the entries that it undergoes
           there; empty where there is no picture.
    """
    maps = sorted(truth)
    parts = [
        *head(manifest, maps, numbers),
        "",
        f"# {markdown_text(manifest.recipe['name'])}",
        "",
        *_summary(manifest),
        *_picture(shown),
        *markdown_table(numbers.count_rows()),
        "",
        *_loading(manifest),
        *_columns(maps),
        *_numbers(numbers),
        *_making(manifest, numbers),
        *_rights(numbers),
        *_aside(manifest),
        *_not_for(manifest),
        *_care(manifest, numbers),
        *_citation(manifest, numbers),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def shown_recipe(table: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's table as a card may show it: of a path that starts at a root or a home only the last part, and of an
    address no user, password or query."""
    return {k: v if k in NO_PATHS else _shown(v) for k, v in table.items() if v is not None}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return shown_recipe(value)
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return public(value) if isinstance(value, str) else value


def public(text: str) -> str:
    """A text without what only its author should know: see `shown_recipe`."""
    text = without_secrets(text)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        try:
            address = urlsplit(text)
        except ValueError:  # of a host that is none
            return text.partition("?")[0]
        if address.scheme.lower() == "file":
            return PurePosixPath(address.path).name
        return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", ""))
    if re.match(r"(/|~|[A-Za-z]:[\\/]|\\\\)[^\s]*", text):
        return PurePosixPath(text.replace("\\", "/")).name or "."
    return text


# ---------------------------------------------------------------------------------------------------------------------
# The body


def _summary(manifest: Manifest) -> list[str]:
    total = sum(s.count for s in manifest.shards)
    size = human_bytes(sum(s.bytes for s in manifest.shards))
    published = f" Published {manifest.recipe['published']}." if manifest.recipe.get("published") else ""
    return [
        f"{counted(total, 'image–text–degradation sample')} from {counted(manifest.sources, 'photograph')} in "
        f"{counted(len(manifest.shards), 'WebDataset shard')}, {size}. Made by patina; digest "
        f"`{manifest.digest[:16]}`.{published}",
        "",
        "Each sample is a clean photograph or a part of one (GT), the same degraded (LQ), a caption of the clean "
        "image, the name of the degradation, and where there is one a truth map that tells what was done where. The "
        "degraded images of pairs came with the clean ones; all others were synthesised from a seed and drawn "
        "parameters, which are stored, so that any of them can be made again pixel by pixel.",
        "",
    ]


def _picture(shown: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> list[str]:
    """The picture and whose photographs it shows. All that a reader of the card alone must know of their licences."""
    if not shown:
        return []
    entries = ", ".join(dict.fromkeys(entry for _, entries in shown for entry in entries))
    whose = "; ".join(_credit(source) for source, _ in shown)
    return [
        f"![Parts of photographs, clean and degraded: {entries}]({STRIP})",
        "",
        f"Parts of samples at 1:1; the clean one stands first. {'Photograph' if len(shown) == 1 else 'Photographs'}: "
        f"{whose}.",
        "",
    ]


def _credit(source: Mapping[str, Any]) -> str:
    from patina.pipeline.sources.presets.preset import UNKNOWN  # which brings every preset

    licence, owner = source["licence"].strip(), source["attribution"].strip()
    told = [owner] if owner else []
    told.append("licence not stated" if licence in {"", UNKNOWN} else licence)
    return f"{markdown_text(public_name(source['names'][0]))} ({markdown_text(', '.join(told))})"


def _loading(manifest: Manifest) -> list[str]:
    """How to read it, in code that runs."""
    first = next((s.split for s in manifest.shards if s.split == "train"), manifest.shards[0].split)
    shards = [s for s in manifest.shards if s.split == first]
    name, count = shards[0].degradation, sum(s.count for s in shards)
    return [
        "## How to load it",
        "",
        "`FOLDER` is this folder, downloaded. `datasets` also takes the dataset's name on the hub.",
        "",
        "**datasets**",
        "",
        "```python",
        "import datasets",
        "",
        f'rows = datasets.load_dataset("FOLDER", "default", split="{first}")  # or one degradation, such as "{name}"',
        'lq, gt = rows[0]["png"] or rows[0]["jpg"], rows[0]["gt.png"] or rows[0]["gt.jpg"]',
        "```",
        "",
        "**webdataset**",
        "",
        "```python",
        "from pathlib import Path",
        "import patina, webdataset as wds",
        "",
        f'shards = sorted(str(path) for path in Path("FOLDER/{SHARDS}").glob("{first}-*.tar"))',
        "for sample in wds.WebDataset(shards, shardshuffle=False).decode(patina.wds_decoder):",
        '    lq, gt = sample.get("png", sample.get("jpg")), sample.get("gt.png", sample.get("gt.jpg"))',
        '    caption, facts = sample["txt"], sample["json"]',
        "```",
        "",
        "Truth maps keep their values that way; webdataset's own image decoders clip those of 16 bits at 255. Without "
        "patina, `cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_UNCHANGED)` reads them.",
        "",
        "**PyTorch**, by patina's own loader: crops of LQ and GT for a DataLoader",
        "",
        "```python",
        "import patina, torch",
        "",
        f'dataset = patina.Dataset("FOLDER", split="{first}", crop=16)  # 256 to train; px',
        "loader = torch.utils.data.DataLoader(dataset, batch_size=2, shuffle=True)",
        'batch = next(iter(loader))  # batch["lq"] and batch["gt"] are N×3×H×W, 0..1',
        "```",
        "",
        "**Any sample by its place**, without a framework",
        "",
        "```python",
        "from patina import read_members, read_samples",
        "",
        'row = read_samples("FOLDER")[0]',
        'members = read_members("FOLDER", row)  # bytes by extension: "png" or "jpg", "gt.png", "txt", "json"',
        "```",
        "",
        "**The table of all samples**, by pyarrow, pandas, polars or duckdb",
        "",
        "```python",
        "import pyarrow.compute, pyarrow.parquet",
        "",
        'table = pyarrow.parquet.read_table("FOLDER/samples.parquet")',
        'severe = table.filter(pyarrow.compute.field("severity") > 50).select(["key", "shard", "caption"])',
        "```",
        "",
        "**open_clip**",
        "",
        "```sh",
        "# open_clip's loader stops at the marks that webdataset 1.0 sets behind each shard: KeyError 'fname'.",
        "pip install 'open_clip_torch[training]==3.3.0' 'webdataset==0.2.86'",
        f"python -m open_clip_train.main --dataset-type webdataset --train-num-samples {count} \\",
        f'    --train-data "{_all_of(shards)}" --model ViT-B-32',
        "```",
        "",
        *_ranks(manifest),
    ]


def _all_of(shards: Sequence[ShardEntry]) -> str:
    """All shards of a split, as a shell and open_clip take them in one word: by braces where these name no other, else
    one after another."""
    buckets = sorted({s.bucket for s in shards})
    low, high = buckets[0], buckets[-1]
    split, numbers = shards[0].split, f"{low:04d}" if low == high else f"{{{low:04d}..{high:04d}}}"
    ends = {bucket: [s.name.split("-", 2)[2] for s in shards if s.bucket == bucket] for bucket in buckets}
    same = [end.removesuffix(".tar") for end in ends[low]]
    if buckets == list(range(low, high + 1)) and all(found == ends[low] for found in ends.values()):
        entries = same[0] if len(same) == 1 else f"{{{','.join(same)}}}"
        return f"FOLDER/{SHARDS}/{split}-{numbers}-{entries}.tar"
    if len(shards) <= LISTED:
        names = ",".join(s.name.removeprefix(f"{split}-").removesuffix(".tar") for s in shards)
        return f"FOLDER/{SHARDS}/{split}-{{{names}}}.tar"
    return f"$(printf '::%s' FOLDER/{SHARDS}/{split}-*.tar | cut -c3-)"


def _ranks(manifest: Manifest) -> list[str]:
    """How many samples each of several ranks gets, as loaders want to know that are to stop side by side."""
    rows = [["split", *(f"{n} ranks" for n in RANKS)]]
    for split in SPLITS:
        counts = [s.count for s in sorted(manifest.shards, key=lambda s: s.name) if s.split == split]
        if counts:
            dealt = ([sum(counts[rank::n]) for rank in range(n)] for n in RANKS)
            rows.append([split, *(", ".join(f"{n:,}" for n in found) for found in dealt)])
    return [
        "Where each of n ranks takes every n-th shard by name, `shards[rank::n]`, they get so many samples; let all "
        "stop at the least of these. For other n, sum up the `count` of the shards in `manifest.json`.",
        "",
        *markdown_table(rows),
        "",
    ]


def _columns(truth: Sequence[str]) -> list[str]:
    """Tables of a sample's files and of KEY.json's keys; their cells are Markdown already."""
    members = [("member", "holds"), *MEMBERS, *(_truth(name) for name in truth)]
    keys = [(", ".join(f"`{name}`" for name in names), _meaning(names[0])) for names in FIELD_ROWS]
    return [
        "## What a sample holds",
        "",
        *markdown_table(members, escape=str),
        "",
        *markdown_table([("key of `KEY.json`", "tells"), *keys], escape=str),
        "",
        "`samples.parquet` has these facts and each sample's place in its shard, one row a sample; `sources.parquet` "
        "one row a photograph; `manifest.json` the recipe and every shard's SHA-256; `croissant.json` describes all.",
        "",
    ]


def _meaning(name: str) -> str:
    """What the table says of a field of KEY.json, and of those beside it."""
    field = next(field for field in FIELDS if field.name == name)
    return field.markdown or field.meaning


def _truth(name: str) -> tuple[str, str]:
    """A truth map's file, with its meaning and levels; of a composite's, its part's."""
    file = f"`KEY.{name}.png`"
    if name.startswith("step-"):
        return file, f"the image after part {name.removeprefix('step-')} of a composite; RGB, 8 bits"
    longest_first = sorted(EVERY, key=len, reverse=True)
    part = next((label for label in longest_first if name.startswith(f"{label}-")), "")
    meaning, levels = TRUTH.get(name.removeprefix(f"{part}-") if part else name, ("a map of what was done", "grey"))
    return file, f"{f'{part}: ' if part else ''}{meaning}; {levels}"


def _numbers(numbers: Statistics) -> list[str]:
    captions, sizes = numbers.captions, numbers.samples
    lines = [
        "## In numbers",
        "",
        "Severity is measured from LQ and GT, half by PSNR and half by SSIM, from 0 to 100 in five words. Figures are "
        "medians; the words' columns are shares of the samples.",
        "",
        *markdown_table(numbers.severity_rows()),
        "",
    ]
    if (words := captions.words) is not None:
        frequent = ", ".join(f"{markdown_text(word)} ({count:,})" for word, count in captions.frequent[:15])
        lines += [
            f"**Captions.** {counted(captions.distinct, 'different caption')} of "
            f"{counted(captions.photographs, 'photograph')} "
            f"({captions.distinct / captions.photographs:.0%}), {words.low:g} to {words.high:g} words, "
            f"{words.median:g} in the median; {counted(captions.vocabulary, 'different word')}."
            + (f" Most frequent: {frequent}." if frequent else ""),
            "",
        ]
    if (near := captions.similarity) is not None:
        lines += [
            f"Similarity of image and caption: {near.median:.3f} in the median, half of them {near.quarter:.3f} to "
            f"{near.three_quarters:.3f}.",
            "",
        ]
    if (area := sizes.megapixels) is not None:
        (w, h, n), different = sizes.sides[0], len(sizes.sides)
        areas = f"{area.low:.2f} to {area.high:.2f} megapixels, {area.median:.2f} in the median"
        if f"{area.low:.2f}" == f"{area.high:.2f}":
            areas = f"{area.median:.2f} megapixels"
        share = "all of them" if different == 1 else f"the most frequent of {different:,}, {n / sizes.count:.0%}"
        lines += [
            f"**Sizes.** Samples of {areas}; {w}×{h} px is {share if different > 1 else 'the size of ' + share}.",
            "",
        ]
    labels = numbers.labels
    floors = " and ".join(f"{labels.floors[n]:.2f} for a batch of {n}" for n in BATCHES)
    lines += [
        f"**Labels.** {counted(len(labels.counts), 'label')}, entropy {labels.entropy:.2f} nats: DA-CLIP's contrastive "
        "degradation loss, to which samples of one label are false negatives, cannot fall far below ln N − H = "
        f"{floors}.",
        "",
    ]
    return lines + [line for warning in numbers.warnings for line in (f"**Warning:** {markdown_text(warning)}.", "")]


def _captioners(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{markdown_text(name or 'nobody')} ({count:,})" for name, count in counts.items())


def _making(manifest: Manifest, numbers: Statistics) -> list[str]:
    captioners = _captioners(numbers.captions.captioners) or markdown_text(manifest.captioner)
    recipe = fenced(tomli_w.dumps(shown_recipe(manifest.recipe)).rstrip(), "toml")
    versions = ", ".join(
        f"{markdown_text(name)} {markdown_text(version)}" for name, version in sorted(manifest.versions.items())
    )
    twice = (
        f" {counted(manifest.duplicates, 'file')} had the bytes of another and were used once."
        if manifest.duplicates
        else ""
    )
    one_side = manifest.recipe.get("split", {}).get("leaks") == "mend"
    scenes = ", and photographs of one scene are kept on one side" if one_side else ""
    return [
        "## How it was made",
        "",
        f"By the recipe below from {counted(manifest.sources, 'photograph')}.{twice} Splits follow the digest of a "
        f"photograph's bytes unless its source names one{scenes}. All defaults are filled in; the shards are a pure "
        f"function of recipe, photographs and codecs. Captions by {captioners}. Made with {versions}.",
        "",
        "<details>",
        "<summary>The recipe</summary>",
        "",
        *recipe,
        "",
        "</details>",
        "",
    ]


def _rights(numbers: Statistics) -> list[str]:
    lines = [
        "## Licences and attribution",
        "",
        "Every sample is a derivative of its photograph and is under that photograph's licence. `sources.parquet` "
        "tells for each one; a sample's `source_sha256` is the row's `digest`.",
        "",
        *markdown_table(numbers.rights_rows()),
        "",
    ]
    from patina.pipeline.sources.presets.preset import UNKNOWN  # which brings every preset

    silent = sum(r.photographs for r in numbers.rights if r.licence in {"", UNKNOWN})
    if silent:
        lines += [f"For {counted(silent, 'photograph')} no licence is known: ask their owners before sharing.", ""]
    return lines


def _aside(manifest: Manifest) -> list[str]:
    lines: list[str] = []
    if manifest.set_aside:
        groups: dict[str, list[Mapping[str, str]]] = {}
        for one in manifest.set_aside:  # reasons that differ in their numbers alone are one
            groups.setdefault(re.sub(r"\d+", "0", one["reason"]), []).append(one)
        ordered = sorted(groups.values(), key=lambda group: (-len(group), group[0]["reason"]))
        lines += [
            "## Inputs set aside",
            "",
            f"{counted(len(manifest.set_aside), 'input')} could not be used. `manifest.json` names each.",
            "",
            *markdown_table(
                [["inputs", "reason", "such as"]]
                + [[f"{len(g):,}", public_name(g[0]["reason"]), public_name(g[0]["name"])] for g in ordered[:LISTED]]
            ),
            "",
        ]
    if manifest.notes:
        more = len(manifest.notes) - LISTED
        lines += ["## Notes", "", *(f"- {markdown_text(public_name(note))}" for note in manifest.notes[:LISTED])]
        lines += [f"- … and {more:,} more in `manifest.json`"] if more > 0 else []
        lines.append("")
    return lines


def public_name(text: str) -> str:
    """A reason or a note without the folders of the machine that built the dataset, and without secrets."""
    text = without_secrets(text)
    return re.sub(r"(?<![\w/.:])(?:/|~/)[^\s'\"]+", lambda found: public(found.group()), text)


def _not_for(manifest: Manifest) -> list[str]:
    made = bool(manifest.recipe.get("degradations", ()))
    held = any(shard.split != "train" for shard in manifest.shards)
    lines = ["## What it must not be used for", ""]
    if made:
        lines.append(
            "- To claim how well a restorer does on real photographs: LQs were computed here. Evaluate on real pairs."
        )
    if held:
        lines.append("- To train on the samples of `val` and `test`: they are held out so that others can compare.")
    return [
        *lines,
        "- As evidence, for measuring, or in medicine: what is trained on it makes up details that were lost.",
        "- To identify people. To train a captioner, before you have read a part of the captions.",
        "- For anything that the licences of the photographs forbid: a degraded copy is under the same licence.",
        "",
    ]


def _care(manifest: Manifest, numbers: Statistics) -> list[str]:
    made = set(manifest.recipe.get("degradations", ()))
    by_model = [n for n in numbers.captions.captioners or {manifest.captioner: 0} if n.split("@")[0] not in PLAIN]
    lines = ["## What to be careful about", ""]
    if by_model:
        lines.append(
            f"- Captions by {', '.join(map(markdown_text, by_model))} are a model's: they can be wrong, and they "
            "carry its training data's bias, above all about people."
        )
    lines += [
        "- A caption tells of the clean image, and not what is left of it in LQ.",
        "- CLIP sees 224 px: noise, compression and thin strokes of a large image all but vanish there, and haze "
        "stays. `clip_score` is the severity at that size.",
        "- Severity is measured, not asked for: it says how far LQ is from GT, and not how bad it looks to a person.",
    ]
    if made:
        lines.append(
            "- Synthesis is a model of a camera and the weather. A restorer that is good on it may fail on real ones."
        )
    parts = {part for name in made for part in name.split(JOINT)}
    others = parts & EVERY.keys() - set(DACLIP_DEGRADATIONS)
    if {"hazy", "rainy", "snowy"} & parts or any(hasattr(EVERY[part], "depths") for part in others):
        lines.append(
            "- Depth, where no maps were given, is a guess at open country; haze, rain and snow indoors are fiction."
        )
    return [*lines, ""]


PLAIN = frozenset(("template", "sidecar", "source", ""))
"""Captioners that are no models: words of a person, or of a recipe."""


def _citation(manifest: Manifest, numbers: Statistics) -> list[str]:
    labels = {name for label in numbers.labels.counts for name in label.split(JOINT)}
    captions = manifest.recipe.get("captions", {})
    model = str(captions.get("model", "")).lower().replace("-", "") if captions.get("kind") == "blip" else ""
    works = ["daclip"] if labels & set(DACLIP_DEGRADATIONS) else []
    works += ["blip2"] if "blip2" in model else ["blip"] if "blip" in model else []
    if not works:
        return []
    what = {"daclip": "the label words are DA-CLIP's", "blip": "captions are BLIP's", "blip2": "captions are BLIP-2's"}
    reason = "; ".join(what[work] for work in works)
    lines = ["## Citation", "", f"{reason[0].upper()}{reason[1:]}. Cite the sources of the photographs too.", ""]
    return [*lines, "```bibtex", *"\n\n".join(CITATIONS[work] for work in works).split("\n"), "```", ""]
