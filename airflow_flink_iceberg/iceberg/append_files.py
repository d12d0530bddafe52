"""Append data files that lie beside a table, as one compare-and-swap against the head that they were judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.manifest import DataFile

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.connect import reported
from airflow_flink_iceberg.model.errors import CatalogUnreachable


def append_files(
    access: TableAccess,
    branch: str,
    head_id: int | None,
    files: Sequence[DataFile],
    stamps: Mapping[str, str],
) -> int | None:
    """Add ``files`` to ``branch`` in one snapshot with ``stamps`` in its summary; return the snapshot's id.

    ``None``: the branch is not at ``head_id`` any more, and nothing was committed. PyIceberg would otherwise repeat
    the append on top of whatever somebody else has committed, which may hold the very same rows.

    :raises CatalogUnreachable: no answer, or one that does not say whether it was committed: look at the paths again.
    """
    table = access.load()
    ref = table.metadata.refs.get(branch)
    if (ref.snapshot_id if ref else None) != head_id:
        return None
    # Only in this copy: the table's own property stays what it is.
    properties = {**table.metadata.properties, "commit.retry.num-retries": "0"}
    table.metadata = table.metadata.model_copy(update={"properties": properties})
    try:
        with reported(access.config, f"table {access.identifier}"), table.transaction() as transaction:
            update = transaction.update_snapshot(snapshot_properties=dict(stamps), branch=branch)
            with update.fast_append() as append:
                for file in files:
                    append.append_data_file(file)
                snapshot_id = append.snapshot_id
    except CommitFailedException:
        return None
    except CommitStateUnknownException as error:
        raise CatalogUnreachable(
            f"Whether files were appended to {access.identifier} is not known: {error}; look again."
        ) from error
    return int(snapshot_id)
