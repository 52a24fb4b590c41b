"""Digests of what this machine makes of a small picture: its codecs and arithmetic, and every degradation.

The bytes of a dataset are promised to depend on no processor. These digests see where the promise fails: another build
of a library, or a processor on which one of them rounds otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import io
import socket
from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.extra_formats import INSTALLED, SMALL_PICTURES, library_version
from patina.pipeline.codec.png import encode_png
from patina.synth import elementary
from patina.synth.convolution import disc, spread
from patina.synth.degradation import Rendered
from patina.synth.degradations import CATALOGUE
from patina.synth.figures import figures
from patina.synth.image import Image, to_encoded, to_float, to_linear, to_uint8
from patina.synth.resampling import averaged, curved, enlarged, means, shrunk, smoothed, stretched
from patina.synth.rng import Rng, normal_table
from patina.synth.severity import at_clip_size, measure


@cache
def codec_fingerprint() -> str:
    """16 hex digits that change when an installed codec gives other bytes or other pixels than before, or when an
    operation that degradations rest on rounds otherwise. Part of every sample's fingerprint.

    libjpeg's output differs between builds, ISA-L's between releases and processors. A small picture with edges,
    gradients and texture goes through every codec that a build uses, a stroke is drawn, and the picture goes through
    each kind of arithmetic; all results are digested.
    """
    picture = _picture()
    noise = Rng("c0dec").raw(96 * 128 * 3 // 8).astype("<u8").view(np.uint8).reshape(96, 128, 3)
    digest = hashlib.sha256()
    for quality, subsampling in ((10, "4:2:0"), (95, "4:4:4")):
        buffer = io.BytesIO()
        PIL.Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        digest.update(buffer.getvalue())
        digest.update(decode(buffer.getvalue()).image.tobytes())
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, "WEBP", quality=40, method=4)
    digest.update(decode(buffer.getvalue()).image.tobytes())
    for array in (picture, noise, np.ascontiguousarray(picture[..., 2])):
        digest.update(encode_png(array))
    drawn = np.zeros((48, 48), np.uint8)  # strokes are pixels too: OpenCV 4.12 and 4.13 draw the same line differently
    cv2.polylines(drawn, [np.array([[3, 40], [17, 5], [44, 30], [21, 46]], np.int32)], False, 255, 7)
    digest.update(drawn.tobytes())
    for result in _arithmetic(picture):
        digest.update(result.tobytes())
    return digest.hexdigest()[:16]


@cache
def machine_fingerprint() -> str:
    """16 hex digits of all that decides bytes here: `codec_fingerprint`, and what each degradation draws for a small
    picture and makes of it, in floats where it has them. Takes some tenths of a second, once in a process.

    Two machines may build one dataset if theirs are equal. No part of a sample's fingerprint: there each degradation
    has its version, and touches no other's samples.
    """
    digest = hashlib.sha256(codec_fingerprint().encode())
    picture = np.ascontiguousarray(_picture()[:, :96])
    for name, kind in CATALOGUE.items():
        degradation = kind()
        params = degradation.draw(Rng("c0dec"), picture)
        digest.update(f"{name} {params!r}".encode())
        if isinstance(degradation, Rendered):
            digest.update(degradation.render(to_float(picture), params).image.tobytes())
        degraded = degradation.apply(picture, params)
        digest.update(degraded.image.tobytes())
        for truth in degraded.truth.values():
            digest.update(truth.tobytes())
        digest.update(repr((measure(picture, degraded.image), figures(picture, degraded.image))).encode())
    for format in sorted(INSTALLED):
        digest.update(extra_fingerprint(format).encode())
    return digest.hexdigest()[:16]


@cache
def extra_fingerprint(format: str) -> str:
    """16 hex digits that change when the library that reads `HEIF` or `JXL` is another one, or decodes a small picture
    otherwise. Part of the fingerprints of those samples alone that such a file is decoded for.

    JPEG XL is decoded in floats, which processors may round differently.
    """
    digest = hashlib.sha256(library_version(format).encode())
    digest.update(decode(base64.b64decode(SMALL_PICTURES[format])).image.tobytes())
    return digest.hexdigest()[:16]


def worker_fingerprint() -> tuple[str, str]:
    """The name of this machine, and its `machine_fingerprint`: for whoever asks the workers of a cluster."""
    return socket.gethostname(), machine_fingerprint()


def _picture() -> Image:
    """Edges, gradients and texture, 96×128."""
    y, x = np.mgrid[0:96, 0:128].astype(np.int64)
    texture = (Rng("c0dec").levels(96 * 128) >> 11).reshape(96, 128).astype(np.int64)
    red = x * 2 + texture // 2
    green = 128 + (y - 48) * 2 * np.where((x // 16 + y // 16) % 2 == 0, 1, -1)
    blue = 255 * ((x - 64) ** 2 + (y - 48) ** 2 < 900) - texture
    return np.asarray(np.clip(np.stack([red, green, blue], axis=-1), 0, 255), np.uint8)


def _arithmetic(picture: Image) -> Iterator[NDArray[np.generic]]:
    """What degradations and severity rest on, each once."""
    light = to_linear(picture)
    plane = np.ascontiguousarray(light[..., 1])
    yield to_uint8(to_encoded(light))
    for function in (elementary.exp, elementary.sine, elementary.cosine, elementary.tangent, elementary.arc_tangent):
        yield function(plane[::8] * 9 - 5)
    yield elementary.log(plane[::8] + 0.01)
    yield normal_table()[::64]
    for fast in (elementary.fast_exp, elementary.fast_sine):
        yield fast(plane * np.float32(-9))
    yield elementary.fast_log(plane + np.float32(0.01))
    yield means(plane, 9)
    yield smoothed(plane, 1.7)
    yield stretched(plane, 200, 300)
    yield enlarged(plane, 4)
    yield curved(np.ascontiguousarray(plane[::9, ::9]), 60, 90)
    yield spread(np.rint(plane * np.float32(1 << 14)), disc(3.3, 1 << 10), cv2.BORDER_REFLECT)
    yield averaged(picture, 3)
    yield shrunk(picture, (40, 30))
    yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    x, y = (np.rint(light[..., i] * np.float32(90 * 32)) / np.float32(32) for i in (0, 2))
    yield np.asarray(cv2.remap(np.rint(light * np.float32(1 << 14)), x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT))
    yield at_clip_size(np.tile(picture, (3, 3, 1)))
