"""With ``allow_non_restored_state`` Flink drops, without a word, what the new job has no operator for: the offsets of a
source, or the rows that an aggregate or a join remembers.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_flink_iceberg.flink.deployments.base import SinkProgram
from airflow_flink_iceberg.model.decision import Cause, Finding, Verdict
from airflow_flink_iceberg.restart.facts import Facts

_NEXT_STEP = (
    "Give the source its old uid back; without allow_non_restored_state Flink refuses such a restore."
)


def dropped_source_findings(facts: Facts) -> Iterator[Finding]:
    """Whether each Kafka source of the state is one of those that the launch makes.

    Seen on Flink 2.1: a jar whose source got another uid began its topic anew, and all rows came twice.
    """
    state = facts.state
    if state is None or not facts.allow_non_restored_state:
        return
    if state.other_ids:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.STATE_UNMATCHED,
            f"The state holds data of {len(state.other_ids)} operators beside Kafka sources and Iceberg sinks (an "
            "aggregate, a join, another source), and whether the new job has them under the same ids cannot be told: "
            "allow_non_restored_state would drop them.",
            evidence={"operator_ids": sorted(state.other_ids)[:5]},
            next_step="Start without allow_non_restored_state.",
        )
    if not state.source_ids:
        return
    if facts.planned_sources is None:
        if facts.program is not SinkProgram.UNKNOWN:
            yield Finding(
                Verdict.UNKNOWN,
                Cause.STATE_UNMATCHED,
                "Whether the program's sources have the operator ids of the state cannot be told, because Flink's plan "
                "of it does not say; allow_non_restored_state would drop the offsets of a source that has another one.",
                next_step="Start without allow_non_restored_state.",
            )
        return
    dropped = sorted(state.source_ids - facts.planned_sources)
    if dropped:
        yield Finding(
            Verdict.WOULD_DUPLICATE,
            Cause.STATE_UNMATCHED,
            f"The program has no source with the operator id {dropped[0]}, whose offsets the state holds: with "
            "allow_non_restored_state Flink drops them and reads again what is there, or skips what is not.",
            evidence={"operator_ids": dropped[:5], "planned": sorted(facts.planned_sources)[:5]},
            next_step=_NEXT_STEP,
        )
