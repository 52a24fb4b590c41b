"""A recipe from its TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from patina.captioning import CAPTIONERS
from patina.captioning.captioner import Captioner
from patina.captioning.clip_score import ClipScore
from patina.captioning.filters import Filters
from patina.pipeline.errors import RecipeError
from patina.pipeline.format.layout import SPLITS, why_keys_clash
from patina.pipeline.format.untrusted import is_text
from patina.pipeline.recipe import shipped
from patina.pipeline.recipe.chains import chain_of
from patina.pipeline.recipe.degradations import degradation_of
from patina.pipeline.recipe.recipe import Recipe, Split, Storage, Synthesis, Tiles
from patina.pipeline.recipe.settings import construct, expect_int, expect_type, kind_of, refuse_unknown, take_table
from patina.pipeline.redaction import without_secrets_in
from patina.pipeline.sources import READERS
from patina.pipeline.sources.reader import Reader
from patina.pipeline.text import nearest, one_line, shown
from patina.synth.compose import JOINT, Composite
from patina.synth.degradation import Degradation
from patina.synth.degradations import CATALOGUE

CHAIN = "chain"
"""The key of a table with a random chain, and what `parse_degradation` calls such a one."""

ENTRY = re.compile(r"[a-z0-9]+([-+][a-z0-9]+)*")


def load_recipe(path: Path, *, blip: bool = True) -> Recipe:
    """Read a recipe from a TOML file, or by the name of one that comes with patina. Raises RecipeError.

    Relative paths in it start at the file's folder; for one that comes with patina, at the working folder.

    blip  False: captions by a model are left out, see `without_blip`.
    """
    try:
        folder = path.resolve().parent
        if not path.is_file() and not path.suffix and (own := shipped.FOLDER / f"{path}.toml").exists():
            path, folder = own, Path.cwd()
        text = path.read_text("utf-8")
    except OSError as error:
        looked = "" if path.is_absolute() else f"; looked for it in {one_line(str(Path.cwd()), 300)}"
        raise RecipeError(f"{one_line(str(path), 300)}: cannot be read: {error.strerror}{looked}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not valid TOML: it is no UTF-8 text") from None
    except ValueError as error:  # a name with a byte that no file can have
        raise RecipeError(f"{one_line(str(path), 300)}: cannot be read: {error}") from None
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise RecipeError(f"{path}: not valid TOML: {one_line(str(error))}") from None
    try:
        return parse_recipe(table if blip else without_blip(table), folder, path.stem)
    except RecipeError as error:
        raise RecipeError(f"{path}: {one_line(str(error))}") from None


def find_recipe(path: Path, *, blip: bool = True) -> Recipe:
    """The recipe of that file or name. Raises RecipeError, for a name that is none with the nearest one."""
    own = shipped.shipped()
    if not path.exists() and str(path) not in own and len(path.parts) == 1 and not path.suffix:
        raise RecipeError(f"{path}: there is no such file, and no recipe of this name; {nearest(str(path), own)}")
    return load_recipe(path, blip=blip)


def without_blip(table: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's table with captions that lie beside the photographs, or a sentence of a template where there are none,
    in place of a model's. Its filters stay. Raises RecipeError for a recipe that captions by no model."""
    captions = table.get("captions")
    if not isinstance(captions, Mapping) or captions.get("kind") != "blip":
        found = captions.get("kind", "template") if isinstance(captions, Mapping) else "template"
        raise RecipeError(f"--no-blip: expected [captions] kind = 'blip', found {found!r}; leave the option out")
    kept = {key: value for key, value in captions.items() if key in ("filter", "similarity")}
    return {**table, "captions": {"kind": "sidecar", "fallback": "template", **kept}}


def parse_recipe(table: Mapping[str, Any], folder: Path, name: str = "recipe") -> Recipe:
    """A recipe from a table as TOML gives it; relative paths start at `folder`. Raises RecipeError."""
    known = ("name", "published", "seed", "buckets", "sources", "captions", "tiles", "split", "storage", "degradations")
    refuse_unknown("the recipe", table, known)
    name = expect_type("name", table.get("name", name), str, "a text")
    published = _date(table.get("published", ""))
    seed = expect_int("seed", table.get("seed", 0), 0, 2**63 - 1)
    entries = expect_type("sources", table.get("sources", []), list, "[[sources]] tables")
    if not entries:
        raise RecipeError('no [[sources]]: name at least one folder: a line [[sources]], and below it path = "photos"')
    sources, source_tables = zip(*(kind_of("[[sources]]", e, READERS, folder, "folder") for e in entries), strict=True)
    for source in sources:
        _expect_split(source.split)
    if not any(source.has_pairs for source in sources) and not table.get("degradations"):
        raise RecipeError(f"no [degradations.…]: name at least one of {', '.join(CATALOGUE)}")

    captions, captions_table = _captions(table.get("captions", {}), folder)

    syntheses: dict[str, Synthesis] = {}
    degradation_tables: dict[str, Any] = {}
    for entry, raw in sorted(expect_type("degradations", table.get("degradations", {}), dict, "tables").items()):
        syntheses[entry], degradation_tables[entry] = parse_synthesis(entry, raw, folder)
    if clash := why_keys_clash(syntheses):
        raise RecipeError(f"[degradations.…]: {clash}")

    for source in sources:
        for entry in source.degradations:
            if entry not in syntheses:
                what = f"the recipe has no [degradations.{entry}]"
                raise RecipeError(f"[[sources]] degradations: {what}; {nearest(entry, syntheses)}")
    _expect_named(sources, syntheses)

    tiles = None
    if "tiles" in table:
        tiles, _ = construct("[tiles]", Tiles, expect_type("tiles", table["tiles"], dict, "a [tiles] table"), folder)
    split, split_table = construct(
        "[split]", Split, expect_type("split", table.get("split", {}), dict, "a table"), folder
    )
    asked = expect_type("storage", table.get("storage", {}), dict, "a table")
    storage, storage_table = construct("[storage]", Storage, asked, folder)
    buckets = _buckets(table.get("buckets", 1))

    resolved_table: dict[str, Any] = {
        "name": name,
        **({"published": published} if published else {}),
        "seed": seed,
        "buckets": dict(buckets),
        "split": split_table,
        "storage": storage_table,
        "sources": list(source_tables),
        "captions": captions_table,
        "degradations": degradation_tables,
    }
    if tiles:
        resolved_table["tiles"] = {"size": tiles.size, "stride": tiles.stride}
        if tiles.max_overlap < 1:  # recipes of before there was a bound have the digest that they had
            resolved_table["tiles"]["max_overlap"] = tiles.max_overlap
    told = without_secrets_in(resolved_table)  # it is stored and published; the readers have the addresses whole
    if not is_text(told):
        raise RecipeError(
            "the recipe: expected text, found bytes that are no UTF-8, such as those of a folder's name; rename the "
            "folder, or give a link to it"
        )
    return Recipe(name, seed, sources, *captions, syntheses, tiles, split, buckets, folder, told, storage)


def _date(value: Any) -> str:
    """A day as TOML or a text has it, as YYYY-MM-DD; "" for none. Raises RecipeError."""
    if value == "" or (isinstance(value, date) and not isinstance(value, datetime)):
        return str(value)
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        found = value.isoformat() if isinstance(value, date) else shown(value)
        raise RecipeError(f"published: expected a day such as 2026-11-29, found {found}") from None


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
    settings = dict(expect_type("captions", raw, dict, "a [captions] table"))
    spare = settings.pop("fallback", "")
    filters, filter_table = construct("[captions.filter]", Filters, take_table("captions.filter", settings), folder)
    similarity: ClipScore | None = None
    similarity_table: dict[str, Any] = {}
    if "similarity" in settings:
        chosen = take_table("captions.similarity", settings)
        similarity, similarity_table = construct("[captions.similarity]", ClipScore, chosen, folder)
    captioner, resolved = kind_of("[captions]", settings, CAPTIONERS, folder, "template")
    fallback: Captioner | None = None
    spare_table: Any = ""
    if spare != "":
        if not isinstance(spare, str | dict):
            raise RecipeError(f"captions.fallback: expected a captioner's word or table, found {spare!r}")
        own = {"kind": spare} if isinstance(spare, str) else spare
        fallback, spare_table = kind_of("[captions] fallback", own, CAPTIONERS, folder, "template")
    for one in (captioner, fallback):
        if similarity and getattr(one, "several", "") == "all":
            raise RecipeError(
                'captions.similarity: it judges one caption for each image, and several = "all" gives more; choose '
                '"first" or "random", or leave similarity out'
            )
    resolved |= {"fallback": spare_table, "filter": filter_table}
    return (captioner, fallback, filters, similarity), resolved | (
        {"similarity": similarity_table} if similarity else {}
    )


COUNTS = ("variants", "held_out_variants")
"""Keys of a degradation's table that say how often it is applied to a tile: of the split `train`, and of the others."""


def parse_synthesis(entry: str, raw: Any, folder: Path) -> tuple[Synthesis, dict[str, Any]]:
    """One [degradations.ENTRY] table: a degradation of the catalogue, or a composite of several; and the table with its
    defaults filled in. Raises RecipeError."""
    what = f"[degradations.{entry}]"
    settings = dict(expect_type(f"degradations.{entry}", raw, dict, f"a table {what}"))
    if not ENTRY.fullmatch(entry):
        raise RecipeError(
            f"{what}: expected lower-case letters and digits in its name, with single - or + between them, as it names "
            "shards; rename it"
        )
    variants = expect_int(f"degradations.{entry}.variants", settings.pop("variants", 1), 1, 1000)
    held_out = expect_int(f"degradations.{entry}.held_out_variants", settings.pop("held_out_variants", 1), 1, 1000)
    counts = {"variants": variants} | ({"held_out_variants": held_out} if held_out > 1 else {})
    if CHAIN in settings:
        chain, resolved = chain_of(what, settings, folder, COUNTS)
        return Synthesis(chain, variants, chain.name, chain.words, held_out), {**resolved, **counts}
    if "parts" in settings or JOINT in entry:
        named = expect_type(
            f"{what} parts", settings.pop("parts", entry.split(JOINT)), list, "a list of degradations' words"
        )
        composite, resolved = _composite(what, named, settings, folder, ("parts", *COUNTS))
        degradations = tuple(composite.parts)
        return Synthesis(composite, variants, composite.name, degradations, held_out), {**resolved, **counts}
    name = expect_type(f"{what} use", settings.pop("use", entry), str, "a degradation's word")
    degradation, resolved = degradation_of(what, name, settings, folder, (*COUNTS, "use", "parts"))
    return Synthesis(degradation, variants, name, (name,), held_out), {"use": name, **resolved, **counts}


def parse_degradation(name: str, settings: Mapping[str, Any], folder: Path) -> Degradation:
    """A degradation of the catalogue by its name, a composite such as `hazy+rainy`, or `chain` with a random chain as
    its setting `chain`; with settings as a recipe has them. Raises RecipeError."""
    if name == CHAIN and CHAIN in settings:
        return chain_of(name, dict(settings), folder)[0]
    if JOINT in name:
        return _composite(name, name.split(JOINT), dict(settings), folder)[0]
    return degradation_of(name, name, dict(settings), folder)[0]


def _composite(
    what: str, named: Sequence[str], settings: dict[str, Any], folder: Path, also: Iterable[str] = ()
) -> tuple[Composite, dict[str, Any]]:
    """A composite of the parts `named`, each with a table of settings if need be."""
    for part in named:
        expect_type(f"{what} parts", part, str, "a degradation's word")
    steps = expect_type(f"{what} steps", settings.pop("steps", False), bool, "true or false")
    refuse_unknown(what, settings, [*named, "steps", *also])
    parts, tables = {}, {}
    for name in named:
        own = dict(expect_type(f"{what} {name}", settings.get(name, {}), dict, "a table"))
        parts[name], tables[name] = degradation_of(f"{what} {name}", name, own, folder)
    composite, _ = construct(what, Composite, {"parts": parts, "steps": steps}, folder)
    return composite, {"parts": list(parts), "steps": steps, **tables}


def _expect_split(split: str) -> None:
    if split and split not in SPLITS:
        raise RecipeError(f"[[sources]] split: expected one of {', '.join(SPLITS)}, found {split!r}")


def _buckets(raw: Any) -> dict[str, int]:
    """Shards per degradation in each split: one number for all, or a table by split."""
    if not isinstance(raw, Mapping):
        return dict.fromkeys(SPLITS, expect_int("buckets", raw, 1, 10_000))
    refuse_unknown("buckets", raw, SPLITS)
    return {split: expect_int(f"buckets.{split}", raw.get(split, 1), 1, 10_000) for split in SPLITS}
