"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class RunnerChoice(StrEnum):
    """What builds shards."""

    threads = "threads"
    processes = "processes"
    dask = "dask"
    ray = "ray"


class SplitChoice(StrEnum):
    """A dataset's splits."""

    train = "train"
    val = "val"
    test = "test"


class SamplerChoice(StrEnum):
    """How a network that estimates noise restores."""

    posterior = "posterior"
    sde = "sde"
    ode = "ode"
    fast_ode = "fast-ode"
    fast_sde = "fast-sde"


class ProtocolChoice(StrEnum):
    """Whose way of measuring."""

    daclip = "daclip"
    vlunet = "vlunet"


RecipeArgument = Annotated[
    Path, typer.Argument(help="A recipe's TOML file, or the name of one that comes with patina: see `patina recipes`.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The dataset's folder.")]
TargetOption = Annotated[
    str, typer.Option("--out", "-o", help="The dataset's folder, or an address such as s3://bucket/name.")
]
BatchOption = Annotated[int, typer.Option(min=0, help="Photographs that a captioner's model sees at once; 0: its own.")]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Threads that decode photographs ahead of each such model; 0: as many as suit.")
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option(help="Where that model runs, such as cuda:0; repeatable. Default: every GPU, else the CPU."),
]
FolderArgument = Annotated[
    str, typer.Argument(help="The dataset's folder, a version of it (FOLDER@3), or its address, which is fetched.")
]
WorkersOption = Annotated[int, typer.Option(min=0, help="How much is done side by side; 0: one for each core.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="An input that must be set aside is an error.")]
AsideOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of unusable inputs that stops a build; ten are always allowed, but never more than half of all.",
    ),
]
RunnerOption = Annotated[
    RunnerChoice, typer.Option(help="What builds shards: threads or processes here, or a cluster of Dask or Ray.")
]
AddressOption = Annotated[
    str, typer.Option(help="Of a Dask scheduler or a Ray cluster that runs already; without it, one of --workers here.")
]
NoBlipOption = Annotated[
    bool,
    typer.Option(
        "--no-blip",
        help="Of a recipe that captions by BLIP: take captions that lie beside the photographs, or a template's.",
    ),
]
KeepOption = Annotated[int, typer.Option(min=1, help="Versions of the dataset that stay, the new one among them.")]
WithoutLinksOption = Annotated[
    bool,
    typer.Option("--without-links", help="Publish by copies where the file system has no hard or symbolic links."),
]
ParanoidOption = Annotated[bool, typer.Option("--paranoid", help="Read and hash every source and shard.")]


ModelOption = Annotated[
    Path,
    typer.Option(help="A run's folder, a stage's in it, a model.safetensors, or a published .pth or .ckpt file."),
]
SteeringOption = Annotated[
    Path | None, typer.Option(help="What steers a published model: daclip_ViT-B-32.pt beside universal-ir.pth.")
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        help="For clip_tuned.pth: a file with the CLIP that its adapters stand on, such as daclip_ViT-B-32.pt."
    ),
]
SdeOption = Annotated[
    str,
    typer.Option(
        help="The equation that a published network was trained with, such as max_sigma=10,T=100,schedule=cosine. "
        "Remembered beside its file."
    ),
]
StageOption = Annotated[str, typer.Option(help="Which restorer of a run. Default: the one that was finished last.")]
RunOption = Annotated[str, typer.Option(help="The run's folder, with a folder for each stage.")]
StagesOption = Annotated[
    list[str] | None, typer.Option(help="A stage, with those that it starts from; repeatable. Default: all.")
]
CpuOption = Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")]
PrefectOption = Annotated[
    bool, typer.Option("--prefect", help="Make it a flow run of Prefect's, even where no server is configured.")
]
OneDeviceOption = Annotated[str, typer.Option(help="Such as cuda:0. Default: a GPU if there is one, else the CPU.")]


class DemoCaptions(StrEnum):
    """Where the demo's captions come from."""

    csv = "csv"
    blip = "blip"
