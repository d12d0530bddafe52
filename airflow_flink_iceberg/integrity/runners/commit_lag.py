"""Do checkpoints complete while no commit comes? Seen as the silent stall of apache/iceberg#10892, #17494 and #18098.

Tier ``state``: Flink's checkpoint history against the newest commit. Whether rows wait is told by the state's bytes,
else by the staged files; an idle job is no stalled one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_flink_iceberg.checks import CommitLag
from airflow_flink_iceberg.iceberg.staged import decode_delta_manifests
from airflow_flink_iceberg.iceberg.staged_files import list_staged
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.judging import expected, judge_duration
from airflow_flink_iceberg.integrity.results import Answer, counted, first_line
from airflow_flink_iceberg.model.commit import Commit
from airflow_flink_iceberg.model.errors import FlinkError, FlinkIcebergError
from airflow_flink_iceberg.model.result import Outcome


@dataclass(frozen=True)
class _Waiting:
    """What waits for a commit; ``count`` None: not known, and ``why`` says why."""

    count: int | None
    what: str
    why: str = ""


def run(check: CommitLag, context: CheckContext) -> Answer:
    """Compare the newest commit with the newest completed checkpoint of the job."""
    job_id = _job(context)
    if job_id is None:
        return Answer(
            Outcome.UNKNOWN, "Which job writes the table is not known.", expected(check), "not known", "state"
        )
    newest = next((c for c in context.history.commits(context.head_snapshot_id) if c.job_id == job_id), None)
    waiting = _waiting(context, job_id, -1 if newest is None else newest.checkpoint_id)
    who = f"Job {short(job_id)}"
    if waiting.count is None:
        text = f"{who}: whether rows wait for a commit is not known: {waiting.why}."
        return Answer(Outcome.UNKNOWN, text, expected(check), "not known", "state")
    if waiting.count == 0:
        text = f"{who}: nothing waits for a commit ({waiting.what})."
        return Answer(
            Outcome.PASS, text, expected(check), "nothing waits", "state", evidence={"lag_seconds": 0}
        )
    return _measured(check, context, job_id, newest, waiting)


def _measured(
    check: CommitLag, context: CheckContext, job_id: str, newest: Commit | None, waiting: _Waiting
) -> Answer:
    since = newest.committed_at if newest else _started_at(context, job_id)
    until, what = _newest_checkpoint(context, job_id)
    if since is None:
        text = (
            f"Job {short(job_id)} has not committed yet, and when it began is not known; {waiting.what} wait."
        )
        return Answer(Outcome.UNKNOWN, text, expected(check), "not known", "state")
    lag = max((until - since) / 1000, 0.0)
    outcome, spoken = judge_duration(check, lag)
    came = (
        f"its newest commit (checkpoint {newest.checkpoint_id})"
        if newest
        else "its start, without any commit"
    )
    text = f"Job {short(job_id)}: {waiting.what} wait, and {spoken} lie between {came} and {what}."
    if outcome is Outcome.FAIL:
        text += " Checkpoints complete and nothing is committed: a used job id, a drained v1 state or a lost committer."
    evidence = {"lag_seconds": round(lag, 3), "waiting": waiting.count, "job_id": job_id}
    return Answer(outcome, text, expected(check), f"{spoken} behind", "state", evidence=evidence)


def _job(context: CheckContext) -> str | None:
    if context.state_job_id:
        return context.state_job_id
    if context.restart:
        return context.restart.running_job.job_id
    others = context.other_writers
    commits = context.history.commits(context.head_snapshot_id)
    return next((commit.job_id for commit in commits if commit.job_id not in others), None)


def _waiting(context: CheckContext, job_id: str, committed: int) -> _Waiting:
    try:
        return _in_state(context, job_id, committed) or _on_disk(context, job_id, committed)
    except (FlinkIcebergError, OSError) as error:
        return _Waiting(None, "", first_line(error))


def _in_state(context: CheckContext, job_id: str, committed: int) -> _Waiting | None:
    if context.state is None:
        return None
    rows = 0
    for entry in context.state.committer_entries():
        if entry.job_id == job_id and committed < entry.checkpoint_id <= context.state.checkpoint_id:
            staged = decode_delta_manifests(entry.manifests)
            if staged.data_rows is None or staged.delete_rows is None:
                why = f"checkpoint {entry.checkpoint_id} has staged a manifest and does not say how many rows"
                return _Waiting(None, "", why)
            rows += staged.data_rows + staged.delete_rows
    return _Waiting(rows, counted(rows, "staged row"))


def _on_disk(context: CheckContext, job_id: str, committed: int) -> _Waiting:
    files = [s for s in list_staged(context.access) if s.job_id == job_id and s.checkpoint_id > committed]
    return _Waiting(len(files), counted(len(files), "staged manifest"))


def _newest_checkpoint(context: CheckContext, job_id: str) -> tuple[int, str]:
    """When the newest checkpoint completed, by Flink's clock; without Flink, now."""
    if context.flink is not None:
        try:
            latest = context.flink.checkpoints(job_id).latest_completed
        except FlinkError:
            latest = None
        if latest is not None and latest.acknowledged_at:
            return latest.acknowledged_at, f"its newest completed checkpoint ({latest.id})"
    return int(time.time() * 1000), "now"


def _started_at(context: CheckContext, job_id: str) -> int | None:
    if context.flink is None:
        return None
    try:
        timestamps = context.flink.job(job_id).timestamps
    except FlinkError:
        return None
    return min((at for at in timestamps.values() if at > 0), default=None)
