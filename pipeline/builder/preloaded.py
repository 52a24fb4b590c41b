"""What the process that workers are forked from has ready for all of them: that process alone imports this module."""

from __future__ import annotations

import gc

import cv2

import patina.pipeline.builder.jobs  # noqa: F401 - for those who are forked
from patina.pipeline.builder.batches import code_digest, versions_here
from patina.pipeline.codec.fingerprint import codec_fingerprint

cv2.setNumThreads(1)  # a fork has none of the threads that began before it
codec_fingerprint()
versions_here()
code_digest()
gc.freeze()  # so that what is shared by all of them stays so
