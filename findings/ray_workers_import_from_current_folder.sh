#!/usr/bin/env bash
# ray 2.60.0, Python 3.11: what a local cluster's workers import.
# The driver is started with -P and PYTHONSAFEPATH=1, so that its own sys.path does not hold the current folder. ray.init()
# hands the driver's current folder to its workers, which put it first: a file helper.py that lies there is imported by a
# task, and stands before a module of that name on PYTHONPATH, which the driver imports. There is no option against it.
# Seen on 2026-11-28: the driver imports lib/helper.py, its task ./helper.py.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check ray==2.60.0
mkdir lib here
echo 'where = "LIBRARY"' > lib/helper.py
echo 'where = "CURRENT FOLDER"' > here/helper.py
cat > lib/driver.py <<'P'
import helper, ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")

@ray.remote
def imported():
    import helper
    return helper.where

print(f"driver: {helper.where}; task: {ray.get(imported.remote())}")
P
cd here
said=$(PYTHONSAFEPATH=1 PYTHONPATH="$folder/lib" RAY_USAGE_STATS_ENABLED=0 "$folder/env/bin/python" -P "$folder/lib/driver.py" 2>/dev/null | grep '^driver')
echo "$said"
[ "$said" = "driver: LIBRARY; task: CURRENT FOLDER" ] || { echo "changed"; exit 1; }
