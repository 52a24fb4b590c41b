"""Wheel and sdist hold the package and nothing else, whichever of the two a wheel is built from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("pipeline", "synth", "captioning", "training", "flows")
DATA = (
    "py.typed",
    "flows/automations.yaml",
    "pipeline/recipe/recipes/demo.toml",
    "pipeline/recipe/recipes/demo-captions.csv",
    "pipeline/report/templates/gallery.html",
    "training/report/templates/report.html",
    "training/stages/tiny/controller.toml",
    "training/stages/paper/irsde.toml",
)
ORIGINS = ("checkout", "sdist")
HAVE_COMPILER = any(shutil.which(name) for name in ("cc", "gcc", "clang"))

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Made:
    """The sdist, and by origin the wheel and the folder that it was installed to."""

    sdist: Path
    wheels: dict[str, Path]
    folders: dict[str, Path]


def build(kind: str, source: Path, out: Path) -> Path:
    """Build an sdist or a wheel from a folder, offline."""
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    pytest.importorskip("hatchling", reason="hatchling builds the wheels; it is part of the extra dev")
    place = tmp_path_factory.mktemp("wheels")
    sdist = build("sdist", ROOT, place / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    wheels = {"checkout": build("wheel", ROOT, place / "a"), "sdist": build("wheel", unpacked, place / "b")}
    for origin, wheel in wheels.items():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        subprocess.run([*pip, "--no-deps", "--target", str(place / "installed" / origin), str(wheel)], check=True)
    return Made(sdist, wheels, {origin: place / "installed" / origin for origin in wheels})


def package() -> set[str]:
    """Every file of the package in the checkout, by its path in it; what was compiled belongs to no checkout."""
    folders = [ROOT / "patina", *(ROOT / part for part in PARTS)]
    walked = [Path(place) / name for folder in folders for place, _, names in os.walk(folder) for name in names]
    kept = [path.relative_to(ROOT) for path in walked if "__pycache__" not in path.parts and path.suffix != ".so"]
    return {str(path if path.parts[0] == "patina" else "patina" / path) for path in kept}


@pytest.mark.parametrize("origin", ORIGINS)
def test_one_name_can_be_imported_and_its_folders_are_real(made: Made, origin: str) -> None:
    folder = made.folders[origin]
    names = {path.name for path in folder.iterdir() if path.suffix != ".dist-info"}
    assert names - {"bin"} == {"patina"}, "pip puts the command into bin/"
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    assert all((folder / "patina" / part / "__init__.py").is_file() for part in PARTS)


@pytest.mark.parametrize("origin", ORIGINS)
def test_it_holds_every_file_of_the_package_once(made: Made, origin: str) -> None:
    with zipfile.ZipFile(made.wheels[origin]) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert len(names) == len(set(names))
    assert set(names) == package() | ({"patina/loops.so"} if HAVE_COMPILER else set())
    assert {f"patina/{name}" for name in DATA} <= set(names)


def test_both_wheels_are_the_same(made: Made) -> None:
    contents = []
    for wheel in made.wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]


def test_the_sdist_holds_each_folder_once_and_no_links(made: Made) -> None:
    with tarfile.open(made.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    names = [member.name.partition("/")[2] for member in members if member.isfile()]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.partition("/")[0] in (*PARTS, "tests", "benchmarks")]
    assert {name for name in names if name.startswith("patina/")} == package()
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= set(names)


COUNT = "import patina.pipeline.recipe.shipped as s; print(s.__file__, len(s.shipped()))"
PLANS = "from patina.training.stages.plan import PLANS, load_plan; print([len(load_plan(name)) for name in PLANS])"


@pytest.mark.parametrize("origin", ORIGINS)
def test_it_works_from_where_it_is_installed(made: Made, origin: str, tmp_path: Path) -> None:
    folder = made.folders[origin]
    environment = {**os.environ, "PYTHONPATH": str(folder)}

    def said(*words: str) -> str:
        command = [sys.executable, "-P", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    file, count = said("-c", COUNT).split()
    assert file == str(folder / "patina" / "pipeline" / "recipe" / "shipped.py")
    assert int(count) == len(list((ROOT / "pipeline" / "recipe" / "recipes").glob("*.toml")))
    plans = [path for path in (ROOT / "training" / "stages").iterdir() if list(path.glob("*.toml"))]
    found = said("-c", PLANS).strip("[]\n").split(", ")
    assert sorted(map(int, found)) == sorted(len(list(plan.glob("*.toml"))) for plan in plans)
    assert "cdd11" in said("-m", "patina", "recipes")
