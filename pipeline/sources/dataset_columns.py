"""Which columns of a Hugging Face dataset hold clean images, degraded ones and captions: by their kinds and names.

What is not beyond doubt is asked: of two columns of images one may be the degraded one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.errors import SourceError
from patina.pipeline.sources import columns
from patina.pipeline.sources.json_keys import MARK, value_at
from patina.pipeline.sources.pairs import SIDES
from patina.pipeline.text import one_line, shown

MAGIC = (
    (b"\x89PNG\r\n\x1a\n", 0, "png"),
    (b"\xff\xd8\xff", 0, "jpg"),
    (b"WEBP", 8, "webp"),
    (b"II*\0", 0, "tif"),
    (b"MM\0*", 0, "tif"),
    (b"GIF8", 0, "gif"),
    (b"BM", 0, "bmp"),
    (b"ftypavif", 4, "avif"),
)
"""Bytes that a kind of image file has, where, and its suffix."""

BYTES = frozenset({"binary", "large_binary", "binary_view"})
TEXTS = frozenset({"string", "large_string", "string_view"})
"""Kinds of columns, as Arrow calls them."""

DEEPEST = 8  # objects within objects that are looked through


@dataclass(frozen=True)
class ImageColumns:
    """Columns of clean and of degraded images, of each those of which a row has one; and what to know of the choice."""

    gt: tuple[str, ...]
    lq: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def suffix_of(data: bytes) -> str:
    """The suffix of an image file by its first bytes; "" for anything else."""
    return next((s for magic, at, s in MAGIC if data[at : at + len(magic)] == magic), "")


def is_image(datasets: ModuleType, feature: Any) -> bool:
    """Whether a column holds images, as such or as the undecoded bytes that parquet files without notes have."""
    return isinstance(feature, datasets.Image) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def image_columns(
    datasets: ModuleType, features: Mapping[str, Any], peek: Callable[[Sequence[str]], Mapping[str, bool]]
) -> list[str]:
    """All columns of images: as such, and as the bytes of image files or the paths of files that are there.

    peek: which of the columns of bytes or texts that it is given hold images, by a look at the first rows.
    """
    loose = [
        name
        for name, feature in features.items()
        if _dtype(feature) in BYTES or (_dtype(feature) in TEXTS and not columns.tells_facts(name))
    ]
    found = peek(loose) if loose else {}
    return [name for name, feature in features.items() if is_image(datasets, feature) or found.get(name)]


def by_name(images: Sequence[str]) -> ImageColumns:
    """Clean and degraded images, going by the names of all columns of images. Raises SourceError where these leave it
    open which are clean; no clean ones where all are degraded."""
    main = images if len(images) == 1 else [c for c in images if not columns.is_aside(c)]
    plain = [c for c in main if f".{c.lower()}" in SUFFIXES]
    clean = [c for c in main if _side(c) in columns.GT]
    degraded = [c for c in main if _side(c) in columns.LQ]
    if clean and (degraded or plain):
        return ImageColumns(tuple(clean), tuple(degraded or plain))
    rest = [c for c in main if c not in degraded]
    if not degraded:
        rest = clean or rest
    if not rest:
        if len(images) > 1 and not degraded:
            raise _ask(images)
        return ImageColumns(())
    if len(rest) > 1 and rest not in (plain, clean):
        raise _ask(rest)
    return _with_note(main, rest, degraded)


def clean_beside(images: Sequence[str], lq: Sequence[str]) -> tuple[str, ...]:
    """The clean images' columns beside chosen ones of degraded images. Raises SourceError where it is open."""
    others = [c for c in images if c not in lq and (len(images) == 2 or not columns.is_aside(c))]
    clean = [c for c in others if _side(c) in columns.GT]
    if not clean and len(others) > 1 and any(f".{c.lower()}" not in SUFFIXES for c in others):
        raise _ask(others)
    return tuple(clean or others)


def no_image(datasets: ModuleType, features: Mapping[str, Any]) -> str:
    """What to do about a dataset without a column of images; "" if nothing is near."""
    for name, feature in features.items():
        if problem := refused(datasets, name, feature):
            return f"; {problem}"
    texts = [c for c, f in features.items() if _dtype(f) in TEXTS and c.lower() in columns.IMAGE]
    return f"; if {shown(texts[0])} holds paths, they lead to no file below the dataset's folder" if texts else ""


def refused(datasets: ModuleType, name: str, feature: Any) -> str:
    """Why a column holds images and cannot be read, or was chosen and can hold none; "" if it can be read."""
    inner = getattr(feature, "feature", None) if not isinstance(feature, list) else feature[0]
    if inner is not None and (is_image(datasets, inner) or _dtype(inner) in BYTES):
        return f"the column {shown(name)} holds lists of images, and a row must have one: write a row for each"
    if isinstance(feature, dict) and not is_image(datasets, feature):
        images = [inner for inner, f in _leaves(feature, f"{name}.") if is_image(datasets, f)]
        if images:
            found = one_line(" and ".join(images[:2]), 200)
            return f"the column {shown(name)} holds objects with images, {found}: `flatten()` the dataset"
    return ""


_DEGRADED = """
degraded input lq lr low blur blurred blurry noisy hazy haze rainy snowy shadowed compressed corrupted
distorted damaged lowlight dark
"""
DEGRADED = frozenset(_DEGRADED.split())
"""Words in the name of a column whose images are no clean ones."""


def expect_clean(datasets: ModuleType, features: Mapping[str, Any], image: str, label: str) -> None:
    """Raise SourceError where the only column of images is hardly one of clean ones: its name says so, or a column of
    texts tells each one's degradation."""
    remedy = f"if they are clean, say so: image = {shown(image)}"
    if not DEGRADED.isdisjoint(columns.words_of(image)):
        raise SourceError(
            f"image: expected a column of clean images, found {shown(image)} alone, whose name says that they are "
            f"degraded; {remedy}"
        )
    if label and label.rpartition(".")[2].lower() == "degradation" and _dtype(features.get(label)) in TEXTS:
        raise SourceError(
            f"image: the column {shown(label)} tells degradations, and there is no column of degraded images beside "
            f"{shown(image)}, so that these would become clean ones; name both, as lq and image, or {remedy}"
        )


def unread_note(features: Mapping[str, Any], read: Sequence[str]) -> list[str]:
    """A sentence on columns of texts that are not read, and whose names are near ones that would be."""
    meant = {
        name: slip
        for name, feature in features.items()
        if name not in read and (_dtype(feature) in TEXTS or hasattr(feature, "names"))
        for slip in [columns.slip_of(name, ("caption", "split", "degradation")) or _like_split(name)]
        if slip and slip not in read
    }
    return [f"the column {shown(name)} is not read; did you mean {slip!r}? rename it" for name, slip in meant.items()]


def _like_split(name: str) -> str:
    return "split" if name.lower() in {"subset", "partition", "fold", "phase", "side"} else ""


def expect_no_sides(datasets: ModuleType, features: Mapping[str, Any]) -> None:
    """Raise SourceError where a column of classes, which the library makes of folders' names, tells degraded images
    from clean ones: all of them are in one column of images."""
    for column, feature in features.items():
        names = list(getattr(feature, "names", None) or ()) if isinstance(feature, datasets.ClassLabel) else []
        classes = {name.lower() for name in names}
        if not classes.isdisjoint(columns.LQ) and not classes.isdisjoint({*columns.GT, *SIDES}):
            found = one_line(", ".join(names), 200)
            raise SourceError(
                f"image: the column {shown(column)} has the classes {found}, so that degraded images lie among the "
                'clean ones; read the folders as kind = "pairs", or name the column of images, as image = "image", if '
                "all of them are clean"
            )


def expect_readable(datasets: ModuleType, setting: str, name: str, feature: Any) -> None:
    """Raise SourceError for a chosen column that can hold no image."""
    why = refused(datasets, name, feature)
    dtype = _dtype(feature)
    if not why and not is_image(datasets, feature) and (inner := getattr(feature, "feature", None)) is not None:
        why = f"the column {shown(name)} holds lists of {_dtype(inner) or type(inner).__name__}, and no images"
    if not why and (isinstance(feature, list | dict) and not is_image(datasets, feature)):
        why = f"the column {shown(name)} holds objects or lists, and no images"
    if not why and isinstance(feature, datasets.Value | datasets.ClassLabel) and dtype not in BYTES | TEXTS:
        why = f"the column {shown(name)} holds {dtype}, and no images"
    if why:
        raise SourceError(f"{setting}: expected images, their files' bytes, or paths of files; {why}")


def caption_column(datasets: ModuleType, features: Mapping[str, Any], wanted: str, known: Sequence[str]) -> str:
    """The column of captions: the one that is wanted, within columns of objects as json.caption or json:caption, or the
    first known one that holds texts; "" if there is none. Raises SourceError for a wanted one without texts."""
    every = with_inner(features)
    if wanted and wanted not in every:
        wanted = wanted.replace(MARK, ".")
    chosen = columns.pick(every, "caption", wanted, ())
    if chosen and not _has_text(datasets, feature_of(features, chosen)):
        within_it = [name for name in every if name.startswith(f"{chosen}.")]
        texts = [name for name in within_it if _has_text(datasets, feature_of(features, name))]
        hint = f"; name a text within it, such as {one_line(texts[0], 200)}" if texts else ""
        raise SourceError(f"caption: expected a column of texts, and {shown(chosen)} holds none{hint}")
    fitting = [name for name in features if _has_text(datasets, features[name])]
    return chosen or columns.pick(fitting, "", "", known)


def with_inner(features: Mapping[str, Any]) -> list[str]:
    """All columns, and those within columns of objects, as `json.degradation`."""
    return [*features, *(name for name, _ in _all_within(features) if name not in features)]


def feature_of(features: Mapping[str, Any], name: str) -> Any:
    """What a column, or one within a column of objects, is made of; None if it is not there."""
    return features[name] if name in features else value_at(dict(features), name)


def within(row: Mapping[str, Any], column: str) -> Any:
    """A row's cell in a column, or in one within a column of objects."""
    return value_at(row, column) if column else None


def own_column(features: Mapping[str, Any], name: str) -> str:
    """The dataset's own column that holds a column within one."""
    return next(c for c in sorted(features, key=len, reverse=True) if c == name or name.startswith(f"{c}."))


# ---------------------------------------------------------------------------------------------------------------------


def _side(column: str) -> str:
    """What a column's name tells of the image: `gt` in gt and in gt.png."""
    head, _, suffix = column.lower().rpartition(".")
    return head if f".{suffix}" in SUFFIXES else column.lower()


def _with_note(images: Sequence[str], gt: Sequence[str], lq: Sequence[str]) -> ImageColumns:
    """The choice, with a note on other columns that might have been meant."""
    others = [c for c in images if c not in {*gt, *lq}]
    if not others:
        return ImageColumns(tuple(gt), tuple(lq))
    taken = f"{columns.listed(gt)} of clean images" + (f" and {columns.listed(lq)} of degraded ones" if lq else "")
    note = f"{columns.listed(others)} of images {'is' if len(others) == 1 else 'are'} passed over beside {taken}"
    return ImageColumns(tuple(gt), tuple(lq), (note,))


def _ask(images: Sequence[str]) -> SourceError:
    return SourceError(
        f"image: expected one column of clean images, found {columns.listed(images)}, whose names do not tell beyond "
        f'doubt which is clean; name it, as image = "…" with one of them; for pairs name the degraded images too, as '
        'lq = "…", and their degradation'
    )


def _dtype(feature: Any) -> str:
    return str(getattr(feature, "dtype", "") or "")


def _leaves(feature: Mapping[str, Any], outer: str, depth: int = DEEPEST) -> Iterator[tuple[str, Any]]:
    """Names and kinds of all that an object holds, the objects in it among them."""
    for key, inner in feature.items() if depth else ():
        yield f"{outer}{key}", inner
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{outer}{key}.", depth - 1)


def _all_within(features: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, feature in features.items():
        if isinstance(feature, dict):
            yield from _leaves(feature, f"{name}.")


def _has_text(datasets: ModuleType, feature: Any) -> bool:
    """Whether a column holds texts, lists of them, or classes that have names."""
    if isinstance(feature, datasets.ClassLabel):
        return True
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return _dtype(feature if inner is None else inner) in TEXTS


def is_picture_name(text: str) -> bool:
    """Whether a text ends like the path of an image file."""
    return len(text) < 1000 and PurePosixPath(text.strip()).suffix.lower() in SUFFIXES
