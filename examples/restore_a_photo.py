"""Restore a photograph by a trained model, and say which degradations were found.

    python examples/restore_a_photo.py MODEL PHOTO OUT

MODEL is a run's folder, a model.safetensors, or a published file that needs no other.
"""

from __future__ import annotations

import sys

import PIL.Image
import PIL.ImageOps

import patina

model, photo, out = sys.argv[1:4]

with PIL.Image.open(photo) as opened:
    image = PIL.ImageOps.exif_transpose(opened).convert("RGB")  # upright
restored, found = patina.Restorer.load(model).restore(image)
for degradation, probability in list(found.items())[:3]:
    print(f"{degradation}: {100 * probability:.0f} %")
restored.save(out)
print(f"{photo} → {out}, {restored.width}×{restored.height}")
