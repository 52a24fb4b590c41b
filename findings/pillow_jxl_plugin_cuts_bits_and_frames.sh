#!/usr/bin/env bash
# pillow-jxl-plugin 1.3.8 with Pillow 13.0.0, Python 3.11: pictures of JPEG XL that hold more than 8 bits or one frame.
# Colour of 16 bits a channel opens as mode RGB with 8 bits, and nothing tells that there were more: `mode` and the keys of
# `info` are those of an 8-bit file. Grey of 10 bits opens as I;16 and keeps them. An animation of two frames opens as its
# first one, with n_frames 1 and is_animated False.
# Seen on 2026-11-29. The pictures are of 20×16 px, made without loss by libjxl 0.11.2.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pillow-jxl-plugin==1.3.8 pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'P'
import base64, io
import numpy as np
import pillow_jxl  # noqa: F401 - registers itself
from PIL import Image

RGB_16 = (
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAAA+anhsY/8Kg/EDULQICAQBAKAASxiLFQDcGS/G4LgYGSMvEAKAJB4BwCIy"
    "gNc/DMChMu3q48Yi7U5QHQ=="
)
GREY_10 = "/wqDUVC0CAgEAQBsAEsYixUAXO4uxhjjxXgXAAEAgbBigVYQSQwQNg=="
FRAMES = (
    "/wqDBU0AICYIBAEAgABLGIsVANSMdzEyRl4gBABIOgKARGKvGIpBU8K0mvDAAAgEBQCAAEsYixUA1Ix3MTJGXiAEAEg6AoBEYq8YikFTwrSa8MAA"
)

def opened(text):
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image

wide = opened(RGB_16)
print("RGB of 16 bits:", wide.mode, np.unique(np.asarray(wide).reshape(-1, 3), axis=0).tolist(), sorted(wide.info))
grey = opened(GREY_10)
print("grey of 10 bits:", grey.mode, np.unique(np.asarray(grey)).tolist())
moving = opened(FRAMES)
print("two frames:", moving.mode, getattr(moving, "n_frames", 1), getattr(moving, "is_animated", False))
assert wide.mode == "RGB" and np.asarray(wide).dtype == np.uint8, "changed: RGB keeps more than 8 bits"
assert grey.mode == "I;16", "changed: grey"
assert getattr(moving, "n_frames", 1) == 1 and not getattr(moving, "is_animated", False), "changed: frames are told"
P
env/bin/python ask.py
