"""Features of the texts by which a CLIP names degradations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from patina.training.data.views import tokenize


@torch.no_grad()
def text_features(net: nn.Module, texts: Sequence[str]) -> Tensor:
    """Features of the degradations' texts, K x E, as the network compares images with them."""
    settings: Any = net.settings
    tokens = tokenize(list(texts), settings.context_length)
    return net.encode_text(tokens).float()  # type: ignore[operator,no-any-return]
