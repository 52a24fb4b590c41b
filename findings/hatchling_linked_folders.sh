#!/usr/bin/env bash
# hatchling 1.33.0 (and build 1.3.0), Python 3.11: symbolic links to folders inside a package.
# A package `face/` holds links to two folders that lie beside it. A wheel that is built from the checkout holds both as
# real folders inside `face/`. The sdist follows links as well, but takes each folder once, under the name that it meets
# first: for `alpha`, which comes before `face`, the one beside the package. `face/alpha` is missing in the sdist, and so in
# a wheel that is built from it; `omega`, which comes after `face`, is there.
# Nothing is said about it; an installation from the sdist lacks a part of the package.
# Seen on 2026-11-28: 3 Python files below face/ in the wheel from the checkout, 2 in the sdist and in the wheel from it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check hatchling==1.33.0 build==1.3.0
mkdir -p project/face project/alpha project/omega; cd project
echo 'x = 1' > face/__init__.py; echo 'y = 2' > alpha/__init__.py; echo 'z = 3' > omega/__init__.py
ln -s ../alpha face/alpha; ln -s ../omega face/omega
cat > pyproject.toml <<'T'
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "face"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["face"]
T
count() { grep -cE '(^|/)face/.*__init__\.py$' || true; }
../env/bin/python -m build --no-isolation --wheel --outdir ../checkout . > /dev/null 2>&1
../env/bin/python -m build --no-isolation --sdist --outdir ../sdist . > /dev/null 2>&1
tar -xzf ../sdist/face-1.tar.gz -C ..
cd ../face-1; ../env/bin/python -m build --no-isolation --wheel --outdir ../again . > /dev/null 2>&1; cd ..
direct=$(env/bin/python -m zipfile -l checkout/face-1-*.whl | awk '{print $1}' | count)
packed=$(tar -tzf sdist/face-1.tar.gz | count)
again=$(env/bin/python -m zipfile -l again/face-1-*.whl | awk '{print $1}' | count)
echo "Python files below face/: wheel from the checkout $direct, sdist $packed, wheel from the sdist $again"
tar -tzf sdist/face-1.tar.gz
[ "$direct" = 3 ] || { echo "changed: the wheel from the checkout has $direct of 3"; exit 1; }
[ "$again" -lt 3 ] || { echo "changed: the wheel from the sdist is whole"; exit 1; }
