"""The web page: what it is made of, what it says of bad input, and, in a browser, from upload to download."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import pytest
import torch

from patina.training.errors import MissingTorchError, ModelInputError, NotFiniteError
from patina.training.images import to_bytes
from patina.training.restore import app
from patina.training.restore.files import MIN_PROBABILITY_NAMED
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.restorer import Restorer
from tests.pipeline.making import photo, picture
from tests.training.restore.test_restorer import described, diffusion

T = TypeVar("T")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


@pytest.fixture(scope="module")
def gradio() -> Iterator[Any]:
    """Gradio, which is optional. What it warns of is not ours, nor that it leaves event loops open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("gradio")
        asyncio.set_event_loop(None)
        gc.collect()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def test_without_gradio_one_sentence_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "find_spec", lambda name: None)
    with pytest.raises(MissingTorchError, match=r"pip install 'patina-ir\[app\]'"):
        app.make_app(described())


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(page: object, port: int, share: bool) -> None:
        raise OSError("Cannot find empty port in range: 7860-7860")

    monkeypatch.setattr(app, "make_app", lambda restorer, name: None)
    monkeypatch.setattr(app, "launch", taken)
    with pytest.raises(ModelInputError, match=r"port 7860 cannot be served .*; choose another --port"):
        app.serve(described(), 7860)


def test_what_is_shown_is_reduced_only_where_it_is_large() -> None:
    small = picture(64, 48)
    assert app.page_image(small) is small
    assert app.page_image(np.full((1000, 4096, 3), 7, np.uint8)).shape == (500, 2048, 3)


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("a.jpeg", "JPEG", "a-restored.jpeg"),
        ("a.GIF", "PNG", "a-restored.png"),
        ("a.mpo", "JPEG", "a-restored.jpg"),
        ("a.pgm", "PPM", "a-restored.pgm"),
        ("a.jpg", "PNG", "a-restored.png"),
        ("a", "TIFF", "a-restored.tiff"),
    ],
)
def test_the_file_to_download_is_named_after_the_photograph(
    tmp_path: Path, name: str, format: str, expected: str
) -> None:
    (tmp_path / "earlier-restored.png").write_bytes(b"old")
    written = app._written(tmp_path, Path("/elsewhere") / name, format, b"new")
    assert written == tmp_path / expected
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(expected, b"new")]


def restoring(page: Any) -> Callable[..., Any]:
    """What the page's button calls."""
    (call,) = [f for f in page.fns.values() if f.api_name == "restore"]
    assert call.concurrency_limit == 1
    return call.fn  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
def test_the_button_gives_both_images_the_degradations_and_the_file(gradio: Any, tmp_path: Path) -> None:
    restorer = diffusion()
    source = photo(tmp_path / "a.png", 50, 40)
    page = app.make_app(restorer)
    (before, after), degradations, button, told = restoring(page)(
        str(source), "fast-sde", 2, 7, progress=lambda *a, **k: None
    )
    expected = to_bytes(restorer.restore(picture(50, 40), sampler="fast-sde", steps=2, seed=7))
    assert np.array_equal(before, picture(50, 40))
    assert np.array_equal(after, expected)
    every = restorer.look(picture(50, 40)).degradations
    assert next(iter(degradations)) == next(iter(every))
    assert degradations == {
        degradation: share for degradation, share in every.items() if share >= MIN_PROBABILITY_NAMED
    }
    with PIL.Image.open(button.value["path"]) as written:
        assert np.array_equal(np.array(written), expected)
    assert told == "50×40 px"


@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_told_in_words(gradio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = restoring(app.make_app(diffusion()))

    def said(*asked: object) -> str:
        with pytest.raises(gradio.Error) as caught:
            call(*asked, progress=lambda *a, **k: None)
        assert not caught.value.print_exception
        return str(caught.value.message)

    torn = tmp_path / "torn.png"
    torn.write_bytes(photo(tmp_path / "a.png").read_bytes()[:200])
    assert said(None) == "Choose a photograph first."
    assert said(str(torn)).startswith("torn.png: ")
    assert "expected 1 to 100" in said(str(tmp_path / "a.png"), "posterior", 500)
    assert "seed -1" in said(str(tmp_path / "a.png"), "posterior", 1, -1)

    def strange(*asked: object, **options: object) -> None:
        raise NotFiniteError("the network gave 3 of 9 numbers that are not finite")

    monkeypatch.setattr(Restorer, "restore", strange)
    assert said(str(tmp_path / "a.png")) == "a.png: the network gave 3 of 9 numbers that are not finite"

    def full(*asked: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Restorer, "restore", full)
    assert "too little memory" in said(str(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore")
def test_only_what_the_model_can_use_is_asked(gradio: Any) -> None:
    def labels(restorer: Restorer) -> set[str]:
        blocks = app.make_app(restorer).blocks.values()
        return {b.label for b in blocks if getattr(b, "visible", True) and getattr(b, "label", None)}

    asked, named = {"Sampler", "Steps", "Seed"}, {"Degradations found"}
    assert asked | named <= labels(diffusion())
    assert not asked & labels(described())
    assert not named & labels(diffusion(steered=False))


@pytest.mark.filterwarnings("ignore")
def test_the_page_tells_the_model_has_an_example_and_takes_overrides(gradio: Any, tmp_path: Path) -> None:
    page = app.make_app(described(), "nhrbl.ckpt")
    texts = [b.value for b in page.blocks.values() if isinstance(getattr(b, "value", None), str)]
    assert "by nhrbl.ckpt (vlunet-7)" in texts
    labels = {getattr(b, "label", None) for b in page.blocks.values()}
    assert {"Degradations", "Passes", "Ensemble"} <= labels
    assert not {"Degradations", "Passes"} & {
        getattr(b, "label", None) for b in app.make_app(diffusion(steered=False)).blocks.values()
    }
    example = app._example(tmp_path)
    quiet: Any = lambda *a, **k: None  # noqa: E731
    (_, after), _, _, told = restoring(page)(str(example), progress=quiet)
    assert told == "320×240 px"
    (_, hazy), *_ = restoring(page)(str(example), "", 0, 0, ["image with haze"], 1, True, progress=quiet)
    assert not np.array_equal(after, hazy)


@pytest.mark.filterwarnings("ignore")
def test_a_restoration_is_stopped(gradio: Any, tmp_path: Path) -> None:
    page = app.make_app(diffusion())
    (stop,) = [f for f in page.fns.values() if f.api_name == "stop"]
    calls: list[int] = []

    def told(now: tuple[int, int], **_: object) -> None:
        calls.append(now[0])
        if now[0] == 2:
            stop.fn()

    source = photo(tmp_path / "a.png", 50, 40)
    with pytest.raises(gradio.Error) as caught:
        restoring(page)(str(source), "posterior", 50, 0, progress=told)
    assert caught.value.message == "Stopped."
    assert calls == [1, 2]
    restoring(page)(str(source), "fast-ode", 3, 0, progress=lambda *a, **k: None)  # the next one is not


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_reported_or_fetched(gradio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    page = app.make_app(described())
    assert page.analytics_enabled is False
    monkeypatch.setattr(
        page, "launch", lambda **options: (given.update(options), (None, "http://127.0.0.1:1/", None))[1]
    )
    assert app.launch(page)[1:] == ("http://127.0.0.1:1/", "")
    assert (given["server_name"], given["share"], given["run_history"]) == ("127.0.0.1", False, False)
    assert "object-fit: scale-down" in given["css"]  # small pictures are not blown up
    theme = given["theme"]
    assert not re.search(r"(url\(|@import).{0,2}https?:", theme._get_theme_css())
    assert not theme._stylesheets


# In a browser


class Browser:
    """Chromium without a window, by its DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        connect = pytest.importorskip("websockets.sync.client").connect
        quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        quiet += ["--disable-background-networking", "--disable-component-update"]
        command = [CHROMIUM, *quiet, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        active = folder / "DevToolsActivePort"
        port = until(lambda: active.exists() and active.read_text().split("\n")[0])
        (page,) = [p for p in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json")) if p["type"] == "page"]
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._numbers = itertools.count()
        self.asked_for: list[str] = []
        for domain in ("Page", "DOM", "Network", "Runtime"):
            self(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def __call__(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method; the addresses that the page asks for meanwhile are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") == "Network.requestWillBeSent":
                self.asked_for.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]  # type: ignore[no-any-return]

    def value(self, expression: str) -> Any:
        """What JavaScript makes of it."""
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def sized(self, width: int, height: int = 1000) -> None:
        """The size of its window, px."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> PIL.Image.Image:
        """What is to be seen."""
        data = self("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return PIL.Image.open(io.BytesIO(base64.b64decode(data)))


def until(condition: Callable[[], T], seconds: float = 60, every: float = 0.1) -> T:
    """Wait for something that is true. every: seconds between two looks."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every)
    return found


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_upload_to_download_in_a_browser(gradio: Any, browser: Browser, tmp_path: Path) -> None:
    restorer = diffusion(steps=3)
    source = photo(tmp_path / "street.png", 96, 64, seed=3)
    page = app.make_app(restorer)
    _, address, _ = app.launch(page)
    try:
        browser.sized(1200)
        browser("Page.navigate", url=address)
        until(lambda: browser.value("!!document.querySelector('#photo input[type=file]')"))
        told = "document.body.innerText.includes('Choose a photograph first.')"
        press = "document.querySelector('#restore').click()"
        until(lambda: browser.value(told) or browser.value(press), every=1)  # a button that is seen may not listen yet
        browser.upload("#photo input[type=file]", source)
        until(lambda: browser.value("document.querySelector('#photo').innerText.includes('street')"))
        browser.value(press)
        images = "[...document.querySelectorAll('#result img')].filter(i => i.naturalWidth == 96).map(i => i.src)"
        shown = until(lambda: len(found := browser.value(images) or []) == 2 and found)
        downloads = tmp_path / "downloads"
        browser("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        until(lambda: browser.value("!document.querySelector('#download').disabled"))
        browser.value("document.querySelector('#download').click()")
        until((downloads / "street-restored.png").exists, 20)
        label, most = browser.value("document.querySelector('#found').innerText"), next(iter(found_in(restorer)))
        assert most in label
        expected = PhotoRestorer(restorer, RestoreOptions()).restore(picture(96, 64, 3))[0]
        pictures = [opened(address, url) for url in shown]
        assert np.array_equal(pictures[0], picture(96, 64, 3))
        assert np.array_equal(pictures[1], expected)
        with PIL.Image.open(downloads / "street-restored.png") as downloaded:
            assert np.array_equal(np.array(downloaded), expected)
        for width in (1200, 420):
            browser.sized(width)
            until(lambda w=width: browser.value("window.innerWidth") == w)  # type: ignore[misc]
            time.sleep(0.5)
            browser.picture().save(tmp_path / f"page-{width}.png")
            assert browser.value("document.documentElement.scrollWidth") <= width
        strange = [u for u in browser.asked_for if not u.startswith((address, "data:", "blob:", "about:"))]
        assert not strange
    finally:
        page.close()


def found_in(restorer: Restorer) -> dict[str, float]:
    return restorer.look(picture(96, 64, 3)).degradations


def opened(address: str, url: str) -> np.ndarray[Any, Any]:
    assert url.startswith(address)
    with PIL.Image.open(io.BytesIO(urllib.request.urlopen(url).read())) as image:
        return np.array(image.convert("RGB"))


def test_gradio_is_imported_only_for_the_page() -> None:
    code = "import sys, patina.training.restore.app; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
