"""All that a GPU can tell, in ten minutes, without a download: one command, one table, one JSON file.

    python -m benchmarks.gpu [--parts networks captions loader learning tests] [--tiny] [--save]

networks  each network's training step and inference beside its published structure: float32 without TF32, with TF32,
          and bfloat16, with peak memory (benchmarks.models).
captions  BLIP base and large with random weights, at batch 1 and 64, beside the usual loop (benchmarks.captioning).
loader    training steps fed by the loader beside batches in memory (benchmarks.loader).
learning  two minutes of training NAFNet and VLU-Net on noise, and the PSNR on photographs that were held out
          (benchmarks.denoise_cbsd, on crops of the photographs inside scikit-image and scikit-learn).
tests     the tests that want a GPU.

Each part is a process of its own with a share of the time; one that fails or takes longer is told as such, and the
others run. --tiny runs the same on a CPU with the least of everything, so that the script is known to work; its figures
say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.photos import lay_out, publish

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Call:
    """One process of a part. seconds: what it may take. environment: what it has beside this process's."""

    title: str
    command: tuple[str, ...]
    seconds: int
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of it: `done`, `failed` or `took too long`, and what it printed."""

    title: str
    command: str
    state: str
    seconds: float
    text: str
    rows: list[dict[str, str]]


def calls(part: str, tiny: bool, photos: Path) -> list[Call]:
    """The processes of a part."""
    device = ("--device", "cpu" if tiny else "cuda")
    networks = ("nafnet-refusion", "--images", "1x64", "--rounds", "1") if tiny else ("--images", "4x256")
    captions = ("--size", "tiny", "--photos", "2", "--rounds", "1", "--batch", "2") if tiny else ("--rounds", "1")
    seconds = ("--seconds", "0.2", "--stages", "adapter") if tiny else ("--seconds", "3")
    little = ("--seconds", "1", "--restorers", "nafnet", "--steering", "40", "--rate-steps", "2")
    much = ("--seconds", "60", "--restorers", "nafnet", "vlunet", "--size", "paper", "--steering", "4000")
    of_networks = ("benchmarks.models", *networks, *device)
    known = {
        "networks": [
            Call("networks", of_networks, 240)
            if tiny
            else Call("networks, no TF32", of_networks, 100, (("NVIDIA_TF32_OVERRIDE", "0"),)),
            *([] if tiny else [Call("networks, TF32", of_networks, 100, (("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),))]),
        ],
        "captions": [Call("captions", ("benchmarks.captioning", *captions, *device), 180 if tiny else 120)],
        "loader": [Call("loader", ("benchmarks.loader", *seconds, "--rounds", "0", *device), 240 if tiny else 90)],
        "learning": [
            Call(
                "learning",
                ("benchmarks.denoise_cbsd", str(photos), "--words", "noisy", *(little if tiny else much)),
                400 if tiny else 240,
            )
        ],
        "tests": [Call("tests", ("pytest", "-q", "-m", "gpu", *(["--collect-only"] if tiny else [])), 240)],
    }
    return known[part]


def run(call: Call) -> Outcome:
    """Run a process to its end, or to the end of its time."""
    began = time.perf_counter()
    command = [sys.executable, "-m", *call.command]
    environment = {**os.environ, **dict(call.environment)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=call.seconds, check=False
        )
        state, text = ("done" if done.returncode == 0 else "failed"), done.stdout
        if done.returncode:
            text += "\n" + "\n".join(done.stderr.splitlines()[-12:])
    except subprocess.TimeoutExpired as late:
        state, text = "took too long", late.stdout.decode(errors="replace") if late.stdout else ""
    shown = " ".join(("python -m", *call.command)).replace(str(ROOT), ".")
    return Outcome(call.title, shown, state, time.perf_counter() - began, text.strip(), rows_of(text))


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of all Markdown tables in a text, by their heads."""
    rows: list[dict[str, str]] = []
    heads: Sequence[str] = ()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = ()
        elif not heads:
            heads = cells
        elif not set(line) <= set("|-: "):
            rows.append(dict(zip(heads, cells, strict=False)))
    return rows


def page(outcomes: Sequence[Outcome], where: str, tiny: bool) -> str:
    """All of it in Markdown."""
    lines = [f"Measured by `python -m benchmarks.gpu{' --tiny' if tiny else ''}` on {where}."]
    if tiny:
        lines.append(
            "\nThis is the least of everything, on a CPU: it shows that the script runs, and its figures say nothing."
        )
    for one in outcomes:
        lines += [f"\n## {one.title[0].upper()}{one.title[1:]}\n"]
        lines += [f"`{one.command}`: {one.state} after {one.seconds:.0f} s.\n", one.text]
    return "\n".join(lines)


def described() -> str:
    """The machine, as torch knows it."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"a CPU of {os.cpu_count()} cores"
    return f"{name}, torch {torch.__version__}"


def main() -> None:
    """Run the parts one after the other; exit code 1 if one failed or took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("networks", "captions", "loader", "learning", "tests")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--tiny", action="store_true", help="on a CPU, with the least of everything")
    parser.add_argument("--save", action="store_true", help="write benchmarks/gpu.md and benchmarks/gpu.json")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    import torch

    if not options.tiny and not torch.cuda.is_available():
        sys.exit("no GPU that torch knows was found; --tiny runs the least of everything on the CPU")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary) / "photos"
        lay_out(photos, 45 if options.tiny else 60)  # every twentieth is held out
        for part in options.parts:
            for call in calls(part, options.tiny, photos):
                outcomes.append(run(call))
                print(f"{call.title}: {outcomes[-1].state}, {outcomes[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    where = described()
    text = page(outcomes, where, options.tiny).replace(temporary, "PHOTOS")
    publish("On a GPU", text, "gpu" if options.save else None)
    figures = json.dumps({"machine": where, "parts": [asdict(one) for one in outcomes]}, indent=1, ensure_ascii=False)
    for path in (
        *([ROOT / "benchmarks" / "gpu.json"] if options.save else ()),
        *([options.json] if options.json else ()),
    ):
        path.write_text(figures.replace(temporary, "PHOTOS") + "\n", "utf-8")
    if any(one.state != "done" for one in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
