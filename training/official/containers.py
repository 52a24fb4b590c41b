"""The files that released checkpoints come in, read without running anything that is in them.

    file                                    container   weights are at          then
    daclip_ViT-B-32.pt, epoch_N.pt          zip         ['state_dict'] or bare  `module.` off if all names have it
    universal-ir.pth, wild-ir.pth, N_G.pth,
    latest_G.pth, lastest_EMA.pth           zip         bare                    `module.` off
    VLU-Net's *.ckpt (Lightning)            zip         ['state_dict']          parts `net.` and `model_degradation.`
    clip_tuned.pth                          zip         ['learnable_params']    stored as parameters
    any of them, torch before 1.6           pickles     the same                the same
    as other trainers leave them            both        ['params_ema'], ['params'], ['model'], ['net_g'], …, one in
                                                        another ({'ema': {'shadow': …}}); `module.`, `_orig_mod.`,
                                                        `model.`, … off, in any order; several sets are several parts

A checkpoint is a pickle: a small program whose words may import anything and call it. Three walls stand before it.

1. The program is disassembled and followed with symbols in place of objects (`pickles.py`): a name stays a name and a
   call a note of a call, so nothing is imported and nothing is called, whatever the file says.
2. A file that names what no weights need (`os.system`, `builtins.eval`, and all of the standard library but a short
   list) is refused, by name.
3. What is left is read by `torch.load(weights_only=True)`. Where the file also holds objects of other libraries, which
   that reader refuses (Lightning's hyper-parameters), the tensors are built from the symbols and the rest is left as
   names, which `Contents.left_out` tells.
"""

from __future__ import annotations

import io
import math
import re
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from patina.training.checkpoints.model import first_names, write_in_one_step
from patina.training.errors import CheckpointError
from patina.training.official.pickles import STORAGES, Made, Name, Stored, follow, is_foreign, is_torchs

PARTS = ("net.", "model_degradation.")
"""Prefixes of the two networks in VLU-Net's Lightning file."""

WRAPPERS = frozenset(
    ("module", "_orig_mod", "_fsdp_wrapped_module", "model", "network", "net_g", "netG", "generator", "online_model")
)
"""What DataParallel, torch.compile, FSDP and people's own modules write before a network's names."""

_EMA = re.compile(r"(^|[_.])(ema|shadow|averaged?)([_.]|$)", re.IGNORECASE)
_ASIDE = re.compile(
    r"optim|sched|lr_|scaler|amp$|hyper|hparams|args|config|callbacks|loops|averaging|loss|criterion|rng|random",
    re.IGNORECASE,
)
"""How entries of a file begin that hold no network, though there may be tensors in them."""

_DEEPEST = 4
"""Dictionaries in dictionaries down to which weights are looked for."""


_LIGHTNINGS_RAW = "current_model_state"
"""Where Lightning keeps the raw weights of a training that averages: `state_dict` is the average then."""


def is_average(place: str) -> bool:
    """Whether weights at this place of a file (`params_ema`, `ema/shadow`, `ema_model.`) are a moving average."""
    return _EMA.search(place.replace("/", ".")) is not None


def averages(places: Collection[str]) -> list[str]:
    """Those of the places of one network's weights that are a moving average."""
    found = [place for place in places if is_average(place)]
    raw = [place for place in places if place.startswith(_LIGHTNINGS_RAW)]
    return found or ([place for place in places if place not in raw] if raw else [])


@dataclass(frozen=True)
class Contents:
    """What one published file holds.

    parts      place → state dict under the network's own published names (prefix off), float32, on the CPU. One part
               with the place "", but for files that hold several sets of weights: a place is then the keys that lead to
               it and the prefix of its names, such as `params_ema/` and `net.`.
    form       where in the file the weights lay: keys such as `state_dict`, `ema/shadow`; "bare"; or "several".
    prefix     what was taken off every name before that, such as "module." or "_orig_mod.module.".
    converted  number of tensors by the type that they had before they were made float32 ("float16", "bfloat16", …).
    left_out   classes and functions of other libraries that the file names; none was imported or called.
    notes      the numbers and strings beside the weights: epoch, name, iter, …
    """

    path: Path
    parts: Mapping[str, dict[str, Tensor]]
    form: str
    prefix: str = ""
    converted: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: Mapping[str, int | float | str] = field(default_factory=dict)


def read(path: Path) -> Contents:
    """Read a published checkpoint. Nothing in it is run.

    Raises CheckpointError for what is no checkpoint (a text, a page of a failed download, a pointer of Git LFS, a
    folder, a file cut short, a whole pickled module, a training state without weights), and UnsafeCheckpointError for a
    pickle that would run code.
    """
    opened = _open_zip(path) if _container(path) == "zip" else _open_pickles(path)
    with opened as (value, names, tensor):
        sets, notes = _weights(value, path)
        states = {place: _tensors(weights, tensor, path) for place, weights in sets.items()}
    converted: Counter[str] = Counter()
    parts: dict[str, dict[str, Tensor]] = {}
    prefix = ""
    for place, tensors in states.items():
        state, prefix = _unwrapped(_to_float32(tensors, converted))
        begin = f"{place}/" if len(states) > 1 else ""
        parts |= {f"{begin}{name}": part for name, part in _split(state).items()}
    left_out = tuple(sorted(name for name in names if is_foreign(name)))
    form = "several" if len(states) > 1 else next(iter(states)) or "bare"
    return Contents(path, parts, form, prefix if len(states) == 1 else "", dict(converted), left_out, notes)


def write(path: Path, content: Mapping[str, object]) -> None:
    """Write `content` (tensors, numbers, strings, containers of them) to `path` as torch does, in one step.

    Raises CheckpointError if the disk does not take it; an earlier file is then as it was.
    """

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save(content, file)

    write_in_one_step(path, save)


# --- what kind of file -------------------------------------------------------------------------------------------

_MAGIC = 0x1950A86A20F9469CFC6C
"""The number in the first pickle of files that torch wrote before version 1.6."""

_LOOKED_AT = 512
"""Bytes at the beginning of a file by which its kind is told."""

_HEADS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: not head, "an empty file; fetch it again"),
    (
        lambda head: head.startswith(b"version https://git-lfs"),
        "a pointer of Git LFS, not the file itself; run `git lfs pull`, or fetch the file from its page",
    ),
    (
        lambda head: head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")),
        "a web page: the download failed (a limit, a consent page, a wrong address); fetch the file again",
    ),
    (
        lambda head: len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30,
        "a safetensors file; patina's own are read by patina.training.checkpoints.model.load",
    ),
    (lambda head: head.startswith(b"\x1f\x8b"), "gzip-compressed; unpack it first"),
    (lambda head: head[257:262] == b"ustar", "a tar archive; unpack it first"),
    (lambda head: head.lstrip()[:1] in (b"{", b"["), "JSON, not weights"),
    (lambda head: b"\0" not in head and _is_text(head), "a text, not weights"),
)


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > _LOOKED_AT - 4  # a character cut by the end of what was looked at
    return True


def _container(path: Path) -> Literal["zip", "pickles"]:
    """Which container `path` is, by its first bytes."""
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; expected the checkpoint file itself")
    try:
        with path.open("rb") as file:
            head = file.read(_LOOKED_AT)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}; give the path of a downloaded checkpoint") from error
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80") and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickles"
    for fits, what in _HEADS:
        if fits(head):
            raise CheckpointError(f"{path}: {what}")
    raise CheckpointError(f"{path}: no checkpoint that torch writes; it begins with {head[:8].hex(' ')}")


# --- the two containers ------------------------------------------------------------------------------------------

Tensors: TypeAlias = Callable[[object], Tensor | None]
"""From a value of the file to the tensor that it is, or None."""


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[object, set[str], Tensors]]:
    """Of torch's zip container: the pickled value, every name in the pickle, and what makes its tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            record = _program(archive, path)
            for member in archive.infolist():
                if not _is_whole(archive, member):  # torch itself does not look at the check sums
                    raise CheckpointError(f"{path}: damaged in its part {member.filename}; fetch it again")
            program = archive.read(record)
            value, names = follow(io.BytesIO(program), path)
            if program[:2] == b"\x80\x02" and all(is_torchs(name) for name in names):  # torch reads protocol 2 only
                yield _load(path), names, _tensor_itself
            else:
                yield value, names, _Storages(archive, path, record.removesuffix("data.pkl")).tensor
    except zipfile.BadZipFile as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path}: cut short or damaged ({size:,} bytes; {error}); fetch it again") from error
    except CheckpointError:
        raise
    except (
        NotImplementedError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        zlib.error,
    ) as error:  # odd, encrypted, the disk fails
        raise CheckpointError(f"{path}: cannot be read as a zip archive ({error}); fetch it again") from error


_FOLDER = 0x10
"""The bit of a zip entry's attributes that marks a folder (that of MS-DOS, which torch's reader looks at)."""


def _is_whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a member is a file, its bytes are as many as its entry says, and they have its check sum.

    torch looks at no check sum, and reads nothing from a member that is marked as a folder: its tensor keeps what lay
    in memory.
    """
    if member.external_attr & _FOLDER:
        return False
    size, checksum = 0, 0
    with archive.open(member) as file:
        while block := file.read(1 << 20):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return size == member.file_size and checksum == member.CRC


def _program(archive: zipfile.ZipFile, path: Path) -> str:
    """The name of the pickle in torch's zip archive. Raises CheckpointError for other archives."""
    members = {member.filename: member for member in archive.infolist()}
    if any(name.endswith("/constants.pkl") for name in members):
        raise CheckpointError(f"{path}: a TorchScript program, which brings its own code; take the state dict instead")
    records = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(records) != 1 or members[records[0]].compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(
            f"{path}: a zip archive, but not one of torch: it holds {first_names(members, 4)}; if the checkpoint is "
            "in it, unpack it first"
        )
    return records[0]


@contextmanager
def _open_pickles(path: Path) -> Iterator[tuple[object, set[str], Tensors]]:
    """Of torch's earlier container the same. It is five pickles (magic number, version, machine, value, keys of the
    storages), then the storages' bytes."""
    names: set[str] = set()
    with path.open("rb") as file:
        magic, found = follow(file, path)
        names |= found
        if magic != _MAGIC:
            raise CheckpointError(
                f"{path}: a plain pickle, not a file of torch.save; a network's weights cannot be read from it safely"
            )
        for _ in range(4):
            names |= follow(file, path)[1]
    if others := sorted(name for name in names if not is_torchs(name)):
        raise CheckpointError(
            f"{path}: in the container of torch before 1.6, with objects of other libraries "
            f"({first_names(others)}), so nothing was loaded; whoever trusts the file can load it where they are "
            "installed and save its state dict"
        )
    yield _load(path), names, _tensor_itself


def _tensor_itself(value: object) -> Tensor | None:
    return value.detach() if isinstance(value, Tensor) else None


def _load(path: Path) -> object:
    """torch's own reader, which builds tensors, containers and numbers only."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storage classes, about torch's own future
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever kind a damaged file leads its reader to
        told = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        raise CheckpointError(f"{path}: cut short or damaged ({told.splitlines()[0]}); fetch it again") from error


# --- from symbols to tensors -------------------------------------------------------------------------------------


class _Storages:
    """Makes the tensors of a zip container from symbols, reading each storage once and only if it is asked for."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, folder: str) -> None:
        self.archive, self.path, self.folder = archive, path, folder
        self.read: dict[str, Tensor] = {}

    def tensor(self, value: object) -> Tensor | None:
        """The tensor that a symbol stands for, None for everything else. Raises CheckpointError if it is damaged."""
        if not isinstance(value, Made) or not isinstance(value.function, Name):
            return None
        function, arguments = value.function.name, value.arguments
        try:
            if function in _PARAMETERS and isinstance(arguments, tuple):
                return self.tensor(arguments[0])
            match arguments:
                case (Stored(("storage", Name(kind), str(key), *_)), int(offset), size, stride, *_):
                    if function in _REBUILDS:
                        return self._view(self._storage(kind, key), offset, _numbers(size), _numbers(stride))
        except (LookupError, TypeError, ValueError, OSError, RuntimeError, zipfile.BadZipFile) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{self.path}: a tensor of it is damaged ({reason}); fetch it again") from error
        return None

    def _storage(self, kind: str, key: str) -> Tensor:
        """All numbers of one storage, in one row."""
        if key not in self.read:
            dtype = STORAGES[kind.rpartition(".")[2]]
            order = f"{self.folder}byteorder"
            if order in self.archive.NameToInfo and self.archive.read(order).decode() != sys.byteorder:
                raise ValueError("written on a machine of the other byte order")
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            self.read[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.read[key]

    def _view(self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        if math.prod(size) > storage.numel():
            raise ValueError(f"{size} numbers in a storage of {storage.numel()}")
        return storage.as_strided(size, stride, offset)  # refuses what lies outside the storage


_REBUILDS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
_PARAMETERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
}


def _numbers(value: object) -> tuple[int, ...]:
    """A shape: a tuple, or a torch.Size made from one."""
    if isinstance(value, Made):
        (value,) = value.arguments if isinstance(value.arguments, tuple) else ((),)
    if not isinstance(value, tuple | list) or not all(isinstance(n, int) and n >= 0 for n in value):
        raise ValueError("a shape that is no list of numbers")
    return tuple(value)


# --- from the file's value to state dicts ------------------------------------------------------------------------

_DICTIONARIES = ("collections.OrderedDict", "collections.defaultdict")


def _as_dict(value: object) -> Mapping[object, object] | None:
    """The entries of a dictionary, real or in symbols."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Made) and isinstance(value.function, Name) and value.function.name in _DICTIONARIES:
        return value.items
    return None


def _weights(value: object, path: Path) -> tuple[dict[str, Mapping[object, object]], dict[str, int | float | str]]:
    """The dictionaries that should be weights by the keys that lead to them, and the plain numbers and strings beside
    them. A file of nothing else has them at the place "".
    """
    outer = _as_dict(value)
    if outer is None:
        raise CheckpointError(f"{path}: holds {_kind(value)}, not a state dict; save the network's state_dict() alone")
    found = dict(_sets(outer))
    if not found and {"optimizers", "schedulers"} <= set(outer):
        raise CheckpointError(
            f"{path}: the state of a training run (optimisers and schedules) without weights; they are in the file "
            "`<step>_G.pth` beside it"
        )
    if not found:  # what is said of it is said of all of it
        return {"": outer}, {}
    return found, {k: v for k, v in outer.items() if isinstance(k, str) and isinstance(v, int | float | str)}


def _sets(outer: Mapping[object, object], depth: int = _DEEPEST) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Every set of tensors by name in nested dictionaries, with the keys that lead to it. Tensors beside such sets
    (a step, a score) are none of their own unless their names have parts, as a network's have."""
    inner = []
    for key, value in outer.items():
        below = _as_dict(value) if isinstance(key, str) and depth and not _ASIDE.match(key) else None
        inner += [(f"{key}/{place}".rstrip("/"), weights) for place, weights in _sets(below or {}, depth - 1)]
    names = [key for key, value in outer.items() if isinstance(key, str) and _is_tensor(value)]
    if names and (not inner or any("." in name for name in names)):
        yield "", {key: value for key, value in outer.items() if not _is_plain(value) and _as_dict(value) is None}
    yield from inner


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, int | float | str)


def _is_tensor(value: object) -> bool:
    """Whether a value of a file, real or a symbol, should be a tensor."""
    made = isinstance(value, Made) and isinstance(value.function, Name)
    return isinstance(value, Tensor) or (made and value.function.name in _REBUILDS | _PARAMETERS)  # type: ignore[attr-defined]


def _kind(value: object) -> str:
    if isinstance(value, Made) and isinstance(value.function, Name):
        return f"a whole pickled {value.function.name}"
    return f"a {type(value).__name__}"


def _tensors(weights: Mapping[object, object], tensor: Tensors, path: Path) -> dict[str, Tensor]:
    """The state dict. Raises CheckpointError where something is no tensor."""
    state, others = {}, []
    for name, value in weights.items():
        if isinstance(name, str) and (found := tensor(value)) is not None and found.layout == torch.strided:
            state[name] = found
        else:
            others.append(f"{name!r} is {_kind(value)}")
    if others or not state:
        raise CheckpointError(f"{path}: no state dict: {first_names(others, 4) or 'it is empty'}")
    return state


def _to_float32(state: Mapping[str, Tensor], converted: Counter[str]) -> dict[str, Tensor]:
    """Floating tensors as float32, those that were not counted by type; tensors that were one stay one."""
    made: dict[object, Tensor] = {}
    floats: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.dtype == torch.float32:
            floats[name] = tensor
            continue
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        floats[name] = made[place] if place in made else made.setdefault(place, tensor.to(torch.float32))
        converted[_word(tensor.dtype)] += 1
    return floats


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _unwrapped(state: Mapping[str, Tensor], more: Collection[str] = ()) -> tuple[dict[str, Tensor], str]:
    """The state dict without the wrappers that all of its names have, one after the other, and what was taken off."""
    prefix, names = "", dict(state)
    while True:
        first = {name.partition(".")[0] for name in names if "." in name}
        counts = {name for name in names if "." not in name} & _COUNTERS
        if len(first) != 1 or any("." not in name for name in names if name not in counts):
            return names, prefix
        (word,) = first
        if word not in WRAPPERS and word not in more and not is_average(word):
            return names, prefix
        prefix += f"{word}."
        names = {name.removeprefix(f"{word}."): tensor for name, tensor in names.items() if name not in counts}


_COUNTERS = {"n_averaged", "initted", "step"}
"""Numbers that keepers of averages put beside the weights, under names without parts."""


def _split(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict for each of PARTS, and for each wrapper, that only some names have, and one with the prefix "" of
    all others, if there are any."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        word, dot, rest = name.partition(".")
        begins = dot and (f"{word}." in PARTS or word in WRAPPERS or is_average(word))
        parts.setdefault(f"{word}." if begins else "", {})[rest if begins else name] = tensor
    if parts.keys() - {""} and parts.get("", {}).keys() <= _COUNTERS:
        parts.pop("", None)
    return {prefix: _unwrapped(part, ("net",) if prefix else ())[0] for prefix, part in parts.items()}
