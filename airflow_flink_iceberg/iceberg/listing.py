"""Which staged manifests of a job lie beside the table: the only outside evidence of rows that are not committed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import SavepointUnreadable

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

    from airflow_flink_iceberg.iceberg.catalog import TableAccess

STAGED_NAME = re.compile(
    r"(?P<job>[0-9a-f]{32})-(?P<operator>[0-9a-f]{32})-\d{5}-\d+-(?P<checkpoint>\d+)-\d{5}(-[0-9a-f-]{36})?\.avro"
)
"""``<job>-<operator>-<subtask>-<attempt>-<checkpoint>-<counter>[-<uuid>].avro``, from Iceberg's own naming."""

_MAX_FILES = 1_000_000


def staged_checkpoints(access: TableAccess, job_id: str) -> list[int]:
    """The checkpoint ids of the staged manifests that a job has left, sorted.

    :raises SavepointUnreadable: the location cannot be listed with this catalog's file access.
    :raises OSError: the storage failed.
    """
    metadata = access.metadata()
    location = (
        metadata.properties.get("flink.manifests.location")
        or metadata.properties.get("write.metadata.path")
        or f"{metadata.location.rstrip('/')}/metadata"
    )
    found = []
    for name in directory_names(access.io(), location):
        match = STAGED_NAME.fullmatch(name)
        if match and match["job"] == job_id:
            found.append(int(match["checkpoint"]))
    return sorted(found)


def names_below(io: FileIO, directory: str) -> list[str]:
    """The names directly below a directory, sorted; none where it is not there, or where this FileIO cannot list.

    :raises OSError: the storage failed.
    """
    from pyarrow.fs import FileSelector
    from pyiceberg.io.pyarrow import PyArrowFileIO

    if not isinstance(io, PyArrowFileIO):
        return []
    scheme, netloc, path = PyArrowFileIO.parse_location(directory, io.properties)
    found = io.fs_by_scheme(scheme, netloc).get_file_info(FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found)


def directory_names(io: FileIO, location: str) -> list[str]:
    """The names directly below a directory, in no order.

    :raises SavepointUnreadable: this file access cannot list, or there are too many.
    :raises OSError: the storage failed.
    """
    from pyarrow.fs import FileSelector
    from pyiceberg.io.pyarrow import PyArrowFileIO

    if not isinstance(io, PyArrowFileIO):
        raise SavepointUnreadable(f"{type(io).__name__} cannot list files; use PyIceberg's PyArrowFileIO")
    scheme, netloc, path = PyArrowFileIO.parse_location(location, io.properties)
    # An object store has no empty directories; on a file system a missing one may be a disk that this worker cannot
    # see, and then nothing may be concluded from it.
    selector = FileSelector(path, allow_not_found=scheme != "file")
    listed = io.fs_by_scheme(scheme, netloc).get_file_info(selector)
    if len(listed) > _MAX_FILES:
        raise SavepointUnreadable(f"{location} holds more than {_MAX_FILES} files")
    return [info.base_name for info in listed]
