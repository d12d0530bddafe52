"""Versions of a table that lie beside the one that the catalog names: the trace of a pointer that was put back.

Restoring a catalog's database, or registering an older metadata file, undoes commits without a word in the metadata
itself: log, refs and sequence numbers are those of then. Only the newer files that nobody refers to any more tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_flink_iceberg.iceberg.in_time import in_time
from airflow_flink_iceberg.iceberg.listing import directory_names
from airflow_flink_iceberg.model.errors import FlinkIcebergError

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess
    from airflow_flink_iceberg.iceberg.metadata import TableMetadata

LIST_TIMEOUT = 10.0
"""Seconds for the listing; a start of a stopped job waits for it."""
_MAX_READ = 5
_VERSION = re.compile(r"v?(?P<version>\d{1,9})(-[^/]+)?(\.gz)?\.metadata\.json(\.gz)?")
"""``00042-<uuid>.metadata.json``, gzipped or not, and ``v42.metadata.json`` of Hadoop catalogs."""


@dataclass(frozen=True)
class NewerVersions:
    """Metadata files with a higher number than the catalog's, beside it.

    :param names: all of them, sorted.
    :param read: the newest of them that are readable and of this table (its uuid), at most five.
    :param why_not: why the directory could not be looked at; then ``names`` says nothing.
    """

    names: tuple[str, ...] = ()
    read: tuple[TableMetadata, ...] = ()
    why_not: str = ""


def newer_versions(access: TableAccess) -> NewerVersions:
    """Look beside the table's metadata file; what cannot be listed or read is a reason, not an error."""
    directory = access.metadata_location().rpartition("/")[0]
    try:
        names = in_time(LIST_TIMEOUT, directory, lambda: directory_names(access.io(), directory))
        # Read after the listing: what another writer has committed meanwhile is no newer version.
        metadata = access.metadata()
        name = metadata.metadata_location.rpartition("/")[2]
        if _number(name) < 0:
            return NewerVersions(why_not=f"{name} has no number")
        newer = sorted((each for each in names if _number(each) > _number(name)), key=_number)
        read = [access.read_metadata_file(f"{directory}/{each}") for each in newer[-_MAX_READ:]]
    except (FlinkIcebergError, OSError, ValueError) as error:
        return NewerVersions(why_not=str(error).rstrip("."))
    return NewerVersions(tuple(newer), tuple(each for each in read if each and each.uuid == metadata.uuid))


def _number(name: str) -> int:
    found = _VERSION.fullmatch(name)
    return int(found["version"]) if found else -1
