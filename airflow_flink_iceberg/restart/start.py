"""Decide on a start from a state: guarded, and under an id of ours.

The job id is a hash of the state's identity and the attempt. So a repeat, or a rival that starts the same state,
collides in Flink instead of doubling rows; an id that has lived is never used for another start (apache/iceberg#18098).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from airflow_flink_iceberg.flink.deployments.base import StartRequest
from airflow_flink_iceberg.flink.states import JobState
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import InvalidValue, JobNotFound, RestartRefused
from airflow_flink_iceberg.model.restart import RunningJob
from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.facts import Facts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.pending import open_look
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import PATIENCE, Systems, log

_MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class StartOptions:
    """How to start.

    :param accept: verdicts to start in spite of; only with a ``reason``, and recorded.
    :param timeout: seconds until the job has to be confirmed; after that it is left as it is.
    :param patience: seconds that the JobManager may be silent meanwhile.
    :param commit_grace: seconds after a stop whose commit failed in which that commit may still land, because the
        catalog got the request and the sink no answer (apache/iceberg#14425): longer than the catalog's timeout.
    :param ask_brokers: whether Kafka is asked if the source still has what the state reads; false where the job has
        just been stopped to be started again: brokers that do not answer would keep it down.
    """

    allow_non_restored_state: bool = False
    accept: tuple[Verdict, ...] = ()
    reason: str | None = None
    poll_interval: float = 0.1
    timeout: float = 600.0
    patience: float = PATIENCE
    commit_grace: float = 60.0
    ask_brokers: bool = True

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
    first = launched.attempt + 1 if launched is not None else _first_attempt(steps)
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
        program=systems.deployment.sink_program(),
        planned_sources=_planned_sources(systems, options),
    )
    decision = replace(decide(facts, open_look(systems)), accepted=options.accept, reason=options.reason)
    return Start(_request(facts, job_id, options.allow_non_restored_state), attempt, decision, facts)


def _planned_sources(systems: Systems, options: StartOptions) -> frozenset[str] | None:
    """Only with the flag, because Flink runs the program for its plan: without it Flink refuses what does not fit."""
    return systems.deployment.planned_sources() if options.allow_non_restored_state else None


def check_decision(start: Start, accept: Collection[Verdict]) -> None:
    """Refuse a start that is not SAFE and not accepted by name.

    :raises RestartRefused: with the worst finding in its sentence; nothing was started.
    """
    decision = start.decision
    if start.facts.state is None:
        log.info("The guard on a start without state: %s", decision.summary())
    else:
        savepoint = start.facts.state.savepoint
        log.info(
            "The guard on checkpoint %s of %s: %s",
            savepoint.checkpoint_id,
            savepoint.path,
            decision.summary(),
        )
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


def state_of(systems: Systems, job_id: str) -> JobState | None:
    """Fresh state of a job; ``None``: the cluster does not know it."""
    try:
        return systems.client.status(job_id)
    except JobNotFound:
        return None


def _launched(systems: Systems, steps: Steps, facts: Facts) -> Start | None:
    """The start that an earlier try recorded, if the cluster knows its job."""
    intent = steps.intent(Step.START)
    if intent is None:
        return None
    state = state_of(systems, intent["job_id"])
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
        f"{_MAX_ATTEMPTS} job ids for this state are known to the cluster or the tables' history already; "
        "it "
        "was started too often."
    )


def _request(facts: Facts, job_id: str, allow_non_restored_state: bool) -> StartRequest:
    path = facts.state.savepoint.path if facts.state else None
    return StartRequest(job_id, path, allow_non_restored_state)


def _first_attempt(steps: Steps) -> int:
    """The recorded attempt, or the next one if its job is known to have lived: the cluster may have forgotten it."""
    intent, section = steps.intent(Step.START), steps.section(Step.START)
    if intent is None:
        return 1
    lived = {(section.get(name) or {}).get("job_id") for name in ("evidence", "outcome")}
    return int(intent["attempt"]) + (intent["job_id"] in lived)


def _job_id(steps: Steps, facts: Facts, attempt: int) -> str:
    if facts.state is None:
        return ids.first_start_id(steps.nonce, steps.epoch, attempt)
    return ids.start_id(*_identity(facts), attempt)


def _identity(facts: Facts) -> tuple[str, int]:
    if facts.state is None:
        raise InvalidValue("A start without state has no identity.")
    return facts.state.savepoint.job_id, facts.state.savepoint.checkpoint_id
