"""The catalogue of degradations: a literal table, name to class. Registration and documentation at once.
A degradation's module is imported when it is first asked for.

Adding one is one file in this folder, its test, and its line here; recipes, the command line, the gallery and the
contract tests read this table.
"""

from __future__ import annotations

from importlib.util import find_spec

from patina.later import Table
from patina.synth.degradation import Degradation

_HOMES = {
    "motion-blurry": "MotionBlurry",  # a shaken camera: random paths, roll and zoom, in linear light or as GoPro has it
    "hazy": "Hazy",  # light lost and gained in the air, by metres of depth; or an even veil, as in RESIDE
    "jpeg-compressed": "JpegCompressed",  # libjpeg baseline, once or twice; the LQ is the JPEG file itself. Or WebP
    "low-light": "LowLight",  # fewer photons on a noisy sensor, by stops of exposure, and the camera's processing
    "noisy": "Noisy",  # additive white Gaussian noise, σ in 8-bit levels; or a sensor's, by ISO
    "raindrop": "Raindrop",  # drops on the glass, which refract scene and sky, upside down and out of focus
    "rainy": "Rainy",  # streaks of drops in space, by rain rate in mm/h: a grey layer, added or screened
    "shadowed": "Shadowed",  # shadows of what stands outside the picture: soft, bluer, not on the sky
    "snowy": "Snowy",  # flakes in space, by rate in mm/h of water: out of focus, drifting, translucent
    "uncompleted": "Uncompleted",  # inpainting: strokes, text, scratches, blocks or a user's masks, of one colour
    # Beyond the ten of DA-CLIP, words that a recipe opts into; `universal20` has the first ten of them
    "defocus-blurry": "DefocusBlurry",  # a lens out of focus, by depth: polygons of its aperture, in linear light
    "downsampled": "Downsampled",  # stored with fewer pixels and enlarged again, by five methods, antialiased or not
    "moire": "Moire",  # a screen photographed by a camera: the grid of sub-pixels under the grid of colour filters
    "flared": "Flared",  # light that strays in the lens: halos, stars, smears, ghosts, an even veil
    "over-exposed": "OverExposed",  # more light than the sensor holds, by stops, with a camera's response to it
    "underwater": "Underwater",  # water before the camera and above the scene: Jerlov's types, backscatter, blur
    "dusty": "Dusty",  # sand in the air, by visibility: ochre, since each scattering takes some of the blue
    "impulse-noisy": "ImpulseNoisy",  # salt and pepper, dead photosites, stripes, dead lines, by share of what is hit
    "banded": "Banded",  # few levels of each colour: bands, or their dithering by a pattern or by noise
    "aged": "Aged",  # an old print: faded dyes, yellow paper, stains, folds, tears, scratches, dust, grain
    "video-compressed": "VideoCompressed",  # a frame after H.264, a key frame or a predicted one; by PyAV's x264
    "blurred": "Blurred",  # one small kernel, as in blind super-resolution: Gaussians, plateaus, sinc, discs, lines
}

EVERY: Table[Degradation] = Table(__name__, _HOMES)
"""The whole table, for what is said of a degradation: that must not depend on what is installed."""

MISSING: dict[str, str] = {}
"""What takes a library that is not installed here, and how to install it. It is no part of the catalogue then, which
has what can be made."""
if not find_spec("av"):
    from patina.synth.degradations.video_compressed import INSTALL

    MISSING["video-compressed"] = INSTALL

CATALOGUE: Table[Degradation] = Table(__name__, {name: home for name, home in _HOMES.items() if name not in MISSING})

# The ten degradations of DA-CLIP (arXiv 2310.01018), in its order. Pairs may carry any of them as their label.
DACLIP_DEGRADATIONS = (
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "uncompleted",
)
