"""DuckDB inside this process, over the snapshot's own list of files.

DuckDB's Iceberg extension would have to be downloaded at run time, which workers mostly may not. So PyIceberg names the
files, and DuckDB reads them by field ids, which follows renamed and added columns. What it cannot do then is to apply
delete files: such snapshots are refused. It spills to disk, so it answers where Arrow would need too much memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyiceberg.manifest import FileFormat, ManifestContent

from airflow_flink_iceberg.checks.engines import Dialect, Engine
from airflow_flink_iceberg.iceberg.live_entries import live_entries
from airflow_flink_iceberg.integrity.engines.columns import schema_of, snapshot_of
from airflow_flink_iceberg.integrity.engines.dbapi import DbApiEngine
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed, Pinned, literal, quoted

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

MEMORY_LIMIT = "1GB"
_NAME_MAPPING = "schema.name-mapping.default"
_TYPES = {
    "boolean": "BOOLEAN", "int": "INTEGER", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "date": "DATE",
    "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMP WITH TIME ZONE", "string": "VARCHAR",
    "uuid": "UUID", "binary": "BLOB",
}  # fmt: skip


class DuckDbEngine(DbApiEngine):
    """A database in memory for each statement, at most :data:`MEMORY_LIMIT` of it, the rest on disk.

    The extra ``duckdb`` has to be installed. Files that are not on a local disk need DuckDB's ``httpfs`` extension and
    its secrets, which ``prepare`` can load.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(_connect, engine, Dialect.DUCKDB)

    def source(self, pinned: Pinned, columns: Sequence[str]) -> str:
        """``read_parquet`` over the snapshot's live files.

        :raises EngineFailed: delete files, other formats than Parquet, or a nested column.
        :raises RowsUnreadable: the snapshot has been expired meanwhile.
        """
        table = pinned.access.load()
        if _NAME_MAPPING in table.properties:
            raise EngineFailed(
                f"The table has {_NAME_MAPPING}, so files may have no field ids, and DuckDB would read their columns "
                "as null: use another engine."
            )
        schema = schema_of(table, pinned.snapshot_id)
        fields = [_field(schema, name) for name in columns] if columns else _flat_fields(schema)
        files = [literal(_path(file)) for file in _live_files(table, pinned.snapshot_id)]
        if not files:
            nothing = ", ".join(
                f"CAST(NULL AS {kind}) AS {quoted(self.dialect, name)}" for _, name, kind in fields
            )
            return f"(SELECT {nothing} WHERE 1 = 0)"
        mapping = ", ".join(
            f"{number}: {{name: {literal(name)}, type: {literal(kind)}, default_value: NULL}}"
            for number, name, kind in fields
        )
        return f"read_parquet([{', '.join(files)}], schema = MAP {{{mapping}}})"


def _connect() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise EngineFailed(
            "DuckDB is not installed here: pip install 'airflow-flink-iceberg[duckdb]'."
        ) from error
    settings: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": tempfile.gettempdir()}
    return duckdb.connect(config=settings)


def _field(schema: Schema, name: str) -> tuple[int, str, str]:
    found = next((item for item in schema.fields if item.name == name), None)
    kind = "" if found is None else _type(str(found.field_type))
    if found is None or not kind:
        known = ", ".join(item.name for item in schema.fields[:20])
        raise EngineFailed(
            f"The table has no top-level column {name!r} that DuckDB reads by field id; it has {known}."
        )
    return found.field_id, name, kind


def _flat_fields(schema: Schema) -> list[tuple[int, str, str]]:
    return [_field(schema, item.name) for item in schema.fields if _type(str(item.field_type))]


def _type(iceberg: str) -> str:
    return iceberg.upper() if iceberg.startswith("decimal(") else _TYPES.get(iceberg, "")


def _live_files(table: Table, snapshot_id: int) -> Iterator[DataFile]:
    for manifest in snapshot_of(table, snapshot_id).manifests(table.io):
        if manifest.content is ManifestContent.DELETES:
            if manifest.has_added_files() or manifest.has_existing_files():
                raise EngineFailed(
                    "The snapshot has delete files, which DuckDB cannot apply to a list of files: "
                    'use another engine, e.g. "flink".'
                )
            continue
        for entry in live_entries(table.io, manifest):
            if entry.data_file.file_format is not FileFormat.PARQUET:
                raise EngineFailed(f"{entry.data_file.file_path} is no Parquet file: use another engine.")
            yield entry.data_file


def _path(file: DataFile) -> str:
    """DuckDB takes plain local paths, not Iceberg's ``file:`` URLs, and reads some characters as patterns."""
    parts = urlsplit(file.file_path)
    path = parts.path if parts.scheme == "file" else file.file_path
    if any(character in path for character in "*?["):
        raise EngineFailed(f"DuckDB would read the path {path} as a pattern: use another engine.")
    return path
