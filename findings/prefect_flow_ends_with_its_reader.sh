#!/usr/bin/env bash
# prefect 3.8.8, rich 15.0.0, Python 3.11: a flow that logs, and whose output nobody reads any more.
# Prefect's console handler prints by rich. At a broken pipe rich calls Console.on_broken_pipe, which raises SystemExit(1);
# the handler catches Exception alone, so that the next line of the log ends the flow, and its run is Crashed. A worker
# reads its flow runs through a pipe: who kills the worker ends each of its runs that logs, and none that is silent. The
# standard library's StreamHandler, in the same place, prints that it could not print, and the work goes on.
# Seen on 2026-11-29: the flow stops at its first line after the reader is gone, with exit status 1.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check prefect==3.8.8 rich==15.0.0 'fastapi<0.151' 'sqlalchemy<2.1'
cat > work.py <<'P'
import logging, sys, time
from pathlib import Path
from prefect import flow, get_run_logger

@flow
def work(how: str) -> None:
    logging.basicConfig()
    plain = logging.getLogger("plain")
    plain.propagate = True
    print("ready", flush=True)  # the reader leaves at this line
    time.sleep(1)
    for k in range(20):
        time.sleep(0.05)
        if how == "prefect":
            get_run_logger().info("line %d", k)
        elif how == "plain":
            plain.handlers = [logging.StreamHandler(sys.stderr)]
            plain.propagate = False
            plain.warning("line %d", k)
    Path(f"{how}.whole").touch()

work(sys.argv[1])
P
export PREFECT_HOME="$folder/home" PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 DO_NOT_TRACK=1
for how in prefect plain silent; do
  { env/bin/python work.py "$how" 2>&1 || echo "$?" > "$how.status"; } | sed '/^ready/q' > /dev/null || true
  [ -e "$how.whole" ] && echo "$how: whole" || echo "$how: ended in the middle, exit status $(cat "$how.status")"
done
[ -e plain.whole ] && [ -e silent.whole ] || { echo "changed: other flows end too"; exit 1; }
[ ! -e prefect.whole ] || { echo "changed: a flow outlives the reader of its log"; exit 1; }
