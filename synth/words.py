"""Words from truth: sentences that say what was done to an image, and how badly. A synthesiser knows; no model guesses.

The bare name (`hazy`) stays the label, as DA-CLIP has it. Beside it stand a sentence ("dense haze, visibility about
40 m; light JPEG blocking"), an instruction ("remove the haze, keep the rain"), and VLU-Net's fixed prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patina.synth.degradation import Params
from patina.synth.rng import Rng
from patina.synth.severity import LEVELS, level_of

VERSION = 1
"""Raised whenever the same sample gets other words: then samples are worded anew, and no pixel is made again."""


@dataclass(frozen=True)
class Wording:
    """How to speak of one degradation.

    noun    what it is, as in "remove the …".
    grades  a phrase for each of the five levels of severity, mildest first.
    undo    instructions that ask for its removal.
    detail  what the parameters add, in words and units; empty if nothing.
    """

    noun: str
    grades: tuple[str, str, str, str, str]
    undo: tuple[str, ...]
    detail: Callable[[Params], str] = lambda params: ""


def _graded(noun: str, *adjectives: str) -> tuple[str, str, str, str, str]:
    one, two, three, four, five = (f"{adjective} {noun}" for adjective in adjectives)
    return one, two, three, four, five


def _number(params: Params, name: str, text: str) -> str:
    """`text` with the parameter filled in, if there is such a number."""
    value = params.get(name)
    return text.format(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


CASTERS = {
    "foliage": "foliage",
    "person": "a person",
    "pole": "a pole",
    "building": "a building",
    "blinds": "blinds",
}
"""What casts shadows, as `shadowed` names it and as people do."""

WORDINGS: dict[str, Wording] = {
    "motion-blurry": Wording(
        "motion blur",
        _graded("motion blur", "a trace of", "light", "clear", "strong", "extreme"),
        ("remove the motion blur", "make the picture sharp", "undo the camera shake"),
    ),
    "hazy": Wording(
        "haze",
        _graded("haze", "thin", "light", "moderate", "dense", "very dense"),
        ("remove the haze", "clear the air", "dehaze the picture"),
        lambda p: _number(p, "visibility", "visibility about {:.0f} m"),
    ),
    "jpeg-compressed": Wording(
        "JPEG blocking",
        _graded("JPEG blocking", "faint", "light", "visible", "heavy", "extreme"),
        ("remove the JPEG blocks", "undo the compression", "repair the compression artefacts"),
        lambda p: _number(p, "quality", "quality {:.0f}"),
    ),
    "low-light": Wording(
        "darkness",
        ("slight underexposure", "underexposure", "darkness", "deep darkness", "near blackness"),
        ("brighten the picture", "restore the light", "correct the underexposure"),
        lambda p: _number(p, "stops", "{:.1f} stops too dark"),
    ),
    "noisy": Wording(
        "noise",
        _graded("noise", "faint", "light", "clear", "heavy", "extreme"),
        ("remove the noise", "denoise the picture", "clean up the grain"),
        lambda p: _number(p, "sigma", "standard deviation about {:.0f} of 255"),
    ),
    "raindrop": Wording(
        "raindrops on the glass",
        _graded("raindrops on the glass", "a few", "some", "many", "large", "the whole view full of"),
        ("remove the raindrops from the glass", "wipe the drops away"),
        lambda p: _number(p, "area", "drops over {:.0%} of the view"),
    ),
    "rainy": Wording(
        "rain",
        _graded("rain", "a trace of", "light", "steady", "heavy", "torrential"),
        ("remove the rain", "take away the rain streaks"),
        lambda p: _number(p, "rate", "about {:.0f} mm an hour"),
    ),
    "shadowed": Wording(
        "shadow",
        _graded("shadow", "a faint", "a light", "a clear", "a deep", "a very deep"),
        ("remove the shadow", "lift the shadow"),
        lambda p: f"cast by {CASTERS[p['kind']]}" if p.get("kind") in CASTERS else "",
    ),
    "snowy": Wording(
        "snow",
        _graded("snow", "a few flakes of", "light", "steady", "heavy", "a blizzard of"),
        ("remove the snow", "take away the falling snow"),
    ),
    "uncompleted": Wording(
        "missing parts",
        _graded("parts missing", "tiny", "small", "several", "large", "very large"),
        ("fill in the missing parts", "complete the picture", "inpaint the holes"),
        lambda p: _number(p, "hole_ratio", "{:.0%} of the picture"),
    ),
}

FRAMES = ("{}", "the photograph has {}", "a picture with {}", "degraded by {}")
"""Sentences around the phrases; the same sample always gets the same one."""

# VLU-Net's prompts (its CLIP stage): three for noise, by σ, and one for each other task.
VLU_PROMPTS = {
    "hazy": "image with haze",
    "rainy": "image with rain",
    "motion-blurry": "image with blur",
    "low-light": "image with low light",
}
VLU_NOISE = ((20.0, "image with noise"), (37.5, "image with many noise"), (256.0, "image with large amount of noise"))


@dataclass(frozen=True)
class Text:
    """The words of one sample: a sentence, an instruction, and VLU-Net's prompt (empty where it has none)."""

    sentence: str
    instruction: str
    prompt: str

    def facts(self) -> dict[str, str]:
        """As KEY.json holds them."""
        return {"sentence": self.sentence, "instruction": self.instruction, "prompt": self.prompt}


def text_of(parts: Sequence[tuple[str, Params]], score: float, seed: str) -> Text:
    """The words for a sample that underwent `parts` (name and parameters, in order) and measures `score` (0..100).

    `seed` (32 hex digits) chooses among paraphrases: the same sample, the same words. The score of a composite is that
    of all parts together, so its parts are named with what is known of each and not graded. Names that are not among
    DA-CLIP's ten are taken as they are.
    """
    rng = Rng(seed)
    phrases = [_phrase(name, params, score if len(parts) == 1 else None) for name, params in parts]
    sentence = rng.choice(FRAMES).format("; ".join(phrases))
    undone = rng.integer(0, len(parts) - 1)
    requests = [rng.choice(WORDINGS[name].undo) if name in WORDINGS else f"remove what is {name}" for name, _ in parts]
    if len(parts) == 1 or rng.uniform() < 0.5:
        instruction = ", ".join(requests)
    else:
        kept = [WORDINGS[name].noun if name in WORDINGS else name for i, (name, _) in enumerate(parts) if i != undone]
        instruction = f"{requests[undone]}, keep the {' and the '.join(kept)}"
    return Text(sentence, instruction, _prompt(parts))


def _phrase(name: str, params: Params, score: float | None) -> str:
    if name not in WORDINGS:
        return name if score is None else f"{level_of(score)} {name}"
    wording = WORDINGS[name]
    phrase = wording.noun if score is None else wording.grades[LEVELS.index(level_of(score))]
    detail = wording.detail(params)
    return f"{phrase}, {detail}" if detail else phrase


def _prompt(parts: Sequence[tuple[str, Params]]) -> str:
    if len(parts) != 1:
        return ""
    name, params = parts[0]
    if name == "noisy":
        sigma: Any = params.get("sigma", 50.0)
        level = float(sigma) if isinstance(sigma, int | float) else 50.0  # an ingested pair may tell anything
        return next((prompt for limit, prompt in VLU_NOISE if level < limit), VLU_NOISE[-1][1])
    return VLU_PROMPTS.get(name, "")


def parts_of(label: str, params: Mapping[str, Any]) -> list[tuple[str, Params]]:
    """Name and parameters of each part, from a sample's label and parameters: a composite stores a list of them; of an
    ingested pair with several degradations no more than their names is known."""
    if "parts" in params:
        return [(str(name), drawn) for name, drawn in params["parts"]]
    names = label.split("+")
    return [(name, params if len(names) == 1 else {}) for name in names]
