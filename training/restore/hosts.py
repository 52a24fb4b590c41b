"""Whom a page of this computer answers: those alone who ask for it by a name that it is served under.

Any web site can give its own name the address 127.0.0.1 while it is open in a browser (DNS rebinding), and would then
be let in to read photographs and start restorations as if it were the page. Its requests carry its own name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

OWN = frozenset(("127.0.0.1", "localhost", "::1"))
"""Names of this computer, for itself."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]


class Hosts:
    """The names that a page is served under. Starts with those of this computer."""

    def __init__(self) -> None:
        self._names = set(OWN)

    def add(self, address: str) -> None:
        """Serve the page under the name in an address too, such as https://0123.example.org/."""
        if name := urlsplit(address).hostname:
            self._names.add(name)

    def __contains__(self, header: str) -> bool:
        """Whether a request's Host header, with a port or without, has one of the names."""
        try:
            parts = urlsplit(f"//{header}")
            return not parts.username and parts.netloc == header and (parts.hostname or "").rstrip(".") in self._names
        except ValueError:
            return False


class OnlyHosts:
    """ASGI middleware that refuses requests, and web sockets, by any other name than those of `hosts`."""

    def __init__(self, app: Asgi, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with 421, which says that nothing is served under this name."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        named = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
        if len(named) == 1 and named[0] in self.hosts:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": b"nothing is served under this name\n"})
