"""A web server on this machine for tests: a folder over HTTP, and what was asked of it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Server:
    """Its address, and the requests that it answered: ("GET", "/photos/a.png")."""

    address: str
    requests: list[tuple[str, str]] = field(default_factory=list)

    def gets(self, suffix: str = "") -> list[str]:
        """Paths that were fetched, and whose name ends like that."""
        return [path for verb, path in self.requests if verb == "GET" and path.endswith(suffix)]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve `folder` with index pages and Last-Modified, as any web server does, until the block ends."""
    server: Server

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            del format, args
            server.requests.append((self.command, self.path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as http_:
        server = Server(f"http://127.0.0.1:{http_.server_address[1]}")
        thread = threading.Thread(target=http_.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http_.shutdown()
            thread.join()
