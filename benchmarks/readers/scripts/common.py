"""What the readers' scripts share. It runs in their environments: it imports no patina, and only what each has.

A script is called with the dataset's folder, the exports' folder, truth.json and an empty folder, reads as a stranger
would, and compares with truth.json through `Check`. Its last line of output is a JSON object for the table.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

LQ, GT = ("png", "jpg"), ("gt.png", "gt.jpg")


def values_digest(values) -> str:
    """The digest of an array's shape, type and values, as truth.json has it."""
    import numpy

    values = numpy.ascontiguousarray(values)
    if values.dtype.itemsize > 1:
        values = values.astype(numpy.uint16)
    return hashlib.sha256(repr((values.shape, str(values.dtype))).encode() + values.tobytes()).hexdigest()


def bytes_digest(data) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(bytes(data)).hexdigest()


def decoded(data: bytes):
    """The values of an image file: H×W×3 of 8 bits, or a map H×W of 8 or 16."""
    import numpy
    from PIL import Image

    return numpy.asarray(Image.open(io.BytesIO(data)))


class Check:
    """Compares what a reader gave with what patina's tables and members say, and gathers what was shown."""

    def __init__(self, *packages: str) -> None:
        self.dataset, self.exports, truth, self.scratch = map(Path, sys.argv[1:5])
        body = json.loads(truth.read_text())
        self.samples = {sample["key"]: sample for sample in body["samples"]}
        self.shards = body["shards"]
        self.versions = {name: version(name) for name in packages}
        self.shown: list[str] = []
        self.minds: list[str] = []
        self.wrong: list[str] = []

    def of(self, split: str = "", entry: str = "") -> dict[str, dict]:
        """The samples of a split and an entry, by key; empty: of all."""
        return {
            key: sample
            for key, sample in self.samples.items()
            if split in {"", sample["split"]} and entry in {"", sample["entry"]}
        }

    def tars(self, split: str = "*") -> list[str]:
        """The shards as they are, sorted by name."""
        return sorted(str(path) for path in (self.dataset / "shards").glob(f"{split}-*.tar"))

    def kinds(self, split: str) -> dict[str, list[str]]:
        """The shards of a split by what their names end in, behind split and bucket: samples are alike in each."""
        found: dict[str, list[str]] = {}
        for path in self.tars(split):
            found.setdefault(Path(path).name.split("-", 2)[2], []).append(path)
        return found

    def in_shards(self, paths: list[str]) -> dict[str, dict]:
        """The samples of some shards, by key."""
        names = {Path(path).name for path in paths}
        return {key: sample for key, sample in self.samples.items() if sample["shard"] in names}

    def expect(self, truth: bool, what: str) -> None:
        """Note `what` as shown, or as wrong."""
        (self.shown if truth else self.wrong).append(what)

    def keys(self, found: list[str], expected: dict[str, dict], what: str) -> None:
        """Every sample once, none besides."""
        once = sorted(found) == sorted(expected)
        self.expect(
            once, f"{what}: {len(found)} samples, each once" if once else f"{what}: {_difference(found, expected)}"
        )

    def samples_equal(self, found: list[dict], expected: dict[str, dict], what: str) -> None:
        """Every sample once, each with its own caption and images.

        found  dictionaries with `key`, `caption` and `members`: extension to bytes, or to an array of values.
        """
        self.keys([sample["key"] for sample in found], expected, what)
        bad = [key for key in map(self._fault, found) if key]
        maps = sum(len(expected[s["key"]]["members"]) - 2 for s in found if s["key"] in expected)
        self.expect(not bad, f"their pairs, captions and {maps} maps" if not bad else f"{what}: {bad[:3]}")

    def _fault(self, sample: dict) -> str:
        truth = self.samples.get(sample["key"])
        if truth is None:
            return f"{sample['key']} is no key"
        if sample["caption"] != truth["caption"]:
            return f"{sample['key']} has another caption"
        members = {name: body for name, body in sample["members"].items() if name not in {"txt", "json"}}
        if members.keys() != truth["members"].keys():
            return f"{sample['key']} has {sorted(members)}"
        for name, body in members.items():
            raw = isinstance(body, bytes | bytearray | memoryview)
            digest = bytes_digest(body) if raw else values_digest(body)
            if digest != truth["members"][name]["bytes" if raw else "values"]:
                return f"{sample['key']} has another {name}"
        return ""

    def mind(self, text: str) -> None:
        """Note what surprises, and what to do about it."""
        self.minds.append(text)

    def refuses(self, what: str, call: Callable[[], object]) -> None:
        """Note what does not work, in the reader's own words."""
        try:
            call()
        except Exception as error:  # whatever the library raises is what is told
            words = " ".join(str(error).split())[:160]
            self.minds.append(f"{what}: `{type(error).__name__}: {words}`")
        else:
            self.wrong.append(f"{what} works now")


def _difference(found: list[str], expected: dict[str, dict]) -> str:
    lost, strange = expected.keys() - set(found), set(found) - expected.keys()
    return f"{len(found)} samples, {len(found) - len(set(found))} twice, {len(lost)} lost, {len(strange)} unknown"


def run(main: Callable[[Check], None], *packages: str) -> None:
    """Run a script's `main`, and print its result as the last line."""
    check = Check(*packages)
    try:
        main(check)
    except Exception as error:  # told in the table, and with its lines on stderr
        traceback.print_exc()
        check.wrong.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    print(
        "\n" + json.dumps({"versions": check.versions, "shown": check.shown, "mind": check.minds, "wrong": check.wrong})
    )
