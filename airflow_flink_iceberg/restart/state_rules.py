"""The guard's rules about a state and the sinks it was taken of: does each entry find the sink that commits it."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_flink_iceberg.flink.deployments.base import SinkProgram
from airflow_flink_iceberg.flink.operator_ids import operator_id, sink_operator_ids, sink_uids
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.model.recovery import RECOVERED_FROM
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.changes import amount, rows_if_known, waiting_changes
from airflow_flink_iceberg.restart.entries import belongs, pending_entries
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.position import Unclear
from airflow_flink_iceberg.restart.state import Entry, State

_AGGREGATOR = ": Sink pre-commit aggregator: "
_OLD_UID_OF_A_JAR = (
    "Give the sink its old uid back; if the program is a Table API one with FlinkSink, which ignores its uid, leave "
    "sink_uid out."
)


def unmatched(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """A strict restore is refused by Flink when the state's sink has another uid, or is of another class, than the
    job's.
    """
    state = facts.state
    if state is None or facts.allow_non_restored_state:
        return
    if change := _other_class(facts, state):
        yield Finding(
            Verdict.WOULD_FAIL,
            Cause.STATE_UNMATCHED,
            f"The state belongs to {change[0]}, and the script makes {change[1]}, which has other operators: Flink "
            "refuses the restore.",
            evidence={"state": change[0], "script": change[1]},
            next_step="Set table.exec.iceberg.use-v2-sink back; to change the class, start once from a savepoint with "
            "nothing pending and allow_non_restored_state.",
        )
        return
    if not sink.sink.sink_uid:
        return
    uids = {uid for uid in state.operator_uids if _is_sink_uid(uid)}
    found = _by_uid(facts, sink, uids) if uids else _by_id(facts, sink, state)
    if found:
        yield Finding(
            Verdict.WOULD_FAIL,
            Cause.STATE_UNMATCHED,
            f"The state belongs to the sink {found[0]!r}, and the job declares sink_uid "
            f"{sink.sink.sink_uid!r}: Flink refuses the restore.",
            evidence={"state_sinks": found[:5]},
            next_step=_OLD_UID_OF_A_JAR
            if facts.program is SinkProgram.JAR
            else "Give the sink its old uid back.",
        )


def dropped(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """With ``allow_non_restored_state`` Flink drops without a word what waits for a sink that the new job lacks."""
    state = facts.state
    # Before a stop nothing waits that the stop will not commit.
    if state is None or facts.before_stop or not facts.allow_non_restored_state:
        return
    if not state.readable and state.savepoint.commit is not CommitState.DONE:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.STATE_UNREADABLE,
            f"Whether rows wait in the state, which allow_non_restored_state may drop, its bytes would tell: "
            f"{state.why_not}.",
            next_step="Start without allow_non_restored_state, or run where the savepoint's storage can be read.",
        )
    waiting = [
        entry
        for entry in pending_entries(facts, sink, sink.head_id, retained=True)
        if not _is_proven(facts, sink, entry)
    ]
    if waiting:
        changes = waiting_changes(waiting)
        yield Finding(
            Verdict.WOULD_LOSE,
            Cause.PENDING_DROPPED,
            f"{amount(changes)} wait in the state for a sink with the operator id {waiting[0].operator_id}, and "
            "nothing proves that the new job has it: with allow_non_restored_state Flink would drop them.",
            rows=rows_if_known(changes),
            evidence={"operator_ids": sorted({entry.operator_id for entry in waiting})[:5]},
            next_step="Start once without allow_non_restored_state, with the old uid and the old kind of sink: that "
            "commits them or is refused.",
        )


def holds_rows_of_others(facts: Facts) -> bool:
    """Whether the state holds rows for a sink that none of the declared ones is known to be."""
    entries = (facts.state.entries or ()) if facts.state else ()
    return any(
        entry.rows and not any(belongs(facts, sink, entry) for sink in facts.sinks) for entry in entries
    )


def by_ids_only(facts: Facts, sink: SinkFacts) -> Unclear | None:
    """Why ids alone are no proof for this state: its bytes are not readable, and nobody who knew them vouches.

    Of the own stop the lineage and the table were seen before and after. A savepoint whose commit is ``done`` vouches,
    too: only a stop of ours says so, and then every sink had committed all that the state holds. Else a worker without
    access to the storage could stop a job and never start it.
    """
    state = facts.state
    if state is None or state.readable or state.own_stop:
        return None
    waited = sink.recorded is not None and bool(sink.recorded.pending_rows)
    if state.savepoint.commit is CommitState.DONE and not waited:
        return None
    return Unclear("state_unreadable", f"what waits in the state only its bytes could tell: {state.why_not}")


def drained(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """After a drain a v1 sink takes every later checkpoint for committed (apache/iceberg#2033)."""
    if facts.state is None:
        return
    if any(_AGGREGATOR in uid for uid in facts.state.operator_uids):
        return
    job = facts.state.savepoint.job_id
    # Inside the downtime, and for an operator id that never committed the search would walk the whole history. Nothing
    # of a run comes after its end of input, so the newest commit of any operator of it tells.
    if not sink.metadata.mentions(job) or (
        not sink.shared and sink.history.committed(job, None, sink.head_id) != END_OF_INPUT
    ):
        return
    operators = sink.operator_ids or {None}
    if not any(sink.history.committed(job, operator, sink.head_id) == END_OF_INPUT for operator in operators):
        return
    yield Finding(
        Verdict.WOULD_LOSE,
        Cause.WOULD_STALL,
        f"Job {job} was drained into {sink.name}: restored from this state, a v1 sink runs and commits "
        "nothing.",
        evidence={"job_id": job, "checkpoint_id": END_OF_INPUT},
        next_step="Start once, stop with a savepoint without drain, and start again from that one: "
        "the second start commits all.",
    )


def commits_late(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """A v1 sink skips checkpoints up to the newest id that the state's run has committed, also empty ones.

    Rows wait and none is lost or doubled, so this is said and refuses nothing.
    """
    state = facts.state
    # The newest state of a run is never late; inside the downtime of its restart nothing is searched for that.
    if state is None or state.own_stop or not sink.metadata.mentions(state.savepoint.job_id):
        return
    number, job = state.savepoint.checkpoint_id, state.savepoint.job_id
    operators = state.v1_operators & sink.operator_ids or (
        state.v1_operators if not sink.shared else frozenset()
    )
    newest = max((sink.history.committed(job, each, sink.head_id) for each in operators), default=-1)
    if number < newest < END_OF_INPUT:
        yield Finding(
            Verdict.SAFE,
            Cause.COMMITS_LATE,
            f"Job {job} went on to checkpoint {newest} of {sink.name}, without rows, after checkpoint {number} of this "
            f"state: restored from it, a v1 sink holds its commits back for {newest - number} checkpoints and then "
            "makes up for all of them.",
            rows=0,
            evidence={"checkpoint_id": number, "committed_id": newest, "checkpoints": newest - number},
            next_step="Wait; or start from the newest checkpoint of that job.",
        )


def stranded(facts: Facts, sink: SinkFacts) -> Iterator[Finding]:
    """Rows of the end of input that a drained v2 sink did not commit (Flink 1.20): no later start commits them.

    Told of the drain's own savepoint only. Every later one carries the entry along, and a refusal each time would be
    a false alarm for ever.
    """
    state = facts.state
    if state is None or not state.drained:
        return
    lost = [
        entry
        for entry in state.entries or ()
        if entry.rows
        and not entry.is_v1
        and entry.checkpoint_id > state.savepoint.checkpoint_id
        and entry.job_id == state.savepoint.job_id
        and belongs(facts, sink, entry)
        and sink.history.committed(entry.job_id, entry.operator_id, sink.head_id) < entry.checkpoint_id
    ]
    recovered = _recovered(sink) if lost else frozenset()
    lost = [entry for entry in lost if not recovered & {path.rpartition("/")[2] for path in entry.manifests}]
    if lost:
        changes = waiting_changes(lost)
        yield Finding(
            Verdict.WOULD_LOSE,
            Cause.STRANDED,
            f"The drain of job {state.savepoint.job_id} left {amount(changes)} of {sink.name} staged and uncommitted: "
            "they are lost already, and no start from this state brings them back.",
            rows=rows_if_known(changes),
            evidence={"manifests": [path for entry in lost for path in entry.manifests][:5]},
            next_step="Append them with RecoverStagedManifestsOperator or flink-iceberg staged, or accept WOULD_LOSE "
            "with a reason; later savepoints of the job are not refused for it.",
        )


def _recovered(sink: SinkFacts) -> frozenset[str]:
    """The staged manifests that a recovery has appended, by file name."""
    found = (snapshot.summary.get(RECOVERED_FROM) for snapshot in sink.history.ancestors(sink.head_id))
    return frozenset(name for name in found if name)


def _by_uid(facts: Facts, sink: SinkFacts, found: set[str]) -> list[str]:
    """The state's sinks that no declared sink is, unless this sink is in the state itself."""
    declared = {uid for each in facts.sinks for uid in sink_uids(each.sink.sink_uid or "")}
    # A state without this sink is none of its business if it fits the others: Flink starts a new sink empty.
    return [] if found & set(sink_uids(sink.sink.sink_uid or "")) else sorted(found - declared)


def _by_id(facts: Facts, sink: SinkFacts, state: State) -> list[str]:
    """The same where the bytes hold no uids: before Flink 2.0.

    A v1 sink through SQL ignores ``uid-suffix``, so an id of its own proves nothing; in a jar the uid is what the
    program sets.
    """
    ours = sink_operator_ids(sink.sink.sink_uid or "")
    if ours & (state.operator_ids | state.v1_operators | state.v2_operators):
        return []
    declared = {each for sink in facts.sinks for each in sink_operator_ids(sink.sink.sink_uid or "")}
    v1_operators = state.v1_operators if facts.program is SinkProgram.JAR else frozenset()
    return sorted((state.v2_operators | v1_operators) - declared)


def _other_class(facts: Facts, state: State) -> tuple[str, str] | None:
    """The class of the state's sinks and that of the script's, where both are known and differ."""
    is_v2 = bool(state.v2_operators) or any(_AGGREGATOR in uid for uid in state.operator_uids)
    if facts.program is SinkProgram.SQL_V1 and is_v2:
        return "IcebergSink (v2)", "FlinkSink (v1)"
    if facts.program is SinkProgram.SQL_V2 and state.v1_operators:
        return "FlinkSink (v1)", "IcebergSink (v2)"
    return None


def _is_proven(facts: Facts, sink: SinkFacts, entry: Entry) -> bool:
    """Whether the new job is known to have the operator that commits an entry.

    Only a script that makes ``IcebergSink`` under a declared uid says so: the one change for which the flag is
    commonly set is between the two classes, under the same uid. Ids that Flink makes up depend on the new job's graph,
    and a jar does not tell its class.
    """
    if not sink.sink.sink_uid or facts.program is not SinkProgram.SQL_V2:
        return False
    _, *others = sink_uids(sink.sink.sink_uid)
    return entry.operator_id in {operator_id(uid) for uid in others}


def _is_sink_uid(uid: str) -> bool:
    return uid.endswith("-committer") or _AGGREGATOR in uid
