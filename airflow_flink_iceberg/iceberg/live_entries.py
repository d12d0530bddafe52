"""A manifest's live entries, all of them: PyIceberg takes an Avro file that is cut for one that ends there."""

from __future__ import annotations

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestEntry, ManifestFile

from airflow_flink_iceberg.model.errors import MetadataUnreadable


def live_entries(io: FileIO, manifest: ManifestFile) -> list[ManifestEntry]:
    """The entries that are not deleted, as many as the manifest list says; a v1 list need not say it.

    :raises MetadataUnreadable: there are others, so files would be overlooked.
    :raises FileNotFoundError: the manifest is gone.
    """
    entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
    added, existing = manifest.added_files_count, manifest.existing_files_count
    if added is not None and existing is not None and len(entries) != added + existing:
        raise MetadataUnreadable(
            f"Manifest {manifest.manifest_path} holds {len(entries):,} live files where its list says "
            f"{added + existing:,}: it is cut or was changed."
        )
    return entries
