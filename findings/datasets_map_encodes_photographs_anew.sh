#!/usr/bin/env bash
# datasets 5.2.0, pillow 13.0.0, Python 3.11: what `map` does to a column of JPEGs whose pictures the function only looks at.
# `map` merges what the function gives with the row that it was handed. A row is decoded where it is read: once the function
# has looked at the picture, the row holds an image without its file, and it is written by `Image.save` with Pillow's
# settings, quality 75 and halved chroma. So `map(lambda row: {"width": row["jpg"].width})` adds a column of widths and
# replaces every photograph by a worse one. No error, no warning, the sizes are the same. A function that does not touch the
# column, `input_columns` that name others, `filter`, and files as bytes (`Image(decode=False)`) leave the photographs alone.
# For whoever builds datasets: measuring or captioning photographs by `map` makes their truth a second-generation JPEG.
# Seen on 2026-11-29: a file of 88,955 bytes at quality 95 becomes one of 16,200, with differences of up to 163 levels.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cat > ask.py <<'P'
import io
import datasets
import numpy as np
from PIL import Image

datasets.disable_progress_bars()
y, x = np.mgrid[:240, :320]
waves = np.stack([127 + 90 * np.sin(x / 9 + y / 23), 127 + 90 * np.cos(x / 31 - y / 7), (x * 3 + y * 5) % 256], -1)
picture = np.clip(waves + np.random.Generator(np.random.PCG64(1)).normal(0, 8, waves.shape), 0, 255).astype(np.uint8)
file = io.BytesIO()
Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)
columns = datasets.Features({"jpg": datasets.Image(), "txt": datasets.Value("string")})
rows = datasets.Dataset.from_dict({"jpg": [{"bytes": file.getvalue(), "path": None}], "txt": ["waves"]}, features=columns)


def levels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def stored(made):
    return made.cast_column("jpg", datasets.Image(decode=False))[0]["jpg"]["bytes"]


made = {
    "does not look": rows.map(lambda row: {"letters": len(row["txt"])}),
    "is given the text alone": rows.map(lambda text: {"letters": len(text)}, input_columns=["txt"]),
    "looks": rows.map(lambda row: {"width": row["jpg"].width}),
    "looks, files as bytes": rows.cast_column("jpg", datasets.Image(decode=False)).map(
        lambda row: {"width": Image.open(io.BytesIO(row["jpg"]["bytes"])).width}
    ),
    "filter that looks": rows.filter(lambda row: row["jpg"].width > 0),
}
same = {}
for name, result in made.items():
    data = stored(result)
    same[name] = data == file.getvalue()
    apart = abs(levels(data) - levels(file.getvalue())).max()
    print(f"{name}: {len(file.getvalue())} bytes became {len(data)}, {apart} levels apart at the most")
assert same == {name: name != "looks" for name in made}, "changed"
plain = io.BytesIO()
Image.open(io.BytesIO(file.getvalue())).save(plain, "JPEG")
assert stored(made["looks"]) == plain.getvalue(), "changed: it is not Pillow's JPEG of quality 75"
P
env/bin/python ask.py
