"""Looks for staged manifests beside the table that no commit will ever include.

Tier ``metadata``: names, ids and history; the files are not opened, except those that are stranded, for their rows. A
file is called stranded only where the records say so: its job has ended, the state that its successor was started from
held the checkpoint, and the successor has committed without it. Ids alone do not tell the rest.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum

from airflow_flink_iceberg.checks import StrandedManifests
from airflow_flink_iceberg.iceberg.staged_files import StagedName, list_staged, read_staged
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.judging import expected, judge_count
from airflow_flink_iceberg.integrity.results import LISTED, Answer, counted, first_line, listed
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import MetadataUnreadable
from airflow_flink_iceberg.model.result import Outcome, worst


class _Kind(StrEnum):
    """What a staged manifest is, as far as can be told."""

    STRANDED = "stranded"
    UNKNOWN = "unknown"
    GARBAGE = "garbage"
    IN_FLIGHT = "in flight"


def run(check: StrandedManifests, context: CheckContext) -> Answer:
    """List, classify, and count the rows of what is stranded."""
    try:
        staged = list_staged(context.access)
    except MetadataUnreadable as error:
        return Answer(Outcome.UNKNOWN, first_line(error), expected(check), "not listable")
    found: dict[_Kind, list[StagedName]] = defaultdict(list)
    if staged:
        classifier = _Classifier(context)
        for name in staged:
            found[classifier.kind_of(name)].append(name)
    rows = _rows(context, found[_Kind.STRANDED])
    outcome = _outcome(check, found)
    counts = {kind.value: len(found[kind]) for kind in _Kind}
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "none"
    text = f"{counted(len(staged), 'staged manifest')} beside the table: {shown}."
    if found[_Kind.STRANDED]:
        lost = "rows that cannot be read" if rows is None else counted(rows, "row")
        text += f" {lost} in the stranded ones are in no table: recover them, or accept the loss."
    evidence: dict[str, object] = {**counts, "stranded_rows": rows}
    evidence |= {
        f"{kind.value} files": listed([name.name for name in found[kind]]) for kind in list(_Kind)[:3]
    }
    return Answer(outcome, text, expected(check), shown, evidence=evidence)


def _outcome(check: StrandedManifests, found: dict[_Kind, list[StagedName]]) -> Outcome:
    outcome = judge_count(check, len(found[_Kind.STRANDED]))
    return worst([outcome, Outcome.UNKNOWN]) if found[_Kind.UNKNOWN] else outcome


class _Classifier:
    """Tells the files apart by the branch's commits and the records of runs; of each run only its newest is kept."""

    def __init__(self, context: CheckContext) -> None:
        self._runs = context.runs
        self._newest_of: dict[tuple[str, str | None], tuple[int, int]] = {}
        chain = context.history.chain(context.head_snapshot_id)
        for at, snapshot in enumerate(chain):
            if commit := context.history.commit(snapshot):
                self._newest_of.setdefault((commit.job_id, commit.operator_id), (at, commit.checkpoint_id))
        self._is_cut = bool(chain.why_cut)
        self._has_committed = {job_id for job_id, _ in self._newest_of}

    def kind_of(self, name: StagedName) -> _Kind:
        """What one file is."""
        children = self._runs.children(name.job_id)
        committed = self._newest(name)
        if name.checkpoint_id != END_OF_INPUT and name.checkpoint_id <= committed:
            # Either what a killed attempt left, whose rows came again, or rows that a reused job id swallowed.
            return _Kind.UNKNOWN
        if not children:
            return self._without_successor(name)
        if name.checkpoint_id == END_OF_INPUT:
            return self._drained(name, committed)
        bound = max(link.checkpoint_id for link in children)
        if name.checkpoint_id > bound:
            # No successor's state goes so far, so its rows were read again.
            return _Kind.GARBAGE
        successors = {link.job_id for link in children if link.checkpoint_id >= name.checkpoint_id}
        if not successors & self._has_committed:
            return _Kind.IN_FLIGHT
        return _Kind.UNKNOWN if self._is_cut else _Kind.STRANDED

    def _without_successor(self, name: StagedName) -> _Kind:
        known = name.job_id in self._runs or name.job_id in self._has_committed
        newest = next((job_id for job_id, _ in self._newest_of), None)
        # The newest run may still commit it; an older one without a recorded successor is anybody's guess.
        return _Kind.IN_FLIGHT if known and newest in (None, name.job_id) else _Kind.UNKNOWN

    def _drained(self, name: StagedName, committed: int) -> _Kind:
        if committed == END_OF_INPUT or self._is_cut:
            return _Kind.UNKNOWN
        successors = {link.job_id for link in self._runs.children(name.job_id)}
        return _Kind.STRANDED if successors & self._has_committed else _Kind.IN_FLIGHT

    def _newest(self, name: StagedName) -> int:
        keys = [(name.job_id, name.operator_id), (name.job_id, None)]
        found = [self._newest_of[key] for key in keys if key in self._newest_of]
        return min(found)[1] if found else -1


def _rows(context: CheckContext, names: list[StagedName]) -> int | None:
    """Rows in the files; ``None``: one of them cannot be read, or there are too many to open here."""
    if len(names) > LISTED * 5:
        return None
    files = [read_staged(context.access.io(), name) for name in names]
    return None if any(file.problem for file in files) else sum(file.rows for file in files)
