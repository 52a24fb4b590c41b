#!/usr/bin/env bash
# prefect 3.8.8, Python 3.11, Linux: what a process forks after it has run a flow.
# A flow run in one's own process starts Prefect's event loop on a thread, and registers with `threading` a function that
# waits for it when the interpreter ends. A forked child has that function and not the thread: its work is done and
# printed, then the function fails while the child ends, without a traceback, and the exit status is 1. Whoever looks at exit
# statuses takes it for a crash: PyTorch's DataLoader, whose workers are forked on Linux, raises "DataLoader worker (pid N)
# exited unexpectedly with exit code 1" now and then, when it hears of a worker's end before it has counted it as done.
# Seen on 2026-11-29: exit statuses 0 before the flow, 1 1 1 after it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check prefect==3.8.8 'fastapi<0.151' 'sqlalchemy<2.1'
cat > forks.py <<'P'
import multiprocessing

from prefect import flow, task


@task
def one() -> int:
    return 1


@flow
def work() -> int:
    return one()


def forked() -> int:
    child = multiprocessing.get_context("fork").Process(target=print, args=("the child's work is done",))
    child.start()
    child.join()
    return child.exitcode


before = forked()
work()
print("before:", before, "after:", *(forked() for _ in range(3)))
P
export PREFECT_HOME="$folder/home" PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120 PREFECT_LOGGING_LEVEL=ERROR DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
env/bin/python forks.py > said; cat said
[ "$(grep -c "the child's work is done" said)" = 4 ] || { echo "changed: a child does not do its work"; exit 1; }
grep -q "before: 0 after: 1 1 1" said || { echo "changed: children end otherwise"; exit 1; }
