"""Settings of a network from the shapes of its published tensors: nothing of them is stored in the published files."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from patina.training.models.clip_adapter import ClipAdapterSettings
from patina.training.models.daclip import ClipSettings
from patina.training.models.nafnet import NAFNetSettings
from patina.training.models.unet import UNetSettings
from patina.training.models.vlunet import VluNetSettings
from patina.training.official import clip_adapter, daclip

Published = Mapping[str, Tensor]


def daclip_settings(published: Published) -> ClipSettings:
    """Of DA-CLIP. Raises KeyError or ValueError, as all of these do, where a tensor that tells is missing or odd."""
    return daclip.settings_of(published)


def clip_adapter_settings(published: Published) -> ClipAdapterSettings:
    """Of VLU-Net's adapted CLIP; the activation, which leaves no trace, is the released restorers' GELU."""
    return ClipAdapterSettings(**vars(daclip.settings_of(published, clip_adapter.CLIP_PREFIX)))


def unet_settings(published: Published) -> UNetSettings:
    """Of the U-Nets: widths from the stem and from what follows each level, contexts from the layers that read them."""
    stem, images = published["init_conv.weight"].shape[:2]
    content = published.get("mid_attn.fn.fn.transformer_blocks.0.attn2.to_k.weight")
    prompt = published.get("text_mlp.0.weight")
    return UNetSettings(
        widths=(stem, *(len(published[f"downs.{i}.3.weight"]) for i in range(count(published, "downs")))),
        image_context=None if content is None else content.shape[1],
        degradation_context=None if prompt is None else prompt.shape[1],
        half="downsample.weight" in published,
        channels=images // 2,
    )


def nafnet_settings(published: Published) -> NAFNetSettings:
    """Of Refusion's conditional NAFNet."""
    width, images = published["intro.weight"].shape[:2]
    levels = range(count(published, "encoders"))
    return NAFNetSettings(
        width=width,
        encoder_blocks=tuple(count(published, f"encoders.{i}") for i in levels),
        middle_blocks=count(published, "middle_blks"),
        decoder_blocks=tuple(count(published, f"decoders.{i}") for i in levels),
        channels=images // 2,
    )


def vlunet_settings(published: Published) -> VluNetSettings:
    """Of VLU-Net. The expansion is the published 2.66 wherever that fits, else the smallest that gives these shapes."""
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    blocks = [count(published, f"{level}.denoiser.blocks") for level in levels]
    first = [f"{level}.denoiser.blocks.0" for level in levels]
    prompts = published["encoder_level1.gradient_descent.prompt_param"].shape
    heads = [len(published[f"{block}.attn.temperature"]) for block in first]
    shapes = [published[f"{block}.ffn.project_in.weight"].shape for block in first]  # (2h, c, 1, 1)
    expansions = (2.66, *(shape[0] // 2 / shape[1] for shape in reversed(shapes)))
    fitting = [e for e in expansions if all(int(e * c) == h2 // 2 for h2, c, *_ in shapes)]
    return VluNetSettings(
        prompts=prompts[1],
        width=published["encoder_level1.gradient_descent.linear.weight"].shape[1],
        channels=len(published["patch_embed.proj.weight"]),
        blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
        refinement=count(published, "refinement.denoiser.blocks"),
        heads=(heads[0], heads[1], heads[2], heads[3]),
        expansion=(fitting or [2.66])[0],
        prompt_side=prompts[3],
    )


def count(published: Published, prefix: str) -> int:
    """How many numbers follow `prefix` and a dot in the names."""
    begin = prefix + "."
    return len({name[len(begin) :].split(".")[0] for name in published if name.startswith(begin)})
