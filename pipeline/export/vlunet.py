"""`vlunet`: images and lists as the published VLU-Net trainers read them.

    datasets/{split}/{class}/LQ/KEY.png, …/GT/KEY.png
    datasets/{class}_{split}_paths.txt     `./{split}/{class}/LQ/KEY.png,./{split}/{class}/GT/KEY.png` a line
    datasets/clip_{split}.json             classes with a sentence: their sentences and lists, in the published order

Known from its data set (utils/dataset_utils_clip.py) and its CLIP stage (CLIP_degradation_extractor.ipynb): a line is
cut at its commas; the first "." of a path becomes "./datasets", so that the trainer must run beside the folder
`datasets`; the CLIP stage takes a list of list files and a list of sentences, and a sample's class is the place of its
file. The lists themselves were never published. Noise is three classes, by σ: noisy-15, noisy-25, noisy-50; a sample
whose degradation has no sentence there (snowy, a composite) has a list all the same, by its label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from patina.pipeline.export.format import Lists, Sample, View, Writer, put_pair, stem_of

CLASSES = {
    "image with noise": "noisy-15",
    "image with many noise": "noisy-25",
    "image with large amount of noise": "noisy-50",
    "image with haze": "hazy",
    "image with rain": "rainy",
    "image with blur": "motion-blurry",
    "image with low light": "low-light",
}
"""Its sentences in its order, and the class of each here."""


@dataclass(frozen=True)
class VluNet:
    """The format has no settings."""

    name: ClassVar[str] = "vlunet"
    version: ClassVar[int] = 2
    copies: ClassVar[bool] = True

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`."""
        return _Writer(folder / "datasets", view.shared)


def class_of(sample: Sample) -> str:
    """The class of a sample: by its sentence where it has one, which tells noise by σ; otherwise its label."""
    return CLASSES.get(sample.fact["text"]["prompt"], sample.row.degradation)


class _Writer:
    def __init__(self, folder: Path, shared: frozenset[str]) -> None:
        self._folder, self._shared = folder, shared
        self._lists = Lists(folder)
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, sample: Sample) -> Callable[[], None]:
        split, class_name = sample.row.split, class_of(sample)
        lq, gt = put_pair(self._folder, sample, f"{split}/{class_name}", stem_of(sample, self._shared), ("LQ", "GT"))

        def then() -> None:
            self._lists.add(f"{class_name}_{split}_paths.txt", f"./{lq},./{gt}\n")
            self._counts[split, class_name] += 1

        return then

    def close(self) -> None:
        self._lists.close()
        for split in {split for split, _ in self._counts}:
            known = [
                {"sentence": sentence, "paths": f"./datasets/{class_name}_{split}_paths.txt", "samples": count}
                for sentence, class_name in CLASSES.items()
                if (count := self._counts[split, class_name])
            ]
            if known:
                text = json.dumps(known, indent=2, ensure_ascii=False) + "\n"
                (self._folder / f"clip_{split}.json").write_text(text, "utf-8")
