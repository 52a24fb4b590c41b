"""open_clip's own training loader, by the command that the dataset's card prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

from common import LQ, Check, run

LISTENER = Path(__file__).with_name("open_clip_listener.py")


def command(check: Check) -> list[str]:
    """The command of the card, with its folder in the place of FOLDER."""
    card = (check.dataset / "README.md").read_text()
    found = re.search(r"^python -m open_clip_train\.main(?:.*\\\n)*.*$", card, re.MULTILINE)
    assert found, "the card prints no command"
    return shlex.split(found[0].replace("\\\n", " ").replace("FOLDER", str(check.dataset)))


def main(check: Check) -> None:
    words = command(check)
    # An epoch of small batches in one process, so that it ends soon and every sample comes once.
    short = ["--epochs", "1", "--batch-size", "1", "--workers", "1", "--logs", str(check.scratch / "logs")]
    heard = check.scratch / "heard.jsonl"
    start = [sys.executable, str(LISTENER), *words[3:], *short]
    done = subprocess.run(start, capture_output=True, check=False, text=True, env={**os.environ, "HEARD": str(heard)})
    if done.returncode:
        errors = re.findall(r"^\w*Error\b.*$", done.stderr, re.MULTILINE) or ["no error"]
        if errors[-1] != "KeyError: 'fname'":
            raise RuntimeError(errors[-1])
        check.mind(
            f"the command of the card ends in `{errors[-1]}`: open_clip 3.3 takes the mark that webdataset 1.0 sets "
            "behind each shard for a sample; install `webdataset==0.2.86` beside it"
        )
        return
    compare(check, words, [json.loads(line) for line in heard.read_text().splitlines()])


def compare(check: Check, words: list[str], heard: list[list]) -> None:
    """Each image that was trained on came with the caption of its own sample, and each sample came once."""
    import open_clip
    from open_clip.transform import image_transform
    from open_clip_listener import told
    from PIL import Image

    pattern = words[words.index("--train-data") + 1]
    from braceexpand import braceexpand

    shards = {Path(path).name for path in braceexpand(pattern)}
    chosen = {key: sample for key, sample in check.samples.items() if sample["shard"] in shards}
    preprocess = image_transform(224, is_train=False)
    tokens = open_clip.get_tokenizer("ViT-B-32")
    known: dict[str, str] = {}
    folder = check.scratch / "files"
    folder.mkdir()
    for shard in sorted(shards):
        subprocess.run(["tar", "-xf", str(check.dataset / "shards" / shard), "-C", str(folder)], check=True)
    for key, sample in chosen.items():
        name = next(name for name in LQ if name in sample["members"])
        image = preprocess(Image.open(folder / f"{key}.{name}"))
        known[json.dumps(told(image, tokens([sample["caption"]])[0]))] = key
    counts = Counter(known.get(json.dumps(one), "?") for one in heard)
    entries = {sample["entry"] for sample in chosen.values()}
    once = sorted(counts) == sorted(chosen) and set(counts.values()) == {1}
    told_of = f"{len(heard)} pairs of {len(entries)} degradations, each once"
    what = f"the command of the card starts its training, whose loader gives {told_of}"
    check.expect(once, what if once else f"{len(heard)} heard, {counts['?']} unknown, {len(counts)} of {len(chosen)}")
    if f"--train-num-samples {len(chosen)}" not in " ".join(words):
        check.wrong.append(f"the command names another number than {len(chosen)}")


run(main, "open_clip_torch", "webdataset", "torch")
