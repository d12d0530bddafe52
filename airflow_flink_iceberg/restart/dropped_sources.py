"""With ``allow_non_restored_state`` Flink drops, without a word, the offsets of a source that the new job has not."""

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
    if state is None or not state.source_ids or not facts.allow_non_restored_state:
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
