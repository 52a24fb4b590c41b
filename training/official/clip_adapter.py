"""Published tensors of VLU-Net's adapted CLIP: whole in the restorer's checkpoint, the adapters in `clip_tuned.pth`."""

from __future__ import annotations

from patina.training.models.keymap import KeyMap, Rule

_ADAPTERS = (
    Rule.of("image_adapter.linears.0.{rest}", "ad_imageEncoder.adapter.0.{rest}"),
    Rule.of("image_adapter.norms.0.{rest}", "ad_imageEncoder.adapter.1.{rest}"),
    Rule.of("image_adapter.linears.1.{rest}", "ad_imageEncoder.adapter.3.{rest}"),
    Rule.of("image_adapter.norms.1.{rest}", "ad_imageEncoder.adapter.4.{rest}"),
    Rule.of("image_adapter.linears.2.{rest}", "ad_imageEncoder.adapter.6.{rest}"),
    Rule.of("image_adapter.norms.2.{rest}", "ad_imageEncoder.adapter.7.{rest}"),
    Rule.of("text_adapter.linears.0.{rest}", "ad_textEncoder.adapter.0.{rest}"),
    Rule.of("text_adapter.norms.0.{rest}", "ad_textEncoder.adapter.1.{rest}"),
    Rule.of("text_adapter.linears.1.{rest}", "ad_textEncoder.adapter.3.{rest}"),
    Rule.of("text_adapter.norms.1.{rest}", "ad_textEncoder.adapter.4.{rest}"),
    Rule.of("text_adapter.linears.2.{rest}", "ad_textEncoder.adapter.6.{rest}"),
    Rule.of("text_adapter.norms.2.{rest}", "ad_textEncoder.adapter.7.{rest}"),
)

CLIP_ADAPTER = KeyMap(
    rules=(*_ADAPTERS, Rule.of("clip.{rest}", "ad_imageEncoder.clip_model.{rest}")),
    aliases=(("ad_textEncoder.clip_model.{rest}", "ad_imageEncoder.clip_model.{rest}"),),
)
"""Of `model_degradation.` in VLU-Net's checkpoints, where one CLIP is written twice."""

ADAPTERS = KeyMap(rules=_ADAPTERS)
"""Of `learnable_params` in `clip_tuned.pth`: for those of a network's tensors that do not begin with `clip.`."""

CLIP_PREFIX = "ad_imageEncoder.clip_model."
"""Before the CLIP's own names, for `patina.training.official.daclip.settings_of`."""
