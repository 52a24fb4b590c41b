"""By which names the page answers, as a bare ASGI application and, where Gradio is installed, as the page itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from patina.training.restore import app as page
from patina.training.restore.hosts import Hosts, OnlyHosts

OURS = ["127.0.0.1", "127.0.0.1:7860", "localhost", "LOCALHOST:7860", "localhost.", "[::1]", "[::1]:7860"]
OTHERS = [
    "", "evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example",
    "evil.example#localhost", "localhost@evil.example", "evil.example/localhost", "127.0.0.2", "0.0.0.0", "[::2]",
    "[", "localhost:x@evil.example", "evil.example\\@localhost", "user@localhost", "127.0.0.1?", "2130706433",
    "localhost,evil.example", "gradio.live",
]  # fmt: skip


async def _inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a photograph"})


def answer(*hosts: str, kind: str = "http", names: Hosts | None = None) -> list[dict[str, Any]]:
    """What is sent to a request with these Host headers."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        return {"type": f"{kind}.disconnect"}

    scope = {"type": kind, "headers": [(b"accept", b"*/*"), *((b"host", host.encode()) for host in hosts)]}
    asyncio.run(OnlyHosts(_inner, names or Hosts())(scope, receive, send))
    return sent


@pytest.mark.parametrize("host", OURS)
def test_names_of_this_computer_are_answered(host: str) -> None:
    assert answer(host)[0]["status"] == 200


@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_refused_and_reaches_nothing(host: str) -> None:
    start, body = answer(host)
    assert start["status"] == 421
    assert b"photograph" not in body["body"]
    assert answer(host, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


def test_no_name_and_two_names_are_refused() -> None:
    assert answer()[0]["status"] == 421
    assert answer("localhost", "evil.example")[0]["status"] == 421
    assert answer("localhost", "localhost")[0]["status"] == 421


def test_a_shared_page_is_answered_under_its_public_name_too() -> None:
    names = Hosts()
    names.add("https://0123.gradio.live/")
    names.add("")
    assert answer("0123.gradio.live", names=names)[0]["status"] == 200
    assert answer("4567.gradio.live", names=names)[0]["status"] == 421


def test_start_and_end_of_the_server_go_through() -> None:
    assert answer(kind="lifespan")[0]["status"] == 200


def test_a_starlette_application_as_gradios_takes_it() -> None:
    starlette = pytest.importorskip("starlette.applications")
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    routes = [Route("/", lambda request: PlainTextResponse("a photograph"))]
    app = starlette.Starlette(routes=routes, middleware=page.only_hosts(Hosts()))
    assert isinstance(app.user_middleware[0], Middleware)
    for host, status in (("localhost:7860", 200), ("evil.example", 421)):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        scope = {
            "type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", host.encode())],
            "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 7860), "root_path": "",
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))
        assert sent[0]["status"] == status
