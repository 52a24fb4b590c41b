"""The names of the U-Nets of IR-SDE, DA-CLIP and its follow-up, ours and the published ones: one table for all."""

from __future__ import annotations

from patina.training.models.keymap import KeyMap, Rule

RES_BLOCK = (
    ("scale_shift.{rest}", "mlp.1.{rest}"),
    ("first.{rest}", "block1.proj.{rest}"),
    ("second.{rest}", "block2.proj.{rest}"),
    ("shortcut.{rest}", "res_conv.{rest}"),
)

# Query, key and value are one matrix of ours where they are made from one input.
SPATIAL_TRANSFORMER = (
    ("norm.weight", "norm.weight"),
    ("norm.bias", "norm.bias"),
    ("project_in.{rest}", "proj_in.{rest}"),
    ("project_out.{rest}", "proj_out.{rest}"),
    ("block.norm_self.{rest}", "transformer_blocks.0.norm1.{rest}"),
    (
        "block.self_attention.query_key_value.weight",
        "transformer_blocks.0.attn1.to_q.weight",
        "transformer_blocks.0.attn1.to_k.weight",
        "transformer_blocks.0.attn1.to_v.weight",
    ),
    ("block.self_attention.out.{rest}", "transformer_blocks.0.attn1.to_out.0.{rest}"),
    ("block.norm_cross.{rest}", "transformer_blocks.0.norm2.{rest}"),
    ("block.cross_attention.query.weight", "transformer_blocks.0.attn2.to_q.weight"),
    ("block.cross_attention.key.weight", "transformer_blocks.0.attn2.to_k.weight"),
    ("block.cross_attention.value.weight", "transformer_blocks.0.attn2.to_v.weight"),
    ("block.cross_attention.out.{rest}", "transformer_blocks.0.attn2.to_out.0.{rest}"),
    ("block.norm_feed.{rest}", "transformer_blocks.0.norm3.{rest}"),
    ("block.feed_forward.widen.{rest}", "transformer_blocks.0.ff.net.0.proj.{rest}"),
    ("block.feed_forward.narrow.{rest}", "transformer_blocks.0.ff.net.2.{rest}"),
)

LINEAR_ATTENTION = (
    ("query_key_value.weight", "to_qkv.weight"),
    ("out.{rest}", "to_out.0.{rest}"),
    ("norm.g", "to_out.1.g"),
)

# The attention of a level under its norm: either kind.
ATTENDED = (
    ("norm.g", "fn.norm.g"),
    *((f"inner.{ours}", *(f"fn.fn.{name}" for name in theirs)) for ours, *theirs in LINEAR_ATTENTION),
    *((f"inner.{ours}", *(f"fn.fn.{name}" for name in theirs)) for ours, *theirs in SPATIAL_TRANSFORMER),
)


def _below(ours: str, theirs: str, table: tuple[tuple[str, ...], ...]) -> tuple[Rule, ...]:
    """The rules of a part's table for one place of it in the network."""
    return tuple(Rule.of(f"{ours}.{name}", *(f"{theirs}.{other}" for other in others)) for name, *others in table)


UNET = KeyMap(
    rules=(
        Rule.of("stem.{rest}", "init_conv.{rest}"),
        Rule.of("shrink.{rest}", "downsample.{rest}"),  # the follow-up's alone
        Rule.of("enlarge.conv.{rest}", "upsample.1.{rest}"),  # the follow-up's alone
        Rule.of("time.widen.{rest}", "time_mlp.1.{rest}"),
        Rule.of("time.mix.{rest}", "time_mlp.3.{rest}"),
        Rule.of("prompt.prompt", "prompt"),
        Rule.of("prompt.scores.{rest}", "text_mlp.{rest}"),
        Rule.of("prompt.project.{rest}", "prompt_mlp.{rest}"),
        *_below("downs.{i}.first", "downs.{i}.0", RES_BLOCK),
        *_below("downs.{i}.second", "downs.{i}.1", RES_BLOCK),
        *_below("downs.{i}.attention", "downs.{i}.2", ATTENDED),
        Rule.of("downs.{i}.resample.{rest}", "downs.{i}.3.{rest}"),
        *_below("middle.first", "mid_block1", RES_BLOCK),
        *_below("middle.attention", "mid_attn", ATTENDED),
        *_below("middle.second", "mid_block2", RES_BLOCK),
        *_below("ups.{i}.first", "ups.{i}.0", RES_BLOCK),
        *_below("ups.{i}.second", "ups.{i}.1", RES_BLOCK),
        *_below("ups.{i}.attention", "ups.{i}.2", ATTENDED),
        Rule.of("ups.{i}.resample.conv.{rest}", "ups.{i}.3.1.{rest}"),  # with doubling
        Rule.of("ups.{i}.resample.{rest}", "ups.{i}.3.{rest}"),  # the last level, without
        *_below("last", "final_res_block", RES_BLOCK),
        Rule.of("predict.{rest}", "final_conv.{rest}"),
    )
)
