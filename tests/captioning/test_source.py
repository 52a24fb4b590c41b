from __future__ import annotations

from patina.captioning.captioner import Caption, Run
from patina.captioning.run import caption_all
from patina.captioning.source import SourceCaption
from patina.pipeline.cache.captions import CaptionStore
from tests.captioning.doubles import photo


def test_the_sources_own_caption_on_one_line() -> None:
    brought = [
        photo("a.jpg", caption="a dog\non  a hill "),
        photo("b.jpg", caption="чайка"),
        photo("c.jpg", caption="x"),
    ]
    captioner = SourceCaption()
    assert captioner.caption(brought) == [Caption("a dog on a hill"), Caption("чайка"), Caption("x")]
    assert captioner.settings() == {} and not captioner.stored


def test_none_or_an_empty_one_is_a_problem() -> None:
    none, empty = SourceCaption().caption([photo("a.jpg"), photo("b.jpg", caption=" \n")])
    assert none == Caption(
        "", "no caption for 'a.jpg': its source brings none; write one there, or set a fallback or a captioner"
    )
    assert "'b.jpg': its source brings an empty one" in empty.problem and not empty.text


def test_of_an_images_names_the_first_with_a_caption_counts() -> None:
    same = [
        photo("b.jpg", digest="d", caption="second"),
        photo("a.jpg", digest="d"),
        photo("c.jpg", digest="d", caption="x"),
    ]
    with CaptionStore(None) as store:
        assert caption_all(SourceCaption(), same, store, Run(batch=1)) == {"d": Caption("second")}
        assert store.count() == 0
