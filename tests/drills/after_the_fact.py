"""What the proof says of a world when all is over: the last state against the table, compared with counted rows.

The guard has been overruled, the job has run on and was stopped by hand. Which run came from which is asked of Flink by
plain HTTP; the rows were counted by the caller's oracle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from airflow_flink_iceberg.checks import kafka_offsets, state_matches_table
from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import CheckResult, Outcome, RestorePoint, RunLink, Savepoint
from airflow_flink_iceberg.restart.facts import declared_writers
from playground.rest import get_json
from tests.drills import disturbances as do
from tests.drills.given import Given
from tests.e2e.rig import Rig

_CHECKPOINT = re.compile(r"/([0-9a-f]{32})/chk-\d+/?$")
_SAVEPOINT = re.compile(r"/savepoint-([0-9a-f]{6})-[0-9a-f]+/?$")
_NUMBERED = ("proven", "consistent", "doubled", "missing")


@dataclass(frozen=True)
class Proof:
    """What two checks have said, and whether that is what was counted.

    :param state: of ``state_matches_table``: rows minus offsets, where that was found, and its verdict.
    :param rows: of ``kafka_offsets``: rows too many and offsets missing.
    """

    state: str
    rows: str
    is_right: bool


def look(given: Given, job_id: str, savepoint: str, counted: tuple[int, int] | None) -> Proof:
    """Ask both checks.

    :param savepoint: of the job's stop.
    :param counted: (lost, doubled) rows; ``None``: the table cannot be read.
    """
    state, rows = _results(given, job_id, savepoint)
    if counted is None:
        is_right = not (state.success or rows.success)
    else:
        is_right = _is_state_right(state, *counted) and _are_rows_right(rows, given, *counted)
    now, staged = state.evidence.get("now"), state.evidence.get("pending_rows")
    verdict = str(state.evidence.get("verdict")) + (f", {staged:,} staged" if staged else "")
    found = [rows.evidence.get(each) for each in ("doubled", "missing")]
    return Proof(
        verdict if now is None else f"{now:+} {verdict}",
        rows.outcome if None in found else f"+{found[0]} -{found[1]}",
        is_right,
    )


def look_at_state(given: Given) -> Proof | None:
    """Where no start succeeds: of the state itself. Where rows that it has read are in no table, they may be staged for
    good, and are never called whole; where all are there (only the commits have expired), they are.
    """
    state = given.state.savepoint if isinstance(given.state, RestorePoint) else given.state
    if not isinstance(state, Savepoint):
        return None
    found, _ = _results(given, state.job_id, state.path)
    read = read_metadata(state.path, given.rig.systems().state_files).kafka_offsets()
    there = sum(key[0] != do.FOREIGN for key in given.rig.counts())
    lost = sum(sum(offsets.values()) for offsets in read.values()) > there
    is_right = not found.success if lost else found.outcome is not Outcome.FAIL
    return Proof(str(found.evidence.get("verdict")), "", is_right)


def _results(given: Given, job_id: str, savepoint: str) -> tuple[CheckResult, CheckResult]:
    rig, systems = given.rig, given.rig.systems()
    sink = rig.job.sinks[0]
    first = min(given.starts.values(), default=0)
    context = open_context(
        systems.table(sink),
        lineage=list(_links(rig)),
        flink=systems.client,
        sink=replace(sink, other_writers=sorted(declared_writers(systems, sink))),
        state=read_metadata(savepoint, systems.state_files),
        state_job_id=job_id,
    )
    columns, said = ("kafka_partition", "kafka_offset"), {"offsets": "dense", "first_offset": first}
    ends = rig.producer.stop().partitions
    by_state = state_matches_table(*columns, rows="one_to_one", settle="rows", **said)  # type: ignore[arg-type]
    by_rows = kafka_offsets(*columns, end_offsets=ends, **said)  # type: ignore[arg-type]
    state, rows = run_checks([by_state, by_rows], context).results
    return state, rows


def _is_state_right(found: CheckResult, lost: int, doubled: int) -> bool:
    """No number but the true one, no proof of what is damaged, no alarm over what is not.

    Rows minus offsets is what is counted; what is missing and staged (v1 after a drain) comes with the next start.
    """
    verdict, staged = found.evidence["verdict"], found.evidence.get("pending_rows", 0)
    is_whole = (lost - staged, doubled) == (0, 0)
    if verdict in _NUMBERED and found.evidence["now"] != doubled - lost:
        return False
    if found.outcome is Outcome.PASS:
        return is_whole
    return not is_whole or found.outcome is not Outcome.FAIL


def _are_rows_right(found: CheckResult, given: Given, lost: int, doubled: int) -> bool:
    """Rows that were deleted on purpose are missing to this check; those of others are of no partition."""
    said = (found.evidence.get("doubled"), found.evidence.get("missing"))
    is_whole = (lost + given.deleted, doubled) == (0, 0)
    return said == (doubled, lost + given.deleted) and (is_whole or found.outcome is Outcome.FAIL)


def _links(rig: Rig) -> Iterator[RunLink]:
    """Which run was started from which one's state, as far as the cluster remembers."""
    url = rig.stack.flink_url
    jobs = [job["jid"] for job in get_json(f"{url}/jobs/overview")["jobs"]]
    for job_id in jobs:
        restored = (get_json(f"{url}/jobs/{job_id}/checkpoints").get("latest") or {}).get("restored") or {}
        path, number = restored.get("external_path") or "", restored.get("id", 0)
        if found := _CHECKPOINT.search(path):
            yield RunLink(job_id, found[1], number)
        elif found := _SAVEPOINT.search(path):
            parents = [each for each in jobs if each.startswith(found[1]) and each != job_id]
            yield from (RunLink(job_id, each, number) for each in parents)
