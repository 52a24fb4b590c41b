#!/usr/bin/env bash
# isal 1.9.1 (ISA-L's deflate for Python), Python 3.11, beside the standard library's zlib.
# A compressor that gets the same data in other pieces gives other bytes: each call of `compress` looks at what it was given
# and no further, so that blocks and matches end there. Small pieces also cost size: a ramp's stream in pieces of 1,000 bytes
# is half as large again. zlib gives the same bytes for any pieces. So a file that is written row by row, or as it arrives,
# has a digest that depends on the size of a buffer; a file format that promises bytes must fix its pieces.
# Seen on 2026-11-29: 28856, 29328, 35278 and 43695 bytes by isal, one size by zlib. All of them inflate to the data.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check isal==1.9.1
cat > ask.py <<'P'
import zlib
from isal import isal_zlib
data = bytes(i // 37 % 251 for i in range(1 << 20))
def packed(library, piece):
    deflate = library.compressobj(1)
    return b"".join(deflate.compress(data[i : i + piece]) for i in range(0, len(data), piece)) + deflate.flush()
pieces = (1 << 20, 65536, 10000, 1000)
for name, library in (("isal", isal_zlib), ("zlib", zlib)):
    streams = [packed(library, piece) for piece in pieces]
    assert all(zlib.decompress(stream) == data for stream in streams)
    print(name, len(set(streams)), *map(len, streams))
P
env/bin/python ask.py | tee seen
grep -q "^zlib 1 " seen || { echo "changed: zlib's bytes depend on pieces"; exit 1; }
grep -q "^isal 4 " seen || { echo "changed: isal's bytes do not depend on pieces"; exit 1; }
read -r _ _ whole _ _ small < <(grep "^isal" seen)
[ "$small" -gt $((whole * 5 / 4)) ] || { echo "changed: small pieces cost little: $whole, $small"; exit 1; }
