#!/usr/bin/env bash
# Prefect 3.8.8, Python 3.11: `prefect deploy` of a deployment that is there.
# It unpauses a deployment that somebody paused, creates its triggers anew, so that an automation that somebody switched off
# is on again, and deletes every schedule, those with a slug too, where prefect.yaml has one with a slug and the server has
# one without. A deployment without `schedules` in prefect.yaml keeps them all.
# Seen on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check prefect==3.8.8 'fastapi<0.151' 'sqlalchemy<2.1'
port=$(env/bin/python -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
env/bin/prefect server start --host 127.0.0.1 --port "$port" >server.log 2>&1 & server=$!
for _ in $(seq 240); do env/bin/python -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health')" 2>/dev/null && break; sleep 1; done
printf 'from prefect import flow\n\n@flow\ndef hello(name: str = "nobody"):\n    print(name)\n' > hello.py
cat > prefect.yaml <<'Y'
deployments:
- name: with
  entrypoint: hello.py:hello
  work_pool: {name: pool}
  schedules: [{slug: theirs, interval: 3600}]
  triggers: [{name: wake, expect: [somebody.called]}]
- name: without
  entrypoint: hello.py:hello
  work_pool: {name: pool}
Y
env/bin/prefect --no-prompt work-pool create pool --type process >/dev/null
env/bin/prefect --no-prompt deploy --all >/dev/null
cat > ask.py <<'P'
import sys
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate as New
from prefect.client.schemas.schedules import IntervalSchedule as Every

with get_client(sync_client=True) as client:
    there = [client.read_deployment_by_name(f"hello/{name}") for name in ("with", "without")]
    (wake,) = client.read_automations_by_name("wake")
    if sys.argv[1:] == ["change"]:
        for one in there:
            slugs = [None, "mine"] if one.name == "without" else [None]
            client.create_deployment_schedules(one.id, [New(schedule=Every(interval=60), slug=slug) for slug in slugs])
            client.pause_deployment(one.id)
        client.pause_automation(wake.id)
    else:
        slugs = [sorted(str(schedule.slug) for schedule in one.schedules) for one in there]
        print([one.paused for one in there], wake.enabled, *slugs)
P
env/bin/python ask.py change
before=$(env/bin/python ask.py)
env/bin/prefect --no-prompt deploy --all >/dev/null
after=$(env/bin/python ask.py)
echo "paused, trigger on, schedules with and without a section in the file; before: $before; after: $after"
[ "$before" = "[True, True] False ['None', 'theirs'] ['None', 'mine']" ] || { echo "changed: what somebody does to a deployment"; exit 1; }
[ "$after" = "[False, False] True ['theirs'] ['None', 'mine']" ] || { echo "changed: what a deploy leaves as it was"; exit 1; }
