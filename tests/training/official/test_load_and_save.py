"""Published checkpoints: read whatever the container, never run, told apart by name, and written as they came."""

from __future__ import annotations

import argparse
import collections
import functools
import importlib
import io
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from patina.training import official
from patina.training.errors import CheckpointError
from patina.training.models import CATALOGUE, clip_adapter, daclip, nafnet, unet, vlunet
from patina.training.official import containers
from patina.training.official.pickles import UnsafeCheckpointError
from tests.training import fill

KEYS = Path(__file__).parents[1] / "official_keys"
CONTAINERS = {"zip": True, "pickles": False}
CLIP = replace(daclip.TINY, vocabulary=99, image_layers=1, text_layers=1)
ADAPTED = replace(clip_adapter.TINY, vocabulary=99, image_layers=1, text_layers=1)
UNET = unet.UNetSettings(widths=(32, 32, 64), image_context=24, degradation_context=16)


def state() -> dict[str, Tensor]:
    """Tensors laid out in every way: a part, turned, a single number, empty, a parameter, the same one twice."""
    big = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    return {
        "whole": big,
        "again": big,
        "part": big[2:4, 1:],
        "turned": big.t(),
        "number": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "learnt": nn.Parameter(big * 2),
        "count": torch.tensor([1, 2], dtype=torch.int64),
        "flags": torch.tensor([True, False]),
    }


def save(value: object, path: Path, container: str = "zip", protocol: int = 2) -> Path:
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=CONTAINERS[container])
    return path


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


# --- containers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("wrap", "form", "prefix", "notes"),
    [
        (lambda s: s, "bare", "", {}),
        (OrderedDict, "bare", "", {}),
        (lambda s: {f"module.{name}": t for name, t in s.items()}, "bare", "module.", {}),
        (
            lambda s: {"epoch": 4, "name": "run", "state_dict": s, "optimizer": {"state": {0: {"step": 1}}}},
            *("state_dict", "", {"epoch": 4, "name": "run"}),
        ),
        (
            lambda s: {"epoch": 4, "state_dict": OrderedDict((f"module.{name}", t) for name, t in s.items())},
            *("state_dict", "module.", {"epoch": 4}),
        ),
        (lambda s: {"epoch": 9, "learnable_params": s, "optimizer": {}}, "learnable_params", "", {"epoch": 9}),
    ],
)
def test_every_published_form_is_read(
    tmp_path: Path, container: str, wrap: Callable[[Any], Any], form: str, prefix: str, notes: dict[str, object]
) -> None:
    found = containers.read(save(wrap(state()), tmp_path / "a.pt", container))
    assert equal(found.parts[""], state())
    assert (list(found.parts), found.form, found.prefix, found.notes) == ([""], form, prefix, notes)
    assert (found.converted, found.left_out) == ({}, ())
    assert not any(tensor.requires_grad for tensor in found.parts[""].values())


@pytest.fixture
def lightning() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What makes a checkpoint as Lightning leaves it: with objects of another library."""
    library = types.ModuleType("lightning_away")

    class AttributeDict(dict[str, Any]):
        pass

    class ModelCheckpoint:
        def __init__(self) -> None:
            self.best = 0.3

        def __setstate__(self, _: object) -> None:
            raise AssertionError("an object of the file was made")

    def make() -> ModelCheckpoint:
        raise AssertionError("a function that the file names was called")

    for thing in (AttributeDict, ModelCheckpoint, make):
        thing.__module__, thing.__qualname__ = library.__name__, thing.__name__
        setattr(library, thing.__name__, thing)
    sys.modules[library.__name__] = library

    def checkpoint(tensors: dict[str, Any]) -> dict[str, Any]:
        return {
            "epoch": 199,
            "global_step": 7,
            "pytorch-lightning_version": "2.0.1",
            "loops": {"fit_loop": {"done": {1, 2}, "frozen": frozenset([3]), "last": collections.deque([1.5])}},
            "callbacks": {"ModelCheckpoint{}": ModelCheckpoint()},
            "hyper_parameters": AttributeDict(lr=2e-4, options=argparse.Namespace(root=pathlib.PurePosixPath("/data"))),
            "state_dict": OrderedDict(tensors),
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "make": functools.partial(make)}],
            "best": np.float64(0.5),
            "size": {(1, 2): torch.Size([1])},
        }

    try:
        yield checkpoint
    finally:
        del sys.modules[library.__name__]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_lightning_file_is_read_without_the_library_and_nothing_of_it_is_made(
    tmp_path: Path, lightning: Callable[[dict[str, Any]], dict[str, Any]], protocol: int
) -> None:
    tensors = {f"net.{n}": t for n, t in state().items()} | {f"model_degradation.{n}": t for n, t in state().items()}
    path = save(lightning(tensors), tmp_path / "a.ckpt", protocol=protocol)
    if protocol == 2:
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
    found = containers.read(path)
    assert list(found.parts) == ["net.", "model_degradation."]
    for part in found.parts.values():
        assert equal(part, state())
        assert not any(tensor.requires_grad for tensor in part.values())
    names = {f"lightning_away.{name}" for name in ("AttributeDict", "ModelCheckpoint", "make")}
    assert names <= set(found.left_out)
    assert found.notes == {"epoch": 199, "global_step": 7, "pytorch-lightning_version": "2.0.1"}


def test_symbols_and_torchs_reader_give_the_same(tmp_path: Path) -> None:
    save(state(), tmp_path / "torch.pt")
    save({"state_dict": state(), "other": torch.float32, "where": torch.device("cpu")}, tmp_path / "symbols.pt")
    one, other = (containers.read(tmp_path / f"{name}.pt").parts[""] for name in ("torch", "symbols"))
    assert equal(one, other)
    assert [t.stride() for t in one.values()] == [t.stride() for t in other.values()]
    assert [t.dtype for t in one.values()] == [t.dtype for t in other.values()]


def test_objects_of_other_libraries_in_the_old_container_are_refused(
    tmp_path: Path, lightning: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    path = save(lightning(state()), tmp_path / "a.ckpt", "pickles")
    with pytest.raises(CheckpointError, match=r"before 1\.6, with objects of other libraries .*AttributeDict"):
        containers.read(path)


@pytest.mark.parametrize("container", CONTAINERS)
def test_half_precision_becomes_float32_and_is_told(tmp_path: Path, container: str) -> None:
    half = torch.randn(3, 2).half()
    tensors = {"a": half, "b": half, "c": torch.randn(2).bfloat16(), "d": torch.randn(2), "e": torch.ones(1).double()}
    found = containers.read(save(tensors, tmp_path / "a.pt", container))
    read = found.parts[""]
    assert found.converted == {"float16": 2, "bfloat16": 1, "float64": 1}
    assert equal(read, {name: tensor.float() for name, tensor in tensors.items()})
    assert read["a"] is read["b"], "one tensor under two names stays one"


# --- nothing is run ----------------------------------------------------------------------------------------------


class Payload:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def payloads(marker: Path) -> dict[str, Payload]:
    code = f"open({str(marker)!r}, 'w')"
    return {
        "system": Payload(os.system, f"touch {marker}"),
        "popen": Payload(subprocess.Popen, ["touch", str(marker)]),
        "exec": Payload(exec, code),
        "eval": Payload(eval, code),
        "import": Payload(importlib.import_module, "antigravity"),
        "getattr": Payload(getattr, Payload(__import__, "os"), "system"),
        "partial": Payload(functools.partial, os.system, f"touch {marker}"),
        "rmtree": Payload(shutil.rmtree, str(marker.parent)),
        "loads": Payload(pickle.loads, pickle.dumps(Payload(os.system, f"touch {marker}"))),
    }


PLACES: dict[str, Callable[[Any], Any]] = {
    "instead of everything": lambda payload: payload,
    "instead of a tensor": lambda payload: {"a": torch.ones(2), "b": payload},
    "beside the state dict": lambda payload: {"state_dict": {"net.a": torch.ones(2)}, "hyper_parameters": payload},
    "in the optimiser": lambda payload: {"learnable_params": {"a": torch.ones(2)}, "optimizer": [payload]},
    "as a name": lambda payload: {"state_dict": {"a": torch.ones(2)}, "x": (payload, 1)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", sorted(payloads(Path("marker"))))
def test_a_file_that_runs_code_is_refused_and_not_run(tmp_path: Path, kind: str, container: str, place: str) -> None:
    marker = tmp_path / "was run"
    for protocol in (2, 4) if container == "zip" else (2,):
        path = save(PLACES[place](payloads(marker)[kind]), tmp_path / "a.pt", container, protocol)
        with pytest.raises(UnsafeCheckpointError, match=r"a\.pt: this file would run code .* Nothing of it was run"):
            containers.read(path)
    assert not marker.exists()
    assert path.exists()


def program(marker: Path) -> dict[str, bytes]:
    """Pickles by hand, in words that no pickler writes today."""
    command = f"touch {marker}".encode()
    return {
        "INST": b"(S'" + command + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + command + b"'\no.",
        "REDUCE, protocol 0": b"cos\nsystem\n(S'" + command + b"'\ntR.",
        "a name with dots": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c"
        + bytes([len(command)])
        + command
        + b"\x85R.",
        "Python 2": b"ccommands\ngetoutput\n(S'" + command + b"'\ntR.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\nX" + len(command).to_bytes(4, "little") + command + b"\x85\x81.",
        "BUILD": b"\x80\x02cbuiltins\neval\n}X\x01\x00\x00\x00aK\x01sb.",
        "under a call": b"\x80\x02}X\x01\x00\x00\x00acos\nsystem\nX"
        + len(command).to_bytes(4, "little")
        + command
        + b"\x85R0K\x01s.",
    }


@pytest.mark.parametrize("kind", sorted(program(Path("marker"))))
def test_code_in_unusual_words_is_refused_in_every_pickle_of_every_container(tmp_path: Path, kind: str) -> None:
    marker, path = tmp_path / "was run", tmp_path / "a.pt"
    evil = program(marker)[kind]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", evil)
    with pytest.raises(UnsafeCheckpointError):
        containers.read(path)
    parts = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, [])]
    for at in range(1, 5):
        path.write_bytes(b"".join([*parts[:at], evil, *parts[at + 1 :]]))
        with pytest.raises(UnsafeCheckpointError):
            containers.read(path)
    assert not marker.exists()


def test_a_stranger_s_function_is_named_and_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    library = types.ModuleType("stranger")
    monkeypatch.setitem(sys.modules, "stranger", library)

    def steal(*arguments: object) -> dict[str, object]:
        called.append(arguments)
        return {}

    steal.__module__, steal.__qualname__ = "stranger", "steal"
    library.steal = steal  # type: ignore[attr-defined]
    path = save({"state_dict": state(), "x": Payload(steal, "all")}, tmp_path / "a.pt")
    found = containers.read(path)
    assert found.left_out == ("stranger.steal",)
    assert equal(found.parts[""], state())
    save({"a": torch.ones(1), "b": Payload(steal, "all")}, path)
    with pytest.raises(CheckpointError, match=r"no state dict: 'b' is a whole pickled stranger\.steal"):
        containers.read(path)
    assert called == []


SCRATCH: list[Path] = []
"""The folder of tests that hypothesis calls many times."""


@pytest.fixture(autouse=True, scope="module")
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    SCRATCH.append(tmp_path_factory.mktemp("any"))
    yield
    SCRATCH.clear()


@given(st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]), st.binary(max_size=60))
def test_any_bytes_as_a_pickle_give_a_clear_error(head: bytes, words: bytes) -> None:
    path = SCRATCH[0] / "any.pt"
    path.write_bytes(archived("a/data.pkl", head + words))
    with pytest.raises(CheckpointError):
        containers.read(path)


# --- damage ------------------------------------------------------------------------------------------------------


def small() -> dict[str, Tensor]:
    return {"a": torch.arange(5.0), "b": torch.tensor(2.5)}


@functools.cache
def whole(container: str) -> bytes:
    return save(small(), SCRATCH[0] / "whole.pt", container).read_bytes()


def test_each_byte_of_a_zips_directory_is_looked_at() -> None:
    """The directory has no check sum of its own, so each field is changed: sizes, method, attributes, places."""
    data, path = whole("zip"), SCRATCH[0] / "directory.pt"
    for at in range(data.index(b"PK\x01\x02"), len(data)):
        for change in (1, 8, 16, 255):
            path.write_bytes(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])
            try:
                found = containers.read(path)
            except CheckpointError:
                continue
            assert equal(found.parts[""], small()), (at, change)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_one_wrong_byte_in_a_zip_is_noticed_or_of_no_effect(at: float, change: int) -> None:
    data = bytearray(whole("zip"))
    data[int(at * len(data))] ^= change
    path = SCRATCH[0] / "flipped.pt"
    path.write_bytes(data)
    try:
        found = containers.read(path)
    except CheckpointError:
        return
    assert equal(found.parts[""], small())


@given(st.sampled_from(sorted(CONTAINERS)), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_told(container: str, at: float) -> None:
    data = whole(container)
    path = SCRATCH[0] / "cut.pt"
    path.write_bytes(data[: int(at * len(data))])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        containers.read(path)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def archived(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"\n\n<!DOCTYPE html><html>Too many requests", "a web page: the download failed"),
        (b"<HTML><head>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a pointer of Git LFS.*git lfs pull"),
        (b'{"error": "not found"}', "JSON"),
        ("just wörds\n".encode() * 100, "a text, not weights"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"x" * 257 + b"ustar\x00", "a tar archive"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no checkpoint that torch writes; it begins with 89 50 4e 47"),
        ((40).to_bytes(8, "little") + b'{"a":{}}', "a safetensors file.*patina.training.checkpoints.model.load"),
        (archived("epoch_9.pt", b"x"), r"a zip archive, but not one of torch: it holds epoch_9\.pt"),
        (archived("a/constants.pkl", b"x"), "a TorchScript program"),
        (pickle.dumps({"a": 1}, 2), "a plain pickle, not a file of torch.save"),
        (saved([1, 2]), "holds a list, not a state dict"),
        (saved({}), "no state dict: it is empty"),
        (saved({"epoch": 3, "model": {}}), "no state dict: 'epoch' is a int"),
        (
            saved({"epoch": 0, "iter": 5, "schedulers": [], "optimizers": []}),
            "the state of a training run .* without weights; .*_G.pth",
        ),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.pth: {told}"):
        official.load(tmp_path / "a.pth")


def test_a_folder_and_nothing_at_all_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a folder; expected the checkpoint file"):
        official.load(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        official.load(tmp_path / "a.pth")
    assert not (tmp_path / "a.pth").exists()


def test_a_whole_pickled_module_is_told(tmp_path: Path) -> None:
    path = save(nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"holds a whole pickled torch\.nn.*Linear, not a state dict"):
        containers.read(path)


@pytest.mark.parametrize(
    ("key", "size", "stride", "offset"),
    [("9", (5,), (1,), 0), ("0", (6,), (1,), 0), ("0", (5,), (1,), 3), ("0", (5,), (-1,), 4), ("0", (2, 2), (4, 1), 0)],
)
def test_tensors_outside_of_their_storage_are_refused(
    tmp_path: Path, key: str, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    """A forged program that would read its neighbours' memory."""

    class Storage:
        pass

    class Forged(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return ("storage", torch.FloatStorage, key, "cpu", 5) if isinstance(value, Storage) else None

    buffer = io.BytesIO()
    tensor = Payload(torch._utils._rebuild_tensor_v2, Storage(), offset, size, stride, False, OrderedDict())
    Forged(buffer, 4).dump({"a": tensor})
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", buffer.getvalue())
        archive.writestr("a/data/0", np.arange(5, dtype=np.float32).tobytes())
    with pytest.raises(CheckpointError, match="a tensor of it is damaged"):
        containers.read(tmp_path / "a.pt")


# --- networks ----------------------------------------------------------------------------------------------------

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "daclip": lambda: daclip.DaClip(CLIP),
    "unet": lambda: unet.UNet(UNET),
    "nafnet": lambda: nafnet.NAFNet(nafnet.TINY),
    "vlunet": lambda: vlunet.VluNet(vlunet.TINY),
}


def same_network(one: nn.Module, other: nn.Module) -> bool:
    return type(one) is type(other) and equal(one.state_dict(), other.state_dict())


@pytest.fixture(scope="module", params=NETWORKS)
def named_network(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    torch.manual_seed(5)
    return request.param, NETWORKS[request.param]()


def test_a_network_goes_to_a_published_file_and_comes_back(
    tmp_path: Path, named_network: tuple[str, nn.Module]
) -> None:
    name, net = named_network
    official.save(net, tmp_path / "a.pth")
    back, found = official.load(tmp_path / "a.pth")
    assert same_network(back, net)
    assert (found.settings, found.network, found.others) == (net.settings, name, ())
    assert same_network(official.load(tmp_path / "a.pth", name)[0], net)
    assert found.lines()[0] == f"a.pth is {name}: {net.settings}"


@pytest.mark.parametrize("how", ["module.", "half", "pickles", "state_dict"])
def test_as_others_leave_it_it_loads_too(tmp_path: Path, named_network: tuple[str, nn.Module], how: str) -> None:
    name, net = named_network
    official.save(net, tmp_path / "a.pth")
    tensors = {
        prefix + n: t for prefix, part in containers.read(tmp_path / "a.pth").parts.items() for n, t in part.items()
    }
    match how:
        case "module.":
            save({f"module.{name}": t for name, t in tensors.items()}, tmp_path / "a.pth")
        case "half":
            save({name: t.half() for name, t in tensors.items()}, tmp_path / "a.pth")
        case "pickles":
            save(tensors, tmp_path / "a.pth", "pickles")
        case "state_dict":
            save({"epoch": 1, "state_dict": tensors}, tmp_path / "a.pth")
    back, found = official.load(tmp_path / "a.pth")
    assert found.network == name
    if how == "half":
        assert equal(
            back.state_dict(),
            {n: t.half().float() if t.is_floating_point() else t for n, t in net.state_dict().items()},
        )
        assert f"{len(tensors)} tensors were float16 and are float32 now" in found.lines()
    else:
        assert same_network(back, net)


def test_files_are_written_as_each_published_code_reads_them(tmp_path: Path) -> None:
    def written(net: nn.Module, **how: Any) -> dict[str, Any]:
        official.save(net, tmp_path / "a.pth", **how)
        return torch.load(tmp_path / "a.pth", weights_only=True)  # type: ignore[no-any-return]

    clip = written(NETWORKS["daclip"](), epoch=3, name="ours")
    assert (set(clip), clip["epoch"], clip["name"]) == ({"epoch", "name", "state_dict"}, 3, "ours")
    tower, again = clip["state_dict"]["clip.visual.proj"], clip["state_dict"]["visual.proj"]
    assert tower.data_ptr() == again.data_ptr(), "the repeated tower is stored once, as published"
    assert "init_conv.weight" in written(NETWORKS["unet"]()) and "intro.weight" in written(NETWORKS["nafnet"]())
    steps = written(NETWORKS["vlunet"]())
    assert {"state_dict", "epoch", "global_step", "pytorch-lightning_version"} == set(steps)
    assert all(name.startswith("net.") for name in steps["state_dict"])
    tuned = written(clip_adapter.AdaptedClip(ADAPTED), epoch=99)
    assert (set(tuned), tuned["epoch"]) == ({"epoch", "learnable_params", "optimizer"}, 99)
    assert len(tuned["learnable_params"]) == 24
    assert all(isinstance(p, nn.Parameter) and ".adapter." in n for n, p in tuned["learnable_params"].items())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module, nn.Module]:
    """A file of VLU-Net with its adapted CLIP, and the two."""
    torch.manual_seed(6)
    restorer, adapted = vlunet.VluNet(vlunet.TINY), clip_adapter.AdaptedClip(ADAPTED)
    path = tmp_path_factory.mktemp("both") / "vlunet.ckpt"
    official.save(restorer, path, degradation_model=adapted)
    return path, restorer, adapted


def test_both_networks_of_a_lightning_file_are_found(both: tuple[Path, nn.Module, nn.Module]) -> None:
    path, restorer, adapted = both
    net, found = official.load(path)
    assert same_network(net, restorer)
    assert (found.network, found.others) == ("vlunet", ("clip-adapter",))
    assert "the file also holds clip-adapter; load it by that word" in found.lines()
    for other, found in (
        official.load(path, "clip-adapter"),
        official.load(path, into=clip_adapter.AdaptedClip(ADAPTED)),
    ):
        assert same_network(other, adapted)
        assert (found.network, found.others) == ("clip-adapter", ("vlunet",))


def test_tensors_beside_the_networks_are_counted(tmp_path: Path, both: tuple[Path, nn.Module, nn.Module]) -> None:
    content = torch.load(both[0], weights_only=True)
    content["state_dict"]["loss.weight"] = torch.ones(3)
    net, found = official.load(save(content, tmp_path / "a.ckpt"))
    assert same_network(net, both[1])
    assert "1 tensors of the file belong to no network that is known" in found.lines()


@pytest.mark.parametrize("shape", [(), (0,), (7, 5, 3, 3), (64, 6, 7, 7)])
def test_tensors_of_odd_shapes_are_told(tmp_path: Path, shape: tuple[int, ...]) -> None:
    official.save(NETWORKS["unet"](), tmp_path / "a.pth")
    tensors = containers.read(tmp_path / "a.pth").parts[""] | {"init_conv.weight": torch.zeros(shape)}
    with pytest.raises(CheckpointError, match=r"a\.pth looks like unet, but"):
        official.load(save(tensors, tmp_path / "a.pth"))


def test_adapters_alone_go_onto_a_clip(tmp_path: Path, both: tuple[Path, nn.Module, nn.Module]) -> None:
    _, _, adapted = both
    official.save(adapted, tmp_path / "clip_tuned.pth")
    with pytest.raises(
        CheckpointError, match=r"clip_tuned.pth looks like clip-adapter, but with the adapters alone.*into"
    ):
        official.load(tmp_path / "clip_tuned.pth")
    other = clip_adapter.AdaptedClip(ADAPTED)
    other.clip.load_state_dict(adapted.clip.state_dict())  # type: ignore[union-attr]
    back, _ = official.load(tmp_path / "clip_tuned.pth", into=other)
    assert back is other
    assert same_network(back, adapted)


def test_another_network_is_named(tmp_path: Path, both: tuple[Path, nn.Module, nn.Module]) -> None:
    path, *_ = both
    with pytest.raises(
        CheckpointError, match=r"vlunet\.ckpt holds vlunet and clip-adapter; expected unet: give its own"
    ):
        official.load(path, "unet")
    with pytest.raises(CheckpointError, match="holds vlunet and clip-adapter; expected nafnet"):
        official.load(path, into=NETWORKS["nafnet"]())
    with pytest.raises(CheckpointError, match="no network is called 'unte'; the file holds vlunet"):
        official.load(path, "unte")
    save({"conv.weight": torch.ones(2), "conv.bias": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"a\.pt: tensors of no network that patina knows \(2: conv.weight, conv.bias"
    ):
        official.load(tmp_path / "a.pt")
    save(daclip.build_clip(CLIP).state_dict(), tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match="a CLIP alone, on which DA-CLIP stands"):
        official.load(tmp_path / "clip.pt")


def test_tensors_that_are_missing_or_too_many_are_listed(tmp_path: Path) -> None:
    net = NETWORKS["unet"]()
    official.save(net, tmp_path / "a.pth")
    tensors = containers.read(tmp_path / "a.pth").parts[""]
    wrong = {n: t for n, t in tensors.items() if n not in ("final_conv.bias", "prompt")} | {"ema": torch.ones(1)}
    save(wrong, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=r"a\.pth looks like unet, but .*2 missing: .*final_conv.bias.* 1 surplus: ema"
    ):
        official.load(tmp_path / "a.pth")
    save({n: t for n, t in tensors.items() if n != "init_conv.weight"}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=r"looks like unet, but a tensor that tells its settings .*init_conv.weight"
    ):
        official.load(tmp_path / "a.pth")
    into = unet.UNet(unet.UNetSettings(widths=(32, 32, 64)))
    save(tensors, tmp_path / "a.pth")
    before = {name: tensor.clone() for name, tensor in into.state_dict().items()}
    with pytest.raises(CheckpointError, match="surplus"):
        official.load(tmp_path / "a.pth", into=into)
    assert equal(into.state_dict(), before)


RELEASED = {
    "daclip_ViT-B-32": "daclip-b32",
    "vlunet_clip_adapter": "clip-adapter-b32",
    "unet_daclip_sde": "unet-daclip",
    "unet_daclip_sde_no_context": "unet-no-context",
    "unet_irsde": "unet-irsde",
    "unet_wild_ir": "unet-wild",
    "nafnet_refusion": "nafnet-refusion",
    "vlunet": "vlunet-7",
}


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_network_is_told_by_its_tensors_names_and_shapes(name: str) -> None:
    shapes = fill.load_shapes(KEYS / f"{name}.keys.json")
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert official.recognise(tensors) == RELEASED[name]
    some = dict(list(tensors.items())[::2])
    assert (official.recognise(some) or "").split("-")[0] == RELEASED[name].split("-")[0], "half of them are enough"
    assert official.recognise({f"x.{key}": t for key, t in tensors.items()}) is None


def test_a_large_clip_and_five_prompts_are_told_too() -> None:
    with torch.device("meta"):
        nets = {name: CATALOGUE[name].build() for name in ("daclip-l14", "vlunet-5")}
    for name, net in nets.items():
        kind = official.recognise(CATALOGUE[name].keys.to_published(net.state_dict()))  # type: ignore[union-attr]
        assert kind == name


@pytest.mark.slow
def test_a_released_file_gives_the_released_network_s_numbers(tmp_path: Path) -> None:
    """The reference's weights go into a file as Refusion's code leaves one, and its outputs come out of ours."""
    shapes = fill.load_shapes(KEYS / "nafnet_refusion.keys.json")
    weights = {f"module.{key}": torch.from_numpy(value) for key, value in fill.fill(shapes).items()}
    net, found = official.load(save(weights, tmp_path / "700000_G.pth"))
    assert (found.network, found.contents.prefix) == ("nafnet-refusion", "module.")
    expected = torch.from_numpy(np.load(KEYS.parent / "golden" / "nafnet_refusion.npz")["a_t1"])
    x_t, mu = (torch.from_numpy(fill.image(f"unet.a.{name}", (1, 3, 64, 64))) for name in ("xt", "mu"))
    with torch.no_grad():
        eps_hat = net(x_t, mu, 1)
    assert float((eps_hat - expected).abs().max() / expected.abs().max()) < 1e-5
    official.save(net, tmp_path / "ours_G.pth")
    ours = torch.load(tmp_path / "ours_G.pth", weights_only=True)
    assert equal(ours, {name.removeprefix("module."): tensor for name, tensor in weights.items()})


def test_a_network_that_was_never_published_has_no_file(tmp_path: Path) -> None:
    for net in (nn.Linear(1, 1), nafnet.DirectNAFNet(nafnet.DIRECT_TINY)):
        with pytest.raises(
            CheckpointError, match=r"has no published form; use patina\.training\.checkpoints\.model\.save"
        ):
            official.save(net, tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())
