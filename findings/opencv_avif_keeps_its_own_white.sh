#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, pillow 13.0.0, Python 3.11: AVIF of 10 and 12 bits, as cameras and telephones write it.
# With IMREAD_UNCHANGED or IMREAD_ANYDEPTH the array is uint16 and white is 1023 or 4095, whereas white of a PNG of 16 bits
# is 65535; the array does not tell which. Whoever divides uint16 by 65535 gets a picture of a 64th of the light. `imwrite`
# takes levels of 10 or 12 bits just so, and cuts what is above: of a picture of 16 bits that is written with 10 bits all but
# the darkest 64th is white. Neither warns. IMREAD_COLOR gives 8 bits with white at 255, and so does Pillow.
# For whoever builds datasets: scale before writing, and when reading divide by the depth of the file, not of the array.
# Seen on 2026-11-29: white is read as 1023 and 4095; of a ramp to 65535 98 % is white with 10 bits, 94 % with 12.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'P'
import cv2
import numpy as np
from PIL import Image

ramp = np.repeat(np.rint(np.linspace(0, 65535, 256)).astype(np.uint16)[None, :, None], 3, 2).repeat(64, 0)
cv2.imwrite("ramp.png", ramp)
assert np.array_equal(cv2.imread("ramp.png", cv2.IMREAD_UNCHANGED), ramp), "changed: PNG"
for bits in (10, 12):
    white = (1 << bits) - 1
    how = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, bits]
    cv2.imwrite("scaled.avif", np.rint(ramp / 65535 * white).astype(np.uint16), how)
    deep, plain = cv2.imread("scaled.avif", cv2.IMREAD_UNCHANGED), cv2.imread("scaled.avif", cv2.IMREAD_COLOR)
    with Image.open("scaled.avif") as image:
        pillow = np.asarray(image.convert("RGB"))
    print(f"{bits} bits, levels to {white}: UNCHANGED {deep.dtype} to {deep.max()}, COLOR {plain.dtype} to {plain.max()},",
          f"Pillow {pillow.dtype} to {pillow.max()}")
    assert deep.dtype == np.uint16 and deep.max() == white, "changed: levels are scaled when read"
    assert plain.dtype == pillow.dtype == np.uint8 and plain.max() == pillow.max() == 255, "changed: 8 bits"
    assert np.array_equal(deep, cv2.imread("scaled.avif", cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)), "changed: ANYDEPTH"
    cv2.imwrite("whole.avif", ramp, how)
    share, right = ((picture == white).mean() for picture in (cv2.imread("whole.avif", cv2.IMREAD_UNCHANGED), deep))
    print(f"{bits} bits, levels to 65535: {share:.3f} of the ramp is white, where {right:.3f} is right")
    assert abs(share - (ramp >= white).mean()) < 0.01 and right < 0.02, "changed: levels are scaled when written"
P
env/bin/python ask.py
