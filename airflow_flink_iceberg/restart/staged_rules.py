"""What a staged manifest is, decided from facts alone; the order of the rules is the order of certainty.

A name says less than it seems: staged rows of a reused job id are replayed and new ones mixed, a killed attempt leaves
files under the same id whose rows were committed under other paths, and checkpoint ids are never compared across runs.
So a manifest is stranded only if the source stands behind all of its rows, no state will commit it, and not one of its
rows is in the table: by rows where the columns of partition and offset are given, else by the very state that held it.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.model.commit import END_OF_INPUT
from airflow_flink_iceberg.model.recovery import StagedClass

Answer = tuple[StagedClass, str]
_DELETES = (
    "it holds deletes, whose place among the commits cannot be told; restore the savepoint that holds it"
)
_PENDING = "{} rows of checkpoint {} are not in the table yet; let them be committed first"
_REUSED = "the sink has committed that checkpoint id or a later one of this run without it"


@dataclass(frozen=True)
class RowCounts:
    """Where the rows of a manifest are.

    :param inside: in the table already, by partition and offset.
    :param ahead: the source of the state will read them again.
    :param outside: neither.
    """

    inside: int
    ahead: int
    outside: int

    @property
    def total(self) -> int:
        """All rows."""
        return self.inside + self.ahead + self.outside


@dataclass(frozen=True)
class StateFacts:
    """The state that will be restored next or, of a running job, that its newest completed checkpoint is.

    :param why_not: why there is none, or it could not be read; the other fields then say nothing.
    :param pending_rows: rows in it that are not in the table yet.
    """

    why_not: str = ""
    job_id: str = ""
    checkpoint_id: int = 0
    is_running: bool = False
    pending_rows: int = 0


@dataclass(frozen=True)
class StagedFacts:
    """All that is known of one staged manifest.

    :param files: how many data files it lists, of which ``known_files`` are or were in the table.
    :param is_run: its job is a run of this job: of the state's lineage, or declared.
    :param job_alive: its job runs now.
    :param committed: the newest checkpoint id of its (job, operator) in the branch, -1 if none.
    :param in_state: the state holds it as an entry.
    :param was_pending: the state that a successor was restored from held it, up to that state's own id.
    :param link_id: the checkpoint of its job that a successor was restored from; ``None``: no successor is known.
    :param rows: ``None``: the columns are not given, or the rows cannot be told apart, and ``why_no_rows`` says why.
    :param unsure: why the table's history since it was written cannot be trusted to show its rows.
    """

    checkpoint_id: int
    problem: str = ""
    content: str = "data"
    files: int = 1
    known_files: int = 0
    is_in_location: bool = True
    is_run: bool = True
    job_id: str = ""
    job_alive: bool | None = False
    committed: int = -1
    in_state: bool = False
    was_pending: bool = False
    link_id: int | None = None
    rows: RowCounts | None = None
    why_no_rows: str = ""
    unsure: str = ""


def classify(staged: StagedFacts, state: StateFacts) -> Answer:
    """The class of a manifest and why, one sentence."""
    early = without_rows(staged, state)
    return early or (_by_rows(staged.rows) if staged.rows else _by_lineage(staged, state))


def without_rows(staged: StagedFacts, state: StateFacts) -> Answer | None:
    """The class where nobody has to look at rows; ``None``: they decide."""
    return _by_the_file(staged) or _by_the_state(staged, state)


def _by_the_file(staged: StagedFacts) -> Answer | None:
    all_known = staged.files > 0 and staged.known_files == staged.files
    return _first(
        (bool(staged.problem), StagedClass.UNREADABLE, f"it cannot be read: {staged.problem}"),
        (
            not staged.is_in_location,
            StagedClass.UNKNOWN,
            "its data files lie outside the table, so it is another table's",
        ),
        (all_known, StagedClass.COMMITTED, "all of its files are or were in the table"),
        (
            staged.known_files > 0,
            StagedClass.MIXED,
            f"{staged.known_files} of its {staged.files} files are or were in the table",
        ),
        (staged.files == 0, StagedClass.UNKNOWN, "it lists no files"),
        (staged.content != "data", StagedClass.UNKNOWN, _DELETES),
        (bool(staged.unsure), StagedClass.UNKNOWN, staged.unsure),
    )


def _by_the_state(staged: StagedFacts, state: StateFacts) -> Answer | None:
    is_early = staged.checkpoint_id < state.checkpoint_id - 1
    is_to_come = staged.in_state and staged.committed < staged.checkpoint_id <= state.checkpoint_id
    return _first(
        (
            not staged.is_run,
            StagedClass.UNKNOWN,
            f"job {staged.job_id} is no known run of this job; if it is an earlier one, name it in runs",
        ),
        (
            staged.job_alive is None,
            StagedClass.UNKNOWN,
            "whether its job runs is not known, because the cluster does not answer",
        ),
        (
            bool(state.why_not),
            StagedClass.UNKNOWN,
            f"the state that the table goes with is not known: {state.why_not}",
        ),
        (
            bool(staged.job_alive) and not is_early,
            StagedClass.IN_FLIGHT,
            "its job runs and may still commit it",
        ),
        (
            is_to_come,
            StagedClass.PENDING,
            f"checkpoint {state.checkpoint_id} holds it, so restoring that commits it",
        ),
        (
            state.pending_rows > 0,
            StagedClass.UNKNOWN,
            _PENDING.format(state.pending_rows, state.checkpoint_id),
        ),
    )


def _first(*rules: tuple[bool, StagedClass, str]) -> Answer | None:
    return next(((found, why) for applies, found, why in rules if applies), None)


def _by_rows(rows: RowCounts) -> Answer:
    if rows.outside == rows.total:
        return (
            StagedClass.STRANDED,
            "none of its rows is in the table, and the source stands behind all of them",
        )
    if rows.inside == rows.total:
        return (
            StagedClass.KILLED_ATTEMPT,
            "all of its rows are in the table, written again by a later attempt or run",
        )
    if rows.outside == 0:
        return (
            StagedClass.REPLAYED,
            f"the source reads {rows.ahead} of its rows again, and the others are in the table",
        )
    why = (
        f"{rows.outside} of its {rows.total} rows are nowhere, {rows.inside} are in the table and {rows.ahead} will be "
        "read again, in the same files"
    )
    return StagedClass.MIXED, why


def _by_lineage(staged: StagedFacts, state: StateFacts) -> Answer:
    """Without rows only ids that a state or a link vouches for count; everything else is unknown."""
    restored_at = state.checkpoint_id if staged.job_id == state.job_id else staged.link_id
    if restored_at is not None and restored_at < staged.checkpoint_id != END_OF_INPUT:
        return (
            StagedClass.REPLAYED,
            f"the job went on from checkpoint {restored_at}, which is older, so the source reads its rows again",
        )
    if staged.was_pending and staged.committed < staged.checkpoint_id != END_OF_INPUT:
        return (
            StagedClass.STRANDED,
            f"the state of checkpoint {staged.link_id} held it, and the run restored from that did not commit it",
        )
    why = f"; {_REUSED}" if staged.committed >= staged.checkpoint_id else ""
    how = staged.why_no_rows or "name the columns of source partition and offset to have its rows compared"
    return StagedClass.UNKNOWN, f"by ids alone it may be lost, or written again under other files{why}; {how}"


def blocked(
    staged: StagedFacts, *, format_version: int, table_format: int, spec_id: int, table_spec: int
) -> str:
    """Why a stranded manifest must not be appended; empty: nothing is against it."""
    if format_version > 2 or table_format > 2:
        return "tables of format version 3 have row lineage and deletion vectors, which this package does not write"
    if spec_id != table_spec:
        return (
            f"its files have partition spec {spec_id} and the table has {table_spec} now, under which they would be "
            "filed wrongly"
        )
    if staged.in_state:
        return (
            "the state still holds it under a checkpoint id that no commit reaches, and the end of the input might "
            "commit it again; roll state and table back together instead"
        )
    return ""
