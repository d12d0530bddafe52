"""Compares the rows in the table with the records that the job has read, and looks whether each is there once.

Tier ``state`` compares sums (:mod:`history_gap`); they only add up, because a loss and a doubling of equal size cancel.
Per-file bounds settle that where each file holds one partition, else the rows do (:mod:`settlement`).
"""

from __future__ import annotations

from airflow_flink_iceberg.checks import StateMatchesTable
from airflow_flink_iceberg.integrity.consumed import topics_compared
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.fingerprint import why_unknown
from airflow_flink_iceberg.integrity.history_gap import HistoryGap
from airflow_flink_iceberg.integrity.matching import is_dense, match
from airflow_flink_iceberg.integrity.proof_state import Broken, ProofState, Unproven
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.settlement import Settlement
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from airflow_flink_iceberg.model.result import Outcome

EXPECTED = "rows in the table and staged = records read"


def run(check: StateMatchesTable, context: CheckContext) -> Answer:
    """Compare one state with the table at the snapshot that belongs to it; only reads, a retry reads again."""
    columns = f"{check.partition_column}, {check.offset_column}"
    try:
        found = match(check, context)
    except (Unproven, SavepointUnreadable) as error:
        text = f"Nothing was proven: {error}."
        rows = error.rows if isinstance(error, Unproven) else None
        evidence = {"verdict": "unknown"} if rows is None else {"verdict": "unknown", "rows": rows}
        return Answer(Outcome.UNKNOWN, text, EXPECTED, "not comparable", "state", columns, evidence)
    except Broken as error:
        return Answer(
            Outcome.FAIL,
            f"{error.cause}: {error}. No number can be given.",
            EXPECTED,
            error.cause,
            "state",
            columns,
            {"verdict": error.cause},
        )
    state, gap, settled = found.state, found.gap, found.settled
    unlike = why_unknown(context.baseline, context.fingerprint)
    judged = _judge_unlike if unlike else _judge
    outcome, verdict, text = judged(gap, settled, declared_dense=is_dense(check, context))
    if _is_nothing_new(gap):
        text = f"Nothing was read and nothing committed since then, so nothing else was proven. {text}"
    if verdict in ("proven", "consistent") and _may_be_another_topic(context):
        text = f"{text} The brokers were not asked, so a topic that was created again would not be seen."
    if unlike and verdict == "unknown":
        text = f"{text} Whether the job is still the one of the baseline is not known: {unlike}."
    return Answer(
        outcome,
        f"{_arithmetic(context, state, gap)} {text}",
        EXPECTED,
        _actual(gap, settled),
        settled.tier,
        columns,
        {"verdict": verdict, **_evidence(context, state, gap), **settled.evidence},
    )


def _judge(gap: HistoryGap, found: Settlement, *, declared_dense: bool) -> tuple[Outcome, str, str]:
    if gap.rows > 0 or found.doubled:
        least = max(gap.rows, found.doubled)
        return Outcome.FAIL, "doubled", f"At least {counted(least, 'row')} doubled. {found.text}".strip()
    if found.damaged:
        return _damaged(found)
    if gap.rival:
        text = (
            f"Run {gap.rival}, which does not descend from this state, has committed on top of it: check its own "
            "state, this one is not the newest."
        )
        return Outcome.UNKNOWN, "unknown", text
    if gap.rows < 0:
        return _fewer(-gap.rows, found, declared_dense=declared_dense)
    return _equal(found, declared_dense=declared_dense)


def _judge_unlike(gap: HistoryGap, found: Settlement, *, declared_dense: bool) -> tuple[Outcome, str, str]:
    """The job may be another than at the baseline: sums say nothing then, and offsets say what they say anyhow."""
    if found.is_clean and not gap.rows:
        return _judge(gap, found, declared_dense=declared_dense)
    if found.doubled:
        return Outcome.FAIL, "doubled", f"At least {counted(found.doubled, 'row')} doubled. {found.text}"
    if found.damaged:
        return _damaged(found)
    return Outcome.UNKNOWN, "unknown", f"The sums prove nothing. {found.text}".strip()


def _damaged(found: Settlement) -> tuple[Outcome, str, str]:
    return Outcome.FAIL, "damaged", f"{found.damaged}. {found.text}".strip()


def _equal(found: Settlement, *, declared_dense: bool) -> tuple[Outcome, str, str]:
    """The sums agree; what the offsets themselves say decides whether that is a proof."""
    if found.doubt:
        return Outcome.UNKNOWN, "unknown", f"The sums agree, and {found.doubt}."
    if found.contradicts:
        return Outcome.UNKNOWN, "unknown", f"The sums agree and the offsets do not. {found.text}"
    if found.is_clean:
        return Outcome.PASS, "proven", f"Proven: {found.text}"
    if not declared_dense:
        text = "The sums agree, but offsets are not declared dense, so legal holes could hide doubled rows."
        return Outcome.UNKNOWN, "unknown", f"{text} {found.text}".strip()
    if found.missing:
        return (
            Outcome.FAIL,
            "missing",
            f"{found.text} The offsets are declared dense, so these rows are lost.",
        )
    text = "Consistent, not proven: the sums agree, and a loss and a doubling of equal size would cancel."
    return Outcome.WARN, "consistent", f"{text} {found.text}".strip()


def _fewer(missing: int, found: Settlement, *, declared_dense: bool) -> tuple[Outcome, str, str]:
    text = f"{counted(missing, 'record')} fewer than were read."
    if declared_dense:
        return (
            Outcome.FAIL,
            "missing",
            f"{text} The offsets are declared dense, so these rows are lost. {found.text}".strip(),
        )
    legal = "They may be legal holes (transactions, compaction, skipped errors)"
    return (
        Outcome.UNKNOWN,
        "unknown",
        f"{text} {legal}: declare offsets='dense' if they are not. {found.text}".strip(),
    )


def _arithmetic(context: CheckContext, state: ProofState, gap: HistoryGap) -> str:
    since = f"since {context.baseline.claim}" if context.baseline else "since the first commit"
    parts = [
        f"Checkpoint {state.checkpoint_id} of job {state.job_id[:8]} has read {gap.consumed:,} records {since}",
        f"{gap.own_rows:,} rows are in its {counted(len(gap.own), 'commit')} up to snapshot {gap.snapshot_id}",
    ]
    if gap.pending_at_baseline:
        parts.append(f"{gap.pending_at_baseline:,} of them were staged at the baseline")
    if gap.pending:
        parts.append(f"{gap.pending_rows:,} rows are staged and not committed yet")
    if gap.stranded_rows:
        parts.append(f"{gap.stranded_rows:,} rows were staged by a drain and never committed")
    if gap.later:
        parts.append(f"{counted(gap.later, 'later snapshot')} not judged")
    return "; ".join(parts) + f": history gap {gap.rows:+,}."


def _may_be_another_topic(context: CheckContext) -> bool:
    """Offsets of a topic that was deleted and created again go on where the old ones ended, and look whole."""
    return context.baseline is not None and not topics_compared(context.baseline, context.topics)


def _is_nothing_new(gap: HistoryGap) -> bool:
    return not (gap.own or gap.consumed or gap.pending)


def _actual(gap: HistoryGap, found: Settlement) -> str:
    if gap.rows == 0 and found.is_clean:
        return f"{gap.consumed:,} records, each once"
    return f"history gap {gap.rows:+,}"


def _evidence(context: CheckContext, state: ProofState, gap: HistoryGap) -> dict[str, object]:
    return {
        "gap": gap.rows,
        "now": gap.now,
        "own_rows": gap.own_rows,
        "own_commits": len(gap.own),
        "foreign_commits": len(gap.foreign),
        "consumed": gap.consumed,
        "pending_rows": gap.pending_rows,
        "pending_checkpoints": listed([str(entry.checkpoint_id) for entry in gap.pending]),
        "stranded_rows": gap.stranded_rows,
        "pending_at_baseline": gap.pending_at_baseline,
        "snapshot_id": None if gap.snapshot_id is None else str(gap.snapshot_id),
        "later_snapshots": gap.later,
        "checkpoint_id": state.checkpoint_id,
        "job_id": state.job_id,
        "nothing_new": _is_nothing_new(gap),
        "topics_compared": topics_compared(context.baseline, context.topics),
        "baseline": context.baseline.claim if context.baseline else None,
        "baseline_tag": context.baseline_tag,
        "baselines_passed_over": listed(context.passed_over),
    }
