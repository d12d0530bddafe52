"""Cancel a job without a savepoint. Nothing else in this package ever does: a stop takes a savepoint."""

from __future__ import annotations

from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.cancellation import Cancellation
from airflow_flink_iceberg.model.errors import JobNotFound, WaitTimeout
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log, ticks


def cancel_job(
    systems: Systems, steps: Steps, *, poll_interval: float = 0.5, timeout: float = 300.0
) -> Cancellation:
    """Cancel the job and wait until it has ended; a job that has ended already is success, and said.

    The run is recorded before the request, so that a retry never cancels another run that got the name meanwhile.

    :raises JobNotFound: the cluster has never seen a job of this name, or has forgotten it.
    :raises JobAmbiguous: several jobs of this name run. :raises WaitTimeout: it still cancels; a retry goes on waiting.
    """
    if steps.is_new_request:
        steps.forget()
    if outcome := steps.outcome(Step.CANCEL):
        return Cancellation.from_dict(outcome)
    recorded = steps.intent(Step.CANCEL)
    if recorded:
        log.info("Reconnecting to the cancellation of job %s", recorded["job_id"])
        done = _cancel(systems, steps, recorded["job_id"], poll_interval, timeout)
    else:
        done = _first_time(systems, steps, poll_interval, timeout)
    steps.write({Step.CANCEL: {"outcome": done.to_dict()}})
    return done


def _first_time(systems: Systems, steps: Steps, poll_interval: float, timeout: float) -> Cancellation:
    try:
        view = systems.deployment.look()
    except JobNotFound:
        ended = _newest_ended(systems)
        if ended is None:
            raise
        return ended
    if view.state.is_terminal:
        return _had_ended(view.job_id, view.state)
    return _cancel(systems, steps, view.job_id, poll_interval, timeout)


def _cancel(
    systems: Systems, steps: Steps, job_id: str, poll_interval: float, timeout: float
) -> Cancellation:
    steps.write({Step.CANCEL: {"intent": {"job_id": job_id}}})
    log.warning("Cancelling job %s without a savepoint", job_id)
    sent = systems.deployment.cancel(job_id)
    what = f"The cancellation of job {job_id}"
    for _ in ticks(what, poll_interval, timeout):
        state = systems.client.status(job_id)
        if state.is_terminal:
            # Flink takes the request for a CANCELED job again, so after a lost answer this is true as well.
            ours = state is JobState.CANCELED and sent
            return Cancellation(job_id, state.value, True) if ours else _had_ended(job_id, state)
    raise WaitTimeout(f"{what} took too long.")


def _newest_ended(systems: Systems) -> Cancellation | None:
    """The newest run of this name that the cluster remembers, which has ended: nothing was there to be cancelled."""
    named = [job for job in systems.client.jobs() if job.name == systems.job.name]
    newest = max(named, key=lambda job: job.started_at, default=None)
    if newest is None or not newest.state.is_terminal:
        return None
    return _had_ended(newest.job_id, newest.state)


def _had_ended(job_id: str, state: JobState) -> Cancellation:
    log.info("Job %s is %s already, so there is nothing to cancel", job_id, state)
    return Cancellation(job_id, state.value, False)
