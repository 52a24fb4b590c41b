"""Sets of real or filmed pairs: blur, low light, drops on the glass, shadows; and of painted ones: snow."""

from __future__ import annotations

from patina.pipeline.sources.presets.preset import Layout, Part, Preset, Variant

ORIGINAL = "as downloaded"

GOPRO = Preset(
    name="gopro",
    title="GoPro",
    what="sharp frames of a 240 fps camera, and blurry ones that are means of several; 1280×720",
    page="https://seungjunnah.github.io/Datasets/gopro",
    licence=None,
    redistributable=None,
    citation="Nah, Kim, Lee: Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring, CVPR 2017",
    facts="counts, folders: README of SeungjunNah/DeepDeblur_release; MPRNet's and AdaIR's names: public listings and "
    "c-yn/AdaIR INSTALL.md. Recalled, not confirmed: the page states CC BY 4.0",
    variants=(
        Variant("blur", "means of the frames as they are stored (a linear camera); MPRNet's line of work", "blur"),
        Variant("blur_gamma", "means in linear light, γ = 2.2; the set's own paper", "blur_gamma"),
    ),
    parts=(
        Part(
            "train",
            "train",
            label="motion-blurry",
            count=2103,
            layouts=(
                Layout(
                    ORIGINAL,
                    "train/{scene:GOPR\\d+_\\d+_\\d+}/<variant>/{frame:\\d+}",
                    "train/{scene:GOPR\\d+_\\d+_\\d+}/sharp/{frame:\\d+}",
                    (
                        "GOPRO_Large/train/GOPR0372_07_00/blur/000047.png",
                        "GOPRO_Large/train/GOPR0372_07_00/sharp/000047.png",
                    ),
                ),
                Layout(
                    "MPRNet's",
                    "train/[GoPro/]input/{id:GOPR[^/]+}",
                    "train/[GoPro/]target/{id:GOPR[^/]+}",
                    ("train/GoPro/input/GOPR0372_07_00-000047.png", "train/GoPro/target/GOPR0372_07_00-000047.png"),
                    variants=("blur",),
                ),
                Layout(
                    "AdaIR's",
                    "Train/Deblur/blur/{id:GOPR[^/]+}",
                    "Train/Deblur/sharp/{id:GOPR[^/]+}",
                    ("Train/Deblur/blur/GOPR0372_07_00_000047.png", "Train/Deblur/sharp/GOPR0372_07_00_000047.png"),
                    variants=("blur",),
                ),
            ),
        ),
        Part(
            "test",
            "test",
            label="motion-blurry",
            count=1111,
            layouts=(
                Layout(
                    ORIGINAL,
                    "test/{scene:GOPR\\d+_\\d+_\\d+}/<variant>/{frame:\\d+}",
                    "test/{scene:GOPR\\d+_\\d+_\\d+}/sharp/{frame:\\d+}",
                    (
                        "GOPRO_Large/test/GOPR0384_11_00/blur/000001.png",
                        "GOPRO_Large/test/GOPR0384_11_00/sharp/000001.png",
                    ),
                ),
                Layout(
                    "MPRNet's",
                    "test/[GoPro/]input/{id:GOPR[^/]+}",
                    "test/[GoPro/]target/{id:GOPR[^/]+}",
                    ("test/GoPro/input/GOPR0384_11_00-000001.png", "test/GoPro/target/GOPR0384_11_00-000001.png"),
                    variants=("blur",),
                ),
                Layout(
                    "AdaIR's",
                    "test/deblur/gopro/input/{id:GOPR[^/]+}",
                    "test/deblur/gopro/target/{id:GOPR[^/]+}",
                    (
                        "test/deblur/gopro/input/GOPR0384_11_00_000001.png",
                        "test/deblur/gopro/target/GOPR0384_11_00_000001.png",
                    ),
                    variants=("blur",),
                ),
            ),
        ),
    ),
    traps=(
        "two blurry versions: its own paper takes blur_gamma, MPRNet's line (and so most tables since) blur; DA-CLIP's "
        'author is not sure, "probably blur". Set `variant`',
        "copies re-packed by others hold `blur` only, without saying so",
    ),
)

LOL = Preset(
    name="lol",
    title="LOL (v1)",
    what="indoor scenes photographed twice, with little and with enough exposure; 600×400",
    page="https://daooshee.github.io/BMVC2018website/",
    licence=None,
    redistributable=None,
    citation="Wei, Wang, Yang, Liu: Deep Retinex Decomposition for Low-Light Enhancement, BMVC 2018",
    facts="counts, folders: several public copies and DA-CLIP's table; AdaIR's names: c-yn/AdaIR INSTALL.md; public "
    "copies mark the licence as unknown",
    parts=(
        Part(
            "train",
            "train",
            label="low-light",
            count=485,
            layouts=(
                Layout(
                    ORIGINAL,
                    "our485/low/{id}",
                    "our485/high/{id}",
                    ("LOLdataset/our485/low/2.png", "LOLdataset/our485/high/2.png"),
                ),
                Layout(
                    "AdaIR's",
                    "Train/Enhance/low/{id}",
                    "Train/Enhance/gt/{id}",
                    ("Train/Enhance/low/2.png", "Train/Enhance/gt/2.png"),
                ),
                Layout(
                    "LYT-Net's",
                    "LOLv1/Train/input/{id}",
                    "LOLv1/Train/target/{id}",
                    ("LOLv1/Train/input/2.png", "LOLv1/Train/target/2.png"),
                ),
            ),
        ),
        Part(
            "test",
            "test",
            label="low-light",
            count=15,
            layouts=(
                Layout(
                    ORIGINAL,
                    "eval15/low/{id}",
                    "eval15/high/{id}",
                    ("LOLdataset/eval15/low/1.png", "LOLdataset/eval15/high/1.png"),
                ),
                Layout(
                    "AdaIR's",
                    "enhance/lol/input/{id}",
                    "enhance/lol/target/{id}",
                    ("test/enhance/lol/input/1.png", "test/enhance/lol/target/1.png"),
                ),
                Layout(
                    "LYT-Net's",
                    "LOLv1/Test/input/{id}",
                    "LOLv1/Test/target/{id}",
                    ("LOLv1/Test/input/1.png", "LOLv1/Test/target/1.png"),
                ),
            ),
        ),
    ),
    traps=(
        "LOL-v2 is said to hold its scenes again under other numbers: do not train on one and test on the other",
        "pairs of two different scenes under one name are reported from our485, such as 79, 111 and 735 "
        "(weichen582/RetinexNet#9, zhangyhuaee/KinD#6): what shows another scene is set aside, and a note says which "
        "of these numbers were found wrong and which were not",
        "a rearranged copy that goes around has all-black pairs in it (zhangyhuaee/KinD#6): a note names them as equal",
    ),
    wrong_pairs=("79", "111", "735"),
    reported="weichen582/RetinexNet#9, zhangyhuaee/KinD#6",
)

LOL_V2_REAL = Preset(
    name="lol-v2-real",
    title="LOL-v2, real part",
    what="the larger set of real low-light pairs; 600×400",
    page="https://github.com/flyywh/CVPR-2020-Semi-Low-Light",
    licence=None,
    redistributable=None,
    citation="Yang, Wang, Huang, Wang, Liu: Sparse Gradient Regularized Deep Retinex Network for Robust Low-Light "
    "Image "
    "Enhancement, TIP 2021",
    facts="counts, folders, names: several public copies and loaders; no licence found",
    parts=(
        Part(
            "train",
            "train",
            label="low-light",
            count=689,
            layouts=(
                Layout(
                    ORIGINAL,
                    "Real_captured/Train/Low/[low]{id:\\d+}",
                    "Real_captured/Train/Normal/[normal]{id:\\d+}",
                    (
                        "LOL-v2/Real_captured/Train/Low/low00001.png",
                        "LOL-v2/Real_captured/Train/Normal/normal00001.png",
                    ),
                ),
            ),
        ),
        Part(
            "test",
            "test",
            label="low-light",
            count=100,
            layouts=(
                Layout(
                    ORIGINAL,
                    "Real_captured/Test/Low/[low]{id:\\d+}",
                    "Real_captured/Test/Normal/[normal]{id:\\d+}",
                    ("LOL-v2/Real_captured/Test/Low/low00690.png", "LOL-v2/Real_captured/Test/Normal/normal00690.png"),
                ),
            ),
        ),
    ),
    traps=(
        "the two names of a pair differ: low00001 and normal00001; sorted lists pair them only while both are complete",
        "it holds scenes of LOL (v1) again, where pairs of two different scenes are reported: what shows another scene "
        "is set aside with a reason",
        "the archive has a synthetic part beside it, which is another set",
    ),
)


def _drops(folder: str, split: str, count: int | None) -> Part:
    """The three parts of RainDrop have one naming."""
    lq, gt = f"{folder}/(data|input)/{{id:\\d+}}_rain", f"{folder}/gt/{{id:\\d+}}_clean"
    example = (f"{folder}/data/0_rain.png", f"{folder}/gt/0_clean.png")
    return Part(folder, split, (Layout(ORIGINAL, lq, gt, example),), label="raindrop", count=count)


RAINDROP = Preset(
    name="raindrop",
    title="RainDrop",
    what="scenes photographed through glass with and without drops; 720×480",
    page="https://github.com/rui1996/DeRaindrop",
    licence=None,
    redistributable=None,
    citation="Qian, Tan, Yang, Su, Liu: Attentive Generative Adversarial Network for Raindrop Removal from a Single "
    "Image, "
    "CVPR 2018",
    facts="counts of train and test_a: DA-CLIP's table; names: public loaders. The number of test_b could not be "
    "confirmed; a public copy that looked for a licence found none",
    parts=(_drops("train", "train", 861), _drops("test_a", "test", 58), _drops("test_b", "test", None)),
    traps=(
        "the papers' 58 test pairs are test_a; they are said to be the well aligned ones of test_b, so that both "
        "together hold images twice, which count once",
        "camera and scene move a little between the two photographs: pairs that are shifted too far are set aside",
    ),
)


def _shadows(split: str, ending: str) -> Part:
    """SRD's two parts differ in how the clean images' names end."""
    pictures = ("shadow", "shadow_free")
    return Part(
        split,
        split,
        label="shadowed",
        count={"train": 2680, "test": 408}[split],
        layouts=(
            Layout(
                ORIGINAL,
                f"{split}[_data]/shadow/{{id}}",
                f"{split}[_data]/shadow_free/{{id}}[_(no_shadow|free)]",
                (f"{split}/{pictures[0]}/IMG_5456.jpg", f"{split}/{pictures[1]}/IMG_5456_{ending}.jpg"),
            ),
            Layout(
                "re-packed like ISTD",
                f"{split}_A/{{id}}",
                f"{split}_C/{{id}}[_(no_shadow|free)]",
                (f"{split}/{split}_A/IMG_5456.jpg", f"{split}/{split}_C/IMG_5456_{ending}.jpg"),
            ),
        ),
    )


SRD = Preset(
    name="srd",
    title="SRD",
    what="scenes with and without the shadow that something out of view casts; 840×640",
    page="https://github.com/Liangqiong/DeShadowNet",
    licence=None,
    redistributable=None,
    citation="Qu, Tian, He, Tang, Lau: DeshadowNet: A Multi-context Embedding Deep Network for Shadow Removal, CVPR "
    "2017",
    facts="counts: DA-CLIP's table; endings: public loaders; page: GuoLanqing/Awesome-Shadow-Removal#2; no licence "
    "found",
    parts=(_shadows("train", "no_shadow"), _shadows("test", "free")),
    traps=(
        "clean images end in _no_shadow in the training part and in _free in the test part",
        "it comes without masks; those that go around were made by others, and 15 of the test masks belong to images "
        "that are not in it (CalcuLuUus/RASM#9)",
        "some images are far larger than the others (xw-hu/Unveiling-Deep-Shadows#4)",
    ),
)


def _triples(split: str, count: int) -> Part:
    lq, gt = f"{split}_A/{{id:\\d+-\\d+}}", f"{split}_C/{{id:\\d+-\\d+}}"
    example = (f"ISTD_Dataset/{split}/{split}_A/1-1.png", f"ISTD_Dataset/{split}/{split}_C/1-1.png")
    return Part(split, split, (Layout(ORIGINAL, lq, gt, example),), label="shadowed", count=count)


ISTD = Preset(
    name="istd",
    title="ISTD",
    what="scenes with shadow (A), the shadow's mask (B) and without it (C); 640×480",
    page="https://github.com/DeepInsight-PCALab/ST-CGAN",
    licence="research and non-commercial use only",
    redistributable=None,
    citation="Wang, Li, Yang: Stacked Conditional Generative Adversarial Networks for Jointly Learning Shadow "
    "Detection "
    "and Shadow Removal, CVPR 2018",
    facts="licence: README of DeepInsight-PCALab/ST-CGAN; folders: public loaders. Counts recalled from the paper, not "
    "confirmed",
    parts=(_triples("train", 1330), _triples("test", 540)),
    traps=(
        "A is the shadow image, B the mask, C the clean one; other works letter their own folders otherwise",
        "the light changed between A and C: ISTD+ has C's colours adjusted, in folders of another name; put them in "
        "train_C's place to use them",
    ),
)


def _flakes(name: str, split: str, folder: str, count: int) -> Part:
    lq, gt = f"{folder}/synthetic/{{id}}", f"{folder}/gt/{{id}}"
    above = "" if split == "train" else "media/jdway/GameSSD/overlapping/test/"
    example = (f"{above}{folder}/synthetic/beautiful_smile_00003.jpg", f"{above}{folder}/gt/beautiful_smile_00003.jpg")
    return Part(name, split, (Layout(ORIGINAL, lq, gt, example),), label="snowy", count=count)


SNOW100K = Preset(
    name="snow100k",
    title="Snow100K",
    what="photographs with painted snow: small flakes (S), small and middle ones (M), all sizes (L)",
    page="https://sites.google.com/view/yunfuliu/desnownet",
    licence=None,
    redistributable=None,
    citation="Liu, Jaw, Huang, Hwang: DesnowNet: Context-Aware Deep Network for Snow Removal, TIP 2018",
    facts="folders: CDWJ/desnow and public loaders; test-l's count: public survey. Recalled, not confirmed: the counts "
    "of "
    "test-s and test-m (with test-l they add up to the 50,000). The subset's name: Algolzw/daclip-uir#49, its counts: "
    "DA-CLIP's table, for training beside test-l; that they are from `all` is inferred from their shares. No licence "
    "found",
    variants=(
        Variant("all", "every image"),
        Variant(
            "beautiful_smile",
            "DA-CLIP's subset: names with beautiful_smile in them",
            only="beautiful_smile",
            counts={"train": 1872, "test-s": None, "test-m": None, "test-l": 601},
        ),
    ),
    parts=(
        _flakes("train", "train", "all", 50_000),
        _flakes("test-s", "test", "Snow100K-S", 16_611),
        _flakes("test-m", "test", "Snow100K-M", 16_588),
        _flakes("test-l", "test", "Snow100K-L", 16_801),
    ),
    traps=(
        "three folders: synthetic is the snowy image, gt the clean one, mask the flakes",
        "the test archive unpacks into media/jdway/GameSSD/overlapping/test; the address of the download has been "
        "reported dead (Algolzw/daclip-uir#107)",
        "images are JPEG files: both sides carry their own blocks",
    ),
)
