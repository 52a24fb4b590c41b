"""One table that names a network's tensors both ways: ours and the published.

A rule is a pair of templates. `{i}`, `{j}` … stand for an integer, `{rest}` for the tail of a name, each alike on both
sides. The first rule that fits a name counts. Where several published tensors are one of ours (query, key and value in
one matrix), the rule names them all, and they lie one after the other along the first axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from patina.training.errors import TrainingError


class KeyMapError(TrainingError, ValueError):
    """A state dict whose names do not fit a table: says which are missing and which are surplus."""


@dataclass(frozen=True)
class Rule:
    """Our template, and the published ones that make it up (usually one)."""

    ours: str
    theirs: tuple[str, ...]

    @classmethod
    def of(cls, ours: str, *theirs: str) -> Rule:
        """A rule; no published name means the same name."""
        return cls(ours, theirs or (ours,))

    @cached_property
    def _ours(self) -> re.Pattern[str]:
        return _pattern(self.ours)

    def name(self, ours: str) -> tuple[str, ...] | None:
        """The published names of one of our tensors, or None if this rule is not about it."""
        found = self._ours.fullmatch(ours)
        return tuple(template.format(**found.groupdict()) for template in self.theirs) if found else None


@dataclass(frozen=True)
class KeyMap:
    """All rules of a network, and published names that repeat another tensor.

    rules    for every tensor of ours exactly one fits first.
    aliases  (repeated template, original template): written, and accepted if absent or equal when read.
    """

    rules: tuple[Rule, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    def names(self, ours: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Our names and the published ones of each.

        Raises KeyMapError for a name that no rule knows, and for a published name that two of ours would claim.
        """
        names = {name: self._name(name) for name in ours}
        claimed: dict[str, str] = {}
        for name, theirs in names.items():
            for published in theirs:
                if (other := claimed.setdefault(published, name)) != name:
                    raise KeyMapError(f"the table gives {published!r} to {other!r} and to {name!r}")
        return names

    def explained(self, published: Iterable[str]) -> int:
        """How many of these published names have a form that a rule knows; those that repeat a tensor do not count."""
        return sum(self._forms.fullmatch(name) is not None for name in published)

    @cached_property
    def _forms(self) -> re.Pattern[str]:
        """Any of the published templates."""
        forms = [_pattern(template).pattern for rule in self.rules for template in rule.theirs]
        return re.compile("|".join(re.sub(r"\(\?P<\w+>", "(?:", form) for form in forms))

    def _name(self, ours: str) -> tuple[str, ...]:
        for rule in self.rules:
            if (theirs := rule.name(ours)) is not None:
                return theirs
        raise KeyMapError(f"no rule names the published tensor of {ours!r}: the table and the network differ")

    def from_published(self, published: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names, for a network whose own state dict is `like` (names and shapes).

        Raises KeyMapError with the lists of missing and surplus names and of wrong shapes; an alias whose tensor is not
        equal to its original is an error too; one whose original is not there stands for it.
        """
        wanted = self.names(like)
        expected = [name for theirs in wanted.values() for name in theirs]
        originals = {alias: original for alias in published if (original := self._original(alias)) is not None}
        found = {original: published[alias] for alias, original in originals.items()} | dict(published)
        missing = [name for name in expected if name not in found]
        known = set(expected)
        surplus = sorted(name for name in published if originals.get(name, name) not in known)
        unlike = [alias for alias, original in originals.items() if not _same(published[alias], found[original])]
        state, shapes = {}, []
        for ours, theirs in wanted.items():
            parts = [found[name] for name in theirs if name in found]
            if len(parts) == len(theirs) and (wrong := _misfit(parts, like[ours])):
                shapes.append(f"{theirs[0]} {wrong}")
            elif len(parts) == len(theirs):
                state[ours] = parts[0] if len(parts) == 1 else torch.cat(parts)
        if missing or surplus or unlike or shapes:
            raise KeyMapError(_complaint(missing, surplus, unlike, shapes))
        return state

    def to_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our state dict under the published names, repeated tensors included; parts of a joined tensor are equal.

        Raises KeyMapError for a tensor that cannot be divided so.
        """
        published: dict[str, Tensor] = {}
        for ours, theirs in self.names(state).items():
            tensor, parts = state[ours], len(theirs)
            if parts > 1 and (not tensor.ndim or len(tensor) % parts):
                raise KeyMapError(f"{ours!r} of shape {tuple(tensor.shape)} cannot be cut into {parts} equal parts")
            published.update(
                (name, part.clone())
                for name, part in zip(theirs, tensor.chunk(parts) if parts > 1 else (tensor,), strict=True)
            )
        for alias, original in self.aliases:
            pattern = _pattern(original)
            for name in list(published):
                if found := pattern.fullmatch(name):
                    published[alias.format(**found.groupdict())] = published[name]
        return published

    def _original(self, name: str) -> str | None:
        for alias, original in self.aliases:
            if found := _pattern(alias).fullmatch(name):
                return original.format(**found.groupdict())
        return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal; where one is NaN, so is the other."""
    if one is other:
        return True
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _misfit(parts: Sequence[Tensor], like: Tensor) -> str:
    """What keeps published tensors from making up one of ours: their shapes and the one expected. Empty if nothing."""
    first = parts[0].shape
    alike = all(part.ndim and part.shape[1:] == first[1:] for part in parts) if len(parts) > 1 else True
    joined = (sum(len(part) for part in parts), *first[1:]) if alike and len(parts) > 1 else tuple(first)
    if alike and joined == tuple(like.shape):
        return ""
    return f"{', '.join(str(tuple(part.shape)) for part in parts)}, expected {tuple(like.shape)}"


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    groups = [
        re.escape(p) if k % 2 == 0 else f"(?P<{p}>{'.+' if p == 'rest' else '[0-9]+'})" for k, p in enumerate(parts)
    ]
    return re.compile("".join(groups))


def _complaint(missing: Sequence[str], surplus: Sequence[str], unlike: Sequence[str], shapes: Sequence[str]) -> str:
    told = []
    for what, names in (
        ("missing", missing),
        ("surplus", surplus),
        ("not equal to what they repeat", unlike),
        ("of another shape", shapes),
    ):
        if names:
            shown = "; ".join(list(names)[:8]) + ("; …" if len(names) > 8 else "")
            told.append(f"{len(names)} {what}: {shown}")
    return "the tensors are not this network's: " + " | ".join(told)
