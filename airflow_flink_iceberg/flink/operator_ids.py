"""The operator ids that Iceberg's sinks stamp, computed from the uid that the author set.

Flink hashes a uid with murmur3_128, start value 0. Checked against real snapshots of Flink 1.20 to 2.3.
"""

from __future__ import annotations

import mmh3


def operator_id(uid: str) -> str:
    """The id of the operator with this uid, as 32 hex characters."""
    return mmh3.hash_bytes(uid).hex()


def sink_operator_ids(sink_uid: str) -> frozenset[str]:
    """What a v1, a v2 and a dynamic sink with this ``uidPrefix`` or ``uid-suffix`` stamp."""
    return frozenset(operator_id(uid) for uid in sink_uids(sink_uid))


def sink_uids(sink_uid: str) -> tuple[str, str, str]:
    """The uids of the stamping operators of a v1, a v2 and a dynamic sink."""
    return (
        f"{sink_uid}-committer",
        f"{sink_uid}: Sink pre-commit aggregator: {sink_uid}",
        f"{sink_uid}--sink: {sink_uid}--pre-commit-topology",
    )
