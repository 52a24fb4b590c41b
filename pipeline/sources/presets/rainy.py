"""Rain100H and Rain100L, which were issued twice: first with 100 test pairs, later with 200."""

from __future__ import annotations

from patina.pipeline.sources.presets.preset import Layout, Part, Preset

PAGE = "https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
CITATION = "Yang, Tan, Feng, Liu, Guo, Yan: Deep Joint Rain Detection and Removal from a Single Image, CVPR 2017"
FACTS = (
    "page, folders: public loaders; both issues and their counts: csdwren/PReNet#21, #25 and "
    "flyywh/JORDER-E-Deep-Image-Deraining-TPAMI-2019-Journal#3; re-packed names: csdwren/PReNet's scripts, c-yn/AdaIR "
    "INSTALL.md and public listings of Rain200H; no licence found"
)
TRAPS = (
    "names of a pair differ: rain-001 and norain-001; in the later issue the rainy one is called norain-001x2 and lies "
    "in rain/X2",
    "the archive of the first issue has the rainy test images twice, beside the clean ones and in a folder of their "
    "own; "
    "they are taken once",
    "backgrounds are photographs of BSDS500, of Rain100H's test all 100 (measured): 67 of its train and test parts, "
    "which are BSD400, 24 that CBSD68 has, and nine that are there twice. patina's leak audit finds them where both "
    "are sources of one recipe",
)


def _later(kind: str, split: str, count: int) -> Layout:
    folder, number = f"rain_data_{split}_{kind}", "1" if split == "train" else "001"
    return Layout(
        "the later issue",
        f"{folder}/rain/[X2/](norain|rain)-{{id:\\d+}}[x2]",
        f"{folder}/norain/norain-{{id:\\d+}}[x2]",
        (f"{folder}/rain/X2/norain-{number}x2.png", f"{folder}/norain/norain-{number}.png"),
        count=count,
    )


def _joined(letter: str, split: str, count: int) -> Layout:
    folder = f"Rain200{letter}/{split}"
    return Layout(
        "Rain200's",
        f"{folder}/input/{{id:\\d+}}",
        f"{folder}/target/{{id:\\d+}}",
        (f"{folder}/input/1.png", f"{folder}/target/1.png"),
        count=count,
    )


def _first_training(letter: str, kind: str) -> Layout:
    folder = f"(RainTrain{letter}|rain_data_train_{kind})"
    return Layout(
        "the first issue",
        f"{folder}/[(rain|rainy)/]rain-{{id:\\d+}}",
        f"{folder}/norain-{{id:\\d+}}",
        (f"RainTrain{letter}/rain-1.png", f"RainTrain{letter}/norain-1.png"),
    )


def _test(letter: str, kind: str) -> Part:
    folder = f"Rain100{letter}"
    return Part(
        "test",
        "test",
        label="rainy",
        count=100,
        layouts=(
            Layout(
                "the first issue",
                f"{folder}/[(rain|rainy)/]rain-{{id:\\d+}}",
                f"{folder}/[(norain|gt)/]norain-{{id:\\d+}}",
                (f"{folder}/rainy/rain-001.png", f"{folder}/norain-001.png"),
            ),
            Layout(
                "MPRNet's and AdaIR's",
                f"{folder}/input/{{id:\\d+}}",
                f"{folder}/target/{{id:\\d+}}",
                (f"test/{folder}/input/1.png", f"test/{folder}/target/1.png"),
            ),
            _later(kind, "test", 200),
            _joined(letter, "test", 200),
        ),
    )


def _rain100(letter: str, kind: str, what: str, count: int, trap: str, *layouts: Layout) -> Preset:
    """One of the two sets; `layouts` are further ones of its training part."""
    every = (_first_training(letter, kind), *layouts, _later(kind, "train", 1800), _joined(letter, "train", 1800))
    return Preset(
        name=f"rain100{letter.lower()}",
        title=f"Rain100{letter}",
        what=what,
        page=PAGE,
        licence=None,
        redistributable=None,
        citation=CITATION,
        facts=FACTS,
        parts=(Part("train", "train", every, "rainy", count=count), _test(letter, kind)),
        traps=(*TRAPS, trap),
    )


RAIN100H = _rain100(
    "H",
    "Heavy",
    "photographs with heavy rain streaks in five directions",
    1800,
    "its training part has been said to contain test images (Algolzw/daclip-uir#37)",
)

RAIN100L = _rain100(
    "L",
    "Light",
    "photographs with light rain streaks in one direction",
    200,
    "a test background of it is in the usual denoising training list (rain-020 is BSDS500's 196015)",
    Layout(
        "PromptIR's",
        "Train/Derain/rainy/rain-{id:\\d+}",
        "Train/Derain/gt/norain-{id:\\d+}",
        ("Train/Derain/rainy/rain-1.png", "Train/Derain/gt/norain-1.png"),
    ),
)
