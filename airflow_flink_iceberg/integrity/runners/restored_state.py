"""Was the new job restored from our savepoint? Answered by Flink's own record of that very job.

Tier ``state``. A job can be RUNNING with a state that is not the intended one, or with none; and a job whose restore
cannot succeed swings between RUNNING and RESTARTING for ever, so one completed checkpoint is demanded as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_flink_iceberg.checks import RestoredState
from airflow_flink_iceberg.flink.answers import JobDetails
from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.results import Answer, first_line
from airflow_flink_iceberg.model.errors import FlinkError, JobNotFound
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import Outcome, worst


def run(_check: RestoredState, context: CheckContext) -> Answer:
    """Ask for the job and its checkpoints, two requests; nothing is changed."""
    restart = context.restart
    if restart is None:
        return Answer(
            Outcome.UNKNOWN, "No restart was given, so there is no state to compare with.", tier="state"
        )
    if not _evidence_fits(restart):
        return _stored_mismatch(restart)
    if context.flink is None:
        return _only_stored(restart, "no Flink cluster was given to ask")
    try:
        checkpoints = context.flink.checkpoints(restart.running_job.job_id)
        job = context.flink.job(restart.running_job.job_id)
    except JobNotFound:
        return _only_stored(restart, "the cluster does not know the job any more")
    except FlinkError as error:
        return _only_stored(restart, f"the cluster could not be asked ({first_line(error)})")
    return _judge(restart, checkpoints, job)


def _evidence_fits(restart: Restart) -> bool:
    job, savepoint = restart.running_job, restart.savepoint
    return (
        same_path(job.restored_path, savepoint.path) and job.restored_checkpoint_id == savepoint.checkpoint_id
    )


def _stored_mismatch(restart: Restart) -> Answer:
    job = restart.running_job
    found = (
        f"checkpoint {job.restored_checkpoint_id} at {job.restored_path}" if job.restored_path else "no state"
    )
    return _answer(
        restart,
        Outcome.FAIL,
        f"The restart itself recorded that job {short(job.job_id)} started from {found}, which is not its savepoint.",
        found,
    )


def _only_stored(restart: Restart, why: str) -> Answer:
    return _answer(
        restart,
        Outcome.UNKNOWN,
        f"Not confirmed now: {why}. All there is, is what the restart recorded when it started job "
        f"{short(restart.running_job.job_id)}: restored from the savepoint, all tasks RUNNING, a checkpoint completed.",
        "recorded at the start, not confirmed now",
        {"recorded": True},
    )


def _judge(restart: Restart, checkpoints: CheckpointStats, job: JobDetails) -> Answer:
    evidence = {
        "job_id": job.job_id,
        "state": job.state.value,
        "restored_count": checkpoints.restored_count,
        "completed_checkpoints": checkpoints.completed_count,
        "restored_id": checkpoints.restored.id if checkpoints.restored else None,
        "restored_path": checkpoints.restored.path if checkpoints.restored else None,
    }
    outcome, text, actual = _compare(restart, checkpoints, job)
    return _answer(restart, outcome, text, actual, evidence)


def _compare(restart: Restart, checkpoints: CheckpointStats, job: JobDetails) -> tuple[Outcome, str, str]:
    restored, savepoint, name = checkpoints.restored, restart.savepoint, short(job.job_id)
    if restored is None:
        return Outcome.FAIL, f"Job {name} was started without any state.", "no state"
    found = f"checkpoint {restored.id} at {restored.path}"
    if checkpoints.restored_count > 1:
        return _after_own_restarts(checkpoints, job, found)
    if not same_path(restored.path, savepoint.path) or restored.id != savepoint.checkpoint_id:
        return Outcome.FAIL, f"Job {name} was restored from {found}, which is not the savepoint.", found
    if checkpoints.completed_count < 1:
        text = f"Job {name} was restored from the savepoint and has completed no checkpoint yet (state {job.state})"
        text += ": check again, a restore that cannot succeed looks the same at first."
        return Outcome.UNKNOWN, text, f"{found}, no checkpoint completed"
    return _alive(job, f"Job {name} was restored from the savepoint", found, checkpoints)


def _after_own_restarts(
    checkpoints: CheckpointStats, job: JobDetails, found: str
) -> tuple[Outcome, str, str]:
    """Flink keeps only the last restore, so the first one is known from what the restart recorded."""
    name, times = short(job.job_id), checkpoints.restored_count
    if checkpoints.completed_count < 1:
        text = f"Job {name} has been restored {times} times and has never completed a checkpoint: it cannot succeed."
        return Outcome.FAIL, text, f"restored {times} times, no checkpoint completed"
    text = (
        f"Job {name} was restored from the savepoint, as recorded at its start, and has since restarted itself: Flink "
        f"counts {times} restores, the last from {found}"
    )
    outcome, text, actual = _alive(job, text, found, checkpoints)
    return worst([outcome, Outcome.WARN]), text, f"{actual}, restored {times} times"


def _alive(job: JobDetails, text: str, found: str, checkpoints: CheckpointStats) -> tuple[Outcome, str, str]:
    text = f"{text}; it has completed {checkpoints.completed_count} checkpoints"
    if job.all_tasks_running:
        return Outcome.PASS, f"{text}, all tasks are RUNNING.", found
    return (
        Outcome.WARN,
        f"{text}; it is not fully RUNNING now (state {job.state}).",
        f"{found}, job {job.state}",
    )


def _answer(
    restart: Restart, outcome: Outcome, text: str, actual: str, evidence: Mapping[str, object] | None = None
) -> Answer:
    savepoint = restart.savepoint
    expected = f"checkpoint {savepoint.checkpoint_id} at {savepoint.path}"
    return Answer(outcome, text, expected, actual, "state", evidence=dict(evidence or {}))
