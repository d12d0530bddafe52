"""What to do about a result that is not a pass: one sentence by check, for the person who is woken by it."""

from __future__ import annotations

from airflow_flink_iceberg.model.result import CheckResult, Outcome

_DOUBLED = (
    "Keep readers off the newest snapshots, and put state and tables back together to the last restore point "
    "(RollbackToRestorePointOperator, a dry run first)."
)
_MISSING = (
    "Keep the topic's records and expire no snapshots or files; then look for the rows with "
    "RecoverStagedManifestsOperator (a dry run first)."
)
_WRONG = {
    "restored_state": (
        "Do not restart again yet: count the rows (kafka_offsets), then put state and tables back "
        "together to the restore point (RollbackToRestorePointOperator, a dry run first)."
    ),
    "lineage": (
        "Find out which state the named run was started from, and count the rows with kafka_offsets: two "
        "runs from one state double rows."
    ),
    "commit_continuity": (
        "Count the rows with kafka_offsets or state_matches_table; if they are damaged, put state and "
        "tables back together (RollbackToRestorePointOperator, a dry run first)."
    ),
    "commit_lag": (
        "Rows wait in the state and are not lost: stop the job with a savepoint, never by a cancel, and "
        "start it from that one (FlinkRestartJobOperator)."
    ),
    "duplicate_files": (
        "Keep readers off the newest snapshots; drop the doubled files once, or put state and tables back"
        " to the snapshot before the second commit."
    ),
    "stranded_manifests": (
        "Let RecoverStagedManifestsOperator append what is stranded (its dry run shows it first), and run"
        " this check again; clean no orphan files until then."
    ),
    "row_arithmetic": "Find out who wrote the named snapshot; until then trust counted rows, and no summary.",
    "files_exist": (
        "Stop orphan cleaning and snapshot expiry now; then bring the files back from the storage's "
        "versions, or go back to a snapshot that does not need them."
    ),
    "single_writer": "Stop the writer that should not be there, or name it in other_writers if it should.",
    "schema_unchanged": (
        "If the change was meant, judge from a tag after it (since=); if not, find out who altered the "
        "table before the job writes on."
    ),
    "freshness": (
        "See whether the job is RUNNING and its topic has records; with rows waiting for a commit, "
        "commit_lag says for how long."
    ),
    "event_time": (
        "Look at the rows of the named snapshot: records that were read a second time look like this; "
        "kafka_offsets counts them."
    ),
    "key_unique": _DOUBLED,
}
_UNANSWERED = {
    "restored_state": "Run it again while the cluster answers and knows the job.",
    "lineage": (
        "Restart with this provider from now on, which records every run; for the past, count the rows "
        "with kafka_offsets."
    ),
    "commit_continuity": (
        "Judge from a tag that the history still holds (since=), keep more snapshots, or count the rows "
        "with kafka_offsets."
    ),
    "stranded_manifests": "Give the worker leave to list the table's metadata directory, and run it again.",
    "files_exist": "Give the worker read access to the table's storage, and run it again.",
    "kafka_offsets": (
        "Say what is legal (offsets='dense', first_offset, end_offsets), or look at the named ranges in "
        "the topic."
    ),
    "state_matches_table": (
        "Say what the job does (rows='one_to_one', offsets='dense' on its TableSink), and let the worker "
        "read the savepoints' storage."
    ),
    "single_writer": "Name jobs that may write here in other_writers, or find out whose they are.",
}
_WRONG_ELSE = "Look at what its text and evidence name before the table is changed any further."
_UNANSWERED_ELSE = (
    "Remove what kept it from answering, which its text names, and run it again: unknown is not a pass."
)


def next_step(result: CheckResult) -> str:
    """What to do about a result; empty for a pass, and where the result's own text says it.

    A warning is answered like the failure that it could become.
    """
    if result.outcome is Outcome.PASS:
        return ""
    if result.check_type in ("preflight", "setting"):
        # The guard's findings and the settings rules bring their next step along.
        return result.description or ""
    if result.outcome is Outcome.UNKNOWN:
        return _UNANSWERED.get(result.check_type, _UNANSWERED_ELSE)
    return _WRONG.get(result.check_type) or _of_damage(result) or _WRONG_ELSE


def _of_damage(result: CheckResult) -> str:
    """By what the check counted: rows too many, rows too few, or both."""
    evidence = result.evidence
    found = [
        step
        for word, step in (("doubled", _DOUBLED), ("missing", _MISSING))
        if evidence.get(word) or evidence.get("verdict") == word
    ]
    return " ".join(found)
