"""Image-to-text models of a few thousand random weights, saved as those of the hub are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.captioning.torchvision_ops import ensure_torchvision

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
SAYABLE = (
    "a the photo photograph of in on under with man woman two three cat dog bird tree house river sky sea blue red "
    "green grey standing running near far old new small large boat road snow rain light dark and at by to"
)
WORDS = SAYABLE.split()
SIDE = 32  # px of the models' images


@contextmanager
def on_one_core() -> Iterator[None]:
    """Models this small lose more by waiting for other threads than these add, above all on a busy machine."""
    ensure_torchvision()
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blip(folder: Path) -> Path:
    """BLIP, with BERT's tokeniser."""
    ensure_torchvision()
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipProcessor

    torch.manual_seed(0)
    tokens = MARKS + WORDS
    text = {
        **_sizes(),
        "vocab_size": len(tokens),
        "encoder_hidden_size": 32,
        "projection_dim": 16,
        "max_position_embeddings": 64,
        "bos_token_id": tokens.index("[DEC]"),
        "eos_token_id": tokens.index("[SEP]"),
        "sep_token_id": tokens.index("[SEP]"),
        "pad_token_id": tokens.index("[PAD]"),
    }
    network = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config={**_sizes(), **_vision()}))
    return _save(network, BlipProcessor(_images(), _bert(tokens, "[DEC]")), folder)


def git(folder: Path) -> Path:
    """GIT: one decoder for image and text."""
    ensure_torchvision()
    import torch
    from transformers import GitConfig, GitForCausalLM, GitProcessor

    torch.manual_seed(0)
    tokens = MARKS + WORDS
    config = GitConfig(
        **_sizes(),
        vision_config={**_sizes(), **_vision()},
        vocab_size=len(tokens),
        max_position_embeddings=64,
        bos_token_id=tokens.index("[CLS]"),
        eos_token_id=tokens.index("[SEP]"),
        pad_token_id=tokens.index("[PAD]"),
    )
    return _save(GitForCausalLM(config), GitProcessor(_images(), _bert(tokens, "[CLS]")), folder)


def blip_2(folder: Path) -> Path:
    """BLIP-2 with OPT: a frozen language model behind a few queries."""
    ensure_torchvision()
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor

    torch.manual_seed(0)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<image>"]
    text = {
        **_sizes(),
        "model_type": "opt",
        "vocab_size": len(tokens),
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 64,
        "init_std": 1.0,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    config = Blip2Config(
        vision_config={**_sizes(), **_vision()},
        qformer_config={**_sizes(), "encoder_hidden_size": 32, "vocab_size": 8},
        text_config=text,
        num_query_tokens=3,
        initializer_range=1.0,
        image_token_index=tokens.index("<image>"),
    )
    tokenizer = _words(tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.image_token = None
    del tokenizer.image_token
    return _save(
        Blip2ForConditionalGeneration(config), Blip2Processor(_images(), tokenizer, num_query_tokens=3), folder
    )


def vit_gpt2(folder: Path) -> Path:
    """An encoder and a decoder of two families, saved with two processors that no class holds together."""
    ensure_torchvision()
    import torch
    from transformers import (
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessor,
    )

    torch.manual_seed(0)
    tokens = ["<|endoftext|>", "<unk>", *WORDS]
    decoder = GPT2Config(
        vocab_size=len(tokens), n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=1.0,
        bos_token_id=0, eos_token_id=0, add_cross_attention=True, is_decoder=True,
    )  # fmt: skip
    encoder = ViTConfig(**_sizes(), **_vision())
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 0, 0
    network = VisionEncoderDecoderModel(config)
    network.generation_config.decoder_start_token_id = 0
    network.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    mark = "<|endoftext|>"
    _words(tokens, bos_token=mark, eos_token=mark, pad_token=mark, unk_token="<unk>").save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """LLaVA: a chat model, whose processor has a template."""
    ensure_torchvision()
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    torch.manual_seed(0)
    tokens = ["<s>", "</s>", "<pad>", "<unk>", "USER:", "ASSISTANT:", "describe", *WORDS, "<image>"]
    text = {
        **_sizes(),
        "model_type": "llama",
        "vocab_size": len(tokens),
        "num_key_value_heads": 4,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    vision = {**_sizes(), **_vision(), "model_type": "clip_vision_model"}
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokens.index("<image>"), image_seq_length=16
    )
    tokenizer = _words(tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    template = (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> {% else %}"
        "{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )
    processor = LlavaProcessor(
        _images(), tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=template,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return _save(LlavaForConditionalGeneration(config), processor, folder)


def pixels(seed: int, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A picture of a few flat squares, unlike that of any other seed."""
    squares = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return squares.repeat(height // 4, axis=0).repeat(width // 4, axis=1)


def _sizes() -> dict[str, Any]:
    # Large weights, so that the picture matters and no two tokens are nearly as likely.
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 1.0,
    }


def _vision() -> dict[str, Any]:
    return {"image_size": SIDE, "patch_size": 8}


def _images() -> Any:
    from transformers import BlipImageProcessor

    return BlipImageProcessor(size={"height": SIDE, "width": SIDE})


def _bert(tokens: list[str], begin: str) -> Any:
    from transformers import BertTokenizer

    return BertTokenizer(vocab={word: i for i, word in enumerate(tokens)}, bos_token=begin)


def _words(tokens: list[str], **marks: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, **marks)


def _save(network: Any, processor: Any, folder: Path) -> Path:
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"]
    return folder
