"""One table in one catalog, read as cheaply as its catalog allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO, InputStream
from pyiceberg.table import Table

from airflow_flink_iceberg.iceberg.connect import CatalogConfig, open_catalog, reason, reported
from airflow_flink_iceberg.iceberg.known_snapshots import read_beside
from airflow_flink_iceberg.iceberg.metadata import TableMetadata, parse_beside, parse_metadata, parse_spooled
from airflow_flink_iceberg.iceberg.pointers import Pointer, RestPointer, SqlPointer, open_pointer
from airflow_flink_iceberg.iceberg.spool import SMALL, Unfit, spooled
from airflow_flink_iceberg.model.errors import (
    CatalogUnreachable,
    InvalidValue,
    MetadataUnreadable,
    TableNotFound,
)

__all__ = ["CatalogConfig", "TableAccess", "open_catalog"]

_OLDER_FILES = 8
_READ_ATTEMPTS = 3


class TableAccess:
    """A table by catalog and name. Nothing is opened before the first question; answers are cached by pointer.

    Safe to use from several threads, one question at a time; for parallel polling use one per thread.

    :param identifier: ``namespace.table``.
    :param catalog: an open catalog to share between tables; by default one is opened from ``config``.
    """

    def __init__(self, config: CatalogConfig, identifier: str, catalog: Catalog | None = None) -> None:
        self.config = config
        self.identifier = identifier
        self._catalog = catalog
        self._pointer: Pointer | None = None
        self._cached: dict[bool, TableMetadata] = {}
        self._spooled: TableMetadata | None = None
        self._plain_io: FileIO | None = None
        self._table_io: tuple[str, FileIO] | None = None
        self._files: OrderedDict[str, TableMetadata] = OrderedDict()
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"TableAccess({self.identifier!r}, catalog={self.config.name!r})"

    @property
    def catalog(self) -> Catalog:
        """PyIceberg's catalog, opened on first use."""
        with self._lock:
            if self._catalog is None:
                self._catalog = open_catalog(self.config)
            return self._catalog

    @property
    def parts(self) -> tuple[str, ...]:
        """The identifier as PyIceberg's tuple.

        :raises InvalidValue: no namespace.
        """
        parts = Catalog.identifier_to_tuple(self.identifier)
        if len(parts) < 2 or not all(parts):
            raise InvalidValue(f"Table {self.identifier!r} has to be namespace.name.")
        return parts

    @property
    def pointer(self) -> Pointer:
        """How this kind of catalog is asked."""
        with self._lock:
            if self._pointer is None:
                self._pointer = open_pointer(self.catalog, self.parts)
            return self._pointer

    @property
    def exists(self) -> bool:
        """Whether the catalog has the table, under this catalog's name.

        :raises CatalogUnreachable: not known.
        """
        try:
            self.metadata_location()
        except TableNotFound:
            return False
        return True

    def metadata_location(self) -> str:
        """Ask the catalog where the newest metadata is; this is the cheap question, always asked anew.

        :raises TableNotFound: also when the table was never under this catalog's name; the message then says under
            which it is.
        :raises CatalogUnreachable: no answer.
        """
        with self._lock:
            pointer = self.pointer
            try:
                with reported(self.config, f"table {self.identifier}"):
                    return pointer.location()
            except TableNotFound as error:
                raise self._not_found(pointer, error) from error

    def metadata(self) -> TableMetadata:
        """The newest metadata with all snapshots, read only if the pointer moved since the last call.

        :raises TableNotFound: see :meth:`metadata_location`.
        :raises CatalogUnreachable: no answer.
        :raises MetadataUnreadable: the file is missing or is no metadata.
        """
        return self._newest(refs_only=False)

    def spooled_metadata(self) -> TableMetadata:
        """Like :meth:`metadata`, in memory that does not grow with the table: where there are many snapshots they are
        kept in a temporary file, so that each is read again whenever it is looked at.
        """
        with self._lock:
            location = self.metadata_location()
            for kept in (self._cached.get(False), self._spooled):
                if kept is not None and kept.metadata_location == location:
                    return kept
            found = None if isinstance(self.pointer, RestPointer) else self._spool(location)
            if found is None:
                return self.metadata()
            if found.is_spooled:
                self._spooled = found
            else:
                self._cached[False] = found
            return found

    def refs_metadata(self) -> TableMetadata:
        """The newest metadata, whose snapshots may be those of the refs only (REST catalogs): for heads and tags.

        :raises TableNotFound, CatalogUnreachable, MetadataUnreadable: as :meth:`metadata`.
        """
        return self._newest(refs_only=True)

    def read_metadata_file(self, location: str, *, is_spooled: bool = False) -> TableMetadata | None:
        """An older metadata file, or ``None`` when it is gone; a few are kept, since such files never change.

        :param is_spooled: as :meth:`spooled_metadata` has it.
        :raises MetadataUnreadable: the file is there and is no metadata.
        :raises CatalogUnreachable: the storage did not answer.
        """
        with self._lock:
            if location in self._files:
                self._files.move_to_end(location)
                return self._files[location]
            metadata = self._spool(location) if is_spooled else None
            if metadata is None:
                try:
                    metadata = parse_metadata(self.read_file(location), location)
                except FileNotFoundError:
                    return None
            self._files[location] = metadata
            if len(self._files) > _OLDER_FILES:
                self._files.popitem(last=False)
            return metadata

    def io(self) -> FileIO:
        """PyIceberg's file access with the table's properties (and what a REST catalog vended for it)."""
        with self._lock:
            metadata = self.refs_metadata()
            location = metadata.metadata_location
            if (
                self._table_io is None or self._table_io[0] != location
            ):  # vended credentials come with the metadata
                self._table_io = (location, self.pointer.io(metadata.properties, location))
            return self._table_io[1]

    def load(self) -> Table:
        """PyIceberg's own table, freshly loaded: 300 ms at 10,000 snapshots, so only for what reads files.

        :raises TableNotFound, CatalogUnreachable: as :meth:`metadata_location`.
        """
        with reported(self.config, f"table {self.identifier}"):
            return self.catalog.load_table(self.parts)

    def read_file(self, location: str) -> bytes:
        """All bytes of a file of the table.

        :raises FileNotFoundError: it is not there.
        :raises CatalogUnreachable: the storage did not answer.
        """
        with self._opened(location) as stream:
            return stream.read()

    @contextmanager
    def _opened(self, location: str) -> Iterator[InputStream]:
        try:
            with self._file_io(location).new_input(location).open() as stream:
                yield stream
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CatalogUnreachable(f"Reading {location} failed: {reason(self.config, error)}.") from error

    def _newest(self, *, refs_only: bool) -> TableMetadata:
        with self._lock:
            location = self.metadata_location()
            on_disk = self._spooled if refs_only else None
            for cached in (self._cached.get(refs_only), self._cached.get(False), on_disk):
                if cached is not None and cached.metadata_location == location:
                    return cached
            with reported(self.config, f"table {self.identifier}"):
                embedded = self.pointer.embedded(location, refs_only=refs_only)
            metadata = embedded or self._read_newest(location, self._cached.get(False))
            if older := self._cached.get(False):
                metadata.learn_from(older)
            self._cached[refs_only and embedded is not None] = metadata
            return metadata

    def _read_newest(self, location: str, older: TableMetadata | None) -> TableMetadata:
        for attempt in range(_READ_ATTEMPTS):
            try:
                return self._read_beside(location, older) or parse_metadata(
                    self.read_file(location), location
                )
            except FileNotFoundError as error:
                # A busy writer with write.metadata.delete-after-commit.enabled may have removed it meanwhile.
                newest = self.metadata_location()
                if newest == location or attempt + 1 == _READ_ATTEMPTS:
                    raise MetadataUnreadable(
                        f"Catalog {self.config.name!r} says that the metadata of {self.identifier} is at {location},"
                        " where is no file; if this worker cannot see that storage, configure it in the connection."
                    ) from error
                location = newest
        raise MetadataUnreadable(f"The metadata of {self.identifier} moved faster than it could be read.")

    def _spool(self, location: str) -> TableMetadata | None:
        """The file at ``location`` without its snapshots in memory; ``None``: it has to be read whole."""
        try:
            with self._opened(location) as stream:
                begun = stream.read(SMALL)
                if len(begun) < SMALL:
                    return parse_metadata(begun, location)
                return parse_spooled(spooled(begun, stream), location)
        except (Unfit, FileNotFoundError):
            return None

    def _read_beside(self, location: str, older: TableMetadata | None) -> TableMetadata | None:
        """The file at ``location``, when it is ``older`` with more snapshots after its own."""
        known = older.known if older else None
        # Once a quarter is new, the whole file is read, and is what the next versions are compared with.
        if older is None or known is None or older.snapshot_count > len(known.snapshots) * 5 // 4:
            return None
        with self._opened(location) as stream:
            found = read_beside(stream, known, is_local=location.startswith(("file:", "/")))
        return parse_beside(found, known, location) if found else None

    def _file_io(self, location: str) -> FileIO:
        if self._table_io is not None:
            return self._table_io[1]
        if self._plain_io is None:
            self._plain_io = self.pointer.io({}, location)
        return self._plain_io

    def _not_found(self, pointer: Pointer, error: TableNotFound) -> TableNotFound:
        others: list[str] = []
        if isinstance(pointer, SqlPointer):
            with reported(self.config, f"table {self.identifier}"):
                others = pointer.other_names()
        if not others:
            return error
        names = ", ".join(map(repr, others))
        return TableNotFound(
            f"Catalog {self.config.name!r} has no table {self.identifier}, but the same database has it under the"
            f" catalog name {names}: set catalog_name in the connection to the name that the writer uses."
        )
