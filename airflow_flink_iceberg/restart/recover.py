"""Find staged manifests that no commit will ever include, and append exactly those.

Each append is one snapshot, made only if the branch is still where the manifest was judged. A killed recovery is simply
repeated: what it appended is then found in the table by its paths. Staged files are never removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_flink_iceberg.iceberg.append_files import append_files
from airflow_flink_iceberg.iceberg.history import Snapshot
from airflow_flink_iceberg.iceberg.row_positions import Columns
from airflow_flink_iceberg.iceberg.snapshots import CHECKPOINT_ID, JOB_ID, OPERATOR_ID
from airflow_flink_iceberg.iceberg.staged_files import PathIndex, StagedFile, list_staged, read_staged
from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.errors import InvalidValue, RefConflict, WaitTimeout
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.model.recovery import (
    MAX_LISTED,
    RECOVERED_FROM,
    Recovery,
    StagedClass,
    StagedFinding,
    TableRecovery,
)
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.facts import SinkFacts
from airflow_flink_iceberg.restart.recover_facts import Surroundings, is_of_another_sink, staged_facts
from airflow_flink_iceberg.restart.recover_situation import Situation, gather_situation, state_facts
from airflow_flink_iceberg.restart.staged_rules import blocked, classify
from airflow_flink_iceberg.restart.steps import Step, Steps
from airflow_flink_iceberg.restart.systems import Systems, log, ticks

_LANDING_INTERVAL = 0.5
_MAX_CONFLICTS = 30


@dataclass(frozen=True)
class RecoverOptions:
    """How to recover.

    :param dry_run: only look.
    :param columns: the columns of source partition and offset; ``None``: rows are not compared, so less is decided.
    :param savepoint: the state that will be restored, of a job that is stopped; of a running one its newest checkpoint
        is taken, and this is one more state that may vouch for a manifest.
    :param runs: ids of earlier runs of this job that nothing links to it (after a start without state).
    :param landing_timeout: seconds to wait until a running job has committed what its newest checkpoint holds.
    """

    dry_run: bool = True
    columns: Columns | None = None
    savepoint: Savepoint | str | None = None
    runs: tuple[str, ...] = ()
    reason: str | None = None
    landing_timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.dry_run and not (self.reason or "").strip():
            raise InvalidValue("A recovery that is not a dry run needs a reason, which is recorded with it.")


@dataclass
class _Look:
    """One table as it is being recovered; what was read of files that never change is kept over several looks.

    :param head_before: the branch's head when the first try began.
    :param now: the table at the last look.
    """

    sink: TableSink
    head_before: int | None
    staged: list[StagedFile] = field(default_factory=list)
    index: PathIndex | None = None
    now: SinkFacts | None = None


@dataclass(frozen=True)
class _Judged:
    finding: StagedFinding
    staged: StagedFile
    head_id: int | None
    committed: int


def recover(systems: Systems, steps: Steps, options: RecoverOptions) -> Recovery:
    """Say what every staged manifest is, and unless it is a dry run append those that are stranded.

    Killed anywhere and retried, nothing is appended twice. A dry run writes nothing, not even the record.

    :raises MetadataUnreadable: the manifests' location cannot be listed, or the table's own manifests not be read.
    :raises RefConflict: the table kept moving; what was appended stays, and a retry goes on.
    :raises CatalogUnreachable: no answer, or one that does not say what became of an append; a retry looks again.
    """
    if not options.dry_run:
        if steps.is_new_request:
            steps.forget()
        if outcome := steps.outcome(Step.RECOVER):
            return Recovery.from_dict(outcome)
        steps.write({Step.RECOVER: {"intent": _intent(systems, steps, options)}})
    tables, path = [], None
    heads = _recorded_heads(systems, steps)
    for sink in systems.job.sinks:
        look = _Look(sink, heads[_name(sink)])
        if not options.dry_run:
            _append_all(systems, steps, look, options)
        judged, path = _judge(systems, look, options)
        tables.append(_report(look, judged))
    done = Recovery(options.dry_run, tuple(tables), path, options.reason)
    if not options.dry_run:
        steps.write({Step.RECOVER: {"outcome": done.to_dict()}})
    return done


def _intent(systems: Systems, steps: Steps, options: RecoverOptions) -> dict[str, Any]:
    """Why, and where the branches stood before the first try: what lies above tells a retry what was appended."""
    return {"reason": options.reason, "heads": _recorded_heads(systems, steps)}


def _recorded_heads(systems: Systems, steps: Steps) -> Mapping[str, int | None]:
    """As the first try recorded them; a sink that was declared since then stands where it stands now."""
    recorded: Mapping[str, int | None] = (steps.intent(Step.RECOVER) or {}).get("heads") or {}
    if all(_name(sink) in recorded for sink in systems.job.sinks):
        return recorded
    return {**_heads(systems), **recorded}


def _heads(systems: Systems) -> dict[str, int | None]:
    return {_name(sink): systems.table(sink).refs_metadata().head(sink.branch) for sink in systems.job.sinks}


def _name(sink: TableSink) -> str:
    return f"{sink.iceberg_conn_id}:{sink.table}@{sink.branch}"


def _append_all(systems: Systems, steps: Steps, look: _Look, options: RecoverOptions) -> None:
    """Append one manifest, look at all of them again, and so on until none is left that can be."""
    conflicts, appended = 0, 0
    while conflicts < _MAX_CONFLICTS:
        judged, _ = _judge(systems, look, options)
        chosen = next((each for each in judged if each.finding.can_be_appended), None)
        if chosen is None:
            return
        steps.touch()
        snapshot_id = append_files(
            systems.table(look.sink), look.sink.branch, chosen.head_id, chosen.staged.files, _stamps(chosen)
        )
        if snapshot_id is None:
            conflicts += 1
            continue
        log.info(
            "Appended %s rows of %s as snapshot %s", chosen.finding.rows, chosen.finding.name, snapshot_id
        )
        appended += 1
    raise RefConflict(
        f"{look.sink.table} moved {conflicts} times between judging a manifest and appending it; retry when fewer "
        f"commits are made. Appended so far: {appended}."
    )


def _stamps(chosen: _Judged) -> dict[str, str]:
    """Ours, and the sink's own where that makes every later restore skip the manifest.

    Never an id below one that is there: the sink takes the newest in the chain and would commit the others again. And
    never the end of input, after which a v1 sink commits nothing more.
    """
    found = chosen.finding
    ours = {RECOVERED_FROM: found.name}
    if found.checkpoint_id == END_OF_INPUT or chosen.committed >= found.checkpoint_id:
        return ours
    return {
        **ours,
        JOB_ID: found.job_id,
        OPERATOR_ID: found.operator_id,
        CHECKPOINT_ID: str(found.checkpoint_id),
    }


def _judge(systems: Systems, look: _Look, options: RecoverOptions) -> tuple[list[_Judged], str | None]:
    """Every manifest of one table, by run and checkpoint; and the state that it was judged by."""
    access = systems.table(look.sink)
    read = {each.name.name: each for each in look.staged}
    names = list_staged(access)
    look.staged = [read.get(name.name) or read_staged(access.io(), name) for name in names]
    situation = _landed(systems, look.sink, options)
    sink = look.now = _sink_facts(situation, look.sink)
    if look.index is None or set(read) != {name.name for name in names}:
        look.index = PathIndex(access, (path for each in look.staged for path in each.paths))
    look.index.update()
    around = Surroundings(systems, situation, sink, look.index, options.columns)
    judged = [
        _judged(around, each)
        for each in look.staged
        if not is_of_another_sink(situation.facts, sink, each.name.operator_id)
    ]
    path = situation.state.savepoint.path if situation.state else None
    return list(_in_order(judged)), path


def _judged(around: Surroundings, staged: StagedFile) -> _Judged:
    sink = around.sink
    facts = staged_facts(around, staged)
    found, reason = classify(facts, state_facts(around.situation, sink))
    against = ""
    if found is StagedClass.STRANDED:
        against = blocked(
            facts,
            format_version=staged.format_version,
            table_format=sink.metadata.format_version,
            spec_id=staged.spec_id,
            table_spec=sink.metadata.spec_id,
        ) or ("its files are encrypted" if any(file.key_metadata for file in staged.files) else "")
    name = staged.name
    rows, files = (None, None) if staged.problem else (staged.rows, len(staged.files))
    finding = StagedFinding(
        name.name, name.job_id, name.operator_id, name.checkpoint_id, found, rows, files, reason, against
    )
    return _Judged(finding, staged, sink.head_id, facts.committed)


def _in_order(judged: list[_Judged]) -> Iterator[_Judged]:
    """Checkpoints of a run go in order: one that is stamped makes the sink skip every earlier one for good."""
    unsettled: dict[tuple[str, str], int] = {}
    for each in judged:
        found = each.finding
        earlier = unsettled.get((found.job_id, found.operator_id))
        waits = found.can_be_appended and each.committed < found.checkpoint_id and earlier is not None
        if waits:
            why = f"checkpoint {earlier} of the same run, which comes before it, is not settled"
            each = replace(each, finding=replace(found, blocked=why))  # noqa: PLW2901
        if not each.finding.can_be_appended and (
            not found.found.is_settled or found.found is StagedClass.PENDING
        ):
            unsettled.setdefault((found.job_id, found.operator_id), found.checkpoint_id)
        yield each


def _landed(systems: Systems, sink: TableSink, options: RecoverOptions) -> Situation:
    """The situation once a running job has committed what its newest checkpoint holds, or as it is after a while."""
    situation = gather_situation(systems, options.savepoint, options.runs)
    if not situation.is_running:
        return situation
    try:
        for _ in ticks("landing", _LANDING_INTERVAL, options.landing_timeout):
            if not state_facts(situation, _sink_facts(situation, sink)).pending_rows:
                return situation
            situation = gather_situation(systems, options.savepoint, options.runs)
    except WaitTimeout:
        log.info("What the running job's newest checkpoint holds of %s was not committed in time", sink.table)
    return situation


def _sink_facts(situation: Situation, sink: TableSink) -> SinkFacts:
    return next(facts for facts in situation.facts.sinks if facts.sink == sink)


def _report(look: _Look, judged: list[_Judged]) -> TableRecovery:
    appended = _appended(look)
    findings = [replace(each.finding, snapshot_id=_id_of(appended, each.finding)) for each in judged]
    counts = Counter(finding.found.value for finding in findings)
    order = list(StagedClass)
    listed = sorted(findings, key=lambda each: (each.snapshot_id is None, order.index(each.found)))
    return TableRecovery(
        look.sink.table,
        look.sink.branch,
        tuple(listed[:MAX_LISTED]),
        dict(counts),
        sum(each.rows or 0 for each in findings if each.can_be_appended),
        sum(snapshot.added_records or 0 for snapshot in appended.values()),
        look.head_before,
        look.now.head_id if look.now else None,
    )


def _appended(look: _Look) -> dict[str, Snapshot]:
    """By manifest the snapshot that this recovery has appended it as; the table remembers what a killed try forgot."""
    if look.now is None:
        return {}
    since = look.now.history.between(look.head_before, look.now.head_id).snapshots
    return {each.summary[RECOVERED_FROM]: each for each in since if RECOVERED_FROM in each.summary}


def _id_of(appended: Mapping[str, Snapshot], finding: StagedFinding) -> int | None:
    snapshot = appended.get(finding.name)
    return snapshot.snapshot_id if snapshot else None
