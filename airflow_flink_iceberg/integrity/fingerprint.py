"""What tells that a job is still the one that a baseline was made of: its script or jar, its topics, its sinks."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.flink.script import parse_script
from airflow_flink_iceberg.model.errors import InvalidValue, SavepointUnreadable
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment, SqlDeployment

_SECRET = re.compile(
    r"('[^']*(?:password|secret|token|credential|jaas)[^']*'\s*=\s*)'(?:[^']|'')*'", re.IGNORECASE
)
_UPLOADED = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_")


def fingerprint(job: FlinkJob, script: str | None, state: SavepointMetadata | None) -> str | None:
    """A digest; ``None``: how the job is made is not known here, so nothing is compared.

    Comments, blank lines and secrets do not count: a password that is changed is no other job, and a digest of one
    could be guessed. Of a jar the name counts, not the id of its upload.

    :param script: the text of a SQL job's script, where it can be found.
    """
    made_of = _made_of(job, script)
    if made_of is None:
        return None
    sinks = sorted(f"{sink.table}@{sink.branch}/{sink.sink_uid}" for sink in job.sinks)
    text = json.dumps([made_of, _topics(state), sinks])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _made_of(job: FlinkJob, script: str | None) -> Any:
    deployment = job.deployment
    if isinstance(deployment, JarDeployment):
        name = _UPLOADED.sub("", deployment.jar.rpartition("/")[2])
        return [name, deployment.entry_class, list(deployment.program_args)]
    if not isinstance(deployment, SqlDeployment) or script is None:
        return None
    try:
        parsed = parse_script(script)
    except InvalidValue:
        return None
    # How often it commits and how it is called are no question of which rows it writes.
    return [_plain(text) for text in (*parsed.ddl, parsed.insert)]


def _plain(statement: str) -> str:
    lines = (line.strip() for line in statement.splitlines())
    kept = " ".join(line for line in lines if line and not line.startswith("--"))
    return _SECRET.sub(r"\1'***'", kept)


def _topics(state: SavepointMetadata | None) -> list[str]:
    try:
        return sorted(state.kafka_offsets()) if state else []
    except SavepointUnreadable:
        return []
