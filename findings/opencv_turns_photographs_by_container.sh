#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, pillow 13.0.0, Python 3.11: one picture that is to be shown turned by a quarter
# (orientation 6), stored in five containers, and read by `imread` and by `imdecode`.
# JPEG, PNG and WebP: IMREAD_COLOR, IMREAD_GRAYSCALE turn, IMREAD_UNCHANGED and IMREAD_IGNORE_ORIENTATION do not. AVIF, where
# turning is part of the format: nothing turns it. TIFF: `imdecode` turns it under every flag, those two as well, and
# `imread` gives None with an error in the log, since it wants the picture in the buffer of the size before turning;
# a square one is read and turned. Pillow's `exif_transpose` turns all five.
# For whoever builds pairs: a clean photograph and a copy of it in another container lie a quarter turn apart, and a loader
# that reads bytes does not see what one that reads paths sees. Turn photographs once, by Pillow, before anything else.
# Seen on 2026-11-29, of 60 x 40 pixels: the table below.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'P'
import cv2
import numpy as np
from PIL import Image, ImageOps

FLAGS = {
    "COLOR": cv2.IMREAD_COLOR, "GRAYSCALE": cv2.IMREAD_GRAYSCALE, "UNCHANGED": cv2.IMREAD_UNCHANGED,
    "COLOR | IGNORE_ORIENTATION": cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
}


def stored(suffix, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255
    exif, path = Image.Exif(), f"picture{width}.{suffix}"
    exif[0x112] = 6
    how = {"tiffinfo": {0x112: 6}} if suffix == "tif" else {"exif": exif.tobytes()}
    Image.fromarray(pixels).save(path, **how)
    with Image.open(path) as image:
        assert image.getexif()[0x112] == 6 and ImageOps.exif_transpose(image).size == (height, width)
    return path


def seen(picture):
    return "none" if picture is None else {(60, 40): "turned", (40, 60): "as stored"}[picture.shape[:2]]


found = {}
for suffix in ("jpg", "png", "webp", "avif", "tif"):
    path = stored(suffix, 60, 40)
    data = np.fromfile(path, np.uint8)
    found[suffix] = {name: (seen(cv2.imread(path, flag)), seen(cv2.imdecode(data, flag))) for name, flag in FLAGS.items()}
    for name, (by_path, by_bytes) in found[suffix].items():
        print(f"{suffix} {name}: imread {by_path}, imdecode {by_bytes}")
usual = {name: ("turned",) * 2 if name in ("COLOR", "GRAYSCALE") else ("as stored",) * 2 for name in FLAGS}
assert found["jpg"] == found["png"] == found["webp"] == usual, "changed: JPEG, PNG, WebP"
assert found["avif"] == dict.fromkeys(FLAGS, ("as stored",) * 2), "changed: AVIF"
assert found["tif"] == dict.fromkeys(FLAGS, ("none", "turned")), "changed: TIFF"
square = cv2.imread(stored("tif", 40, 40), cv2.IMREAD_UNCHANGED)
assert square[5, 35].min() == 255 and square[5, 5].max() == 0, "changed: a square TIFF"
P
env/bin/python ask.py 2> said || { cat said; exit 1; }
grep -q "imread_('picture60.tif')" said || { echo "changed: the log does not name the TIFF"; exit 1; }
