"""One image, without a dataset: degrade it, measure it, and see what can be done to it."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

import cv2

from patina._face.arguments import as_written, image_of
from patina.pipeline.hashing import canonical_json
from patina.pipeline.recipe.parse import parse_degradation
from patina.synth.compose import JOINT
from patina.synth.degradation import Degraded, SettingError
from patina.synth.describe import DegradationInfo, describe
from patina.synth.figures import Figures
from patina.synth.figures import figures as papers_figures
from patina.synth.image import Image, Map
from patina.synth.rng import Rng, sample_seed
from patina.synth.severity import Measured, measure

Seed: TypeAlias = SupportsIndex | str
"""A whole number or a text; a sample's stored seed, 32 hexadecimal digits, counts as itself."""

Params: TypeAlias = dict[str, Any]
"""What was drawn, as JSON: texts, numbers, booleans, lists and tables of them."""

_STORED_SEED = re.compile(r"[0-9a-f]{32}")


@overload
def degrade(
    image: Image,
    degradation: str,
    *,
    seed: Seed = ...,
    severity: str = ...,
    params: Mapping[str, Any] | str | None = ...,
    truth: Literal[False] = ...,
    **settings: Any,
) -> tuple[Image, Params]: ...
@overload
def degrade(
    image: Image,
    degradation: str,
    *,
    seed: Seed = ...,
    severity: str = ...,
    params: Mapping[str, Any] | str | None = ...,
    truth: Literal[True],
    **settings: Any,
) -> tuple[Image, Params, dict[str, Map]]: ...
def degrade(
    image: Image,
    degradation: str,
    *,
    seed: Seed = 0,
    severity: str = "",
    params: Mapping[str, Any] | str | None = None,
    truth: bool = False,
    **settings: Any,
) -> tuple[Image, Params] | tuple[Image, Params, dict[str, Map]]:
    """Degrade one image, as a dataset's samples are.

    Args:
        image: H×W×3 uint8 RGB, sRGB-encoded, 16 px a side at least. It is not changed.
        degradation: A name from `patina.degradations()`, such as "rainy", or several as in "low-light+rainy": those are
            applied in the order in which light meets them (scene, air, lens, sensor, file), and those of one stage,
            such as "hazy+rainy", in the order of writing. Or "chain", with the setting chain="wild-ir", "real-esrgan"
            or "bsrgan", or rounds of steps as a recipe has them.
        seed: A whole number or any text. What is drawn depends on the seed, the degradation, its settings and the
            image. Images that are to get their own rain need their own seeds. A seed that a dataset stores (32
            hexadecimal digits) draws what that sample drew.
        severity: "slight", "mild", "moderate", "severe" or "extreme", or two as in "mild..severe": the degradation's
            knob is turned until the result measures so. Smooth and small images often cannot reach a level, and get the
            nearest, which `patina.severity(image, lq)` measures. The severity of a composite is given by part, as in
            `hazy={"severity": "mild"}`.
        params: Parameters that an earlier call gave, or a sample's, as a table or as JSON: they are applied to this
            image, and nothing is drawn. Then seed and severity have no effect, a composite has the parts and the order
            of the parameters, and of the settings only folders matter.
        truth: Whether to give the truth maps too.
        settings: As in a recipe: a number, a list to choose from, or a range {"min": 5, "max": 55}. Those of a
            composite go by its parts: `hazy={"beta": 0.02}`; `steps=True` adds the image after each part to the truth
            maps.

    Returns:
        The degraded image, H×W×3 uint8 RGB; the parameters, which JSON keeps exactly; and, if asked for, the truth maps
        by name: H×W uint8 or uint16, a blur kernel k×k, a step H×W×3. The same arguments give the same bytes on every
        machine with the same image codecs.

    Raises:
        RecipeError: A ValueError: the degradation or a setting is unknown, or a setting is out of its range.
        TypeError, ValueError: The image, the seed or the parameters are of another kind.

    Examples:
        >>> import numpy as np, patina
        >>> image = np.full((64, 96, 3), 120, np.uint8)
        >>> lq, params = patina.degrade(image, "noisy", seed=123, sigma=[15, 25])
        >>> lq.shape, lq.dtype, params["sigma"] in (15, 25)
        ((64, 96, 3), dtype('uint8'), True)
        >>> again, _ = patina.degrade(image, "noisy", params=params)
        >>> np.array_equal(lq, again)
        True
        >>> lq, params, maps = patina.degrade(image, "hazy+rainy", seed="a.jpg", hazy={"beta": 0.02}, truth=True)
        >>> sorted(maps)
        ['hazy-depth', 'hazy-transmission', 'rainy-streaks']
    """
    pixels = image_of(image)
    if not isinstance(degradation, str):
        raise TypeError(f"degradation: expected a word such as 'rainy', found {type(degradation).__name__}")
    if not all(name.strip() for name in degradation.split(JOINT)):
        found = repr(degradation) if degradation else "an empty text"
        raise ValueError(f"degradation: expected a word such as 'rainy', or several as 'hazy+rainy', found {found}")
    written = as_written(settings, "settings")
    if params is None and severity:
        if JOINT in degradation:
            raise ValueError(
                f"severity: that of a composite is given by part, as in {degradation.partition(JOINT)[0]}="
                f'{{"severity": {severity!r}}}'
            )
        written["severity"] = severity
    chosen = parse_degradation(degradation, written, Path.cwd())
    if params is None:
        drawn: Params = json.loads(canonical_json(chosen.draw(Rng(_seed(seed, chosen.name)), pixels)))
    else:
        drawn = _parameters(params)
    try:
        made: Degraded = chosen.apply(pixels, drawn)
    except SettingError:  # of a folder: it says all
        raise
    except (KeyError, TypeError, IndexError, ValueError, ArithmeticError, cv2.error) as error:
        if params is None:
            raise
        found, lack = ", ".join(map(str, drawn)), f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"params: expected what was drawn for {chosen.name}, found {found or 'nothing'}, and {lack}"
        ) from error
    if not truth:
        return made.image, drawn
    return made.image, drawn, {**made.truth, **made.steps}


def _seed(given: Seed, name: str) -> str:
    """The seed of `name`'s generator."""
    if isinstance(given, str):
        number: Any = given
        if _STORED_SEED.fullmatch(given):
            return given
    elif isinstance(given, bool) or not hasattr(given, "__index__"):
        raise TypeError(f"seed: expected a whole number or a text, found {given!r}")
    else:
        number = operator.index(given)
    return sample_seed(number, "", name, 0, (0, 0, 0, 0))


def _parameters(given: Mapping[str, Any] | str) -> Params:
    try:
        found: Any = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"params: expected a table or JSON, found a text that is neither: {error}") from None
    if not isinstance(found, Mapping):
        raise TypeError(f"params: expected a table or JSON, found {type(found).__name__}")
    try:
        json.dumps(found := as_written(found, "params"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"params: expected what JSON keeps, and finite numbers: {error}") from None
    return dict(found)


def severity(clean: Image, degraded: Image) -> Measured:
    """How strongly an image was degraded, measured from the two images, on one scale for all degradations.

    Args:
        clean, degraded: H×W×3 uint8 RGB, of one size, 16 px a side at least.

    Returns:
        `score`, 0 (equal) to 100; `level`, one of slight, mild, moderate, severe, extreme, a fifth of the scale each;
        `psnr` in dB, 100 for equal images; `structure`, how alike luma is in small windows, -1 to 1, which is no
        paper's SSIM (that is `patina.figures`); `residual_mean` and `residual_std` of degraded − clean, in levels.

    Raises:
        TypeError, ValueError: The images are of another kind, or of two sizes.

    Examples:
        >>> import numpy as np, patina
        >>> image = np.full((64, 96, 3), 120, np.uint8)
        >>> found = patina.severity(image, image + np.uint8(30))
        >>> found.level, found.score, found.psnr, found.residual_mean
        ('mild', 34.23, 18.5884, 30.0)
    """
    one, other = image_of(clean, "clean"), image_of(degraded, "degraded")
    if one.shape != other.shape:
        raise ValueError(f"expected two images of one size, found {one.shape} and {other.shape}; crop or resize one")
    return measure(one, other)


def figures(clean: Image, other: Image) -> Figures:
    """PSNR and SSIM as papers print them, of a clean image and its degraded or restored one.

    Args:
        clean, other: H×W×3 uint8 RGB, of one size, 16 px a side at least.

    Returns:
        `psnr` and `ssim` over RGB, and `psnr_y` and `ssim_y` over the luma of BT.601, 16 to 235, with a peak of 255 all
        the same: 1.32 dB more than over a luma of 0 to 255. PSNR is in dB, 100 for equal images. SSIM (Wang et al.
        2004) is by Gaussian windows of 11 px, σ 1.5, at full size; of images above 105 px of height, windows of every
        third (luma) or fifth row are taken.

    Raises:
        TypeError, ValueError: The images are of another kind, or of two sizes.

    Examples:
        >>> import numpy as np, patina
        >>> image = np.full((64, 96, 3), 120, np.uint8)
        >>> patina.figures(image, image + np.uint8(30))
        Figures(psnr=18.5884, psnr_y=19.8313, ssim=0.9756, ssim_y=0.9808)
    """
    one, two = image_of(clean, "clean"), image_of(other, "other")
    if one.shape != two.shape:
        raise ValueError(f"expected two images of one size, found {one.shape} and {two.shape}; crop or resize one")
    return papers_figures(one, two)


def degradations() -> list[DegradationInfo]:
    """List every degradation that patina knows: DA-CLIP's ten in its order, and then the others.

    Returns:
        A list. Each degradation has a `name`, a `description`, a `version` (a number that rises when its pixels
        change), the names of its `truth` maps, its `settings`, and its `knob`, the setting that `severity` turns. A
        setting has a `name`, a `default`, a `text` that says its meaning, unit and range, and `is_knob`.

    Examples:
        >>> import patina
        >>> rainy = next(one for one in patina.degradations() if one.name == "rainy")
        >>> rainy.description
        'Rain that falls through the picture while the shutter is open'
        >>> rainy.knob.name, rainy.knob.default
        ('rate', {'min': 10, 'max': 130})
        >>> rainy.knob.text
        'of rain, mm/h, 0.1..300. 2.5 is light, 10 moderate, 50 violent.'
    """
    return describe()
