"""What a restorer is told about an image, and the CLIP that tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from patina.training.models import clip_adapter
from patina.training.stages.stage import Stage


def taken_by(net: nn.Module, contexts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the inputs that a CLIP gives those that a network is built for.

    contexts  by name, B x width each. A network that is built without one has None in its settings under that name:
              the follow-up's U-Net for photographs in the wild has no degradation embedding, and DA-CLIP's ablations
              have one of the two.
    """
    settings = getattr(net, "settings", None)
    return {name: value for name, value in contexts.items() if getattr(settings, name, value) is not None}


class Conditioner:
    """A frozen CLIP with its controller or adapters: what a restorer is told of the degraded image.

    side  of the squares that it looks at, px, as it was trained; 0: the whole photograph as one view.
    """

    def __init__(self, net: nn.Module, stage: Stage) -> None:
        """Freezes the network."""
        self._look(net.requires_grad_(False).eval(), stage)

    @classmethod
    def of(cls, net: nn.Module, stage: Stage) -> Conditioner:
        """Of a network that still learns: it is not frozen."""
        conditioner = cls.__new__(cls)
        conditioner._look(net, stage)
        return conditioner

    def _look(self, net: nn.Module, stage: Stage) -> None:
        self.net = net
        self.stage = stage
        self.view = stage.data.view
        self.side = 0 if stage.data.view == "photo" or stage.data.resize else stage.data.crop

    @property
    def view_side(self) -> int:
        """Side of a view, px."""
        settings: Any = self.net.settings
        return int(settings.image_size)

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        settings: Any = self.net.settings
        return int(settings.embed_dim)

    def to(self, device: torch.device | str) -> Conditioner:
        """On a device."""
        self.net.to(device)
        return self

    @torch.no_grad()
    def contexts(self, views: Tensor) -> dict[str, Tensor]:
        """All that it says of B x 3 x V x V views, float32; a network is given what it takes of them (`taken_by`)."""
        if isinstance(self.net, clip_adapter.AdaptedClip):
            return {"degradation": self.net.encode_image(views).float()}
        image, degradation = self.net.encode_image(views)  # type: ignore[operator]
        return {"image_context": image.float(), "degradation_context": degradation.float()}
