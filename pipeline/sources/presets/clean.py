"""Sets of clean images, which a recipe's own degradations are applied to; and masks of holes."""

from __future__ import annotations

from patina.pipeline.sources.presets.preset import Layout, Part, Preset

ORIGINAL = "as downloaded"
BSDS_SIZES = ((481, 321),)
BSDS_PAGE = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/"
BSDS_CITATION = (
    "Martin, Fowlkes, Tal, Malik: A Database of Human Segmented Natural Images and its Application to Evaluating "
    "Segmentation Algorithms and Measuring Ecological Statistics, ICCV 2001"
)

DIV2K = Preset(
    name="div2k",
    title="DIV2K",
    what="clean photographs of 2K resolution",
    page="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
    licence="academic research only",
    redistributable=None,
    citation="Agustsson, Timofte: NTIRE 2017 Challenge on Single Image Super-Resolution: Dataset and Study, CVPRW 2017",
    facts="counts, page, licence class (other-academic-use): the card of eugenesiow/Div2k; names: the archives' own",
    parts=(
        Part(
            "train",
            "train",
            (Layout(ORIGINAL, "", "DIV2K_train_HR/{id:\\d{4}}", ("DIV2K_train_HR/0001.png",)),),
            count=800,
        ),
        Part(
            "val", "val", (Layout(ORIGINAL, "", "DIV2K_valid_HR/{id:\\d{4}}", ("DIV2K_valid_HR/0801.png",)),), count=100
        ),
    ),
    traps=("low-resolution versions lie in folders with LR in their names; they are passed over",),
)

FLICKR2K = Preset(
    name="flickr2k",
    title="Flickr2K",
    what="clean photographs of 2K resolution from Flickr",
    page="https://github.com/limbee/NTIRE2017",
    licence=None,
    redistributable=None,
    citation="Lim, Son, Kim, Nah, Lee: Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017",
    facts="count, folder: public loaders and training notes; no licence found, and each photograph has its own on "
    "Flickr",
    parts=(
        Part(
            "train",
            "train",
            (Layout(ORIGINAL, "", "Flickr2K[_HR]/{id:\\d{6}}", ("Flickr2K/Flickr2K_HR/000001.png",)),),
            count=2650,
        ),
    ),
    traps=(
        "DIV2K and Flickr2K together are 3450 images; DA-CLIP's table says 3550 and its appendix 3440, and no list "
        "exists "
        "(Algolzw/daclip-uir#109)",
    ),
)


def _faces(name: str, split: str, number: str, example: str, count: int) -> Part:
    template = f"{{folder:[^/]*celeba[^/]*}}/{{id:{number}}}"
    return Part(name, split, (Layout("images by number", "", template, (f"celeba_hq_256/{example}",)),), count=count)


CELEBA_HQ = Preset(
    name="celeba-hq",
    title="CelebA-HQ",
    what="clean photographs of faces; DA-CLIP takes them at 256×256",
    page="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    licence="CelebA's agreement: non-commercial research only, no distribution",
    redistributable=False,
    citation="Karras, Aila, Laine, Lehtinen: Progressive Growing of GANs for Improved Quality, Stability, and "
    "Variation, "
    "ICLR 2018; Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015",
    facts="licence: CelebA's agreement as several public pages repeat it; counts: DA-CLIP's table; that the first "
    "hundred "
    "are for testing: Algolzw/image-restoration-sde#102",
    parts=(
        _faces("train", "train", "0*[1-9]\\d{2,4}", "00100.jpg", 29_900),
        _faces("test", "test", "0*\\d{1,2}", "00000.jpg", 100),
    ),
    traps=(
        "test is taken to be numbers 0 to 99; sorted as text without leading zeros, the first hundred names are others",
        "the folder's name must have celeba in it, such as celeba_hq_256 or CelebA-HQ-img",
        "the faces are of living people",
        "it is offered at 1024×1024 too: shrink it first for DA-CLIP's 256×256",
    ),
)

BSD400 = Preset(
    name="bsd400",
    title="BSD400",
    what="400 of the 500 photographs of BSDS500, for training denoisers; 481×321",
    page=BSDS_PAGE,
    licence=None,
    redistributable=None,
    citation=f"{BSDS_CITATION}; Arbelaez, Maire, Fowlkes, Malik: Contour Detection and Hierarchical Image "
    "Segmentation, "
    "PAMI 2011",
    facts="what it consists of and its count: training notes of public repositories (400 training and test images)",
    parts=(
        Part(
            "train",
            "train",
            count=400,
            sizes=BSDS_SIZES,
            colour=True,
            layouts=(
                Layout(
                    "BSDS500's training and test images",
                    "",
                    "images/(train|test)/{id:\\d+}",
                    ("BSDS500/data/images/train/100075.jpg",),
                ),
                Layout("re-packed", "", "BSD400/{id:a?\\d+}", ("BSD400/100075.jpg",)),
            ),
        ),
    ),
    traps=(
        "BSDS500's val folder is left out: CBSD68 is inside it",
        "67 of the 100 backgrounds of Rain100H's test pairs are among its images (measured), and some of Rain100L's: "
        "patina's leak audit finds them where both are sources of one recipe",
    ),
)

WED = Preset(
    name="wed",
    title="WED",
    what="the Waterloo Exploration Database's pristine images",
    page="https://ece.uwaterloo.ca/~k29ma/exploration/",
    licence=None,
    redistributable=None,
    citation="Ma, Duanmu, Wu, Wang, Yong, Li, Zhang: Waterloo Exploration Database: New Challenges for Image Quality "
    "Assessment Models, TIP 2017",
    facts="page: PromptIR INSTALL.md; count, folder: training notes of public repositories; licence not found",
    parts=(
        Part(
            "train",
            "train",
            count=4744,
            layouts=(
                Layout(
                    ORIGINAL,
                    "",
                    "pristine_images/{id:\\d{5}}",
                    ("exploration_database_and_code/pristine_images/00001.bmp",),
                ),
                Layout("re-packed", "", "(WED|WaterlooED)/{id:\\d{5}}", ("WED/00001.bmp",)),
            ),
        ),
    ),
)

CBSD68 = Preset(
    name="cbsd68",
    title="CBSD68",
    what="68 photographs of BSDS500, the usual test of denoisers; 481×321",
    page="https://github.com/clausmichele/CBSD68-dataset",
    licence=None,
    redistributable=None,
    citation=BSDS_CITATION,
    facts="folders: clausmichele/CBSD68-dataset; AdaIR's names: c-yn/AdaIR INSTALL.md; the noise's rounding: measured",
    parts=(
        Part(
            "clean",
            "test",
            count=68,
            sizes=BSDS_SIZES,
            colour=True,
            layouts=(
                Layout(ORIGINAL, "", "CBSD68/original_png/{id}", ("CBSD68/original_png/0000.png",)),
                Layout("re-packed", "", "CBSD68/{id}", ("testsets/CBSD68/3096.png",)),
                Layout("AdaIR's", "", "bsd68/{id}", ("test/denoise/bsd68/3096.jpg",)),
            ),
        ),
        Part(
            "noisy",
            "test",
            label="noisy",
            asked=True,
            facts=("sigma",),
            layouts=(
                Layout(
                    ORIGINAL,
                    "CBSD68/noisy{sigma:\\d+}/{id}",
                    "CBSD68/original_png/{id}",
                    ("CBSD68/noisy25/0000.png", "CBSD68/original_png/0000.png"),
                ),
            ),
        ),
    ),
    traps=(
        "the noisy images that come with it were cut off rather than rounded: they are half a level too dark; ask for "
        'part = "noisy" to have them, else noise is made anew',
        "24 of the 100 backgrounds of Rain100H's test pairs are among its images (measured)",
        "BSD68 is the same set in grey: it is refused, and of both in one folder the one in colour is taken",
    ),
)

LIVE1 = Preset(
    name="live1",
    title="LIVE1",
    what="29 photographs, the usual test of JPEG restoration",
    page="https://live.ece.utexas.edu/research/quality/subjective.htm",
    licence="any use, with the copyright notice and the citation",
    redistributable=True,
    citation="Sheikh, Wang, Cormack, Bovik: LIVE Image Quality Assessment Database",
    facts="licence: the notice in LIVE's 2003 readme; folders: public loaders and FBCNN's testsets; count: DA-CLIP's "
    "table",
    parts=(
        Part(
            "clean",
            "test",
            count=29,
            layouts=(
                Layout(ORIGINAL, "", "refimgs/{id}", ("databaserelease2/refimgs/sailing2.bmp",)),
                Layout("re-packed", "", "LIVE1[_color]/{id}", ("testsets/LIVE1_color/sailing2.bmp",)),
            ),
        ),
    ),
    traps=("there is a grey version, LIVE1_gray: 25.7 dB at quality 10 is the colour figure, 27.8 dB the grey one",),
)

KODAK24 = Preset(
    name="kodak24",
    title="Kodak24",
    what="24 photographs from film; 768×512",
    page="https://r0k.us/graphics/kodak/",
    licence="released by Eastman Kodak for unrestricted usage",
    redistributable=True,
    citation="Franzen: Kodak Lossless True Color Image Suite",
    facts="licence: the page's own words, as public cards repeat them; names: the same",
    parts=(
        Part(
            "clean",
            "test",
            (Layout(ORIGINAL, "", "kodim{id:\\d\\d}", ("kodak24/kodim01.png",)),),
            count=24,
            sizes=((768, 512),),
            colour=True,
        ),
    ),
    traps=("denoisers are often tested on 24 crops of 500×500 that have the same names: here they are refused",),
)

URBAN100 = Preset(
    name="urban100",
    title="Urban100",
    what="100 photographs of buildings",
    page="https://github.com/jbhuang0604/SelfExSR",
    licence=None,
    redistributable=None,
    citation="Huang, Singh, Ahuja: Single Image Super-Resolution from Transformed Self-Exemplars, CVPR 2015",
    facts="folders: the files of jbhuang0604/SelfExSR, public listings and c-yn/AdaIR INSTALL.md; no licence found",
    parts=(
        Part(
            "clean",
            "test",
            count=100,
            layouts=(
                Layout("re-packed", "", "Urban100[_HR]/[HR/]img_{id:\\d{3}}", ("test/denoise/urban100/img_001.png",)),
                Layout(
                    ORIGINAL,
                    "",
                    "Urban100/image_SRF_4/img_{id:\\d{3}}_SRF_4_HR",
                    ("data/Urban100/image_SRF_4/img_001_SRF_4_HR.png",),
                ),
            ),
        ),
    ),
    traps=(
        "as downloaded it holds low-resolution images and other methods' results too; they are passed over",
        "its repository holds BSD100 under the same file names, so the folder's name must be Urban100",
    ),
)


def _masks(folder: str, count: int | None, *others: Layout) -> Part:
    layout = Layout(ORIGINAL, "", f"{folder}/{{id:\\d{{6}}}}", (f"gt_keep_masks/{folder}/000000.png",))
    return Part(folder, "", (layout, *others), count=count)


REPAINT = Preset(
    name="repaint-masks",
    title="RePaint's masks",
    what="masks of holes, 256×256: thin and thick strokes, half, every second line, one pixel in four, a small centre",
    page="https://github.com/andreas128/RePaint",
    licence=None,
    redistributable=None,
    citation="Lugmayr, Danelljan, Romero, Yu, Timofte, Van Gool: RePaint: Inpainting using Denoising Diffusion "
    "Probabilistic Models, CVPR 2022",
    facts="folders: README and configurations of andreas128/RePaint and the copy in Algolzw/image-restoration-sde; the "
    "hundred thin masks: measured, and DA-CLIP's own folder holds the same files. The masks' licence is not stated "
    "beside them",
    parts=(
        _masks(
            "thin",
            100,
            Layout("DA-CLIP's", "", "inpainting_masks/{id:\\d{6}}", ("scripts/inpainting_masks/000000.png",)),
        ),
        _masks("thick", None),
        _masks("genhalf", None),
        _masks("ev2li", None),
        _masks("nn2", None),
        _masks("ex64", None),
    ),
    traps=('255 keeps and 0 is the hole; LaMa\'s masks are the other way round (masks_keep = "black")',),
    masks=True,
)
