"""Was the table damaged before? The history gap since the newest kept baseline, as a preflight asks for it.

Only sums: the state's bytes and the table's metadata are read, no manifest and no data file. A gap is proven damage. No
gap only adds up, because a loss and a doubling of equal size cancel; ``state_matches_table`` proves more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_flink_iceberg.iceberg.baseline_properties import baselines_in_properties
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.fingerprint import why_unknown
from airflow_flink_iceberg.integrity.history_gap import HistoryGap
from airflow_flink_iceberg.integrity.matching import compare
from airflow_flink_iceberg.integrity.proof_state import Broken, ProofState, Unproven
from airflow_flink_iceberg.integrity.results import clean, counted, listed, tidy
from airflow_flink_iceberg.model.baseline import Baseline, Basis
from airflow_flink_iceberg.model.decision import Cause
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from airflow_flink_iceberg.model.job import Offsets
from airflow_flink_iceberg.model.result import CheckResult, Outcome, Severity

NAME = Cause.DAMAGED_BEFORE.value
EXPECTED = "history gap 0"


def has_baseline(properties: Mapping[str, str]) -> bool:
    """Whether a table has any kept baseline, fitting or not: without one no state needs to be read."""
    records = baselines_in_properties(properties).values()
    return any(isinstance(record, Baseline) and record.basis is not Basis.GIVEN for record in records)


def judge_before(context: CheckContext, sink: str) -> CheckResult:
    """Judge one table by ``context.state`` since ``context.baseline``; only reads, a retry reads again.

    A number other than 0 fails at severity error, unless it may be legal holes. Whatever gives no number is ``unknown``
    at severity warn: a job is not to stay as it is for want of a proof.

    :param sink: what the result calls the table.
    """
    try:
        _require_comparable(context)
        state, gap = compare(context)
    except Broken as error:
        return unknown(sink, f"{error.cause}: {error}, so there is no number", _passed_over(context))
    except (Unproven, SavepointUnreadable) as error:
        return unknown(sink, str(error), _passed_over(context))
    return _judge(context, sink, state, gap)


def unknown(sink: str, why: str, evidence: Mapping[str, Any] | None = None) -> CheckResult:
    """What is not known of this table, and why."""
    text = f"Whether rows were lost or doubled before is not known, and decides nothing: {why.rstrip('.')}."
    return _result(sink, Outcome.UNKNOWN, text, "not comparable", evidence or {})


def _require_comparable(context: CheckContext) -> None:
    baseline = context.baseline
    if baseline is None:
        raise Unproven(
            "no baseline that fits is kept in the table; IcebergIntegrityCheckOperator(keep_baseline=True) keeps one"
        )
    if unlike := why_unknown(baseline, context.fingerprint):
        raise Unproven(
            f"whether the job is still the one of the baseline ({context.baseline_tag}) is not known: {unlike}"
        )


def _judge(context: CheckContext, sink: str, state: ProofState, gap: HistoryGap) -> CheckResult:
    baseline, rows = context.baseline, gap.rows
    since = f"since {baseline.claim if baseline else 'the first commit'}, kept as {context.baseline_tag}"
    evidence = {"gap": rows, **_evidence(context, state, gap)}
    dense = context.sink is not None and Offsets(context.sink.offsets) is Offsets.DENSE
    if gap.rival and rows <= 0:
        return unknown(
            sink, f"run {gap.rival}, which does not descend from this state, has committed on top", evidence
        )
    if rows > 0 or (rows < 0 and dense):
        return _damaged(sink, rows, since, evidence)
    if not dense:
        found = "the sums agree" if not rows else f"{counted(-rows, 'record')} fewer than were read {since}"
        why = f"{found}, but offsets are not declared dense, so legal holes count as losses"
        return unknown(sink, why, evidence)
    text = (
        f"{sink} has as many rows as were read {since}. This adds up and is no proof: state_matches_table looks at "
        "the offsets themselves."
    )
    return _result(sink, Outcome.PASS, text, "history gap 0", evidence)


def _damaged(sink: str, rows: int, since: str, evidence: Mapping[str, Any]) -> CheckResult:
    what = "at least " + counted(rows, "row") + " doubled" if rows > 0 else counted(-rows, "row") + " lost"
    text = (
        f"{sink} has {what} {since}, and a restart heals nothing. See which rows with "
        "state_matches_table(settle='rows'), then recover or roll back; or accept exactly this with "
        f"IcebergIntegrityCheckOperator(since='last-proven', accept_rows={rows}, reason=...); or restart in spite of "
        f"it with ignored_rules=['{NAME}']."
    )
    return _result(sink, Outcome.FAIL, text, f"history gap {rows:+,}", evidence)


def _evidence(context: CheckContext, state: ProofState, gap: HistoryGap) -> dict[str, Any]:
    return {
        "own_rows": gap.own_rows,
        "consumed": gap.consumed,
        "pending_rows": gap.pending_rows,
        "pending_at_baseline": gap.pending_at_baseline,
        "snapshot_id": None if gap.snapshot_id is None else str(gap.snapshot_id),
        "checkpoint_id": state.checkpoint_id,
        "job_id": state.job_id,
        "baseline": context.baseline.claim if context.baseline else None,
        "baseline_tag": context.baseline_tag,
        **_passed_over(context),
    }


def _passed_over(context: CheckContext) -> dict[str, Any]:
    return {"baselines_passed_over": listed(context.passed_over)} if context.passed_over else {}


def _result(
    sink: str,
    outcome: Outcome,
    text: str,
    actual: str,
    evidence: Mapping[str, Any],
) -> CheckResult:
    return CheckResult(
        NAME,
        "preflight",
        outcome,
        Severity.WARN if outcome is Outcome.UNKNOWN else Severity.ERROR,
        table=sink,
        expected=EXPECTED,
        actual=actual,
        description=clean(text, limit=1_000),
        tier="state",
        evidence=tidy(evidence),
    )
