"""Captions and degradations as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from patina.training.data.index import Index
from patina.training.data.views import tokenize
from patina.training.errors import StageError
from patina.training.stages.stage import CLEAN, Stage


class Texts:
    """Features of texts by a frozen text tower: each text goes through it once in a training.

    Which texts go through it together is decided by all the texts that there are, never by when one is asked for: the
    last bits of a feature depend on its company, and a training that goes on must see the same ones.
    """

    TOGETHER = 256

    def __init__(
        self, encode: Callable[[Tensor], Tensor], length: int, texts: Iterable[str], device: torch.device | str = "cpu"
    ) -> None:
        """`texts`: all that may be asked for."""
        self._encode, self._length, self._device = encode, length, device
        self._texts = sorted(set(texts))
        self._place = {text: k for k, text in enumerate(self._texts)}
        self._rows: dict[int, Tensor] = {}
        self.asked = 0

    @property
    def made(self) -> int:
        """Texts that went through the tower."""
        return sum(len(rows) for rows in self._rows.values())

    def to(self, device: torch.device | str) -> Texts:
        """The same on another device, nothing computed yet."""
        return Texts(self._encode, self._length, self._texts, device)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Features of unit length, B x E."""
        self.asked += len(texts)
        places = [divmod(self._place[text], self.TOGETHER) for text in texts]
        for block in sorted({block for block, _ in places} - set(self._rows)):
            part = self._texts[block * self.TOGETHER : (block + 1) * self.TOGETHER]
            with torch.no_grad():
                features = self._encode(tokenize(part, self._length).to(self._device)).float()
            self._rows[block] = functional.normalize(features, dim=-1)
        return torch.stack([self._rows[block][k] for block, k in places])


def class_names(stage: Stage, index: Index) -> tuple[str, ...]:
    """What a CLIP learns to tell apart: the entries of the index, and `clean` where it is shown clean photographs."""
    return (*index.names, *([CLEAN] if stage.data.clean_share else []))


def class_texts(stage: Stage, index: Index) -> list[str]:
    """The text of each of `class_names`: the stage's, or the degradation's name, or for prompts a sentence of it.

    Raises StageError for prompts of entries that the dataset lacks.
    """
    if unknown := sorted(set(stage.prompts) - set(class_names(stage, index))):
        raise StageError(
            f"stage {stage.name}: prompts of {', '.join(unknown)}; the dataset has {', '.join(index.names)}: remove "
            "them, or take the plan that was written for it, such as nhr for three tasks and nhrbl for five"
        )
    # Of several degradations in one image the words, as DA-CLIP's follow-up has them: "blur, noise".
    form = "{}" if stage.objective == "contrastive" else "image with {}"
    texts = [
        stage.prompts.get(name, form.format(", ".join(degradation.split("+"))))
        for name, degradation in zip(index.names, index.degradations, strict=True)
    ]
    clean = CLEAN if stage.objective == "contrastive" else "clean image"
    return [*texts, *([stage.prompts.get(CLEAN, clean)] if stage.data.clean_share else [])]
