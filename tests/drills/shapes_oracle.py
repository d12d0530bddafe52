"""What a table holds, read with PyIceberg's manifests and plain PyArrow: no line of the package under test.

PyIceberg's scan refuses equality deletes, which every upsert and CDC job writes, so they are applied here as the
specification says: an equality delete hits rows of an older sequence number, a position delete also those of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import DataFileContent, ManifestEntry

from playground.stack import Stack
from tests.drills.shapes_jobs import Rows

_END_OF_INPUT = 2**63 - 1


@dataclass(frozen=True)
class Damage:
    """How a table differs from what it must hold."""

    lost: int = 0
    doubled: int = 0

    @property
    def net(self) -> int:
        """What the restore gap foretells: rows too many (> 0) or too few."""
        return self.doubled - self.lost

    @property
    def any(self) -> bool:
        """Whether it differs at all; a loss and a doubling of equal size differ."""
        return bool(self.lost or self.doubled)


class Oracle:
    """Reads the tables of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._catalog = load_catalog(stack.catalog_name, **stack.catalog_properties)

    def damage(self, table: str, columns: Iterable[str], expected: Rows) -> Damage:
        """Rows that are missing, and rows that are there too often or should not be there."""
        found = self.rows(table, columns)
        return Damage((expected - found).total(), (found - expected).total())

    def rows(self, table: str, columns: Iterable[str]) -> Rows:
        """All live rows of the current snapshot; none for a table that is not there yet."""
        names = list(columns)
        made = self._table(table)
        snapshot = made.current_snapshot() if made else None
        if made is None or snapshot is None:
            return Counter()
        entries = [
            entry
            for manifest in snapshot.manifests(made.io)
            for entry in manifest.fetch_manifest_entry(made.io, discard_deleted=True)
        ]
        deletes = _Deletes(made.schema(), entries)
        return Counter(
            tuple(row[name] for name in names)
            for entry in entries
            if entry.data_file.content is DataFileContent.DATA
            for row in deletes.surviving(entry)
        )

    def highest_checkpoint(self, table: str) -> int:
        """The highest checkpoint id that any commit is stamped with, end of input aside; 0 without one."""
        made = self._table(table)
        stamps = (
            (snapshot.summary or {}).get("flink.max-committed-checkpoint-id")
            for snapshot in (made.snapshots() if made else ())
            if snapshot.summary
        )
        return max((int(stamp) for stamp in stamps if stamp and int(stamp) != _END_OF_INPUT), default=0)

    def _table(self, table: str) -> Any:
        try:
            return self._catalog.load_table(table)
        except NoSuchTableError:
            return None


class _Deletes:
    """All deletes of a snapshot, by what they hit."""

    def __init__(self, schema: Any, entries: Iterable[ManifestEntry]) -> None:
        self._keys: dict[tuple[str, ...], dict[tuple[Any, ...], int]] = defaultdict(dict)
        self._positions: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for entry in entries:
            if entry.data_file.content is DataFileContent.EQUALITY_DELETES:
                self._add_keys(schema, entry)
            elif entry.data_file.content is DataFileContent.POSITION_DELETES:
                for row in _read(entry):
                    self._positions[row["file_path"]].append((row["pos"], _sequence(entry)))

    def surviving(self, entry: ManifestEntry) -> Iterator[dict[str, Any]]:
        """The rows of a data file that nothing has deleted."""
        sequence = _sequence(entry)
        gone = {at for at, number in self._positions[entry.data_file.file_path] if number >= sequence}
        for position, row in enumerate(_read(entry)):
            if position not in gone and not self._is_deleted(row, sequence):
                yield row

    def _is_deleted(self, row: dict[str, Any], sequence: int) -> bool:
        return any(
            keys.get(tuple(row[name] for name in names), 0) > sequence for names, keys in self._keys.items()
        )

    def _add_keys(self, schema: Any, entry: ManifestEntry) -> None:
        names = tuple(schema.find_column_name(number) for number in entry.data_file.equality_ids or ())
        for row in _read(entry):
            key = tuple(row[name] for name in names)
            self._keys[names][key] = max(self._keys[names].get(key, 0), _sequence(entry))


def _sequence(entry: ManifestEntry) -> int:
    if entry.sequence_number is None:
        raise ValueError(f"{entry.data_file.file_path} has no sequence number")
    return entry.sequence_number


def _read(entry: ManifestEntry) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(urlsplit(entry.data_file.file_path).path).to_pylist()
    return rows
