"""Whether a state can be counted from a baseline at all: one table, one line of runs, one job and its topics."""

from __future__ import annotations

from airflow_flink_iceberg.integrity.consumed import recreated_topic
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.proof_state import Broken, ProofState, Unproven
from airflow_flink_iceberg.model.baseline import Baseline


def require_same_world(context: CheckContext, state: ProofState, baseline: Baseline | None) -> None:
    """The same table and branch, a newer state of the line, and no job or topic that is known to be another.

    :raises Unproven: a state cannot be counted from this baseline.
    :raises Broken: the table is another.
    """
    if baseline is None:
        return
    if (baseline.table, baseline.branch) != (context.table, context.branch):
        raise Unproven(f"the baseline is of {baseline.table}@{baseline.branch}, another table or branch")
    uuid = context.history.metadata.uuid
    if baseline.table_uuid != uuid:
        raise Broken(
            "TABLE_REPLACED",
            f"{context.table} is another table than at the baseline: its uuid was {baseline.table_uuid} and is {uuid}",
        )
    if (baseline.job_id, baseline.checkpoint_id) == (state.job_id, state.checkpoint_id):
        raise Unproven("the baseline was made of this very state, which proves nothing; use a newer state")
    if _is_older(context, state, baseline):
        raise Unproven(
            f"the state (checkpoint {state.checkpoint_id}) is older than the baseline (checkpoint "
            f"{baseline.checkpoint_id}); use a newer state, or an older baseline"
        )
    if baseline.fingerprint != context.fingerprint and baseline.fingerprint and context.fingerprint:
        raise Unproven(
            "the job's script, jar or topics have changed since the baseline (another fingerprint): accept a new "
            "baseline at the first state of the changed job"
        )
    if recreated := recreated_topic(baseline, context.topics):
        raise Unproven(f"topic {recreated} is not the one of the baseline: it was created again")


def _is_older(context: CheckContext, state: ProofState, baseline: Baseline) -> bool:
    """Whether the baseline's state came after this one in its own line: what it had read is no rewound partition."""
    if baseline.job_id is None or baseline.checkpoint_id is None:
        return False
    if baseline.job_id == state.job_id:
        return baseline.checkpoint_id > state.checkpoint_id
    return context.runs.contained(baseline.job_id).get(state.job_id, -1) >= state.checkpoint_id


def require_above_baseline(context: CheckContext, state: ProofState, baseline: Baseline | None) -> None:
    """Where nothing came since, T is the baseline's own snapshot, and only on the state's line is that so.

    :raises Unproven: the state is of another line.
    """
    if baseline is None or baseline.job_id is None:
        return
    if baseline.job_id not in {state.job_id, *context.runs.contained(state.job_id)}:
        raise Unproven(
            f"the state's run {state.job_id} does not descend from run {baseline.job_id}, of which the baseline was "
            "made, and has committed nothing since; use a state of that line"
        )
