from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.captioning.captioner import Caption, CaptionError, Photo, Run
from patina.captioning.run import caption_all, fingerprint, score_all
from patina.captioning.sidecar import Sidecar
from patina.captioning.template import Template
from patina.pipeline.cache.captions import CaptionStore
from tests.captioning.doubles import Judge, Model, Passing, digest_of, photo

KEY = "0123456789abcdef"


def album(count: int) -> list[Photo]:
    return [photo(f"{i:03}.jpg") for i in range(count)]


# --- the store --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("0123456789abcdef"), st.text()), st.dictionaries(st.text("0123456789abcdef"), st.text()))
def test_what_is_put_comes_back_for_its_captioner_alone(one: dict[str, str], other: dict[str, str]) -> None:
    with CaptionStore(None) as store:
        store.put(one.items(), KEY)
        store.put(other.items(), "another")
        store.put(one.items(), KEY)
        everything = [*one, *other, "unknown"]
        assert store.get(everything, KEY) == one and store.get(everything, "another") == other
        assert store.get(everything, "a third") == {} == store.get([], KEY)
        assert store.count() == len(one) + len(other)


def test_more_digests_than_one_query_takes_and_each_twice(tmp_path: Path) -> None:
    captions = {digest_of(str(i)): f"caption {i}" for i in range(2500)}
    with CaptionStore(tmp_path / "c.sqlite") as store:
        store.put(captions.items(), KEY)
    with CaptionStore(tmp_path / "c.sqlite") as store:
        assert store.get([*captions, *captions], KEY) == captions
        store.put([(digest_of("0"), "a better one")], KEY)
        assert store.get([digest_of("0")], KEY) == {digest_of("0"): "a better one"} and store.count() == 2500
    assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]


def test_two_readers_and_several_threads(tmp_path: Path) -> None:
    path, numbers = tmp_path / "c.sqlite", range(20)
    with CaptionStore(path) as store, CaptionStore(path) as second, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.put([(str(i), f"caption {i}")], KEY), numbers))
        found = list(pool.map(lambda i: second.get([str(i)], KEY), numbers))
    assert found == [{str(i): f"caption {i}"} for i in numbers]


def test_a_put_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    with CaptionStore(tmp_path / "c.sqlite") as store:
        with pytest.raises(sqlite3.IntegrityError):
            store.put([("a", "fine"), ("b", None)], KEY)  # type: ignore[list-item]
        assert store.count() == 0


def test_killed_while_putting_loses_that_put_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    code = f"""
import os, signal
from pathlib import Path
from patina.pipeline.cache.captions import CaptionStore
def items():
    for i in range(100_000):
        yield f"second {{i}}", "text " * 20
store = CaptionStore(Path({str(path)!r}))
store.put([("first", "kept")], "k")
store._connection.execute("PRAGMA cache_size = 10")  # so that pages go to the disk before the transaction ends
store._connection.executemany("INSERT INTO captions VALUES ('k',?,?)", items())
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.stat().st_size > 1_000_000 and path.with_name("c.sqlite-journal").exists()
    with CaptionStore(path) as store:
        assert store.count() == 1 and store.get(["first"], "k") == {"first": "kept"}


def damaged_by_truncation(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damaged_inside(data: bytes) -> bytes:
    return data[:4096] + b"\xa5" * 4096 + data[8192:]


def not_a_database(data: bytes) -> bytes:
    return b"this is no database, whatever its name\n" * 100


@pytest.mark.parametrize("journal", [b"", bytes(512)], ids=["empty", "zeros"])
def test_a_journal_that_a_kill_left_before_it_held_anything_is_removed(tmp_path: Path, journal: bytes) -> None:
    path, left = tmp_path / "captions.sqlite", tmp_path / "captions.sqlite-journal"
    with CaptionStore(path) as store:
        store.put([("a", "a cat")], "model")
    left.write_bytes(journal)
    with CaptionStore(path) as store:
        assert store.get(["a"], "model") == {"a": "a cat"}
        assert not left.exists()


@pytest.mark.parametrize("harm", [damaged_by_truncation, damaged_inside, not_a_database])
def test_a_damaged_file_is_put_aside(tmp_path: Path, harm, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "c.sqlite"
    with CaptionStore(path) as store:
        store.put([(digest_of(str(i)), "text") for i in range(1000)], KEY)
    bad = harm(path.read_bytes())
    for again in range(2):
        path.write_bytes(bad)
        path.with_name("c.sqlite-journal").write_bytes(b"")
        caplog.clear()
        with caplog.at_level(logging.WARNING), CaptionStore(path) as store:
            assert store.count() == 0
            store.put([("a", "anew")], KEY)
        assert len(caplog.records) == 1 and str(path) in caplog.text and "begun anew" in caplog.text, again
        assert (tmp_path / "c.sqlite.damaged").read_bytes() == bad
        with CaptionStore(path) as store:
            assert store.get(["a"], KEY) == {"a": "anew"}


def test_an_empty_file_is_a_new_one_and_a_place_that_cannot_work_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").touch()
    with CaptionStore(tmp_path / "c.sqlite") as store:
        assert store.count() == 0
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        CaptionStore(tmp_path / "nowhere" / "c.sqlite")
    assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]


# --- captioning a whole album -----------------------------------------------------------------------------------------


def test_a_caption_is_made_once() -> None:
    model, ticks = Model(), list[tuple[int, int]]()
    with CaptionStore(None) as store:
        made = caption_all(model, album(40), store, Run(batch=16), lambda done, total: ticks.append((done, total)))
        assert made == {p.digest: Caption(f"a photo of {p.name}") for p in album(40)}
        assert [len(names) for names in model.batches] == [16, 16, 8]
        assert ticks == [(16, 40), (32, 40), (40, 40)]

        more = Model()
        assert (
            len(caption_all(more, album(42), store, Run(batch=16), lambda done, total: ticks.append((done, total))))
            == 42
        )
        assert more.asked == ["040.jpg", "041.jpg"] and ticks[-1] == (2, 2)
        assert caption_all(more, album(42)[::-1], store) == caption_all(more, album(42), store)
        assert len(more.batches) == 1 and len(ticks) == 4


def test_another_fingerprint_makes_its_own_and_the_old_ones_stay() -> None:
    with CaptionStore(None) as store:
        caption_all(Model(), album(3), store)
        other = Model(prompt="a sketch of")
        assert caption_all(other, album(3), store)[album(1)[0].digest] == Caption("a sketch of 000.jpg")
        assert len(other.asked) == 3 and store.count() == 6
        again = Model()
        caption_all(again, album(3), store)
        assert again.asked == []


def test_interrupted_in_the_third_batch_keeps_the_first_two(tmp_path: Path) -> None:
    with CaptionStore(tmp_path / "c.sqlite") as store, pytest.raises(KeyboardInterrupt):
        caption_all(Model(crashes_at=2), album(10), store, Run(batch=4))
    resumed = Model()
    with CaptionStore(tmp_path / "c.sqlite") as store:
        assert store.count() == 8
        assert len(caption_all(resumed, album(10), store, Run(batch=4))) == 10
    assert resumed.batches == [["008.jpg", "009.jpg"]]


def test_problems_are_not_stored_and_come_up_again() -> None:
    with CaptionStore(None) as store:
        made = caption_all(Model(fails_on=("001.jpg",)), album(3), store)
        assert made[album(3)[1].digest] == Caption("", "001.jpg is beyond me") and store.count() == 2
        fixed = Model()
        assert not caption_all(fixed, album(3), store)[album(3)[1].digest].problem
        assert fixed.asked == ["001.jpg"]


def test_what_is_not_stored_leaves_the_store_alone() -> None:
    with CaptionStore(None) as store:
        store.put([(p.digest, "from elsewhere") for p in album(2)], fingerprint(Passing()))
        assert caption_all(Passing(), album(2), store)[album(1)[0].digest] == Caption("a photo of 000.jpg")
        assert store.count() == 2
        assert caption_all(Passing(), [], store, progress=lambda *_: pytest.fail("nothing to do")) == {}


@settings(deadline=None)
@given(st.permutations(["c.jpg", "a.jpg", "b.jpg"]), st.sets(st.sampled_from(["a.jpg", "b.jpg", "c.jpg"])))
def test_namesakes_are_one_image_and_the_first_text_counts(order: list[str], failing: set[str]) -> None:
    same = [photo(name, digest="same") for name in order]
    model, ticks = Model(fails_on=tuple(failing)), list[tuple[int, int]]()
    with CaptionStore(None) as store:
        photos = [*album(2), *same]
        made = caption_all(model, photos, store, Run(batch=16), lambda done, total: ticks.append((done, total)))
    fine = [name for name in ("a.jpg", "b.jpg", "c.jpg") if name not in failing]
    assert made["same"] == (Caption(f"a photo of {fine[0]}") if fine else Caption("", "a.jpg is beyond me"))
    tried = ["a.jpg", "b.jpg", "c.jpg"][: ["a.jpg", "b.jpg", "c.jpg"].index(fine[0]) + 1 if fine else 3]
    assert [name for name in model.asked if name in order] == tried
    assert ticks[-1] == (3, 3) and ticks == sorted(ticks)


def test_any_of_an_images_names_may_be_the_one_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("name,caption\ncopy/x.jpg,found under its second name\n")
    namesakes: Sequence[Photo] = [photo("copy/x.jpg", digest="same"), photo("a.jpg", digest="same")]
    with CaptionStore(None) as store:
        assert caption_all(Sidecar(str(tmp_path / "c.csv")), namesakes, store) == {
            "same": Caption("found under its second name")
        }


def test_a_captioner_that_cannot_run_here_is_told_before_any_work_and_only_if_there_is_any() -> None:
    class Absent(Model):
        def prepare(self, run: Run) -> None:
            raise CaptionError(f"no model for {run.devices}")

    with CaptionStore(None) as store:
        with pytest.raises(CaptionError, match="no model for"):
            caption_all(absent := Absent(), album(2), store, Run(devices=("gpu",)))
        assert absent.asked == [] and store.count() == 0
        store.put([(p.digest, "kept") for p in album(2)], fingerprint(absent))
        assert caption_all(absent, album(2), store) == {p.digest: Caption("kept") for p in album(2)}


def test_batches_may_come_in_any_order_and_the_model_is_given_back() -> None:
    given_back: list[str] = []

    class Backwards(Model):
        def stream(self, photos: Sequence[Photo], run: Run) -> Generator[list[tuple[int, Caption]]]:
            for i in reversed(range(len(photos))):
                yield [(i, self.caption([photos[i]])[0])]

        def release(self) -> None:
            given_back.append(self.name)

    with CaptionStore(None) as store:
        made = caption_all(Backwards(fails_on=("001.jpg",)), album(3), store)
        assert [made[p.digest].text for p in album(3)] == ["a photo of 000.jpg", "", "a photo of 002.jpg"]
        with pytest.raises(KeyboardInterrupt):
            caption_all(Backwards(crashes_at=1), album(9), store)
        assert store.count() == 3
    assert given_back == ["double"] * 2


# --- scores -----------------------------------------------------------------------------------------------------------


def test_scores_come_back_for_their_scorer_image_and_text_alone() -> None:
    items = {(digest_of(str(i)), f"caption {i}"): i / 4096 for i in range(1200)}
    with CaptionStore(None) as store:
        store.put_scores(items.items(), KEY)
        assert store.get_scores([*items, *items], KEY) == items
        assert store.get_scores(items, "another") == {} == store.get_scores([], KEY)
        assert store.get_scores([(digest_of("1"), "caption 2")], KEY) == {}
        store.put_scores([((digest_of("1"), "caption 1"), -0.5)], KEY)
        assert store.get_scores([(digest_of("1"), "caption 1")], KEY) == {(digest_of("1"), "caption 1"): -0.5}
        assert store.count() == 0


def test_a_score_is_made_once_and_interrupted_keeps_what_was_done(tmp_path: Path) -> None:
    items = [(p, text) for p in album(5) for text in ("one", "three")]
    ticks: list[tuple[int, int]] = []
    with CaptionStore(tmp_path / "c.sqlite") as store, pytest.raises(KeyboardInterrupt):
        score_all(Judge(crashes_at=2), items, store, Run(batch=2))
    judge = Judge()
    with CaptionStore(tmp_path / "c.sqlite") as store:
        made = score_all(judge, items * 2, store, Run(batch=2), lambda done, total: ticks.append((done, total)))
    assert made == {(p.digest, text): len(text) / 100 for p, text in items}
    assert judge.asked == [*((p.name, text) for p, text in items[4:]), ("released", "")]
    assert ticks == [(2, 6), (4, 6), (6, 6)]


def test_a_photo_that_cannot_be_compared_is_a_problem_that_is_not_stored() -> None:
    items = [(p, "one") for p in album(3)]
    with CaptionStore(None) as store:
        made = score_all(Judge(fails_on="001.jpg"), items, store, Run(batch=2))
        assert list(made.values()) == [0.03, "beyond me", 0.03]
        fixed = Judge()
        assert set(score_all(fixed, items, store, Run(batch=2)).values()) == {0.03}
        assert fixed.asked == [("001.jpg", "one"), ("released", "")]
        assert score_all(Judge(crashes_at=0), items, store, Run(batch=2), lambda *_: pytest.fail("nothing to do"))


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_the_same_everywhere_and_follows_name_version_and_settings() -> None:
    canonical = '{"name":"template","settings":{"text":"a {tone} {orientation} photograph"},"version":2}'
    assert fingerprint(Template()) == digest_of(canonical)[:16]

    class Newer(Model):
        version = 2

    class Renamed(Model):
        name = "another"

    keys = [
        fingerprint(m) for m in (Model(), Model(prompt="x"), Newer(), Renamed(), Template(), Template("é"), Sidecar())
    ]
    assert len(set(keys)) == len(keys) and all(len(key) == 16 and int(key, 16) >= 0 for key in keys)
    assert fingerprint(replace(Model(), fails_on=("x",))) == fingerprint(Model())
