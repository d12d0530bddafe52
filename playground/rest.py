"""The few HTTP calls that the playground itself makes to Flink on this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from playground.errors import SubmitError

_TIMEOUT = 60.0
# A proxy of the environment must not stand between us and our own loopback ports.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str, *, quiet: bool = False) -> Any:
    """The answer of a GET; with `quiet`, None instead of an error, for polling what is not up yet."""
    try:
        return _send(urllib.request.Request(url), timeout=5.0 if quiet else _TIMEOUT)
    except (OSError, ValueError, SubmitError):
        if quiet:
            return None
        raise


def post_json(url: str, body: object) -> Any:
    """The answer of a POST with a JSON body."""
    headers = {"Content-Type": "application/json"}
    return _send(urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST"))


def upload_jar(url: str, jar: Path) -> str:
    """Upload a jar and return its id."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="jarfile"; filename="{jar.name}"\r\n'
        "Content-Type: application/java-archive\r\n\r\n"
    )
    body = head.encode() + jar.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = _send(urllib.request.Request(f"{url}/jars/upload", body, headers, method="POST"))
    return Path(answer["filename"]).name


def _send(request: urllib.request.Request, timeout: float = _TIMEOUT) -> Any:
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")
        message = f"{request.get_method()} {request.full_url} answered {error.code}: {_root_cause(text)}"
        raise SubmitError(message) from error


def _root_cause(text: str) -> str:
    """The last cause of a Java stack trace says what happened; all above it says where it was wrapped."""
    causes = [line for line in text.replace("\\n", "\n").splitlines() if line.startswith("Caused by: ")]
    return (causes[-1] if causes else text)[:1000]
