"""What a restorer is told in place of what its CLIP sees: `patina restore --degradation rainy`.

A CLIP names a degradation by the products of its embedding d with the features t of K texts. Only the part of d in the
span of the texts has a say in that; the rest, w, is as it is in photographs, and a network that learnt from photographs
expects it. So that part alone is exchanged, for the one whose products are those asked for:

    l = T d,   l'_k = max l for what is asked for, min l for all else,   d' = d + T⁺ (l' - l)

T⁺ is the pseudo-inverse, so that T d' = l' where the texts' features are independent, as 10 of 512 numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from patina.pipeline.text import nearest
from patina.training.errors import ModelInputError
from patina.training.models.clip_adapter import ENTRY_OF_PROMPT


def steered_towards(d: Tensor, texts: Tensor, asked: Sequence[int]) -> Tensor:
    """The embedding that names the texts of these rows first, and the others last.

    d      1 x E, the embedding of a photograph. texts: K x E. asked: rows of `texts`.
    Gives 1 x E float32 with the length of `d`. Computed in float64.
    """
    t, own = texts.double(), d.double()
    wanted = own @ t.T  # 1 x K
    highest, lowest = wanted.max(), wanted.min()
    goal = torch.full_like(wanted, float(lowest))
    goal[:, list(asked)] = float(highest)
    steered: Tensor = own + (goal - wanted) @ torch.linalg.pinv(t).T
    steered = steered * (own.norm() / steered.norm())
    return steered.to(d.dtype)


def rows_of(names: Sequence[str], known: Sequence[str], found: Mapping[str, float]) -> list[int]:
    """The rows of the degradations of these names.

    names  of the CLIP's own words, or of recipes' entries that a published prompt stands for (`hazy` for `image with
           haze`). One that stands for several, as `noisy` for three levels, is the likeliest of them.
    found  the probability of each that the CLIP gives.
    Raises ModelInputError for a name that the CLIP does not know.
    """
    entries = [ENTRY_OF_PROMPT.get(word, word) for word in known]
    rows = []
    for name in names:
        fitting = [k for k, word in enumerate(known) if name in (word, entries[k])]
        fitting = fitting or [k for k, entry in enumerate(entries) if entry.startswith(f"{name}-")]
        if not fitting:
            raise ModelInputError(f"--degradation {name}: the CLIP does not know it; {nearest(name, entries)}")
        rows.append(max(fitting, key=lambda k: found.get(known[k], 0.0)))
    return rows
