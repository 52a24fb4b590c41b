#!/usr/bin/env bash
# torch 2.13.0, Python 3.11: `python -P -m torch.distributed.run … -m MODULE`.
# -P keeps the current folder off sys.path. torch.distributed.run starts its processes as `python -u -m MODULE`, without the
# flag, so that a file random.py in the current folder stands before the standard library's in each of them, though not
# in the launcher itself. PYTHONSAFEPATH=1 in the environment is inherited, and keeps it off in both.
# Seen on 2026-11-28: with -P alone the process imports ./random.py; with PYTHONSAFEPATH=1 the standard library's.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
mkdir lib here
cat > lib/job.py <<'P'
import random
print("imported", "HERE" if hasattr(random, "mine") else "STANDARD", flush=True)
P
cd here
run() { PYTHONPATH="$folder/lib" OMP_NUM_THREADS=1 "$folder/env/bin/python" -P -m torch.distributed.run --standalone --nproc_per_node 1 -m job 2>&1; }
cat > random.py <<'P'
mine = True
P
flag=$(run | grep -o 'imported [A-Z]*' || true)
safe=$(PYTHONSAFEPATH=1 run | grep -o 'imported [A-Z]*' || true)
echo "-P alone: $flag; with PYTHONSAFEPATH=1: $safe"
[ "$flag" = "imported HERE" ] || { echo "changed: -P is handed on"; exit 1; }
[ "$safe" = "imported STANDARD" ] || { echo "changed: PYTHONSAFEPATH is not enough"; exit 1; }
