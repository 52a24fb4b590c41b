#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11, x86-64: floats to 8 and 16 bits.
# Results are said to saturate, and those up to 2^31 do: 100,000 becomes 65535, or 255. Above that they are 0. OpenCV rounds
# by way of a 32-bit integer, which then is the least there is. So the brightest value of a picture in linear light, or the
# farthest of a depth map in small units, becomes the darkest, or the nearest. `multiply`, `add`, `addWeighted` and
# `convertScaleAbs` do so alike, of float32 and of float64. NumPy's clip before it is the remedy.
# Seen on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > ask.py <<'P'
import cv2, numpy as np
values = [[1e3, 1e5, 2e9, 3e9, 1e12]]
for kind in (np.float32, np.float64):
    a = np.array(values, kind)
    print("multiply", *cv2.multiply(a, 1.0, dtype=cv2.CV_16U)[0])
    print("add", *cv2.add(a, np.zeros_like(a), dtype=cv2.CV_16U)[0])
    print("addWeighted", *cv2.addWeighted(a, 1.0, a, 0.0, 0.0, dtype=cv2.CV_16U)[0])
    print("convertScaleAbs", *cv2.convertScaleAbs(a)[0])
P
env/bin/python ask.py | tee seen
for call in multiply add addWeighted; do
    [ "$(grep -c "^$call 1000 65535 65535 0 0$" seen)" = 2 ] || { echo "changed: $call"; exit 1; }
done
[ "$(grep -c "^convertScaleAbs 255 255 255 0 0$" seen)" = 2 ] || { echo "changed: convertScaleAbs"; exit 1; }
