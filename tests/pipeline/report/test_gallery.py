"""The gallery: a page that needs nothing beside itself, tells what is in the dataset, and trusts no text in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pyarrow.parquet as pq
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.format.manifest import load_manifest, read_samples, samples_table
from patina.pipeline.format.pictures import GUTTER, HEADING, SMALLEST_CELL
from patina.pipeline.format.statistics import read_statistics
from patina.pipeline.plan.planning import Options
from patina.pipeline.report.gallery import CROP, RUNG, contact_sheet, ladder_sheet, write_gallery
from patina.pipeline.report.gallery_page import _bars
from patina.synth.image import Image
from patina.synth.severity import LEVELS, level_of, measure
from tests.pipeline.making import make_plain, photo, photos, picture, pixels, save, tiny_recipe

BOTH = {"noisy": {"sigma": 25}, "jpeg-compressed": {}}
ALERT = "<script>alert(1)</script>"


def decibels(one: Image, other: Image) -> float:
    """PSNR of two images."""
    return measure(np.ascontiguousarray(one), np.ascontiguousarray(other)).psnr


def dataset(folder: Path, **changes: Any) -> Path:
    build(tiny_recipe(folder, **{"degradations": BOTH, **changes}), folder / "out", Options(max_set_aside=0.5))
    return folder / "out"


class Page(HTMLParser):
    """A page as a browser reads it: tags with attributes, the text of each card and section, and all of it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.cards: list[tuple[dict[str, str], str]] = []
        self.sections: list[str] = []
        self._in_code = False
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self._in_code = tag in {"script", "style"}
        if found.get("class") == "photograph":
            self.sections.append("")
        if tag == "article":
            self.cards.append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False

    def handle_data(self, data: str) -> None:
        if self._in_code:
            return
        self.text += data
        if self.sections:
            self.sections[-1] += data
        if self.cards:
            self.cards[-1] = (self.cards[-1][0], self.cards[-1][1] + data)

    @property
    def pictures(self) -> dict[str, bytes]:
        """Embedded files by their alternative text."""
        images = [found for tag, found in self.tags if tag == "img"]
        return {i["alt"]: base64.b64decode(i["src"].partition("base64,")[2]) for i in images}


def page_of(folder: Path, limit: int = 100) -> Page:
    return Page(write_gallery(folder, None, limit))


# ---------------------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_beside_itself(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    page = page_of(dataset(tmp_path, degradations={"uncompleted": {}}))
    for tag, found in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in found.items():
            assert "://" not in value, f"<{tag} {name}>"
            if name in {"src", "href"}:
                assert value.startswith(("data:image/", "#"))
    assert all("alt" in found for tag, found in page.tags if tag == "img")
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_the_pages_policy_allows_its_own_script_and_no_request(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    page = page_of(dataset(tmp_path))
    policy = next(f["content"] for t, f in page.tags if f.get("http-equiv") == "Content-Security-Policy")
    script = page.source.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_every_sample_tells_its_caption_key_and_parameters(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    recipe = {"degradations": {**BOTH, "uncompleted": {}}, "captions": {"kind": "template", "text": "all of {name}"}}
    out = dataset(tmp_path, **recipe)
    page = page_of(out)
    rows = read_samples(out)
    assert len(page.cards) == len(rows) == 9
    for row in rows:
        found = [text for card, text in page.cards if card["data-degradation"] == row.degradation and row.key in text]
        assert len(found) == 1
        assert f"{row.psnr:.2f} dB" in found[0]
        for name, value in json.loads(row.params).items():
            assert name.replace("_", " ") in found[0]
            if isinstance(value, str | float):
                assert str(value) in found[0]
        section = next(text for text in page.sections if row.key in text)
        assert row.caption in section
    assert sum(found.get("class") == "map" for _, found in page.tags) == 3, "one mask for each uncompleted sample"


def test_texts_from_outside_stay_texts(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "<script>alert(1)<!--.png", seed=1)
    photo(tmp_path / "photos" / '" onerror=alert(1) x=".png', seed=2)
    (tmp_path / "photos" / "<img src=x>.png").write_bytes(b"")
    plain = dataset(tmp_path / "plain", sources=[{"path": photos(tmp_path / "clean", 2)[0].parent.as_posix()}])
    hostile = dataset(
        tmp_path,
        name=f"$policy {ALERT}",
        sources=[{"path": "photos", "licence": ALERT, "attribution": f"'\"{ALERT}"}],
        captions={"kind": "template", "text": f"</h3>{ALERT} '\"&amp; {{name}}"},
    )
    page, expected = page_of(hostile), page_of(plain)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in expected.tags} | {"li", "ul", "b", "bdi", "i"}
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert {n for _, found in page.tags for n in found} == {n for _, found in expected.tags for n in found}
    texts = (f"$policy {ALERT}", f"</h3>{ALERT} '\"&amp; ", "<script>alert(1)<!--.png", f"'\"{ALERT}", "<img src=x>")
    for text in texts:
        assert text in page.text, text


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_the_limit_is_kept_and_spread(tmp_path: Path, limit: int) -> None:
    photos(tmp_path / "train", 4)
    photos(tmp_path / "test", 2, first=50)
    sources = [{"path": "train", "split": "train"}, {"path": "test", "split": "test"}]
    page = page_of(dataset(tmp_path, sources=sources), limit)
    assert len(page.cards) == min(limit, 12)
    words = Counter(card["data-degradation"] for card, _ in page.cards)
    splits = Counter(card["data-split"] for card, _ in page.cards)
    assert abs(words["noisy"] - words["jpeg-compressed"]) <= 1
    if limit >= 4:
        assert splits["test"] >= 2
    assert len(page.sections) <= (limit + 1) // 2, "the same photographs under every degradation"
    assert (f"{limit} of 12 samples" in page.text) == (limit < 12)


def test_a_large_photograph_is_cut_and_never_resized(tmp_path: Path) -> None:
    shot = picture(1001, 300, seed=5)
    save(tmp_path / "photos" / "wide.png", shot)
    page = page_of(dataset(tmp_path, degradations={"noisy": {"sigma": 25}}))
    (gt,) = [pixels(data) for alt, data in page.pictures.items() if alt.startswith("GT")]
    assert gt.shape == (300, 768, 3)
    assert decibels(gt, np.ascontiguousarray(shot[:, 116 : 116 + 768])) > 32
    assert "1001×300 px; shown is the middle 768×300 px, cut out and not resized" in page.text


def test_a_small_jpeg_is_shown_byte_for_byte(tmp_path: Path) -> None:
    file = photo(tmp_path / "photos" / "a.jpg", quality=80)
    page = page_of(dataset(tmp_path, degradations={"noisy": {}}))
    assert file.read_bytes() in page.pictures.values()


def test_a_colour_profile_never_reaches_the_browser(tmp_path: Path) -> None:
    """It would change the GT's colours and not the LQ's, which patina makes without it."""
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    photo(tmp_path / "photos" / "a.jpg", quality=80, icc_profile=profile)
    page = page_of(dataset(tmp_path, degradations={"noisy": {}}))
    for data in page.pictures.values():
        with PIL.Image.open(io.BytesIO(data)) as opened:
            assert "icc_profile" not in opened.info


def test_one_picture_is_embedded_once(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    page = page_of(dataset(tmp_path))
    uris = re.findall(r'src="(data:[^"]*)"', page.source)
    assert len(uris) == len(set(uris)) == 3, "one GT, two LQ"


def test_inputs_set_aside_duplicates_and_licences_are_told(tmp_path: Path) -> None:
    first, *_ = photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "same.png").write_bytes(first.read_bytes())
    (tmp_path / "photos" / "empty.png").write_bytes(b"")
    sources = [{"path": "photos", "licence": "CC0-1.0", "attribution": "A. Photographer"}]
    page = page_of(dataset(tmp_path, sources=sources))
    assert "1 input set aside" in page.text
    assert "empty.png the file is empty (0 bytes)" in page.text
    assert "good-000.png = same.png" in page.text
    assert "licence CC0-1.0 · A. Photographer" in page.text
    assert "Captions by template@2 (3)." in page.text
    manifest = load_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.digest[:16] in page.text
    assert "6 samples of 3 photographs in 2 shards" in page.text


def test_tiles_variants_and_pairs_have_their_places(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1, 64, 48)
    clean = picture(64, 48, seed=9)
    save(tmp_path / "gt" / "a.png", clean)
    save(tmp_path / "lq" / "a.png", clean // 2 + 100)
    sources = [{"path": "photos"}, {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}]
    degradations = {"noisy": {"variants": 2}}
    page = page_of(dataset(tmp_path, sources=sources, degradations=degradations, tiles={"size": 32}))
    assert len(page.cards) == 4 * 2 + 4
    assert "32×32 px tile at (32, 16)" in page.text
    assert "All samples are 32×32 px." in page.text
    assert "variant 1" in page.text
    assert "none: the degraded image came with the clean one" in page.text


def test_statistics_are_drawn_and_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    out = dataset(tmp_path, captions={"kind": "template", "text": "all of {name}"})
    page, numbers = page_of(out), read_statistics(out)
    figures = {found["aria-label"] for tag, found in page.tags if tag == "svg" and "aria-label" in found}
    for m in numbers.measures:
        said = ", ".join(f"{n} {level}" for level, n in zip(LEVELS, m.levels, strict=True) if n)
        assert f"Severity of {m.entry}: {said}; median {m.severity.median:.0f}" in figures
        assert f"{m.severity.median:.0f} {level_of(m.severity.median)}" in page.text
    assert "Lengths of captions in words" in figures
    assert any(label.startswith("Widths and heights of 5 photographs") for label in figures)
    assert "5 different captions of 4 to 4 words" in page.text
    assert "2 labels, entropy 0.69 nats" in page.text
    assert "every training sample has the label" not in page.text
    alone = page_of(dataset(tmp_path / "one", sources=[{"path": "../photos"}], degradations={"noisy": {}}))
    assert "every training sample has the label 'noisy'" in alone.text


def test_the_bars_of_a_histogram_are_its_counts() -> None:
    figure = _bars([0, 4, 2, 0], 0.5, "x", 2)
    heights = [float(h) for h in re.findall(r"v-(\d+\.\d)h", figure)]
    places = [float(x) for x in re.findall(r"M(\d+\.\d) 36v", figure)]
    assert heights == [32, 16]
    assert places == [75, 150]
    assert 'd="M150.0 2V38"' in figure, "the median"
    assert 'd="M150 2V36"' in figure, "the line between the two parts"


def test_the_page_appears_whole_and_is_the_same_each_time(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    out = dataset(tmp_path)
    assert write_gallery(out, None, 10) == out / "gallery.html"
    elsewhere = write_gallery(out, tmp_path / "new" / "page.html", 10)
    assert elsewhere.read_bytes() == (out / "gallery.html").read_bytes()
    assert [path.name for path in elsewhere.parent.iterdir()] == ["page.html"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"expected a dataset, found no manifest\.json"):
        write_gallery(tmp_path, None, 10)
    photos(tmp_path / "photos", 1)
    out = dataset(tmp_path, degradations={"noisy": {}})
    (row,) = read_samples(out)
    shard = out / SHARDS / row.shard
    shard.write_bytes(shard.read_bytes().replace(b"IHDR", b"Ihdr"))
    with pytest.raises(DamagedShardError, match=row.key):
        write_gallery(out, None, 10)
    assert not (out / "gallery.html").exists()


# ---------------------------------------------------------------------------------------------------------------------


def sheet(folder: Path, rows: int = 3) -> Image:
    data = contact_sheet(folder, rows)
    assert data.startswith(b"\xff\xd8")
    return pixels(data)


def cell(image: Image, row: int, column: int) -> Image:
    y, x = HEADING + row * (CROP + GUTTER), column * (CROP + GUTTER)
    return np.ascontiguousarray(image[y : y + CROP, x : x + CROP])


def test_the_contact_sheet_has_a_row_for_each_photograph(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4, 300, 240)
    image = sheet(dataset(tmp_path))
    assert image.shape == (HEADING + 3 * CROP + 2 * GUTTER, 3 * CROP + 2 * GUTTER, 3)
    assert sheet(tmp_path / "out", 1).shape == (HEADING + CROP, 3 * CROP + 2 * GUTTER, 3)
    for row in range(3):
        gt, jpeg, noisy = (cell(image, row, column) for column in range(3))
        assert 20 < decibels(gt, jpeg) < 40, "the same window, degraded"
        assert 15 < decibels(gt, noisy) < 25
    assert decibels(cell(image, 0, 0), cell(image, 1, 0)) < 20, "another photograph"


def test_the_contact_sheet_shows_where_the_detail_is(tmp_path: Path) -> None:
    shot = np.full((500, 600, 3), 128, np.uint8)
    shot[200:424, 300:524] = picture(CROP, CROP, seed=3)
    save(tmp_path / "photos" / "a.png", shot)
    gt = cell(sheet(dataset(tmp_path)), 0, 0)
    assert decibels(gt, picture(CROP, CROP, seed=3)) > 24


def test_the_contact_sheet_shows_every_degradation_of_pairs(tmp_path: Path) -> None:
    sources = []
    for i, degradation in enumerate(("hazy", "low-light", "raindrop", "shadowed")):
        clean = picture(64, 48, seed=20 + i)
        save(tmp_path / degradation / "gt" / "a.png", clean)
        save(tmp_path / degradation / "lq" / "a.png", clean // 4 * 3 + 9 * i)
        sources.append(
            {"kind": "pairs", "lq": f"{degradation}/lq", "gt": f"{degradation}/gt", "degradation": degradation}
        )
    image = sheet(dataset(tmp_path, sources=sources, degradations={}))
    step, middle = SMALLEST_CELL + GUTTER, SMALLEST_CELL // 2
    assert image.shape == (3 * (step + HEADING) - GUTTER, 4 * step - GUTTER, 3), "two photographs in the first row"
    centres = image[HEADING + middle :: step + HEADING, middle::step]  # 3×4×3
    filled = (centres.min(axis=2) < 250).tolist()
    assert filled == [[True] * 4, [True, True, False, False], [True, True, False, False]]


def test_the_ladder_has_a_row_for_each_degradation_from_mild_to_strong(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "p.png", picture(300, 200))
    names = {f"noisy-{i}": {"use": "noisy", "sigma": sigma} for i, sigma in enumerate((60, 3, 25))}
    build(tiny_recipe(tmp_path, degradations={**names, "jpeg-compressed": {}}), tmp_path / "out")
    image = PIL.Image.open(io.BytesIO(ladder_sheet(tmp_path / "out")))
    assert image.size == (4 * (RUNG + GUTTER) - GUTTER, 2 * (RUNG + GUTTER + HEADING) - GUTTER)
    values = np.array(image)
    top = RUNG + GUTTER + 2 * HEADING  # of the second row: noise
    cells = [values[top : top + RUNG, x : x + RUNG].copy() for x in range(0, image.width, RUNG + GUTTER)]
    scores = [decibels(cells[0], cell) for cell in cells[1:]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("picture_of", [contact_sheet, ladder_sheet])
def test_a_picture_of_a_dataset_whose_table_is_empty_says_so(
    tmp_path: Path, picture_of: Callable[[Path], bytes]
) -> None:
    photos(tmp_path / "photos", 3, 40, 32)
    out = dataset(tmp_path)
    assert picture_of(out)
    make_plain(out)
    pq.write_table(samples_table(()), out / "samples.parquet")
    with pytest.raises(ManifestError, match="expected samples to show, found none"):
        picture_of(out)
    assert not Page(write_gallery(out, tmp_path / "page.html", 10)).cards


def test_a_card_has_an_address_a_level_and_folded_parameters(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    folder = dataset(tmp_path)
    rows = {row.key: row for row in read_samples(folder)}
    page = page_of(folder)
    assert {card["id"] for card, _ in page.cards} == set(rows)
    links = {found["href"] for tag, found in page.tags if tag == "a"}
    for card, text in page.cards:
        row = rows[card["id"]]
        assert f"#{row.key}" in links
        assert card["data-severity"] == level_of(row.severity)
        assert row.seed in text and row.key in text
    assert all("open" not in found for tag, found in page.tags if tag == "details")
    chips = {(f["data-filter"], f["data-value"]) for tag, f in page.tags if "data-filter" in f}
    assert {("severity", level_of(row.severity)) for row in rows.values()} < chips


@pytest.mark.parametrize(("folder", "title"), [("rain-2026", "rain-2026"), ("out", "tiny"), ("dataset", "tiny")])
def test_the_title_names_the_dataset(tmp_path: Path, folder: str, title: str) -> None:
    photos(tmp_path / "photos", 1)
    build(tiny_recipe(tmp_path, degradations={"noisy": {}}), tmp_path / folder)
    page = page_of(tmp_path / folder)
    assert f'<h1 dir="auto">{title}</h1>' in page.source
    assert "Recipe tiny, version 1, digest" in page.text
