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


class PrecisionChoice(StrEnum):
    """What a restorer's network computes in."""

    fp32 = "fp32"
    bf16 = "bf16"


class ProtocolChoice(StrEnum):
    """Whose way of measuring."""

    daclip = "daclip"
    vlunet = "vlunet"


RecipeArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE", help="A recipe's TOML file, or the name of one that comes with patina: see `patina recipes`."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The dataset's folder.")]
TargetOption = Annotated[
    str,
    typer.Option("--out", "-o", metavar="FOLDER", help="The dataset's folder, or an address such as s3://bucket/name."),
]
BatchOption = Annotated[
    int,
    typer.Option(
        min=0, metavar="N", help="How many photographs a captioner's model sees at once. 0 stands for its own number."
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="How many threads decode photographs ahead of each such model. 0 stands for as many as suit.",
    ),
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DEVICE",
        help="A device that this model runs on, such as cuda:0. The option can be repeated. Without it, the "
        "model runs on every GPU, or on the CPU if there is none.",
    ),
]
FolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER",
        help="The dataset's folder, a version of it such as FOLDER@3, or its address, from which it is fetched.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="How many workers build side by side. 0 stands for one for each core.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop if an input cannot be used, instead of setting it aside.")
]
AsideOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="Stop if more than this share of the inputs had to be set aside. Ten are always allowed, but "
        "never more than half of all.",
    ),
]
RunnerOption = Annotated[
    RunnerChoice,
    typer.Option(
        help="What builds the shards: threads or processes of this computer, or a cluster of Dask or Ray. Without a "
        "Prefect server, `threads` also takes processes where they are faster."
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="The address of a Dask scheduler or a Ray cluster that runs already. Without it, one with "
        "--workers workers is started here.",
    ),
]
NoBlipOption = Annotated[
    bool,
    typer.Option(
        "--no-blip",
        help="Caption without BLIP, where the recipe asks for it: by text files beside the photographs, or by "
        "a template.",
    ),
]
PrecisionOption = Annotated[
    PrecisionChoice,
    typer.Option(help="What the network computes in. bf16 is faster and needs less memory where the processor has it."),
]
KeepOption = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="How many versions of the dataset stay on the disk, the new one among them."),
]
WithoutLinksOption = Annotated[
    bool,
    typer.Option("--without-links", help="Publish by copying, where the file system has no hard or symbolic links."),
]
ParanoidOption = Annotated[
    bool,
    typer.Option("--paranoid", help="Read and hash every source and every shard, instead of trusting sizes and dates."),
]


ModelOption = Annotated[
    Path,
    typer.Option(
        metavar="MODEL",
        help="The folder of a run, the folder of a stage in it, a model.safetensors, or a published .pth or "
        ".ckpt file.",
    ),
]
SteeringOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The file that steers a published model, such as daclip_ViT-B-32.pt for universal-ir.pth."
    ),
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file with the CLIP that the adapters of clip_tuned.pth stand on, such as daclip_ViT-B-32.pt.",
    ),
]
SdeOption = Annotated[
    str,
    typer.Option(
        metavar="SETTINGS",
        help="The equation that a published network was trained with, such as max_sigma=10,T=100,schedule=cosine. "
        "It is remembered beside the network's file.",
    ),
]
StageOption = Annotated[
    str,
    typer.Option(
        metavar="STAGE",
        help="The stage of the run that restores. Without it, the restorer that was finished last does.",
    ),
]
RunOption = Annotated[
    str, typer.Option(metavar="FOLDER", help="The folder of the run, which holds a folder for each stage.")
]
StagesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STAGE",
        help="A stage to take, with the stages that it starts from. The option can be repeated. Without it, "
        "all are taken.",
    ),
]
CpuOption = Annotated[bool, typer.Option("--cpu", help="Use the CPU even where there is a GPU.")]
PrefectOption = Annotated[
    bool, typer.Option("--prefect", help="Make it a flow run of Prefect, even where no server is configured.")
]
OneDeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="The device to run on, such as cuda:0. Without it, a GPU is used if there is one."
    ),
]


class DemoCaptions(StrEnum):
    """Where the demo's captions come from."""

    csv = "csv"
    blip = "blip"
