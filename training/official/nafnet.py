"""The names of Refusion's conditional NAFNet: ours, then the published ones. The direct one was never published."""

from __future__ import annotations

from patina.training.models.keymap import KeyMap, Rule

_BLOCK = (
    ("beta", "beta"),
    ("gamma", "gamma"),
    ("shift_scale.{rest}", "mlp.1.{rest}"),
    ("mix_norm.g", "norm1.g"),
    ("mix_widen.{rest}", "conv1.{rest}"),
    ("mix_depthwise.{rest}", "conv2.{rest}"),
    ("attend.weigh.{rest}", "sca.1.{rest}"),
    ("mix_out.{rest}", "conv3.{rest}"),
    ("feed_norm.g", "norm2.g"),
    ("feed_widen.{rest}", "conv4.{rest}"),
    ("feed_out.{rest}", "conv5.{rest}"),
)
_PLACES = (
    ("pyramid.encoders.{i}.{j}", "encoders.{i}.{j}"),
    ("pyramid.middle.{j}", "middle_blks.{j}"),
    ("pyramid.decoders.{i}.{j}", "decoders.{i}.{j}"),
)

NAFNET = KeyMap(
    rules=(
        Rule.of("time.widen.{rest}", "time_mlp.1.{rest}"),
        Rule.of("time.out.{rest}", "time_mlp.3.{rest}"),
        Rule.of("pyramid.intro.{rest}", "intro.{rest}"),
        Rule.of("pyramid.downs.{i}.{rest}", "downs.{i}.{rest}"),
        Rule.of("pyramid.ups.{i}.widen.{rest}", "ups.{i}.0.{rest}"),
        Rule.of("pyramid.ending.{rest}", "ending.{rest}"),
        *(Rule.of(f"{ours}.{name}", f"{theirs}.{other}") for ours, theirs in _PLACES for name, other in _BLOCK),
    )
)
"""For any width and any numbers of blocks: 668 tensors in the released models."""
