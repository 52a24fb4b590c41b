"""A command that takes its time, to be ended by a signal: `python -m tests.flows.cli.stopped MARK WHAT WORD…`.

Each sample, photograph or file adds a byte to the file MARK and takes a hundredth of a second, so that a test knows in
the middle of what it is, on a machine of any speed. WHAT is `build` or `restore`, which need no Prefect and no model
here, or `command`, with the words of one of patina's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from patina.flows.cli import main as cli

SECONDS = 0.01


def slowly(function: Callable[..., Any], mark: Path) -> Callable[..., Any]:
    """The function, which leaves a mark and takes longer."""

    @wraps(function)
    def marked(*args: Any, **kwargs: Any) -> Any:
        with mark.open("ab", buffering=0) as file:
            file.write(b".")
        time.sleep(SECONDS)
        return function(*args, **kwargs)

    return marked


def build(recipe: str, out: str) -> None:
    """A build on two threads."""
    from patina.pipeline.builder.build import build
    from patina.pipeline.builder.runner import Threads
    from patina.pipeline.plan.planning import Options
    from patina.pipeline.recipe.parse import load_recipe

    build(load_recipe(Path(recipe)), Path(out), Options(workers=2), Threads(2))


def restore(photos: str, out: str) -> None:
    """Photographs through a restorer made up on the spot."""
    from patina.training.restore.files import restore_files
    from tests.training.restore.test_restorer import of_pixels

    restore_files([Path(photos)], Path(out), of_pixels("described")[0])


def instrument(mark: Path) -> None:
    """Make slow what a test waits for."""
    import patina.pipeline.export.run as export
    from patina.pipeline.builder.samples import SampleMaker
    from patina.pipeline.report import check
    from patina.pipeline.scan import digests

    SampleMaker.sample = slowly(SampleMaker.sample, mark)  # type: ignore[method-assign]
    for module, name in ((check, "_sample"), (export, "sample_of"), (digests, "_read")):
        setattr(module, name, slowly(getattr(module, name), mark))


def main() -> None:
    """Do it as the console command would."""
    mark, what, *words = sys.argv[1:]
    instrument(Path(mark))
    if what == "restore":
        from patina.training.restore import files

        files.write_photo = slowly(files.write_photo, Path(mark))
    sys.argv = ["patina", *words]
    if what != "command":
        own: Any = {"build": build, "restore": restore}[what]
        cli.asked_for = lambda _: lambda: own(*words)  # type: ignore
    cli.main()


if __name__ == "__main__":
    main()
