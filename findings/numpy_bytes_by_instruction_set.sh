#!/usr/bin/env bash
# numpy 2.4.6, Python 3.11, x86-64 Linux: which functions give another last bit on another processor, with the same wheel.
# NPY_DISABLE_CPU_FEATURES makes NumPy choose its code as on a processor without AVX-512, or without AVX2 and FMA. For float64
# `exp`, `log`, `power`, `tan`, `arctan`, `cbrt` it has code of its own with AVX-512 and goes to the C library elsewhere; for
# float32 `exp`, `log`, `sin`, `cos` it has some for AVX2. `sin` and `cos` of float64 are the same throughout. A product of
# complex numbers is fused where there is FMA. Sums, products, quotients, roots, `add.reduce` and rounding are the same.
# Seen on 2026-11-28 on an Intel with AVX-512, where either list below has something; the first is empty without it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6
cat > ask.py <<'P'
import hashlib
import numpy as np
a = np.random.Generator(np.random.PCG64(1)).random(100_000) * 9 + 0.1
f, c = a.astype(np.float32), a[:50_000] + 1j * a[50_000:]
names = "exp log sin cos tan arctan cbrt log1p expm1 tanh sqrt rint".split()
results = {f"{n} float64": getattr(np, n)(a) for n in names} | {f"{n} float32": getattr(np, n)(f) for n in names}
results |= {"power float64": a**2.4, "power float32": f**np.float32(2.4), "hypot float64": np.hypot(a, a[::-1])}
results |= {"product complex128": c * c[::-1], "sum float64": np.add.reduce(a), "product float64": a * a[::-1] + a}
for name, result in results.items():
    print(name, hashlib.sha256(np.asarray(result).tobytes()).hexdigest()[:8], sep="\t")
P
env/bin/python ask.py > plain
NPY_DISABLE_CPU_FEATURES="AVX512_SPR AVX512_ICL X86_V4" env/bin/python -W ignore ask.py > avx2
NPY_DISABLE_CPU_FEATURES="AVX512_SPR AVX512_ICL X86_V4 X86_V3" env/bin/python -W ignore ask.py > sse
differs() { join -t "$(printf '\t')" <(sort plain) <(sort "$1") | awk -F '\t' '$2 != $3 { print $1 }' | paste -sd , -; }
echo "without AVX-512: $(differs avx2)"; echo "without AVX2: $(differs sse)"
differs sse | grep -q "exp float32" || { echo "changed: exp is the same without AVX2"; exit 1; }
if differs sse | grep -q "sqrt\|rint\|sum\|product float64"; then echo "changed: exact operations differ"; exit 1; fi
