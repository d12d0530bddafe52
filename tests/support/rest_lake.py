"""The table of :mod:`restart_world` behind a REST catalog that notes every request and misbehaves at a given one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.fakes.iceberg_rest import Fault, IcebergRest
from tests.support.restart_world import Lake

TABLE = "shop.orders"


@dataclass
class CountingRest(IcebergRest):
    """``on_request`` is called with the number and the method of each request to a table; its answer is the fault."""

    seen: list[str] = field(default_factory=list)
    on_request: Callable[[int, str], Fault | int | None] = lambda number, method: None

    def take_fault(self, method: str) -> Fault | int | None:
        with self._lock:
            self.seen.append(method)
            return self.on_request(len(self.seen) - 1, method)

    @property
    def commits(self) -> list[dict[str, Any]]:
        """The bodies of the commits that arrived."""
        return [request.body or {} for request in self.requests if request.method == "POST"]


class RestLake(Lake):
    """The template's table, under metadata files of its own, behind a catalog of its own."""

    def __init__(self, template: Lake, rest: CountingRest) -> None:
        super().__init__(template.directory)
        location = template.copy(f"rest-{os.urandom(6).hex()}.db").access().metadata_location()
        rest.register(TABLE, location)
        self.rest = rest
        self.properties = {"type": "rest", "uri": rest.uri}

    def now(self) -> dict[str, Any]:
        """The table's metadata, without a request."""
        return self.rest.metadata(TABLE)

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> Any:
        """As a commit of somebody else, past the requests that are counted."""
        document = json.loads(json.dumps(self.now()))
        old = self.rest.location(TABLE)
        entry = {"metadata-file": old, "timestamp-ms": document["last-updated-ms"]}
        result = change(document)
        document["metadata-log"] = [*document.get("metadata-log", []), entry]
        new = f"{old.rpartition('/')[0]}/{len(document['metadata-log']):05d}-{os.urandom(6).hex()}.metadata.json"
        Path(new.removeprefix("file://")).write_text(json.dumps(document))
        self.rest.register(TABLE, new)
        return result
