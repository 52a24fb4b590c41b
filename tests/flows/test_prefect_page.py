"""Every command of docs/prefect.md, in its order, in one shell, against a server and a worker of this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "prefect.md").read_text("utf-8")
BLOCKS = re.findall(r"```(bash|text|yaml)\n(.*?)```", PAGE, re.S)

ANSWERS = 'until curl -fs "$PREFECT_API_URL/health" >/dev/null; do sleep 0.5; done\n'
SHORTER = (
    "sed -i 's/^max_images = .*/max_images = 64/; s/^save_every = .*/save_every = 32/; "
    "s/^every = .*/every = 64/; s/^samples = .*/samples = 2/' plan/adapter.toml\n"
)


def script(folder: Path, port: int) -> str:
    """The page's commands. What is said before each block is its number; a training is shortened."""
    lines = ["set -eu", f"cd {folder}"]
    for i, (kind, text) in enumerate(BLOCKS):
        command = text.replace("/tmp/elsewhere", str(folder / "elsewhere")).replace("4200", str(port))
        command = command.replace("server start ", f"server start --host 127.0.0.1 --port {port} ")
        command = command.replace("server.log 2>&1 &\n", f"server.log 2>&1 &\n{ANSWERS}")
        command = command.replace("--out plan\n", f"--out plan\n{SHORTER}")
        if kind == "yaml":
            (folder / f"{i}.yaml").write_text(edited((folder / "prefect.yaml").read_text("utf-8"), text, folder))
            lines += [f"cp {folder}/{i}.yaml {folder}/prefect.yaml"]
        elif kind == "bash":
            lines += [f"echo; echo '=== {i}'", command]
    return "\n".join(lines)


def edited(text: str, block: str, folder: Path) -> str:
    """prefect.yaml with the lines of a block of the page at the deployment `train-end-to-end`."""
    start = text.index("- name: train-end-to-end")
    end = text.index("\n\n", start)
    table = text[start:end]
    if block.startswith("  parameters:"):
        table = re.sub(r"(?m)^  parameters:.*\n", block.replace("/data/plan", f"{folder}/elsewhere/plan"), table)
    else:
        table = f"{table}\n{block.rstrip()}"
    return text[:start] + table + text[end:]


def commands(folder: Path) -> Path:
    """A folder of commands that are run by this Python."""
    folder.mkdir()
    for name in ("patina", "prefect"):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        path.chmod(0o755)
    return folder


def test_every_command_says_what_the_page_says(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "flows").mkdir(parents=True)
    shutil.copy(ROOT / "flows" / "automations.yaml", checkout / "flows")
    shutil.copy(ROOT / "prefect.yaml", checkout)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{commands(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
    }
    shell = subprocess.Popen(
        ["bash", "-c", script(checkout, port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=2400)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    assert shell.returncode == 0, said
    parts = {int(part.partition("\n")[0]): part for part in said.split("\n=== ")[1:]}
    for i, (kind, text) in enumerate(BLOCKS):
        if kind == "text":
            place, part = 0, parts[max(number for number in parts if number < i)]
            for line in text.splitlines():
                assert line in part[place:], (line, part)
                place = part.index(line, place)
    for run in ("run", "dataset-run"):
        assert (checkout / "elsewhere" / run / "adapter" / "model.safetensors").exists()
        assert (checkout / "elsewhere" / run / "report.html").exists()
