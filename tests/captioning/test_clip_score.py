"""Through the real open_clip code, on a model that the test makes and saves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from patina.captioning import clip_score, devices
from patina.captioning.captioner import CaptionError, Photo, Run
from patina.captioning.clip_score import ClipScore
from patina.captioning.run import fingerprint, score_all
from patina.captioning.torchvision_ops import ensure_torchvision
from patina.pipeline.cache.captions import CaptionStore
from tests.captioning import tiny_models
from tests.captioning.doubles import photo
from tests.captioning.tiny_models import pixels

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
TEXTS = ["a dog", "a river under an old bridge, with two boats", "snow"]


@pytest.fixture(autouse=True, scope="module")
def _on_one_core() -> Iterator[None]:
    with tiny_models.on_one_core():
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ensure_torchvision()
    import torch
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("clip")
    network = CLIP(16, CLIPVisionCfg(**CONFIG["vision_cfg"]), CLIPTextCfg(**CONFIG["text_cfg"]))  # type: ignore[arg-type]
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    torch.save(network.state_dict(), place / "open_clip_pytorch_model.bin")
    return place


@pytest.fixture
def tiny(folder: Path) -> ClipScore:
    return ClipScore(model=str(folder), pretrained="")


def items() -> list[tuple[Photo, str]]:
    return [(photo(f"{i}.png", load=partial(pixels, i)), TEXTS[i % 3]) for i in range(7)]


def scores(scorer: ClipScore, wanted: list[tuple[Photo, str]], run: Run) -> dict[str, float | str]:
    pairs = [pair for some in scorer.stream(wanted, run) for pair in some]
    assert len(dict(pairs)) == len(pairs) == len(wanted)
    return {wanted[i][0].name: score for i, score in pairs}


def directly(folder: Path, wanted: list[tuple[Photo, str]]) -> list[float]:
    """One by one, by open_clip's README."""
    import open_clip  # type: ignore[import-untyped]
    import torch

    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    network.eval()
    found = []
    with torch.no_grad():
        for one, text in wanted:
            image = network.encode_image(transform(PIL.Image.fromarray(one.load())).unsqueeze(0))
            words = network.encode_text(tokenizer([text]))
            found.append(float(torch.nn.functional.cosine_similarity(image, words)))
    return found


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_score_is_the_cosine_of_image_and_text_in_any_batch(tiny: ClipScore, folder: Path, batch: int) -> None:
    expected = directly(folder, items())
    found = scores(tiny, items(), Run(batch=batch))
    assert [found[one.name] for one, _ in items()] == pytest.approx(expected, abs=6e-5)
    assert scores(tiny, items()[::-1], Run(batch=batch)) == found
    assert len(set(found.values())) == 7 and all(-1 <= float(score) <= 1 for score in found.values())


def test_a_long_text_counts_by_its_beginning(tiny: ClipScore) -> None:
    one = items()[0][0]
    long = "a very long sentence about a river " * 30
    found = scores(tiny, [(one, long), (replace(one, name="more"), long + "and a boat")], Run())
    assert found[one.name] == found["more"] != scores(tiny, [(one, long[:100])], Run())[one.name]


def test_a_photo_that_cannot_be_loaded_is_a_problem_of_its_own(tiny: ClipScore) -> None:
    def broken() -> Any:
        raise OSError("truncated")

    found = scores(tiny, [*items(), (photo("bad.jpg", load=broken), "a dog")], Run(batch=4))
    assert found.pop("bad.jpg") == "'bad.jpg' cannot be decoded: truncated"
    assert found == scores(tiny, items(), Run(batch=4))


def test_weights_may_be_a_file_of_a_known_model(folder: Path, tmp_path: Path, tiny: ClipScore) -> None:
    import open_clip

    (tmp_path / "tiny-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    file = shutil.copy(folder / "open_clip_pytorch_model.bin", tmp_path / "weights.pt")
    named = ClipScore(model="tiny-clip", pretrained=str(file))
    assert scores(named, items(), Run()) == scores(tiny, items(), Run())
    assert named.settings()["model"] == "tiny-clip" and str(tmp_path) not in json.dumps(named.settings())


def test_a_batch_too_large_for_the_device_is_halved(tiny: ClipScore, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    expected, sizes = scores(tiny, items(), Run()), []
    network = clip_score._clip(tiny, "cpu").network
    encode = network.encode_image

    def small(images: Any, normalize: bool) -> Any:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(images, normalize=normalize)

    monkeypatch.setattr(network, "encode_image", small)
    assert scores(tiny, items(), Run(batch=6)) == expected
    assert sizes[:2] == [6, 3] and set(sizes[2:]) == {1}
    tiny.release()


def test_a_model_of_no_numbers_is_a_problem_and_nothing_to_store(
    tiny: ClipScore, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = clip_score._clip(tiny, "cpu").network
    encode = network.encode_text

    def broken(tokens: Any, normalize: bool) -> Any:
        return encode(tokens, normalize=normalize) * float("nan")

    monkeypatch.setattr(network, "encode_text", broken)
    with CaptionStore(None) as store:
        made = score_all(tiny, items()[:2], store)
        assert store.get_scores(made, fingerprint(tiny)) == {}
    assert next(iter(made.values())) == (
        "'0.png' and its caption cannot be compared: the model's result is no number; see its weights"
    )


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-L/14"])
def test_weights_of_another_activation_are_an_error_with_the_right_name(model: str) -> None:
    import open_clip

    right = f"{model.replace('/', '-')}-quickgelu"
    with pytest.raises(CaptionError, match=f"'openai' are of a model with QuickGELU, .*; write '{right}'"):
        ClipScore(model, "openai").prepare(Run())
    assert (right, "openai") in open_clip.list_pretrained()
    for fine in ((right, "openai"), ("ViT-B-32", "laion2b_s34b_b79k"), ("roberta-ViT-B-32", "laion2b_s12b_b32k")):
        clip_score._agreeing(*fine)


def test_a_file_of_weights_is_not_taken_for_a_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").write_bytes(b"")
    with pytest.raises(CaptionError, match=r"'openai' is a file here, and could be a tag; write '\./openai'"):
        ClipScore("ViT-B-32-quickgelu", "openai").prepare(Run())


def test_comparing_is_in_whole_float32(tiny: ClipScore, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    expected, seen = scores(tiny, items(), Run()), []
    network = clip_score._clip(tiny, "cpu").network
    encode = network.encode_image

    def noted(images: Any, normalize: bool) -> Any:
        seen.append(torch.backends.cudnn.conv.fp32_precision)
        return encode(images, normalize=normalize)

    monkeypatch.setattr(network, "encode_image", noted)
    assert scores(tiny, items(), Run()) == expected
    assert set(seen) == {"ieee"}


@pytest.mark.slow
def test_two_replicas_find_what_one_finds(tiny: ClipScore) -> None:
    run = Run(batch=1, devices=("cpu", "cpu"))
    tiny.prepare(run)
    assert scores(tiny, items(), run) == scores(tiny, items(), Run())


def test_through_the_store_nothing_is_compared_twice(tiny: ClipScore) -> None:
    with CaptionStore(None) as store:
        first = score_all(tiny, items(), store, Run(batch=2))
        unread = [(photo(one.name), text) for one, text in items()]
        assert score_all(replace(tiny, threshold=0.3), unread, store) == first
        assert len(first) == 7


def test_below_the_threshold_is_a_problem_that_shows_the_caption() -> None:
    scorer = ClipScore(threshold=0.2)
    assert scorer.problem(0.2, "a dog") == ""
    found = "the caption fits its photograph badly, similarity 0.1999 below 0.2: 'a dog'"
    assert scorer.problem(0.1999, "a dog") == found


def test_the_fingerprint_is_of_model_and_weights_without_path_and_threshold(tiny: ClipScore, tmp_path: Path) -> None:
    moved = replace(tiny, model=str(shutil.copytree(tiny.model, tmp_path / "moved")), threshold=0.5)
    assert fingerprint(moved) == fingerprint(tiny) and tiny.model not in json.dumps(tiny.settings())
    (tmp_path / "moved" / "open_clip_config.json").write_text("{}")
    others = [moved, ClipScore(), ClipScore("ViT-L-14"), ClipScore(pretrained="openai"), ClipScore("hf-hub:a/b", "")]
    assert len({fingerprint(scorer) for scorer in [tiny, *others]}) == 6


def test_a_model_that_cannot_be_had_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        CaptionStore(None) as store,
        pytest.raises(CaptionError, match=r"'laion2b_s34b_b79k' cannot be loaded: .*cache"),
    ):
        score_all(ClipScore(), items(), store, progress=lambda *_: pytest.fail("no work may begin"))
    with pytest.raises(CaptionError, match=r"'ViT-B-32' with the weights 'no-such-tag' cannot be loaded"):
        ClipScore(pretrained="no-such-tag").prepare(Run())
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    with pytest.raises(CaptionError, match="cannot be loaded"):  # and not compared by random weights
        ClipScore(str(tmp_path), "").prepare(Run())
    monkeypatch.setattr(devices, "find_spec", lambda name: None if name == "open_clip" else object())
    with pytest.raises(CaptionError, match=r"need open_clip, not installed here: pip install 'patina-ir\[captions\]'"):
        ClipScore().prepare(Run())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"model": ""}, "model: expected"),
        ({"pretrained": 5}, "pretrained: expected"),
        ({"pretrained": ""}, "needs weights"),
        ({"pretrained": "./nowhere.pt"}, "expected a file of weights, found none at './nowhere.pt'"),
        ({"model": "./nowhere", "pretrained": ""}, "found none at './nowhere'"),
        ({"model": "hf-hub:a/b"}, "brings its own weights"),
        ({"threshold": 20}, "threshold: expected a cosine"),
        ({"threshold": True}, "threshold: expected a cosine"),
        ({"threshold": float("nan")}, "threshold: expected a cosine"),
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(CaptionError, match=message):
        ClipScore(**wrong)
