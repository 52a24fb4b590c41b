"""What a build tells while it goes on."""

from __future__ import annotations

from patina.pipeline.progress import Meter


class Watcher:
    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        del step, unit
        self.told.append(("begin", total))

    def advance(self, count: int) -> None:
        self.told.append(("advance", count))

    def end(self) -> None:
        self.told.append(("end", 0))


def test_one_meter_for_two_steps_shows_each_with_its_own_total() -> None:
    watcher = Watcher()
    with Meter(watcher, "looking for copies", "steps") as meter:
        for done, total in ((2, 3), (3, 3), (64, 130), (130, 130), (5, 130)):
            meter(done, total)
    assert watcher.told == [
        *(("begin", 3), ("advance", 2), ("advance", 1), ("end", 0)),
        *(("begin", 130), ("advance", 64), ("advance", 66), ("end", 0)),
        *(("begin", 130), ("advance", 5), ("end", 0)),
    ]


def test_a_step_that_is_never_called_is_never_shown() -> None:
    watcher = Watcher()
    with Meter(watcher, "captioning", "photographs"):
        pass
    assert watcher.told == []
