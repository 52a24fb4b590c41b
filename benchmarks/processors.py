"""Do the bytes depend on the processor? The same work in child processes, each held to an instruction set by switches.

    python -m benchmarks.processors [--quick] [--qemu PROGRAM] [--cc COMPILER …] [--only PART] [--save]
                                    [--python COMMAND [--python-cc COMPILER]]

Every degradation with several settings, composites, a graded degradation, the truth maps, the severity, the encoders
and the decoders run on photographs of several sizes. A row is a digest of all that one of them gave, in floats before
they are rounded where there are such, and of the parameters that it drew. A cell says whether it is that of the first
column.

--qemu       a qemu-x86_64 of qemu-user, for a processor without AVX. No library has to obey: there is what they find.
--cc         compiled loops by another compiler than the library that is installed here, such as "clang" or
             "python -m ziglang cc", with arguments of its own; as often as wanted.
--python     another Python with the same packages, such as one for aarch64 under qemu-aarch64. --python-cc compiles
             loops for it, and may run here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from benchmarks.photos import machine, publish
from patina.pipeline.codec.decode import decode, decode_map
from patina.pipeline.codec.fingerprint import codec_fingerprint, machine_fingerprint
from patina.pipeline.codec.png import encode_png
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.synth.compiled import library
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation, Place, Rendered
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import figures
from patina.synth.graded import Graded
from patina.synth.image import Image, to_float
from patina.synth.rng import Rng
from patina.synth.severity import at_clip_size, measure

ROOT = Path(__file__).parents[1]

NO_AVX512 = {"OPENCV_CPU_DISABLE": "AVX512-SKX", "NPY_DISABLE_CPU_FEATURES": "AVX512_SPR AVX512_ICL X86_V4"}
SSE = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
    "NPY_DISABLE_CPU_FEATURES": "AVX512_SPR AVX512_ICL X86_V4 X86_V3",
}
LIBM = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-AVX,-AVX_Usable"

WITHOUT_LOOPS = {"PATINA_COMPILED": "0"}
"""Compiled loops obey no switch: where all else is held to an instruction set, NumPy's way takes their place."""

SWITCHES: dict[str, dict[str, str]] = {
    "all of it": {},
    "IPP avx2": {"OPENCV_IPP": "avx2"},
    "IPP sse42": {"OPENCV_IPP": "sse42"},
    "IPP off": {"OPENCV_IPP": "disabled"},
    "OpenCV without AVX2": {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16"},
    "OpenCV SSE3": {"OPENCV_CPU_DISABLE": SSE["OPENCV_CPU_DISABLE"], "OPENCV_IPP": "disabled"},
    "NumPy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": NO_AVX512["NPY_DISABLE_CPU_FEATURES"]},
    "NumPy SSE4.2": {"NPY_DISABLE_CPU_FEATURES": SSE["NPY_DISABLE_CPU_FEATURES"]},
    "BLAS Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "libm without FMA": {"GLIBC_TUNABLES": LIBM},
    "libjpeg SSE2": {"JSIMD_FORCESSE2": "1"},
    "libjpeg plain": {"JSIMD_FORCENONE": "1"},
    "AVX2 all over": {**NO_AVX512, **WITHOUT_LOOPS, "OPENCV_IPP": "avx2", "OPENBLAS_CORETYPE": "Haswell"},
    "SSE all over": {
        **SSE,
        "OPENCV_IPP": "sse42",
        "OPENBLAS_CORETYPE": "Prescott",
        "GLIBC_TUNABLES": LIBM,
        "JSIMD_FORCESSE2": "1",
        **WITHOUT_LOOPS,
    },
    "no compiled loops": WITHOUT_LOOPS,
}
"""Name and environment of each child. The first is held to nothing."""

EMULATED = {"qemu Nehalem": "Nehalem"}
"""Processors without AVX. As a Haswell, QEMU 7.2 crashes under OpenCV."""

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "motion-blurry": [
        {},
        {"light": "encoded", "frames": 9},
        {"parallax": 0.7, "zoom": 4},
        {"length": 120, "rotation": 1.5, "shake": 3},
        {"length": 30, "rotation": 0, "highlights": 6},
    ],
    "hazy": [{}, {"model": "reside"}, {"light": "encoded", "beta": 0.05}, {"spectrum": 2, "patches": 0.8, "layer": 20}],
    "jpeg-compressed": [{}, {"double": 1, "subsampling": "4:4:4"}, {"codec": "webp", "quality": 40}],
    "low-light": [{}, {"stops": 8, "iso": 12800, "cast": 1}, {"finer": 1, "iso": 3200}, {"finer": 2}],
    "noisy": [
        {},
        {"model": "sensor"},
        {"model": "sensor", "iso": 25600, "bits": 8},
        {"grey": 1},
        {"model": "poisson"},
        {"model": "poisson", "grey": 1, "scale": 8},
    ],
    "raindrop": [
        {},
        {"sky": 0, "size": 50, "contact": 50},
        {"film": 4, "area": 0.5},
        {"defocus": 0},
        {"defocus": 20, "size": 100, "runs": 9},
    ],
    "rainy": [
        {},
        {"directions": 5, "fan": 30, "blend": "screen"},
        {"veil": 3, "light": "linear"},
        {"rate": 300, "aperture": 20},
    ],
    "shadowed": [{"kinds": kind} for kind in ("foliage", "person", "pole", "building", "blinds")],
    "snowy": [{}, {"rate": 20, "size": 12, "veil": 2}, {"aperture": 25}],
    "uncompleted": [{"shapes": shape} for shape in ("strokes", "text", "scratches", "blocks")],
}
"""Settings of DA-CLIP's ten that take their other ways, too; of the others, their `ways`."""

VARIANTS |= {name: [{}, *map(dict, kind.ways)] for name, kind in CATALOGUE.items() if name not in VARIANTS}
VARIANTS["blurred"].append({"kernels": {"sinc": 1}})  # which has no width, and so no way of the ladder

COMPOSITES = (
    ("hazy", "rainy"),
    ("low-light", "jpeg-compressed"),
    ("shadowed", "raindrop", "motion-blurry", "noisy"),
)

Row = tuple[str, Callable[[list[Image]], Iterable[bytes]]]


def photographs(quick: bool) -> list[Image]:
    """Photographs of odd and even sizes, small and of 768×512; with `quick` the small ones alone."""
    import skimage.data

    whole = [skimage.data.astronaut(), skimage.data.chelsea(), *_of_sklearn()]
    small = [(whole[0], 61, 83), (whole[2], 128, 97), (whole[1], 16, 17)]
    large = [] if quick else [(whole[2], 427, 640), (whole[3], 301, 215)]
    pictures = []
    for image, height, width in [*small, *large]:
        step = min(image.shape[0] // height, image.shape[1] // width)
        pictures.append(np.ascontiguousarray(image[::step, ::step][:height, :width]))
    if not quick:
        rows = np.arange(512) * whole[0].shape[0] // 512
        columns = np.arange(768) * whole[0].shape[1] // 768
        pictures.append(np.ascontiguousarray(whole[0][rows][:, columns]))
    return pictures


def _of_sklearn() -> list[Image]:
    """`sklearn.datasets.load_sample_images`, without the second that importing it takes each child."""
    (package,) = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr, misc]
    files = [Path(package) / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    return [np.asarray(PIL.Image.open(file)) for file in files]


def made(degradation: Degradation, seeds: int, pictures: list[Image]) -> Iterable[bytes]:
    """What was drawn, the floats, the levels, the truth and the file, for each picture and seed."""
    for i, picture in enumerate(pictures):
        for seed in range(seeds):
            height, width = picture.shape[:2]
            place = Place("a/b.png", 8, 4, width, height, 2 * width, 2 * height) if (seed + i) % 2 else None
            params = degradation.draw(Rng(f"{1 + 31 * seed + 7 * i:x}"), picture, place)
            yield json.dumps(params, sort_keys=True).encode()
            if isinstance(degradation, Rendered):
                rendering = degradation.render(to_float(picture), params)
                yield rendering.image.tobytes()
            result = degradation.apply(picture, params)
            yield result.image.tobytes()
            yield result.file[1] if result.file else b""
            for maps in (result.truth, result.steps):
                for name in sorted(maps):
                    yield maps[name].tobytes()


def severities(pictures: list[Image]) -> Iterable[bytes]:
    """All figures of the severity, at full size and at CLIP's."""
    for i, picture in enumerate(pictures):
        for degradation in (CATALOGUE["noisy"](sigma=20), CATALOGUE["jpeg-compressed"](quality=20)):  # type: ignore[call-arg]
            lq = degradation.apply(picture, degradation.draw(Rng(f"{i + 1:x}"), picture)).image
            small = at_clip_size(picture)
            yield small.tobytes()
            for measured in (measure(picture, lq), measure(small, at_clip_size(lq)), figures(picture, lq)):
                yield repr(measured).encode()


def saved(kind: str, **options: Any) -> Callable[[list[Image]], Iterable[bytes]]:
    """Pillow's encoder of that kind: the files."""

    def encode(pictures: list[Image]) -> Iterable[bytes]:
        for picture in pictures:
            file = io.BytesIO()
            PIL.Image.fromarray(picture).save(file, kind, **options)
            yield file.getvalue()

    return encode


def written(pictures: list[Image]) -> Iterable[bytes]:
    """Our PNGs: of pictures, of noise, and of 8 and 16 bits of grey."""
    for picture in pictures:
        noise = Rng("1").raw(-(-picture.size // 8)).astype("<u8").view(np.uint8)[: picture.size].reshape(picture.shape)
        plane = np.ascontiguousarray(picture[..., 0])
        yield from map(encode_png, (picture, noise, plane, plane.astype(np.uint16) * np.uint16(257)))


def _files() -> Mapping[str, list[bytes]]:
    """One file of each format, made by the first child and read by all: `decoded` is then about decoders alone."""
    return {kind: [bytes.fromhex(text) for text in texts] for kind, texts in json.loads(sys.stdin.read()).items()}


def decoded(files: list[bytes]) -> Iterable[bytes]:
    """Their pixels: by the strict decoder, and by OpenCV."""
    for data in files:
        yield decode(data).image.tobytes()
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        yield pixels.tobytes()


FORMATS: dict[str, list[dict[str, Any]]] = {
    "JPEG": [
        {"quality": 10, "subsampling": "4:2:0"},
        {"quality": 95, "subsampling": "4:4:4"},
        {"quality": 75, "subsampling": "4:2:2"},
        {"quality": 60, "progressive": True},
    ],
    "WEBP": [{"quality": 40, "method": 4}, {"lossless": True}],
    "AVIF": [{"quality": 60}],
    "PNG": [{}],
}


def rows(quick: bool, only: str) -> dict[str, str]:
    """A digest of everything by the row's name."""
    PIL.Image.init()
    pictures, seeds = photographs(quick), 1
    table: dict[str, Callable[[], Iterable[bytes]]] = {}
    for name, variants in VARIANTS.items():
        table[name] = lambda name=name, variants=variants: (  # type: ignore[misc]
            part for v in variants for part in made(CATALOGUE[name](**v), seeds, pictures)
        )
    for parts in COMPOSITES:
        composite = Composite({part: CATALOGUE[part]() for part in parts}, steps=True)
        table[composite.name] = lambda composite=composite: made(composite, 1, pictures)  # type: ignore[misc]
    graded = Graded(CATALOGUE["low-light"](), "moderate")
    table["low-light, graded"] = lambda: made(graded, 1, pictures[:3])
    table["severity"] = lambda: severities(pictures)
    for kind, options in FORMATS.items():
        if kind in PIL.Image.SAVE:
            table[f"encode {kind}"] = lambda kind=kind, options=options: (  # type: ignore[misc]
                part for o in options for part in saved(kind, **o)(pictures)
            )
    table["encode PNG by patina"] = lambda: written(pictures)
    files = _files() if not sys.stdin.isatty() else {}
    for kind, bodies in files.items():
        table[f"decode {kind}"] = lambda bodies=bodies: decoded(bodies)  # type: ignore[misc]
    table["decode truth"] = lambda: (decode_map(b).tobytes() for b in written(pictures) if b[25] == 0)
    table["perceptual hash"] = lambda: (perceptual_hash(picture).encode() for picture in pictures)
    table["fingerprints"] = lambda: [codec_fingerprint().encode(), machine_fingerprint().encode()]
    digests = {}
    for name, give in table.items():
        if only in name:
            digest = hashlib.sha256()
            for part in give():
                digest.update(part)
            digests[name] = digest.hexdigest()[:16]
    return digests


def files_to_decode() -> dict[str, list[str]]:
    """A file of each format and option, as hexadecimal text: what all children decode."""
    PIL.Image.init()
    pictures = photographs(True)
    return {
        kind: [body.hex() for o in options for body in saved(kind, **o)(pictures)]
        for kind, options in FORMATS.items()
        if kind in PIL.Image.SAVE
    }


def compiled_by(compiler: str) -> None:
    """Have this process use compiled loops that a compiler makes now, and the installed ones not. Raises SystemExit if
    it cannot make them."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["CC"] = compiler
        library.LIBRARY = Path(place) / library.LIBRARY.name
        failed = runpy.run_path(str(ROOT / "hatch_build.py"))["compile_to"](library.LIBRARY, library.FOLDER)
        library.functions.cache_clear()
        if failed or library.functions() is None:  # asked here: what is loaded needs no file any more
            sys.exit(f"no loops by {compiler}: {failed or library.state()}")


def child(
    switches: Mapping[str, str],
    quick: bool,
    files: str,
    program: Iterable[str] = (sys.executable,),
    only: str = "",
    compiler: str = "",
) -> dict[str, str]:
    """The digests that a process under these switches finds, by row, with loops by this compiler if one is named.
    Raises CalledProcessError if it fails."""
    command = [*program, "-m", "benchmarks.processors", "--child", f"--only={only}"]
    ended = subprocess.run(
        [*command, *(["--quick"] if quick else []), *([f"--cc={compiler}"] if compiler else [])],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **switches},
        input=files,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def first_line(command: Iterable[str]) -> str:
    """The first line that a program says."""
    said = subprocess.run([*command], stdout=subprocess.PIPE, text=True, check=True).stdout
    return said.partition("\n")[0].strip()


def without_paths(command: str) -> str:
    """A command, its programs by their names alone."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in shlex.split(command))


def columns(options: argparse.Namespace) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What each child found, by its column's name, and what is to be told of each."""
    files = json.dumps(files_to_decode())
    start = (sys.executable,)
    far: dict[str, tuple[tuple[str, ...], str]] = {}  # emulated: a command, and a compiler of loops
    told = [
        f"- {name}: {' '.join(f'`{k}={v}`' for k, v in env.items()) or 'no switch'}" for name, env in SWITCHES.items()
    ]
    for compiler in options.cc:
        version = first_line([*shlex.split(compiler), "--version"])
        told.append(f"- {without_paths(compiler)}: compiled loops by it, {version}")
    if options.qemu:
        far |= {name: ((options.qemu, "-cpu", cpu, *start), "") for name, cpu in EMULATED.items()}
        told += [f"- {name}: `qemu-x86_64 -cpu {cpu}`, small pictures" for name, cpu in EMULATED.items()]
    if options.python:
        other = tuple(shlex.split(options.python))
        kind = first_line([*other, "-c", "import platform; print(platform.machine())"])
        far[f"{kind} without loops"] = (("env", "PATINA_COMPILED=0", *other), "")
        told.append(f"- {kind} without loops: a Python for it, and NumPy's way; small pictures")
        if options.python_cc:
            far[f"{kind} with loops"] = (other, options.python_cc)
            version = first_line([*shlex.split(options.python_cc), "--version"])
            told.append(f"- {kind} with loops: by `{without_paths(options.python_cc)}`, {version}; small pictures")
    with ThreadPoolExecutor((os.cpu_count() or 1) + len(far)) as pool:
        # Emulation takes twenty times as long: nothing waits for it, and it has the small pictures alone.
        emulated = {
            name: pool.submit(child, {}, True, files, command, options.only, compiler)
            for name, (command, compiler) in far.items()
        }
        small = pool.submit(child, {}, True, files, start, options.only)
        asked = {
            name: pool.submit(child, env, options.quick, files, start, options.only) for name, env in SWITCHES.items()
        }
        asked |= {
            without_paths(compiler): pool.submit(child, {}, options.quick, files, start, options.only, compiler)
            for compiler in options.cc
        }
    found = {name: future.result() for name, future in asked.items()}
    first = next(iter(found.values()))
    for name, future in emulated.items():
        there, here = future.result(), small.result()
        found[name] = {row: first[row] if there.get(row) == here[row] else "" for row in first}
    return found, told


def main() -> None:
    """Print the table; with --save, keep it beside this file. Ends with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small pictures alone")
    parser.add_argument("--qemu", default="")
    parser.add_argument("--cc", action="append", default=[])
    parser.add_argument("--python", default="")
    parser.add_argument("--python-cc", default="")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        cv2.setNumThreads(1)
        for compiler in options.cc:
            compiled_by(compiler)
        print(json.dumps(rows(options.quick, options.only)))
        return
    found, told = columns(options)
    first = next(iter(found.values()))
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    equal = True
    for row, digest in first.items():
        cells = ["=" if digests.get(row) == digest else "**differs**" for digests in found.values()]
        cells[0] = f"`{digest}`"
        equal &= "**differs**" not in cells
        lines.append(f"| {row} | {' | '.join(cells)} |")
    on = f"On {machine()}, {platform.machine()}."
    made = f"Made by `python -m benchmarks.processors {shlex.join(map(without_paths, sys.argv[1:]))}`."
    text = "\n".join([*lines, "", "All equal." if equal else "Not all equal.", "", *told, "", on, "", made])
    publish("Instruction sets: what gives the same bytes", text, "processors" if options.save else None)
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
