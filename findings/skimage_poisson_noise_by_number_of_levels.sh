#!/usr/bin/env bash
# scikit-image 0.26.0, Python 3.11: how strong the noise of `skimage.util.random_noise(image, mode="poisson")` is.
# There is no option for the light. The function counts the different values of the image, over all its channels, takes the
# next power of two for the number of photons at white, and draws with that. So the noise depends on how the picture was
# stored and not on how bright it is: an even grey has one value and gets one photon; a ramp of 16 levels has four times the
# noise of one of 256; the same ramp as floats, such as after a resize, has hardly any; and a single pixel of another value,
# 257 of them instead of 256, takes 30 % of the noise away. The documentation says "generated from the data".
# For whoever makes noisy pairs: photographs of the same light get different noise, and those of few levels the most. Draw
# `rng.poisson(photons * image) / photons` with a number of photons of one's own instead.
# Seen on 2026-11-29, standard deviations at mid grey, in levels of 255, unclipped: 181 for an even grey, 45 for 16 levels,
# 11.3 for 256, 8.0 for 257, 0.7 for floats.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==2.4.6
cat > ask.py <<'P'
import numpy as np
from skimage.util import random_noise

ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1)) / 255
pictures = {
    "even": np.full((256, 256), 0.5),
    "16 levels": np.rint(ramp * 15) / 15,
    "256 levels": ramp,
    "257 levels": np.where(np.arange(65536).reshape(256, 256) == 0, 1e-3, ramp),
    "floats": ramp + np.linspace(0, 1e-3, 65536).reshape(256, 256),
}
measured = {}
for name, picture in pictures.items():
    noisy = random_noise(picture, mode="poisson", clip=False, rng=1)
    middle = abs(picture - 0.5) < 0.06
    measured[name] = 255 * float((noisy - picture)[middle].std())
    photons = 2 ** np.ceil(np.log2(len(np.unique(picture))))
    print(f"{name}: {len(np.unique(picture))} values, noise {measured[name]:.2f} levels, {255 * (0.5 / photons) ** 0.5:.2f} by that rule")
    assert abs(measured[name] / (255 * (0.5 / photons) ** 0.5) - 1) < 0.05, "changed: another rule"
assert measured["even"] > 2 * measured["16 levels"] > 6 * measured["256 levels"], "changed"
assert measured["257 levels"] < 0.75 * measured["256 levels"] and measured["floats"] < 1, "changed"
P
env/bin/python ask.py
