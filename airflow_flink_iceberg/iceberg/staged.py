"""What an Iceberg sink wrote for one checkpoint, read from the bytes that its committer keeps in Flink's state.

An entry names one data manifest and one delete manifest at most, each as an Avro datum with its own schema. The datum
is walked by that schema with bounded depth, nodes and sizes: the bytes come from a savepoint, which anybody may have
written. The manifest's *files* are not read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_flink_iceberg.iceberg.avro_datum import Avro, read_datum
from airflow_flink_iceberg.model.errors import SavepointUnreadable

_MAX_REFERENCED = 100_000


@dataclass(frozen=True, slots=True)
class StagedManifest:
    """One manifest that is written, but maybe not committed.

    ``path`` is as the sink wrote it. ``length`` is in bytes. ``rows`` and ``files`` count what the manifest adds;
    None where it does not say, which is unknown, not 0.
    """

    path: str
    length: int
    spec_id: int
    rows: int | None
    files: int | None


@dataclass(frozen=True, slots=True)
class StagedManifests:
    """What one entry adds: data, deletes, both or, for a checkpoint without rows, nothing.

    ``referenced_data_files`` are data files that position deletes rely on.
    """

    data: StagedManifest | None = None
    delete: StagedManifest | None = None
    referenced_data_files: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the checkpoint had no rows: no commit is to be expected of it."""
        return self.data is None and self.delete is None

    @property
    def data_path(self) -> str | None:
        """Path of the data manifest, or None if there is none."""
        return None if self.data is None else self.data.path

    @property
    def data_rows(self) -> int | None:
        """Rows that the data manifest adds: 0 without a manifest, None if it does not say."""
        return 0 if self.data is None else self.data.rows

    @property
    def delete_path(self) -> str | None:
        """Path of the delete manifest, or None if there is none."""
        return None if self.delete is None else self.delete.path

    @property
    def delete_rows(self) -> int | None:
        """Delete records that the delete manifest adds: 0 without a manifest, None if it does not say."""
        return 0 if self.delete is None else self.delete.rows


def decode_delta_manifests(blob: bytes | memoryview) -> StagedManifests:
    """Decode the manifests of a committer's entry, of a v1 and of a v2 sink alike.

    Raises:
        SavepointUnreadable: another version than 1 or 2, an Avro schema or datum that is no ``manifest_file``, or
            bytes that are cut, out of bounds or left over.
    """
    if not len(blob):
        return StagedManifests()
    reader = Avro(memoryview(blob))
    version = reader.big_endian(4)
    body = Avro(reader.take(reader.big_endian(4)))
    reader.end()
    if version == 1:
        return StagedManifests(data=_manifest(body.rest()))
    if version != 2:
        raise SavepointUnreadable(f"Staged manifests of unknown version {version}: only 1 and 2 can be read.")
    data = _manifest(body.take(body.big_endian(4)))
    delete = _manifest(body.take(body.big_endian(4)))
    count = body.big_endian(4)
    if count > min(_MAX_REFERENCED, body.remaining // 2):
        raise SavepointUnreadable(f"Staged manifests announce {count} referenced files: refused.")
    referenced = tuple(body.text(body.big_endian(2)) for _ in range(count))
    body.end()
    return StagedManifests(data, delete, referenced)


def _manifest(encoded: memoryview) -> StagedManifest | None:
    """An Iceberg ``ManifestFile`` as ``ManifestFiles.encode`` writes it: C2 01, schema, datum; nothing for none."""
    if not len(encoded):
        return None
    reader = Avro(encoded)
    if bytes(reader.take(2)) != b"\xc2\x01":
        raise SavepointUnreadable("A staged manifest does not start with Iceberg's C2 01.")
    datum = read_datum(reader.text(reader.big_endian(2)), reader)
    reader.end()
    if not isinstance(datum, dict):
        raise SavepointUnreadable("A staged manifest is no Avro record.")
    path = datum.get("manifest_path")
    if not isinstance(path, str) or not path:
        raise SavepointUnreadable("A staged manifest has no manifest_path.")
    return StagedManifest(
        path,
        _required_count(datum, "manifest_length"),
        _required_count(datum, "partition_spec_id"),
        _count(datum, "added_rows_count"),
        _count(datum, "added_files_count", "added_data_files_count"),
    )


def _count(datum: dict[str, object], *names: str) -> int | None:
    """The first of the names that is there; Iceberg's first releases called some fields otherwise."""
    value = next((datum[name] for name in names if datum.get(name) is not None), None)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SavepointUnreadable(f"A staged manifest's {names[0]} is {value!r:.40}.")
    return value


def _required_count(datum: dict[str, object], name: str) -> int:
    value = _count(datum, name)
    if value is None:
        raise SavepointUnreadable(f"A staged manifest has no {name}.")
    return value
