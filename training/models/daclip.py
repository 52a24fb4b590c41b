"""DA-CLIP (Luo et al., ICLR 2024): a frozen CLIP, and a controller that tells the degradation and steers it.

The controller is a trainable copy of CLIP's image tower. It gives an embedding of the degradation, and through one
dense layer a block a control that is added to the frozen encoder, so that a degraded photograph is seen as the clean
one:

    images ─┬─ controller: h_0 … h_11 ──────────────────────────── degra_features
            │              │ z_i = dense_i(h_i), used from the end
            └─ frozen encoder: x := block_j(x) + z_(11-j) ──────── image_features

The CLIP is one of open_clip's plain vision transformers. Its blocks are walked here (`run_block`) and not by its own
`forward`, since the controls enter between them, and since only one token of the last block is ever looked at.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from patina.captioning.torchvision_ops import ensure_torchvision
from patina.training.errors import ModelInputError, TrainingError
from patina.training.models.layers import check_images, told_not_finite

DEGRADATIONS = (
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "uncompleted",
)
"""The ten degradations of the paper, in its order. The bare names are the texts of the degradation term."""

WILD_DEGRADATIONS = ("blur", "noise", "resize", "jpeg")
"""What the follow-up's images in the wild bear, several at a time: the words of `wild-daclip_ViT-L-14.pt`."""

MAX_LOGIT_SCALE = math.log(100)
"""Largest logarithm of the temperature's inverse; the smallest is 0."""


class ClipWeightsError(TrainingError, ValueError):
    """Pretrained weights that cannot be had, or that are of another model. Says what was found and what to do."""


@dataclass(frozen=True)
class ClipSettings:
    """The shape of a CLIP with two plain transformers; the controller's follows from it.

    Sizes in pixels and channels. MLPs of the text tower are four times as wide as it. `quick_gelu` is for OpenAI's own
    weights, x·sigmoid(1.702 x) for the exact GELU: it changes no shape, so weights of the other kind give wrong
    numbers without an error. Raises ModelInputError for sizes that do not divide.
    """

    embed_dim: int = 512
    image_size: int = 224
    patch_size: int = 32
    image_width: int = 768
    image_layers: int = 12
    image_head_width: int = 64
    image_mlp_ratio: float = 4.0
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12
    context_length: int = 77
    vocabulary: int = 49_408
    quick_gelu: bool = False

    def __post_init__(self) -> None:
        for whole, part in (
            ("image_size", "patch_size"),
            ("image_width", "image_head_width"),
            ("text_width", "text_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ModelInputError(
                    f"{whole} {getattr(self, whole)} is no multiple of {part} {getattr(self, part)}; change one of them"
                )


VIT_B_32 = ClipSettings()
"""DA-CLIP of the paper (`daclip_ViT-B-32.pt`), on OpenCLIP's weights `laion2b_s34b_b79k`."""

VIT_L_14 = ClipSettings(
    embed_dim=768, patch_size=14, image_width=1024, image_layers=24, text_width=768, text_heads=12, text_layers=12
)
"""DA-CLIP of the follow-up on photographs in the wild (`wild-daclip_ViT-L-14.pt`)."""

OPEN_CLIP = {"VIT_B_32": "ViT-B-32", "VIT_L_14": "ViT-L-14"}
"""What open_clip calls the released sizes."""

TINY = ClipSettings(
    embed_dim=64,
    image_size=64,
    patch_size=16,
    image_width=128,
    image_layers=3,
    text_width=64,
    text_heads=1,
    text_layers=2,
)
"""For a CPU: 64 px, heads of 64 as in the large ones, the tokeniser's whole vocabulary."""


# ------------------------------------------------------------------------------------------------- open_clip's CLIP


def settings_named(model: str) -> ClipSettings:
    """Settings of one of open_clip's architectures, such as `ViT-B-32`, `ViT-L-14` or `ViT-B-32-quickgelu`.

    Raises ModelInputError for a name that open_clip does not know, and for one whose towers are no plain transformers.
    """
    ensure_torchvision()
    import open_clip  # type: ignore[import-untyped]

    config = open_clip.get_model_config(model)
    if config is None:
        raise ModelInputError(f"open_clip knows no model {model!r}; write one such as 'ViT-B-32' or 'ViT-L-14'")
    image, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    settings = {
        "embed_dim": config["embed_dim"],
        "image_size": image.pop("image_size", 224),
        "patch_size": image.pop("patch_size", 16),
        "image_width": image.pop("width", 768),
        "image_layers": image.pop("layers", 12),
        "image_head_width": image.pop("head_width", 64),
        "image_mlp_ratio": image.pop("mlp_ratio", 4.0),
        "text_width": text.pop("width", 512),
        "text_heads": text.pop("heads", 8),
        "text_layers": text.pop("layers", 12),
        "context_length": text.pop("context_length", 77),
        "vocabulary": text.pop("vocab_size", 49_408),
        "quick_gelu": config.get("quick_gelu", False),
    }
    others = sorted({*image, *text, *config} - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
    if others or not isinstance(settings["image_layers"], int):
        raise ModelInputError(
            f"{model!r} is no pair of plain transformers ({', '.join(others) or 'a ResNet'}); DA-CLIP's controller is "
            "known for those only: take one such as 'ViT-B-32' or 'ViT-L-14'"
        )
    return ClipSettings(**settings)


def build_clip(settings: ClipSettings) -> Any:
    """open_clip's CLIP of that shape with its random starting values: frozen and in eval mode.

    But for the patch embedding, which starts as cosines (`start_as_cosines`): that shortens a training from nothing to
    a quarter. Weights that are loaded replace it.
    """
    ensure_torchvision()
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # type: ignore[import-untyped]

    image = CLIPVisionCfg(
        layers=settings.image_layers,
        width=settings.image_width,
        head_width=settings.image_head_width,
        mlp_ratio=settings.image_mlp_ratio,
        patch_size=settings.patch_size,
        image_size=settings.image_size,
    )
    text = CLIPTextCfg(
        context_length=settings.context_length,
        vocab_size=settings.vocabulary,
        width=settings.text_width,
        heads=settings.text_heads,
        layers=settings.text_layers,
    )
    clip = CLIP(settings.embed_dim, image, text, quick_gelu=settings.quick_gelu)
    start_as_cosines(clip.visual.conv1)
    return clip.requires_grad_(False).eval()


SPECTRUM, FLOOR = 0.22, 0.2
"""Of normalised photographs: a cosine's standard deviation over the patch's side and 1 / its frequency, in luma; and
what is added to it in quadrature, about that of the noise which a degradation may bring."""

COLOURS = ((1.0, 1.0, 1.0, 1.0), (1.0, 0.0, -1.0, 0.2), (0.5, -1.0, 0.5, 0.2))
"""Weights of R, G and B, and the amplitude beside luma's: grey, red against blue, green against both."""


@torch.no_grad()
def start_as_cosines(conv: nn.Conv2d) -> None:
    """Set a patch embedding, 3 -> D, P x P, to cosines of all frequencies, six tenths of them grey, each over the
    amplitude that it has in photographs.

    A photograph's spectrum falls as 1 / frequency, so random filters see little of a patch but its mean colour, and
    what tells noise, JPEG or blur from one another is what they see least of.
    """
    side, count = conv.kernel_size[0], conv.out_channels
    place = torch.arange(side, dtype=torch.float64)
    cosines = torch.cos(math.pi * place[:, None] * (place + 0.5) / side) * math.sqrt(2 / side)  # frequency x pixel
    cosines[0] /= math.sqrt(2)
    pairs = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda pair: (math.hypot(*pair), pair))
    grey = min(len(pairs), round(0.6 * count))
    filters = []
    for k, many in enumerate((grey, (count - grey + 1) // 2, (count - grey) // 2)):
        *weights, share = COLOURS[k]
        colour = functional.normalize(torch.tensor(weights, dtype=torch.float64), dim=0)
        for i in range(many):
            u, v = pairs[round(i * (len(pairs) - 1) / max(1, many - 1))]
            amplitude = share * SPECTRUM * side / max(math.hypot(u, v), 0.2)
            wave = torch.outer(cosines[u], cosines[v]) / math.hypot(amplitude, FLOOR)
            filters.append(colour[:, None, None] * wave)
    conv.weight.copy_(torch.stack(filters))


def expect_weights(model: str, weights: str) -> None:
    """Raise ClipWeightsError if pretrained weights are neither a tag of open_clip for this model nor a file,
    ModelInputError for the name of the model. Nothing is loaded: whether a tag's file can be had shows then."""
    settings_named(model)
    import open_clip

    if not open_clip.get_pretrained_cfg(model, weights) and not Path(weights).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model))
        raise ClipWeightsError(
            f"the weights {weights!r} of {model!r} cannot be loaded: they are neither a file nor a tag of open_clip "
            f"({tags or 'it has none'}); give such a tag, or give the path of a file with its tensors"
        )


def pretrained_clip(model: str, weights: str) -> Any:
    """open_clip's CLIP of that name with pretrained weights, a tag of open_clip or a local file: frozen, in eval mode.

    Raises ModelInputError for the name (`settings_named`), ClipWeightsError if the weights cannot be had or are of
    another model. A tag says whether it wants QuickGELU, a file does not: name the model accordingly.
    """
    expect_weights(model, weights)
    quick = settings_named(model).quick_gelu
    import open_clip

    if open_clip.get_pretrained_cfg(model, weights).get("quick_gelu", False) and not quick:
        raise ClipWeightsError(f"the weights {weights!r} are of a model with QuickGELU; write '{model}-quickgelu'")
    try:
        clip = open_clip.create_model(model, pretrained=weights, require_pretrained=True)
    except Exception as error:  # of many kinds: no such tag, no hub, a torn file, tensors of another shape
        told = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise ClipWeightsError(
            f"the weights {weights!r} of {model!r} cannot be loaded: {told}; a tag of open_clip must be in the hub's "
            "cache, or the hub within reach; else give the path of a file with its tensors"
        ) from None
    if told := told_not_finite(clip.state_dict()):
        raise ClipWeightsError(f"the weights {weights!r} of {model!r} are no good: {told}; give others")
    return clip.requires_grad_(False).eval()


def run_block(
    block: Any, x: Tensor, *, rows: Tensor | None = None, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """One block of a tower, x + attention(ln_1(x)) and then x + mlp(ln_2(x)): B x N x D in and out.

    rows    B x M x D, some of x's tokens, where only their results are wanted: then B x M x D out.
    mask    true where a row may look at a token, broadcast to B x heads x M x N.
    causal  each token looks at itself and those before it.
    """
    attention = block.attn
    weight, bias, heads, width = attention.in_proj_weight, attention.in_proj_bias, attention.num_heads, x.shape[-1]
    normed = block.ln_1(x)
    if rows is None:
        rows = x
        q, k, v = functional.linear(normed, weight, bias).chunk(3, dim=-1)
    else:
        q = functional.linear(block.ln_1(rows), weight[:width], bias[:width])
        k, v = functional.linear(normed, weight[width:], bias[width:]).chunk(2, dim=-1)
    q, k, v = (
        part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (q, k, v)
    )  # B x heads x N x D/heads
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    rows = rows + attention.out_proj(mixed.transpose(1, 2).flatten(2))  # B x M x D
    return rows + block.mlp(block.ln_2(rows))  # type: ignore[no-any-return]


def embed_image(tower: Any, images: Tensor) -> Tensor:
    """The class token and one token a patch, row by row, with positions and the first norm: B x (1 + G²) x D."""
    x = tower.conv1(images).flatten(2).transpose(1, 2)  # B x G² x D
    first = tower.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat((first, x), dim=1) + tower.positional_embedding.to(x.dtype)  # B x (1 + G²) x D
    return tower.ln_pre(x)  # type: ignore[no-any-return]


def project(tower: Any, x: Tensor) -> Tensor:
    """Features from the class token, which is the first of B x N x D: B x E."""
    return tower.ln_post(x[:, 0]) @ tower.proj  # type: ignore[no-any-return]


def image_features(tower: Any, images: Tensor, controls: Sequence[Tensor] | None = None) -> Tensor:
    """CLIP's features of images, not normalised: B x E. With controls, one is added after each block, in their order.

    The last block is worked out for the class token alone, and nothing else of the last control counts.
    """
    x = embed_image(tower, images)
    *blocks, last = tower.transformer.resblocks
    for j, block in enumerate(blocks):
        x = run_block(block, x) if controls is None else run_block(block, x) + controls[j]
    x = run_block(last, x, rows=x[:, :1])  # B x 1 x D
    return project(tower, x if controls is None else x + controls[-1][:, :1])


@torch.no_grad()
def text_features(clip: Any, tokens: Tensor) -> Tensor:
    """CLIP's features of token rows, not normalised: B x L of integers to B x E. The text tower is frozen.

    A text counts up to its end token, which is the row's largest number. What follows cannot reach it (the mask is
    causal), so columns after the last end token of all rows are left out, and of rows that are alike one is worked out:
    a batch of captions costs a fifth, a batch of degradations next to nothing. A compiled function takes rows as they
    are, because its shapes may not depend on numbers: give it `distinct` ones.
    """
    if torch.compiler.is_compiling():
        return _text_features(clip, tokens)
    rows, place = distinct(tokens)
    return _text_features(clip, rows)[place]


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of tokens without repetition and without the columns that no text reaches; and where each row went (B)."""
    length = int(tokens.argmax(dim=-1).max()) + 1
    rows, place = torch.unique(tokens[:, :length], dim=0, return_inverse=True)
    return rows, place


def _text_features(clip: Any, tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    end = tokens.argmax(dim=-1)[:, None]  # B x 1
    x = clip.token_embedding(tokens) + clip.positional_embedding[:length]  # B x L x D
    *blocks, last = clip.transformer.resblocks
    for block in blocks:
        x = run_block(block, x, causal=True)
    before = torch.arange(length, device=x.device) <= end  # B x L
    rows = x.gather(1, end[:, :, None].expand(-1, -1, x.shape[-1]))  # B x 1 x D
    rows = run_block(last, x, rows=rows, mask=before[:, None, None])
    return clip.ln_final(rows[:, 0]) @ clip.text_projection  # type: ignore[no-any-return]


def check_size(images: Tensor, settings: ClipSettings) -> None:
    """Raise ModelInputError unless `images` are a batch of floating RGB views of the tower's size."""
    check_images(images)
    if images.shape[-2:] != (settings.image_size, settings.image_size):
        raise ModelInputError(
            f"images of {images.shape[-1]}×{images.shape[-2]} px; this CLIP sees {settings.image_size}×"
            f"{settings.image_size}: prepare them by patina.training.data.views"
        )


def check_tokens(tokens: Tensor, settings: ClipSettings) -> None:
    """Raise ModelInputError unless `tokens` are rows of integers that the text tower can take."""
    if tokens.ndim != 2 or 0 in tokens.shape or tokens.shape[1] > settings.context_length:
        raise ModelInputError(
            f"tokens of shape {tuple(tokens.shape)}; expected batch x up to {settings.context_length}; caption and "
            "degradation are two tensors, not one row of both"
        )
    if tokens.dtype not in (torch.int64, torch.int32):
        raise ModelInputError(f"tokens of type {tokens.dtype}; expected int64: see patina.training.data.views.tokenize")
    if not torch.compiler.is_compiling() and (int(tokens.min()) < 0 or int(tokens.max()) >= settings.vocabulary):
        raise ModelInputError(f"tokens outside of 0..{settings.vocabulary - 1}: another tokeniser made them")


# ------------------------------------------------------------------------------------------------------- the network


class Controller(nn.Module):
    """A trainable copy of CLIP's image tower with one dense layer a block, D -> D (section 3.1 of the paper)."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.tower: Any = copy.deepcopy(encoder).requires_grad_(True)
        width = encoder.conv1.out_channels
        self.dense = nn.ModuleList(nn.Linear(width, width) for _ in encoder.transformer.resblocks)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each block gives, h_0 … (B x N x D each), and the features of the degradation (B x E)."""
        x = embed_image(self.tower, images)
        hidden = []
        for block in self.tower.transformer.resblocks:
            x = run_block(block, x)
            hidden.append(x)
        return hidden, project(self.tower, x)

    def controls(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """z_i = dense_i(h_i) in the encoder's order: the deepest for its first block, the first for its last.

        The encoder reads one token after its last block, so the first control is worked out for that alone (B x 1 x D).
        """
        first, *others = hidden
        deeper = [dense(h) for dense, h in zip(self.dense[1:], others, strict=True)]  # B x N x D
        return [*reversed(deeper), self.dense[0](first[:, :1])]


class Features(NamedTuple):
    """What the loss compares, each of unit length, B x E: the image with the caption, degra with the degradation."""

    image: Tensor
    caption: Tensor
    degra: Tensor
    degradation: Tensor


class DaClip(nn.Module):
    """DA-CLIP: `clip` is frozen, `controller` and `logit_scale` learn."""

    def __init__(self, settings: ClipSettings, *, published_start: bool = False, clip: Any = None) -> None:
        """`clip`: one of these settings, frozen; else one is built with random starting values."""
        super().__init__()
        self.settings = settings
        self.clip = build_clip(settings) if clip is None else clip
        self.controller = Controller(self.clip.visual)
        self.logit_scale = nn.Parameter(self.clip.logit_scale.detach().clone())
        self.start(published=published_start)

    @classmethod
    def pretrained(
        cls, model: str = "ViT-B-32", weights: str = "laion2b_s34b_b79k", *, published_start: bool = False
    ) -> DaClip:
        """The start of a training: CLIP by open_clip's name, its weights by tag or local file, the controller from it.

        Raises ModelInputError for the name, ClipWeightsError for the weights.
        """
        clip = pretrained_clip(model, weights)
        return cls(settings_named(model), published_start=published_start, clip=clip)

    @torch.no_grad()
    def start(self, *, published: bool = False) -> None:
        """Set the controller from CLIP: all of the tower copied, all controls zero, CLIP's temperature.

        published  the start of the released models instead, where the published copying slips by the dense layers: the
                   controller's `ln_post` is left at 1 and 0, and the first dense layer holds the encoder's `ln_post`,
                   its weight in every row. That control is nearly the same number in all channels, which the following
                   norm takes away, so the features hardly change.
        """
        encoder = self.clip.visual
        self.controller.tower.load_state_dict(encoder.state_dict())
        for parameter in self.controller.dense.parameters():
            parameter.zero_()
        self.logit_scale.copy_(self.clip.logit_scale)
        if published:
            nn.init.ones_(self.controller.tower.ln_post.weight)
            nn.init.zeros_(self.controller.tower.ln_post.bias)
            first: Any = self.controller.dense[0]
            first.weight.copy_(encoder.ln_post.weight.expand_as(first.weight))
            first.bias.copy_(encoder.ln_post.bias)

    def start_without_zeros(self) -> None:
        """Set the controller's dense layers to PyTorch's own starting values: the ablation "w/o Zero" of Table 4."""
        for layer in self.controller.dense:
            layer.reset_parameters()  # type: ignore[operator]

    def train(self, mode: bool = True) -> DaClip:
        """Training mode for the controller; CLIP stays in eval mode."""
        super().train(mode)
        self.clip.eval()
        return self

    @overload
    def encode_image(
        self, images: Tensor, control: Literal[True] = True, normalize: bool = False
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def encode_image(self, images: Tensor, control: Literal[False], normalize: bool = False) -> Tensor: ...

    def encode_image(
        self, images: Tensor, control: bool = True, normalize: bool = False
    ) -> tuple[Tensor, Tensor] | Tensor:
        """Features of B x 3 x S x S views (`patina.training.data.views`): image_features and degra_features,
        B x E each.

        Without control CLIP's own image features alone. `normalize` gives unit length. Raises ModelInputError.
        """
        check_size(images, self.settings)
        if not control:
            plain = image_features(self.clip.visual, images)
            return functional.normalize(plain, dim=-1) if normalize else plain
        hidden, degra = self.controller(images)
        image = image_features(self.clip.visual, images, self.controller.controls(hidden))
        return (
            (functional.normalize(image, dim=-1), functional.normalize(degra, dim=-1)) if normalize else (image, degra)
        )

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Features of token rows, B x up to 77 integers, without gradient: B x E. Raises ModelInputError.

        Texts that do not change, such as `DEGRADATIONS`, are worth keeping by the caller.
        """
        check_tokens(tokens, self.settings)
        features = text_features(self.clip, tokens)
        return functional.normalize(features, dim=-1) if normalize else features

    def forward(self, images: Tensor, captions: Tensor, degradations: Tensor) -> Features:
        """Features, B x E each, of B x 3 x S x S views, their captions' tokens and their degradations' tokens (B x up
        to 77 integers each), for `joint_loss`. Raises ModelInputError."""
        if not len(images) == len(captions) == len(degradations):
            raise ModelInputError(
                f"{len(images)} images, {len(captions)} captions, {len(degradations)} degradations; expected as many"
            )
        image, degra = self.encode_image(images, normalize=True)
        caption, degradation = (self.encode_text(tokens, normalize=True) for tokens in (captions, degradations))
        return Features(image, caption, degra, degradation)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep exp(logit_scale) in 1..100. For after every step of the optimiser."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


# ---------------------------------------------------------------------------------------------------------- training


class Losses(NamedTuple):
    """Scalars: the sum, and its two terms."""

    total: Tensor
    caption: Tensor
    degradation: Tensor


def contrastive_terms(x: Tensor, y: Tensor, logit_scale: Tensor) -> Tensor:
    """The symmetric contrastive loss of each pair (equation 1, in both directions): B x E twice to B, in float32.

    Pair b is told from the batch's other pairs: half the cross entropy of y_b among all y for x_b, half the reverse.
    """
    with torch.autocast(x.device.type, enabled=False):
        logits = logit_scale.float().exp() * x.float() @ y.float().T  # B x B
        own = torch.arange(len(logits), device=logits.device)
        forth = functional.cross_entropy(logits, own, reduction="none")
        back = functional.cross_entropy(logits.T, own, reduction="none")
    return (forth + back) / 2


def joint_loss(features: Features, logit_scale: Tensor, group: Any = None) -> Losses:
    """Both contrastive terms with weight 1 and one temperature, over the pairs of all processes.

    In a run of several processes (torch.distributed) each gives its B pairs, as many as the others, and has the loss of
    all. Its gradient goes through its own rows only, as published: averaged over W processes, as
    DistributedDataParallel does, the controller's gradient is 1/W of the whole batch's in one process, and the
    temperature's is equal to it.
    """
    image, caption, degra, degradation = gather(torch.stack(features), group)
    captions = contrastive_terms(image, caption, logit_scale).mean()
    degradations = contrastive_terms(degra, degradation, logit_scale).mean()
    return Losses(captions + degradations, captions, degradations)


def gather(features: Tensor, group: Any = None) -> Tensor:
    """The second axis of all processes after one another, own rows with gradient, others' without."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size(group) == 1:
        return features
    everyone = [torch.empty_like(features) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(everyone, features.detach().contiguous(), group=group)
    everyone[distributed.get_rank(group)] = features
    return torch.cat(everyone, dim=1)


def loss_floor(shares: Sequence[float], batch: int) -> float:
    """What the degradation term cannot fall below, sum_k p_k ln(B p_k), for classes of these shares (or counts).

    A batch of B holds B p_k pairs of class k with one and the same text. They cannot be told from one another, so even
    a perfect model has the loss ln(B p_k) there. For the monitor: the term minus this goes to zero.

    Raises ModelInputError for shares that are negative or sum to zero, and for an empty batch.
    """
    total = math.fsum(shares)
    if batch < 1 or total <= 0 or min(shares) < 0:
        raise ModelInputError(f"shares {list(shares)} in a batch of {batch}; expected numbers >= 0 and some pairs")
    return math.fsum(share / total * math.log(batch * share / total) for share in shares if share)


def degradation_probabilities(degra: Tensor, degradations: Tensor) -> Tensor:
    """Zero-shot classification: softmax over K degradations of 100 times the cosine, B x E and K x E to B x K."""
    return (100 * functional.normalize(degra, dim=-1) @ functional.normalize(degradations, dim=-1).T).softmax(dim=-1)


def degradation_accuracy(degra: Tensor, degradations: Tensor, labels: Tensor) -> Tensor:
    """Share of B images, 0 to 1, whose nearest degradation is the one that their label (B integers) names."""
    return (degradation_probabilities(degra, degradations).argmax(dim=-1) == labels).float().mean()


def parameter_groups(net: nn.Module, weight_decay: float = 0.05) -> list[dict[str, Any]]:
    """What learns, for AdamW: norms, biases, class embedding and temperature without weight decay, the rest with it.

    Published: AdamW 3e-5, betas (0.9, 0.98), eps 1e-6.
    """
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in learning if parameter.ndim < 2], "weight_decay": 0.0},
        {"params": [parameter for parameter in learning if parameter.ndim >= 2], "weight_decay": weight_decay},
    ]
