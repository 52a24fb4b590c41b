"""Train a few layers of convolution against noise on a patina dataset, in plain PyTorch, in a minute.

python examples/train_with_plain_torch.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image
import skimage.data
import torch
from torch import nn
from torch.utils.data import DataLoader

import patina

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "denoiser")
(folder / "photos").mkdir(parents=True, exist_ok=True)
for name in ("astronaut", "chelsea", "coffee", "rocket"):
    PIL.Image.fromarray(getattr(skimage.data, name)()).resize((320, 240)).save(folder / "photos" / f"{name}.png")
patina.build(
    {
        "sources": [{"path": str(folder.absolute() / "photos")}],
        "degradations": {"noisy": {"sigma": 40, "variants": 4}},
    },
    folder / "dataset",
)

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
                    nn.Conv2d(24, 3, 3, padding=1))  # fmt: skip
nn.init.zeros_(net[-1].weight)  # so that it begins by changing nothing
nn.init.zeros_(net[-1].bias)
optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
dataset = patina.Dataset(folder / "dataset", split="train", crop=64)


@torch.no_grad()
def psnr() -> float:
    """The mean PSNR of all restored images of the dataset, dB."""
    whole = patina.Dataset(folder / "dataset", split="train")
    errors = [((x["lq"] + net(x["lq"][None])[0]).clamp(0, 1) - x["gt"]).square().mean() for x in whole]
    return float((-10 * torch.stack(errors).log10()).mean())


print(f"before: {psnr():.2f} dB")
for epoch in range(30):
    dataset.set_epoch(epoch)
    for batch in DataLoader(dataset, batch_size=8, shuffle=True):
        loss = (batch["lq"] + net(batch["lq"]) - batch["gt"]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
print(f"after:  {psnr():.2f} dB")
