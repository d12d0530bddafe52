"""The manifests that a sink has staged beside a table: which are there, what they list, and whether the table knows it.

A staged manifest is a normal Iceberg manifest, except that its entries carry snapshot id 0. Anything may lie there
under such a name, so a file that cannot be read is a finding and not an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyarrow.fs import FileSelector
from pyiceberg.avro.file import AvroFile
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile, read_manifest_list

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.listing import STAGED_NAME
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.model.errors import MetadataUnreadable

MAX_STAGED = 10_000
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class StagedName:
    """A staged manifest as its name tells it.

    :param written_at: milliseconds since the epoch, by the storage's clock; 0 where the storage does not say.
    """

    location: str
    name: str
    job_id: str
    operator_id: str
    checkpoint_id: int
    length: int
    written_at: int


@dataclass(frozen=True)
class StagedFile:
    """A staged manifest that was opened.

    :param files: the data files that it adds; empty with ``problem``, which says why it cannot be read.
    """

    name: StagedName
    content: str = "data"
    format_version: int = 0
    spec_id: int = 0
    files: tuple[DataFile, ...] = field(default=(), repr=False)
    problem: str = ""

    @property
    def paths(self) -> frozenset[str]:
        """The data files' paths."""
        return frozenset(file.file_path for file in self.files)

    @property
    def rows(self) -> int:
        """Rows of all its files."""
        return sum(int(file.record_count) for file in self.files)


def manifest_location(metadata: TableMetadata) -> str:
    """Where the sinks of a table stage their manifests."""
    return (
        metadata.properties.get("flink.manifests.location")
        or metadata.properties.get("write.metadata.path")
        or f"{metadata.location.rstrip('/')}/metadata"
    ).rstrip("/")


def list_staged(access: TableAccess) -> list[StagedName]:
    """Every staged manifest at the table's manifest location, by run and checkpoint; of whatever job and table.

    :raises MetadataUnreadable: the location cannot be listed, or holds too many.
    """
    location = manifest_location(access.metadata())
    io = access.io()
    if not isinstance(io, PyArrowFileIO):
        raise MetadataUnreadable(f"{type(io).__name__} cannot list files; use PyIceberg's PyArrowFileIO.")
    scheme, netloc, path = PyArrowFileIO.parse_location(location, io.properties)
    try:
        found = io.fs_by_scheme(scheme, netloc).get_file_info(
            FileSelector(path, allow_not_found=scheme != "file")
        )
    except OSError as error:
        raise MetadataUnreadable(f"{location} cannot be listed: {error}.") from error
    staged = [name for info in found if (name := _named(location, info)) is not None]
    if len(staged) > MAX_STAGED:
        raise MetadataUnreadable(
            f"{location} holds {len(staged)} staged manifests, more than {MAX_STAGED}; look there by hand."
        )
    return sorted(staged, key=lambda each: (each.job_id, each.operator_id, each.checkpoint_id, each.name))


def _named(location: str, info: Any) -> StagedName | None:
    match = STAGED_NAME.fullmatch(info.base_name)
    if match is None or not info.is_file:
        return None
    written_at = int(info.mtime.timestamp() * 1000) if info.mtime is not None else 0
    return StagedName(
        f"{location}/{info.base_name}",
        info.base_name,
        match["job"],
        match["operator"],
        int(match["checkpoint"]),
        int(info.size or 0),
        written_at,
    )


def read_staged(io: FileIO, name: StagedName) -> StagedFile:
    """Open one; whatever is wrong with it is its ``problem``."""
    if name.length > _MAX_BYTES:
        return StagedFile(name, problem=f"it has {name.length} bytes, more than {_MAX_BYTES}")
    try:
        with AvroFile[Any](io.new_input(name.location)) as reader:
            meta = dict(reader.header.meta)
        content = meta.get("content", "data")
        spec_id = int(meta.get("partition-spec-id", "0"))
        files = _data_files(io, name, spec_id, content)
        return StagedFile(name, content, int(meta.get("format-version", "1")), spec_id, files)
    except Exception as error:  # noqa: BLE001 - bytes that anybody may have written fail in any way; it is reported
        return StagedFile(name, problem=f"{type(error).__name__}: {str(error)[:200]}")


def _data_files(io: FileIO, name: StagedName, spec_id: int, content: str) -> tuple[DataFile, ...]:
    manifest = ManifestFile.from_args(
        manifest_path=name.location,
        manifest_length=name.length,
        partition_spec_id=spec_id,
        content=ManifestContent.DELETES if content == "deletes" else ManifestContent.DATA,
        sequence_number=0,
        min_sequence_number=0,
        added_snapshot_id=0,
    )
    return tuple(entry.data_file for entry in manifest.fetch_manifest_entry(io))


def missing_file(io: FileIO, files: Iterable[DataFile]) -> str | None:
    """The first data file that is not there with the size that its manifest says, and how it differs."""
    for file in files:
        found = io.new_input(file.file_path)
        try:
            if not found.exists():
                return f"{file.file_path} is gone"
            if len(found) != file.file_size_in_bytes:
                return f"{file.file_path} has {len(found)} bytes, not {file.file_size_in_bytes}"
        except OSError as error:
            return f"{file.file_path} cannot be looked at: {error}"
    return None


class PathIndex:
    """Which data files a table holds or ever held, as far as its snapshots are retained; each manifest is read once.

    Files are looked for in every snapshot of every ref, and in those that a rollback left behind: a file that was
    committed and deleted on purpose must not come back.
    """

    def __init__(self, access: TableAccess, wanted: Iterable[str]) -> None:
        self._access = access
        self._wanted = frozenset(wanted)
        self._read: set[str] = set()
        self.known: set[str] = set()

    def update(self) -> None:
        """Read what is new in the table.

        :raises MetadataUnreadable: a manifest of a retained snapshot cannot be read.
        """
        io = self._access.io()
        for snapshot in self._access.metadata().snapshots():
            if self.known == self._wanted:
                return
            if snapshot.manifest_list and snapshot.manifest_list not in self._read:
                self._read_snapshot(io, snapshot.manifest_list)
                self._read.add(snapshot.manifest_list)

    def _read_snapshot(self, io: FileIO, manifest_list: str) -> None:
        try:
            manifests = list(read_manifest_list(io.new_input(manifest_list)))
            for manifest in manifests:
                if manifest.manifest_path not in self._read:
                    entries = manifest.fetch_manifest_entry(io, discard_deleted=False)
                    self.known |= self._wanted & {entry.data_file.file_path for entry in entries}
                    self._read.add(manifest.manifest_path)
        except (OSError, ValueError) as error:
            raise MetadataUnreadable(
                f"The manifests below {manifest_list} of {self._access.identifier} cannot be read, so what the table "
                f"holds is not known: {error}."
            ) from error
