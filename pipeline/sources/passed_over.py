"""Picture files that lie beside those that are read, and that nobody would miss if nothing were said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path, PurePosixPath

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.codec.file_kinds import HEAD, NO_PICTURES, OWN_SUFFIX, REMEDIES, kind_of, remedy_of
from patina.pipeline.text import counted, printable

LOOKED_AT = 200
"""Files of one unknown suffix that are opened: where none of them is a picture, the others are none either."""


def unread_kinds(
    names: Iterable[str], path_of: Mapping[str, str] | None = None, read: Set[str] = SUFFIXES
) -> dict[str, str]:
    """Of the files `names` that are not read, those that are pictures: each with its suffix, such as `.heic`.

    names    relative names, forward slashes.
    path_of  their local paths. With them, the first bytes of files without a suffix or of an unknown one are read, and
             a picture among them has its kind, such as `JPEG`; without, as at an address, such files are no pictures.
    read     the suffixes that are read.
    """
    found: dict[str, str] = {}
    unknown: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in read:
            continue
        if suffix in REMEDIES or suffix in SUFFIXES:
            found[name] = suffix
        elif path_of is not None and suffix not in NO_PICTURES:
            unknown[suffix].append(name)
    for group in unknown.values():
        found |= _looked_at(group, path_of or {})
    return found


def _looked_at(names: Sequence[str], path_of: Mapping[str, str]) -> dict[str, str]:
    """The kinds of those files that are pictures by their first bytes."""
    first, others = names[:LOOKED_AT], names[LOOKED_AT:]
    kinds = {name: kind for name in first if (kind := kind_of(_head(path_of[name])))}
    if kinds:
        kinds |= {name: kind for name in others if (kind := kind_of(_head(path_of[name])))}
    return kinds


def _head(path: str) -> bytes:
    try:
        if not Path(path).is_file():  # opening a pipe would wait for ever
            return b""
        with Path(path).open("rb") as file:
            return file.read(HEAD)
    except OSError:  # it may not be read, or is no plain file: nobody asked for it
        return b""


def passed_over(where: str, kinds: Mapping[str, str]) -> str:
    """One sentence on all picture files that were passed over in `where`, by suffix, with what to do; "" for none.

    kinds  as `unread_kinds` gives them.
    """
    if not kinds:
        return ""
    counts = Counter(kind for kind in kinds.values() if kind.startswith("."))
    by_remedy: dict[str, list[str]] = defaultdict(list)
    for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        by_remedy[REMEDIES.get(suffix, "convert to PNG")].append(f"{count:,} {suffix}")
    clauses = [f"{', '.join(parts)} ({remedy})" for remedy, parts in by_remedy.items()]
    clauses += _misnamed({name: kind for name, kind in kinds.items() if not kind.startswith(".")})
    were = "was" if len(kinds) == 1 else "were"
    return f"{where}: {counted(len(kinds), 'picture file')} {were} passed over: {'; '.join(clauses)}"


def _misnamed(kinds: Mapping[str, str]) -> list[str]:
    """A clause for each kind of the pictures whose suffix does not tell it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, kind in kinds.items():
        groups[kind].append(name)
    clauses = []
    for kind, names in sorted(groups.items()):
        suffix = OWN_SUFFIX[kind]
        what = remedy_of(kind) or f"give {'it' if len(names) == 1 else 'them'} the suffix {suffix}"
        clauses.append(f"{len(names):,} {kind} without a suffix of its kind, such as {printable(names[0])} ({what})")
    return clauses
