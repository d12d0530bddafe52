"""A real HTTP proxy between the code under test and a server: it can do something just before it hands on an answer.

So a client can be killed after its request was carried out and before it knows.
"""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_TIMEOUT = 60.0

BeforeAnswer = Callable[[str, str, bytes], None]
"""Called with method, path and body once the server has answered and before the client gets it."""


Swallow = Callable[[str, str, bytes], bool]
"""Called with method, path and body of a request; true: it never arrives, and its client gets no answer."""


@dataclass
class Proxy:
    """``url`` is where clients go; ``seen`` lists what was forwarded, ``sent`` the headers that came with it."""

    url: str
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    sent: set[tuple[str, str]] = field(default_factory=set)


@contextmanager
def proxy(
    target: str | Mapping[str, str],
    before_answer: BeforeAnswer = lambda method, path, body: None,
    *,
    swallow: Swallow = lambda method, path, body: False,
    tls: ssl.SSLContext | None = None,
    authorization: str | None = None,
) -> Iterator[Proxy]:
    """Forward everything to ``target`` (``http://host:port``), or by the first segment of the path to several.

    :param authorization: the header that a request must have; any other is answered 401 and not forwarded.
    """
    opened = Proxy("")
    targets = {"": target} if isinstance(target, str) else target

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body leave in two writes: Nagle and a delayed acknowledgement would add 40 ms to each answer.
        disable_nagle_algorithm = True

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if authorization and self.headers.get("Authorization") != authorization:
                self._answer(401, b"{}")
                return
            if swallow(self.command, self.path, body):
                self.close_connection = True
                return
            prefix = next(each for each in targets if self.path.startswith(each))
            opened.seen.append((self.command, self.path, body))
            opened.sent.update(self.headers.items())
            url = targets[prefix] + self.path.removeprefix(prefix)
            status, content = _ask(self.command, url, body, self.headers)
            before_answer(self.command, self.path, body)
            self._answer(status, content)

        def _answer(self, status: int, content: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PATCH = do_DELETE = _forward  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with _served(Handler, tls) as port:
        opened.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        yield opened


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that are killed hang up; that is what they are killed for."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None) -> Iterator[int]:
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _ask(method: str, url: str, body: bytes, headers: Message) -> tuple[int, bytes]:
    """Hand a request on; of its headers only those that Flink reads."""
    kept = {name: value for name, value in headers.items() if name.lower() in ("content-type", "accept")}
    request = urllib.request.Request(url, data=body or None, method=method, headers=kept)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
