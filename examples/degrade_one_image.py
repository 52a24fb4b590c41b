"""Degrade a photograph in several ways, measure how strongly, and write the pictures.

python examples/degrade_one_image.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data

import patina

out = Path(sys.argv[1] if len(sys.argv) > 1 else "degraded")
out.mkdir(parents=True, exist_ok=True)
photo = np.ascontiguousarray(skimage.data.chelsea())  # 300×451×3 uint8 RGB

for name, settings in {
    "noisy": {"sigma": 25},
    "hazy": {"severity": "moderate"},  # the knob is turned until the result measures so
    "low-light+jpeg-compressed": {"jpeg-compressed": {"quality": 20}},
}.items():
    lq, params = patina.degrade(photo, name, seed=123, **settings)
    found = patina.severity(photo, lq)
    print(f"{name}: {found.level}, {found.psnr:.1f} dB")
    PIL.Image.fromarray(lq).save(out / f"{name}.png")
    (out / f"{name}.json").write_text(json.dumps(params), "utf-8")

stored = json.loads((out / "noisy.json").read_text("utf-8"))
again, _ = patina.degrade(photo, "noisy", params=stored)  # what was drawn is all that is needed to make it again
print("made again, byte for byte:", np.array_equal(again, np.asarray(PIL.Image.open(out / "noisy.png"))))
