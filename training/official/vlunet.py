"""The published names of VLU-Net's tensors: what stands below `net.` in a released checkpoint."""

from __future__ import annotations

from patina.training.models.keymap import KeyMap, Rule

# ours, published
_STAGES = (
    ("encoder{i}", "encoder_level{i}"),
    ("latent", "latent"),
    ("decoder{i}", "decoder_level{i}"),
    ("refinement", "refinement"),
)
_STAGE_TENSORS = (
    ("descent.r", "gradient_descent.r"),
    ("descent.prompts", "gradient_descent.prompt_param"),
    ("descent.weigh.weight", "gradient_descent.linear.weight"),
    ("descent.weigh.bias", "gradient_descent.linear.bias"),
    ("descent.phi.temperature", "gradient_descent.phi.temperature"),
    ("descent.phi.qv.weight", "gradient_descent.phi.qv.weight"),
    ("descent.phi.qv_mix.weight", "gradient_descent.phi.qv_dwconv.weight"),
    ("descent.phi.k.weight", "gradient_descent.phi.k.weight"),
    ("descent.phi.k_mix.weight", "gradient_descent.phi.k_dwconv.weight"),
    ("descent.phi.project.weight", "gradient_descent.phi.project_out.weight"),
    ("descent.phi_t.temperature", "gradient_descent.phit.temperature"),
    ("descent.phi_t.qkv.weight", "gradient_descent.phit.qkv.weight"),
    ("descent.phi_t.qkv_mix.weight", "gradient_descent.phit.qkv_dwconv.weight"),
    ("descent.phi_t.project.weight", "gradient_descent.phit.project_out.weight"),
    ("proximal.{j}.norm{k}.{rest}", "denoiser.blocks.{j}.norm{k}.body.{rest}"),
    ("proximal.{j}.attention.temperature", "denoiser.blocks.{j}.attn.temperature"),
    ("proximal.{j}.attention.qkv.weight", "denoiser.blocks.{j}.attn.qkv.weight"),
    ("proximal.{j}.attention.qkv_mix.weight", "denoiser.blocks.{j}.attn.qkv_dwconv.weight"),
    ("proximal.{j}.attention.project.weight", "denoiser.blocks.{j}.attn.project_out.weight"),
    ("proximal.{j}.feed_forward.expand.weight", "denoiser.blocks.{j}.ffn.project_in.weight"),
    ("proximal.{j}.feed_forward.mix.weight", "denoiser.blocks.{j}.ffn.dwconv.weight"),
    ("proximal.{j}.feed_forward.project.weight", "denoiser.blocks.{j}.ffn.project_out.weight"),
)
_BETWEEN = (
    ("embed_x.weight", "patch_embed.proj.weight"),
    ("embed_y.weight", "patch_embed_i.proj.weight"),
    ("down1_x.convolution.weight", "down1_2.body.0.weight"),  # for x and for y
    ("down1_y.convolution.weight", "down1_2_i.body.0.weight"),  # without use
    ("down2_x.convolution.weight", "down2_3.body.0.weight"),
    ("down2_y.convolution.weight", "down2_3_i.body.0.weight"),
    ("down3_x.convolution.weight", "down3_4.body.0.weight"),
    ("down3_y.convolution.weight", "down3_4_i.body.0.weight"),
    ("up3_x.convolution.weight", "up4_3.body.0.weight"),
    ("up3_y.convolution.weight", "up4_3_i.body.0.weight"),
    ("up2_x.convolution.weight", "up3_2.body.0.weight"),
    ("up2_y.convolution.weight", "up3_2_i.body.0.weight"),
    ("up1_x.convolution.weight", "up2_1.body.0.weight"),
    ("up1_y.convolution.weight", "up2_1_i.body.0.weight"),
    ("reduce{i}_x.weight", "reduce_chan_level{i}.weight"),
    ("reduce{i}_y.weight", "reduce_chan_level{i}_img.weight"),
    ("output.weight", "output.weight"),
)

VLUNET = KeyMap(
    rules=tuple(
        Rule.of(f"{stage}.{ours}", f"{published_stage}.{published}")
        for stage, published_stage in _STAGES
        for ours, published in _STAGE_TENSORS
    )
    + tuple(Rule.of(ours, published) for ours, published in _BETWEEN)
)
"""For any number of prompts and any width: 615 tensors in the networks of the paper."""
