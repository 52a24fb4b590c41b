#!/usr/bin/env bash
# Prefect 3.8.8, Python 3.11: a slot of a global concurrency limit, whose holder and whose server are killed and the server
# is started again. The server keeps leases in memory unless told otherwise, and the count of slots in its database: after a
# restart it knows of no lease that could run out, and the slot stays taken: whoever asks for one waits without end.
# With PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem it is free once the
# lease, of 60 s here, is over.
# Seen on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d); server=; holder=; trap 'kill -9 $server $holder 2>/dev/null || true; rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
py=env/bin/python
$py -m pip install --quiet --disable-pip-version-check prefect==3.8.8 'fastapi<0.151' 'sqlalchemy<2.1'
port=$($py -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
serve() {
  $py -m prefect server start --host 127.0.0.1 --port "$port" --no-ui >>server.log 2>&1 & server=$!
  for _ in $(seq 240); do $py -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health')" 2>/dev/null && return; sleep 1; done
}
taken() { $py -c "
import json, urllib.request
print(json.load(urllib.request.urlopen('$PREFECT_API_URL/v2/concurrency_limits/one'))['active_slots'])"; }
cat > hold.py <<'P'
import time
from prefect.concurrency.sync import concurrency

with concurrency("one", occupy=1, lease_duration=60, strict=True):
    print("held", flush=True)
    time.sleep(600)
P
for storage in memory filesystem; do
  export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.$storage
  serve
  $py -m prefect gcl create one --limit 1 >/dev/null 2>&1 || true
  $py hold.py >held 2>/dev/null & holder=$!
  until grep -q held held; do sleep 0.2; done
  before=$(taken)
  kill -9 $holder $server; wait $holder $server 2>/dev/null || true
  serve
  for _ in $(seq 12); do sleep 15; after=$(taken); [ "${after%.*}" != 0 ] || break; done
  echo "$storage: slots taken while it is held: $before; three minutes after both were killed, at the most: $after" | tee -a said
  kill -9 $server; wait $server 2>/dev/null || true
  rm -rf "$PREFECT_HOME"
done
grep -q "^memory: .*: 1; .*: 1$" said || { echo "changed: a slot comes back without its lease"; exit 1; }
grep -q "^filesystem: .*: 1; .*: 0$" said || { echo "changed: leases on disk do not run out after a restart"; exit 1; }
