"""Words from truth: sentences that say what was done to an image, and how badly. A synthesiser knows; no model guesses.

The bare name (`hazy`) stays the label, as DA-CLIP has it. Beside it stand a sentence ("thick fog, visibility about
150 m, severe to see"), an instruction ("remove the fog, keep the rain"), and VLU-Net's fixed prompt.

Two things are told, and kept apart. What was done goes by its own quantity and the field's names for that
(`patina.synth.scales`): rain by millimetres an hour, exposure by stops. How much it shows was measured between the two
images, and is told as "… to see". Heavy rain can be slight to see, before a white wall.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patina.synth.degradation import Params
from patina.synth.degradations import EVERY
from patina.synth.rng import Rng
from patina.synth.scales import (
    BEAUFORT,
    BLIZZARD,
    BLUR,
    COVER,
    DARKNESS,
    DROPS,
    HAZE,
    HOLES,
    JPEG,
    MIST,
    NOISE,
    RAIN,
    SHADOW,
    SNOW,
    VEIL,
    about,
    metres,
    stops_of,
    written,
)
from patina.synth.severity import level_of
from patina.synth.wording import Known, Said, Wording, nothing, on_scale

VERSION = 3
"""Raised whenever the same sample gets other words: then samples are worded anew, and no pixel is made again."""


def _blur(known: Known) -> Said:
    length, share = known.number("length"), known.number("exposure")
    if length is None or share is None:
        return Said("motion blur", "motion blur")
    if path := length * share:
        return on_scale(BLUR, path, f"along a path of {about(path)} px at a short side of 512", "motion blur")
    turn = known.number("rotation")
    return Said(f"motion blur by a roll of {about(turn)}°", "motion blur") if turn and share else nothing("motion blur")


def _haze(known: Known) -> Said:
    if (passed := known.number("transmission")) is not None:
        if passed >= 1:
            return nothing("haze")
        return on_scale(VEIL, passed, f"through which {about(100 * passed)}% of the light comes", "haze")
    if known.number("beta") == 0:
        return nothing("haze")
    visibility = known.number("visibility")
    if not visibility:
        return Said("haze", "haze")
    extinction = known.params.get("extinction")
    dry = isinstance(extinction, Sequence) and len(extinction) == 3 and extinction[0] < DROPS
    scale = HAZE if dry else MIST
    noun = scale.name(visibility).split()[-1]
    return on_scale(scale, visibility, f"visibility {metres(visibility)}", noun)


def _jpeg(known: Known) -> Said:
    noun = "WebP compression" if known.params.get("codec") == "webp" else "JPEG compression"
    quality = known.number("quality")
    if quality is None:
        return Said(noun, noun)
    first = known.number("first_quality")
    after = f" after a first one of quality {first:g}" if first else ""
    return on_scale(JPEG, quality, f"quality {quality:g}{after}", noun, suffix=f" {noun}")


def _darkness(known: Known) -> Said:
    stops = known.number("stops")
    if stops is None:
        return Said("underexposure", "darkness")
    if not stops:
        return nothing("underexposure")
    return on_scale(DARKNESS, stops, f"{about(stops)} stops too dark", "darkness")


def deviation_of(known: Known) -> float | None:
    """The standard deviation of a sample's noise in 8-bit levels: as drawn, or else as measured; None if neither is
    known. What a sensor's noise comes to is measured alone; Poisson's, where it is not measured, is that of middle
    grey."""
    sigma, scale = known.number("sigma"), known.number("scale")
    if sigma is None and known.residual is None and scale and known.params.get("model") == "poisson":
        return 16 * scale * math.sqrt(0.5)
    return known.residual if sigma is None else sigma


def _noise(known: Known) -> Said:
    iso = known.number("iso") if known.params.get("model") == "sensor" else None
    shot = "shot noise" if known.params.get("model") == "poisson" else "noise"
    noun = shot if iso is None else "sensor noise"
    gain = f" at ISO {written(iso)}" if iso else ""
    sigma = deviation_of(known)
    if not sigma:
        return Said(noun + gain, "noise") if sigma is None else nothing("noise")
    return on_scale(NOISE, sigma, f"standard deviation {about(sigma)} of 255", "noise", suffix=f" {noun}{gain}")


def _drops(known: Known) -> Said:
    noun, area = "raindrops on the glass", known.number("area")
    if area is None:
        return Said(noun, noun)
    return on_scale(COVER, area, f"over {about(100 * area)}% of it", noun, suffix=f" {noun}") if area else nothing(noun)


def _rain(known: Known) -> Said:
    rate = known.number("rate")
    return Said("rain", "rain") if not rate else on_scale(RAIN, rate, f"{about(rate)} mm an hour", "rain")


def _snow(known: Known) -> Said:
    rate, wind = known.number("rate"), known.params.get("wind")
    if not rate:
        return Said("falling snow", "snow")
    speed = abs(float(wind)) if isinstance(wind, int | float) and math.isfinite(wind) else None
    blown = "" if speed is None else f", in {BEAUFORT.name(speed)}"
    said = on_scale(SNOW, rate, f"{about(rate)} mm of water an hour{blown}", "snow")
    if speed is not None and said.place == len(SNOW.steps) - 1 and BEAUFORT.place(speed) >= BLIZZARD:
        return Said(said.phrase.replace(SNOW.name(rate), "a blizzard", 1), "snow", said.place)
    return said


CASTERS = {
    "foliage": "foliage",
    "person": "a person",
    "pole": "a pole",
    "building": "a building",
    "blinds": "blinds",
}
"""What casts shadows, as `shadowed` names it and as people do."""


def _shadow(known: Known) -> Said:
    ratio, kind = known.number("ratio"), known.params.get("kind")
    by = f" cast by {CASTERS[kind]}" if kind in CASTERS else ""
    if ratio is None:
        return Said(f"a shadow{by}", "shadow")
    if not ratio:
        return nothing("shadow")
    stops = stops_of(ratio)
    return on_scale(SHADOW, stops, f"{about(stops)} stops darker than the sun beside it", "shadow", suffix=by)


def _holes(known: Known) -> Said:
    ratio = known.number("hole_ratio") if known.hole is None else known.hole
    if ratio is None:
        return Said("parts missing", "missing parts")
    if not ratio:
        return nothing("hole")
    return on_scale(HOLES, ratio, f"{about(100 * ratio)}% of the picture", "missing parts")


WORDINGS: dict[str, Wording] = {
    "motion-blurry": Wording(_blur, ("remove the {}", "make the picture sharp", "undo the camera shake")),
    "hazy": Wording(_haze, ("remove the {}", "clear the air", "dehaze the picture")),
    "jpeg-compressed": Wording(_jpeg, ("undo the {}", "repair the compression artefacts")),
    "low-light": Wording(_darkness, ("brighten the picture", "restore the light", "correct the underexposure")),
    "noisy": Wording(_noise, ("remove the {}", "denoise the picture", "clean up the grain")),
    "raindrop": Wording(_drops, ("remove the {}", "wipe the drops away")),
    "rainy": Wording(_rain, ("remove the {}", "take away the rain streaks")),
    "shadowed": Wording(_shadow, ("remove the {}", "lift the shadow")),
    "snowy": Wording(_snow, ("remove the {}", "take away the falling snow")),
    "uncompleted": Wording(_holes, ("fill in the {}", "complete the picture", "inpaint the holes")),
}

FRAMES = ("{}", "the photograph has {}", "a picture with {}", "degraded by {}")
"""Sentences around the phrases; the same sample always gets the same one."""

# VLU-Net's prompts (its CLIP stage): three for noise, by σ as `NOISE` divides it, and one for each other task.
VLU_PROMPTS = {
    "hazy": "image with haze",
    "rainy": "image with rain",
    "motion-blurry": "image with blur",
    "low-light": "image with low light",
}
VLU_NOISE = {
    "very weak": "image with noise",
    "weak": "image with noise",
    "medium": "image with many noise",
    "strong": "image with large amount of noise",
    "very strong": "image with large amount of noise",
}


@dataclass(frozen=True)
class Text:
    """The words of one sample: a sentence, an instruction, and VLU-Net's prompt (empty where it has none)."""

    sentence: str
    instruction: str
    prompt: str

    def facts(self) -> dict[str, str]:
        """As KEY.json holds them."""
        return {"sentence": self.sentence, "instruction": self.instruction, "prompt": self.prompt}


def text_of(
    parts: Sequence[tuple[str, Params]],
    score: float,
    seed: str,
    residual: float | None = None,
    hole: float | None = None,
) -> Text:
    """The words for a sample that underwent `parts` (name and parameters, in order) and measures `score` (0..100).

    `seed` (32 hex digits) chooses among paraphrases: the same sample, the same words. `residual` is the standard
    deviation of LQ − GT in 8-bit levels: where noise is all that was done, it tells how strong noise of a sensor, or of
    an ingested pair, is. `hole` (0..1) is the share of the picture that the mask drawn makes a hole (`hole_in`): it is
    told instead of the share that was asked for. The score of a composite is that of all its parts together, and is
    told so. Names that are not in the catalogue are taken as they are.

    >>> text_of([("rainy", {"rate": 30.0})], 55, "2" * 32).sentence
    'degraded by heavy rain, about 30 mm an hour, moderate to see'
    """
    rng, alone = Rng(seed), len(parts) == 1
    said = [say(name, params, residual if alone else None, hole) for name, params in parts]
    seen = to_see(score)
    phrases = "; ".join(one.phrase for one in said) + (f", {seen}" if alone else f"; together {seen}")
    sentence = rng.choice(FRAMES).format(phrases)
    undone = rng.integer(0, len(parts) - 1)
    requests = [_request(name, one.noun, rng) for (name, _), one in zip(parts, said, strict=True)]
    kept = dict.fromkeys(one.noun for one in said if one.noun != said[undone].noun)
    if alone or rng.uniform() < 0.5 or not kept:
        by_noun = {one.noun: request for one, request in zip(said, requests, strict=True)}  # a chain has some twice
        instruction = ", ".join(by_noun.values())
    else:
        instruction = f"{requests[undone]}, keep the {' and the '.join(kept)}"
    return Text(sentence, instruction, _prompt(parts, residual))


def say(name: str, params: Params, residual: float | None = None, hole: float | None = None) -> Said:
    """What is said of one degradation by what is known of it; of a name that the catalogue has not, the name."""
    wording = wording_of(name)
    return wording.say(Known(params, residual, hole)) if wording else Said(name, name)


def wording_of(name: str) -> Wording | None:
    """How to speak of a degradation: as of DA-CLIP's ten, or as its class says; None for a name that nobody knows."""
    return WORDINGS.get(name) or (EVERY[name].wording if name in EVERY else None)


def hole_in(mask: NDArray[np.generic]) -> float:
    """The share of an H×W mask, 0 = hole and anything else = kept, that is a hole: 0..1.

    >>> hole_in(np.array([[255, 255], [0, 255]], np.uint8))
    0.25
    """
    return 1 - int(np.count_nonzero(mask)) / mask.size


def to_see(score: float) -> str:
    """A measured severity, 0 to 100, in words: `severe to see`. Of 0, which nobody sees, `nothing to see`."""
    return f"{level_of(score)} to see" if score else "nothing to see"


def _request(name: str, noun: str, rng: Rng) -> str:
    wording = wording_of(name)
    return rng.choice(wording.undo).format(noun) if wording else f"remove what is {name}"


def _prompt(parts: Sequence[tuple[str, Params]], residual: float | None) -> str:
    if len(parts) != 1:
        return ""
    name, params = parts[0]
    if name != "noisy":
        return VLU_PROMPTS.get(name, "")
    sigma = deviation_of(Known(params, residual))
    return "" if sigma is None else VLU_NOISE[NOISE.name(sigma)]


def parts_of(label: str, params: Mapping[str, Any]) -> list[tuple[str, Params]]:
    """Name and parameters of each part, from a sample's label and parameters: a composite stores a list of them; of an
    ingested pair with several degradations no more than their names is known."""
    if "parts" in params:
        return [(str(name), drawn) for name, drawn in params["parts"]]
    names = label.split("+")
    return [(name, params if len(names) == 1 else {}) for name in names]
