"""How a world is played: it is really made, the guard is asked, the start is made in spite of a refusal, and counted.

The rows are counted by PyIceberg's plain scan against the broker's offsets: nothing of the package under test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from airflow_flink_iceberg.model import RestorePoint, Savepoint
from airflow_flink_iceberg.model.decision import Cause, Decision, Verdict
from airflow_flink_iceberg.model.errors import JobFailed, RestartRefused, WaitTimeout
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.start_job import find_savepoint, plan, start_job
from airflow_flink_iceberg.restart.steps import Step
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.after_the_fact import Proof, look, look_at_state
from tests.drills.given import OPTIONS, Given
from tests.drills.record import After, Row, after
from tests.e2e.rig import Rig, running_job, wait_until
from tests.support.judged import Judged

_END_OF_INPUT = 2**63 - 1
_CALM = 4
"""Checkpoints without a new row after which a table counts as final."""
_TO_BE_EXPLAINED = (Judged.UNKNOWN, Judged.WRONG_REFUSAL)


@dataclass(frozen=True)
class Expected:
    """The guard's answer and what is counted when the start is made all the same."""

    verdict: Verdict
    cause: Cause | None
    after: After


@dataclass(frozen=True)
class World:
    """One world.

    :param expected: by sink; a sink that is not named is not played.
    :param on: the Flink version; ``None``: the default one.
    :param interval: of the first run's checkpoints, where the world needs the stop's own to hold rows.
    :param deployment: ``sql`` or ``jar``.
    :param why: nothing better than UNKNOWN can be said, or a harmless start is refused.
    """

    name: str
    make: Callable[[Rig], Given]
    expected: dict[str, Expected]
    on: str | None = None
    interval: str | None = None
    deployment: str = "sql"
    why: str = ""


def play(world: World, sink: str, stack: Stack) -> Row:
    """Make the world, ask the guard, start all the same, and count."""
    begun = time.monotonic()
    running = running_job(
        stack,
        sink=sink,  # type: ignore[arg-type]
        deployment=world.deployment,
        first_interval=world.interval,
    )
    with running as rig:
        given = world.make(rig)
        try:
            decision = ask(given)
            counted = _count(given, decision)
        finally:
            given.rig.producer.stop()
            if given.rival:
                do.cancel(rig, given.rival)
    worst = decision.findings[0] if decision.findings else None
    cause = worst.cause if worst else None
    is_expected = world.expected[sink] == Expected(decision.verdict, cause, counted.after)
    row = Row(
        world.name,
        sink,
        stack.versions.flink,
        decision.verdict.value,
        cause.value if cause else None,
        decision.rows,
        counted.after.value,
        counted.lost,
        counted.doubled,
        is_expected and (counted.proof is None or counted.proof.is_right),
        round(time.monotonic() - begun, 1),
        done=" ".join((world.make.__doc__ or "").split()),
        proof=counted.proof.state if counted.proof else "",
        by_rows=counted.proof.rows if counted.proof else "",
    )
    return replace(row, why=world.why) if row.judged in _TO_BE_EXPLAINED else row


def ask(given: Given) -> Decision:
    """The guard's answer; a start that it calls SAFE is made."""
    rig, options = given.rig, replace(OPTIONS, allow_non_restored_state=given.ignore)
    if given.job_id is not None:
        return _of_reused(given)
    steps = rig.steps()
    try:
        _, decision = start_job(rig.systems(), steps, given.state, options)
    except RestartRefused as refused:
        return refused.decision
    except JobFailed:
        # The guard saw nothing and Flink refused: the answer is in the record, and the row says that it never ran.
        return Decision.from_dict((steps.intent(Step.START) or {})["decision"])
    return decision


def _of_reused(given: Given) -> Decision:
    """Our own starts never use an id again, so the guard is asked about one that somebody else would choose."""
    systems, steps = given.rig.systems(), given.rig.steps()
    state = given.state
    savepoint = state.savepoint if isinstance(state, RestorePoint) else state
    found = find_savepoint(systems, savepoint) if savepoint else None
    start = plan(systems, steps, found, None, OPTIONS)
    return decide(replace(start.facts, new_job_id=given.job_id))


@dataclass(frozen=True)
class _Counted:
    after: After
    lost: int | None = None
    doubled: int | None = None
    proof: Proof | None = None


def _count(given: Given, decision: Decision) -> _Counted:
    """Start what was refused, by name of each verdict, count when the table is final, and ask the proof, too."""
    rig = given.rig
    try:
        job_id = _start_anyway(given, decision) if decision.verdict is not Verdict.SAFE else _running(rig)
    except (JobFailed, WaitTimeout):
        job_id = None
    if job_id is None:
        return _Counted(After.NEVER_RUNS, proof=look_at_state(given))
    try:
        _wait_final(rig, job_id)
    except OSError:
        proof = look(given, job_id, do.stop_by_hand(rig, job_id), None)
        return _Counted(After.UNREADABLE, proof=proof)
    savepoint = do.stop_by_hand(rig, job_id)
    lost, doubled = damage(given)
    proof = look(given, job_id, savepoint, (lost, doubled))
    return _Counted(after((lost, doubled), decision.rows), lost, doubled, proof)


def _running(rig: Rig) -> str | None:
    return next(iter(rig.running()), None)


def _start_anyway(given: Given, decision: Decision) -> str:
    rig = given.rig
    if given.job_id is not None:
        state = given.state.path if isinstance(given.state, Savepoint) else None
        job_id = do.start_by_hand(rig, rig.script or "", state, given.job_id)
        # The gateway answers before Flink lists the job.
        wait_until(lambda: job_id in rig.running(), f"job {job_id}", 60)
        return job_id
    accept = tuple({finding.verdict for finding in decision.findings})
    options = replace(
        OPTIONS, accept=accept, reason="the drill counts", allow_non_restored_state=given.ignore
    )
    running, _ = start_job(rig.systems(), rig.steps(), given.state, options)
    return running.job_id


def _wait_final(rig: Rig, job_id: str) -> None:
    """No more orders, and checkpoints beyond every id in the table have brought no more rows."""
    rig.producer.stop()
    stack = rig.stack
    highest = max(_ids(rig), default=0)
    wait_until(lambda: do.completed(stack, job_id) > highest, f"a checkpoint above {highest}", 120)
    rows, since = rig.row_count(), do.completed(stack, job_id)
    for _ in range(600):
        now, completed = rig.row_count(), do.completed(stack, job_id)
        if now != rows:
            rows, since = now, completed
        elif completed >= since + _CALM:
            return
        time.sleep(0.5)
    raise AssertionError(f"{rig.table} is not final after 300 s")


def _ids(rig: Rig) -> Iterator[int]:
    for snapshot in rig.iceberg().snapshots():
        found = (
            (snapshot.summary or {}).get("flink.max-committed-checkpoint-id") if snapshot.summary else None
        )
        if found is not None and int(found) != _END_OF_INPUT:
            yield int(found)


def damage(given: Given) -> tuple[int, int]:
    """(lost, doubled) rows of this job: what the broker holds against what the table holds."""
    ends = given.rig.producer.stop().partitions
    counts = given.rig.counts()
    ours = {key: times for key, times in counts.items() if key[0] != do.FOREIGN}
    wanted = {
        (partition, offset)
        for partition, end in ends.items()
        for offset in range(given.starts.get(partition, 0), end)
    }
    assert set(ours) <= wanted, "the table holds records that the topic does not have"
    return len(wanted - set(ours)) - given.deleted, sum(ours.values()) - len(ours)
