"""Several degradations of one photograph, in the order in which light meets them: scene, air, lens, sensor, file.

Computed in floats and quantised once: at the codec, or at the end where there is none. What comes after a codec works
on the 8-bit levels that a decoder gives, since that is what there is to work on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from patina.synth.degradation import (
    STAGES,
    Degradation,
    Degraded,
    Params,
    Place,
    Rendered,
    Rendering,
    SettingError,
    Stage,
)
from patina.synth.image import FloatImage, Image, Map, to_float
from patina.synth.rng import Rng

JOINT = "+"
"""Between the names of a composite's name: `low-light+hazy`, in the order in which they are applied."""


@dataclass(frozen=True)
class Composite(Degradation):
    """Applies `parts` one after another, sorted by stage; those of one stage in the order given.

    parts  degradations by name, two at least.
    steps  whether the image after each part but the last is kept too, as an intermediate target: what is left to
           restore when the later parts are undone.

    Each part draws for itself, looking at the clean image. Raises SettingError for fewer than two parts.
    """

    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "scene"

    parts: Mapping[str, Degradation] = field(default_factory=dict)
    steps: bool = False

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise SettingError(f"a composite has two parts at least, found {', '.join(self.parts) or 'none'}")
        ordered = sorted(self.parts.items(), key=lambda part: STAGES.index(part[1].stage))
        object.__setattr__(self, "parts", dict(ordered))

    @property
    def name(self) -> str:  # type: ignore[override]
        """The parts' names in the order in which they are applied, joined by `+`."""
        return JOINT.join(self.parts)

    @property
    def truth(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parts' truth maps, each under its part's name: `hazy-transmission`."""
        return tuple(f"{degradation}-{name}" for degradation, part in self.parts.items() for name in part.truth)

    def missing_input(self, name: str) -> str:
        """What the first part that lacks something does."""
        return next((lack for part in self.parts.values() if (lack := part.missing_input(name))), "")

    def side_input_digest(self, name: str) -> str:
        """What all parts look up, in their order."""
        return " ".join(filter(None, (part.side_input_digest(name) for part in self.parts.values())))

    def settings(self) -> dict[str, Any]:
        """Each part's version and settings."""
        parts = {name: {"version": p.version, **p.settings()} for name, p in self.parts.items()}
        return {"parts": parts, "steps": self.steps}

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        """`parts`: name and parameters of each, in order. Each has a generator of its own: one more part, or another
        setting of one, leaves the others as they were."""
        seeds = {name: rng.seed() for name in sorted(self.parts)}
        drawn = [[name, part.draw(Rng(seeds[name]), image, place)] for name, part in self.parts.items()]
        return {"parts": drawn, "steps": self.steps}

    def apply(self, image: Image, params: Params) -> Degraded:
        """Degrade `image` by all parts. The last part's file is the result's, if it is a codec."""
        passage = Passage(image)
        truth: dict[str, Map] = {}
        steps: dict[str, Image] = {}
        file = None
        for i, (degradation, drawn) in enumerate(params["parts"]):
            maps, file = passage.add(self.parts[degradation], drawn)
            truth |= {f"{degradation}-{name}": values for name, values in maps.items()}
            if params["steps"] and i + 1 < len(params["parts"]):
                steps[f"step-{i + 1}"] = passage.levels()
        return Degraded(passage.levels(), truth, file, steps)


class Passage:
    """An image on its way through several degradations: floats for as long as possible, levels where it must be."""

    def __init__(self, image: Image) -> None:
        self._levels: Image | None = image
        self._rendering: Rendering | None = None

    def add(self, part: Degradation, params: Params) -> tuple[Mapping[str, Map], tuple[str, bytes] | None]:
        """Apply one more part; its truth maps, and its file if it is a codec."""
        if isinstance(part, Rendered):
            rendering: Rendering = part.render(self._image(part.reads_levels), params)  # type: ignore[arg-type]
            self._levels, self._rendering = None, rendering
            return rendering.truth, None
        degraded = part.apply(self.levels(), params)
        self._levels, self._rendering = degraded.image, None
        return degraded.truth, degraded.file

    def levels(self) -> Image:
        """The image as 8-bit levels, rounded if it is not yet quantised. Does not quantise what comes after."""
        if self._levels is not None:
            return self._levels
        assert self._rendering is not None
        return self._rendering.levels

    def floats(self) -> FloatImage:
        """The image as floats in [0, 1], sRGB-encoded; not to be changed."""
        image: FloatImage = self._image(False)  # type: ignore[assignment]
        return image

    def replace(self, image: FloatImage) -> None:
        """Go on with another image, such as one of another size."""
        self._levels, self._rendering = None, Rendering(image)

    def _image(self, levels: bool) -> FloatImage | Image:
        """The image as floats; as the levels that it still is, if those will do."""
        if self._levels is not None:
            return self._levels if levels else to_float(self._levels)
        assert self._rendering is not None
        return self._rendering.image
