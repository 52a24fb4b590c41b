"""The lines of a training's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from torch import Tensor

from patina.pipeline.text import rate_of

LOG_SECONDS = 2.0

log = logging.getLogger("patina.training")


class Meter:
    """Losses, speed and what is left, since the last line of metrics."""

    STEPS = 20
    """Between two lines, where several processes have to write them at the same step."""

    def __init__(self, images: int, seen: int, bar: bool, alone: bool) -> None:
        from tqdm import tqdm

        self._alone = alone
        self._images, self._first = images, seen
        self._bar = tqdm(total=images, initial=seen, unit="img", unit_scale=True, disable=not bar)
        self._begun = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Begin a new line."""
        self.steps, self.waited, self._since, self._sums, self._lr = (
            0,
            0.0,
            time.monotonic(),
            dict[str, Tensor](),
            0.0,
        )
        self._from: int | None = None

    def add(self, losses: Mapping[str, Tensor], lr: float) -> None:
        """A step's losses; nothing waits for the device."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.steps += 1
        self._lr = lr

    def due(self) -> bool:
        """Whether a line should be written: after some time; of several processes, after as many steps."""
        return time.monotonic() - self._since >= LOG_SECONDS if self._alone else self.steps >= self.STEPS

    def row(self, seen: int, mean: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The line: means since the last one, and over all processes."""
        seconds = max(1e-9, time.monotonic() - self._since)
        means = {name: mean(value).item() / self.steps for name, value in self._sums.items()}
        return {
            "seen": seen,
            **means,
            "rate": self._lr,
            "images_per_s": (seen - self._last(seen)) / seconds,
            "waited": self.waited / seconds,
        }

    def _last(self, seen: int) -> int:
        last = self._first
        self._first = seen
        return last

    def show(self, name: str, row: Mapping[str, float]) -> None:
        """Move the bar, or print a line where nobody watches."""
        left = (self._images - row["seen"]) / max(1e-9, row["images_per_s"])
        if self._bar.disable:
            log.info(
                "%s %s of %s images, %s img/s, %.0f s left, loss %.4f",
                name,
                f"{int(row['seen']):,}",
                f"{self._images:,}",
                rate_of(row["images_per_s"]),
                left,
                row["loss"],
            )
        else:
            self._bar.set_description(name)
            self._bar.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
            self._bar.update(int(row["seen"]) - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
