"""The guard: what starting this state over these tables would do to the rows, decided before the start.

Pure: :func:`decide` looks at facts only. Each rule is a function that yields findings; all findings are returned. A
finding without a number (a replaced table, a reused id) suppresses the number of the same sink, because the number
would then mean something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from airflow_flink_iceberg.model.decision import Cause, Decision, Finding, Verdict
from airflow_flink_iceberg.restart.dropped_sources import dropped_source_findings
from airflow_flink_iceberg.restart.facts import Facts, Rival
from airflow_flink_iceberg.restart.pending import LookAtPending
from airflow_flink_iceberg.restart.sink_rules import sink_findings
from airflow_flink_iceberg.restart.source import source_findings
from airflow_flink_iceberg.restart.state_rules import holds_rows_of_others


def decide(facts: Facts, look: LookAtPending | None = None) -> Decision:
    """Say what the start would do: the worst finding names the decision, no finding is SAFE.

    :param look: looks at the files that a restore would commit; ``None``: they are not looked for.
    """
    findings = [*_cluster(facts), *_job_id(facts), *_declared(facts), *_kind(facts)]
    findings.extend(source_findings(facts.state, facts.source))
    findings.extend(dropped_source_findings(facts))
    if facts.before_stop:
        findings.extend(facts.under_way)
    gaps: dict[str, int] = {}
    for sink in facts.sinks:
        found = [*sink_findings(facts, sink, look, gaps)]
        findings.extend(replace(finding, sink=sink.name) for finding in found)
    readable = facts.state is not None and facts.state.readable
    proven_by = "bytes" if readable else "ids"
    return Decision(tuple(findings), proven_by, restore_gaps=gaps, not_checked=tuple(_not_checked(facts)))


def _not_checked(facts: Facts) -> Iterator[str]:
    source = facts.source
    if facts.state is not None and source is not None and source.topics is None:
        yield f"source_available: unknown ({source.why_not})"
    for sink in facts.sinks:
        if sink.newer and sink.newer.why_not:
            yield f"newer versions beside {sink.name}: unknown ({sink.newer.why_not})"


def _cluster(facts: Facts) -> Iterator[Finding]:
    cluster = facts.cluster
    if not cluster.reachable:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.CLUSTER_UNREACHABLE,
            f"The cluster does not answer ({cluster.why_not}), so a second writer cannot be excluded.",
            next_step="Retry when the JobManager answers.",
        )
        return
    if facts.before_stop:
        yield from _rivals(facts)
        return
    if facts.state and cluster.old_state and not cluster.old_state.is_terminal:
        yield Finding(
            Verdict.WOULD_DUPLICATE,
            Cause.JOB_ALIVE,
            f"Job {facts.state.savepoint.job_id}, whose state this is, is still {cluster.old_state}.",
            evidence={"job_id": facts.state.savepoint.job_id},
            next_step="Stop it with a savepoint and start from that one.",
        )
    yield from _rivals(facts)


def _rivals(facts: Facts) -> Iterator[Finding]:
    yield from (_rival(rival, "") for rival in facts.cluster.rivals)
    for other in facts.others:
        yield from (_rival(rival, f" on cluster {other.name!r}") for rival in other.rivals)
        if other.why_not:
            yield Finding(
                Verdict.UNKNOWN,
                Cause.CLUSTER_UNREACHABLE,
                f"The other cluster {other.name!r} does not tell its jobs ({other.why_not}), so a second writer there "
                "cannot be excluded.",
                evidence={"cluster": other.name},
                next_step="Retry when its JobManager answers, or take it out of FlinkJob(other_clusters=[...]).",
            )


def _rival(rival: Rival, where: str) -> Finding:
    return Finding(
        Verdict.WOULD_DUPLICATE,
        Cause.SECOND_WRITER,
        f"Job {rival.job_id} is {rival.state}{where} and {rival.why} ({rival.name!r}): two jobs would write the same "
        "rows.",
        evidence={"job_id": rival.job_id, "state": rival.state.value},
        next_step=rival.next_step,
    )


def _job_id(facts: Facts) -> Iterator[Finding]:
    if facts.new_job_id is None:
        return
    for sink in facts.sinks:
        if sink.metadata.mentions(facts.new_job_id):
            yield Finding(
                Verdict.WOULD_LOSE,
                Cause.JOB_ID_REUSED,
                f"Job id {facts.new_job_id} has committed to {sink.name} before, so the sink would take "
                "new checkpoints for old ones (apache/iceberg#18098).",
                sink=sink.name,
                evidence={"job_id": facts.new_job_id},
                next_step="Start under an id that has never lived.",
            )


def _declared(facts: Facts) -> Iterator[Finding]:
    if not facts.sinks:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SINK_UNDECLARED,
            "The job declares no sinks, so nothing can be said about its tables.",
            next_step="Name the tables it writes in FlinkJob(sinks=[...]).",
        )
    elif (
        facts.state
        and facts.state.sink_count > len(facts.sinks)
        # With the flag the others may be meant to be dropped, but not with rows of theirs.
        and (not facts.allow_non_restored_state or holds_rows_of_others(facts))
    ):
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SINK_UNDECLARED,
            f"The state holds {facts.state.sink_count} Iceberg sinks and the job declares {len(facts.sinks)}, so "
            "what a restore does to the other tables cannot be told.",
            next_step="Name every table that the job writes in FlinkJob(sinks=[...]).",
        )
    several = [sink for sink in facts.sinks if len(facts.sinks) > 1 and not sink.operator_ids]
    for sink in several:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.SINK_UNIDENTIFIED,
            f"Which commits of {sink.name} are this sink's cannot be told: no sink_uid is declared and no "
            "commit of this job was seen.",
            sink=sink.name,
            next_step="Set sink_uid on the TableSink.",
        )


def _kind(facts: Facts) -> Iterator[Finding]:
    if facts.state and facts.state.in_flight_data and not facts.before_stop:
        yield Finding(
            Verdict.UNKNOWN,
            Cause.IN_FLIGHT_DATA,
            "The state is an unaligned checkpoint with records in flight, whose rows cannot be counted.",
            next_step="Restore a savepoint, which is always aligned.",
        )
