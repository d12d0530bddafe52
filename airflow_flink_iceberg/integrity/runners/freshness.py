"""How long ago were rows last committed? Tier ``metadata``: the newest snapshots' summaries, as few as needed."""

from __future__ import annotations

import time

from airflow_flink_iceberg.checks import Freshness
from airflow_flink_iceberg.checks.thresholds import spoken_seconds
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.judging import expected, judge_duration
from airflow_flink_iceberg.integrity.results import Answer
from airflow_flink_iceberg.model.result import Outcome

CLOCK_SKEW = 60.0
"""Seconds that a committer's clock may be ahead of this worker's."""


def run(check: Freshness, context: CheckContext) -> Answer:
    """Find the newest snapshot that added rows, and compare its time with this worker's clock."""
    chain = context.history.chain(context.head_snapshot_id)
    for snapshot in chain:
        if snapshot.added_records is None:
            text = f"Snapshot {snapshot.snapshot_id} has an added-records that is no number."
            return Answer(Outcome.UNKNOWN, text, expected(check), "not known")
        if snapshot.added_records:
            age = time.time() - snapshot.timestamp_ms / 1000
            if age < -CLOCK_SKEW:
                text = (
                    f"Snapshot {snapshot.snapshot_id} was committed {spoken_seconds(-age)} from now by this worker's "
                    "clock: a clock is wrong, so how old its rows are is not known."
                )
                return Answer(Outcome.UNKNOWN, text, expected(check), "in the future")
            age = max(age, 0.0)
            outcome, spoken = judge_duration(check, age)
            text = f"The newest rows were committed {spoken} ago, in snapshot {snapshot.snapshot_id}."
            evidence = {"age_seconds": round(age, 3), "snapshot_id": str(snapshot.snapshot_id)}
            return Answer(outcome, text, expected(check), f"{spoken} old", evidence=evidence)
    why = f": the history is cut ({chain.why_cut})" if chain.why_cut else ""
    return Answer(Outcome.UNKNOWN, f"No snapshot with rows is known{why}.", expected(check), "no rows")
