#!/usr/bin/env bash
# Prefect 3.8.8, Python 3.11: `prefect deployment schedule pause`, and `resume`, of a schedule with parameters of its own.
# Both empty the schedule's parameters. Its runs then take the deployment's, so that a schedule which was paused and resumed
# does something else than before, and nothing tells. The request names `active` alone; the server's model of an update has
# `{}` for parameters that are not named, and writes what is not None.
# Seen on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check prefect==3.8.8 'fastapi<0.151' 'sqlalchemy<2.1'
port=$(env/bin/python -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
env/bin/prefect server start --host 127.0.0.1 --port "$port" >server.log 2>&1 & server=$!
for _ in $(seq 240); do env/bin/python -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health')" 2>/dev/null && break; sleep 1; done
cat > hello.py <<'P'
from prefect import flow
from prefect.schedules import Interval

@flow
def hello(name: str = "nobody"):
    print(name)

if __name__ == "__main__":
    hello.to_deployment("hello", schedule=Interval(3600, parameters={"name": "somebody"}, slug="mine")).apply()
P
env/bin/python hello.py
asked() { env/bin/python -c "
import json, urllib.request
schedule, = json.load(urllib.request.urlopen('$PREFECT_API_URL/deployments/name/hello/hello'))['schedules']
print(schedule['$1'] if '$1' == 'id' else json.dumps(schedule['$1']))"; }
before=$(asked parameters)
env/bin/prefect deployment schedule pause hello/hello "$(asked id)"
paused=$(asked parameters)
env/bin/prefect deployment schedule resume hello/hello "$(asked id)"
echo "parameters before: $before; paused: $paused; resumed: $(asked parameters), active: $(asked active)"
[ "$before" = '{"name": "somebody"}' ] || { echo "changed: a schedule does not have its parameters at first"; exit 1; }
[ "$paused" = '{}' ] && [ "$(asked parameters)" = '{}' ] || { echo "changed: a schedule keeps its parameters"; exit 1; }
