"""The equation that a published network was trained with: nothing in its file says so.

    --sde max_sigma=10,T=100,schedule=cosine      what a user knows; remembered beside the file
    FILE.sde.json                                 what was remembered
    ir-sde-derainH100.pth, refusion-….pth, …      what the published names stand for (`EQUATIONS`)
    else                                          DA-CLIP's, and a warning

A network of one equation that is sampled by another gives noise, or leaves the damage: one of max_sigma 10 whose every
estimate is perfect gives 13.8 dB at 50, from an input of 20.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from patina.pipeline.files import write_atomically
from patina.pipeline.text import nearest, shown
from patina.training.diffusion.sde import IRSDE, Schedule
from patina.training.errors import CheckpointError, ModelInputError
from patina.training.stages.stage import Sde

SUFFIX = ".sde.json"
"""After a published file's name: where its equation is remembered."""

KEYS: Mapping[str, str] = {
    "max_sigma": "max_sigma",
    "T": "steps",
    "steps": "steps",
    "schedule": "schedule",
    "eps": "eps",
}
"""Settings of an equation as they are written, `T` as in the papers; and their fields in `Sde`."""

DACLIP, DERAIN, INPAINT = Sde(), Sde(max_sigma=10.0), Sde(max_sigma=30.0)

EQUATIONS: tuple[tuple[str, str, Sde], ...] = (
    ("universal-ir", r"universal[-_]?ir|wild[-_]?ir|daclip", DACLIP),
    ("refusion-denoising", r"refusion.*denois", Sde(max_sigma=70.0, steps=1000)),
    ("refusion", r"refusion", DACLIP),
    ("ir-sde-derain", r"derain", DERAIN),
    ("ir-sde-deblur", r"deblur", DERAIN),
    ("ir-sde-denoise", r"denois", Sde(max_sigma=75.0)),
    ("ir-sde-inpaint", r"inpaint", INPAINT),
    ("ir-sde-sr", r"(^|[^a-z])(sisr|sr)([^a-z]|$)|super[-_]?res", INPAINT),
)
"""Released equations: a name for `--sde`, the file names that it is known by, and the settings of their options."""


def equation_of(path: Path, written: str = "") -> tuple[Sde, str]:
    """The equation of a published file, and what there is to say of it.

    written  settings such as `max_sigma=10,T=100`, or a name of `EQUATIONS`, as a user gives them: they are remembered
             beside the file. Empty: what was remembered, or what the file's name stands for, or DA-CLIP's.

    Raises ModelInputError for settings that make no equation, CheckpointError for a note beside the file that is none.
    """
    beside = path.with_name(path.name + SUFFIX)
    if written:
        sde = parse_equation(written)
        return sde, _remember(beside, sde)
    if beside.is_file():
        return _remembered(beside), ""
    for _, pattern, sde in EQUATIONS:
        if re.search(pattern, path.stem.lower()):
            return sde, ""
    return DACLIP, (
        f"{path.name}: nothing says which equation it was trained with, so {told(DACLIP)} is taken, as DA-CLIP has it; "
        f"IR-SDE's own networks have others: --sde max_sigma=10 for rain and blur, 30 for inpainting and "
        "super-resolution, 70 or 75 for noise"
    )


def parse_equation(written: str) -> Sde:
    """The equation of settings such as `max_sigma=10,T=100,schedule=cosine`, or of a name of `EQUATIONS`.

    Raises ModelInputError.
    """
    for name, _, sde in EQUATIONS:
        if written.strip() == name:
            return sde
    found: dict[str, Any] = {}
    for part in written.split(","):
        key, equals, value = (text.strip() for text in part.partition("="))
        if key not in KEYS or not equals:
            names = ", ".join(name for name, _, _ in EQUATIONS)
            raise ModelInputError(
                f"--sde {written}: {part.strip()!r} is no setting of an equation; {nearest(key, KEYS)}; expected such "
                f"as max_sigma=10,T=100,schedule=cosine,eps=0.005, or one of {names}"
            )
        found[KEYS[key]] = value
    return _made(found, f"--sde {written}")


def told(sde: Sde) -> str:
    """An equation as `--sde` takes it."""
    return f"max_sigma={sde.max_sigma:g},T={sde.steps},schedule={sde.schedule},eps={sde.eps:g}"


def _made(found: Mapping[str, Any], where: str) -> Sde:
    """The equation of settings as they were written. Raises ModelInputError."""
    try:
        max_sigma, eps = (float(found.get(name, getattr(DACLIP, name))) for name in ("max_sigma", "eps"))
        steps, schedule = int(found.get("steps", DACLIP.steps)), str(found.get("schedule", DACLIP.schedule))
        IRSDE(max_sigma, steps, cast(Schedule, schedule), eps)
    except (TypeError, ValueError) as error:
        raise ModelInputError(
            f"{where}: no equation ({error}); expected max_sigma above 0, T of 1 or more, schedule cosine, linear or "
            "constant, eps between 0 and 1"
        ) from None
    return Sde(max_sigma, steps, cast(Schedule, schedule), eps)


def _remembered(beside: Path) -> Sde:
    """The equation in the note beside a file. Raises CheckpointError."""
    try:
        table = json.loads(beside.read_text("utf-8"))
        if not isinstance(table, dict) or not set(table) <= set(KEYS.values()):
            raise ModelInputError(f"it holds {shown(table)}")
        return _made(table, beside.name)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{beside}: no equation of a published network ({error}); remove it, or give --sde, which writes it anew"
        ) from None


def _remember(beside: Path, sde: Sde) -> str:
    """Write the note beside a file; a sentence where it cannot be written."""
    table = {name: value for name, value in asdict(sde).items() if name in KEYS.values()}
    try:
        write_atomically(beside, json.dumps(table) + "\n", durable=False)
    except OSError as error:
        return f"{beside.name} cannot be written ({error.strerror}), so --sde must be given each time"
    return ""
