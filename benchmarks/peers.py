"""The same jobs by others' tools, in the same run: writing tars, sharding local photographs, making degraded images.

    python -m benchmarks.peers [writing] [sharding] [--img2dataset FOLDER/bin/img2dataset] [--save]

writing   samples of four members each, as webdataset's ShardWriter and TarWriter write them, as plain files, and as
          patina's shards: packed, digested and flushed. CPU time of one process.
sharding  photographs on the local disk become tars: img2dataset (no re-encoding, and re-encoding as JPEG, which is one
          decoding and one encoding), and `patina build` of `jpeg-compressed`, which makes a second image of each
          photograph, verifies, measures and describes it, and keeps the first as it is. CPU time of the command and
          all it starts, what it costs to start taken off by the difference of two sizes.

img2dataset lives in an environment of its own, since its pins are others: python -m venv FOLDER; FOLDER/bin/pip install
img2dataset; without it its lines are left out. How the published training scripts make LQ (cv2, NumPy, PNG) stands in
benchmarks/tuples.py as the usual loop.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.builds import Timed, spent, write_recipe
from benchmarks.photos import lay_out, machine, publish
from benchmarks.tuples import cpu
from patina.pipeline.format.shard import pack

Members = list[tuple[str, dict[str, bytes]]]


def _members(count: int, lq: int, gt: int) -> Members:
    """`count` samples of bytes that nothing can compress: LQ, GT, caption, facts."""
    random = np.random.Generator(np.random.PCG64(3))
    return [
        (
            f"{i:016x}",
            {"png": random.bytes(lq), "gt.jpg": random.bytes(gt), "txt": b"a photograph", "json": random.bytes(900)},
        )
        for i in range(count)
    ]


def _patina(samples: Members, folder: Path) -> None:
    digest = hashlib.sha256()
    with (folder / "patina.tar").open("wb", buffering=0) as file:
        for key, members in samples:
            data = pack(key, list(members.items()))
            digest.update(data)
            file.write(data)
        file.write(bytes(1024))
        os.fsync(file.fileno())


def _undigested(samples: Members, folder: Path) -> None:
    with (folder / "undigested.tar").open("wb", buffering=0) as file:
        for key, members in samples:
            file.write(pack(key, list(members.items())))
        file.write(bytes(1024))
        os.fsync(file.fileno())


def _shard_writer(samples: Members, folder: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(folder / "sw-%06d.tar"), maxcount=10**9, maxsize=10**12, verbose=0) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})


def _tar_writer(samples: Members, folder: Path) -> None:
    import webdataset

    with webdataset.TarWriter(str(folder / "tw.tar"), mtime=0) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})


def _files(samples: Members, folder: Path) -> None:
    (folder / "files").mkdir(exist_ok=True)
    for key, members in samples:
        for suffix, data in members.items():
            (folder / "files" / f"{key}.{suffix}").write_bytes(data)


def writing(rounds: int) -> list[str]:
    """CPU milliseconds a sample of each writer."""
    writers: dict[str, Callable[[Members, Path], None]] = {
        "patina: pack, SHA-256, write, flush": _patina,
        "patina without the digest": _undigested,
        "webdataset ShardWriter": _shard_writer,
        "webdataset TarWriter, fixed time": _tar_writer,
        "plain files": _files,
    }
    sizes = {"16 KB LQ, 140 KB GT (JPEG)": (16_000, 140_000), "1.15 MB LQ, 140 KB GT (noise)": (1_150_000, 140_000)}
    lines = [f"| ms of CPU a sample | {' | '.join(sizes)} |", "|---|" + "---|" * len(sizes)]
    found: dict[str, list[list[float]]] = {name: [] for name in writers}
    for lq, gt in sizes.values():
        samples = _members(200, lq, gt)
        times: dict[str, list[float]] = {name: [] for name in writers}
        for _ in range(rounds):
            for name, write in writers.items():
                with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    times[name].append(cpu(lambda f=Path(folder), w=write, s=samples: w(s, f)) / len(samples))
        for name, values in times.items():
            found[name].append(values)
    for name, columns in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{statistics.median(values):.2f}" for values in columns) + " |")
    return [*lines, "", f"200 samples of four members; medians of {rounds} rounds. ShardWriter's files differ by run."]


def sharding(tool: str, rounds: int) -> list[str]:
    """CPU milliseconds a photograph of each tool."""
    counts = (200, 800)
    modes = {
        "img2dataset, bytes as they are": ["--skip_reencode", "True", "--resize_mode", "no"],
        "img2dataset, JPEG again": ["--resize_mode", "no", "--encode_quality", "95"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timed = Timed(folder)
        paths = lay_out(folder / "many", counts[1])
        (folder / "few").mkdir()
        for path in paths[: counts[0]]:
            shutil.copyfile(path, folder / "few" / path.name)
        recipes = {photos: write_recipe(folder, ("jpeg-compressed",), photos) for photos in ("few", "many")}
        timed.build(recipes["few"], folder / "warm")
        times: dict[str, list[float]] = {}
        for _ in range(rounds):
            spans = []
            for photos in ("few", "many"):
                shutil.rmtree(folder / "out", ignore_errors=True)
                spans.append(timed.build(recipes[photos], folder / "out", "--workers", "1", "--replay", "0")[0])
            times.setdefault("patina, a JPEG of quality 10 beside each", []).append(spans[1] - spans[0])
            for mode, options in modes.items() if tool else ():
                spans = []
                for count in counts:
                    lists = folder / "urls.txt"
                    lists.write_text("\n".join(f"file://{path}" for path in paths[:count]), "utf-8")
                    shutil.rmtree(folder / "theirs", ignore_errors=True)
                    command = [tool, "--url_list", str(lists), "--output_folder", str(folder / "theirs")]
                    command += ["--output_format", "webdataset", "--processes_count", "1", "--thread_count", "1"]
                    command += ["--number_sample_per_shard", "200", *options]
                    spans.append(spent(command, {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"})[0])
                    stored = len(list((folder / "theirs").glob("*.tar")))
                    if not stored:
                        raise SystemExit("img2dataset wrote no shard")
                times.setdefault(mode, []).append(spans[1] - spans[0])
    lines = ["| local photographs to tars, one process | ms of CPU a photograph |", "|---|---|"]
    for what, values in times.items():
        lines.append(f"| {what} | {1e3 * statistics.median(values) / (counts[1] - counts[0]):.2f} |")
    found = f"img2dataset {_version(tool)}" if tool else "img2dataset was not installed"
    return [*lines, "", f"768×512 JPEGs, {counts[1]} less {counts[0]}; medians of {rounds} rounds; {found}."]


def _version(tool: str) -> str:
    python = Path(tool).parent / "python"
    call = "from importlib.metadata import version; print(version('img2dataset'))"
    return subprocess.run([python, "-c", call], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Print the tables; with --save, keep them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["writing", "sharding", "all"], default="all")
    parser.add_argument("--img2dataset", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    text = ""
    what = {"writing", "sharding"} if "all" in options.what else set(options.what)
    if "writing" in what:
        text += "## Writing\n\n" + "\n".join(writing(options.rounds)) + "\n\n"
    if "sharding" in what:
        text += "## Sharding\n\n" + "\n".join(sharding(options.img2dataset, options.rounds)) + "\n\n"
    text += f"Measured by `python -m benchmarks.peers --img2dataset FOLDER/bin/img2dataset`\non {machine()}."
    publish("The same jobs by others", text, "peers" if options.save else None)


if __name__ == "__main__":
    main()
