"""Every command of docs/tutorial.md, in its order, in one shell, and what the page says that they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"```(bash|text)\n(.*?)```", PAGE, re.S)
SHORTER = (
    "sed -i.bak 's/^max_images = .*/max_images = 8/; s/^save_every = .*/save_every = 8/; s/^every = .*/every = 8/; "
    "s/^samples = .*/samples = 1/; s/^side = .*/side = 64/; s/^batch = .*/batch = 4/; s/^group = .*/group = 0/' "
    "plan/*.toml; rm plan/*.bak\n"
)
"""A training of the page's length takes minutes."""


@pytest.mark.slow
def test_every_command_runs_and_prints_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "patina"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m patina "$@"\n')
    command.chmod(0o755)
    lines = ["set -eu"]
    for i, (kind, text) in enumerate(BLOCKS):
        if kind == "bash":
            lines += [f"echo '=== {i}'", text.replace("--out plan\n", f"--out plan\n{SHORTER}")]
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "OMP_NUM_THREADS": "1",
    }
    script = "\n".join(lines).replace("--side 128", "--side 64 --per-entry 1")
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    parts = dict(re.findall(r"=== (\d+)\n(.*?)(?==== |\Z)", done.stdout, re.S))
    last = ""
    for i, (kind, text) in enumerate(BLOCKS):
        last = parts[str(i)] if kind == "bash" else last
        for line in text.strip().splitlines() if kind == "text" else []:
            wanted = re.sub(r"about [\d.]+ \w+ and \d+ s on \d+ cores?", "ABOUT", line.strip())
            assert wanted in re.sub(r"about [\d.]+ \w+ and [^;\n]+ on \d+ cores?", "ABOUT", last), f"{line!r} in {last}"
    for made in (
        "dataset/gallery.html",
        "diff.html",
        "run/report.html",
        "restored/rocket.jpg",
        "for-daclip/daclip_val.csv",
    ):
        assert (tmp_path / made).exists(), made
