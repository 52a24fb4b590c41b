"""The fields of a sample's KEY.json: each once, with its type, its meaning, and its column of samples.parquet.

What makes samples checks by them what it writes; the card declares them as features and explains them, the rows of
samples.parquet are taken from them, and Croissant describes those rows' columns by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from patina.pipeline.format.earlier import FIGURES, is_unmeasured

Kind = Literal["int64", "float64", "string", "strings", "struct"]

_PYTHON: dict[Kind, type | tuple[type, ...]] = {
    "int64": int,
    "float64": (int, float),
    "string": str,
    "strings": list,
    "struct": Mapping,
}


@dataclass(frozen=True)
class Field:
    """One field.

    kind      its type as `datasets` names it; `strings`: a list of strings; `struct`: `fields`.
    meaning   one line of plain text.
    column    of samples.parquet, which holds the same value; empty: none does.
    markdown  what the card says of it instead, there also of the fields that stand beside it in one row of its table.
    """

    name: str
    kind: Kind
    meaning: str
    column: str = ""
    markdown: str = ""
    fields: tuple[Field, ...] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(field.name for field in self.fields)


FIELDS = (
    Field("schema", "int64", "version of a stored sample's layout"),
    Field(
        "key",
        "string",
        "the sample's name, which no other sample has: 16 hex digits of its source's digest, entry, place of the tile, "
        "variant",
        column="key",
    ),
    Field("entry", "string", "what the recipe calls the degradation; it names the shards", column="entry"),
    Field(
        "degradation",
        "string",
        "the label: one of DA-CLIP's words, for a composite the parts' words joined by +",
        column="degradation",
        markdown="the label: one of DA-CLIP's words, for a composite the parts' words joined by `+`",
    ),
    Field("degradations", "strings", "the words as a list, in the order in which they were applied"),
    Field(
        "params",
        "string",
        "the drawn parameters, a JSON text",
        column="params",
        markdown="the drawn parameters as a JSON text; for pairs what is known or recovered, or nothing",
    ),
    Field("seed", "string", "decides all that was drawn; empty for pairs", column="seed"),
    Field("variant", "int64", "0, 1, … where one tile is degraded several times", column="variant"),
    Field(
        "source_sha256",
        "string",
        "digest of its photograph or pair, as in sources.parquet",
        column="source_sha256",
        markdown="SHA-256 of the photograph (for a pair: of both files), and of the clean image alone",
    ),
    Field("content", "string", "SHA-256 of the clean image's bytes"),
    Field(
        "x",
        "int64",
        "left edge of the tile in the photograph, px",
        column="x",
        markdown="the tile in the photograph, pixels; the whole photograph where nothing was cut",
    ),
    Field("y", "int64", "upper edge of the tile in the photograph, px", column="y"),
    Field("width", "int64", "width of LQ and GT, px", column="width"),
    Field("height", "int64", "height of LQ and GT, px", column="height"),
    Field(
        "severity",
        "struct",
        "what was measured between LQ and GT",
        markdown="measured: PSNR (dB) and SSIM as papers print them, over RGB and, `…_y`, over BT.601's luma of 16 to "
        "235 with a peak of 255; mean and standard deviation of LQ − GT (levels); score 0 to 100, its word, and the "
        "`structure` that it takes, which is no paper's SSIM; `clip_…` the same at 224 px",
        fields=(
            Field("psnr", "float64", "of LQ against GT over RGB, dB; 100 for identical images", column="psnr"),
            Field("psnr_y", "float64", "over BT.601's luma, 16 to 235, peak 255, dB", column="psnr_y"),
            Field("ssim", "float64", "SSIM over RGB: Gaussian of 11 px, σ 1.5, full size, -1 to 1", column="ssim"),
            Field("ssim_y", "float64", "the same over that luma", column="ssim_y"),
            Field("structure", "float64", "what the score takes: luma in 8×8 windows at about 256 px; no paper's SSIM"),
            Field("residual_mean", "float64", "mean of LQ − GT, levels"),
            Field("residual_std", "float64", "standard deviation of LQ − GT, levels"),
            Field("score", "float64", "measured from LQ and GT at full size, 0 to 100", column="severity"),
            Field("word", "string", "the score in a word"),
            Field("clip_psnr", "float64", "PSNR at 224 px, dB"),
            Field("clip_structure", "float64", "the structure at 224 px"),
            Field("clip_residual_mean", "float64", "mean of LQ − GT at 224 px, levels"),
            Field("clip_residual_std", "float64", "standard deviation of LQ − GT at 224 px, levels"),
            Field("clip_score", "float64", "the same at 224 px, the size that CLIP sees", column="clip_severity"),
            Field("clip_word", "string", "that score in a word"),
        ),
    ),
    Field(
        "text",
        "struct",
        "what was done to the image, in words",
        markdown="`sentence` that says what was done, `instruction` that asks to undo it, VLU-Net's `prompt` or "
        "nothing",
        fields=(
            Field("sentence", "string", "what was done to the image, in words", column="sentence"),
            Field("instruction", "string", "asks to undo it"),
            Field("prompt", "string", "VLU-Net's prompt; empty where it has none"),
        ),
    ),
    Field(
        "pixels",
        "string",
        "digest of all that decides its images",
        column="pixels",
        markdown="digests of all that decides the images, and the whole sample",
    ),
    Field(
        "caption",
        "string",
        "what the clean image shows",
        column="caption",
        markdown="what the clean image shows, as in `KEY.txt`, and who said so, `name@version`",
    ),
    Field("captioner", "string", "who said so, name@version", column="captioner"),
    Field("fingerprint", "string", "digest of all that the sample was made from", column="fingerprint"),
)
"""All of them, in the order in which the card declares them. KEY.json itself has its keys sorted."""

KEY_JSON = Field("KEY.json", "struct", "what there is to know of a sample", fields=FIELDS)
"""The file itself."""


def leaves(fields: Sequence[Field] = FIELDS, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Every field that holds a value, with its path such as ("severity", "psnr")."""
    for field in fields:
        path = (*above, field.name)
        if field.kind == "struct":
            yield from leaves(field.fields, path)
        else:
            yield path, field


COLUMNS: Mapping[str, tuple[str, ...]] = {field.column: path for path, field in leaves() if field.column}
"""Columns of samples.parquet that repeat a field, and the paths of these."""

KINDS: Mapping[tuple[str, ...], Kind] = {path: field.kind for path, field in leaves()}
"""The kinds of all fields that hold a value."""

MEANINGS: Mapping[str, str] = {field.column: field.meaning for _, field in leaves() if field.column}
"""The meanings of these columns."""


def value_at(fact: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value of a field. Raises KeyError or TypeError if there is none."""
    value: Any = fact
    for name in path:
        value = value[name]
    return value


def fitting_value(fact: Mapping[str, Any], path: Sequence[str]) -> Any:
    """As `value_at`. Raises TypeError also for a value of another kind, and for a number that is none."""
    value, kind = value_at(fact, path), KINDS[tuple(path)]
    if not isinstance(value, _PYTHON[kind]) or isinstance(value, bool):
        raise TypeError(f"its {'.'.join(path)} is of the type {kind}, found {str(value)[:60]!r}")
    if kind == "float64":
        value = float(str(value))  # a whole number beyond all floats becomes infinity
        if math.isnan(value) and is_unmeasured(fact) and path[-1] in FIGURES:
            return math.nan  # this one object, so that rows of it are equal
        if not math.isfinite(value):
            raise TypeError(f"its {'.'.join(path)} is no number")
    if kind == "int64" and not 0 <= value < 2**31:  # a size, a place in an image, a count of variants
        raise TypeError(f"its {'.'.join(path)} cannot be {str(value)[:60]}")
    return value


def checked(fact: Mapping[str, Any]) -> Mapping[str, Any]:
    """The contents of a KEY.json as they are. Raises TypeError unless they have exactly these fields and types."""
    _check(fact, KEY_JSON, "")
    return fact


def _check(fact: Mapping[str, Any], struct: Field, above: str) -> None:
    if fact.keys() != struct.names:
        lacking, unknown = sorted(struct.names - fact.keys()), sorted(fact.keys() - struct.names)
        raise TypeError(f"KEY.json: {above or 'it'} lacks the fields {lacking} and has the unknown ones {unknown}")
    for field in struct.fields:
        value = fact[field.name]
        fits = isinstance(value, _PYTHON[field.kind]) and not isinstance(value, bool)
        if not fits or (field.kind == "strings" and not all(isinstance(one, str) for one in value)):
            raise TypeError(f"KEY.json: {_place(above, field)} is of the type {field.kind}, found {value!r}")
        if field.kind == "struct":
            _check(value, field, _place(above, field))


def _place(above: str, field: Field) -> str:
    return f"{above}.{field.name}" if above else field.name
