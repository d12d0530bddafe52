"""Delete files in real manifests; PyIceberg reads them and cannot write them, so its own writers are bent here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.typedef import Record

_POSITION_SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
    ]
)


def delete_positions(table: Table, data_file: str, positions: list[int], directory: Path) -> None:
    """Commit a position delete file for rows of one data file, as merge-on-read writers do."""
    rows = pa.table({"file_path": [data_file] * len(positions), "pos": positions}, schema=_POSITION_SCHEMA)
    path = directory / f"deletes-{len(list(directory.glob('deletes-*')))}.parquet"
    pq.write_table(rows, path)
    _commit(table, _delete_file(path, DataFileContent.POSITION_DELETES, len(positions)))


def delete_by_equality(
    table: Table,
    directory: Path,
    keys: dict[str, list[Any]] | None = None,
    rows: pa.Table | None = None,
    partition: Any = None,
) -> None:
    """Commit an equality delete file, as upserting sinks do: it hides older rows with these values.

    :param rows: appended by the same commit, which the deletes do not touch.
    :param partition: value of the table's one partition field, whose rows alone are hidden; without one the file is
        written by the table's first spec, which has none, and counts everywhere.
    """
    keys = {"order_id": [1]} if keys is None else keys
    fields = [table.schema().find_field(name) for name in keys]
    schema = pa.schema(
        [
            table.schema().as_arrow().field(item.name).with_metadata({"PARQUET:field_id": str(item.field_id)})
            for item in fields
        ]
    )
    values = pa.table(keys, schema=schema)
    path = directory / f"equality-{len(list(directory.glob('equality-*')))}.parquet"
    pq.write_table(values, path)
    ids = [item.field_id for item in fields]
    made = _delete_file(
        path, DataFileContent.EQUALITY_DELETES, len(values), equality_ids=ids, value=partition
    )
    if partition is not None:
        made.spec_id = table.metadata.default_spec_id
    _commit(table, made, rows)


def _delete_file(
    path: Path, content: DataFileContent, rows: int, *, value: Any = None, **fields: Any
) -> DataFile:
    partition = Record() if value is None else Record(value)
    made = DataFile.from_args(
        content=content, file_path=f"file://{path}", file_format=FileFormat.PARQUET, partition=partition,
        record_count=rows, file_size_in_bytes=path.stat().st_size, column_sizes={}, value_counts={},
        null_value_counts={}, nan_value_counts={}, lower_bounds={}, upper_bounds={}, **fields,
    )  # fmt: skip
    made.spec_id = 0
    return made


class _DeleteManifestWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _AppendDeletes(_FastAppendFiles):
    delete_file: DataFile

    def _manifests(self) -> list[ManifestFile]:
        metadata = self._transaction.table_metadata
        writer = _DeleteManifestWriter(
            metadata.specs()[self.delete_file.spec_id or 0],
            metadata.schema(),
            self.new_manifest_output(),
            self._snapshot_id,
            "deflate",
        )
        with writer:
            writer.add_entry(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, sequence_number=None,
                    file_sequence_number=None, data_file=self.delete_file,
                )
            )  # fmt: skip
        return [writer.to_manifest_file(), *super()._manifests()]


def _commit(table: Table, delete_file: DataFile, rows: pa.Table | None = None) -> None:
    table.refresh()
    with table.transaction() as transaction:
        update = _AppendDeletes(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
        update.delete_file = delete_file
        if rows is not None:
            for file in _dataframe_to_data_files(table.metadata, rows, table.io):
                update.append_data_file(file)
        update.commit()
