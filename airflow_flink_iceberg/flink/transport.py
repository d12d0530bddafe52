"""HTTP as this package needs it: bounded in time and size, honest about what was sent, silent about secrets.

GETs are retried, everything else is sent once: whether a lost POST was carried out is decided by ids, never by hope.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint, origin_of
from airflow_flink_iceberg.flink.failures import SlowAnswer, failure, looks_like
from airflow_flink_iceberg.flink.refusals import refusal, unauthorized, unreachable
from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.errors import (
    FlinkAnswerInvalid,
    FlinkUnreachable,
    InvalidValue,
)

MAX_BODY = 8 * 1024 * 1024
"""Bytes of an answer; the largest one that Flink was seen to send is 55 KB."""
GET_TRIES = 3
MAX_REDIRECTS = 3

_HANDLE = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|$)")

RequestHook = Callable[[str, str], None]
"""Called with method and path before each request that is really sent."""


class _Answer:
    """Status, redirect target and bytes of one answer, fully read."""

    __slots__ = ("body", "location", "status")

    def __init__(self, status: int, location: str | None, body: bytes) -> None:
        self.status = status
        self.location = location
        self.body = body


class _Credentials(AuthBase):
    """An explicit choice, also of nothing: otherwise `requests` would send what a ``.netrc`` has for the host."""

    def __init__(self, endpoint: FlinkEndpoint) -> None:
        self._basic = HTTPBasicAuth(*(part.encode() for part in endpoint.auth)) if endpoint.auth else None
        self._token = endpoint.token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._basic:
            self._basic(request)
        elif self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """One kept-alive HTTP session with one origin.

    Several threads may use it, one request at a time: the others wait for its answer. A kill between request and
    answer leaves nothing behind here.

    :raises FlinkUnreachable: from every method: refused, silent, or 502/503/504.
    :raises FlinkUnauthorized: 401, 403, or TLS without trust.
    :raises FlinkAnswerInvalid: HTML, half a body, more than :data:`MAX_BODY`, or a redirect to another origin.
    :raises FlinkRequestRefused: Flink's own refusal, as one of its subclasses where the situation has a name.
    """

    def __init__(self, endpoint: FlinkEndpoint, on_request: RequestHook | None = None) -> None:
        self.endpoint = endpoint
        self._on_request = on_request
        self._session = requests.Session()
        self._session.auth = _Credentials(endpoint)
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "identity", **endpoint.headers}
        )
        self._cert = _client_certificate(endpoint)
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        """GET JSON; tried up to :data:`GET_TRIES` times while Flink is refused or not ready, with full jitter."""
        for attempt in range(1, GET_TRIES):
            try:
                return self._json("GET", path, self._follow(path))
            except SlowAnswer:
                raise
            except FlinkUnreachable:
                time.sleep(random.uniform(0, 0.25 * 2**attempt))
        return self._json("GET", path, self._follow(path))

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any:
        """Send JSON exactly once and return the JSON answer; a redirect is refused, not followed."""
        options: dict[str, Any] = {} if body is None else {"json": body}
        return self._json(method, path, self._exchange(method, path, timeout=timeout, **options))

    def upload(self, path: str, name: str, body: Any, content_type: str) -> Any:
        """POST one file exactly once, streamed from ``body`` (anything with ``read`` and ``__len__``)."""
        answer = self._exchange("POST", path, data=body, headers={"Content-Type": content_type})
        return self._json("POST", f"{path} ({name})", answer)

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        self._session.close()

    def _follow(self, path: str) -> _Answer:
        answer = self._exchange("GET", path)
        url = self.endpoint.url + path
        for _ in range(MAX_REDIRECTS):
            if answer.location is None:
                break
            url = urljoin(url, answer.location)
            if not self._is_ours(url):
                break
            answer = self._exchange("GET", path, url=url)
        return answer

    def _is_ours(self, url: str) -> bool:
        try:
            return origin_of(url) == self.endpoint.origin
        except InvalidValue:
            return False

    def _exchange(
        self, method: str, path: str, *, url: str | None = None, timeout: float | None = None, **options: Any
    ) -> _Answer:
        if self._on_request is not None:
            self._on_request(method, path)
        wait = timeout or self.endpoint.timeout
        where = self._where(method, path)
        try:
            with self._lock:
                response = self._session.request(
                    method, url or self.endpoint.url + path, timeout=(min(wait, self.endpoint.timeout), wait),
                    stream=True, allow_redirects=False, verify=self.endpoint.verify, cert=self._cert, **options,
                )  # fmt: skip
                with response:
                    body = _read(response, where, time.monotonic() + wait)
                    return _Answer(response.status_code, _redirect_of(response), body)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # The cause is left out on purpose: its text repeats URLs, its frames hold the session with its credentials.
            raise failure(where, error, wait) from None

    def _json(self, method: str, path: str, answer: _Answer) -> Any:
        where = self._where(method, path)
        if answer.location is not None:
            self._refuse_redirect(method, path, answer.location)
        if answer.status in (401, 403):
            raise unauthorized(where, answer.status)
        try:
            data = json.loads(answer.body) if answer.body else {}
        except (ValueError, RecursionError):
            data = None
        errors = data.get("errors") if isinstance(data, dict) else None
        if answer.status >= 400 and isinstance(errors, list):
            raise refusal(where, answer.status, [str(item) for item in errors])
        if answer.status in (502, 503, 504):
            raise unreachable(where, f"a proxy answered HTTP {answer.status}")
        if data is None or answer.status >= 300:
            raise FlinkAnswerInvalid(
                f"{where}: HTTP {answer.status} with {looks_like(answer.body)} instead of Flink's JSON; check that "
                "host, port "
                "and path prefix of the connection lead to Flink's REST API."
            )
        return data

    def _where(self, method: str, path: str) -> str:
        # The handle of a gateway session is all that one needs to use the session.
        return f"{method} {self.endpoint.url}{_HANDLE.sub('*', path)}"

    def _refuse_redirect(self, method: str, path: str, location: str) -> NoReturn:
        parts = urlsplit(location)
        target = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path"
        raise FlinkAnswerInvalid(
            f"{self._where(method, path)}: redirected to {one_line(target, 120)}, which is not followed because "
            "credentials "
            "and requests are for the configured address only; enter the final address in the connection."
        )


def _client_certificate(endpoint: FlinkEndpoint) -> str | tuple[str, str] | None:
    if endpoint.client_cert is not None and endpoint.client_key is not None:
        return endpoint.client_cert, endpoint.client_key
    return endpoint.client_cert


def _read(response: requests.Response, where: str, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read1(65536, decode_content=True):
        size += len(chunk)
        if size > MAX_BODY:
            raise FlinkAnswerInvalid(
                f"{where}: the answer is larger than {MAX_BODY // 2**20} MiB, which no Flink sends; it was cut off."
            )
        if time.monotonic() > deadline:
            raise SlowAnswer(
                f"{where}: the answer came too slowly and was given up; check the proxy and the load of the "
                "JobManager."
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _redirect_of(response: requests.Response) -> str | None:
    return response.headers.get("location") if 300 <= response.status_code < 400 else None
