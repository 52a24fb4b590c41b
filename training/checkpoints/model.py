"""Our own checkpoints: one safetensors file with the weights, and everything needed to build the network again.

    8 bytes   length of the header
    header    JSON: type, shape and place of every tensor, and strings: model word, settings, digest, notes, and the
              sum of these strings
    data      the tensors' bytes

Nothing in such a file can run. The settings of the network lie beside its weights, so a mismatch (the published code
stores none, and a wrong `max_sigma` silently gives noise there) cannot happen. A file is written under another name,
forced to the disk and renamed: whoever reads sees the earlier file or the new one, never half of one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from patina.pipeline.files import write_atomically
from patina.training.checkpoints.files import expect_sum, sum_of
from patina.training.errors import CheckpointError
from patina.training.models import CATALOGUE
from patina.training.models.layers import told_not_finite

VERSION = 1
"""Of the layout of the strings in the header. A reader takes its own version and earlier ones."""

_OURS = "patina"
_FLOATS = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))
_PLAIN_TYPES = _FLOATS | {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
"""Types that every safetensors reader knows; a tensor of another type is stored as its bytes, with type and shape."""

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds.

    network   its name in the catalogue (`patina.training.models`).
              The file's header calls it `word`.
    settings  the fields of the network's settings, as JSON values.
    tensors   its state dict, on the CPU; tensors that were one when saved are one again.
    notes     free strings: stage, manifest's digest, code version, seeds.
    without   names of the frozen tensors that were left out, and
    base      the digest of those, by which the right base is known;
    base_name what the base was called, for the error message.
    digest    of `tensors`: SHA-256 over names, types, shapes and bytes.
    """

    network: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    notes: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    base: str = ""
    base_name: str = ""
    digest: str = ""


def save(
    model: nn.Module,
    path: Path,
    *,
    network: str,
    settings: object | None = None,
    notes: Mapping[str, str] | None = None,
    only: Literal["all", "trainable"] = "all",
    base_name: str = "",
) -> str:
    """Write `model` to `path` in one step and return the digest of the tensors written.

    settings  a dataclass; `model.settings` unless given.
    only      "trainable" leaves out the parameters that ask for no gradient (the frozen CLIP, 600 MB of DA-CLIP's
              985) and notes their digest, so that the file fits only the base it was trained on.
    Raises CheckpointError if the disk does not take it; an earlier file is then as it was, and nothing else is left.
    """
    state = model.state_dict()
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    left_out = {name: t for name, t in state.items() if name in frozen} if only == "trainable" else {}
    checkpoint = Checkpoint(
        network=network,
        settings=settings_to_json(getattr(model, "settings", None) if settings is None else settings),
        tensors={name: t for name, t in state.items() if name not in left_out},
        notes=dict(notes or {}),
        without=tuple(sorted(left_out)),
        base=digest_of(left_out) if left_out else "",
        base_name=base_name,
    )
    return write(checkpoint, path)


def write(checkpoint: Checkpoint, path: Path) -> str:
    """Write `checkpoint` to `path` in one step and return the digest of its tensors (its own `digest` is not read).

    Raises CheckpointError for notes that are not strings and for a disk that does not take the file.
    """
    if strange := [name for name, note in checkpoint.notes.items() if not isinstance(note, str)]:
        raise CheckpointError(f"{path}: notes are strings; {strange[0]!r} is {checkpoint.notes[strange[0]]!r}")
    kept, repeats = _one_of_each(checkpoint.tensors)
    raw = {name: [_name(t.dtype), list(t.shape)] for name, t in kept.items() if t.dtype not in _PLAIN_TYPES}
    digest = digest_of(checkpoint.tensors)
    body = {
        "version": VERSION,
        "word": checkpoint.network,
        "settings": dict(checkpoint.settings),
        "notes": dict(checkpoint.notes),
        "without": list(checkpoint.without),
        "base": checkpoint.base,
        "base_name": checkpoint.base_name,
        "digest": digest,
        "repeats": repeats,
        "raw": raw,
    }
    body["sum"] = sum_of(body)
    header = {_OURS: json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))}
    stored = {name: _bytes(t) if name in raw else _whole(t) for name, t in kept.items()}
    write_in_one_step(path, lambda temporary: save_file(stored, temporary, header))
    return digest


def load(path: Path) -> Checkpoint:
    """Read the checkpoint at `path`, every byte checked against its digest.

    Raises CheckpointError for a file that is cut short, damaged, of another program, or of a later version of patina.
    """
    body = _read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        tensors = {name: _from_bytes(t, *body["raw"].get(name, ())) for name, t in stored.items()}
        tensors.update({again: tensors[name] for again, name in body["repeats"].items()})
        checkpoint = Checkpoint(
            network=body["word"],
            settings=body["settings"],
            tensors=tensors,
            notes=body["notes"],
            without=tuple(body["without"]),
            base=body["base"],
            base_name=body["base_name"],
            digest=body["digest"],
        )
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); write or fetch it again") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: a patina checkpoint whose header lacks {error}; it was changed") from error
    if (found := digest_of(tensors)) != checkpoint.digest:
        raise CheckpointError(
            f"{path}: damaged: its tensors have the digest {found[:16]}…, written with {checkpoint.digest[:16]}…; "
            "fetch it again"
        )
    return checkpoint


def expect_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError if the weights of the file `path` hold NaN or infinity: naming them, and how many."""
    if told := told_not_finite(tensors):
        raise CheckpointError(
            f"{path}: {told}; nothing sound comes of such weights: take an earlier checkpoint of the same training, "
            "fetch the file again, or train anew at a lower rate"
        )


def restore(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's tensors into `model`, which has the same names and shapes.

    If frozen tensors were left out, the model must have been built on the same base already. Raises CheckpointError
    with the lists of missing and surplus names, with the wrong shapes, with the weights that are NaN or infinite, or
    naming the base that is needed; the model is then as it was.
    """
    state = model.state_dict()
    missing = sorted(set(state) - set(checkpoint.tensors) - set(checkpoint.without))
    surplus = sorted((set(checkpoint.tensors) | set(checkpoint.without)) - set(state))
    shapes = [
        f"{name} {tuple(t.shape)}, expected {tuple(state[name].shape)}"
        for name, t in checkpoint.tensors.items()
        if name in state and state[name].shape != t.shape
    ]
    if missing or surplus or shapes:
        told = "; ".join(
            f"{len(names)} {what}: {first_names(names)}"
            for what, names in (("missing", missing), ("surplus", surplus), ("of another shape", shapes))
            if names
        )
        raise CheckpointError(f"the checkpoint of {checkpoint.network!r} does not fit this network: {told}")
    if told := told_not_finite(checkpoint.tensors):
        raise CheckpointError(f"the checkpoint of {checkpoint.network!r} is of no use: {told}")
    _expect_base(state, checkpoint)
    model.load_state_dict(dict(checkpoint.tensors), strict=False)


def network_of(checkpoint: Checkpoint) -> nn.Module:
    """The network that a checkpoint holds, built from its name and settings and filled, on the CPU.

    Raises CheckpointError for an unknown name, for settings that its network does not have, and for a checkpoint of
    trained tensors alone: build that network on its base and call `restore`.
    """
    entry = CATALOGUE.get(checkpoint.network)
    if entry is None:
        raise CheckpointError(f"no network is called {checkpoint.network!r}; known are {', '.join(CATALOGUE)}")
    settings = settings_from_json(type(entry.settings), checkpoint.settings)
    model = entry.build(settings)
    restore(model, checkpoint)
    return model


def settings_to_json(settings: object) -> dict[str, Any]:
    """The fields of a dataclass of numbers, strings, booleans, tuples and dataclasses, as JSON values. Raises
    CheckpointError for anything else."""
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        raise CheckpointError(f"settings are a dataclass that says all that decides shapes; found {settings!r}")
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return fields


def settings_from_json(kind: type[Settings], fields: Mapping[str, Any]) -> Settings:
    """The settings that `settings_to_json` wrote. Raises CheckpointError for unknown, missing and wrong fields."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(fields) - known):
        raise CheckpointError(f"{kind.__name__} has no {', '.join(unknown)}; was it written by another patina?")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(dict(fields)))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CheckpointError(f"no settings of {kind.__name__}: {wrong}") from None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names: equal for equal weights, on any device.

    A number's sign and NaN count as their bytes do, so 0.0 and -0.0 differ.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, _name(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes(tensor).numpy().data)
    return digest.hexdigest()


def write_in_one_step(path: Path, write_to: Callable[[Path], object]) -> None:
    """Let `write_to` write a file beside `path`, force it to the disk and give it the name `path`.

    Raises CheckpointError if that fails: `path` is then what it was, and the unfinished file is gone.
    """
    try:
        write_atomically(path, write_to, durable=True)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: could not be written ({reason}); make room or choose another place") from error


def first_names(names: Collection[str], most: int = 8) -> str:
    """The first few of a list of names, for a message."""
    return ", ".join(list(names)[:most]) + (", …" if len(names) > most else "")


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; expected a model's") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cut short, or no patina checkpoint ({error}); released checkpoints of the papers are read by "
            "patina.training.official.load"
        ) from error
    if _OURS not in header:
        raise CheckpointError(f"{path}: a safetensors file of another program: its header has no {_OURS!r}")
    try:
        body = json.loads(header[_OURS])
        version = int(body["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: the header of a patina checkpoint that cannot be read ({error})") from None
    if version > VERSION:
        raise CheckpointError(f"{path}: version {version}, written by a later patina; this one reads up to {VERSION}")
    expect_sum(path, body)
    return dict(body)


def _one_of_each(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors to store, and name → stored name for those that are the very same memory, seen the same way.

    Tensors that share memory in another way (a view of a part) are stored each, since only equal ones can be one.
    """
    kept: dict[str, Tensor] = {}
    repeats: dict[str, str] = {}
    seen: dict[object, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.is_conj())
        if tensor.numel() and place in seen:
            repeats[name] = seen[place]
        else:
            seen[place] = name
            kept[name] = tensor
    return kept, repeats


def _whole(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, alone in its memory and in one piece."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    alone = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor.cpu().contiguous() if alone else tensor.cpu().clone(memory_format=torch.contiguous_format)


def _bytes(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if not tensor.numel():
        return torch.empty(0, dtype=torch.uint8)
    return tensor.as_strided((tensor.numel(),), (1,)).view(
        torch.uint8
    )  # one number may have any stride: flatten keeps it


def _from_bytes(tensor: Tensor, dtype: str | None = None, shape: Sequence[int] = ()) -> Tensor:
    """`_bytes` undone, where a type and a shape were noted."""
    if dtype is None:
        return tensor
    kind = getattr(torch, dtype)
    return tensor.view(kind).reshape(shape) if tensor.numel() else torch.empty(tuple(shape), dtype=kind)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _expect_base(state: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    if not checkpoint.without:
        return
    found = digest_of({name: state[name] for name in checkpoint.without})
    if found != checkpoint.base:
        named = f" ({checkpoint.base_name})" if checkpoint.base_name else ""
        raise CheckpointError(
            f"this checkpoint of {checkpoint.network!r} holds the trained tensors alone, and belongs on the base with "
            f"the digest {checkpoint.base[:16]}…{named}; this network stands on {found[:16]}…: build it on that base "
            "first"
        )
