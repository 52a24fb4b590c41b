#!/usr/bin/env bash
# fsspec 2026.9.0, Python 3.11: `LocalFileSystem.glob` where a folder is a symbolic link.
# `shards/*.tar` enters the linked folder `shards`; `*/*.tar`, which the shell, glob.glob and pathlib expand to the same
# file, gives nothing: a pattern with a wildcard before its last part is matched against a walk, and a walk enters no links.
# datasets finds its data files this way, so that `data_files="*/*.tar"` fails where "shards/*.tar" works.
# Seen on 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check fsspec==2026.9.0
mkdir -p elsewhere out; echo 1 > elsewhere/a.tar; ln -s ../elsewhere out/shards
globbed() { env/bin/python -c "import fsspec, os, sys; print(*[os.path.relpath(p, 'out') for p in fsspec.filesystem('file').glob('out/$1')])"; }
named=$(globbed 'shards/*.tar'); wild=$(globbed '*/*.tar')
standard=$(env/bin/python -c "import glob; print(*glob.glob('*/*.tar', root_dir='out'))")
echo "shards/*.tar: '$named'; */*.tar: '$wild'; glob.glob of */*.tar: '$standard'"
[ "$named" = "shards/a.tar" ] && [ "$standard" = "shards/a.tar" ] || { echo "changed: a linked folder is not entered by its name"; exit 1; }
[ -z "$wild" ] || { echo "changed: a linked folder is entered by a pattern"; exit 1; }
