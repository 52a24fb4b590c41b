"""Web servers as they are: pages with links up and sideways, odd names, errors that pass, files that break off."""

from __future__ import annotations

import functools
import html
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import SourceError
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.sources import locations
from patina.pipeline.sources.reader import image_files
from tests.pipeline.making import photo, photos, read_built, tiny_recipe

NAMES = ("a.png", "x y.png", "100%.png", "what?.png", "h#sh.png", "größe.png", "a&b.png", "q'(1)+.png")


@dataclass
class Site:
    """A web server with index pages like Apache's. absolute: whether its links are. status: by path, how often which
    error is given. torn: paths of which half is sent, as if that were all."""

    folder: Path
    address: str = ""
    absolute: bool = False
    status: dict[str, tuple[int, int]] = field(default_factory=dict)
    torn: set[str] = field(default_factory=set)
    gets: list[str] = field(default_factory=list)

    def index(self, path: str) -> bytes:
        """Sorting links, a link to the folder above, to the page itself, and to what lies in it."""
        place = self.folder / unquote(path).strip("/")
        base = path if self.absolute else ""
        above = quote(unquote(path).rstrip("/").rpartition("/")[0]) + "/"
        links = ["?C=N;O=D", "?C=M&O=A", above, "./", "../", "#top", "https://example.org/elsewhere.png"]
        links += [base + quote(p.name, safe="&'()+") + "/" * p.is_dir() for p in sorted(place.iterdir())]
        return "".join(f'<a href="{html.escape(link)}">name</a>\n' for link in links).encode()


class Handler(http.server.SimpleHTTPRequestHandler):
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.site.gets.append(path)
        times, status = self.site.status.get(path, (0, 0))
        if times:
            self.site.status[path] = (times - 1, status)
            self.send_error(status)
        elif (self.site.folder / path.strip("/")).is_dir() and path.endswith("/"):
            self._send(self.site.index(urlsplit(self.path).path), "text/html")
        elif path in self.site.torn:
            whole = (self.site.folder / path.strip("/")).read_bytes()
            self._send(whole[: len(whole) // 2], "image/png")
        else:
            super().do_GET()

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locations, "PAUSES", (0.01, 0.02))
    (tmp_path / "www").mkdir()
    site = Site(tmp_path / "www")
    handler = type("Own", (Handler,), {"site": site})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(site.folder))
    ) as server:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def recipe_of(tmp_path: Path, address: str) -> Recipe:
    return tiny_recipe(tmp_path, sources=[{"path": address}])


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("written", ["sub%20folder", "sub%20folder/", "sub folder/"])
def test_index_pages_are_read_downwards_only_and_names_come_out_as_they_are(
    site: Site, absolute: bool, written: str
) -> None:
    site.absolute = absolute
    for i, name in enumerate(NAMES):
        photo(site.folder / "photos" / "sub folder" / "deep er" / name, seed=i)
    photo(site.folder / "photos" / "above.png", seed=20)
    found, ignored = image_files(f"{site.address}/photos/{written}", "path")
    assert sorted(name for name, _ in found) == sorted(f"deep er/{name}" for name in NAMES)
    assert ignored == 0
    assert set(site.gets) == {"/photos/sub folder/", "/photos/sub folder/deep er/"}, "no page above was asked for"
    for name, address in found:
        here = site.folder / "photos" / "sub folder" / name
        assert locations.fetch(address)[0] == here.read_bytes()
        assert locations.tag(address)[1] == here.stat().st_size
        assert locations.base_name(address) == here.name


def test_a_single_file_is_a_listing_of_itself(site: Site) -> None:
    photo(site.folder / "one.png")
    assert locations.list_remote(f"{site.address}/one.png") == [f"{site.address}/one.png"]


def test_a_page_that_does_not_come_is_an_error_and_no_empty_folder(site: Site, tmp_path: Path) -> None:
    photos(site.folder / "photos", 2)
    photo(site.folder / "photos" / "sub" / "more.png", seed=9)
    for status in (500, 403, 404):
        site.status["/photos/sub/"] = (9, status)
        with pytest.raises(SourceError, match=r"cannot list .*/photos"):
            build(recipe_of(tmp_path, f"{site.address}/photos"), tmp_path / "out")


def test_what_passes_is_waited_for_and_what_stays_is_not(site: Site, tmp_path: Path) -> None:
    photos(site.folder / "photos", 2)
    site.status = {"/photos/": (2, 503), "/photos/good-000.png": (2, 500), "/photos/good-001.png": (1, 429)}
    report = build(recipe_of(tmp_path, f"{site.address}/photos"), tmp_path / "out")
    assert len(report.planned.scan.sources) == 2
    site.status = {"/photos/good-000.png": (9, 403)}
    before = len(site.gets)
    with pytest.raises(locations.LocationError, match="cannot be read: 403"):
        locations.fetch(f"{site.address}/photos/good-000.png")
    assert len(site.gets) == before + 1


def test_a_file_that_broke_off_is_set_aside_and_fetched_again(site: Site, tmp_path: Path) -> None:
    photos(site.folder / "photos", 4)
    site.torn = {"/photos/good-002.png"}
    recipe = recipe_of(tmp_path, f"{site.address}/photos")
    build(recipe, tmp_path / "out")
    assert list(read_built(tmp_path / "out").set_aside) == ["good-002.png"]
    site.torn = set()  # same size, same time: only the bytes that came were too few
    build(recipe, tmp_path / "out")
    assert read_built(tmp_path / "out").set_aside == {}
    assert len(read_built(tmp_path / "out").samples) == 4


def test_a_photograph_that_vanishes_after_it_was_listed_is_set_aside(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(site.folder / "photos", 4)
    real = locations.list_remote

    def listed(folder: str) -> list[str]:
        found = real(folder)
        (site.folder / "photos" / "good-001.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(locations, "list_remote", listed)
    build(recipe_of(tmp_path, f"{site.address}/photos"), tmp_path / "out")
    aside = read_built(tmp_path / "out").set_aside
    assert list(aside) == ["good-001.png"]
    assert aside["good-001.png"].startswith("cannot be read")


def test_a_signed_address_is_no_name_and_no_reason(site: Site) -> None:
    photo(site.folder / "one.png")
    signed = f"{site.address}/one.png?X-Amz-Signature={'5ecret' * 60}"
    assert locations.base_name(signed) == "one.png"
    copy = locations.local_copy(signed)
    assert copy.read_bytes() == (site.folder / "one.png").read_bytes()
    site.status["/one.png"] = (9, 403)
    with pytest.raises(locations.LocationError) as raised:
        locations.fetch(signed)
    assert "5ecret" not in str(raised.value)


def test_a_local_copy_that_was_cut_short_is_fetched_again(site: Site) -> None:
    photo(site.folder / "one.png")
    whole = (site.folder / "one.png").read_bytes()
    copy = locations.local_copy(f"{site.address}/one.png")
    copy.write_bytes(whole[:100])
    assert locations.local_copy(f"{site.address}/one.png").read_bytes() == whole
    asked = len(site.gets)
    locations.local_copy(f"{site.address}/one.png")
    assert len(site.gets) == asked


def test_a_very_long_name_has_a_place_in_the_cache(site: Site) -> None:
    name = "long-" * 48 + ".png"
    photo(site.folder / name)
    assert locations.local_copy(f"{site.address}/{name}").name.endswith("long-.png")


def test_a_part_in_words() -> None:
    assert locations.display_address(locations.part("a.tar", 512, 100)) == "a.tar (100 bytes from 512 on)"
