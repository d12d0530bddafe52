"""Start a job from a state: guarded, under an id of ours, and believed only when Flink confirms it.

The job id is a hash of the state's identity and the attempt. So a repeat, or a rival that starts the same state,
collides in Flink instead of doubling rows; an id that has lived is never used for another start (apache/iceberg#18098).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.deployments.base import StartRequest
from airflow_flink_iceberg.flink.paths import same_path
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkUnreachable,
    InvalidValue,
    JobFailed,
    JobNotFound,
    NoFreeSlots,
    RestartRefused,
    RestoreMismatch,
    WaitTimeout,
)
from airflow_flink_iceberg.model.restart import RunningJob
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.sink_rules import FileExists
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats

_MAX_ATTEMPTS = 20
_MAX_RESTORES = 4
"""After how many restores without a completed checkpoint a job counts as failing: with Flink's default strategy a
restore that cannot succeed swings between RUNNING and RESTARTING for ever."""
_CONFIRM_INTERVAL = 0.5
_LAUNCH_TRIES = 3


@dataclass(frozen=True)
class StartOptions:
    """How to start.

    :param accept: verdicts to start in spite of; only with a ``reason``, and recorded.
    :param timeout: seconds until the job has to be confirmed; after that it is left as it is.
    """

    allow_non_restored_state: bool = False
    accept: tuple[Verdict, ...] = ()
    reason: str | None = None
    poll_interval: float = 0.1
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if self.accept and not (self.reason or "").strip():
            raise InvalidValue(
                f"Accepting {', '.join(self.accept)} needs a reason, which is recorded with the start."
            )


@dataclass(frozen=True)
class Start:
    """A start that was decided on: its request, what the guard said, and whose state it is.

    :param alive: an earlier try has launched it, and the cluster knows it as not ended.
    """

    request: StartRequest
    attempt: int
    decision: Decision
    facts: Facts
    alive: bool = False

    @property
    def link(self) -> RunLink | None:
        """The link between the new run and the state's run."""
        if self.facts.state is None:
            return None
        savepoint = self.facts.state.savepoint
        return RunLink(self.request.job_id, savepoint.job_id, savepoint.checkpoint_id)


def recorded_start(steps: Steps) -> RunningJob | None:
    """The job that this task has started and confirmed before."""
    outcome = steps.outcome(Step.START)
    return RunningJob.from_dict(outcome) if outcome else None


def plan_start(systems: Systems, steps: Steps, facts: Facts, options: StartOptions) -> Start:
    """Choose the id and decide; touches nothing.

    A job that an earlier try has launched and that lives is adopted with the decision it was launched under: what it
    has written since is no damage. One that has ended burns its id.
    """
    launched = _launched(systems, steps, facts)
    if launched is not None and launched.alive:
        return launched
    first = launched.attempt + 1 if launched is not None else _recorded_attempt(steps) or 1
    attempt, job_id = _fresh_id(steps, facts, first)
    earlier = (
        [RunLink(_job_id(steps, facts, n), *_identity(facts)) for n in range(1, attempt)]
        if facts.state
        else []
    )
    facts = replace(
        facts,
        new_job_id=job_id,
        lineage=facts.lineage.with_links(earlier),
        allow_non_restored_state=options.allow_non_restored_state,
    )
    decision = replace(decide(facts, _file_exists(systems)), accepted=options.accept, reason=options.reason)
    return Start(_request(facts, job_id, options.allow_non_restored_state), attempt, decision, facts)


def check_decision(start: Start, accept: Collection[Verdict]) -> None:
    """Refuse a start that is not SAFE and not accepted by name.

    :raises RestartRefused: with the worst finding in its sentence; nothing was started.
    """
    decision = start.decision
    if decision.allows_start(accept):
        return
    worst = next(
        finding
        for finding in decision.findings
        if finding.verdict is not Verdict.SAFE and finding.verdict not in accept
    )
    rows = f", {worst.rows} rows" if worst.rows is not None else ""
    more = f" ({len(decision.findings) - 1} more findings)" if len(decision.findings) > 1 else ""
    raise RestartRefused(
        f"{worst.verdict}{rows} ({worst.cause}): {worst.message} {worst.next_step}{more}", decision
    )


def intent_of(start: Start) -> dict[str, object]:
    """What is recorded before the launch."""
    return {
        "job_id": start.request.job_id,
        "attempt": start.attempt,
        "savepoint_path": start.request.savepoint_path,
        "allow_non_restored_state": start.request.allow_non_restored_state,
        "decision": start.decision.to_dict(),
    }


def launch(systems: Systems, steps: Steps, start: Start, options: StartOptions) -> None:
    """Launch behind a written intent and return when the job is RUNNING.

    A lost answer is settled by asking for our id; a duplicate is ours or a rival's start of the same state, and
    :func:`confirm` tells which by what it was restored from.

    :raises JobFailed: Flink refused it or it ended; the next try uses a new id.
    """
    if start.alive:
        log.info("Reconnecting to job %s, which an earlier try has launched", start.request.job_id)
    else:
        _submit(systems, steps, start)
    for _ in ticks(f"The start of job {start.request.job_id}", options.poll_interval, options.timeout):
        try:
            state = systems.client.status(start.request.job_id)
        except JobNotFound:
            continue
        if state is JobState.RUNNING:
            return
        if state.is_terminal:
            raise _ended(systems, start.request.job_id, state)


def confirm(systems: Systems, steps: Steps, start: Start, options: StartOptions) -> RunningJob:
    """Wait until the job has completed a checkpoint from our state, which proves that all tasks run.

    :raises RestoreMismatch: it runs from another state. :raises JobFailed: it keeps failing.
    :raises NoFreeSlots: it waits for slots that the cluster does not have. :raises WaitTimeout: it is left running.
    """
    job_id = start.request.job_id
    evidence = steps.section(Step.START).get("evidence")
    if evidence and evidence.get("job_id") != job_id:
        # Of an earlier attempt, which says nothing about this one.
        evidence = None
    for count in ticks(f"The first checkpoint of job {job_id}", _CONFIRM_INTERVAL, options.timeout):
        stats = systems.client.checkpoints(job_id)
        if evidence is None and (evidence := _evidence(start, stats)):
            steps.write({Step.START: {"evidence": evidence}})
        completed = stats.latest_completed
        if completed is not None and (evidence is not None or start.request.savepoint_path is None):
            return _running_job(start, stats, completed.id)
        if stats.restored_count > _MAX_RESTORES or count % 10 == 9:
            _check_health(systems, job_id, stats)
    raise WaitTimeout(f"Job {job_id} was not confirmed.")


def _running_job(start: Start, stats: CheckpointStats, first: int) -> RunningJob:
    state = start.facts.state
    if state is None:
        if stats.restored is not None and stats.restored_count == 1:
            raise RestoreMismatch(
                f"Job {start.request.job_id} should have started without state, but was restored from "
                f"{stats.restored.path}."
            )
        return RunningJob(start.request.job_id, None, None, first)
    savepoint = state.savepoint
    return RunningJob(start.request.job_id, savepoint.checkpoint_id, savepoint.path, first, savepoint.job_id)


def _evidence(start: Start, stats: CheckpointStats) -> dict[str, object] | None:
    """What Flink says the job was restored from, once it says it.

    After a failover ``latest.restored`` names a checkpoint of the new job instead, which is no evidence either way.
    """
    state, restored = start.facts.state, stats.restored
    if state is None or restored is None:
        return None
    ours = (
        same_path(restored.path or "", state.savepoint.path) and restored.id == state.savepoint.checkpoint_id
    )
    if ours:
        return {
            "job_id": start.request.job_id,
            "restored_path": restored.path,
            "restored_id": restored.id,
            "restored_count": stats.restored_count,
        }
    if stats.restored_count > 1 and start.request.job_id in (restored.path or ""):
        return None
    raise RestoreMismatch(
        f"Job {start.request.job_id} runs from checkpoint {restored.id} at {restored.path}, not from "
        f"checkpoint {state.savepoint.checkpoint_id} at {state.savepoint.path}; stop it before it commits "
        "more."
    )


def _check_health(systems: Systems, job_id: str, stats: CheckpointStats) -> None:
    state = systems.client.status(job_id)
    if state.is_terminal:
        raise _ended(systems, job_id, state)
    if stats.restored_count > _MAX_RESTORES and stats.latest_completed is None:
        raise JobFailed(
            f"Job {job_id} was restored {stats.restored_count} times and completed no checkpoint "
            f"({_reason(systems, job_id)}); cancel it, it cannot succeed from this state."
        )
    if (
        state is JobState.RUNNING
        and systems.client.overview().slots_available == 0
        and stats.latest_completed is None
    ):
        tasks = systems.client.job(job_id)
        if any(vertex.state in ("SCHEDULED", "CREATED") for vertex in tasks.vertices):
            raise NoFreeSlots(
                f"Job {job_id} waits for task slots and the cluster has none free; add a TaskManager, the "
                "job starts by itself."
            )


def _submit(systems: Systems, steps: Steps, start: Start) -> None:
    """Send the launch; returns when it has arrived, by its answer or because the cluster knows our id."""
    for number in range(1, _LAUNCH_TRIES + 1):
        try:
            systems.deployment.launch(start.request)
            return
        except DuplicateJob:
            log.info(
                "Job %s is known to the cluster already; it is ours if it runs from our state",
                start.request.job_id,
            )
            return
        except FlinkUnreachable as error:
            log.warning(
                "The answer to the launch of job %s was lost (%s); asking for it by its id",
                start.request.job_id,
                error,
            )
            if _state_of(systems, start.request.job_id) is not None:
                return
            if number == _LAUNCH_TRIES:
                raise
            # The id is unknown, so the same request again cannot start a second job.
            steps.touch()


def _state_of(systems: Systems, job_id: str) -> JobState | None:
    try:
        return systems.client.status(job_id)
    except JobNotFound:
        return None


def _launched(systems: Systems, steps: Steps, facts: Facts) -> Start | None:
    """The start that an earlier try recorded, if the cluster knows its job."""
    intent = steps.intent(Step.START)
    if intent is None:
        return None
    state = _state_of(systems, intent["job_id"])
    if state is None:
        return None
    request = _request(facts, intent["job_id"], bool(intent.get("allow_non_restored_state")))
    decision = Decision.from_dict(intent["decision"])
    return Start(
        request,
        int(intent["attempt"]),
        decision,
        replace(facts, new_job_id=request.job_id),
        not state.is_terminal,
    )


def _fresh_id(steps: Steps, facts: Facts, first: int) -> tuple[int, str]:
    """The first attempt from ``first`` on whose id no table has seen and no ended job of the cluster had."""
    for attempt in range(first, first + _MAX_ATTEMPTS):
        job_id = _job_id(steps, facts, attempt)
        seen = any(sink.metadata.mentions(job_id) for sink in facts.sinks)
        if not seen and job_id not in facts.cluster.ended:
            return attempt, job_id
    raise InvalidValue(
        f"{_MAX_ATTEMPTS} job ids for this state are known to the cluster or the tables' history already; it "
        "was started too often."
    )


def _request(facts: Facts, job_id: str, allow_non_restored_state: bool) -> StartRequest:
    path = facts.state.savepoint.path if facts.state else None
    return StartRequest(job_id, path, allow_non_restored_state)


def _recorded_attempt(steps: Steps) -> int | None:
    intent = steps.intent(Step.START)
    return int(intent["attempt"]) if intent else None


def _job_id(steps: Steps, facts: Facts, attempt: int) -> str:
    if facts.state is None:
        return ids.first_start_id(steps.nonce, steps.epoch, attempt)
    return ids.start_id(*_identity(facts), attempt)


def _identity(facts: Facts) -> tuple[str, int]:
    if facts.state is None:
        raise InvalidValue("A start without state has no identity.")
    return facts.state.savepoint.job_id, facts.state.savepoint.checkpoint_id


def _file_exists(systems: Systems) -> FileExists:
    def exists(sink: SinkFacts, path: str) -> bool | None:
        try:
            return systems.table(sink.sink).io().new_input(path).exists()
        except OSError:
            return None

    return exists


def _ended(systems: Systems, job_id: str, state: JobState) -> JobFailed:
    return JobFailed(
        f"Job {job_id} is {state} instead of RUNNING: {_reason(systems, job_id)}. The state is unharmed; "
        "mend the cause and retry the task."
    )


def _reason(systems: Systems, job_id: str) -> str:
    exceptions = systems.client.exceptions(job_id)
    if not exceptions:
        return "Flink names no exception"
    # The first entry of a failed stop or restore only says "not recoverable"; the real one has a task.
    chosen = next((entry for entry in exceptions if entry.task), exceptions[0])
    return f"{chosen.name}: {chosen.message}"
