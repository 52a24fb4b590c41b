"""The recipe: all that decides a dataset's bytes, beside the sources themselves. TOML in, unknown keys refused."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from patina.captioning import CAPTIONERS
from patina.captioning.captioner import Captioner
from patina.captioning.clip_score import ClipScore
from patina.captioning.filters import Filters
from patina.pipeline.locations import is_remote
from patina.pipeline.sources import READERS
from patina.pipeline.sources.reader import Reader
from patina.synth.compose import JOINT, Composite
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE
from patina.synth.graded import Graded
from patina.synth.image import SMALLEST_SIDE

SPLITS = ("train", "val", "test")
LEAKS = ("mend", "report")

T = TypeVar("T")

ENTRY = re.compile(r"[a-z0-9]+([-+][a-z0-9]+)*")


class RecipeError(ValueError):
    """A recipe that cannot be built. Says where, what was found, what was expected and what to write."""


@dataclass(frozen=True)
class Tiles:
    """Cut every photograph into squares of `size` px, `stride` px apart (default: `size`, so that none overlap).

    Where the last tile would not reach the edge, one more is cut flush with it, so that no pixel is lost.
    """

    size: int
    stride: int = 0

    def __post_init__(self) -> None:
        _expect_int("size", self.size, SMALLEST_SIDE, 1 << 16)
        _expect_int("stride", self.stride, 0, 1 << 16)

    def cut(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """Every tile's (x, y, width, height), row by row; none if the photograph is smaller than one tile."""
        step = self.stride or self.size
        return [(x, y, self.size, self.size) for y in self._starts(height, step) for x in self._starts(width, step)]

    def _starts(self, length: int, step: int) -> list[int]:
        last = length - self.size
        if last < 0:
            return []
        starts = list(range(0, last + 1, step))
        return starts if starts[-1] == last else [*starts, last]


@dataclass(frozen=True)
class Split:
    """Shares of the photographs for validation and test, 0 to 1 together; the rest is for training.

    A photograph's side follows from its digest: it does not move when others come or go, unless one that shows the
    same scene comes to stand on another side. leaks: `mend` keeps every scene on one side; `report` only tells of it.
    """

    val: float = 0.0
    test: float = 0.0
    leaks: str = "mend"

    def __post_init__(self) -> None:
        if self.leaks not in LEAKS:
            raise RecipeError(f"leaks: expected one of {', '.join(LEAKS)}, found {self.leaks!r}")
        for name, share in (("val", self.val), ("test", self.test)):
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise RecipeError(f"{name}: expected a share from 0 to 1, found {share!r}")
        if self.val + self.test > 1:
            raise RecipeError(f"val {self.val} and test {self.test} are more than 1 together")

    def side(self, content: str) -> str:
        """`train`, `val` or `test` for a clean image whose digest is `content` (64 hex digits)."""
        place = int(content[16:32], 16) / 2**64
        if place < self.test:
            return "test"
        return "val" if place < self.test + self.val else "train"


@dataclass(frozen=True)
class Synthesis:
    """One degradation of the recipe and how many times it is applied to each tile, drawn anew each time.

    label  what its samples are called: the degradation's word; for a composite its parts' words joined by `+`.
    words  the set of words that apply.
    """

    degradation: Degradation
    variants: int
    label: str
    words: tuple[str, ...]

    def identity(self) -> dict[str, Any]:
        """All about it that decides a sample's bytes, as JSON gives it back: a list where a tuple was."""
        settings = self.degradation.settings()
        facts = {"label": self.label, "version": self.degradation.version, "settings": settings}
        same: dict[str, Any] = json.loads(canonical_json(facts))
        return same


@dataclass(frozen=True)
class Recipe:
    """All that decides a dataset's bytes, resolved: every default is filled in.

    `table` is the recipe as TOML and JSON write it, with paths as its author wrote them; `folder` is where relative
    paths start. Two recipes with equal tables, sources and codecs give equal datasets.
    """

    name: str
    seed: int
    sources: tuple[Reader, ...]
    captioner: Captioner
    fallback: Captioner | None
    filters: Filters
    similarity: ClipScore | None
    degradations: Mapping[str, Synthesis]
    tiles: Tiles | None
    split: Split
    buckets: Mapping[str, int]
    folder: Path
    table: Mapping[str, Any] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved table."""
        return hashlib.sha256(canonical_json(self.table).encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved recipe as TOML; reading it back gives an equal recipe."""
        return tomli_w.dumps(dict(self.table))

    def cut(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """The tiles of a photograph of `width`×`height` px: itself, if whole images are wanted."""
        return self.tiles.cut(width, height) if self.tiles else [(0, 0, width, height)]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML file, or by the name of one that comes with patina. Raises RecipeError.

    Relative paths in it start at the file's folder; for one that comes with patina, at the working folder.
    """
    folder = path.resolve().parent
    if not path.is_file() and not path.suffix and (own := Path(__file__).parent / "recipes" / f"{path}.toml").exists():
        path, folder = own, Path.cwd()
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not valid TOML: it is no UTF-8 text") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    try:
        return parse_recipe(table, folder, path.stem)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def parse_recipe(table: Mapping[str, Any], folder: Path, name: str = "recipe") -> Recipe:
    """A recipe from a table as TOML gives it; relative paths start at `folder`. Raises RecipeError."""
    known = ("name", "seed", "buckets", "sources", "captions", "tiles", "split", "degradations")
    _refuse_unknown("the recipe", table, known)
    name = _typed("name", table.get("name", name), str, "a text")
    seed = _expect_int("seed", table.get("seed", 0), 0, 2**63 - 1)
    entries = _typed("sources", table.get("sources", []), list, "[[sources]] tables")
    if not entries:
        raise RecipeError('no [[sources]]: name at least one folder, such as\n\n[[sources]]\npath = "photos"')
    sources, source_tables = zip(*(_kind("[[sources]]", e, READERS, folder, "folder") for e in entries), strict=True)
    for source in sources:
        _expect_split(source.split)
    if not any(source.has_pairs for source in sources) and not table.get("degradations"):
        raise RecipeError(f"no [degradations.…]: name at least one of {', '.join(CATALOGUE)}")

    captions, captions_table = _captions(table.get("captions", {}), folder)

    syntheses: dict[str, Synthesis] = {}
    degradation_tables: dict[str, Any] = {}
    for entry, raw in sorted(_typed("degradations", table.get("degradations", {}), dict, "tables").items()):
        syntheses[entry], degradation_tables[entry] = parse_synthesis(entry, raw, folder)

    for source in sources:
        for entry in source.degradations:
            if entry not in syntheses:
                what = f"the recipe has no [degradations.{entry}]"
                raise RecipeError(f"[[sources]] degradations: {what}; {nearest(entry, syntheses)}")
    _expect_named(sources, syntheses)

    tiles = None
    if "tiles" in table:
        tiles, _ = construct("[tiles]", Tiles, _typed("tiles", table["tiles"], dict, "a [tiles] table"), folder)
    split, split_table = construct("[split]", Split, _typed("split", table.get("split", {}), dict, "a table"), folder)
    buckets = _buckets(table.get("buckets", 1))

    resolved_table: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "buckets": dict(buckets),
        "split": split_table,
        "sources": list(source_tables),
        "captions": captions_table,
        "degradations": degradation_tables,
    }
    if tiles:
        resolved_table["tiles"] = {"size": tiles.size, "stride": tiles.stride}
    return Recipe(name, seed, sources, *captions, syntheses, tiles, split, buckets, folder, resolved_table)


def _expect_named(sources: Sequence[Reader], entries: Iterable[str]) -> None:
    """Raise RecipeError for a degradation that no source would undergo: every one names its own, and none names it."""
    if not all(source.degradations for source in sources):
        return  # what a source without names holds, photographs or pairs, is seen when it is read
    named = {entry for source in sources for entry in source.degradations}
    for entry in entries:
        if entry not in named:
            raise RecipeError(
                f"[degradations.{entry}] is applied to nothing: every source names its own `degradations`, and none "
                f"names {entry!r}; name it there, or remove it"
            )


def _captions(raw: Any, folder: Path) -> tuple[tuple[Captioner, Captioner | None, Filters, ClipScore | None], Any]:
    """The [captions] table: captioner, fallback, filters and similarity; and the table with its defaults filled in."""
    settings = dict(_typed("captions", raw, dict, "a [captions] table"))
    spare = settings.pop("fallback", "")
    filters, filter_table = construct("[captions.filter]", Filters, _table("captions.filter", settings), folder)
    similarity: ClipScore | None = None
    similarity_table: dict[str, Any] = {}
    if "similarity" in settings:
        chosen = _table("captions.similarity", settings)
        similarity, similarity_table = construct("[captions.similarity]", ClipScore, chosen, folder)
    captioner, resolved = _kind("[captions]", settings, CAPTIONERS, folder, "template")
    fallback: Captioner | None = None
    spare_table: Any = ""
    if spare != "":
        if not isinstance(spare, str | dict):
            raise RecipeError(f"captions.fallback: expected a captioner's word or table, found {spare!r}")
        own = {"kind": spare} if isinstance(spare, str) else spare
        fallback, spare_table = _kind("[captions] fallback", own, CAPTIONERS, folder, "template")
    resolved |= {"fallback": spare_table, "filter": filter_table}
    return (captioner, fallback, filters, similarity), resolved | (
        {"similarity": similarity_table} if similarity else {}
    )


def _table(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Take the table `name`, such as captions.filter, out of its parent's settings."""
    return _typed(name, settings.pop(name.rpartition(".")[2], {}), dict, f"a table [{name}]")


def parse_synthesis(entry: str, raw: Any, folder: Path) -> tuple[Synthesis, dict[str, Any]]:
    """One [degradations.ENTRY] table: a degradation of the catalogue, or a composite of several; and the table with its
    defaults filled in. Raises RecipeError."""
    what = f"[degradations.{entry}]"
    settings = dict(_typed(f"degradations.{entry}", raw, dict, f"a table {what}"))
    if not ENTRY.fullmatch(entry):
        raise RecipeError(f"{what}: expected lower-case letters, digits, - and + in its name, as it names shards")
    variants = _expect_int(f"degradations.{entry}.variants", settings.pop("variants", 1), 1, 1000)
    if "parts" in settings or JOINT in entry:
        composite, resolved = _composite(what, entry, settings, folder)
        words = tuple(composite.parts)
        return Synthesis(composite, variants, composite.name, words), {**resolved, "variants": variants}
    word = _typed(f"{what} use", settings.pop("use", entry), str, "a degradation's word")
    degradation, resolved = _degradation(what, word, settings, folder, ("variants", "use", "parts"))
    return Synthesis(degradation, variants, word, (word,)), {"use": word, **resolved, "variants": variants}


def _degradation(
    what: str, word: str, settings: dict[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[Degradation, dict[str, Any]]:
    """One degradation of the catalogue; with `severity`, one whose knob is turned until it measures as asked."""
    if word not in CATALOGUE:
        raise RecipeError(f"{what}: no degradation is called {word!r}; {nearest(word, CATALOGUE)}")
    severity = _typed(f"{what} severity", settings.pop("severity", ""), str, "words such as 'mild..severe'")
    degradation, resolved = construct(what, CATALOGUE[word], settings, folder, (*also, "severity"))
    if not severity:
        return degradation, resolved
    knob = degradation.knob
    if knob is not None and knob.setting in settings:
        raise RecipeError(f"{what}: severity sets {knob.setting} itself; remove one of the two")
    graded, _ = construct(what, Graded, {"base": degradation, "severity": severity}, folder)
    return graded, {"severity": severity, **{k: v for k, v in resolved.items() if knob is None or k != knob.setting}}


def _composite(what: str, entry: str, settings: dict[str, Any], folder: Path) -> tuple[Composite, dict[str, Any]]:
    """A composite: parts in `parts` or in the entry's name (`hazy+rainy`), each with a table of settings if need be."""
    named = _typed(f"{what} parts", settings.pop("parts", entry.split(JOINT)), list, "a list of degradations' words")
    for part in named:
        _typed(f"{what} parts", part, str, "a degradation's word")
    steps = _typed(f"{what} steps", settings.pop("steps", False), bool, "true or false")
    _refuse_unknown(what, settings, [*named, "parts", "steps", "variants"])
    parts, tables = {}, {}
    for word in named:
        own = dict(_typed(f"{what} {word}", settings.get(word, {}), dict, "a table"))
        parts[word], tables[word] = _degradation(f"{what} {word}", word, own, folder)
    composite, _ = construct(what, Composite, {"parts": parts, "steps": steps}, folder)
    return composite, {"parts": list(parts), "steps": steps, **tables}


def construct(
    what: str, kind: type[T], settings: Mapping[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[T, dict[str, Any]]:
    """A dataclass from a recipe's table, and the table with its defaults filled in.

    Unknown keys are refused with the nearest known one (`also` names further keys that the caller has taken out).
    Fields marked `folder` in their metadata hold paths: relative ones start at `folder`.
    """
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    _refuse_unknown(what, settings, [*fields, *also])
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if fields[key].metadata.get("folder"):
            values[key] = _resolved(_typed(f"{what} {key}", value, str, "a path"), folder)
        elif fields[key].metadata.get("folder_or_name") and isinstance(value, str):
            values[key] = _resolved(value, folder) if value.startswith((".", "/", "~")) else value
        elif fields[key].type == "str":  # annotations are kept as text
            values[key] = _typed(f"{what} {key}", value, str, "a text")
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    missing = [n for n, f in fields.items() if _required(f) and n not in values]
    if missing:
        raise RecipeError(f"{what}: {missing[0]} is missing")
    try:
        made = kind(**values)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{what}: {error}") from None
    resolved = {n: settings.get(n, _plain(getattr(made, n))) for n in fields}
    return made, resolved


def _resolved(written: str, folder: Path) -> str:
    """An absolute path; addresses such as s3://bucket/photos and the empty text stay as they are."""
    return written if not written or is_remote(written) else str((folder / Path(written).expanduser()).resolve())


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _kind(what: str, table: Any, kinds: Mapping[str, type[T]], folder: Path, default: str) -> tuple[T, dict[str, Any]]:
    """A member of a family by its word in `kind`."""
    settings = dict(_typed(what, table, dict, "a table"))
    word = _typed(f"{what} kind", settings.pop("kind", default), str, "a word")
    if word not in kinds:
        raise RecipeError(f"{what}: there is no kind {word!r}; {nearest(word, kinds)}")
    made, resolved = construct(f"{what} of kind {word}", kinds[word], settings, folder, ("kind",))
    return made, {"kind": word, **resolved}


def _refuse_unknown(what: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise RecipeError(f"{what} has no key {key!r}; {nearest(key, known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """For an error message about an unknown `word`: the nearest known one if any is near, and all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {', '.join(sorted(known))}"


def _typed(what: str, value: Any, kind: type[T], expected: str) -> T:
    if not isinstance(value, kind):
        raise RecipeError(f"{what}: expected {expected}, found {value!r}")
    return value


def _expect_int(what: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecipeError(f"{what}: expected a whole number from {low} to {high}, found {value!r}")
    return value


def _expect_split(word: str) -> None:
    if word and word not in SPLITS:
        raise RecipeError(f"[[sources]] split: expected one of {', '.join(SPLITS)}, found {word!r}")


def _buckets(raw: Any) -> dict[str, int]:
    """Shards per degradation in each split: one number for all, or a table by split."""
    if not isinstance(raw, Mapping):
        return dict.fromkeys(SPLITS, _expect_int("buckets", raw, 1, 10_000))
    _refuse_unknown("buckets", raw, SPLITS)
    return {split: _expect_int(f"buckets.{split}", raw.get(split, 1), 1, 10_000) for split in SPLITS}


def bucket_of(digest: str, buckets: int) -> int:
    """The bucket of a source whose digest is `digest` (64 hex digits), 0..buckets-1."""
    return int(digest[32:48], 16) * buckets >> 64


def canonical_json(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, UTF-8 as it is, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
