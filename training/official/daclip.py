"""DA-CLIP's published tensors, and those of the CLIP below it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from patina.training.models.daclip import ClipSettings
from patina.training.models.keymap import KeyMap, KeyMapError, Rule

DACLIP = KeyMap(
    rules=(
        Rule.of("logit_scale"),
        Rule.of("clip.{rest}"),
        Rule.of("controller.dense.{i}.{rest}", "visual_control.transformer.zero_modules.{i}.{rest}"),
        Rule.of("controller.tower.transformer.{rest}", "visual_control.transformer.transformer.{rest}"),
        Rule.of("controller.tower.{rest}", "visual_control.{rest}"),
    ),
    aliases=(("visual.{rest}", "clip.visual.{rest}"),),
)
"""Of `daclip_ViT-B-32.pt` and `wild-daclip_ViT-L-14.pt`, and of the published training's `epoch_N.pt`."""


def settings_of(published: Mapping[str, Tensor], prefix: str = "clip.") -> ClipSettings:
    """The settings that the shapes of published tensors tell; `prefix` is before the names of the CLIP.

    Heads leave no trace in shapes: they are 64 channels wide, as in every CLIP up to ViT-L. Raises KeyMapError if the
    tensors are not of a CLIP with plain transformers.
    """
    try:
        width, _, patch, _ = published[f"{prefix}visual.conv1.weight"].shape
        places, _ = published[f"{prefix}visual.positional_embedding"].shape
        hidden, _ = published[f"{prefix}visual.transformer.resblocks.0.mlp.c_fc.weight"].shape
        text_width, embed_dim = published[f"{prefix}text_projection"].shape
        context, _ = published[f"{prefix}positional_embedding"].shape
        vocabulary, _ = published[f"{prefix}token_embedding.weight"].shape
    except (KeyError, ValueError) as error:
        raise KeyMapError(f"the tensors are not of a CLIP with plain transformers below {prefix!r}: {error}") from None
    return ClipSettings(
        embed_dim=embed_dim,
        image_size=round((places - 1) ** 0.5) * patch,
        patch_size=patch,
        image_width=width,
        image_layers=_blocks(published, f"{prefix}visual.transformer.resblocks."),
        image_mlp_ratio=hidden / width,
        text_width=text_width,
        text_heads=text_width // 64,
        text_layers=_blocks(published, f"{prefix}transformer.resblocks."),
        context_length=context,
        vocabulary=vocabulary,
    )


def _blocks(published: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in published if name.startswith(prefix)})
