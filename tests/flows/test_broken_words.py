"""What is typed behind -p and --out as it comes broken: it is taken, or one line says what and where."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from patina.flows.cli.user_errors import is_for_the_user
from patina.flows.deployments import OFFERS
from patina.flows.errors import RunError
from patina.flows.parameters import read_parameters, split_words
from patina.flows.starting import as_seen_from_anywhere
from patina.pipeline.export.remote_output import dataset_folder_of, expect_no_secret, expect_writable, mirror_of
from patina.pipeline.progress import Silent
from patina.pipeline.sources import locations
from tests.fuzzing import expect_one_line, mutations


def test_broken_parameters() -> None:
    schema = OFFERS[0].flow.parameters.model_dump_for_openapi()
    held = dict.fromkeys(schema["required"], "x")
    read = 0
    for seed, word in enumerate((b"workers=4", b'devices=["cuda:0"]', b"recipe=mine.toml", b"out=s3://bucket/x")):
        for data in mutations(word, 100, seed):
            try:
                found = as_seen_from_anywhere(read_parameters("d", split_words([os.fsdecode(data)]), schema, held))
            except RunError as error:
                expect_one_line(error, "--param", "d: ", "d has no parameter")
                continue
            read += 1
            assert len(found) == 1
            json.dumps(found)
    assert 20 < read < 400


@pytest.mark.parametrize(
    "address",
    [b"memory://bucket/out", b"file:///tmp/x", b"http://127.0.0.1:9/out", b"nosuch://bucket/x", b"zip://a::b"],
)
def test_broken_output_addresses(address: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Callable[[str], object]]
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locations, "PAUSES", ())
    monkeypatch.chdir(tmp_path)
    for data in mutations(address, 80, len(address)):
        out = os.fsdecode(data)
        asked = [expect_no_secret, mirror_of, locations.place, locations.base_name]
        if out.startswith("nosuch://"):  # the others would be asked, or written to
            asked += [expect_writable, lambda place: dataset_folder_of(place, Silent())]
        for ask in asked:
            try:
                ask(out)
            except Exception as error:
                assert is_for_the_user(error), repr(error)
                expect_one_line(error, out.partition("://")[0][:20], "cannot", "reader")
