#!/usr/bin/env bash
# webdataset 1.0.2, pillow 13.0.0, Python 3.11: what its image decoders make of a PNG of 16 bits, as a map of depth is.
# All of them (`l8`, `rgb8`, `pil`, `pill`, `pilrgb`, and `l`, `rgb` with floats) open it by Pillow and convert it to 8 bits,
# which cuts at 255 and does not divide by 257: a ramp over the whole range becomes white but for its first levels. Nothing
# tells: there is no warning, and `rgb`'s floats reach from 0 to 1 as they should. `decode()` without a name leaves bytes, and a
# decoder of one's own for `.png` keeps 16 bits. The library's writer does not cut: it stores a uint16 array as 16 bits.
# For whoever shards depth, transmission or flow beside photographs: what was written right is read as white.
# Seen on 2026-11-29: a ramp of mean 32760 is read with a mean of 254.5, and 99.6 % of its pixels are 255.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check webdataset==1.0.2 pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'P'
import io
import warnings
import numpy as np
import webdataset
from PIL import Image

ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
with webdataset.TarWriter("maps.tar") as tar:
    tar.write({"__key__": "depth", "png": ramp})


def read(*how):
    samples = [s for s in webdataset.WebDataset("maps.tar", shardshuffle=False).decode(*how) if "png" in s]
    assert len(samples) == 1
    return samples[0]["png"]


def sixteen(name, data):
    return np.asarray(Image.open(io.BytesIO(data))) if name.endswith("png") else None


assert isinstance(read(), bytes), "changed: decode() alone opens pictures"
assert np.array_equal(read(sixteen), ramp), "changed: the file has no 16 bits, or a decoder of one's own is not asked"
cut = np.minimum(ramp, 255)
for name in ("l8", "rgb8", "pil", "pill", "pilrgb", "l", "rgb"):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        picture = np.asarray(read(name))
    said = [one for one in said if not issubclass(one.category, ResourceWarning)]
    plane = picture if picture.ndim == 2 else picture[..., 0]
    white = float((plane == plane.max()).mean())
    print(f"{name}: {picture.dtype}, from {plane.min()} to {plane.max()}, {white:.3f} of it white, {len(said)} warnings")
    assert np.array_equal(np.rint(plane * 255.0) if plane.dtype == np.float32 else plane, cut) and not said, "changed"
print(f"written: mean {ramp.mean():.1f} of 65535; read: mean {cut.mean():.1f} of 255, where {ramp.mean() / 257:.1f} is right")
P
env/bin/python ask.py
