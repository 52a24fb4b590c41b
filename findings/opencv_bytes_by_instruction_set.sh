#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, Python 3.11, x86-64: what the same call gives on other processors.
# OpenCV and Intel's IPP inside it choose code by the processor when they are loaded; OPENCV_CPU_DISABLE and OPENCV_IPP make
# them choose as on another one. Of floats, `GaussianBlur`, `filter2D`, `transform`, `remap` and `addWeighted` differ in the
# last bit without AVX2: with it, a product and a sum are rounded once (FMA), without it twice. `exp` and `dft` differ with
# IPP's AVX-512, AVX2 and SSE4.2 code. After rounding to 8 bits a pixel in some ten thousands differs, and so does every
# digest. Nothing is random: whole numbers give the same floats everywhere as long as no product and no sum needs more than
# 24 bits, and products alone are enough for `filter2D`: it adds in one order.
# Seen on 2026-11-28 on an Intel with AVX-512. Needs a processor with AVX2.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > ask.py <<'P'
import hashlib
import cv2, numpy as np
cv2.setNumThreads(1)
a = np.random.Generator(np.random.PCG64(1)).random((200, 300), dtype=np.float32)
whole, kernel = np.rint(a * 4095), np.rint(np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])).astype(np.float32)
short = (a.view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32)  # 12 significant bits
x, y = (np.ascontiguousarray(np.broadcast_to(v, a.shape), np.float32) for v in (np.linspace(3, 250, 300), np.linspace(9, 180, 200)[:, None]))
colours = cv2.merge([a, a[::-1], a[:, ::-1]])
results = {
    "exp": cv2.exp(-a), "dft": cv2.dft(a), "GaussianBlur": cv2.GaussianBlur(a, (0, 0), 1.7),
    "filter2D": cv2.filter2D(a, -1, kernel / 250), "transform": cv2.transform(colours, np.float32([[0.3, 0.6, 0.1]])),
    "remap": cv2.remap(a, x, y, cv2.INTER_LINEAR), "addWeighted": cv2.addWeighted(a, 0.3, a[::-1].copy(), 0.7, 0.1),
    "filter2D of whole numbers": cv2.filter2D(whole, -1, kernel), "filter2D of 12 bits": cv2.filter2D(short, -1, kernel),
}
for name, result in results.items():
    print(name, hashlib.sha256(result.tobytes()).hexdigest()[:8], sep="\t")
P
env/bin/python ask.py > plain
OPENCV_CPU_DISABLE=AVX512-SKX,AVX2,FP16 env/bin/python ask.py > no_avx2
OPENCV_IPP=sse42 env/bin/python ask.py > sse42 2> /dev/null
differs() { join -t "$(printf '\t')" <(sort plain) <(sort "$1") | awk -F '\t' '$2 != $3 { print $1 }' | paste -sd , -; }
echo "without AVX2: $(differs no_avx2)"; echo "IPP as on SSE4.2: $(differs sse42)"
[ -n "$(differs no_avx2)" ] || { echo "changed: all the same without AVX2"; exit 1; }
differs no_avx2 | grep -q GaussianBlur || { echo "changed: GaussianBlur is the same without AVX2"; exit 1; }
if differs no_avx2 | grep -q "whole numbers\|12 bits"; then echo "changed: exact sums differ"; exit 1; fi
