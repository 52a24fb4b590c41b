#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0 (CPU), Python 3.11: which settings BLIP's captions are made with.
# `model.generation_config`, and generation_config.json of a checkpoint, are where a model of transformers keeps how it
# generates: length, beams, tokens that it must not say. `BlipForConditionalGeneration` saves that file and loads it, and its
# `generate` hands the work to `model.text_decoder`, which has a configuration of its own with nothing in it: captions say
# tokens that are suppressed, have no beams, and stop after 20 tokens (a warning calls it the "model-agnostic default"),
# whatever the file says, and so for a model that was saved with 40 tokens and three beams. What is handed to `generate`
# itself counts, and so does `model.text_decoder.generation_config`, which no file holds.
# For whoever captions photographs: hand length and beams to every call, and look for captions of exactly 20 tokens.
# Seen on 2026-11-29, with random weights that never say the end: 20 tokens of one beam, the suppressed one among them; 40
# tokens of three beams, without it, where the call or the decoder says so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 numpy==2.4.6
cat > ask.py <<'P'
import warnings
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, logging

warnings.simplefilter("ignore")
logging.disable_progress_bar()
logging.set_verbosity_error()
small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
words = {"vocab_size": 60, "encoder_hidden_size": 32, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
         "pad_token_id": 0}
torch.manual_seed(0)
made = BlipForConditionalGeneration(
    BlipConfig(text_config=small | words, vision_config=small | {"image_size": 32, "patch_size": 16})
)
picture = torch.randn(1, 3, 32, 32)


def endless(model):
    with torch.no_grad():
        model.text_decoder.cls.predictions.bias[[0, 2]] = -1e9
    return model.eval()


def said(model, **how):
    beams = model.generate(pixel_values=picture, **how).tolist()
    return len(beams), beams[0][1:]  # the first token is the start


_, plain = said(endless(made))
banned = plain[0]
how = {"max_new_tokens": 40, "suppress_tokens": [banned], "num_beams": 3, "num_return_sequences": 3}
made.generation_config.update(**how)
made.save_pretrained("model")
model = endless(BlipForConditionalGeneration.from_pretrained("model"))
assert {name: getattr(model.generation_config, name) for name in how} == how, "changed: the file is not read"
found = {"as the checkpoint says": said(model), "as the call says": said(model, **how)}
model.text_decoder.generation_config.update(**how)
found["as the decoder says"] = said(model)
for name, (beams, tokens) in found.items():
    print(f"{name}: {beams} beams, {len(tokens)} tokens, the suppressed one {tokens.count(banned)} times")
assert found["as the checkpoint says"] == (1, plain) and len(plain) == 20, "changed"
for beams, tokens in (found["as the call says"], found["as the decoder says"]):
    assert (beams, len(tokens), banned in tokens) == (3, 40, False), "changed"
P
OMP_NUM_THREADS=1 env/bin/python ask.py
