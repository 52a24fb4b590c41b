"""A frame of a video: by the codec itself, the same bytes from plain C and from every instruction set."""

from __future__ import annotations

import hashlib
import itertools
import platform
from typing import Any

import numpy as np
import pytest

from patina.synth.degradations import EVERY, MISSING
from patina.synth.degradations.video_compressed import (
    COMPRESSION,
    X264,
    VideoCompressed,
    _pan,
    _to_rgb,
    _to_ycc,
    decoded,
    encoded,
)
from patina.synth.image import Image
from patina.synth.rng import Rng
from patina.synth.words import say
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py and test_ladder.py
STRENGTHS = [{"qp": qp} for qp in (10, 18, 24, 30, 36, 42, 48, 51)]
WIDE = VideoCompressed(qp={"min": 10, "max": 51}, age={"min": 0, "max": 3}, motion={"min": 0, "max": 24})
BAD = [
    ({"qp": 9}, "qp: expected 10 to 51, found 9"),
    ({"qp": [30, 52]}, "qp: expected 10 to 51, found 52"),
    ({"qp": 30.5}, "qp: expected a whole number, found 30.5"),
    ({"age": 7}, "age: expected 0 to 6, found 7"),
    ({"motion": {"min": 0, "max": 30}}, "motion: expected 0 to 24, found 30"),
]
TOLD = {"qp": (COMPRESSION, r"quantiser of (\d+)", 1)}

installed = pytest.mark.skipif(bool(MISSING), reason="the extra [video] is not installed")


def shown(image: Image, qp: int, age: int = 0, step: tuple[int, int] = (3, -2)) -> Image:
    return VideoCompressed().apply(image, {"qp": qp, "age": age, "step": list(step)}).image


@installed
@pytest.mark.parametrize("asm", ["0", "SSE2", "SSE2,SSSE3", "SSE4,AVX", "AVX2"])
def test_plain_c_and_every_instruction_set_write_the_same_bytes(asm: str) -> None:
    """Elsewhere than on x86 those are one with plain C. 24 streams: sizes, quantisers, frames and motions."""
    if asm != "0" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("instruction sets of x86")
    for height, width in ((96, 130), (64, 48)):
        for qp in (20, 34, 48):
            for age, step in ((0, (0, 0)), (1, (7, -5)), (3, (1, 0)), (4, (-9, 12))):
                frames = _pan(cut(height, width), age, *step)
                assert encoded(frames, qp) == encoded(frames, qp, f":asm={asm}")


@installed
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="instruction sets of x86")
def test_without_the_switch_they_do_not() -> None:
    """So that nobody takes it out: x264's default writes other bytes where there is no SSSE3."""
    frames, switch = _pan(photo(), 2, 6, -4), ":cpu-independent=0"
    assert "cpu-independent=1" in X264
    assert encoded(frames, 34, switch) != encoded(frames, 34, f"{switch}:asm=0")


@installed
def test_the_decoder_shows_what_the_encoder_meant() -> None:
    """At the finest quantiser what comes back is the frames, all but for the halved colours and a level or two."""
    frames = _pan(photo(), 2, 4, 3)
    y, cb, cr = decoded(encoded(frames, 10), 3)
    for found, true in zip((y, cb, cr), frames[-1], strict=True):
        assert found.shape == true.shape
        assert np.abs(found.astype(int) - true).mean() < 1.5


def test_colours_are_bt_601s_of_the_limited_range() -> None:
    def ycc(*colour: int) -> list[int]:
        image = np.empty((2, 2, 3), np.uint8)
        image[:] = colour
        return [int(plane[0, 0]) for plane in _to_ycc(image)]

    assert ycc(0, 0, 0) == [16, 128, 128] and ycc(255, 255, 255) == [235, 128, 128]
    assert ycc(255, 0, 0) == [81, 90, 240] and ycc(0, 0, 255) == [41, 240, 110]
    grey = cut(64, 64)
    y, cb, cr = _to_ycc(grey)
    assert np.abs(_to_rgb(y, cb, cr).astype(int) - grey).max() <= 3


def test_the_photograph_is_the_last_frame_of_the_pan() -> None:
    image = cut(40, 52)
    frames = _pan(image, 3, 5, -4)
    y = _to_ycc(image)[0]
    assert len(frames) == 4 and np.array_equal(frames[-1][0], y)
    assert np.array_equal(frames[2][0][:36, 5:], y[4:, :-5]) or np.array_equal(frames[2][0][4:, :-5], y[:-4, 5:])
    assert all(planes[1].shape == (20, 26) for planes in frames)
    odd = _pan(cut(17, 33), 1, 2, 1)
    assert odd[0][0].shape == (18, 34) and odd[0][2].shape == (9, 17)


@installed
@pytest.mark.parametrize("age", [0, 1, 4])
def test_a_coarser_quantiser_is_worse(age: int) -> None:
    figures = [psnr(photo(), shown(photo(), qp, age)) for qp in (12, 20, 28, 36, 44, 51)]
    assert figures == sorted(figures, reverse=True) and figures[0] > 36 and figures[-1] < 26


@installed
def test_a_predicted_frame_is_another_picture_than_a_key_frame() -> None:
    key, later = shown(photo(), 40), shown(photo(), 40, 3)
    assert 20 < psnr(key, later) < 40
    assert not np.array_equal(shown(photo(), 40, 3, (0, 0)), later)


@installed
def test_six_more_double_the_step() -> None:
    """The error grows by 3 to 6 dB each: the step doubles, and more coefficients vanish."""
    errors = [psnr(photo(), shown(photo(), qp)) for qp in (24, 30, 36, 42)]
    assert all(2 < better - worse < 6 for better, worse in itertools.pairwise(errors))


@installed
@pytest.mark.parametrize("shape", [(16, 16), (17, 501), (501, 17), (33, 47)])
def test_any_size_and_motion(shape: tuple[int, int]) -> None:
    image = cut(*shape)
    for step in ((24, 24), (-24, 0), (0, -24)):
        assert shown(image, 30, 6, step).shape == image.shape
    assert np.abs(shown(flat(*shape, 200), 30, 2).astype(int) - 200).max() <= 2


@installed
def test_settings_tell_the_encoder() -> None:
    """Another build's bytes make the samples anew."""
    settings = VideoCompressed().settings()
    assert len(settings["encoder"]) == 8 and settings["age"] == [0, 1]


def test_words_do_not_depend_on_what_is_installed() -> None:
    assert "video-compressed" in EVERY
    assert say("video-compressed", {"qp": 37, "age": 0}).phrase == (
        "very strong video compression, H.264 at a quantiser of 37, a key frame"
    )
    assert say("video-compressed", {"qp": 24, "age": 1}).phrase == (
        "light video compression, H.264 at a quantiser of 24, 1 frame after a key frame"
    )
    assert say("video-compressed", {}).phrase == "video compression"


@installed
def test_the_pan_is_drawn_in_any_direction() -> None:
    drawn = [VideoCompressed(motion=8).draw(Rng(f"{i:x}"), photo())["step"] for i in range(60)]
    assert all(max(map(abs, step)) == 8 for step in drawn)
    assert {(x > 0, y > 0) for x, y in drawn if x and y} == {(a, b) for a in (True, False) for b in (True, False)}


@installed
def test_pixels_are_frozen() -> None:
    """If this fails with the same PyAV, raise `VideoCompressed.version`: stored samples can no longer be replayed."""
    import av

    if av.__version__ != "18.1.0":
        pytest.skip("frozen with PyAV 18.1.0")
    params: dict[str, Any] = {"qp": 38, "age": 2, "step": [4, -3]}
    lq = VideoCompressed().apply(cut(49, 64), params).image
    assert hashlib.sha256(lq.tobytes()).hexdigest()[:16] == "c6b66f7c3f59ce04"
