"""What tells that a job is still the one that a baseline was made of: its script or jar, and its topics."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.flink.metadata import SavepointMetadata
from airflow_flink_iceberg.flink.script import parse_script
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.errors import InvalidValue, SavepointUnreadable
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment, SqlDeployment

_SECRET = re.compile(
    r"('[^']*(?:password|secret|token|credential|jaas)[^']*'\s*=\s*)'(?:[^']|'')*'", re.IGNORECASE
)
_UPLOADED = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_")


def fingerprint(job: FlinkJob, script: str | None, state: SavepointMetadata | None) -> str | None:
    """A digest; ``None``: how the job is made is not known here.

    Of a script its statements count, not its settings, comments, blank lines and secrets: a password that is changed
    is no other job, and a digest of one could be guessed. Of a jar that is uploaded from here its bytes count, of one
    that the cluster has the id of its upload: who uploads it again may have built it again. A jar by its bare name
    could be any, so that is not known. Entry class and arguments count. Declared sinks do not: what is written is said
    by the script or the jar.

    :param script: the text of a SQL job's script, where it can be found.
    """
    made_of = _made_of(job, script)
    if made_of is None:
        return None
    text = json.dumps([made_of, _topics(state)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def why_unknown(baseline: Baseline | None, now: str | None) -> str:
    """Why it is not known whether the job is still the one of a baseline; empty: it is known.

    A restore point's own record claims nothing of the time before, and what runs since then is the job of today.

    :param now: the job's fingerprint.
    """
    if baseline is None or baseline.basis is Basis.GIVEN or (baseline.fingerprint and now):
        return ""
    if now is None:
        return "its script or jar is not to be had here (flink-iceberg verify takes --sql FILE)"
    return "the baseline was kept where its script or jar was not to be had; keep a new one"


def _made_of(job: FlinkJob, script: str | None) -> Any:
    deployment = job.deployment
    if isinstance(deployment, JarDeployment):
        jar = _jar(deployment)
        return jar and [jar, deployment.entry_class, list(deployment.program_args)]
    if not isinstance(deployment, SqlDeployment) or script is None:
        return None
    try:
        parsed = parse_script(script)
    except InvalidValue:
        return None
    # How often it commits and how it is called are no question of which rows it writes.
    return [_plain(text) for text in (*parsed.ddl, parsed.insert)]


def _jar(deployment: JarDeployment) -> str | None:
    if not deployment.upload:
        name = deployment.jar.rpartition("/")[2]
        return name if _UPLOADED.match(name) else None
    try:
        with Path(deployment.jar).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _plain(statement: str) -> str:
    lines = (line.strip() for line in statement.splitlines())
    kept = " ".join(line for line in lines if line and not line.startswith("--"))
    return _SECRET.sub(r"\1'***'", kept)


def _topics(state: SavepointMetadata | None) -> list[str]:
    try:
        return sorted(state.kafka_offsets()) if state else []
    except SavepointUnreadable:
        return []
