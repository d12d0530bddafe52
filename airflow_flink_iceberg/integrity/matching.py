"""A state matched with a table: what both say, looked up once for the check's result and for a baseline made of it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.checks import StateMatchesTable
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.history_gap import HistoryGap, measure
from airflow_flink_iceberg.integrity.proof_state import ProofState, Unproven, read_proof_state
from airflow_flink_iceberg.integrity.results import first_line
from airflow_flink_iceberg.integrity.settlement import Settlement, settle
from airflow_flink_iceberg.model.errors import FlinkError
from airflow_flink_iceberg.model.job import Offsets, Rows


@dataclass(frozen=True)
class Match:
    """A state, its sums over the table, and what the offsets themselves say."""

    state: ProofState
    gap: HistoryGap
    settled: Settlement


def match(check: StateMatchesTable, context: CheckContext) -> Match:
    """Match ``context.state`` with the table; what was found is remembered in the context.

    :raises Unproven: a condition of the proof does not hold, or is not known.
    :raises Broken: the state or the table contradicts what it began with.
    :raises SavepointUnreadable: the state's bytes are absent or out of bounds.
    """
    if check not in context.found:
        state, gap = compare(context, check.rows, check.first_offset)
        context.found[check] = Match(state, gap, settle(check, context, state, gap))
    found: Match = context.found[check]
    return found


def compare(
    context: CheckContext, rows: Rows = Rows.UNKNOWN, first_offset: int | None = None
) -> tuple[ProofState, HistoryGap]:
    """The sums alone, which need no columns: ``context.state``, and its history gap over the table.

    :param rows: what is declared; unknown: as the sink has it.
    :param first_offset: where every partition began to be read, when there is no baseline; ``None``: not known.
    :raises Unproven, Broken, SavepointUnreadable: as :func:`match`.
    """
    _require_declared(rows, context)
    state = _usable_state(context)
    return state, measure(context, state, first_offset, _started_at(context, state))


def _require_declared(rows: Rows, context: CheckContext) -> None:
    """Offsets say nothing about rows unless each record becomes one row."""
    if rows is Rows.UNKNOWN and context.sink:
        rows = Rows(context.sink.rows)
    if rows is Rows.SPLIT:
        raise Unproven(
            "the sink gets a part of the source's records (rows='split'), so only the sum over all its sinks could be "
            "compared, which one table cannot tell"
        )
    if rows is not Rows.ONE_TO_ONE:
        raise Unproven(
            "whether every record becomes one row of this table (no filter, join or aggregation) is not declared: "
            "declare rows='one_to_one' if it is so"
        )
    if context.state is None:
        raise Unproven(
            context.why_no_state or "no savepoint or retained checkpoint was given to compare the table with"
        )
    if context.baseline is None and context.why_no_baseline:
        raise Unproven(f"where to count from is not known: {context.why_no_baseline}")


def is_dense(check: StateMatchesTable, context: CheckContext) -> bool:
    """Whether every offset of the topic is declared to be a record, by the check or by the sink."""
    declared = check.offsets
    if declared is Offsets.UNKNOWN and context.sink:
        declared = Offsets(context.sink.offsets)
    return declared is Offsets.DENSE


def _usable_state(context: CheckContext) -> ProofState:
    """The given state, if its checkpoint is exact.

    :raises Unproven, Broken, SavepointUnreadable: it cannot stand for rows.
    """
    if context.state is None:
        raise Unproven("no state was given")
    state = read_proof_state(context.state, context.state_job_id)
    if not state.is_stop and not _is_exactly_once(context, state):
        raise Unproven(
            "the job takes at-least-once checkpoints, so this one's offsets need not fit the table; use the savepoint "
            "of a stop"
        )
    return state


def _is_exactly_once(context: CheckContext, state: ProofState) -> bool:
    if context.flink is None:
        raise Unproven(
            "whether the job's checkpoints are exactly-once is not known without Flink; give Flink's address, or use "
            "the savepoint of a stop"
        )
    try:
        return context.flink.checkpoint_settings(state.job_id).is_exactly_once
    except FlinkError as error:
        raise Unproven(
            f"whether the job's checkpoints are exactly-once could not be asked: {first_line(error)}"
        ) from error


def _started_at(context: CheckContext, state: ProofState) -> int | None:
    """When Flink's job of this id began; ``None``: nobody knows, and an id used twice cannot be seen here.

    :raises Unproven: the job's plan has a source that is none of the state's Kafka sources.
    """
    if context.flink is None:
        return None
    try:
        job = context.flink.job(state.job_id)
    except FlinkError:
        return None
    strange = sorted((job.sources or frozenset()) - state.sources)
    if strange:
        name = next((vertex.name for vertex in job.vertices if vertex.id == strange[0]), strange[0])
        raise Unproven(f"the job also reads from {name!r}, which is no Kafka source of its state")
    return min((at for at in job.timestamps.values() if at > 0), default=None)
