"""Picture files that are not read are told, with what to do; files that are no pictures never are."""

from __future__ import annotations

import io
from pathlib import Path

import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.codec.file_kinds import HEAD, OWN_SUFFIX, REMEDIES, kind_of
from patina.pipeline.errors import SourceError
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.sources.folder import Folder
from patina.pipeline.sources.pairs import Pairs
from patina.pipeline.sources.passed_over import LOOKED_AT, passed_over, unread_kinds
from tests.pipeline.making import encoded, photo, photos, picture, tiny_recipe

NO_PICTURES = {
    "README": b"Read me first",
    "LICENSE": b"BM of the Museum. All rights reserved.",
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ".DS_Store": b"\0\0\0\1Bud1",
    ".hidden.heic": b"hidden",
    "notes.txt": b"a sidecar",
    "facts.json": b"{}",
    "table.csv": b"a,b\n",
    "clip.mp4": b"\0\0\0\x20ftypmp42\0\0\0\0mp42isom",
    "flow.flo5": b"PIEH",
    "preview.thm": encoded(picture(), "JPEG"),
    "words": b"P5 is a processor, 3 of them",
    "empty": b"",
}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_plan_build_and_manifest_say_what_was_passed_over_by_suffix_with_the_remedy(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    jpeg = encoded(picture(), "JPEG")
    names = ["a.CR2", "deep/b.jp2", "c.dng", "d.dng", "e.psd", "nosuffix", *NO_PICTURES]
    fill(tmp_path / "photos", dict.fromkeys(names, jpeg) | NO_PICTURES)
    recipe = tiny_recipe(tmp_path)
    planned = plan_build(recipe, tmp_path / "out", Options())
    (note,) = planned.notes
    assert note.startswith("photos: 6 picture files were passed over: 2 .dng, 1 .cr2 (develop to PNG or 16-bit TIFF); ")
    assert "1 .jp2 (convert to PNG)" in note
    assert "1 .psd (export as PNG)" in note
    assert "1 JPEG without a suffix of its kind, such as nosuffix (give it the suffix .jpg)" in note
    build(recipe, tmp_path / "out", Options())
    manifest = load_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.notes == (note,)


@pytest.mark.skipif(".heic" in SUFFIXES, reason="the extra [formats] is installed")
def test_without_the_extra_its_suffixes_name_it(tmp_path: Path) -> None:
    fill(tmp_path / "phone", {"a.HEIC": b"", "b.heif": b"", "c.hif": b"", "d.jxl": b""})
    paths = {path.name: str(path) for path in (tmp_path / "phone").iterdir()}
    hint = "1 .heic, 1 .heif, 1 .hif, 1 .jxl (pip install 'patina-ir[formats]', or convert to JPEG or PNG)"
    assert passed_over("phone", unread_kinds(paths, paths)).endswith(hint)


def test_files_that_are_no_pictures_are_not_spoken_of(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    fill(tmp_path / "photos", NO_PICTURES)
    found = Folder(str(tmp_path / "photos")).find()
    assert not found.notes
    assert found.ignored == len([name for name in NO_PICTURES if not name.startswith(".")])


def test_what_include_leaves_out_was_not_asked_for(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    fill(tmp_path / "photos", {"a.psd": b"8BPS", "drafts/b.psd": b"8BPS"})
    assert not Folder(str(tmp_path / "photos"), include="*.png").find().notes
    (note,) = Folder(str(tmp_path / "photos"), include=("*.png", "drafts/*")).find().notes
    assert note == "photos: 1 picture file was passed over: 1 .psd (export as PNG)"


def test_a_folder_of_such_files_alone_says_so_where_it_stops(tmp_path: Path) -> None:
    fill(tmp_path / "raw", {f"{i}.nef": b"MM\0*" for i in range(3)})
    expected = (
        r"found none \(3 other files, 0 images outside `include`\); raw: 3 picture files were passed over: 3 \.nef"
    )
    with pytest.raises(SourceError, match=expected):
        Folder(str(tmp_path / "raw")).find()


def test_both_sides_of_pairs_are_looked_at(tmp_path: Path) -> None:
    for side in ("lq", "gt"):
        photo(tmp_path / side / "a.png")
        fill(tmp_path / side, {"b.tga": b"\0\0\2"})
    (tmp_path / "gt" / "c").write_bytes(encoded(picture(), "PNG"))
    pairs = Pairs(lq=str(tmp_path / "lq"), gt=str(tmp_path / "gt"), degradation="rainy")
    lq, gt = pairs.find().notes
    assert "lq: 1 picture file was passed over: 1 .tga (convert to PNG)" in lq
    assert "gt: 2 picture files were passed over: 1 .tga (convert to PNG); 1 PNG without a suffix" in gt
    (tmp_path / "lq" / "a.png").rename(tmp_path / "lq" / "z.png")
    with pytest.raises(SourceError, match=r"expected pairs matched by name, found none .* 1 \.tga .*; try another"):
        pairs.find()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_first_bytes_tell_what_pillow_writes(format: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture()).save(buffer, format)
    assert kind_of(buffer.getvalue()[:HEAD]).upper() == format


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41", ""),
        (b"", ""),
    ],
)
def test_first_bytes_tell_what_is_not_read(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


def test_every_kind_can_be_spoken_of_and_every_suffix_has_a_remedy(tmp_path: Path) -> None:
    for kind, suffix in OWN_SUFFIX.items():
        assert suffix in REMEDIES or suffix in SUFFIXES, kind
    kinds = {f"a{suffix}": suffix for suffix in REMEDIES} | {f"b{i}": kind for i, kind in enumerate(OWN_SUFFIX)}
    told = passed_over("here", kinds)
    assert all(suffix in told for suffix in REMEDIES)
    assert all(f"1 {kind} without" in told for kind in OWN_SUFFIX)


def test_many_files_of_an_unknown_suffix_are_not_all_opened(tmp_path: Path) -> None:
    fill(tmp_path, {f"{i:04d}.flow": b"PIEH" for i in range(LOOKED_AT)} | {f"x{i}.flow": b"8BPS" for i in range(2)})
    paths = {path.name: str(path) for path in tmp_path.iterdir()}
    assert not unread_kinds(paths, paths), "the first ones are none"
    (tmp_path / "0000.flow").write_bytes(b"8BPS")
    assert unread_kinds(paths, paths) == {"0000.flow": "PSD", "x0.flow": "PSD", "x1.flow": "PSD"}
    assert not unread_kinds(paths), "at an address nothing is opened"


def test_a_folder_that_ends_in_a_suffix_and_a_pipe_hold_nobody_up(tmp_path: Path) -> None:
    import os

    photos(tmp_path / "photos", 1)
    os.mkfifo(tmp_path / "photos" / "pipe")
    (tmp_path / "photos" / "album.heic").mkdir()
    assert not Folder(str(tmp_path / "photos")).find().notes


def test_a_folder_of_masks_is_looked_at_too(tmp_path: Path) -> None:
    import numpy as np

    from tests.pipeline.making import save

    photos(tmp_path / "photos", 1)
    mask = np.zeros((48, 64), np.uint8)
    mask[:20] = 255
    for name in ("a.png", "b.gif", "more/c.png"):
        save(tmp_path / "masks" / name, mask)
    fill(tmp_path / "masks", {"d.exr": b"", "notes.txt": b"no picture", "e.npy": b""})
    uncompleted = {"uncompleted": {"masks": "masks"}}
    composite = {"hazy+uncompleted": {"uncompleted": {"masks": "masks"}}}
    for entry, degradations in (("uncompleted", uncompleted), ("hazy+uncompleted", composite)):
        where = f"[degradations.{entry}] masks"
        recipe = tiny_recipe(tmp_path, degradations=degradations)
        assert plan_build(recipe, tmp_path / "out", Options()).notes == (
            f"{where}: 2 picture files were passed over: 1 .exr (tone-map to PNG); 1 .gif (convert to PNG)",
            f"{where}: sub-folders are passed over, and with them 1 picture, such as more/c.png",
        )


def test_commands_on_a_folder_of_photographs_say_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from patina.flows.cli.output import print_passed_over

    photos(tmp_path / "photos", 1)
    print_passed_over(tmp_path / "photos")
    assert capsys.readouterr().err == ""
    fill(tmp_path / "photos", {"a.psd": b""})
    print_passed_over(tmp_path / "photos")
    assert "photos: 1 picture file was passed over: 1 .psd (export as PNG)" in capsys.readouterr().err


def test_a_sample_of_a_tar_without_a_picture_that_is_read_names_the_remedy(tmp_path: Path) -> None:
    import tarfile

    from patina.pipeline.sources.webdataset import WebDataset

    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name, data in {"a.jpg": encoded(picture(), "JPEG"), "b.jp2": b"jp2", "b.txt": b"words"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (refusal,) = WebDataset(str(tmp_path / "set.tar")).find().refusals
    assert refusal.reason == "has no clean image (jpg): only jp2 (convert to PNG), txt"


@pytest.mark.parametrize(
    ("lq", "gt"), [("lq", "gt"), ("blur", "sharp"), ("input", "target"), ("train/rainy", "train/norain")]
)
def test_degraded_images_beside_clean_ones_are_no_clean_photographs(tmp_path: Path, lq: str, gt: str) -> None:
    photos(tmp_path / "set" / lq, 3)
    photos(tmp_path / "set" / gt, 3)
    with pytest.raises(SourceError, match=f"holds degraded images in '{lq}' beside the clean ones in '{gt}'"):
        Folder(str(tmp_path / "set")).find()
    assert len(Folder(str(tmp_path / "set"), include=f"{gt}/*").find().candidates) == 3


def test_folders_that_only_sound_degraded_are_read(tmp_path: Path) -> None:
    photos(tmp_path / "set" / "rain", 3)
    photos(tmp_path / "set" / "clear", 3, first=50)
    for i, path in enumerate(sorted((tmp_path / "set" / "clear").iterdir())):
        path.rename(path.with_name(f"sky-{i}.png"))
    photos(tmp_path / "set" / "snow", 2)
    assert len(Folder(str(tmp_path / "set")).find().candidates) == 8, "other names: other photographs"
