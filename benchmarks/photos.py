"""Photographs to time with: 768×512 crops of those inside scikit-image and scikit-learn, as JPEGs of quality 95."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from patina.synth.compiled import functions

SIZE = (768, 512)


def lay_out(folder: Path, count: int) -> list[Path]:
    """`count` different JPEG files below `folder`; 140 KB each on average, as photographs of this size are."""
    import skimage.data
    import sklearn.datasets

    images = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket(), skimage.data.chelsea()]
    images += sklearn.datasets.load_sample_images().images
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.Generator(np.random.PCG64(1))
    paths = []
    for i in range(count):
        image = images[i % len(images)]
        scale = max(SIZE[0] / image.shape[1], SIZE[1] / image.shape[0]) * (1 + 0.07 * (i // len(images)))
        large = cv2.resize(image, None, fx=scale + 0.01, fy=scale + 0.01, interpolation=cv2.INTER_CUBIC)
        crop = large[: SIZE[1], : SIZE[0]] + noise.normal(0, 2, (SIZE[1], SIZE[0], 3))  # upscaling leaves no grain
        paths.append(folder / f"photo-{i:03d}.jpg")
        cv2.imwrite(
            str(paths[-1]), np.clip(np.rint(crop), 0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
    return paths


def build_dataset(
    folder: Path, tables: str, sources: str = "[[sources]]\npath = 'photos'\n", name: str = "timed"
) -> Path:
    """Build FOLDER/NAME from the photographs in FOLDER/photos, or in `sources`, with these tables of degradations."""
    from patina.pipeline.builder.build import build
    from patina.pipeline.recipe.parse import load_recipe

    recipe = folder / f"{name}.toml"
    head = f"name = '{name}'\nbuckets = {{train = 2, val = 1}}\n"
    recipe.write_text(f"{head}{sources}[captions]\nkind = 'template'\n{tables}", "utf-8")
    build(load_recipe(recipe), folder / name)
    return folder / name


def publish(title: str, text: str, name: str | None) -> None:
    """Print a benchmark's text; given a name, keep it under the title beside this file as NAME.md."""
    print(text)
    if name:
        (Path(__file__).parent / f"{name}.md").write_text(f"# {title}\n\n{text}\n", "utf-8")


def machine() -> str:
    """What it was measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    packages = ", ".join(f"{p} {version(p)}" for p in ("numpy", "opencv-python-headless", "pillow", "isal"))
    cpu = names[0] if names else platform.processor()
    loops = "compiled loops" if functions() else "no compiled loops"
    return f"{cpu}, {len(names)} cores, Python {platform.python_version()}, {packages}, {loops}"
