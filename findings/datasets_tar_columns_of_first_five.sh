#!/usr/bin/env bash
# datasets 5.2.0, Python 3.11: what `load_dataset("webdataset", …)` makes of tars in which some photographs are PNG and
# others JPEG, as a download of pictures from many places is.
# The builder looks at the first five samples of a tar and takes their members as the columns of all. A sample behind
# them that has other members gets None in the column, and its own member is left out: no error, no warning, the row is
# there. Where the first five differ among themselves, it refuses the tar instead. With `features=` that name both columns
# every row has its picture.
# Seen on 2026-11-29: of 8 samples, 6 .jpg and then 2 .png, `jpg` is None in 2 rows and `png` is no column.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
cat > ask.py <<'P'
import io, sys, tarfile
import datasets
from PIL import Image

datasets.disable_progress_bars()

def tar(path, kinds):
    with tarfile.open(path, "w") as file:
        for i, kind in enumerate(kinds):
            body = io.BytesIO()
            Image.new("RGB", (32, 24), (20 * i, 90, 60)).save(body, {"jpg": "JPEG", "png": "PNG"}[kind])
            for name, data in ((f"{i:03d}.{kind}", body.getvalue()), (f"{i:03d}.txt", f"photograph {i}".encode())):
                info = tarfile.TarInfo(name); info.size = len(data); file.addfile(info, io.BytesIO(data))

def read(path, **how):
    return datasets.load_dataset("webdataset", data_files=path, split="train", cache_dir=f"cache-{path}-{len(how)}", **how)

tar("late.tar", ["jpg"] * 6 + ["png"] * 2)
rows = read("late.tar")
print("rows", len(rows), "columns", sorted(c for c in rows.column_names if not c.startswith("__")),
      "rows without a picture", sum(row["jpg"] is None for row in rows))
assert len(rows) == 8 and "png" not in rows.column_names and sum(row["jpg"] is None for row in rows) == 2, "changed"
tar("early.tar", ["jpg", "png"] * 4)
try:
    read("early.tar")
except Exception as error:
    print("early:", type(error).__name__, str(error.__cause__ or error).splitlines()[0][:100])
else:
    sys.exit("changed: tars that differ early are read")
both = datasets.Features({name: datasets.Image() for name in ("jpg", "png")} | {"txt": datasets.Value("string")})
rows = read("late.tar", features=both)
print("with features, rows without a picture", sum(row["jpg"] is None and row["png"] is None for row in rows))
assert all((row["jpg"] is None) != (row["png"] is None) for row in rows), "changed: features do not help"
P
env/bin/python ask.py
