"""Sets with several degradations: CDD-11's composites, and the folders that DA-CLIP is trained from."""

from __future__ import annotations

from patina.pipeline.sources.presets.preset import Layout, Part, Preset
from patina.synth.degradations import DACLIP_DEGRADATIONS

# CDD-11's folders and, in physical order, what they are: air before sensor, so low light comes after haze.
CDD11_LABELS = {
    "low": "low-light",
    "haze": "hazy",
    "rain": "rainy",
    "snow": "snowy",
    "low_haze": "hazy+low-light",
    "low_rain": "rainy+low-light",
    "low_snow": "snowy+low-light",
    "haze_rain": "hazy+rainy",
    "haze_snow": "hazy+snowy",
    "low_haze_rain": "hazy+rainy+low-light",
    "low_haze_snow": "hazy+snowy+low-light",
}

CDD11 = Preset(
    name="cdd-11",
    title="CDD-11",
    what="photographs with low light, haze, rain, snow and seven composites of them",
    page="https://huggingface.co/datasets/gy65896/CDD-11",
    licence=None,
    redistributable=None,
    citation="Guo, Gao, Lu, Zhu, Liu, He: OneRestore: A Universal Restoration Framework for Composite Degradation, "
    "ECCV 2024",
    facts="folders: README of gy65896/OneRestore and the set's card; counts: a public reading of the paper (13,013 and "
    "2,200 pairs from 1,383 images); no licence stated on either page",
    parts=tuple(
        Part(
            split,
            split,
            labels=CDD11_LABELS,
            count=count,
            layouts=(
                Layout(
                    "as downloaded",
                    f"[CDD-11_]{split}/{{kind:{'|'.join(CDD11_LABELS)}}}/{{id:\\d+}}",
                    f"[CDD-11_]{split}/clear/{{id:\\d+}}",
                    (f"CDD-11_{split}/low_haze/00001.png", f"CDD-11_{split}/clear/00001.png"),
                ),
            ),
        )
        for split, count in (("train", 13_013), ("test", 2_200))
    ),
    traps=(
        "its folders name the darkening first; labels here are in physical order, hazy+low-light for low_haze",
        "low_haze is brighter than low: the airlight was added after the darkening",
        "each clean image serves eleven degraded ones",
    ),
)

DACLIP = Preset(
    name="daclip",
    title="DA-CLIP's ten tasks",
    what="the folders that DA-CLIP is trained from, where somebody has laid them out already",
    page="https://github.com/Algolzw/daclip-uir",
    licence=None,
    redistributable=None,
    citation="Luo, Gustafsson, Zhao, Sjölund, Schön: Controlling Vision-Language Models for Universal Image "
    "Restoration, "
    "ICLR 2024",
    facts="folders: README of Algolzw/daclip-uir; test count: the sum of the paper's table. The training count is "
    "unknown: "
    "table and appendix of the paper differ (Algolzw/daclip-uir#109). Each task's images have their own set's licence",
    parts=tuple(
        Part(
            name,
            split,
            labels={name: name for name in DACLIP_DEGRADATIONS},
            count=count,
            layouts=(
                Layout(
                    "as its README lays it out",
                    f"{folder}/{{kind:{'|'.join(DACLIP_DEGRADATIONS)}}}/LQ/[rain-]{{id}}[_rain]",
                    f"{folder}/{{kind:{'|'.join(DACLIP_DEGRADATIONS)}}}/GT/[norain-]{{id}}[_(clean|no_shadow|free)]",
                    (f"universal/{folder}/rainy/LQ/rain-001.png", f"universal/{folder}/rainy/GT/norain-001.png"),
                ),
            ),
        )
        for name, split, folder, count in (("train", "train", "train", None), ("test", "test", "val", 3490))
    ),
    traps=(
        "its own loader pairs the two folders by sorted order and never compares names; here names must agree, up to "
        "the "
        "endings of the sets that it is made of",
        "its folder val holds the papers' test sets, so it becomes test here",
        "more than half of it is faces (CelebA-HQ)",
        "its low-light pairs are LOL's, among which wrong ones are reported (`patina sources lol`); they are set aside",
    ),
)
