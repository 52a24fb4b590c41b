"""The networks of DA-CLIP, IR-SDE, Refusion and VLU-Net, one file each, and the catalogue of their released sizes.

`CATALOGUE` is a table of names. Networks are imported when an entry is asked for them, so reading it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from patina.training.models.keymap import KeyMap


@dataclass(frozen=True)
class Cost:
    """What a network costs as it was published; None where no figure is at hand.

    A MAC is one multiplication and addition. The papers print MACs of their own counter, which counts a dense layer
    once and not for each token, and leaves out whatever is no layer (attention, embeddings, bare parameters). Sides are
    256 px, of CLIP's views 224.

    parameters        of the whole network.
    macs              10⁹, all of them, of the published code.
    paper_parameters  10⁶, as printed.
    paper_macs        10⁹, as printed under "FLOPs".
    hook_parameters   10⁶, by the papers' counter, measured on the published code.
    hook_macs         10⁹, the same.
    """

    parameters: int | None = None
    macs: float | None = None
    paper_parameters: float | None = None
    paper_macs: float | None = None
    hook_parameters: float | None = None
    hook_macs: float | None = None


@dataclass(frozen=True)
class Published:
    """One network at the size of a paper.

    class_path module and class below `patina.training.models`, such as `unet:UNet`.
    size       the constant of settings in the same module.
    tiny       the same of a network for a CPU, with the same names of conditions.
    table      module and constant below `patina.training.official`: the names of its published tensors;
               empty: never published.
    inputs     of what is timed and counted, by name: shapes with B images of sides S, and numbers.
    counted    the method that is meant: for a CLIP that of its image side.
    cost       as published.
    remark     what the cost's figures are of, where it is not the whole network.
    """

    class_path: str
    size: str
    table: str
    inputs: Mapping[str, str]
    counted: str = "forward"
    cost: Cost = field(default_factory=Cost)
    remark: str = ""
    tiny: str = "TINY"

    @property
    def module(self) -> Any:
        """The network's module, imported."""
        return import_module(f"{__name__}.{self.class_path.partition(':')[0]}")

    @property
    def class_(self) -> Any:
        """The network's class."""
        return getattr(self.module, self.class_path.partition(":")[2])

    @property
    def settings(self) -> Any:
        """The settings: a frozen dataclass."""
        return getattr(self.module, self.size)

    @property
    def keys(self) -> KeyMap | None:
        """The table of its tensors' names, or None if it was never published."""
        module, _, name = self.table.partition(":")
        return getattr(import_module(f"patina.training.official.{module}"), name) if module else None

    @property
    def tiny_settings(self) -> Any:
        """Settings of the network's tiny sister."""
        return getattr(self.module, self.tiny)

    def build(self, settings: Any = None) -> nn.Module:
        """The network with its starting values, of other settings if given, on torch's present device."""
        net: nn.Module = self.class_(settings or self.settings)
        return net


_NOISE = {"x_t": "B 3 S S", "mu": "B 3 S S", "t": "B"}
_CONTEXTS = {"image_context": "B 512", "degradation_context": "B 512"}

CATALOGUE: dict[str, Published] = {
    # DA-CLIP of the paper, and of its follow-up on photographs in the wild
    "daclip-b32": Published(
        class_path="daclip:DaClip",
        size="VIT_B_32",
        table="daclip:DACLIP",
        inputs={"images": "B 3 224 224"},
        counted="encode_image",
        cost=Cost(246_213_634, 9.09, paper_parameters=125.2, paper_macs=0.5, hook_parameters=125.2, hook_macs=0.35),
        remark="GMACs and the paper's figures are of the image side, which has 182 785 536 parameters",
    ),
    "daclip-l14": Published(
        class_path="daclip:DaClip",
        size="VIT_L_14",
        table="daclip:DACLIP",
        inputs={"images": "B 3 224 224"},
        counted="encode_image",
        cost=Cost(756_773_122),
        remark="GMACs are of the image side",
    ),
    # The baseline of DA-CLIP's Table 4: CLIP itself, fine-tuned or not
    "clip-b32": Published(
        class_path="plain_clip:PlainClip",
        size="VIT_B_32",
        table="",
        inputs={"images": "B 3 224 224"},
        counted="encode_image",
        cost=Cost(151_277_314, 4.37),
        remark="GMACs are of the image side; the temperature stands beside CLIP's own",
    ),
    # What tells VLU-Net the degradation
    "clip-adapter-b32": Published(
        class_path="clip_adapter:AdaptedClip",
        size="VIT_B_32",
        table="clip_adapter:CLIP_ADAPTER",
        inputs={"images": "B 3 224 224"},
        counted="encode_image",
        cost=Cost(152_859_393, 4.37),
        remark="GMACs are of the image side",
    ),
    # Restorers by IR-SDE: with DA-CLIP; the same without ("IR-SDE" in its table); IR-SDE's own; the follow-up's
    "unet-daclip": Published(
        class_path="unet:UNet",
        size="DACLIP",
        table="unet:UNET",
        inputs=_NOISE | _CONTEXTS,
        cost=Cost(48_975_747, 133.1, paper_parameters=48.9, paper_macs=118, hook_parameters=48.98, hook_macs=118.1),
    ),
    "unet-no-context": Published(
        class_path="unet:UNet",
        size="NO_CONTEXT",
        table="unet:UNET",
        inputs=_NOISE,
        cost=Cost(36_236_419, 119.0, paper_parameters=36.2, paper_macs=117, hook_parameters=36.24, hook_macs=117.6),
        tiny="NO_CONTEXT_TINY",
    ),
    "unet-irsde": Published(
        class_path="unet:UNet",
        size="IRSDE",
        table="unet:UNET",
        inputs=_NOISE,
        cost=Cost(137_147_523, 380.7, hook_parameters=137.1, hook_macs=379.3),
        tiny="NO_CONTEXT_TINY",
    ),
    "unet-wild": Published(
        class_path="unet:UNet",
        size="WILD",
        table="unet:UNET",
        inputs=_NOISE | {"image_context": "B 768"},
        cost=Cost(49_470_467),
        tiny="WILD_TINY",
    ),
    # Refusion's restorer by IR-SDE; the direct one with DA-CLIP, on the same pyramid
    "nafnet-refusion": Published(
        class_path="nafnet:NAFNet",
        size="REFUSION",
        table="nafnet:NAFNET",
        inputs=_NOISE,
        cost=Cost(76_608_387, 63.2, hook_parameters=76.58, hook_macs=63.2),
    ),
    "nafnet-direct": Published(
        class_path="nafnet:DirectNAFNet",
        size="DIRECT",
        table="",
        inputs={"lq": "B 3 S S"} | _CONTEXTS,
        tiny="DIRECT_TINY",
    ),
    # VLU-Net: its all-in-one models, and those that know one task
    "vlunet-7": Published(
        class_path="vlunet:VluNet",
        size="SEVEN_PROMPTS",
        table="vlunet:VLUNET",
        inputs={"images": "B 3 S S", "degradation": "B 512"},
        cost=Cost(35_353_028, 186.3, hook_parameters=31.9, hook_macs=168.1),
    ),
    "vlunet-5": Published(
        class_path="vlunet:VluNet",
        size="FIVE_PROMPTS",
        table="vlunet:VLUNET",
        inputs={"images": "B 3 S S", "degradation": "B 512"},
        cost=Cost(34_364_852),  # two prompts of 489 984 numbers and 8 scores of 513 fewer than with seven
    ),
}
"""Name to network: what commands, stages and checkpoints call them."""
