"""Wait until what was pending in a restored state is in the tables."""

from __future__ import annotations

from dataclasses import replace

from airflow_flink_iceberg.iceberg.probe import HeadProbe
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.model.savepoint import CommitState, Savepoint
from airflow_flink_iceberg.restart.entries import pending_entries
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

_SETTLE_SECONDS = 60.0
_SETTLE_INTERVAL = 0.5


def settle(
    systems: Systems, savepoint: Savepoint, facts: Facts, timeout: float = _SETTLE_SECONDS
) -> Savepoint:
    """The same savepoint, with ``commit`` done once every sink's pending checkpoint is in its table.

    A restore commits what was pending under the *old* job id. A sink whose entries hold no rows has nothing to
    wait for. When the time is over the savepoint stays pending, said in the log: the job runs, and a sensor can go
    on waiting.
    """
    if savepoint.commit is CommitState.DONE:
        return savepoint
    for sink in facts.sinks:
        if not _wait_for(systems, savepoint, facts, sink, timeout):
            return savepoint
    return replace(savepoint, commit=CommitState.DONE)


def _wait_for(systems: Systems, savepoint: Savepoint, facts: Facts, sink: SinkFacts, timeout: float) -> bool:
    state = facts.state
    if state is not None and state.readable and not pending_entries(facts, sink, sink.head_id, retained=True):
        return True
    probe = HeadProbe(systems.table(sink.sink), sink.sink.branch)
    runs = [(savepoint.job_id, operator) for operator in sink.operator_ids or (None,)]
    try:
        for _ in ticks(
            f"The commit of checkpoint {savepoint.checkpoint_id} in {sink.name}", _SETTLE_INTERVAL, timeout
        ):
            if probe.landed(runs, savepoint.checkpoint_id) is not None:
                return True
    except WaitTimeout as error:
        log.warning("%s", error)
    return False
