"""Our own checkpoints: they come back bit for bit, a failed write changes nothing, strangers are refused."""

from __future__ import annotations

import json
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from patina.training.checkpoints.model import (
    Checkpoint,
    digest_of,
    load,
    network_of,
    restore,
    save,
    settings_from_json,
    settings_to_json,
    write,
    write_in_one_step,
)
from patina.training.errors import CheckpointError
from patina.training.models import nafnet


@dataclass(frozen=True)
class Inner:
    heads: int = 2


@dataclass(frozen=True)
class Settings:
    """Every kind of field that the networks' settings have."""

    widths: tuple[int, ...] = (4, 8)
    pair: tuple[int, int] = (1, 2)
    expansion: float = 2.66
    context: int | None = None
    activation: Literal["gelu", "leaky_relu"] = "gelu"
    half: bool = False
    inner: Inner = field(default_factory=Inner)


class Net(nn.Module):
    """A frozen base, a trained head, a tied tensor, a number and a buffer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.settings = Settings()
        torch.manual_seed(seed)
        self.base = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 4)
        self.tied = self.head
        self.scale = nn.Parameter(torch.randn(()))
        self.register_buffer("count", torch.tensor(seed, dtype=torch.int64))


TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bool, torch.complex64, torch.complex128),
)


def bits(tensor: Tensor) -> list[int]:
    flat = tensor.clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.view(torch.uint8).tolist() if tensor.numel() else []


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)


def of(tensors: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint("unet", {}, tensors)


@given(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=4), st.integers(0, 9))
def test_every_type_and_shape_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, dtype: torch.dtype, shape: list[int], seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensor = torch.randint(0, 2, [*shape, 16], generator=draw).to(
        torch.uint8
    )  # 16 bytes: one number of the widest type
    tensor = tensor.view(dtype)[..., 0] if dtype != torch.bool else tensor[..., 0].bool()
    path = tmp_path_factory.mktemp("types") / "a.safetensors"
    write(of({"x": tensor}), path)
    assert same(load(path).tensors["x"], tensor)


def test_no_number_is_touched_nan_and_negative_zero_included(tmp_path: Path) -> None:
    odd = torch.tensor([torch.nan, -0.0, torch.inf, 1e-45])
    write(of({"odd": odd, "number": torch.tensor(3.5)}), tmp_path / "a")
    found = load(tmp_path / "a").tensors
    assert same(found["odd"], odd)
    assert found["number"].shape == () and found["number"] == 3.5


def test_tied_tensors_are_stored_once_and_are_one_again(tmp_path: Path) -> None:
    big = torch.randn(1000, 10)
    tensors = {
        "a": big,
        "b": big,
        "part": big[:3],
        "turned": big.t(),
        "conj": torch.randn(2, dtype=torch.cfloat).conj(),
    }
    write(of(tensors), tmp_path / "a")
    found = load(tmp_path / "a").tensors
    assert all(same(found[name], tensors[name].resolve_conj()) for name in tensors)
    assert found["a"] is found["b"]
    assert (tmp_path / "a").stat().st_size < 2.2 * big.nbytes, "a and b once, the turned view once more"


def test_a_network_comes_back_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    net, path = Net(3), tmp_path / "net.safetensors"
    notes = {"stage": "restorer", "manifest": "ab" * 32, "code": "0.1.0", "seeds": "1 2", "ü": "naïve “words”"}
    digest = save(net, path, network="unet", notes=notes)
    found = load(path)
    assert (found.network, found.notes, found.digest, found.without) == ("unet", notes, digest, ())
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["patina"])["word"] == "unet", "as the first version stored it"
    assert settings_from_json(Settings, found.settings) == net.settings
    other = Net(4)
    restore(other, found)
    assert digest_of(other.state_dict()) == digest == digest_of(net.state_dict())
    assert int(other.count) == 3
    assert found.tensors["head.weight"] is found.tensors["tied.weight"]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(Net(1), tmp_path / name, network="unet", notes={"y": "1", "x": "2"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_digest_is_of_names_types_shapes_and_numbers() -> None:
    tensors = {"a": torch.arange(6.0), "b": torch.ones(2)}
    others = [
        {"a": torch.arange(6.0), "c": torch.ones(2)},
        {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)},
        {"a": torch.arange(6.0).double(), "b": torch.ones(2)},
        {"a": torch.arange(1.0, 7.0), "b": torch.ones(2)},
        {"a": torch.arange(6.0)},
    ]
    assert len({digest_of(t) for t in [tensors, *others]}) == 6
    strided = torch.arange(12.0)[::2] / 2
    assert digest_of({"b": torch.ones(2), "a": strided}) == digest_of(tensors), "neither order nor strides"


def test_trained_tensors_alone_go_back_on_their_base_and_on_no_other(tmp_path: Path) -> None:
    net, path = Net(0), tmp_path / "trained.safetensors"
    with torch.no_grad():
        net.head.weight.add_(1)
    save(net, path, network="daclip", only="trainable", base_name="laion2b_s34b_b79k")
    found = load(path)
    assert found.without == ("base.bias", "base.weight")
    assert not any(name.startswith("base") for name in found.tensors)
    started = Net(0)
    restore(started, found)
    assert digest_of(started.state_dict()) == digest_of(net.state_dict())
    before = digest_of((other := Net(1)).state_dict())
    with pytest.raises(CheckpointError, match=r"belongs on the base .*\(laion2b_s34b_b79k\).*build it on that base"):
        restore(other, found)
    assert digest_of(other.state_dict()) == before


def test_another_network_is_refused_with_the_lists(tmp_path: Path) -> None:
    save(Net(), tmp_path / "a", network="unet")
    found = load(tmp_path / "a")
    other = nn.Linear(4, 4)
    with pytest.raises(CheckpointError, match=r"'unet' does not fit .*: 2 missing: bias, weight; 8 surplus: base"):
        restore(other, found)
    wider = Net()
    wider.head.weight = nn.Parameter(torch.zeros(5, 4))
    with pytest.raises(CheckpointError, match=r"head.weight \(4, 4\), expected \(5, 4\)"):
        restore(wider, found)


def test_a_network_of_the_catalogue_is_built_from_its_file_alone(tmp_path: Path) -> None:
    net = nafnet.NAFNet(nafnet.TINY)
    save(net, tmp_path / "a", network="nafnet-refusion")
    found = load(tmp_path / "a")
    back = network_of(found)
    assert isinstance(back, nafnet.NAFNet)
    assert back.settings == nafnet.TINY
    assert digest_of(back.state_dict()) == digest_of(net.state_dict())
    with pytest.raises(CheckpointError, match=r"no network is called 'nafnet'; known are .*nafnet-refusion"):
        network_of(replace(found, network="nafnet"))
    with pytest.raises(CheckpointError, match="VluNetSettings has no decoder_blocks"):
        network_of(replace(found, network="vlunet-7"))


def test_settings_that_do_not_fit_are_refused() -> None:
    fields = settings_to_json(Settings(widths=(1, 2, 3), context=512, half=True))
    assert settings_from_json(Settings, json.loads(json.dumps(fields))) == Settings(
        widths=(1, 2, 3), context=512, half=True
    )
    with pytest.raises(CheckpointError, match=r"no settings of Settings: activation: .*gelu"):
        settings_from_json(Settings, fields | {"activation": "tanh"})
    with pytest.raises(CheckpointError, match="Settings has no depth"):
        settings_from_json(Settings, fields | {"depth": 3})
    with pytest.raises(CheckpointError, match="settings are a dataclass"):
        settings_to_json({"a": 1})


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more to one file fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_when_the_disk_takes_no_more_the_earlier_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write(of({"x": torch.zeros(10)}), path)
    before = path.read_bytes()
    with (
        files_of_at_most(5000),
        pytest.raises(CheckpointError, match=r"a\.safetensors: could not be written .*make room"),
    ):
        write(of({"x": torch.zeros(10_000)}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    def fails(temporary: Path) -> None:
        temporary.write_bytes(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_in_one_step(tmp_path / "a", fails)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="could not be written"):
        write(of({"x": torch.zeros(1)}), tmp_path / "no folder" / "a")


def test_others_may_read_the_file_as_the_folder_says(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(of({"x": torch.zeros(1)}), tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write(of({"x": torch.arange(1000.0)}), path)
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.safetensors: cut short"):
            load(path)
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="damaged: its tensors have the digest"):
        load(path)


def header(**changes: object) -> dict[str, str]:
    body = {"version": 1, "word": "unet", "settings": {}, "notes": {}, "without": [], "base": "", "base_name": ""}
    return {"patina": json.dumps(body | {"digest": "", "repeats": {}, "raw": {}} | changes)}


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (None, "of another program"),
        ({"format": "pt"}, "of another program"),
        ({"patina": "{"}, "header .* cannot be read"),
        ({"patina": "[]"}, "header .* cannot be read"),
        (header(version=2), "version 2, written by a later patina"),
        ({"patina": '{"version": 1}'}, "header lacks 'raw'"),
        (header(repeats={"y": "z"}), "header lacks 'z'"),
        (header(raw={"x": ["no_type", [1]]}), "header lacks"),
    ],
)
def test_foreign_headers_are_told(tmp_path: Path, metadata: dict[str, str] | None, told: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a", metadata)
    with pytest.raises(CheckpointError, match=told):
        load(tmp_path / "a")


def test_foreign_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "a")
    torch.save({"x": torch.zeros(1)}, tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"no patina checkpoint .*patina.training.official.load"):
        load(tmp_path / "a")
    with pytest.raises(CheckpointError):
        load(tmp_path)


def test_notes_are_strings(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="notes are strings; 'seed' is 3"):
        write(replace(of({"x": torch.zeros(1)}), notes={"seed": 3}), tmp_path / "a")  # type: ignore[dict-item]
