"""Released checkpoints of the papers, in and out.

    net, found = official.load(Path("universal-ir.pth"))      any published file: which network it is, is found out
    official.save(net, Path("ours_G.pth"))                    a file that the published code reads

A file goes through three tables: of containers (`containers.py`: where in a file the tensors are), of shapes
(`settings.py`: how wide and deep the network is) and of names (a `KeyMap` for each network). Nothing in it is run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from patina.training.checkpoints.model import expect_finite, first_names
from patina.training.errors import CheckpointError
from patina.training.models import CATALOGUE
from patina.training.models.keymap import KeyMap, KeyMapError
from patina.training.official import containers
from patina.training.official.containers import Contents, averages

Form: TypeAlias = Literal["openclip", "bare", "lightning", "adapters"]


@dataclass(frozen=True)
class Kind:
    """One network of the papers, at any size: where it is defined, and how it is published.

    network    its name whatever its size; released sizes have their own in `patina.training.models`.
    class_path module and class; imported when asked for, since CLIP brings open_clip.
    table      the KeyMap, in `patina.training.official`.
    settings   the function in `patina.training.official.settings`.
    form       the file that the published code reads.
    prefix     before its names in a file that holds two networks.
    """

    network: str
    class_path: str
    table: str
    settings: str
    form: Form
    prefix: str = ""

    def class_(self) -> type[nn.Module]:
        """The network's class."""
        return _named(f"patina.training.models.{self.class_path}")  # type: ignore[no-any-return]

    def names(self) -> KeyMap:
        """The table of its tensors' names."""
        return _named(f"patina.training.official.{self.table}")  # type: ignore[no-any-return]

    def settings_of(self, published: Mapping[str, Tensor]) -> object:
        """The settings that the shapes of published tensors tell. Raises KeyError or ValueError if they tell none."""
        found: Callable[[Mapping[str, Tensor]], object] = _named(f"patina.training.official.settings:{self.settings}")
        return found(published)


KINDS = (
    Kind("daclip", "daclip:DaClip", "daclip:DACLIP", "daclip_settings", "openclip"),
    Kind(
        "clip-adapter",
        "clip_adapter:AdaptedClip",
        "clip_adapter:CLIP_ADAPTER",
        "clip_adapter_settings",
        "adapters",
        "model_degradation.",
    ),
    Kind("unet", "unet:UNet", "unet:UNET", "unet_settings", "bare"),
    Kind("nafnet", "nafnet:NAFNet", "nafnet:NAFNET", "nafnet_settings", "bare"),
    Kind("vlunet", "vlunet:VluNet", "vlunet:VLUNET", "vlunet_settings", "lightning", "net."),
)
"""Every network that was published. DA-CLIP's direct NAFNet was not."""


_ODD = (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError)
"""What tensors of shapes that no network has lead to."""


@dataclass(frozen=True)
class Found:
    """What a published file turned out to be.

    network   the released network's name in `patina.training.models`, or the kind's own name at any other size.
    settings  from the tensors' shapes.
    contents  of the file, without the tensors of this network: types converted, names left out, notes.
    others    names of the other networks in the file.
    taken     which of several sets of this network's weights was taken, in words; empty if there is one.
    unread    how many tensors of the file belong to no network that is known.
    """

    network: str
    settings: object
    contents: Contents
    others: tuple[str, ...] = ()
    unread: int = 0
    taken: str = ""

    def lines(self) -> list[str]:
        """The same in plain sentences."""
        c = self.contents
        sentences = [f"{c.path.name} is {self.network}: {self.settings}"]
        sentences += [f"{n} tensors were {kind} and are float32 now" for kind, n in c.converted.items()]
        if self.taken:
            sentences.append(self.taken)
        if self.others:
            sentences.append(f"the file also holds {', '.join(self.others)}; load it by that word")
        if self.unread:
            sentences.append(f"{self.unread} tensors of the file belong to no network that is known")
        if c.left_out:
            sentences.append(f"of other libraries, neither imported nor run: {', '.join(c.left_out)}")
        return sentences + [f"{name}: {note}" for name, note in c.notes.items() if note != ""]


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """The name of the network whose published state dict this is, None for a stranger's.

    It is the name in `patina.training.models` for a released network, and the kind's ("unet", "vlunet", …) for one of
    other sizes. Names decide; some may be missing or too many, as long as most are one network's.
    """
    kind = _kind_of(state)
    return None if kind is None else _network_name(kind, state)


def load(path: Path, network: str | None = None, *, into: nn.Module | None = None) -> tuple[nn.Module, Found]:
    """The network in a published file, on the CPU in float32, and what was found.

    network  which one is wanted, of the file's two or to be sure: a name of `patina.training.models`, or a kind's.
    into     a network to fill in place of a new one: for settings that leave no trace in shapes (`quick_gelu`), and
             for `clip_tuned.pth`, which holds the adapters without the CLIP that they stand on.

    Raises CheckpointError for a file that is no checkpoint, that would run code or that is of another network (naming
    it), with the lists of tensors that are missing, too many or of another shape, and for weights that are NaN or
    infinite (naming them).
    """
    contents = containers.read(path)
    kinds = {prefix: kind for prefix, state in contents.parts.items() if (kind := _kind_of(state)) is not None}
    networks = {prefix: _network_name(kind, contents.parts[prefix]) for prefix, kind in kinds.items()}
    prefix = _choose(contents, kinds, networks, network, into)
    state, found = contents.parts[prefix], networks[prefix]
    expect_finite(state, path)
    same = [p for p, kind in kinds.items() if kind is kinds[prefix] and p != prefix]
    others = tuple(other for p, other in networks.items() if p != prefix and p not in same)
    try:
        net = _filled(kinds[prefix], state, into)
    except KeyMapError as error:
        raise CheckpointError(f"{path} looks like {found}, but {error}") from None
    settings = getattr(net, "settings", None)
    unread = sum(len(tensors) for p, tensors in contents.parts.items() if p not in kinds)
    return net, Found(found, settings, replace(contents, parts={}), others, unread, _taken(prefix, same))


def save(
    net: nn.Module, path: Path, *, degradation_model: nn.Module | None = None, epoch: int = 0, name: str = ""
) -> None:
    """Write a network in the form that the published code of its paper reads.

    DA-CLIP                   {epoch, name, state_dict}, the image tower under both its names
    U-Nets, NAFNet            the bare state dict
    VLU-Net                   as Lightning 2.0 does: `net.…`, and `model_degradation.…` if the network that makes its
                              degradation vectors is given, without which their code refuses the file
    VLU-Net's adapted CLIP    {epoch, learnable_params, optimizer}: the adapters alone, as parameters

    Raises CheckpointError for a network that was never published and for a disk that does not take the file.
    """
    kind = _kind_of_network(net, path)
    published = _published(net, kind, path)
    content: dict[str, object]
    match kind.form:
        case "openclip":
            content = {"epoch": epoch, "name": name, "state_dict": published}
        case "bare":
            content = dict(published)
        case "adapters":
            adapters = {n: nn.Parameter(t) for n, t in published.items() if _adapters().explained([n])}
            content = {"epoch": epoch, "learnable_params": OrderedDict(adapters), "optimizer": {}}
        case "lightning":
            parts = [(kind, published)]
            if degradation_model is not None:
                other = _kind_of_network(degradation_model, path)
                parts.append((other, _published(degradation_model, other, path)))
            state = OrderedDict((k.prefix + n, t) for k, tensors in parts for n, t in tensors.items())
            version = "2.0.0"  # whose layout this is; their loader asks for it
            content = {"epoch": epoch, "global_step": 0, "pytorch-lightning_version": version, "state_dict": state}
    containers.write(path, content)


def _published(net: nn.Module, kind: Kind, path: Path) -> OrderedDict[str, Tensor]:
    """The network's tensors under their published names, on the CPU in float32, repeated ones being one."""
    state = {n: t.detach().cpu() for n, t in net.state_dict().items()}
    state = {n: (t.float() if t.is_floating_point() else t).contiguous() for n, t in state.items()}
    try:
        return OrderedDict(kind.names().to_published(state))
    except KeyMapError as error:
        raise CheckpointError(f"{path}: this {kind.network} has no published form: {error}") from None


def _kind_of(state: Mapping[str, Tensor]) -> Kind | None:
    """The kind most of whose names these are, if most of them are."""
    explained = {kind: kind.names().explained(state) for kind in KINDS}
    best = max(KINDS, key=lambda kind: explained[kind])
    return best if 2 * explained[best] > len(state) else None


def _kind_of_network(net: nn.Module, path: Path) -> Kind:
    kind = next((kind for kind in KINDS if kind.class_path == _place(type(net))), None)
    if kind is None:
        raise CheckpointError(
            f"{path}: {type(net).__name__} has no published form; use patina.training.checkpoints.model.save"
        )
    return kind


def _network_name(kind: Kind, state: Mapping[str, Tensor]) -> str:
    """The released network's name, if the shapes are its, else the kind's."""
    try:
        settings = kind.settings_of(state)
    except _ODD:
        return kind.network
    released = (
        network
        for network, entry in CATALOGUE.items()
        if entry.class_path == kind.class_path and entry.settings == settings
    )
    return next(released, kind.network)


def _choose(
    contents: Contents,
    kinds: Mapping[str, Kind],
    networks: Mapping[str, str],
    network: str | None,
    into: nn.Module | None,
) -> str:
    """The place of the network that is asked for; unasked, a restorer comes before what steers it. Of several sets of
    its weights it is the moving average, which is what their trainers restore by."""
    path = contents.path
    if not kinds:
        raise CheckpointError(f"{path}: {_stranger(contents)}")
    held = " and ".join(networks.values())
    if network is not None and network not in CATALOGUE and network not in {kind.network for kind in KINDS}:
        raise CheckpointError(f"no network is called {network!r}; the file holds {held}")
    wanted = [p for p in kinds if network in (None, networks[p], kinds[p].network)]
    if into is not None:
        wanted = [p for p in wanted if kinds[p].class_path == _place(type(into))]
    if not wanted:
        expected = network or type(into).__module__.rpartition(".")[2]
        raise CheckpointError(
            f"{path} holds {held}; expected {expected}: give its own file, or load this as what it is"
        )
    best = max(wanted, key=lambda p: kinds[p].form == "lightning")
    same = [p for p in wanted if kinds[p] is kinds[best]]
    chosen = averages(same) or same
    if any(not _equal(contents.parts[p], contents.parts[chosen[0]]) for p in chosen[1:]):
        told = " and ".join(_place_in_file(p) for p in chosen)
        raise CheckpointError(
            f"{path} holds {networks[best]} {len(chosen)} times, at {told}, and nothing says which is meant; save the "
            "one that is in a file of its own"
        )
    return chosen[0]


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[name]) for name, t in one.items())


def _place_in_file(prefix: str) -> str:
    """Where in a file a part lies, in words."""
    return f"`{prefix.rstrip('/.') or 'the top'}`"


def _taken(prefix: str, same: Sequence[str]) -> str:
    """Which of several sets of weights was taken, in words; empty if there was one."""
    if not same:
        return ""
    is_average = prefix in averages([prefix, *same])
    kind = "the moving average of the weights" if is_average else "the first of equal ones"
    left = ", ".join(map(_place_in_file, same))
    return f"taken were {_place_in_file(prefix)}, {kind}; {left} in the same file, of the same network, stayed there"


def _filled(kind: Kind, state: Mapping[str, Tensor], into: nn.Module | None) -> nn.Module:
    """The network with these tensors. Raises KeyMapError where they do not fit."""
    if kind.form == "adapters" and _adapters().explained(state) == len(state):
        return _with_adapters(state, into)
    if into is None:
        try:
            into = kind.class_()(kind.settings_of(state))
        except _ODD as error:
            raise KeyMapError(f"a tensor that tells its settings is missing or odd: {error}") from None
    into.load_state_dict(kind.names().from_published(state, into.state_dict()))
    return into


def _with_adapters(state: Mapping[str, Tensor], into: nn.Module | None) -> nn.Module:
    if into is None:
        raise KeyMapError(
            "with the adapters alone, as `clip_tuned.pth` has them: build the CLIP that they stand on "
            "(patina.training.models.clip_adapter.AdaptedClip.pretrained()) and give it as `into`"
        )
    own = {name: t for name, t in into.state_dict().items() if not name.startswith("clip.")}
    into.load_state_dict(_adapters().from_published(state, own), strict=False)
    return into


def _stranger(contents: Contents) -> str:
    names = [prefix + name for prefix, state in contents.parts.items() for name in state]
    if {"visual.conv1.weight", "token_embedding.weight"} <= set(names):
        return "a CLIP alone, on which DA-CLIP stands; it restores nothing, and names degradations by `patina evaluate`"
    return f"tensors of no network that patina knows ({len(names)}: {first_names(names, 4)})"


def _adapters() -> KeyMap:
    from patina.training.official.clip_adapter import ADAPTERS

    return ADAPTERS


def _place(class_: type) -> str:
    """`module:class` of a network, as KINDS has it."""
    return f"{class_.__module__.removeprefix('patina.training.models.')}:{class_.__name__}"


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
