"""Public sets by name: each of their layouts in miniature, what is known of each, and what is said of folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import RecipeError, SourceError
from patina.pipeline.format.layout import SPLITS
from patina.pipeline.format.manifest import read_sources
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.recipe.parse import load_recipe
from patina.pipeline.recipe.shipped import FOLDER
from patina.pipeline.sources.expect import expect_sources
from patina.pipeline.sources.folder import Folder
from patina.pipeline.sources.pairs import Pairs, check_label
from patina.pipeline.sources.preset import FromPreset, look
from patina.pipeline.sources.presets import PRESETS
from patina.pipeline.sources.presets.describe import inventory, rows, story, table
from patina.pipeline.sources.presets.preset import UNKNOWN, Layout, Part, Preset, compiled, shown
from patina.pipeline.sources.reader import Candidate, Found, image_files
from patina.synth.compose import JOINT
from patina.synth.degradation import STAGES
from patina.synth.degradations import CATALOGUE, DACLIP_DEGRADATIONS
from tests.pipeline.making import encoded, photo, picture, pixels, read_built, save, tiny_recipe

Names = tuple[str, str]


@dataclass(frozen=True)
class Miniature:
    """A part of a set in one of its layouts, a few files of it: names of LQ and GT (clean images: GT alone), what they
    become, and files that lie beside them."""

    preset: str
    part: str
    layout: str
    split: str
    label: str
    files: tuple[Names, ...]
    beside: tuple[str, ...] = ()
    variant: str = ""

    @property
    def id(self) -> str:
        return f"{self.preset}-{self.part}-{self.layout}{'-' if self.variant else ''}{self.variant}".replace(" ", "_")


def _clean(preset: str, part: str, layout: str, split: str, *names: str, beside: tuple[str, ...] = ()) -> Miniature:
    return Miniature(preset, part, layout, split, "", tuple(("", name) for name in names), beside)


ORIGINAL = "as downloaded"

MINIATURES = (
    Miniature(
        "gopro", "train", ORIGINAL, "train", "motion-blurry",
        (
            ("GOPRO_Large/train/GOPR0372_07_00/blur/000047.png", "GOPRO_Large/train/GOPR0372_07_00/sharp/000047.png"),
            ("GOPRO_Large/train/GOPR0374_11_00/blur/000047.png", "GOPRO_Large/train/GOPR0374_11_00/sharp/000047.png"),
        ),
        ("GOPRO_Large/train/GOPR0372_07_00/blur_gamma/000047.png", "GOPRO_Large/test/GOPR0384_11_00/blur/000001.png"),
    ),
    Miniature(
        "gopro", "train", ORIGINAL, "train", "motion-blurry",
        (("train/GOPR0372_07_00/blur_gamma/000047.png", "train/GOPR0372_07_00/sharp/000047.png"),),
        ("train/GOPR0372_07_00/blur/000047.png",),
        "blur_gamma",
    ),
    Miniature(
        "gopro", "train", "MPRNet's", "train", "motion-blurry",
        (("train/input/GOPR0372_07_00-000047.png", "train/target/GOPR0372_07_00-000047.png"),),
    ),
    Miniature(
        "gopro", "train", "AdaIR's", "train", "motion-blurry",
        (("Train/Deblur/blur/GOPR0372_07_00_000047.png", "Train/Deblur/sharp/GOPR0372_07_00_000047.png"),),
    ),
    Miniature(
        "gopro", "test", ORIGINAL, "test", "motion-blurry",
        (("GOPRO_Large/test/GOPR0384_11_00/blur/000001.png", "GOPRO_Large/test/GOPR0384_11_00/sharp/000001.png"),),
    ),
    Miniature(
        "gopro", "test", "MPRNet's", "test", "motion-blurry",
        (("test/GoPro/input/GOPR0384_11_00-000001.png", "test/GoPro/target/GOPR0384_11_00-000001.png"),),
    ),
    Miniature(
        "gopro", "test", "AdaIR's", "test", "motion-blurry",
        (("test/deblur/gopro/input/GOPR0384_11_00_000001.png", "test/deblur/gopro/target/GOPR0384_11_00_000001.png"),),
    ),
    Miniature(
        "reside-6k", "train", ORIGINAL, "train", "hazy",
        (
            ("RESIDE-6K/train/hazy/0048_0.9_0.2.jpg", "RESIDE-6K/train/GT/0048_0.9_0.2.jpg"),
            ("RESIDE-6K/train/hazy/0048_0.9_0.16.jpg", "RESIDE-6K/train/GT/0048_0.9_0.16.jpg"),
        ),
    ),
    Miniature(
        "reside-6k", "test", ORIGINAL, "test", "hazy",
        (("RESIDE-6K/test/hazy/0001_0.8_0.2.jpg", "RESIDE-6K/test/clear/0001_0.8_0.2.jpg"),),
    ),
    Miniature(
        "ots", "train", ORIGINAL, "train", "hazy",
        (
            ("OTS_BETA/hazy/part1/0025_0.8_0.04.jpg", "OTS_BETA/clear/0025.jpg"),
            ("OTS_BETA/hazy/part1/0025_1_0.2.jpg", "OTS_BETA/clear/0025.jpg"),
            ("OTS_BETA/hazy/part2/3068_0.8_0.1.jpg", "OTS_BETA/clear/3068.jpg"),
        ),
        ("OTS_BETA/depth/0025.png",),
    ),
    Miniature(
        "ots", "train", "PromptIR's", "train", "hazy",
        (("Train/Dehaze/synthetic/part1/0025_0.8_0.1.jpg", "Train/Dehaze/original/0025.png"),),
    ),
    Miniature(
        "ots", "train", "DehazeFormer's", "train", "hazy",
        (("RESIDE-OUT/train/hazy/0025_0.8_0.1.png", "RESIDE-OUT/train/GT/0025_0.8_0.1.png"),),
    ),
    Miniature(
        "its", "train", ORIGINAL, "train", "hazy",
        (
            ("ITS_v2/hazy/1_1_0.90179.png", "ITS_v2/clear/1.png"),
            ("ITS_v2/hazy/1_2_0.97842.png", "ITS_v2/clear/1.png"),
            ("ITS_v2/hazy/11_1_0.74031.png", "ITS_v2/clear/11.png"),
        ),
        ("ITS_v2/trans/1_1.png",),
    ),
    Miniature(
        "its", "train", "DehazeFormer's", "train", "hazy",
        (("RESIDE-IN/train/hazy/1_1_0.90179.png", "RESIDE-IN/train/GT/1_1_0.90179.png"),),
    ),
    Miniature(
        "sots", "indoor", ORIGINAL, "test", "hazy",
        (
            ("SOTS/indoor/nyuhaze500/hazy/1400_1.png", "SOTS/indoor/nyuhaze500/gt/1400.png"),
            ("SOTS/indoor/nyuhaze500/hazy/1400_10.png", "SOTS/indoor/nyuhaze500/gt/1400.png"),
            ("SOTS/indoor/nyuhaze500/hazy/1401_1.png", "SOTS/indoor/nyuhaze500/gt/1401.png"),
        ),
        ("SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png"),
    ),
    Miniature(
        "sots", "indoor", "DehazeFormer's", "test", "hazy",
        (("RESIDE-IN/test/hazy/1400_1.png", "RESIDE-IN/test/GT/1400_1.png"),),
    ),
    Miniature(
        "sots", "outdoor", ORIGINAL, "test", "hazy",
        (
            ("SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png"),
            ("SOTS/outdoor/hazy/0002_0.8_0.08.jpg", "SOTS/outdoor/gt/0002.png"),
        ),
    ),
    Miniature(
        "sots", "outdoor", "AdaIR's", "test", "hazy",
        (("test/dehaze/input/0001_0.8_0.2.jpg", "test/dehaze/target/0001.png"),),
    ),
    Miniature(
        "lol", "train", ORIGINAL, "train", "low-light",
        (
            ("LOLdataset/our485/low/2.png", "LOLdataset/our485/high/2.png"),
            ("LOLdataset/our485/low/22.png", "LOLdataset/our485/high/22.png"),
        ),
        ("LOLdataset/eval15/low/1.png", "LOLdataset/eval15/high/1.png"),
    ),
    Miniature(
        "lol", "train", "AdaIR's", "train", "low-light", (("Train/Enhance/low/2.png", "Train/Enhance/gt/2.png"),)
    ),
    Miniature(
        "lol", "train", "LYT-Net's", "train", "low-light", (("LOLv1/Train/input/2.png", "LOLv1/Train/target/2.png"),)
    ),
    Miniature(
        "lol", "test", ORIGINAL, "test", "low-light", (("LOLdataset/eval15/low/1.png", "LOLdataset/eval15/high/1.png"),)
    ),
    Miniature(
        "lol", "test", "AdaIR's", "test", "low-light",
        (("test/enhance/lol/input/1.png", "test/enhance/lol/target/1.png"),),
    ),
    Miniature(
        "lol", "test", "LYT-Net's", "test", "low-light", (("LOLv1/Test/input/1.png", "LOLv1/Test/target/1.png"),)
    ),
    Miniature(
        "lol-v2-real", "train", ORIGINAL, "train", "low-light",
        (
            ("Real_captured/Train/Low/low00001.png", "Real_captured/Train/Normal/normal00001.png"),
            ("Real_captured/Train/Low/low00012.png", "Real_captured/Train/Normal/normal00012.png"),
        ),
        ("Synthetic/Train/Low/r000da54ft.png", "Synthetic/Train/Normal/r000da54ft.png"),
    ),
    Miniature(
        "lol-v2-real", "test", ORIGINAL, "test", "low-light",
        (("LOL-v2/Real_captured/Test/Low/low00690.png", "LOL-v2/Real_captured/Test/Normal/normal00690.png"),),
    ),
    Miniature(
        "raindrop", "train", ORIGINAL, "train", "raindrop",
        (("train/data/0_rain.png", "train/gt/0_clean.png"), ("train/data/10_rain.png", "train/gt/10_clean.png")),
        ("preview/0.png",),
    ),
    Miniature(
        "raindrop", "test_a", ORIGINAL, "test", "raindrop", (("test_a/data/0_rain.png", "test_a/gt/0_clean.png"),)
    ),
    Miniature(
        "raindrop", "test_b", ORIGINAL, "test", "raindrop", (("test_b/data/0_rain.jpg", "test_b/gt/0_clean.jpg"),)
    ),
    Miniature(
        "rain100h", "train", "the first issue", "train", "rainy",
        (("RainTrainH/rain-1.png", "RainTrainH/norain-1.png"), ("RainTrainH/rain-12.png", "RainTrainH/norain-12.png")),
    ),
    Miniature(
        "rain100h", "train", "the later issue", "train", "rainy",
        (("rain_data_train_Heavy/rain/X2/norain-1x2.png", "rain_data_train_Heavy/norain/norain-1.png"),),
        ("rain_data_train_Heavy/rainstreak/norain-1streak.png",),
    ),
    Miniature(
        "rain100h", "train", "Rain200's", "train", "rainy",
        (("Rain200H/train/input/1.png", "Rain200H/train/target/1.png"),),
    ),
    Miniature(
        "rain100h", "test", "the first issue", "test", "rainy",
        (
            ("Rain100H/rainy/rain-001.png", "Rain100H/norain-001.png"),
            ("Rain100H/rainy/rain-100.png", "Rain100H/norain-100.png"),
        ),
    ),
    Miniature(
        "rain100h", "test", "MPRNet's and AdaIR's", "test", "rainy",
        (("test/Rain100H/input/1.png", "test/Rain100H/target/1.png"),),
    ),
    Miniature(
        "rain100h", "test", "the later issue", "test", "rainy",
        (("rain_data_test_Heavy/rain/X2/norain-001x2.png", "rain_data_test_Heavy/norain/norain-001.png"),),
    ),
    Miniature(
        "rain100h", "test", "Rain200's", "test", "rainy",
        (("Rain200H/test/input/1.png", "Rain200H/test/target/1.png"),),
    ),
    Miniature(
        "rain100l", "train", "the first issue", "train", "rainy",
        (("RainTrainL/rain-1.png", "RainTrainL/norain-1.png"),),
        ("RainTrainL/rainstreak-1.png", "RainTrainL/rainregion-1.png"),
    ),
    Miniature(
        "rain100l", "train", "PromptIR's", "train", "rainy",
        (("Train/Derain/rainy/rain-1.png", "Train/Derain/gt/norain-1.png"),),
    ),
    Miniature(
        "rain100l", "train", "the later issue", "train", "rainy",
        (("rain_data_train_Light/rain/norain-1x2.png", "rain_data_train_Light/norain/norain-1.png"),),
    ),
    Miniature(
        "rain100l", "train", "Rain200's", "train", "rainy",
        (("Rain200L/train/input/1.png", "Rain200L/train/target/1.png"),),
    ),
    Miniature(
        "rain100l", "test", "the first issue", "test", "rainy",
        (("Rain100L/rain/rain-001.png", "Rain100L/norain/norain-001.png"),),
    ),
    Miniature(
        "rain100l", "test", "MPRNet's and AdaIR's", "test", "rainy",
        (("test/derain/Rain100L/input/1.png", "test/derain/Rain100L/target/1.png"),),
    ),
    Miniature(
        "rain100l", "test", "the later issue", "test", "rainy",
        (("rain_data_test_Light/rain/X2/norain-001x2.png", "rain_data_test_Light/norain/norain-001.png"),),
    ),
    Miniature(
        "rain100l", "test", "Rain200's", "test", "rainy",
        (("Rain200L/test/input/1.png", "Rain200L/test/target/1.png"),),
    ),
    Miniature(
        "srd", "train", ORIGINAL, "train", "shadowed",
        (
            ("SRD/Train/shadow/IMG_5456.jpg", "SRD/Train/shadow_free/IMG_5456_no_shadow.jpg"),
            ("SRD/Train/shadow/DSCF0647.jpg", "SRD/Train/shadow_free/DSCF0647_no_shadow.jpg"),
        ),
        ("SRD/Train/mask/IMG_5456.jpg",),
    ),
    Miniature(
        "srd", "train", "re-packed like ISTD", "train", "shadowed",
        (("train/train_A/IMG_5456.jpg", "train/train_C/IMG_5456_no_shadow.jpg"),),
        ("train/train_B/IMG_5456.jpg",),
    ),
    Miniature(
        "srd", "test", ORIGINAL, "test", "shadowed",
        (("test_data/shadow/IMG_6456.jpg", "test_data/shadow_free/IMG_6456_free.jpg"),),
    ),
    Miniature(
        "srd", "test", "re-packed like ISTD", "test", "shadowed",
        (("test/test_A/IMG_6456.jpg", "test/test_C/IMG_6456_free.jpg"),),
    ),
    Miniature(
        "istd", "train", ORIGINAL, "train", "shadowed",
        (
            ("ISTD_Dataset/train/train_A/1-1.png", "ISTD_Dataset/train/train_C/1-1.png"),
            ("ISTD_Dataset/train/train_A/100-12.png", "ISTD_Dataset/train/train_C/100-12.png"),
        ),
        ("ISTD_Dataset/train/train_B/1-1.png", "ISTD_Dataset/train/train_C_fixed_ours/1-1.png"),
    ),
    Miniature(
        "istd", "test", ORIGINAL, "test", "shadowed",
        (("ISTD_Dataset/test/test_A/90-1.png", "ISTD_Dataset/test/test_C/90-1.png"),),
    ),
    Miniature(
        "snow100k", "train", ORIGINAL, "train", "snowy",
        (
            ("all/synthetic/beautiful_smile_00003.jpg", "all/gt/beautiful_smile_00003.jpg"),
            ("all/synthetic/city_read_04354.jpg", "all/gt/city_read_04354.jpg"),
        ),
        ("all/mask/beautiful_smile_00003.jpg",),
    ),
    Miniature(
        "snow100k", "train", ORIGINAL, "train", "snowy",
        (("all/synthetic/beautiful_smile_00003.jpg", "all/gt/beautiful_smile_00003.jpg"),),
        ("all/synthetic/city_read_04354.jpg", "all/gt/city_read_04354.jpg"),
        "beautiful_smile",
    ),
    *(
        Miniature(
            "snow100k", f"test-{size.lower()}", ORIGINAL, "test", "snowy",
            (
                (
                    f"media/jdway/GameSSD/overlapping/test/Snow100K-{size}/synthetic/city_read_00001.jpg",
                    f"media/jdway/GameSSD/overlapping/test/Snow100K-{size}/gt/city_read_00001.jpg",
                ),
            ),
        )
        for size in "SML"
    ),
    Miniature(
        "cdd-11", "train", ORIGINAL, "train", "hazy+low-light",
        (("CDD-11_train/low_haze/00001.png", "CDD-11_train/clear/00001.png"),),
    ),
    Miniature("cdd-11", "test", ORIGINAL, "test", "snowy", (("test/snow/00001.png", "test/clear/00001.png"),)),
    Miniature(
        "daclip", "train", "as its README lays it out", "train", "shadowed",
        (("train/shadowed/LQ/IMG_5456.jpg", "train/shadowed/GT/IMG_5456_no_shadow.jpg"),),
    ),
    Miniature(
        "daclip", "test", "as its README lays it out", "test", "raindrop",
        (("universal/val/raindrop/LQ/0_rain.png", "universal/val/raindrop/GT/0_clean.png"),),
    ),
    _clean(
        "div2k", "train", ORIGINAL, "train", "DIV2K_train_HR/0001.png", "DIV2K_train_HR/0800.png",
        beside=("DIV2K_train_LR_bicubic/X2/0001x2.png",),
    ),
    _clean("div2k", "val", ORIGINAL, "val", "DIV2K_valid_HR/0801.png"),
    _clean(
        "flickr2k", "train", ORIGINAL, "train", "Flickr2K/Flickr2K_HR/000001.png",
        beside=("Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png",),
    ),
    _clean(
        "celeba-hq", "train", "images by number", "train", "celeba_hq_256/00100.jpg", "celeba_hq_256/29999.jpg",
        beside=("celeba_hq_256/00099.jpg",),
    ),
    _clean(
        "celeba-hq", "test", "images by number", "test", "CelebA-HQ-img/0.jpg", "CelebA-HQ-img/99.jpg",
        beside=("CelebA-HQ-img/100.jpg",),
    ),
    _clean(
        "bsd400", "train", "BSDS500's training and test images", "train",
        "BSDS500/data/images/test/2018.jpg", "BSDS500/data/images/train/100075.jpg",
        beside=("BSDS500/data/images/val/101085.jpg",),
    ),
    _clean("bsd400", "train", "re-packed", "train", "BSD400/100075.jpg", "BSD400/a196015.jpg"),
    _clean("wed", "train", ORIGINAL, "train", "exploration_database_and_code/pristine_images/00001.bmp"),
    _clean("wed", "train", "re-packed", "train", "WED/04744.bmp"),
    _clean(
        "cbsd68", "clean", ORIGINAL, "test", "CBSD68/original_png/0000.png", "CBSD68/original_png/0067.png",
        beside=("CBSD68/noisy25/0000.png",),
    ),
    _clean("cbsd68", "clean", "re-packed", "test", "testsets/CBSD68/12084.png", "testsets/CBSD68/3096.png"),
    _clean("cbsd68", "clean", "AdaIR's", "test", "test/denoise/bsd68/12084.jpg", "test/denoise/bsd68/3096.jpg"),
    Miniature(
        "cbsd68", "noisy", ORIGINAL, "test", "noisy",
        (
            ("CBSD68/noisy15/0000.png", "CBSD68/original_png/0000.png"),
            ("CBSD68/noisy50/0000.png", "CBSD68/original_png/0000.png"),
        ),
    ),
    _clean(
        "live1", "clean", ORIGINAL, "test", "databaserelease2/refimgs/sailing2.bmp",
        beside=("databaserelease2/jpeg/img1.bmp",),
    ),
    _clean("live1", "clean", "re-packed", "test", "testsets/LIVE1_color/sailing2.bmp"),
    _clean("kodak24", "clean", ORIGINAL, "test", "kodim01.png", "kodim24.png"),
    _clean(
        "urban100", "clean", ORIGINAL, "test", "data/Urban100/image_SRF_4/img_001_SRF_4_HR.png",
        beside=(
            "cache/vpdetection/img_100_SRF_2_LR-vanishingpoints.png",
            "data/BSD100/image_SRF_3/img_001_SRF_3_HR.png",
            "data/BSD100/image_SRF_4/img_001_SRF_4_HR.png",
            "data/BSD100/image_SRF_4/img_001_SRF_4_LR.png",
            "data/Urban100/image_SRF_2/img_001_SRF_2_HR.png",
            "data/Urban100/image_SRF_4/img_001_SRF_4_LR.png",
        ),
    ),
    _clean("urban100", "clean", "re-packed", "test", "urban100/img_001.png", "urban100/img_100.png"),
    _clean(
        "repaint-masks", "thin", "DA-CLIP's", "", "scripts/inpainting_masks/000000.png",
        "scripts/inpainting_masks/000099.png", beside=("figs/overview.jpg", "images/3_rain.png"),
    ),
    *(
        _clean("repaint-masks", part, ORIGINAL, "", f"gt_keep_masks/{part}/000000.png", f"masks/{part}/000099.png")
        for part in ("thin", "thick", "genhalf", "ev2li", "nn2", "ex64")
    ),
)  # fmt: skip


def touch(folder: Path, *names: str) -> Path:
    """Empty files: a reader opens none."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def lay_out(folder: Path, miniature: Miniature) -> Path:
    return touch(folder, *(name for pair in miniature.files for name in pair if name), *miniature.beside)


def seen(candidate: Candidate, folder: Path) -> Names:
    """Names of a candidate's LQ and GT below the folder."""
    lq = Path(candidate.lq).relative_to(folder).as_posix() if candidate.lq else ""
    assert Path(candidate.path).relative_to(folder).as_posix() == candidate.name
    return lq, candidate.name


def find(folder: Path, name: str, *names: str, part: str = "", variant: str = "") -> Found:
    return FromPreset(name, str(touch(folder, *names)), part, variant).find()


# ---------------------------------------------------------------------------------------------------------------------
# Every layout in miniature


@pytest.mark.parametrize("miniature", MINIATURES, ids=lambda miniature: miniature.id)
def test_every_layout_is_recognised_and_paired_as_its_names_say(miniature: Miniature, tmp_path: Path) -> None:
    folder = lay_out(tmp_path, miniature)
    preset = PRESETS[miniature.preset]
    names = [name for name, _ in image_files(str(folder), "path")[0]]
    recognition = look(preset, names, str(folder), [preset.part(miniature.part)], preset.variant(miniature.variant))
    assert [match.layout.title for match in recognition.matches] == [miniature.layout]
    assert recognition.matches[0].unpaired == ()
    assert recognition.ignored == len(miniature.beside)
    if preset.masks:
        assert [pair.gt for pair in recognition.matches[0].pairs] == [gt for _, gt in miniature.files]
        return
    found = FromPreset(miniature.preset, str(folder), miniature.part, miniature.variant).find()
    assert [seen(candidate, folder) for candidate in found.candidates] == sorted(
        miniature.files, key=lambda pair: (pair[1], pair[0])
    )
    assert {(c.split, c.degradation) for c in found.candidates} == {(miniature.split, miniature.label)}
    assert list(found.refusals) == []
    assert found.ignored == len(miniature.beside)


def test_there_is_a_miniature_of_every_layout() -> None:
    every = {(w, p.name, layout.title) for w, preset in PRESETS.items() for p in preset.parts for layout in p.layouts}
    assert {(m.preset, m.part, m.layout) for m in MINIATURES} == every


def test_each_part_keeps_its_own_side_and_several_sets_may_lie_in_one_folder(tmp_path: Path) -> None:
    for miniature in MINIATURES:
        if not miniature.variant and not PRESETS[miniature.preset].masks:
            lay_out(tmp_path / miniature.preset, miniature)
    for name, parts in {"gopro": 2, "raindrop": 3, "snow100k": 4, "cbsd68": 1, "div2k": 2}.items():
        found = FromPreset(name, str(tmp_path / name)).find()
        preset = PRESETS[name]
        assert {c.split for c in found.candidates} == {part.split for part in preset.parts}
        wanted = [m for m in MINIATURES if m.preset == name and not m.variant and not preset.part(m.part).asked]
        assert len({m.part for m in wanted}) == parts
        chosen = {(m.part, m.layout): len(m.files) for m in wanted}
        most = {part: max(n for (p, _), n in chosen.items() if p == part) for part, _ in chosen}
        assert len(found.candidates) == sum(most.values())  # of several layouts of a part, the fullest one
    everything = FromPreset("lol", str(tmp_path)).find()  # all those sets in one folder
    assert {c.degradation for c in everything.candidates} == {"low-light"}
    assert len(everything.candidates) == 3


# ---------------------------------------------------------------------------------------------------------------------
# Every preset

EVERY_PART = [(preset, part) for preset in PRESETS.values() for part in preset.parts]
EVERY_LAYOUT = [(preset, part, layout) for preset, part in EVERY_PART for layout in part.layouts]


@pytest.mark.parametrize(("name", "preset"), PRESETS.items())
def test_every_preset_says_where_it_is_from_and_what_may_be_done_with_it(name: str, preset: Preset) -> None:
    assert preset.name == name
    assert preset.page.startswith("https://")
    assert all([preset.title, preset.what, preset.citation, preset.facts])
    assert preset.licence is None or len(preset.licence) > 5
    assert not (preset.redistributable and preset.licence is None), "nobody allows it"
    assert preset.terms == (preset.licence or UNKNOWN)
    assert len({part.name for part in preset.parts}) == len(preset.parts)
    assert len({variant.name for variant in preset.variants}) == len(preset.variants)
    for variant in preset.variants:
        assert set(variant.counts) <= {part.name for part in preset.parts}
        assert variant.what


@pytest.mark.parametrize(("preset", "part"), EVERY_PART, ids=lambda one: getattr(one, "name", ""))
def test_every_parts_labels_and_sides_are_ones_that_a_dataset_has(preset: Preset, part: Part) -> None:
    assert part.split in SPLITS or (preset.masks and part.split == "")
    assert part.count is None or part.count > 0
    assert bool(part.every_label()) == part.paired
    for label in part.every_label():
        check_label(label)
        words = label.split(JOINT)
        assert set(words) <= set(DACLIP_DEGRADATIONS)
        stages = [STAGES.index(CATALOGUE[name].stage) for name in words]
        assert stages == sorted(stages), "not in physical order, as the same composite made here is called"
    for layout in part.layouts:
        assert bool(layout.lq) == part.paired
        assert set(layout.variants) <= {variant.name for variant in preset.variants}


@pytest.mark.parametrize(
    ("preset", "part", "layout"), EVERY_LAYOUT, ids=[f"{p.name}-{part.name}-{at.title}" for p, part, at in EVERY_LAYOUT]
)
def test_every_layouts_example_fits_its_own_templates_and_no_other(preset: Preset, part: Part, layout: Layout) -> None:
    variant = preset.variant(layout.variants[0] if layout.variants else "")
    folder = variant.folder if variant else ""
    sides = [side for side in (layout.lq, layout.gt) if side]
    assert len(layout.example) == len(sides)
    others = {t for p in preset.parts for at in p.layouts for t in (at.lq, at.gt) if t}
    for side, example in zip(sides, layout.example, strict=True):
        fitting = {t for t in others if compiled(t, folder).fullmatch(example.rpartition(".")[0])}
        assert fitting == {side}
        assert "<variant>" in side or compiled(side, "other") == compiled(side, folder)
    if layout.lq:
        lq, gt = (set(compiled(side, folder).groupindex) for side in sides)
        assert lq & gt, "nothing says which belong together"
        assert gt <= lq
        assert set(part.facts) <= lq
        assert bool(part.labels) == ("kind" in lq)


def test_a_template_means_what_its_first_lines_say() -> None:
    template = "train/{scene}/<variant>/[part{n:\\d+}/](a|b)-{id:\\d{2,3}}"
    fit = compiled(template, "blur").fullmatch("some/where/TRAIN/x.y/Blur/part7/b-123")
    assert fit is not None
    assert fit.groupdict() == {"scene": "x.y", "n": "7", "id": "123"}
    assert compiled(template, "blur").fullmatch("train/x/blur/a-12") is not None
    for wrong in (
        "train/x/sharp/a-12",
        "train/x/blur/c-12",
        "train/x/blur/a-1",
        "xtrain/x/blur/a-12",
        "train/x/y/blur/a-12",
    ):
        assert compiled(template, "blur").fullmatch(wrong) is None
    assert shown(template, "blur") == "train/{scene}/blur/[part{n}/](a|b)-{id}"
    with pytest.raises(ValueError, match=r"cannot be understood from '\{id'"):
        compiled("train/{id")


# ---------------------------------------------------------------------------------------------------------------------
# Names that people trip over


def test_cdd11s_eleven_folders_have_labels_in_physical_order(tmp_path: Path) -> None:
    folders = {
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
    names = [f"train/{folder}/{i:05d}.png" for folder in ("clear", *folders) for i in (1, 2)]
    found = find(tmp_path, "cdd-11", *names, part="train")
    labels = {Path(c.lq).parent.name: c.degradation for c in found.candidates}
    assert labels == folders
    assert len(found.candidates) == 22
    assert all(Path(c.lq).name == Path(c.path).name for c in found.candidates)


def test_daclips_own_folders_are_labelled_by_their_names_and_paired_by_names_not_by_order(tmp_path: Path) -> None:
    names = []
    for name in DACLIP_DEGRADATIONS:
        names += [f"universal/train/{name}/{side}/{i}.png" for side in ("LQ", "GT") for i in (1, 2)]
    names += ["universal/train/rainy/LQ/rain-007.png", "universal/train/rainy/GT/norain-007.png"]
    names += ["universal/train/hazy/LQ/0048_0.9_0.2.jpg"]  # its clean image is missing: sorted lists would shift
    found = find(tmp_path, "daclip", *names)
    assert {c.degradation for c in found.candidates} == set(DACLIP_DEGRADATIONS)
    assert len(found.candidates) == 2 * len(DACLIP_DEGRADATIONS) + 1
    assert ("rain-007.png", "norain-007.png") in {(Path(c.lq).name, Path(c.path).name) for c in found.candidates}
    assert [r.name for r in found.refusals] == ["universal/train/hazy/LQ/0048_0.9_0.2.jpg"]


def test_cbsd68s_noisy_images_come_only_when_asked_for_and_know_their_sigma(tmp_path: Path) -> None:
    names = [f"CBSD68/{folder}/0000.png" for folder in ("original_png", "noisy15", "noisy50")]
    assert [c.lq for c in find(tmp_path, "cbsd68", *names).candidates] == [""]
    assert not FromPreset("cbsd68", str(tmp_path)).has_pairs
    found = find(tmp_path, "cbsd68", part="noisy")
    assert [dict(c.params) for c in found.candidates] == [{"sigma": 15.0}, {"sigma": 50.0}]
    assert FromPreset("cbsd68", str(tmp_path), "noisy").has_pairs


def test_indoor_haze_may_have_a_border_of_ten_pixels_and_outdoor_haze_has_none(tmp_path: Path) -> None:
    names = ["indoor/hazy/1400_1.png", "indoor/gt/1400.png", "outdoor/hazy/0001_0.8_0.2.jpg", "outdoor/gt/0001.png"]
    found = find(tmp_path, "sots", *names)
    assert {c.name: c.border for c in found.candidates} == {"indoor/gt/1400.png": 10, "outdoor/gt/0001.png": 0}
    found = find(tmp_path, "its", "ITS/hazy/1_1_0.90179.png", "ITS/clear/1.png")
    assert [c.border for c in found.candidates] == [10]


def test_outdoor_training_haze_does_not_swallow_the_test_set_beside_it(tmp_path: Path) -> None:
    names = ["OTS/hazy/0025_0.8_0.04.jpg", "OTS/clear/0025.jpg", "SOTS/outdoor/hazy/0001_0.8_0.2.jpg"]
    found = find(tmp_path, "ots", *names, "SOTS/outdoor/gt/0001.png")
    assert [c.name for c in found.candidates] == ["OTS/clear/0025.jpg"]


def test_clean_images_that_no_haze_was_made_of_are_passed_over_with_a_note(tmp_path: Path) -> None:
    names = ["OTS/hazy/0025_0.8_0.04.jpg", "OTS/clear/0025.jpg", "OTS/clear/0026.jpg", "OTS/clear/0027.jpg"]
    found = find(tmp_path, "ots", *names)
    assert len(found.candidates) == 1
    assert list(found.refusals) == []
    assert "ots, part train: 2 clean images have no degraded one and are passed over" in found.notes


def test_images_that_an_archive_holds_twice_are_taken_once(tmp_path: Path) -> None:
    names = [f"Rain100H/{name}" for name in ("norain-001.png", "rain-001.png", "rainy/rain-001.png")]
    found = find(tmp_path, "rain100h", *names, part="test")
    assert [seen(c, tmp_path) for c in found.candidates] == [("Rain100H/rain-001.png", "Rain100H/norain-001.png")]
    twice = "rain100h, part test: 1 image lies there twice, such as Rain100H/rainy/rain-001.png; one is taken"
    assert twice in found.notes


def test_of_two_clean_images_the_one_that_lies_nearer_is_the_partner(tmp_path: Path) -> None:
    names = [f"{copy}/our485/{side}/2.png" for copy in ("a", "b") for side in ("low", "high")]
    found = find(tmp_path, "lol", *names)
    assert [seen(c, tmp_path) for c in found.candidates] == [("a/our485/low/2.png", "a/our485/high/2.png")]


def test_files_without_a_partner_are_set_aside_by_name_with_the_name_that_was_expected(tmp_path: Path) -> None:
    names = ["train/data/0_rain.png", "train/gt/0_clean.png", "train/data/1_rain.png", "train/gt/2_clean.png"]
    found = find(tmp_path, "raindrop", *names)
    assert [c.name for c in found.candidates] == ["train/gt/0_clean.png"]
    assert {r.name: r.reason for r in found.refusals} == {
        "train/data/1_rain.png": "no clean image matches it; expected train/gt/{id}_clean",
        "train/gt/2_clean.png": "no degraded image matches it; expected train/(data|input)/{id}_rain",
    }


def test_two_clean_images_of_one_name_are_refused_rather_than_guessed(tmp_path: Path) -> None:
    names = ["our485/low/2.png", "our485/high/2.png", "our485/high/2.jpg", "our485/low/5.png", "our485/high/5.png"]
    found = find(tmp_path, "lol", *names)
    assert [c.name for c in found.candidates] == ["our485/high/5.png"]
    assert [r.reason for r in found.refusals] == [
        "several clean images match it: our485/high/2.jpg and our485/high/2.png"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# What is said


def test_numbers_other_than_published_and_parts_that_are_not_there_are_notes(tmp_path: Path) -> None:
    found = find(tmp_path, "lol", "our485/low/2.png", "our485/high/2.png")
    assert list(found.notes) == [
        "lol, part train: 1 pair found, 485 are published (as downloaded)",
        "lol: its part test is not there (15 pairs)",
    ]


def test_a_part_of_which_one_side_is_missing_is_told_apart_from_one_that_is_not_there(tmp_path: Path) -> None:
    names = ["train/hazy/1.jpg", "train/GT/1.jpg", "test/hazy/2.jpg", "test/hazy/3.jpg"]
    half = (
        "only 2 images without a partner, such as test/hazy/2.jpg: no clean image matches it; expected "
        "test/(GT|clear)/{id}"
    )
    found = find(tmp_path, "reside-6k", *names)
    assert found.notes[1] == f"reside-6k: its part test is not there (1000 pairs), {half}"
    assert found.ignored == 2
    lines, _ = inventory(PRESETS["reside-6k"], names, "/data/RESIDE-6K")
    assert lines[1:] == ["missing   test: 1000 pairs", f"          {half}", "besides   2 images in no part"]
    with pytest.raises(SourceError) as caught:
        find(tmp_path, "reside-6k", part="test")
    assert f"\npart test: {half}\n" in str(caught.value)


def test_a_set_that_is_not_there_says_which_it_is_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        FromPreset("gopro", str(tmp_path / "none")).find()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"path: expected GoPro at {tmp_path}/none, found nothing; unpack it there")
    assert "patina sources gopro" in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="found no image at all\nknown layouts"):
        FromPreset("gopro", str(tmp_path / "empty")).find()


def test_all_sources_that_cannot_be_used_are_told_at_once_and_one_in_full(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "set" / "b.png")
    good, gone = Folder(str(tmp_path / "photos")), Pairs(str(tmp_path / "lq"), str(tmp_path / "photos"), "hazy")
    bad = FromPreset("lol", str(tmp_path / "set"))
    away = Folder("memory://nowhere/photos")  # not asked for
    expect_sources([good, away])
    with pytest.raises(SourceError) as caught:
        expect_sources([good, gone, away, bad])
    first, *each, last = str(caught.value).split("\n")
    assert first == "2 of 4 sources cannot be used:"
    assert each == [
        f"  [[sources]] 2: lq: expected a folder of photographs at {tmp_path}/lq, found nothing",
        f"  [[sources]] 4: path: expected LOL (v1) (train, test) below {tmp_path}/set, found 1 image in none of its "
        "known layouts",
    ]
    assert "patina recipes" in last
    with pytest.raises(SourceError) as caught:
        expect_sources([good, bad])
    with pytest.raises(SourceError) as alone:
        bad.find()
    assert str(caught.value) == f"[[sources]] 2: {alone.value}"


def test_a_complete_part_and_one_of_unknown_number_leave_no_note(tmp_path: Path) -> None:
    names = [f"eval15/{side}/{i}.png" for side in ("low", "high") for i in range(15)]
    assert list(find(tmp_path / "lol", "lol", *names, part="test").notes) == []
    drops = find(tmp_path / "raindrop", "raindrop", "test_b/data/0_rain.jpg", "test_b/gt/0_clean.jpg", part="test_b")
    assert list(drops.notes) == []


def test_a_layouts_own_number_counts_and_so_does_a_variants() -> None:
    preset = PRESETS["rain100h"]
    test = preset.part("test")
    counts = {layout.title: preset.expected(test, layout, None) for layout in test.layouts}
    assert counts == {"the first issue": 100, "MPRNet's and AdaIR's": 100, "the later issue": 200, "Rain200's": 200}
    snow = PRESETS["snow100k"]
    smiles = snow.variant("beautiful_smile")
    assert [snow.expected(part, None, smiles) for part in snow.parts] == [1872, None, None, 601]
    assert [snow.expected(part, None, snow.variant("")) for part in snow.parts] == [50_000, 16_611, 16_588, 16_801]


def test_the_numbers_of_daclips_ten_tasks_are_those_of_its_table() -> None:
    counts = {name: [part.count for part in PRESETS[name].parts] for name in PRESETS}
    assert counts["gopro"] == [2103, 1111]
    assert counts["reside-6k"] == [6000, 1000]
    assert counts["lol"] == [485, 15]
    assert counts["raindrop"] == [861, 58, None]
    assert counts["rain100h"] == [1800, 100]
    assert counts["srd"] == [2680, 408]
    assert counts["celeba-hq"] == [29_900, 100]
    assert (counts["live1"], counts["cbsd68"][0]) == ([29], 68)


def test_a_folder_in_no_known_layout_says_what_it_holds_what_was_expected_and_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        find(tmp_path, "lol", "night/1.png", "night/2.png", "day/deep/er/1.png", "0.png", part="train")
    message = str(caught.value)
    assert message.startswith(f"path: expected LOL (v1) (train) below {tmp_path}, found 4 images in none of its known")
    assert message.splitlines()[1:5] == [
        "  .: 1 image",
        "  day/deep: 1 image",
        "  night: 2 images",
        "known layouts, below any folder, with any image suffix:",
    ]
    layout = (
        "  train, as downloaded\n"
        "    our485/low/{id}, such as LOLdataset/our485/low/2.png\n"
        "    our485/high/{id}, such as LOLdataset/our485/high/2.png\n"
    )
    assert layout in message
    assert "Train/Enhance/gt/{id}, such as" in message
    assert "eval15" not in message  # of another part than was asked for
    assert message.endswith("https://daooshee.github.io/BMVC2018website/")


def test_many_folders_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"… and 8 folders more"):
        find(tmp_path, "lol", *(f"folder{i:02d}/1.png" for i in range(20)))


def test_a_part_that_was_asked_for_must_be_there_and_one_side_alone_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected LOL \(v1\) \(test\) below"):
        find(tmp_path, "lol", "our485/low/2.png", "our485/high/2.png", "eval15/low/1.png", part="test")


def test_a_repacked_copy_does_not_pass_for_a_variant_that_it_does_not_hold(tmp_path: Path) -> None:
    names = ("train/input/GOPR0372_07_00-000047.png", "train/target/GOPR0372_07_00-000047.png")
    assert len(find(tmp_path, "gopro", *names).candidates) == 1
    with pytest.raises(SourceError, match=r"expected GoPro \(train, test; blur_gamma\)") as caught:
        find(tmp_path, "gopro", variant="blur_gamma")
    assert "train/{scene}/blur_gamma/{frame}" in str(caught.value)
    assert "train/[GoPro/]input" not in str(caught.value)


def test_masks_are_no_photographs_and_the_message_says_where_to_name_them() -> None:
    with pytest.raises(SourceError, match=r'\[degradations.uncompleted\] masks = "/data/gt_keep_masks/thin"'):
        FromPreset("repaint-masks", "/data/gt_keep_masks")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "gopr"}, "name: there is no preset 'gopr'; known: gopro, reside-6k"),
        ({"name": "gopro", "part": "tset"}, "part: expected one or a list of train, test, found ('tset',)"),
        ({"name": "gopro", "part": ("train", 3)}, "part: expected one or a list of train, test, found ('train', 3)"),
        ({"name": "gopro", "variant": "gamma"}, "variant: expected one of blur, blur_gamma, found 'gamma'"),
        ({"name": "lol", "variant": "gamma"}, "variant: lol has none, found 'gamma'"),
        ({"name": "div2k", "degradations": "noisy"}, "degradations: expected names of [degradations] tables"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_listed(settings: dict[str, str], told: str) -> None:
    with pytest.raises(SourceError) as caught:
        FromPreset(path="/nowhere", **settings)
    assert str(caught.value).startswith(told)


def test_licence_and_citation_are_the_sets_own() -> None:
    unknown, known = FromPreset("lol", "/nowhere"), FromPreset("istd", "/nowhere", split="val")
    assert (unknown.licence, known.licence) == ("unknown: ask the authors", "research and non-commercial use only")
    assert known.attribution.startswith("Wang, Li, Yang")
    assert (known.title, known.split, known.degradation, known.has_pairs) == ("ISTD", "val", "", True)


def test_a_folder_below_the_sets_own_is_recognised_too(tmp_path: Path) -> None:
    touch(tmp_path, "SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png")
    assert len(FromPreset("sots", str(tmp_path / "SOTS" / "outdoor")).find().candidates) == 1
    touch(tmp_path, "DIV2K_train_HR/0001.png")
    assert len(FromPreset("div2k", str(tmp_path / "DIV2K_train_HR")).find().candidates) == 1
    touch(tmp_path, "Real_captured/Train/Low/low00001.png", "Real_captured/Train/Normal/normal00001.png")
    assert len(FromPreset("lol-v2-real", str(tmp_path / "Real_captured/Train")).find().candidates) == 1


def test_a_set_may_lie_at_an_address(tmp_path: Path) -> None:
    touch(tmp_path, "our485/low/2.png", "our485/high/2.png")
    (candidate,) = FromPreset("lol", f"file://{tmp_path}").find().candidates
    assert candidate.name == "our485/high/2.png"
    assert candidate.lq == f"file://{tmp_path}/our485/low/2.png"


# ---------------------------------------------------------------------------------------------------------------------
# `patina sources`


def test_the_table_has_a_row_for_every_set() -> None:
    every = rows(PRESETS)
    assert [row["name"] for row in every] == list(PRESETS)
    assert all(all(row.values()) for row in every)
    drops = next(row for row in every if row["name"] == "raindrop")
    assert drops == {
        "name": "raindrop",
        "what": "raindrop",
        "images": "861 train + 58 test_a + ? test_b",
        "licence": "unknown",
    }


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_sets_story_has_all_that_is_known_and_a_table_that_a_recipe_takes(preset: Preset, tmp_path: Path) -> None:
    lines = story(preset)
    told = "\n".join(lines)
    for known in (preset.page, preset.terms, preset.citation, preset.facts, *preset.traps):
        assert known in told
    for part in preset.parts:
        for layout in part.layouts:
            assert not preset.variant("") or "<variant>" not in told
            assert layout.example[0] in told
    pasted = table(preset, "data/set")
    if preset.masks:
        with pytest.raises(RecipeError, match="masks: expected a folder of mask images"):
            load_text(tmp_path, '[[sources]]\npath = "photos"\n' + "\n".join(pasted))
        return
    recipe = load_text(tmp_path, "\n".join(pasted) + "\n[degradations.noisy]\n")
    assert recipe == FromPreset(preset.name, str(tmp_path / "data/set"))
    uncommented = "\n".join(line.removeprefix("# ") for line in pasted)
    assert isinstance(load_text(tmp_path, uncommented + "\n[degradations.noisy]\n"), FromPreset)


def load_text(folder: Path, text: str) -> object:
    """The first source of a recipe."""
    (folder / "recipe.toml").write_text(text, "utf-8")
    return load_recipe(folder / "recipe.toml").sources[0]


def test_an_inventory_counts_what_is_there_and_names_what_is_not() -> None:
    names = [
        "train/GOPR0372_07_00/blur/000047.png",
        "train/GOPR0372_07_00/blur_gamma/000047.png",
        "train/GOPR0372_07_00/blur_gamma/000048.png",
        "train/GOPR0372_07_00/sharp/000047.png",
        "train/GOPR0372_07_00/sharp/000048.png",
        "readme.png",
    ]
    lines, found = inventory(PRESETS["gopro"], names, "/data/GOPRO_Large")
    assert found
    assert lines == [
        "variant blur",
        "found     train: 1 of 2103 pairs; layout: as downloaded",
        "          train/GOPR0372_07_00/sharp/000048.png: no degraded image matches it; expected "
        "train/{scene}/blur/{frame}",
        "missing   test: 1111 pairs",
        "besides   3 images in no part",
        "variant blur_gamma",
        "found     train: 2 of 2103 pairs; layout: as downloaded",
        "missing   test: 1111 pairs",
        "besides   2 images in no part",
    ]
    assert inventory(PRESETS["gopro"], ["a.png"], "/data/x")[1] is False


def test_an_inventory_of_composites_counts_each_and_of_many_without_partner_names_five() -> None:
    names = ["train/clear/00001.png", "train/haze/00001.png", "train/low_haze/00001.png"]
    names += [f"train/snow/0010{i}.png" for i in range(7)]
    lines, _ = inventory(PRESETS["cdd-11"], names, "/data/CDD-11")
    assert "          hazy+low-light: 1" in lines
    assert "          low-light: 0" in lines
    assert "          … and 2 more without a partner" in lines


# ---------------------------------------------------------------------------------------------------------------------
# Through a build


def test_a_recipe_of_presets_gives_each_clean_set_its_own_degradations_and_mends_the_border(tmp_path: Path) -> None:
    data = tmp_path / "data"
    clean = photo(data / "SOTS/indoor/gt/1400.png", 84, 68, 1)
    inner = pixels(clean.read_bytes())[10:-10, 10:-10]
    hazy = np.rint(0.3 * inner + 0.7 * 220).astype(np.uint8)
    save(data / "SOTS/indoor/hazy/1400_1.png", hazy)
    photo(data / "kodak/kodim01.png", 768, 512, seed=2)
    save(data / "live1/LIVE1/sailing2.bmp", picture(seed=3))
    recipe = tiny_recipe(
        tmp_path,
        sources=[
            {"kind": "preset", "name": "sots", "path": "data/SOTS", "part": "indoor"},
            {"kind": "preset", "name": "kodak24", "path": "data/kodak", "degradations": ["noisy"]},
            {
                "kind": "preset",
                "name": "live1",
                "path": "data/live1",
                "degradations": ["jpeg-compressed"],
                "split": "val",
            },
        ],
        degradations={"noisy": {"sigma": 25}, "jpeg-compressed": {"quality": 10}},
    )
    report = build(recipe, tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert dict(built.set_aside) == {}
    shards = {name: [sample.shard for sample in samples] for name, samples in built.samples.items()}
    assert shards == {
        "indoor/gt/1400.png": ["test-0000-hazy.tar"],
        "kodim01.png": ["test-0000-noisy.tar"],
        "LIVE1/sailing2.bmp": ["val-0000-jpeg-compressed.tar"],
    }
    (pair,) = built.samples["indoor/gt/1400.png"]
    assert np.array_equal(pixels(pair.gt[1]), inner)
    assert np.array_equal(pixels(pair.lq[1]), hazy)
    assert {row["licence"] for row in read_sources(tmp_path / "out")} == {
        UNKNOWN,
        "released by Eastman Kodak for unrestricted usage",
        "any use, with the copyright notice and the citation",
    }
    assert any("sots, part indoor: 1 pair found, 500 are published" in note for note in report.planned.notes)


OWN = [path for path in FOLDER.glob("*.toml") if "preset" in path.read_text()]


@pytest.mark.parametrize("own", OWN, ids=lambda path: path.stem)
def test_the_recipes_of_public_sets_can_be_read_without_the_sets(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    recipe = load_recipe(Path(own.stem))
    readers = [source for source in recipe.sources if isinstance(source, FromPreset)]
    assert len(readers) == len(recipe.sources)
    named = {entry for reader in readers for entry in reader.degradations}
    assert named == set(recipe.degradations)
    for reader in readers:
        assert reader.has_pairs or reader.degradations, "a clean set would get every degradation"
    made = {label for s in recipe.degradations.values() for label in [s.label]}
    brought = {label for reader in readers for part in reader.parts for label in part.every_label()}
    assert not made & brought
    if own.stem == "daclip":
        assert made | brought == set(DACLIP_DEGRADATIONS)


def test_there_are_recipes_of_public_sets() -> None:
    assert {path.stem for path in OWN} == {"daclip", "nhr-public", "nhrbl-public", "cdd11-public"}


# ---------------------------------------------------------------------------------------------------------------------
# More than a set has, and what cannot be of it


def test_the_repository_that_urban100_names_also_holds_bsd100_under_the_same_names(tmp_path: Path) -> None:
    """The tree of jbhuang0604/SelfExSR: the buildings are taken, whichever folder comes first."""
    names = [
        f"data/{name}/image_SRF_{scale}/img_{i:03d}_SRF_{scale}_{kind}.png"
        for name in ("BSD100", "Set14", "Urban100")
        for scale in (2, 4)
        for i in (1, 2, 100)
        for kind in ("HR", "LR", "SelfExSR")
    ]
    found = find(tmp_path, "urban100", *names)
    assert {c.name.split("/")[1] for c in found.candidates} == {"Urban100"} and len(found.candidates) == 3
    with pytest.raises(SourceError, match="expected Urban100"):
        FromPreset("urban100", str(tmp_path / "data" / "BSD100")).find()
    with pytest.raises(SourceError, match="expected Urban100"):
        find(tmp_path / "flat", "urban100", "BSD100/img_001.png", "B100/img_002.png")


@pytest.mark.parametrize("colour", ["CBSD68", "CBSD68/original_png"])
@pytest.mark.parametrize("grey", ["BSD68", "bsd68", "Set12"])
def test_grey_bsd68_beside_cbsd68_is_left_out(tmp_path: Path, colour: str, grey: str) -> None:
    names = [f"testsets/{colour}/{i:04d}.png" for i in range(68)]
    names += [f"testsets/{grey}/test{i:03d}.png" for i in range(1, 69)]
    found = find(tmp_path, "cbsd68", *names)
    assert {c.name.rpartition("/")[0] for c in found.candidates} == {f"testsets/{colour}"}
    assert len(found.candidates) == 68 and list(found.notes) == []


TOO_MANY = [
    (preset.name, part.name, layout)
    for preset, part, layout in EVERY_LAYOUT
    if not preset.masks and (preset.expected(part, layout, preset.variant("")) or 10**6) <= 100
]


@pytest.mark.parametrize(("name", "part", "layout"), TOO_MANY, ids=[f"{n}-{p}-{a.title}" for n, p, a in TOO_MANY])
def test_a_set_with_more_images_than_it_has_is_refused(tmp_path: Path, name: str, part: str, layout: Layout) -> None:
    """By names of the layout's own example, with other numbers."""
    preset = PRESETS[name]
    expected = preset.expected(preset.part(part), layout, preset.variant(""))
    assert expected
    *folders, last = layout.example[-1].split("/")
    patterns = [compiled(side, "") for side in (layout.lq, layout.gt) if side]
    names = []
    for i in range(1, expected + 60):
        varied = [_numbered(example, i) for example in layout.example]
        fit = all(p.fullmatch(v.rpartition(".")[0]) for p, v in zip(patterns, varied, strict=True))
        names += varied if fit else []
    if len(names) <= expected * len(layout.example):
        pytest.skip(f"{layout.title} names no more than {expected}: {last} of {folders}")
    with pytest.raises(SourceError, match=rf"expected {expected} .*s at most of .*found \d+, in .*; another set"):
        find(tmp_path, name, *names, part=part)


def _numbered(example: str, number: int) -> str:
    """The example with another number for the last one in its file's name."""
    folder, slash, last = example.rpartition("/")
    stem, dot, suffix = last.rpartition(".")
    runs = list(re.finditer(r"\d+", stem))
    if not runs:
        return f"{folder}{slash}{stem}{number}{dot}{suffix}"
    start, end = runs[0].span()
    return f"{folder}{slash}{stem[:start]}{number:0{end - start}d}{stem[end:]}{dot}{suffix}"


@pytest.mark.slow
def test_kodaks_crops_and_grey_images_are_no_images_of_their_sets(tmp_path: Path) -> None:
    """As scans refuse them, each with a reason; published ones of either direction are taken."""
    folder = tmp_path / "testsets"
    for i, (width, height) in enumerate([(768, 512), (512, 768), (500, 500)], start=1):
        photo(folder / "Kodak24" / f"kodim{i:02d}.png", width, height, seed=i)
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "preset", "name": "kodak24", "path": str(folder)}])
    planned = plan_build(recipe, tmp_path / "out", Options())
    assert {(s.info.width, s.info.height) for s in planned.scan.sources} == {(768, 512), (512, 768)}
    (refused,) = planned.refusals
    assert refused.name.endswith("kodim03.png")
    assert "it is 500×500, and the images of Kodak24 are 768×512, either way up" in refused.reason
    grey = np.repeat(picture(481, 321, seed=1)[..., :1], 3, axis=2)
    save(folder / "bsd68" / "test001.png", grey)
    photo(folder / "bsd68" / "test002.png", 321, 481, seed=2)
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "preset", "name": "cbsd68", "path": str(folder)}])
    planned = plan_build(recipe, tmp_path / "other", Options())
    assert len(planned.scan.sources) == 1
    assert [(r.name[-11:], r.reason) for r in planned.refusals] == [
        ("test001.png", "it is grey, and the images of CBSD68 are in colour; take the published ones")
    ]


def test_masks_of_da_clips_own_folder_are_named_where_they_lie() -> None:
    names = [f"scripts/inpainting_masks/{i:06d}.png" for i in range(100)]
    lines, found = inventory(PRESETS["repaint-masks"], names, "/data/daclip-uir")
    assert found
    assert "found     thin: 100 of 100 images; layout: DA-CLIP's" in lines
    assert '          masks = "/data/daclip-uir/scripts/inpainting_masks"' in lines


@pytest.mark.slow
def test_rain_tests_backgrounds_are_found_in_bsd400_and_cbsd68(tmp_path: Path) -> None:
    """Rain100H's test in miniature: its clean images are BSDS500's, recompressed, resized or cut, and one is there
    twice. Training photographs that it shows are left out; what two test sets share is told."""
    data, scenes = tmp_path / "data", [picture(481, 321, seed) for seed in range(9)]
    for i in (0, 1, 2, 6):
        save(data / f"BSDS500/data/images/train/{100 + i}.jpg", scenes[i], quality=95)
    for i in (3, 7):
        save(data / f"CBSD68/original_png/{i:04d}.png", scenes[i])
    copies = [
        pixels(encoded(scenes[0], "JPEG", quality=60)),
        np.asarray(PIL.Image.fromarray(scenes[1]).resize((432, 288))),
        scenes[2][6:-6, 8:-8],
        pixels(encoded(scenes[3], "JPEG", quality=80)),
        scenes[4],
        pixels(encoded(scenes[4], "JPEG", quality=90)),
    ]
    rng = np.random.default_rng(1)
    for i, clean in enumerate(copies, start=1):
        streaks = 90.0 * (rng.random(clean.shape[:2]) > 0.97)[..., None]
        rainy = np.clip(clean + np.maximum(streaks, np.roll(streaks, 1, axis=0)), 0, 255).astype(np.uint8)
        save(data / f"Rain100H/norain-{i:03d}.png", np.ascontiguousarray(clean))
        save(data / f"Rain100H/rain-{i:03d}.png", rainy)
    sources = [
        {"kind": "preset", "name": "bsd400", "path": "data/BSDS500"},
        {"kind": "preset", "name": "cbsd68", "path": "data/CBSD68"},
        {"kind": "preset", "name": "rain100h", "path": "data/Rain100H", "part": "test"},
    ]
    planned = plan_build(tiny_recipe(tmp_path, sources=sources), tmp_path / "out", Options())
    leaks = planned.scan.leaks
    assert sorted((s.first, s.second, s.photographs) for s in leaks.shared) == [
        ("BSD400", "Rain100H", 3),
        ("CBSD68", "Rain100H", 1),
    ]
    assert sorted(Path(leaks.names[content]).name for content in leaks.left_out) == ["100.jpg", "101.jpg", "102.jpg"]
    assert all("which is in test" in reason for reason in leaks.left_out.values())
    twice = [c for c in leaks.clusters if {Path(leaks.names[m]).name for m in c.members} >= {"norain-005.png"}]
    assert [sorted(Path(leaks.names[m]).name for m in c.members) for c in twice] == [
        ["norain-005.png", "norain-006.png"]
    ]
