"""A web page that restores photographs: `patina app`.

It is served on this computer, answers no other name than its own (`hosts`), and fetches and reports nothing: its fonts
are the system's, and its analytics are off. Photographs are restored one at a time; whoever comes meanwhile waits in a
queue.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import PIL.Image

from patina.pipeline.codec.decode import SUFFIXES
from patina.pipeline.errors import BadImageError
from patina.training.diffusion.samplers import SAMPLERS
from patina.training.errors import MissingTorchError, ModelInputError, NotFiniteError, RunFailedError
from patina.training.images import Pixels
from patina.training.restore.files import MIN_PROBABILITY_NAMED
from patina.training.restore.hosts import Hosts, OnlyHosts
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.photo import encode_photo, read_photo, writable
from patina.training.restore.restorer import Restorer
from patina.training.stages.stage import CLEAN

if TYPE_CHECKING:
    import gradio as gr  # type: ignore[import-not-found,unused-ignore]

MAX_SHOWN_SIDE = 2048
"""Longer side up to which the page shows photographs as they are; the file to download is always whole. px"""

MAX_DEGRADATIONS_NAMED = 4
"""Degradations that the page names."""

STYLE = "#result img { object-fit: scale-down; }"
"""A picture that is smaller than its place is shown at its own size."""

CACHE_CLEANUP_SECONDS = (600, 3600)
"""Every so many seconds the page's own copies of photographs go that are older than so many."""


def expect_gradio() -> None:
    """Raise MissingTorchError if Gradio, which is optional, is not installed."""
    if find_spec("gradio") is None:
        raise MissingTorchError("the page needs gradio: pip install 'patina-ir[app]'")


class _StoppedError(Exception):
    """Somebody pressed the button that stops a restoration."""


class _Page:
    """What the page's buttons do. One photograph is restored at a time, so one flag stops it."""

    def __init__(self, restorer: Restorer, folder: Path) -> None:
        self.restorer, self.folder = restorer, folder
        self._stop = threading.Event()

    def stop(self) -> None:
        """Stop what is restored now, after the network call that runs."""
        self._stop.set()

    def restored(self, file: Path, options: RestoreOptions, progress: Any) -> tuple[Any, dict[str, float], Path, str]:
        """Before and after, degradations, the file to download, and what there is to say. Raises what restoring does,
        and _StoppedError."""

        def on_call(done: int, of: int) -> None:
            if self._stop.is_set():
                raise _StoppedError
            progress((done, of), desc="Restoring", unit="network calls")

        self._stop.clear()
        photo_restorer = PhotoRestorer(self.restorer, options)
        photo = read_photo(file.read_bytes())
        restored, condition, notes = photo_restorer.restore(photo.image, on_call)
        data, left_out = encode_photo(restored, photo)
        degradations = {
            degradation: share
            for i, (degradation, share) in enumerate(condition.degradations.items())
            if i == 0 or share >= MIN_PROBABILITY_NAMED
        }
        remarks = "; ".join([f"{photo.image.shape[1]}×{photo.image.shape[0]} px", *photo.notes, *notes, *left_out])
        result = _written(self.folder, file, photo.format, data)
        return (page_image(photo.image), page_image(restored)), degradations, result, remarks


def make_app(restorer: Restorer, name: str = "") -> gr.Blocks:
    """The page, not yet served. name: of the model, as the page tells it. Raises MissingTorchError without Gradio."""
    expect_gradio()
    import gradio as gr

    place = tempfile.TemporaryDirectory(prefix="patina-app-")  # lives as long as the page
    (results := Path(place.name) / "results").mkdir()
    work = _Page(restorer, results)

    def restore(
        file: str | None,
        sampler: str = "",
        steps: float = 0,
        seed: float = 0,
        degradations: Sequence[str] = (),
        passes: float = 1,
        ensemble: bool = False,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio finds it by this
    ) -> tuple[tuple[Pixels, Pixels], dict[str, float], gr.DownloadButton, str]:
        _ = place  # kept for as long as this function is
        if not file:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        options = RestoreOptions(
            sampler or "",
            int(steps or 0),
            int(seed or 0),
            degradations=tuple(degradations or ()),
            passes=int(passes or 1),
            ensemble=bool(ensemble),
        )
        try:
            both, found, result, remarks = work.restored(Path(file), options, progress)
        except _StoppedError:
            raise gr.Error("Stopped.", print_exception=False) from None
        except (BadImageError, NotFiniteError) as error:
            raise gr.Error(f"{Path(file).name}: {error}", duration=None, print_exception=False) from None
        except (ModelInputError, RunFailedError, OSError) as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        return both, found, gr.DownloadButton(value=str(result), interactive=True), remarks

    named = restorer.conditioner is not None
    with gr.Blocks(analytics_enabled=False, title="patina", delete_cache=CACHE_CLEANUP_SECONDS) as page:
        gr.Markdown("# Restore a photograph")
        gr.Markdown(f"by {name or restorer.stage.name} ({restorer.stage.network})", elem_id="model")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label="Photograph", file_types=sorted(SUFFIXES), elem_id="photo")
                gr.Examples([[str(_example(Path(place.name)))]], [file], label="Example")
                asked: list[gr.components.Component] = [file, *_sampling(restorer), *_overrides(restorer)]
                with gr.Row():
                    button = gr.Button("Restore", variant="primary", elem_id="restore")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=2, min_width=300):
                slider = gr.ImageSlider(
                    label="Before and after", format="png", interactive=False, max_height=640, elem_id="result"
                )
                remarks = gr.Markdown(elem_id="told")
                label = gr.Label(
                    label="Degradations found", num_top_classes=MAX_DEGRADATIONS_NAMED, visible=named, elem_id="found"
                )
                download = gr.DownloadButton("Download", interactive=False, elem_id="download")
        button.click(restore, asked, [slider, label, download, remarks], concurrency_limit=1, api_name="restore")
        stop.click(work.stop, None, None, queue=False, api_name="stop")
    page.queue(default_concurrency_limit=1)
    return page


def _example(folder: Path) -> Path:
    """A picture to try the page with, made here: a hill below a sky, with a sun, under noise. 320 x 240 px."""
    y, x = np.mgrid[0:240, 0:320].astype(np.float64)
    sky = np.stack([120 + y / 3, 170 + y / 5, 235 - y / 6], axis=2)
    hill = np.stack([70 + x / 8, 110 + x / 12, 60 + y / 12], axis=2)
    image = np.where((y > 150 + 0.0015 * (x - 190) ** 2)[..., None], hill, sky)
    image = np.where(((x - 75) ** 2 + (y - 60) ** 2 < 26**2)[..., None], (255.0, 235.0, 170.0), image)
    noisy = image + np.random.default_rng(1).normal(0, 25, image.shape)
    path = folder / "noisy-example.png"
    PIL.Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(path)
    return path


def _overrides(restorer: Restorer) -> list[gr.components.Component]:
    """What the restorer is told in place of what its CLIP sees, passes, and the eight symmetries."""
    import gradio as gr

    ensemble = gr.Checkbox(
        False, label="Ensemble", info="averages over eight turns and mirrorings, for eight times the work"
    )
    if not restorer.degradations:
        return [gr.State(()), gr.State(1), ensemble]
    words = [word for word in restorer.degradations if word != CLEAN]
    told = gr.Dropdown(
        words,
        value=[],
        multiselect=True,
        label="Degradations",
        info="what the photograph bears; if empty, the CLIP decides",
    )
    passes = gr.Number(1, label="Passes", info="the strongest degradation goes first", precision=0, minimum=1)
    return [told, passes, ensemble]


def _sampling(restorer: Restorer) -> list[gr.components.Component]:
    """What a sampler can be told: its name, steps and seed; of a network of one pass nothing that is shown."""
    import gradio as gr

    if not restorer.is_diffusion:
        return [gr.State(""), gr.State(0), gr.State(0)]
    usual = restorer.stage.validation
    sampler = gr.Dropdown(list(SAMPLERS), value=usual.sampler, label="Sampler")
    steps = gr.Number(
        usual.steps,
        label="Steps",
        info="how often the network is called; 0 stands for the sampler's own number",
        precision=0,
        minimum=0,
    )
    seed = gr.Number(0, label="Seed", info="another seed gives another result", precision=0, minimum=0)
    return [sampler, steps, seed]


def _written(folder: Path, source: Path, format: str, data: bytes) -> Path:
    """The restored file under its source's name. What was restored before is gone: the page has its own copies."""
    for earlier in folder.iterdir():
        earlier.unlink()
    suffix = source.suffix if writable_as(source.suffix, format) else {"JPEG": ".jpg"}.get(format, f".{format.lower()}")
    path = folder / f"{source.stem}-restored{suffix}"
    path.write_bytes(data)
    return path


def writable_as(suffix: str, format: str) -> bool:
    """Whether a file of this format may be called so."""
    known = PIL.Image.registered_extensions().get(suffix.lower(), "")
    return known == format or (writable(known) == format == "PPM")


def page_image(image: Pixels) -> Pixels:
    """An image as the page shows it: H x W x 3 uint8, reduced if it is large."""
    height, width = image.shape[:2]
    scale = MAX_SHOWN_SIDE / max(height, width)
    if scale >= 1:
        return image
    reduced = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return reduced.astype(image.dtype, copy=False)


def serve(
    restorer: Restorer,
    port: int,
    *,
    name: str = "",
    share: bool = False,
    on_message: Callable[[str], None] = print,
) -> None:
    """Serve the page until the process is interrupted. name: of the model.

    Raises MissingTorchError, ModelInputError for a port in use.
    """
    page = make_app(restorer, name)
    try:
        _, local, public = launch(page, port, share=share)
    except OSError as error:
        raise ModelInputError(f"port {port} cannot be served ({error}); choose another --port") from error
    on_message(local)
    if public:
        on_message(public)
    page.block_thread()


def only_hosts(hosts: Hosts) -> list[Any]:
    """What an application of Starlette's, as Gradio's is, takes for its middleware: it answers these names alone."""
    from starlette.middleware import Middleware

    return [Middleware(OnlyHosts, hosts=hosts)]


def launch(page: gr.Blocks, port: int | None = None, *, share: bool = False) -> tuple[object, str, str]:
    """Serve a page from a thread, under the names of this computer and the public one that it gets if `share`; port
    None: a free one. Returns Gradio's server, the address here, a public one."""
    import gradio as gr

    hosts = Hosts()

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    app, local, public = page.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        theme=theme,
        css=STYLE,
        app_kwargs={"middleware": only_hosts(hosts)},
    )
    hosts.add(public or "")
    return app, local, public or ""
