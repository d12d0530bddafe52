"""A small Iceberg REST catalog over real HTTP, with faults on order.

It speaks as much of the protocol as tables, refs and commits need: ``GET config``, ``GET table`` (with
``snapshots=refs`` and ETags) and ``POST table`` with the requirements and updates that PyIceberg and this package
send. Every commit writes a metadata file, as servers do. What was asked is in ``requests``.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import SortOrder


class Fault(StrEnum):
    """What goes wrong with one request; the number is an HTTP status."""

    DROP_BEFORE = "the connection breaks, nothing was done"
    DROP_AFTER = "the connection breaks, the request was carried out"
    HANG = "no answer until the server stops"
    ERROR_AFTER = "500, the request was carried out"
    CUT_AFTER = "the answer breaks in the middle, the request was carried out"


@dataclass(frozen=True)
class Request:
    """One request as the server received it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any] | None = None


@dataclass
class _Table:
    metadata: dict[str, Any]
    location: str


class CommitRefused(Exception):
    """A requirement does not hold (409), or the request itself is wrong (400)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class IcebergRest:
    """The server; a context manager that listens on a free port of 127.0.0.1.

    :param warehouse: where new tables go; without it none can be created.
    :param etags: whether it sends ETags and answers 304.
    :param knows_refs: whether it understands ``snapshots=refs``; if not, it sends all snapshots, as old servers do.
    """

    warehouse: Path | None = None
    etags: bool = True
    knows_refs: bool = True
    requests: list[Request] = field(default_factory=list)
    before_commit: Callable[[], None] | None = None
    _tables: dict[str, _Table] = field(default_factory=dict)
    _faults: deque[tuple[str, Fault | int]] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"catalog": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def uri(self) -> str:
        """What goes into the connection."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def register(self, identifier: str, metadata_location: str) -> None:
        """Serve a table whose metadata file exists."""
        metadata = json.loads(Path(metadata_location.removeprefix("file://")).read_text())
        self._tables[identifier] = _Table(metadata, metadata_location)

    def drop(self, identifier: str) -> None:
        """Forget a table."""
        del self._tables[identifier]

    def fail_next(self, method: str, fault: Fault | int) -> None:
        """Order a fault, or a plain HTTP status, for the next request of ``method`` to a table."""
        self._faults.append((method, fault))

    def location(self, identifier: str) -> str:
        """Of the table's newest metadata file."""
        return self._tables[identifier].location

    def metadata(self, identifier: str) -> dict[str, Any]:
        """The table's metadata now."""
        return self._tables[identifier].metadata

    def count(self, method: str) -> int:
        """How many requests of ``method`` for tables were received."""
        return sum(request.method == method and "/tables/" in request.path for request in self.requests)

    def take_fault(self, method: str) -> Fault | int | None:
        """The fault that is next for ``method``, if one is."""
        with self._lock:
            if self._faults and self._faults[0][0] == method:
                return self._faults.popleft()[1]
            return None

    def hang(self) -> None:
        """Say nothing until the server stops."""
        self._closing.wait(60)

    def load(self, identifier: str, snapshots: str) -> tuple[str, dict[str, Any]] | None:
        """The answer to a load, with its ETag."""
        with self._lock:
            table = self._tables.get(identifier)
            if table is None:
                return None
            metadata = dict(table.metadata)
            if snapshots == "refs" and self.knows_refs:
                kept = {ref["snapshot-id"] for ref in metadata.get("refs", {}).values()}
                metadata["snapshots"] = [
                    each for each in metadata["snapshots"] if each["snapshot-id"] in kept
                ]
            answer = {"metadata-location": table.location, "metadata": metadata, "config": {}}
            return f'"{snapshots}-{table.location}"', answer

    def create(self, namespace: str, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a ``create table``; the server chooses the location."""
        table = f"file://{self.warehouse}/{namespace}/{request['name']}"
        metadata = new_table_metadata(
            Schema.model_validate(request["schema"]),
            PartitionSpec(),
            SortOrder(),
            table,
            request.get("properties", {}),
        )
        location = f"{table}/metadata/00000-{uuid.uuid4()}.metadata.json"
        path = Path(location.removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(metadata.model_dump_json())
        self.register(f"{namespace}.{request['name']}", location)
        return {"metadata-location": location, "metadata": json.loads(metadata.model_dump_json())}

    def commit(self, identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a commit.

        :raises CommitRefused: a requirement does not hold, or a ref names an unknown snapshot.
        """
        if self.before_commit is not None:
            hook, self.before_commit = self.before_commit, None
            hook()
        with self._lock:
            table = self._tables.get(identifier)
            if table is None:
                raise CommitRefused(404, f"Table does not exist: {identifier}")
            for requirement in request["requirements"]:
                _require(table.metadata, requirement)
            metadata = json.loads(json.dumps(table.metadata))
            for update in request["updates"]:
                _apply(metadata, update)
            entry = {"metadata-file": table.location, "timestamp-ms": metadata["last-updated-ms"]}
            metadata["metadata-log"] = [*metadata.get("metadata-log", []), entry]
            name = f"{len(metadata['metadata-log']):05d}-{uuid.uuid4()}.metadata.json"
            location = f"{table.location.rpartition('/')[0]}/{name}"
            Path(location.removeprefix("file://")).write_text(json.dumps(metadata))
            self._tables[identifier] = _Table(metadata, location)
            return {"metadata-location": location, "metadata": metadata}


def _require(metadata: dict[str, Any], requirement: dict[str, Any]) -> None:
    kind = requirement["type"]
    if kind == "assert-table-uuid" and requirement["uuid"] != metadata["table-uuid"]:
        raise CommitRefused(409, "Requirement failed: UUID does not match")
    if kind == "assert-ref-snapshot-id":
        ref = metadata.get("refs", {}).get(requirement["ref"])
        if (ref["snapshot-id"] if ref else None) != requirement["snapshot-id"]:
            raise CommitRefused(409, f"Requirement failed: ref {requirement['ref']} has changed")


def _apply(metadata: dict[str, Any], update: dict[str, Any]) -> None:
    action = update["action"]
    refs = metadata.setdefault("refs", {})
    if action == "add-snapshot":
        metadata.setdefault("snapshots", []).append(update["snapshot"])
        metadata["last-sequence-number"] = update["snapshot"]["sequence-number"]
        metadata["last-updated-ms"] = update["snapshot"]["timestamp-ms"]
    elif action == "set-snapshot-ref":
        if all(each["snapshot-id"] != update["snapshot-id"] for each in metadata.get("snapshots", [])):
            raise CommitRefused(
                400, f"Cannot set {update['ref-name']} to unknown snapshot: {update['snapshot-id']}"
            )
        refs[update["ref-name"]] = {
            key: item
            for key, item in update.items()
            if key not in ("action", "ref-name") and item is not None
        }
        if update["ref-name"] == "main":
            metadata["current-snapshot-id"] = update["snapshot-id"]
            entry = {"snapshot-id": update["snapshot-id"], "timestamp-ms": metadata["last-updated-ms"]}
            metadata.setdefault("snapshot-log", []).append(entry)
    elif action == "remove-snapshot-ref":
        refs.pop(update["ref-name"], None)
    elif action == "set-properties":
        metadata.setdefault("properties", {}).update(update["updates"])
    elif action == "remove-properties":
        for key in update["removals"]:
            metadata.get("properties", {}).pop(key, None)
    else:
        raise CommitRefused(400, f"unknown update {action}")


class _Handler(BaseHTTPRequestHandler):
    catalog: IcebergRest
    protocol_version = "HTTP/1.1"
    is_cut = False

    def do_GET(self) -> None:  # the name is http.server's
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def _handle(self, method: str) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        self.catalog.requests.append(Request(method, url.path, query, dict(self.headers.items()), body))
        if method == "POST" and url.path.endswith("/tables"):
            return self._answer(200, self.catalog.create(unquote(url.path.split("/")[3]), body))
        if "/tables/" not in url.path:
            return self._answer(200, {"defaults": {}, "overrides": {}})
        fault = self.catalog.take_fault(method)
        if isinstance(fault, int):
            return self._answer(fault, {"error": {"message": "ordered", "type": "Ordered", "code": fault}})
        if fault is Fault.HANG:
            self.catalog.hang()
        if fault in (Fault.HANG, Fault.DROP_BEFORE):
            return self._drop()
        self.is_cut = fault is Fault.CUT_AFTER
        parts = url.path.split("/")
        identifier = f"{unquote(parts[3])}.{unquote(parts[5])}"
        if method == "GET":
            return self._load(identifier, query.get("snapshots", "all"))
        return self._commit(identifier, body, fault)

    def _load(self, identifier: str, snapshots: str) -> None:
        loaded = self.catalog.load(identifier, snapshots)
        if loaded is None:
            error = {
                "message": f"Table does not exist: {identifier}",
                "type": "NoSuchTableException",
                "code": 404,
            }
            return self._answer(404, {"error": error})
        etag, answer = loaded
        if not self.catalog.etags:
            return self._answer(200, answer)
        if self.headers.get("If-None-Match") == etag:
            return self._answer(304, None)
        return self._answer(200, answer, etag)

    def _commit(self, identifier: str, body: dict[str, Any], fault: Fault | None) -> None:
        try:
            answer = self.catalog.commit(identifier, body)
        except CommitRefused as refused:
            error = {"message": str(refused), "type": "CommitFailedException", "code": refused.status}
            return self._answer(refused.status, {"error": error})
        if fault is Fault.DROP_AFTER:
            return self._drop()
        if fault is Fault.ERROR_AFTER:
            return self._answer(500, {"error": {"message": "lost", "type": "Ordered", "code": 500}})
        return self._answer(200, answer)

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, body: dict[str, Any] | None, etag: str | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.is_cut else content)
        if self.is_cut:
            self._drop()
