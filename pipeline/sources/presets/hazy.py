"""RESIDE's sets of hazy pairs, and what others made of them."""

from __future__ import annotations

from patina.pipeline.sources.presets.preset import Layout, Part, Preset

PAGE = "https://sites.google.com/view/reside-dehaze-datasets"
CITATION = "Li, Ren, Fu, Tao, Feng, Zeng, Wang: Benchmarking Single-Image Dehazing and Beyond, TIP 2019"
LICENCE_FACT = "a public copy that looked for a licence of the images found none"
ORIGINAL = "as downloaded"

OUTDOOR = "{id:\\d+}_{airlight:\\d[\\d.]*}_{beta:\\d[\\d.]*}"
"""RESIDE's outdoor names: number of the clean image, airlight 0..1, and β, the scattering coefficient."""

RESIDE_6K = Preset(
    name="reside-6k",
    title="RESIDE-6K",
    what="indoor and outdoor pairs from RESIDE with synthetic haze, as DehazeFormer chose them; DA-CLIP's hazy task",
    page="https://github.com/IDKiro/DehazeFormer",
    licence=None,
    redistributable=None,
    citation=f"{CITATION}; Song, He, Qian, Du: Vision Transformers for Single Image Dehazing, TIP 2023",
    facts=f"counts: DA-CLIP's table; folders: README of IDKiro/DehazeFormer and public loaders; {LICENCE_FACT}",
    parts=tuple(
        Part(
            split,
            split,
            label="hazy",
            count=count,
            layouts=(
                Layout(
                    ORIGINAL,
                    f"{split}/hazy/{{id}}",
                    f"{split}/(GT|clear)/{{id}}",
                    (f"RESIDE-6K/{split}/hazy/0048_0.9_0.2.jpg", f"RESIDE-6K/{split}/GT/0048_0.9_0.2.jpg"),
                ),
            ),
        )
        for split, count in (("train", 6000), ("test", 1000))
    ),
    traps=(
        "names have dots in them: everything after the last one is the suffix, not after the first",
        "GT and hazy have equal names here, unlike in RESIDE itself",
    ),
)

OTS = Preset(
    name="ots",
    title="RESIDE OTS",
    what="2061 outdoor photographs, each in 35 synthetic hazes",
    page=f"{PAGE}/reside-%CE%B2",
    licence=None,
    redistributable=None,
    citation=CITATION,
    facts="count: PromptIR's and AirNet's protocol; names: daclip-uir's and AdaIR's examples; folders: public loaders "
    "and "
    f"c-yn/AdaIR INSTALL.md; {LICENCE_FACT}",
    parts=(
        Part(
            "train",
            "train",
            label="hazy",
            count=72_135,
            spare=True,
            layouts=(
                Layout(
                    ORIGINAL,
                    f"OTS[_(ALPHA|BETA)]/[(haze|hazy)/][OTS/][part{{n:\\d+}}/]{OUTDOOR}",
                    "OTS[_(ALPHA|BETA)]/[clear/][clear_images/]{id:\\d+}",
                    ("OTS_BETA/hazy/part1/0025_0.8_0.04.jpg", "OTS_BETA/clear/0025.jpg"),
                ),
                Layout(
                    "PromptIR's",
                    f"Dehaze/synthetic/[part{{n:\\d+}}/]{OUTDOOR}",
                    "Dehaze/original/{id:\\d+}",
                    ("Train/Dehaze/synthetic/part1/0025_0.8_0.1.jpg", "Train/Dehaze/original/0025.png"),
                ),
                Layout(
                    "DehazeFormer's",
                    "RESIDE-OUT/train/hazy/{id}",
                    "RESIDE-OUT/train/(GT|clear)/{id}",
                    ("RESIDE-OUT/train/hazy/0025_0.8_0.1.png", "RESIDE-OUT/train/GT/0025_0.8_0.1.png"),
                ),
            ),
        ),
    ),
    traps=(
        "names have dots in them: 0025_0.8_0.04 is image 25 with airlight 0.8 and β = 0.04",
        "it contains scenes of SOTS, its own test set (IDKiro/DehazeFormer#9): patina's leak audit finds them where "
        "both "
        "are sources of one recipe",
        "RESIDE was issued twice with other numbers: clean and hazy images must come from one issue",
    ),
)

ITS = Preset(
    name="its",
    title="RESIDE ITS",
    what="1399 indoor photographs with depth, each in ten synthetic hazes; 620×460",
    page=f"{PAGE}/reside-standard",
    licence=None,
    redistributable=None,
    citation=CITATION,
    facts=f"count, names, folders: public loaders; {LICENCE_FACT}",
    parts=(
        Part(
            "train",
            "train",
            label="hazy",
            count=13_990,
            border=10,
            layouts=(
                Layout(
                    ORIGINAL,
                    "ITS[_v2]/[train/][ITS_](haze|hazy)/{id:\\d+}_{n:\\d+}[_{light:\\d[\\d.]*}]",
                    "ITS[_v2]/[train/][ITS_]clear/{id:\\d+}",
                    ("ITS_v2/hazy/1_1_0.90179.png", "ITS_v2/clear/1.png"),
                ),
                Layout(
                    "DehazeFormer's",
                    "RESIDE-IN/train/hazy/{id}",
                    "RESIDE-IN/train/(GT|clear)/{id}",
                    ("RESIDE-IN/train/hazy/1_1_0.90179.png", "RESIDE-IN/train/GT/1_1_0.90179.png"),
                ),
            ),
        ),
    ),
    traps=("what the third number of a name means is not documented; it is not taken for β",),
)

SOTS = Preset(
    name="sots",
    title="RESIDE SOTS",
    what="RESIDE's test set: 500 indoor and 500 outdoor images with synthetic haze",
    page=f"{PAGE}/reside-standard",
    licence=None,
    redistributable=None,
    citation=CITATION,
    facts="names, folders: public loaders and c-yn/AdaIR INSTALL.md; sizes: cddlyf/GCANet#2. Recalled, not confirmed: "
    "the "
    f"counts; {LICENCE_FACT}",
    parts=(
        Part(
            "indoor",
            "test",
            label="hazy",
            count=500,
            border=10,
            layouts=(
                Layout(
                    ORIGINAL,
                    "[SOTS/](indoor|nyuhaze500)/hazy/{id:\\d+}_{n:\\d+}",
                    "[SOTS/](indoor|nyuhaze500)/(gt|clear)/{id:\\d+}",
                    ("SOTS/indoor/nyuhaze500/hazy/1400_1.png", "SOTS/indoor/nyuhaze500/gt/1400.png"),
                ),
                Layout(
                    "DehazeFormer's",
                    "RESIDE-IN/test/hazy/{id}",
                    "RESIDE-IN/test/(GT|clear)/{id}",
                    ("RESIDE-IN/test/hazy/1400_1.png", "RESIDE-IN/test/GT/1400_1.png"),
                ),
            ),
        ),
        Part(
            "outdoor",
            "test",
            label="hazy",
            count=500,
            layouts=(
                Layout(
                    ORIGINAL,
                    f"outdoor/hazy/{OUTDOOR}",
                    "outdoor/(gt|clear)/{id:\\d+}",
                    ("SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png"),
                ),
                Layout(
                    "AdaIR's",
                    f"test/dehaze/input/{OUTDOOR}",
                    "test/dehaze/target/{id:\\d+}",
                    ("test/dehaze/input/0001_0.8_0.2.jpg", "test/dehaze/target/0001.png"),
                ),
            ),
        ),
    ),
    traps=(
        "indoor clean images are 640×480 and hazy ones 620×460: 10 pixels on every side are cut off the clean ones "
        "here",
        "one clean image serves ten indoor hazy ones",
        "OTS contains scenes of its outdoor part (IDKiro/DehazeFormer#9)",
    ),
)
