"""A dataset's samples: their table, their files, and the pixels of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patina._face.arguments import AnyPath, one_of, path_of
from patina.pipeline.codec.decode import decode, decode_map
from patina.pipeline.format import manifest
from patina.pipeline.format.layout import IMAGES
from patina.pipeline.format.manifest import SampleRow
from patina.pipeline.versions.lease import members_of, open_built, open_dataset


def read_samples(dataset: AnyPath, shards: str | Sequence[str] | None = None) -> list[SampleRow]:
    """The samples of a dataset, a row each, by shard and offset.

    A row has `key`, `split`, `entry` (of the recipe), `degradation`, `params` (JSON), `seed`, `caption`, `sentence`
    (what was done, in words), `psnr` in dB, `ssim`, `severity` (0 to 100), `clip_severity` (at CLIP's 224 px),
    `source_sha256`, `variant`, `x`, `y`, `width` and `height` in px of the photograph; its place is `shard`, `offset`,
    `size`.

    Args:
        dataset: The dataset's folder, or a version of it, such as "OUT@3" or "OUT@previous".
        shards: The name of a shard, such as "train-0000-noisy.tar", or several, to read the rows of those alone.

    Returns:
        A list of rows.

    Raises:
        ManifestError: A ValueError: there is no dataset, or a damaged one.
        ValueError: A shard is unknown.

    Examples:
        >>> import patina
        >>> rows = patina.read_samples("OUT")
        >>> len(rows), rows[0].degradation, (rows[0].width, rows[0].height)
        (8, 'jpeg-compressed', (64, 48))
    """
    with open_built(Path(path_of(dataset, "dataset"))) as opened:
        if shards is None:
            return manifest.read_samples(opened.folder)
        built = manifest.load_manifest(opened.folder)
        known = tuple(shard.name for shard in built.shards) if built else ()
        names = [shards] if isinstance(shards, str) else shards
        return manifest.read_samples(opened.folder, [one_of("shards", name, known) for name in names])


def read_members(dataset: AnyPath, row: SampleRow) -> dict[str, bytes]:
    """The files of one sample, as bytes.

    Args:
        dataset: The dataset, as `read_samples` takes it.
        row: A row that `read_samples` gave. If the dataset was published again since, the sample is read from the
            version of the row, as long as that is kept; to be sure, name one version in both calls.

    Returns:
        The bytes of each file by its extension, such as "png" (LQ), "gt.png" (GT), "txt" (the caption, UTF-8), "json"
        and the truth maps.

    Raises:
        DamagedShardError: A ValueError: other bytes lie there.
        OSError: No bytes lie there.

    Examples:
        >>> import patina
        >>> files = patina.read_members("OUT", patina.read_samples("OUT")[0])
        >>> sorted(files)
        ['gt.png', 'jpg', 'json', 'txt']
    """
    with open_dataset(Path(path_of(dataset, "dataset"))) as opened:
        return members_of(opened, row)


def wds_decoder(key: str, data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """Decode a sample's images for `webdataset`: `wds.WebDataset(…).decode(patina.wds_decoder)`.

    LQ, GT and the steps of a composite become H×W×3 uint8 RGB, and every other PNG, which is a truth map, H×W uint8 or
    uint16 as it was stored; webdataset's own "rgb8", "pil" and "torchrgb" clip 16 bits at 255 without a warning.
    Anything else gives None, so that webdataset decodes it in its way: a text to a str, JSON to a dict.

    Args:
        key: A member's extension, with or without a dot before it, such as ".gt.png".
        data: The member's bytes.

    Raises:
        BadImageError: A ValueError: the bytes are no such image.

    Examples:
        >>> import patina
        >>> files = patina.read_members("OUT", patina.read_samples("OUT")[0])
        >>> patina.wds_decoder(".gt.png", files["gt.png"]).shape
        (48, 64, 3)
    """
    name = key.lstrip(".")
    if name in IMAGES or (name.startswith("step-") and name.endswith(".png")):
        return decode(data).image
    return decode_map(data) if name.endswith(".png") else None
