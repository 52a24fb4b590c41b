"""The catalogue of public sets: a literal table, name to what is known of it. A new one is one entry in a file here,
its line, and a miniature of each of its layouts in the tests."""

from __future__ import annotations

from patina.pipeline.sources.presets.clean import (
    BSD400,
    CBSD68,
    CELEBA_HQ,
    DIV2K,
    FLICKR2K,
    KODAK24,
    LIVE1,
    REPAINT,
    URBAN100,
    WED,
)
from patina.pipeline.sources.presets.hazy import ITS, OTS, RESIDE_6K, SOTS
from patina.pipeline.sources.presets.mixed import CDD11, DACLIP
from patina.pipeline.sources.presets.pairs import GOPRO, ISTD, LOL, LOL_V2_REAL, RAINDROP, SNOW100K, SRD
from patina.pipeline.sources.presets.preset import Preset
from patina.pipeline.sources.presets.rainy import RAIN100H, RAIN100L

PRESETS: dict[str, Preset] = {
    "gopro": GOPRO,  # motion blur: sums of high-speed frames
    "reside-6k": RESIDE_6K,  # haze: DehazeFormer's choice from RESIDE; DA-CLIP's hazy pairs
    "ots": OTS,  # haze: RESIDE's outdoor training set
    "its": ITS,  # haze: RESIDE's indoor training set
    "sots": SOTS,  # haze: RESIDE's test set, indoor and outdoor
    "lol": LOL,  # low light: real pairs by exposure
    "lol-v2-real": LOL_V2_REAL,  # low light: its larger successor's real pairs
    "raindrop": RAINDROP,  # drops on glass: real pairs
    "rain100h": RAIN100H,  # heavy rain streaks
    "rain100l": RAIN100L,  # light rain streaks
    "srd": SRD,  # shadows: real pairs
    "istd": ISTD,  # shadows: real pairs with masks
    "snow100k": SNOW100K,  # snow of three sizes
    "cdd-11": CDD11,  # low light, haze, rain and snow, and seven composites
    "daclip": DACLIP,  # DA-CLIP's ten tasks, laid out as its training wants them
    "div2k": DIV2K,  # clean, 2K
    "flickr2k": FLICKR2K,  # clean, 2K
    "celeba-hq": CELEBA_HQ,  # clean faces
    "bsd400": BSD400,  # clean, small
    "wed": WED,  # clean, small, many
    "cbsd68": CBSD68,  # clean test images, and the noisy ones that often come with them
    "live1": LIVE1,  # clean test images for JPEG
    "kodak24": KODAK24,  # clean test images
    "urban100": URBAN100,  # clean test images of buildings
    "repaint-masks": REPAINT,  # masks of holes for `uncompleted`
}
