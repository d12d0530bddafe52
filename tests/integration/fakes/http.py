"""A real HTTP server on 127.0.0.1 that records what it received and misbehaves on demand."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """One answer, well-behaved or not.

    :param body: bytes go out as they are, anything else as JSON.
    :param delay: seconds of silence before the answer.
    :param cut: send the headers of the whole body, then only its half, then close.
    :param drip: seconds between single bytes of the body.
    :param drop: close the connection without an answer.
    :param chunked: no Content-Length but chunks.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    drip: float = 0.0
    drop: bool = False
    chunked: bool = False

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Route = Callable[..., Answer]


class FakeServer:
    """Subclasses add routes with :meth:`route`; tests put answers in front of them with :meth:`script`.

    ``requests`` are all that really arrived, in order; ``connections`` counts TCP connections. ``before`` is called
    with each request before it is answered, to let something else happen between two requests.
    """

    def __init__(self, prefix: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.prefix = prefix
        self.tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.before: Callable[[Received], None] = lambda request: None
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self._scripts: list[tuple[str, re.Pattern[str], list[Answer], bool]] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def route(self, method: str, pattern: str, handler: Route) -> None:
        self._routes.append((method, re.compile(pattern), handler))

    def script(self, method: str, pattern: str, *answers: Answer, repeat_last: bool = False) -> None:
        """Answer the next requests that fit with ``answers``, one each; then the routes again, unless repeated."""
        with self.lock:
            self._scripts.append((method, re.compile(pattern), list(answers), repeat_last))

    def count(self, method: str, pattern: str) -> int:
        return len(self.received(method, pattern))

    def received(self, method: str, pattern: str) -> list[Received]:
        with self.lock:
            return [r for r in self.requests if r.method == method and re.fullmatch(pattern, r.path)]

    def answer(self, request: Received) -> Answer:
        with self.lock:
            self.requests.append(request)
            self.before(request)
            scripted = self._scripted(request)
            if scripted is not None:
                return scripted
            for method, pattern, handler in self._routes:
                found = pattern.fullmatch(request.path)
                if method == request.method and found:
                    return handler(request, *found.groups())
        return Answer(404, {"errors": [f"Unable to load requested file {request.path}."]})

    def _scripted(self, request: Received) -> Answer | None:
        for method, pattern, answers, repeat_last in self._scripts:
            if method == request.method and answers and pattern.fullmatch(request.path):
                return answers[0] if repeat_last and len(answers) == 1 else answers.pop(0)
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Handler)
        if fake.tls:
            self.socket = fake.tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise each answer waits 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.fake.lock:
            self.server.fake.connections += 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""

    def _serve(self) -> None:
        fake = self.server.fake
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = parts.path.removeprefix(fake.prefix)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        self._send(fake.answer(Received(self.command, path, query, headers, body)))

    def _send(self, answer: Answer) -> None:
        if answer.delay:
            self.server.fake.closing.wait(answer.delay)
        if answer.drop:
            self.close_connection = True
            return
        data = answer.data
        self.send_response(answer.status)
        length = {"Transfer-Encoding": "chunked"} if answer.chunked else {"Content-Length": str(len(data))}
        for key, value in {"Content-Type": "application/json", **length, **answer.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if answer.chunked:
            data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
        if answer.cut:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif answer.drip:
            self._drip(data, answer.drip)
        else:
            self.wfile.write(data)

    def _drip(self, data: bytes, pause: float) -> None:
        for index in range(len(data)):
            if self.server.fake.closing.wait(pause):
                return
            self.wfile.write(data[index : index + 1])
            self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not come true within {timeout} s")
        time.sleep(0.005)
