"""How each kind of catalog is asked where a table stands, as cheaply as that kind allows.

A *pointer* is the location of the newest metadata file: 0.4 ms from a SQL catalog's row, 2 KB (or an empty 304)
from a REST catalog, and a whole ``load_table`` from any other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, Protocol, cast

import msgspec
import requests
import sqlalchemy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import Endpoints, RestCatalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import AuthorizationExpiredError, NoSuchTableError, RESTError, UnauthorizedError
from pyiceberg.io import FileIO
from pyiceberg.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_metadata
from airflow_flink_iceberg.model.errors import MetadataUnreadable

_GET_ATTEMPTS = 3
_ROWS = cast("sqlalchemy.Table", IcebergTables.__table__)
_RETRIED = (502, 503, 504)


class Pointer(Protocol):
    """A table in one kind of catalog; everything raises PyIceberg's, requests' or SQLAlchemy's own errors."""

    def location(self) -> str:
        """Ask for the newest metadata location."""
        ...

    def embedded(self, location: str, *, refs_only: bool) -> TableMetadata | None:
        """The metadata that the catalog itself hands out; ``None`` when the file at ``location`` is to be read."""
        ...

    def io(self, properties: Mapping[str, str], location: str) -> FileIO:
        """What reads and writes the table's files."""
        ...


def open_pointer(catalog: Catalog, identifier: tuple[str, ...]) -> Pointer:
    """The cheapest way that this catalog has."""
    if isinstance(catalog, SqlCatalog):
        return SqlPointer(catalog, identifier)
    if isinstance(catalog, RestCatalog):
        return RestPointer(catalog, identifier)
    return GenericPointer(catalog, identifier)


class SqlPointer:
    """A row of ``iceberg_tables``, written by PyIceberg or by Java's JdbcCatalog."""

    def __init__(self, catalog: SqlCatalog, identifier: tuple[str, ...]) -> None:
        self.catalog = catalog
        self.namespace = Catalog.namespace_to_string(identifier[:-1])
        self.table = identifier[-1]
        row = select(_ROWS.c.metadata_location).where(
            _ROWS.c.catalog_name == catalog.name,
            _ROWS.c.table_namespace == self.namespace,
            _ROWS.c.table_name == self.table,
        )
        # Views live in the same table; a database of schema version 0 has no column to tell them apart.
        kind = catalog._iceberg_type_filter()
        self._row = row if kind is None else row.where(kind)

    def location(self) -> str:
        """Read the row: the statement is built once, and no ORM session is opened, which halves the cost of a poll."""
        with self.catalog.engine.connect() as connection:
            location: str | None = connection.scalar(self._row)
        if not location:
            raise NoSuchTableError(f"Table does not exist: {self.namespace}.{self.table}")
        return location

    def other_names(self) -> list[str]:
        """The catalog names under which the same database has a table of this name."""
        statement = select(IcebergTables.catalog_name).where(
            IcebergTables.table_namespace == self.namespace, IcebergTables.table_name == self.table
        )
        with Session(self.catalog.engine) as session:
            return sorted(session.scalars(statement))

    def embedded(self, location: str, *, refs_only: bool) -> None:
        """A SQL catalog holds the location only."""

    def io(self, properties: Mapping[str, str], location: str) -> FileIO:
        """The catalog's own, for the scheme of ``location``."""
        return self.catalog._load_file_io(dict(properties), location)


class _LoadedTable(msgspec.Struct, rename="kebab"):
    metadata: msgspec.Raw
    metadata_location: str | None = None
    config: dict[str, Any] | None = None
    storage_credentials: list[_Credential] | None = None


class _Credential(msgspec.Struct):
    prefix: str
    config: dict[str, str]


class RestPointer:
    """A table of a REST catalog, asked with ``snapshots=refs`` and the last answer's ETag.

    A server that knows neither simply answers in full each time; the answer stays correct.
    """

    def __init__(self, catalog: RestCatalog, identifier: tuple[str, ...]) -> None:
        self.catalog = catalog
        self.identifier = identifier
        self._etag: str | None = None
        self._refs: _LoadedTable | None = None
        self._all: _LoadedTable | None = None

    def location(self) -> str:
        """Ask for the refs; a 304 means that nothing changed."""
        self._refs = self._get("refs", self._etag if self._refs else None) or self._refs
        return self._require_location(self._refs)

    def embedded(self, location: str, *, refs_only: bool) -> TableMetadata | None:
        """Refs from the last answer; with all snapshots in one more call."""
        if refs_only and self._refs and self._refs.metadata_location == location:
            return parse_metadata(self._refs.metadata, location)
        self._all = self._get("all", None)
        found = self._require_location(self._all)
        return parse_metadata(self._all.metadata, found) if self._all else None

    def io(self, properties: Mapping[str, str], location: str) -> FileIO:
        """With the credentials that the catalog vended for the table, the longest matching prefix first."""
        loaded = self._all or self._refs
        vended: dict[str, Any] = dict(loaded.config or {}) if loaded else {}
        fitting = [
            each for each in (loaded and loaded.storage_credentials) or [] if location.startswith(each.prefix)
        ]
        if fitting:
            vended |= max(fitting, key=lambda each: len(each.prefix)).config
        return self.catalog._load_file_io({**properties, **vended}, location)

    @property
    def url(self) -> str:
        """The table's address below the catalog's prefix."""
        return self.catalog.url(
            Endpoints.load_table, **self.catalog._split_identifier_for_path(self.identifier)
        )

    def _get(self, snapshots: str, etag: str | None) -> _LoadedTable | None:
        headers = {"If-None-Match": etag} if etag else {}
        response = rest_call(self.catalog, "GET", self.url, params={"snapshots": snapshots}, headers=headers)
        if response.status_code == 304:
            return None
        try:
            loaded = msgspec.json.decode(response.content, type=_LoadedTable)
        except msgspec.MsgspecError as error:
            raise MetadataUnreadable(
                f"The REST catalog's answer for {self.url} is no table: {error}."
            ) from error
        if snapshots == "refs":
            # Of an answer that could not be read, "not modified" would say nothing.
            self._etag = response.headers.get("ETag")
        return loaded

    def _require_location(self, loaded: _LoadedTable | None) -> str:
        if loaded is None or not loaded.metadata_location:
            raise MetadataUnreadable(f"The REST catalog's answer for {self.url} names no metadata location.")
        return loaded.metadata_location


def rest_call(catalog: RestCatalog, method: str, url: str, **kwargs: Any) -> requests.Response:
    """One call through the catalog's own session; only GETs are repeated, a few times, with full jitter.

    A 401 or 419 renews the token once, as PyIceberg does. ``raise_for_rest`` is the caller's: a POST's statuses mean
    more than success and failure.
    """
    attempts = _GET_ATTEMPTS if method == "GET" else 1
    for attempt in range(attempts):
        try:
            response = catalog._session.request(method, url, **kwargs)
            if response.status_code in (401, 419):
                catalog._refresh_token()
                response = catalog._session.request(method, url, **kwargs)
        except (
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ):  # not reached, or broken in the middle
            if attempt + 1 == attempts:
                raise
        else:
            if response.status_code not in _RETRIED or attempt + 1 == attempts:
                break
        time.sleep(random.uniform(0, 0.2 * 2**attempt))
    if method == "GET":
        raise_for_rest(response)
    return response


def raise_for_rest(response: requests.Response) -> None:
    """Raise PyIceberg's error for a failed answer, with the server's first sentence only."""
    if response.status_code < 400:
        return
    kinds: dict[int, type[Exception]] = {
        404: NoSuchTableError,
        401: UnauthorizedError,
        419: AuthorizationExpiredError,
    }
    raise kinds.get(response.status_code, RESTError)(
        f"HTTP {response.status_code}: {server_message(response)}"
    )


def server_message(response: requests.Response) -> str:
    """The ``message`` of a REST catalog's error, cut to one short line."""
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = response.reason or "no reason given"
    return message.strip().splitlines()[0][:200] if message.strip() else "no reason given"


class GenericPointer:
    """Any other catalog: PyIceberg's ``load_table``, which parses everything."""

    def __init__(self, catalog: Catalog, identifier: tuple[str, ...]) -> None:
        self.catalog = catalog
        self.identifier = identifier
        self._table: Table | None = None

    def location(self) -> str:
        """Load the table."""
        self._table = self.catalog.load_table(self.identifier)
        return self._table.metadata_location

    def embedded(self, location: str, *, refs_only: bool) -> TableMetadata | None:
        """Nothing: what PyIceberg has parsed does not hold the fields that it does not know, so the file is read."""
        return None

    def io(self, properties: Mapping[str, str], location: str) -> FileIO:
        """The loaded table's own, which may carry vended credentials."""
        table = self._table or self.catalog.load_table(self.identifier)
        return table.io
