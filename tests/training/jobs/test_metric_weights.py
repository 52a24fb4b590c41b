"""Weights of LPIPS and FID as files: which are taken, and that they decide whether an evaluation is one of before."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from patina.training.jobs.evaluation import Options, fingerprint_of
from tests.training.running import stage

BEFORE = asdict(Options())


def test_what_is_measured_by() -> None:
    assert (Options().weights_of("lpips"), Options(fid=False).weights_of("fid")) == (True, False)
    given = Options(lpips_weights="alex.pth", fid_weights="inception.pth", fid=False)
    assert (given.weights_of("lpips"), given.weights_of("fid")) == (Path("alex.pth"), False)


@pytest.mark.parametrize("name", ["lpips_weights", "fid_weights"])
def test_an_evaluation_by_other_weights_is_another(tmp_path: Path, name: str) -> None:
    for file, held in (("a.pth", b"a"), ("again.pth", b"a"), ("b.pth", b"b")):
        (tmp_path / file).write_bytes(held)

    def of(file: str) -> str:
        options = Options(**{name: str(tmp_path / file)}) if file else Options()  # type: ignore[arg-type]
        return fingerprint_of(stage("irsde"), "m", "d", options)

    assert of("a.pth") == of("again.pth") != of("b.pth")
    assert len({of("a.pth"), of("b.pth"), of("")}) == 3
    undecided = {"cpu", "lpips_weights", "fid_weights", "metrics", "precision"}
    assert set(Options().deciding(stage("irsde"))) == set(BEFORE) - undecided


def test_an_evaluation_in_bfloat16_is_another_and_one_of_before_there_was_any_stays_current() -> None:
    low = Options(precision="bf16")
    restorer, namer = stage("irsde"), stage("controller")
    assert low.deciding(restorer) == {**Options().deciding(restorer), "precision": "bf16"}
    assert low.deciding(namer) == Options().deciding(namer)  # its CLIP computes in float32 whatever is asked for
