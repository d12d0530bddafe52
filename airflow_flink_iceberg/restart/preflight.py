"""Before anything is touched: the settings under which restarts go wrong, and the best guard decision there is.

The guard looks at the newest completed checkpoint, which stands for the savepoint to come. Only reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_flink_iceberg.flink.deployments.base import JobView
from airflow_flink_iceberg.flink.settings import (
    RULES_VERSION,
    Expectations,
    JobSettings,
    Judged,
    TableSettings,
    all_rules,
    lint,
)
from airflow_flink_iceberg.model.decision import Cause, Decision, Finding, Verdict
from airflow_flink_iceberg.model.errors import InvalidValue, JobNotStoppable, NoFreeSlots, OperationInFlight
from airflow_flink_iceberg.model.job import ExternalDeployment, SqlDeployment
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome, Severity
from airflow_flink_iceberg.restart.before import check_slots, facts_of_running
from airflow_flink_iceberg.restart.facts import Facts, SinkFacts
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.source import source_findings
from airflow_flink_iceberg.restart.stop import check_stoppable
from airflow_flink_iceberg.restart.systems import Systems, now_ms

_LISTED = 10
_FINDINGS = 20
_TEXT = 400
_V1 = "IcebergFilesCommitter"


@dataclass(frozen=True)
class PreflightOptions:
    """What to look at.

    :param expected: what no system tells.
    :param ignored_rules: ids of settings rules that do not count here, or ``damaged_before``, which the caller judges.
    :param accept: verdicts of the guard in spite of which the restart is wanted; they become warnings.
    """

    expected: Expectations = field(default_factory=Expectations)
    ignored_rules: tuple[str, ...] = ()
    accept: tuple[Verdict, ...] = ()

    def __post_init__(self) -> None:
        known = {Cause.DAMAGED_BEFORE.value, *(rule.id for rule in all_rules())}
        if unknown := sorted(set(self.ignored_rules) - known):
            raise InvalidValue(
                f"There is no settings rule {unknown[0]!r} to ignore; known are {', '.join(sorted(known))}."
            )


def preflight(systems: Systems, options: PreflightOptions) -> CheckReport:
    """Look at everything that a restart would have to get right, and touch nothing; one result by rule or finding.

    :raises JobNotFound, JobAmbiguous: there is no such job. :raises TableNotFound: of one of its tables.
    """
    view = systems.deployment.look()
    facts = facts_of_running(systems, view)
    results = (
        *_can_stop(systems, view),
        *_guard(facts, options.accept),
        _source(facts),
        *_settings(systems, view, facts, options),
    )
    tables = ", ".join(sink.sink.table for sink in facts.sinks) or systems.job.name
    only = facts.sinks[0] if len(facts.sinks) == 1 else None
    return CheckReport(
        tables,
        only.head_id if only else None,
        results,
        branch=only.sink.branch if only else "main",
        created_at=now_ms(),
    )


def _can_stop(systems: Systems, view: JobView) -> Iterator[CheckResult]:
    """Whether a savepoint could be taken, and the job started again, right now."""
    name, wanted = f"Job {view.name!r} ({view.job_id})", "RUNNING, all tasks, no savepoint in flight"
    try:
        check_stoppable(view, systems.client.checkpoints(view.job_id))
        yield _result(
            "stoppable", Outcome.PASS, f"{name} can be stopped with a savepoint.", wanted, str(view.state)
        )
    except (JobNotStoppable, OperationInFlight) as error:
        yield _result("stoppable", Outcome.FAIL, str(error), wanted, str(view.state))
    slots = systems.client.overview()
    free, needed = slots.slots_available + view.slots, f"{view.slots} slots"
    try:
        check_slots(systems, view)
        yield _result("slots", Outcome.PASS, "The cluster has slots for the start.", needed, f"{free} slots")
    except NoFreeSlots as error:
        yield _result("slots", Outcome.FAIL, str(error), needed, f"{free} slots")


def _guard(facts: Facts, accept: Sequence[Verdict]) -> Iterator[CheckResult]:
    """One result by finding of the guard, worst first; with none, one that says by what it is SAFE."""
    if facts.state is None:
        # Only what needs no state can be said, and that is part of the decision after the stop.
        text = "No checkpoint has completed yet, so what a restart would do cannot be told; wait for the first one."
        yield _result("guard", Outcome.UNKNOWN, text, "SAFE", "no state", severity=Severity.WARN)
        # What the job is doing already needs no checkpoint of its own.
        for finding in facts.under_way:
            yield _of_finding(finding, accept)
        return
    decision = decide(facts)
    if decision.verdict is Verdict.SAFE:
        yield _safe(facts, decision)
    for finding in decision.findings[:_FINDINGS]:
        yield _of_finding(finding, accept)
    if more := decision.findings[_FINDINGS:]:
        # Worst first: what is left out is no worse than what is shown.
        text = f"{len(more)} more findings, none worse than these."
        yield _result(
            "guard_more", _of_finding(more[0], accept).outcome, text, "SAFE", f"{len(more)} findings"
        )


def _source(facts: Facts) -> CheckResult:
    """Whether Kafka was asked at all; what is wrong with the topics is a finding of the guard."""
    source = facts.source
    name, wanted = "source_available", "topics and offsets there"
    if source is None or source.topics is None:
        why = source.why_not if source else "the brokers were not asked"
        text = f"Whether the topics still hold what the state reads next is not known, and decides nothing: {why}."
        return _result(name, Outcome.UNKNOWN, text, wanted, "unknown", severity=Severity.WARN)
    topics = ", ".join(sorted(source.topics.ids))
    wrong = [*source_findings(facts.state, source)]
    text = (
        wrong[0].message if wrong else f"The brokers have every offset that the state reads next of {topics}."
    )
    outcome = Outcome.WARN if wrong else Outcome.PASS
    return _result(
        name, outcome, text, wanted, f"{len(wrong)} findings of the guard" if wrong else "all there"
    )


def _safe(facts: Facts, decision: Decision) -> CheckResult:
    savepoint = facts.state.savepoint if facts.state else None
    text = (
        f"Nothing speaks against a restart from checkpoint {savepoint.checkpoint_id if savepoint else None}."
    )
    evidence = {"proven_by": decision.proven_by, "job_id": savepoint.job_id if savepoint else None}
    why_not = facts.state.why_not if facts.state else ""
    if why_not:
        text = f"{text} By ids only: {why_not}."
    return _result("guard", Outcome.PASS, text, "SAFE", "SAFE", tier="state", evidence=evidence)


def _of_finding(finding: Finding, accept: Sequence[Verdict]) -> CheckResult:
    outcome = Outcome.UNKNOWN if finding.verdict is Verdict.UNKNOWN else Outcome.FAIL
    if finding.verdict in accept:
        outcome = Outcome.WARN
    return _result(
        f"guard_{finding.cause}",
        Outcome.PASS if finding.verdict is Verdict.SAFE else outcome,
        f"{finding.message} {finding.next_step}".strip(),
        "SAFE",
        finding.verdict.value if finding.rows is None else f"{finding.verdict} {finding.rows} rows",
        table=finding.sink or None,
        tier="state",
        evidence=dict(list(finding.evidence.items())[:_LISTED]),
    )


def _settings(
    systems: Systems, view: JobView, facts: Facts, options: PreflightOptions
) -> Iterator[CheckResult]:
    """One result by rule, over all tables: the worst table names it, and the others are in its evidence."""
    job = _job_settings(systems, view)
    tables = [_table_settings(sink, view.job_id) for sink in facts.sinks]
    judged = lint(job, tables, options.expected, options.ignored_rules)
    for rule in dict.fromkeys(each.rule.id for each in judged):
        yield _of_rule([each for each in judged if each.rule.id == rule])


def _job_settings(systems: Systems, view: JobView) -> JobSettings:
    client, job = systems.client, systems.job
    names = [vertex.name for vertex in client.job(view.job_id).vertices]
    return JobSettings(
        view.checkpointing,
        client.cluster_config(),
        client.execution_settings(view.job_id).restart_strategy,
        has_v1_sink=_has_v1(names),
        is_sql=isinstance(job.deployment, SqlDeployment),
        is_external=isinstance(job.deployment, ExternalDeployment),
        unnamed_sinks=tuple(sink.table for sink in job.sinks if not sink.sink_uid),
    )


def _has_v1(names: Iterable[str]) -> bool | None:
    """By the names of the graph's nodes, which chain the names of the operators in them."""
    names = list(names)
    if any(_V1 in name for name in names):
        return True
    return False if any("Committer" in name or "pre-commit" in name.lower() for name in names) else None


def _table_settings(sink: SinkFacts, job_id: str) -> TableSettings:
    newest = next(
        (
            snapshot
            for snapshot in sink.history.ancestors(sink.head_id)
            if sink.origin(snapshot).job_id == job_id
        ),
        None,
    )
    replaces = None if newest is None else newest.summary.get("replace-partitions") == "true"
    metadata = sink.metadata
    return TableSettings(sink.name, metadata.location, metadata.properties, replaces)


def _of_rule(judged: Sequence[Judged]) -> CheckResult:
    worst = min(judged, key=lambda each: each.found.outcome.rank)
    rule, found = worst.rule, worst.found
    wanted = f"Found {found.found}; wanted {found.wanted}." if found.outcome is not Outcome.PASS else ""
    by_table = {each.table: f"{each.found.outcome}: {each.found.found}" for each in judged if each.table}
    return _result(
        rule.id,
        found.outcome,
        f"{rule.reason} {wanted}".strip(),
        found.wanted,
        found.found,
        check_type="setting",
        severity=worst.severity,
        table=worst.table or None,
        evidence={
            "references": list(rule.references),
            "rules_version": RULES_VERSION,
            **(
                {"tables": dict(list(by_table.items())[:_LISTED]), "count": len(by_table)} if by_table else {}
            ),
        },
    )


def _result(
    name: str,
    outcome: Outcome,
    text: str,
    expected: str,
    actual: str,
    *,
    check_type: str = "preflight",
    **rest: Any,
) -> CheckResult:
    return CheckResult(
        name, check_type, outcome, expected=expected, actual=actual, description=text[:_TEXT], **rest
    )
