"""Through the real transformers code, on models that the tests make and save."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.captioning import blip as blip_module
from patina.captioning import devices as devices_module
from patina.captioning.blip import Blip, BlipEngine, drawn, draws
from patina.captioning.captioner import Caption, CaptionError, Photo, Run
from patina.captioning.run import caption_all, fingerprint
from patina.pipeline.cache.captions import CaptionStore
from tests.captioning import tiny_models
from tests.captioning.doubles import photo
from tests.captioning.tiny_models import pixels

pytestmark = pytest.mark.filterwarnings("ignore")

Maker = Callable[[Path], Path]
TOKENS = 4


@pytest.fixture(autouse=True, scope="module")
def _on_one_core() -> Iterator[None]:
    with tiny_models.on_one_core():
        yield


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Maker], Path]:
    """The folder of a model, made once."""
    folders: dict[str, Path] = {}

    def folder(maker: Maker) -> Path:
        if maker.__name__ not in folders:
            folders[maker.__name__] = maker(tmp_path_factory.mktemp(maker.__name__))
        return folders[maker.__name__]

    return folder


@pytest.fixture
def tiny(saved: Callable[[Maker], Path]) -> Blip:
    return Blip(model=str(saved(tiny_models.blip)), max_new_tokens=TOKENS)


def album(count: int) -> list[Photo]:
    return [photo(f"{i:02}.png", load=partial(pixels, i)) for i in range(count)]


def texts(captioner: Blip, photos: Sequence[Photo], run: Run | None = None) -> dict[str, str]:
    """Caption by name; no problems."""
    made = dict(pair for some in captioner.stream(photos, run or Run()) for pair in some)
    assert len(made) == len(photos) and not any(caption.problem for caption in made.values())
    return {photos[i].name: caption.text for i, caption in made.items()}


# --- what it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "a photo of"])
@pytest.mark.parametrize("beams", [1, 3])
def test_blip_says_what_transformers_own_few_lines_say(tiny: Blip, prompt: str, beams: int) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    network = BlipForConditionalGeneration.from_pretrained(tiny.model)
    processor = BlipProcessor.from_pretrained(tiny.model)
    said = []
    for one in album(6):
        inputs = processor(images=PIL.Image.fromarray(one.load()), text=prompt or None, return_tensors="pt")
        ids = network.generate(**inputs, max_new_tokens=TOKENS, num_beams=beams, do_sample=False)
        said.append(processor.decode(ids[0], skip_special_tokens=True))
    assert all(text.startswith(prompt) for text in said)
    expected = [text.removeprefix(prompt).strip() for text in said]
    assert [c.text for c in replace(tiny, prompt=prompt, beams=beams).caption(album(6))] == expected
    assert len(set(expected)) > 3, "a model that says the same of all pictures proves nothing"


def test_git_begins_with_the_prompt_as_its_authors_do(saved: Callable[[Maker], Path]) -> None:
    import torch
    from transformers import GitForCausalLM, GitProcessor

    folder = saved(tiny_models.git)
    network, processor = GitForCausalLM.from_pretrained(folder), GitProcessor.from_pretrained(folder)
    for prompt in ("", "a photo of"):
        begin = processor.tokenizer(prompt, add_special_tokens=False).input_ids
        expected = []
        for one in album(4):
            values = processor(images=PIL.Image.fromarray(one.load()), return_tensors="pt").pixel_values
            ids = torch.tensor([[processor.tokenizer.cls_token_id, *begin]])
            ids = network.generate(pixel_values=values, input_ids=ids, max_new_tokens=TOKENS)[:, 1 + len(begin) :]
            expected.append(processor.decode(ids[0], skip_special_tokens=True))
        made = Blip(model=str(folder), prompt=prompt, max_new_tokens=TOKENS).caption(album(4))
        assert [caption.text for caption in made] == expected
        assert len(set(expected)) > 2


@pytest.mark.parametrize("maker", [tiny_models.blip_2, tiny_models.vit_gpt2, tiny_models.llava])
def test_other_families_go_through_the_same_class(maker: Maker, saved: Callable[[Maker], Path]) -> None:
    captioner = Blip(model=str(saved(maker)), prompt="describe the photo", max_new_tokens=TOKENS)
    alone = [captioner.caption([one])[0] for one in album(4)]
    assert captioner.caption(album(4)) == alone
    assert all(0 < len(caption.text.split()) <= TOKENS for caption in alone)
    assert not any("describe the photo" in caption.text or "<" in caption.text for caption in alone)
    assert len(set(alone)) > 1
    another = replace(captioner, prompt="a cat on the sea").caption(album(4))
    assert another != alone, "the prompt must reach the model"


def test_the_decoder_of_two_families_goes_on_from_the_prompt(saved: Callable[[Maker], Path]) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

    folder = saved(tiny_models.vit_gpt2)
    network = VisionEncoderDecoderModel.from_pretrained(folder)
    values = AutoImageProcessor.from_pretrained(folder)(
        PIL.Image.fromarray(pixels(0)), return_tensors="pt"
    ).pixel_values
    tokenizer = AutoTokenizer.from_pretrained(folder)
    begin = torch.tensor([[0, *tokenizer("a photo of").input_ids]])
    ids = network.generate(values, decoder_input_ids=begin, max_new_tokens=TOKENS)
    said = tokenizer.decode(ids[0, begin.shape[1] :], skip_special_tokens=True)
    assert Blip(model=str(folder), prompt="a photo of", max_new_tokens=TOKENS).caption(album(1)) == [Caption(said)]


def test_a_chat_model_needs_an_order(saved: Callable[[Maker], Path]) -> None:
    with pytest.raises(CaptionError, match="follows orders, and none is set; write one, such as 'Describe"):
        Blip(model=str(saved(tiny_models.llava))).prepare(Run())


def test_saying_nothing_is_a_problem(tiny: Blip, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(BlipEngine, "_generate", lambda self, features, items: torch.full((len(items), 2), 3))
    problem = "the model says nothing about '01.png': set another prompt"
    assert tiny.caption(album(2))[1] == Caption("", problem)


@pytest.mark.parametrize("how", [{}, {"top_p": 0.9, "temperature": 1.5}, {"beams": 3}, {"prompt": "a photo of"}])
def test_a_caption_is_the_same_in_any_batch_and_order(tiny: Blip, how: dict[str, Any]) -> None:
    captioner = replace(tiny, **how)
    alone = texts(captioner, album(9), Run(batch=1))
    assert texts(captioner, album(9), Run(batch=4, threads=3)) == alone
    assert texts(captioner, album(9)[::-1], Run(batch=4)) == alone
    assert texts(captioner, album(9)[5:], Run(batch=3)) == {p.name: alone[p.name] for p in album(9)[5:]}
    assert len(set(alone.values())) > 4


def test_draws_follow_from_seed_and_image_alone(tiny: Blip) -> None:
    import torch

    sampled = replace(tiny, top_p=1.0, temperature=3.0)
    first = texts(sampled, album(6))
    assert texts(sampled, album(6)) == first
    torch.manual_seed(5)
    np.random.seed(5)
    assert texts(sampled, album(6)) == first
    other = texts(replace(sampled, seed=1), album(6))
    assert sum(other[name] != first[name] for name in first) >= 5
    twin = [replace(album(1)[0], digest=digest) for digest in ("aa", "bb", "cc", "dd")]
    assert len({c.text for c in sampled.caption(twin)}) > 1
    assert texts(replace(tiny, top_p=1e-9), album(6)) == texts(tiny, album(6))


def test_a_draw_takes_the_token_at_its_place_of_the_nucleus() -> None:
    import torch

    scores = torch.tensor([[0.1, 0.5, 0.0, 0.4]]).log().repeat(8, 1)
    places = torch.tensor([0.0, 0.49, 0.51, 0.89, 0.91, 0.999, 0.9999999, 1 - 2**-53], dtype=torch.float64)

    def tokens(top_p: float, temperature: float = 1.0) -> list[int]:
        left = drawn(scores, places, top_p, temperature)
        assert ((left == 0).sum(dim=-1) == 1).all() and torch.isneginf(left).sum() == 8 * 3
        return left.argmax(dim=-1).tolist()

    assert tokens(1.0) == [1, 1, 3, 3, 0, 0, 0, 0]
    assert tokens(0.9 - 1e-6) == [1, 1, 1, 3, 3, 3, 3, 3]  # 0.5 and 0.4 of 0.9 together
    assert tokens(0.5 - 1e-6) == tokens(1e-9) == [1] * 8
    assert tokens(1.0, 0.05)[:7] == [1] * 5 + [3] * 2  # 0.5^20 against 0.4^20: 0.99 of the whole
    assert scores[0, 1] == torch.tensor(0.5).log()


def test_draws_are_even_and_kept_for_ever() -> None:
    many = np.concatenate([draws(0, f"{i:x}", 50) for i in range(400)])
    assert many.min() >= 0 and many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01 and abs(many.var() - 1 / 12) < 0.002
    assert draws(3, "ab", 2).tolist() == pytest.approx(KEPT, abs=0)
    assert draws(3, "ab", 9)[:2].tolist() == draws(3, "ab", 2).tolist()


KEPT = [0.7502464502233069, 0.45488140381989584]


def test_sampled_frequencies_are_the_models(tiny: Blip) -> None:
    import torch

    engine = blip_module._engine(replace(tiny, top_p=1.0, temperature=4.0, max_new_tokens=1), Run(), "cpu")
    one = album(1)[0]
    features = engine.prepare(one)
    begin = torch.tensor([[engine.replica.network.config.text_config.bos_token_id]])
    with torch.inference_mode():
        logits = engine.replica.network(pixel_values=features["pixel_values"], input_ids=begin).logits[0, -1]
    twins = [replace(one, digest=f"{i:x}") for i in range(1500)]
    ids = engine._generate(engine.collate([features] * len(twins)), twins)[:, 0]
    found = torch.bincount(ids, minlength=len(logits)) / len(twins)
    assert torch.allclose(found, (logits / 4).softmax(dim=-1), atol=0.05)
    assert (found > 0.02).sum() > 2, "one likely token proves nothing"


# --- how it runs ------------------------------------------------------------------------------------------------------


def test_a_photo_that_cannot_be_loaded_is_a_problem_of_its_own(tiny: Blip) -> None:
    def broken() -> Any:
        raise OSError("truncated file\nwith details")

    photos = [*album(2), photo("bad.jpg", load=broken), photo("flat.jpg", load=lambda: np.zeros((8, 8, 5), np.uint8))]
    made = tiny.caption(photos)
    assert made[2] == Caption("", "'bad.jpg' cannot be decoded: truncated file")
    assert made[3].problem.startswith("'flat.jpg' cannot be decoded") and not made[3].text
    assert made[:2] == tiny.caption(album(2)) and tiny.caption([]) == []


def test_a_batch_too_large_for_the_device_is_halved(tiny: Blip, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    expected, sizes = texts(tiny, album(9)), []
    network = blip_module._replica(tiny, "cpu").network
    generate = network.generate

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(**inputs)

    monkeypatch.setattr(network, "generate", small)
    assert texts(tiny, album(9), Run(batch=8)) == expected
    assert sizes[:2] == [8, 4] and set(sizes[2:]) == {1, 2}
    monkeypatch.setattr(network, "generate", lambda **inputs: small(pixel_values=range(9)))
    with pytest.raises(CaptionError, match="one photograph alone is too much for the memory of cpu"):
        tiny.caption(album(2))


@pytest.mark.parametrize("maker", [tiny_models.blip, tiny_models.git, tiny_models.blip_2, tiny_models.vit_gpt2])
def test_pixels_are_those_that_the_processor_makes_of_pillows_picture(
    maker: Maker, saved: Callable[[Maker], Path]
) -> None:
    import torch

    engine = blip_module._engine(Blip(model=str(saved(maker)), prompt="a cat"), Run(), "cpu")
    read_only = pixels(1)
    read_only.setflags(write=False)
    odd = [pixels(2, 4, 100), pixels(3, 100, 4), pixels(4, 2000 // 4 * 4, 1600), pixels(5)[1:2, 1:2], read_only]
    odd += [pixels(6)[:, ::-1], np.asfortranarray(pixels(7)), pixels(8)[3:30:2, 5:50], pixels(9)[:3], pixels(10)[:1]]
    before = [one.copy() for one in odd]
    for one in odd:
        made = engine.prepare(photo("x", load=partial(_same, one)))["pixel_values"]
        options = {"return_tensors": "pt"}
        expected = engine.replica.processor.image_processor(images=[PIL.Image.fromarray(one)], **options)
        assert torch.equal(made, expected["pixel_values"])
    assert all(np.array_equal(one, other) for one, other in zip(odd, before, strict=True))


def _same(image: Any) -> Any:
    return image


def test_a_processor_of_pillows_kind_gets_pillows_pictures(tiny: Blip) -> None:
    engine = blip_module._engine(tiny, Run(), "cpu")
    assert engine._takes_tensors
    engine._takes_tensors = False
    image = pixels(1)
    assert isinstance(engine._picture(image), PIL.Image.Image)
    assert np.array_equal(np.asarray(engine._picture(image)), image)


def test_preparing_stays_on_its_thread_and_leaves_others_theirs(tiny: Blip) -> None:
    import torch

    seen: list[int] = []

    def look() -> Any:
        seen.append(torch.get_num_threads())
        return pixels(1)

    torch.set_num_threads(2)
    try:
        tiny.caption([photo(f"{i}.png", load=look) for i in range(6)])
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [1] * 6 + [2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_arithmetic_is_in_whole_digits_and_settings_come_back(tiny: Blip) -> None:
    import torch

    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    torch.set_float32_matmul_precision("high")  # as training does
    try:
        before = matmul.fp32_precision, conv.fp32_precision
        with pytest.raises(ZeroDivisionError), devices_module.whole_digits():
            assert (matmul.fp32_precision, conv.fp32_precision) == ("ieee", "ieee")
            _ = 1 / 0
        assert (matmul.fp32_precision, conv.fp32_precision) == before == ("tf32", "tf32")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_ran_out_is_known_by_any_name(error: Exception) -> None:
    def full() -> None:
        raise error

    assert devices_module.within_memory(full) is None
    with pytest.raises(RuntimeError, match="device-side assert"):
        devices_module.within_memory(partial(_raise, RuntimeError("CUDA error: device-side assert triggered")))


def _raise(error: Exception) -> None:
    raise error


def test_memory_is_given_back_before_the_next_try_and_with_the_model(
    tiny: Blip, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    gone: list[str] = []
    big: list[weakref.ref[Any]] = []

    def full() -> None:
        tensor = torch.zeros(1000)
        big.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError(f"{len(tensor)} too many")

    def emptied() -> None:
        gone.append("freed" if not big or big[-1]() is None else "held")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    assert devices_module.within_memory(full) is None and gone == ["freed"]
    tiny.prepare(Run())
    big.append(weakref.ref(blip_module._replica(tiny, "cpu").network))
    tiny.caption(album(2))
    tiny.release()
    assert gone == ["freed", "freed"], "the model outlived its release"


def test_releasing_what_was_never_loaded_imports_no_torch(tiny: Blip) -> None:
    code = f"""
import sys
from patina.captioning.blip import Blip
from patina.captioning.clip_score import ClipScore
Blip(model={tiny.model!r}).release(), ClipScore().release()
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_batch_that_cannot_be_locked_in_memory_goes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(self: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", full)
    made = devices_module.joined([{"x": torch.zeros(1, 2)}, {"x": torch.ones(1, 2)}], "cuda:0")
    assert made["x"].tolist() == [[0, 0], [1, 1]]


def test_cuda_devices_are_counted_and_not_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *_, device: pytest.fail(f"memory is taken on {device}"))
    assert devices_module.devices(Run(devices=("cuda:1", "cuda"))) == ("cuda:1", "cuda")
    with pytest.raises(CaptionError, match=r"'cuda:2' is not here \(of 2 CUDA devices\); here: cpu, cuda:0, cuda:1"):
        devices_module.devices(Run(devices=("cuda:2",)))


def test_what_generation_config_asks_for_beside_words_does_not_count(
    saved: Callable[[Maker], Path], tmp_path: Path
) -> None:
    plain = Blip(model=str(saved(tiny_models.git)), max_new_tokens=TOKENS)
    folder = Path(shutil.copytree(plain.model, tmp_path / "asking"))
    file = folder / "generation_config.json"
    asked = {
        "return_dict_in_generate": True,
        "num_return_sequences": 2,
        "num_beams": 2,
        "do_sample": True,
        "top_p": 0.5,
    }
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    assert texts(replace(plain, model=str(folder)), album(4)) == texts(plain, album(4))


def test_scores_that_are_no_numbers_still_leave_one_token() -> None:
    import torch

    left = drawn(torch.full((2, 5), torch.nan), torch.tensor([0.1, 0.9], dtype=torch.float64), 0.9, 1.0)
    assert ((left == 0).sum(dim=-1) == 1).all()


def test_a_model_too_large_for_the_device_is_told(tiny: Blip, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import BlipForConditionalGeneration

    def full(self: Any, device: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    tiny.release()
    monkeypatch.setattr(BlipForConditionalGeneration, "to", full)
    with pytest.raises(CaptionError, match=r"the model '.*' does not fit into the memory of cpu"):
        tiny.prepare(Run())


def test_interrupted_after_the_second_batch_only_the_rest_is_made(tiny: Blip, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with CaptionStore(tmp_path / "c.sqlite") as store, pytest.raises(KeyboardInterrupt):
        caption_all(tiny, album(9), store, Run(batch=2), interrupt)
    loaded: list[str] = []

    def noted(i: int) -> Any:
        loaded.append(f"{i:02}.png")
        return pixels(i)

    again = [replace(p, load=partial(noted, i)) for i, p in enumerate(album(9))]
    with CaptionStore(tmp_path / "c.sqlite") as store:
        assert store.count() == 4
        made = caption_all(tiny, again, store, Run(batch=2))
        assert store.count() == 9
    assert sorted(loaded) == [p.name for p in album(9)][4:]
    assert {p.name: made[p.digest].text for p in again} == texts(tiny, album(9))


def test_the_model_is_loaded_once_and_given_back(tiny: Blip) -> None:
    tiny.prepare(Run())
    loads = blip_module._replica.cache_info().misses
    with CaptionStore(None) as store:
        caption_all(tiny, album(2), store)
    assert blip_module._replica.cache_info().currsize == 0
    tiny.prepare(Run())
    tiny.caption(album(1))
    assert blip_module._replica.cache_info().misses == 1 and loads >= 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_is_that_of_weights_and_pixels(tiny: Blip, precision: str) -> None:
    engine = blip_module._engine(replace(tiny, precision=precision), Run(), "cpu")
    assert str(engine.replica.network.dtype) == f"torch.{precision}"
    assert str(engine.prepare(album(1)[0])["pixel_values"].dtype) == f"torch.{precision}"
    assert engine.infer(engine.collate([engine.prepare(album(1)[0])]), album(1))
    assert blip_module._precision("auto", "cpu") == "float32"


def test_auto_is_the_least_that_a_device_does_well(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    import torch

    monkeypatch.setattr(torch.cuda, "device", lambda name: contextlib.nullcontext())
    for supported, expected in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, yes=supported: yes)
        assert blip_module._precision("auto", "cuda:0") == expected
        assert blip_module._precision("float32", "cuda:0") == "float32"


def test_devices_and_batches_follow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert devices_module.batch_size(Run(batch=3), "cuda:0", 80) == 3
    assert devices_module.batch_size(Run(), "cpu", 80) == 8
    for gigabytes, expected in ((1, 8), (16, 96), (140, 256)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=gigabytes: (free * 2**30, 2**40))
        assert devices_module.batch_size(Run(), "cuda:0", 80) == expected
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_module.devices(Run()) == ("cuda:0", "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices_module.devices(Run()) == ("cpu",)
    assert devices_module.devices(Run(devices=("cpu", "cpu"))) == ("cpu", "cpu")


@pytest.mark.slow
def test_two_replicas_say_what_one_says(tiny: Blip) -> None:
    captioner = replace(tiny, top_p=0.9)
    photos = [replace(p, load=partial(pixels, i)) for i, p in enumerate(album(12))]
    run = Run(batch=2, devices=("cpu", "cpu"))
    captioner.prepare(run)
    assert texts(captioner, photos, run) == texts(captioner, photos)


@pytest.mark.slow
def test_killed_in_the_middle_keeps_what_was_done(tiny: Blip, tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from patina.captioning.blip import Blip
from patina.captioning.captioner import Run
from patina.pipeline.cache.captions import CaptionStore
from patina.captioning.run import caption_all
from tests.captioning.test_blip import album
def kill(done, total):
    if done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
blip = Blip(model={tiny.model!r}, max_new_tokens={TOKENS})
caption_all(blip, album(9), CaptionStore(Path({str(tmp_path / "c.sqlite")!r})), Run(batch=2), kill)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with CaptionStore(tmp_path / "c.sqlite") as store:
        assert store.count() == 4
        found = store.get([p.digest for p in album(9)], fingerprint(tiny))
    expected = texts(tiny, album(9))
    assert found == {p.digest: expected[p.name] for p in album(9) if p.digest in found}


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [Run(), Run(devices=("cpu", "cpu"))])
def test_a_model_that_is_nowhere_is_told_with_the_command_to_get_it(run: Run) -> None:
    message = (
        r"the model 'Salesforce/blip-image-captioning-large' \(revision main\) is not in the hub's cache and cannot be "
        r"fetched: .*`hf download Salesforce/blip-image-captioning-large`, or set model to a folder"
    )
    with CaptionStore(None) as store:
        store.put([("kept", "from before")], fingerprint(Blip()))
        with pytest.raises(CaptionError, match=message):
            caption_all(Blip(), album(2), store, run, progress=lambda *_: pytest.fail("no work may begin"))
        assert store.count() == 1


@pytest.mark.parametrize("run", [Run(), Run(devices=("cpu", "cpu"))])
def test_a_folder_that_holds_no_whole_model(tiny: Blip, tmp_path: Path, run: Run) -> None:
    with pytest.raises(CaptionError, match=r"model: expected the folder of a model, found none at '\./nowhere'"):
        Blip(model="./nowhere")
    shutil.copytree(tiny.model, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(
        CaptionError, match=r"the model in '.*half' cannot be loaded: .*; expected what save_pretrained"
    ):
        Blip(model=str(tmp_path / "half")).prepare(run)
    (tmp_path / "half" / "config.json").write_text('{"model_type": "bert"}')
    shutil.copy(Path(tiny.model) / "model.safetensors", tmp_path / "half")
    with pytest.raises(CaptionError, match=r"the model in '.*half' cannot be loaded"):
        Blip(model=str(tmp_path / "half")).prepare(Run())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptionError, match="found none of its files"):
        Blip(model=str(tmp_path / "empty")).settings()


def test_weights_in_parts_are_found(tiny: Blip, tmp_path: Path) -> None:
    from transformers import BlipForConditionalGeneration

    shutil.copytree(tiny.model, tmp_path / "parts", ignore=shutil.ignore_patterns("*.safetensors"))
    BlipForConditionalGeneration.from_pretrained(tiny.model).save_pretrained(tmp_path / "parts", max_shard_size="60KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    parts = replace(tiny, model=str(tmp_path / "parts"))
    parts.prepare(Run(devices=("cpu", "cpu")))
    assert parts.caption(album(3)) == tiny.caption(album(3))
    next((tmp_path / "parts").glob("*.safetensors")).unlink()
    with pytest.raises(CaptionError, match="cannot be loaded"):
        parts.prepare(Run(devices=("cpu", "cpu")))


@pytest.mark.parametrize("name", ["cuda:7", "gpu"])
def test_a_device_that_is_not_here(tiny: Blip, name: str) -> None:
    import torch

    if torch.cuda.device_count() > 7:
        pytest.skip("cuda:7 is here")
    with pytest.raises(CaptionError, match=f"devices: '{name}' is not here .*; here: cpu"):
        tiny.prepare(Run(devices=("cpu", name)))


def test_missing_packages_are_told_with_the_command_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "find_spec", lambda name: None if name == "transformers" else object())
    with pytest.raises(
        CaptionError, match=r"need transformers, not installed here: pip install 'patina-ir\[captions\]'"
    ):
        Blip().prepare(Run())

    def broken() -> None:
        raise OSError("libtorch.so: no such file")

    monkeypatch.setattr(devices_module, "find_spec", lambda name: object())
    monkeypatch.setattr(devices_module, "ensure_torchvision", broken)
    with pytest.raises(CaptionError, match=r"cannot be imported: libtorch.so: no such file; pip install"):
        Blip().prepare(Run())


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"revision": 3},
        {"prompt": 5},
        {"max_new_tokens": 0},
        {"max_new_tokens": True},
        {"beams": 0},
        {"seed": -1},
        {"top_p": 1.5},
        {"top_p": "0.9"},
        {"temperature": 0},
        {"temperature": float("inf")},
        {"precision": "int4"},
        {"beams": 2, "top_p": 0.5},
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(CaptionError, match=next(reversed(wrong))):
        Blip(**wrong)


# --- the hub ----------------------------------------------------------------------------------------------------------


COMMITS = "a" * 40, "b" * 40


@pytest.fixture
def hub(tiny: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that holds the tiny model at two commits, `main` at the first."""
    from huggingface_hub import constants

    place = tmp_path / "hub" / "models--someone--tiny"
    for commit in COMMITS:
        shutil.copytree(tiny.model, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMITS[0])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return place


def test_a_commit_that_moved_is_told(hub: Path, tiny: Blip, caplog: pytest.LogCaptureFixture) -> None:
    captioner = replace(tiny, model="someone/tiny")
    with CaptionStore(None) as store:
        caption_all(captioner, album(2), store)
        assert captioner.origin() == COMMITS[0]
        caption_all(captioner, album(3), store)
        assert not caplog.records
        (hub / "refs" / "main").write_text(COMMITS[1])
        caption_all(captioner, album(3), store)
        assert not caplog.records, "nothing was to be made"
        caption_all(captioner, album(4), store)
        assert [record.getMessage() for record in caplog.records] == [
            f"blip: its model was at {COMMITS[0]} when its first captions were made, and is at {COMMITS[1]} now; "
            "to have all from one, set revision to either"
        ]
        caption_all(replace(captioner, revision=COMMITS[1]), album(4), store)
        assert len(caplog.records) == 1


def test_a_folder_has_no_commit_and_none_is_stored(tiny: Blip) -> None:
    assert tiny.origin() == "" == Blip(model="nobody/nothing").origin()


def test_a_folder_in_the_way_of_a_name_is_not_taken_for_it(
    tiny: Blip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny.model, tmp_path / "someone" / "tiny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptionError, match=r"'someone/tiny' is a folder here, .*; write '\./someone/tiny'"):
        Blip(model="someone/tiny").prepare(Run())


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_folder_counts_by_its_contents(tiny: Blip, tmp_path: Path) -> None:
    key = fingerprint(tiny)
    shutil.copytree(tiny.model, tmp_path / "moved")
    moved = replace(tiny, model=str(tmp_path / "moved"))
    assert fingerprint(moved) == key and tiny.model not in json.dumps(tiny.settings())
    (tmp_path / "moved" / "README.md").write_text("a model card is no part of a model")
    assert fingerprint(moved) == key
    weights = bytearray((tmp_path / "moved" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "moved" / "model.safetensors").write_bytes(weights)
    changed = fingerprint(moved)
    assert changed != key
    (tmp_path / "moved" / "config.json").rename(tmp_path / "moved" / "other.json")
    assert fingerprint(moved) not in {key, changed}


def test_each_setting_that_decides_the_sentence_counts_and_no_other() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"model": "another"},
        {"revision": "0123abc"},
        {"prompt": "a photo of"},
        {"max_new_tokens": 5},
        {"beams": 2},
        {"precision": "float32"},
        {"top_p": 0.5},
        {"top_p": 0.5, "seed": 1},
        {"top_p": 0.5, "temperature": 2.0},
    ]
    assert len({fingerprint(Blip(**change)) for change in changes}) == len(changes)
    assert fingerprint(Blip(seed=7, temperature=2.0)) == fingerprint(Blip())
    assert fingerprint(Blip(top_p=1)) == fingerprint(Blip(top_p=1.0))


def test_planning_imports_no_torch(tiny: Blip) -> None:
    code = f"""
import sys
from patina.captioning.blip import Blip
from patina.captioning.clip_score import ClipScore
from patina.captioning.run import fingerprint
fingerprint(Blip(model={tiny.model!r})), fingerprint(Blip()), fingerprint(ClipScore())
print(sorted(set(sys.modules) & {{"torch", "transformers", "open_clip", "torchvision", "PIL", "huggingface_hub"}}))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
