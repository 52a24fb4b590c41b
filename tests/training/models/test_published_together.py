"""Both networks, equation and samplers together: a picture in, the published code's restored picture out.

The networks of the fixture have biases of half the size that `fill` gives (0.05 s, not 0.1 s): so they were filled when
it was made, and so all of its numbers come back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from patina.training import official
from patina.training.data.views import clip_view
from patina.training.diffusion.sde import IRSDE
from patina.training.models import daclip, unet
from patina.training.official.daclip import DACLIP
from patina.training.official.unet import UNET
from tests.training import fill

HERE = Path(__file__).parents[1]
KEYS = HERE / "official_keys"
pytestmark = pytest.mark.slow


def filled(network: str) -> dict[str, Tensor]:
    """Known weights under their published names, biases halved."""
    shapes = fill.load_shapes(KEYS / f"{network}.keys.json")
    halves = {key: 0.5 if key.rpartition(".")[2].endswith("bias") else 1.0 for key in shapes}
    found = fill.fill(shapes, fill.daclip_alias)
    return {key: torch.from_numpy(value) * halves[key] for key, value in found.items()}


def relative(found: Tensor, expected: Any) -> float:
    return float(np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max())


@torch.no_grad()
def test_a_picture_is_restored_as_by_the_published_code(tmp_path: Path) -> None:
    """Embeddings, then the last 25 of 100 steps. Each step feeds the next, and so do errors."""
    golden: dict[str, Any] = dict(np.load(HERE / "golden" / "end_to_end.npz"))
    picture = fill.uint8_image("e2e.lq", 40, 56)
    assert picture.astype(np.float64).sum() == golden["lq_uint8_sum_f64"]

    clip = daclip.DaClip(daclip.VIT_B_32)
    clip.load_state_dict(DACLIP.from_published(filled("daclip_ViT-B-32"), clip.state_dict()))
    image, degradation = clip.eval().encode_image(clip_view(picture)[None])
    assert relative(image, golden["image_context"]) <= 1e-5
    assert relative(degradation, golden["degra_context"]) <= 1e-5

    net = unet.UNet(unet.DACLIP)
    net.load_state_dict(UNET.from_published(filled("unet_daclip_sde"), net.state_dict()))
    official.save(net, tmp_path / "universal-ir.pth")
    released, _ = official.load(tmp_path / "universal-ir.pth")  # by way of the file in which it is published
    released.eval()
    lq = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    sde = IRSDE()
    noise = {t: torch.from_numpy(fill.gauss(f"e2e.z{t}", lq.shape)) for t in range(1, 26)}
    start = lq + sde.tables().sbar[25] * torch.from_numpy(fill.gauss("e2e.start", lq.shape))
    for name, step in (("posterior", sde.posterior_step), ("sde", sde.reverse_step)):
        x = start
        for t in range(25, 0, -1):
            x = step(x, lq, released(x, lq, torch.tensor([t]), image, degradation), t, noise[t])
        error = relative(x, golden[name])
        print(f"{name}: {error:.1e}")
        assert error <= 1e-5, name
