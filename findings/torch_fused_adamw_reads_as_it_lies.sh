#!/usr/bin/env bash
# torch 2.13.0 (CPU), safetensors 0.8.0, Python 3.11: AdamW with fused=True after its state went through safetensors.
# A convolution's weight that lies channels last has averages that lie so, too. safetensors keeps numbers and shapes, and no
# strides, so they come back in the usual layout, and load_state_dict takes them as they are. The fused kernel goes over
# weight, gradient and averages as they lie in memory, and so pairs each weight with the average of another: no error, no
# warning, and every later step is wrong. With fused=False the same state gives the same steps.
# Seen on 2026-11-29: after one more step the largest difference is 0.0 with fused=False and 0.158 (1.6 times lr) with
# fused=True.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cat > ask.py <<'P'
import torch
from safetensors.torch import load_file, save_file


def stepped(fused: bool, stored: bool) -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 8, 3, 3).to(memory_format=torch.channels_last))
    gradients = [torch.randn(8, 8, 3, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    optimiser = torch.optim.AdamW([weight], lr=0.1, fused=fused)
    weight.grad = gradients[0]
    optimiser.step()
    if stored:
        state = optimiser.state_dict()
        save_file({name: value.contiguous() for name, value in state["state"][0].items()}, "state.safetensors")
        state["state"][0] = load_file("state.safetensors")
        optimiser.load_state_dict(state)
    weight.grad = gradients[1]
    optimiser.step()
    return weight.detach().clone()


apart = {fused: float((stepped(fused, True) - stepped(fused, False)).abs().max()) for fused in (False, True)}
print("largest difference after a step from a stored state, by fused:", apart)
assert apart[False] == 0.0 and apart[True] > 0.1, "changed"
P
env/bin/python ask.py
