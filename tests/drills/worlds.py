"""The worlds that a guard must know, on the real stack: what it says before the start, and what the rows are after it.

Every world is really made, the guard is asked, the start is made (in spite of the answer, where it is a refusal), and
the rows are counted by PyIceberg's plain scan against the broker's offsets: nothing of the package under test.
``python -m tests.drills.worlds [--flink VERSION] [--only WORLD]... [--sink v1|v2] [--directory DIR]`` prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from airflow_flink_iceberg.model import RestorePoint, Savepoint
from airflow_flink_iceberg.model.decision import Cause, Decision, Verdict
from airflow_flink_iceberg.model.errors import JobFailed, RestartRefused, WaitTimeout
from airflow_flink_iceberg.restart.guard import decide
from airflow_flink_iceberg.restart.start_job import find_savepoint, plan, start_job
from airflow_flink_iceberg.restart.steps import Step
from playground.stack import Stack
from playground.versions import select
from tests.drills import disturbances as do
from tests.drills import given as made
from tests.drills.given import OPTIONS, Given
from tests.e2e.rig import Rig, running_job, wait_until

RESULTS = Path("build/worlds.json")
_END_OF_INPUT = 2**63 - 1
_CALM = 4
"""Checkpoints without a new row after which a table counts as final."""


class After(StrEnum):
    """What became of the rows, and how the guard's number compares with it."""

    EXACT = "exact"
    AS_SAID = "as said"
    """Lost or doubled exactly as many as the guard said."""
    NO_NUMBER = "damaged, no number said"
    NEVER_RUNS = "never runs"
    UNREADABLE = "table unreadable"


@dataclass(frozen=True)
class Expected:
    """The guard's answer and what is counted when the start is made all the same."""

    verdict: Verdict
    cause: Cause | None
    after: After


@dataclass(frozen=True)
class World:
    """One world.

    :param expected: by sink; a sink that is not named is not played.
    :param on: the Flink version; ``None``: the default one.
    :param interval: of the first run's checkpoints, where the world needs the stop's own to hold rows.
    """

    name: str
    make: Callable[[Rig], Given]
    expected: dict[str, Expected]
    on: str | None = None
    interval: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param lost: with ``doubled`` as counted; ``None`` where the start never ran or the table cannot be read.
    """

    world: str
    sink: str
    flink: str
    verdict: str
    cause: str | None
    said: int | None
    after: str
    lost: int | None
    doubled: int | None
    as_expected: bool
    seconds: float


def _both(verdict: Verdict, cause: Cause | None, after: After) -> dict[str, Expected]:
    return dict.fromkeys(("v2", "v1"), Expected(verdict, cause, after))


_SAFE = _both(Verdict.SAFE, None, After.EXACT)
_HOUR = "1 h"
_FAILS = Expected(Verdict.WOULD_FAIL, Cause.PENDING_MANIFEST_MISSING, After.NEVER_RUNS)
_DOUBLES = _both(Verdict.WOULD_DUPLICATE, Cause.OLDER_STATE, After.AS_SAID)
_REUSED = _both(Verdict.WOULD_LOSE, Cause.JOB_ID_REUSED, After.NO_NUMBER)
_DROPPED = _both(Verdict.WOULD_LOSE, Cause.PENDING_DROPPED, After.AS_SAID)
_UNMATCHED = Expected(Verdict.WOULD_FAIL, Cause.STATE_UNMATCHED, After.NEVER_RUNS)

WORLDS = (
    World("stopped and started", made.clean_stop, _SAFE),
    World("older state, new id", made.older_state, _DOUBLES),
    World("older state, id used again", made.older_state_reused_id, _REUSED),
    World("cancelled, newest checkpoint", made.newest_retained, _SAFE),
    World("cancelled, the checkpoint before", made.older_retained, _DOUBLES, interval=_HOUR),
    World(
        "no state, new id",
        made.stateless,
        _both(Verdict.WOULD_DUPLICATE, Cause.NO_STATE, After.NO_NUMBER),
    ),
    World("no state, id used again", made.stateless_reused_id, _REUSED),
    World(
        "drained",
        made.drained,
        {
            "v2": Expected(Verdict.SAFE, None, After.EXACT),
            "v1": Expected(Verdict.WOULD_LOSE, Cause.WOULD_STALL, After.NO_NUMBER),
        },
    ),
    World(
        "drained, second start",
        made.drained_then_restarted_twice,
        {
            "v2": Expected(Verdict.SAFE, None, After.EXACT),
            # Nobody has recorded that the run before was drained: too careful, and said so.
            "v1": Expected(Verdict.UNKNOWN, Cause.STATE_UNREADABLE, After.EXACT),
        },
    ),
    World(
        "drained on 1.20",
        made.drained,
        {
            "v2": Expected(Verdict.WOULD_LOSE, Cause.STRANDED, After.AS_SAID),
            "v1": Expected(Verdict.WOULD_LOSE, Cause.WOULD_STALL, After.NO_NUMBER),
        },
        on="1.20.5",
    ),
    World("uid changed, strict", made.uid_changed_strict, {"v2": _UNMATCHED}),
    World("uid changed, nothing pending", made.uid_changed_ignored, _SAFE),
    World("uid changed, rows pending", made.uid_changed_pending, {"v2": _DROPPED["v2"]}, interval=_HOUR),
    World("sink class changed, strict", made.sink_changed_strict, {"v1": _UNMATCHED, "v2": _UNMATCHED}),
    World("sink class changed, nothing pending", made.sink_changed_ignored, _SAFE),
    World("sink class changed, rows pending", made.sink_changed_pending, _DROPPED, interval=_HOUR),
    World("commit failed in stop, its savepoint", made.commit_failed, _SAFE, interval=_HOUR),
    World("commit failed in stop, checkpoint before", made.commit_failed_previous, _SAFE, interval=_HOUR),
    World("commit failed in stop, both in turn", made.commit_failed_both, _DOUBLES, interval=_HOUR),
    World(
        "two jobs from one state",
        made.two_jobs,
        _both(Verdict.WOULD_DUPLICATE, Cause.SECOND_WRITER, After.NO_NUMBER),
    ),
    World(
        "rolled back by one, checkpoint with rows",
        made.rolled_back_with_rows,
        {"v1": _FAILS, "v2": _FAILS},
        interval=_HOUR,
    ),
    World(
        "rolled back by one, empty checkpoint",
        made.rolled_back_empty,
        _both(Verdict.UNKNOWN, Cause.TABLE_ROLLED_BACK, After.AS_SAID),
    ),
    World(
        "rolled back by one, empty, recorded",
        made.rolled_back_empty_recorded,
        _both(Verdict.WOULD_LOSE, Cause.TABLE_ROLLED_BACK, After.AS_SAID),
    ),
    World(
        "recreated, checkpoint with rows",
        made.recreated_with_rows,
        _both(Verdict.WOULD_LOSE, Cause.TABLE_REPLACED, After.NEVER_RUNS),
        interval=_HOUR,
    ),
    World(
        "recreated, empty checkpoint",
        made.recreated_empty,
        _both(Verdict.WOULD_LOSE, Cause.TABLE_REPLACED, After.NO_NUMBER),
    ),
    World(
        "recreated, empty, not recorded",
        made.recreated_unrecorded,
        _both(Verdict.UNKNOWN, Cause.LINEAGE_CUT, After.NO_NUMBER),
    ),
    World(
        "expired, checkpoint with rows",
        made.expired_with_rows,
        {"v1": _FAILS, "v2": _FAILS},
        interval=_HOUR,
    ),
    World(
        "expired, empty checkpoint",
        made.expired_empty,
        _both(Verdict.UNKNOWN, Cause.LINEAGE_CUT, After.EXACT),
    ),
    World("expired, with rows, pinned", made.expired_pinned, _SAFE, interval=_HOUR),
    World("rolled back together with its state", made.rollback_pair, _SAFE),
    World("topic begins above offset 0", made.topic_above_zero, _SAFE),
    World("partition added while down", made.partition_added, _SAFE),
    World(
        "pending data file deleted",
        made.pending_file_deleted,
        _both(Verdict.WOULD_FAIL, Cause.PENDING_FILE_MISSING, After.UNREADABLE),
        interval=_HOUR,
    ),
    World(
        "pending manifest deleted",
        made.pending_manifest_deleted,
        {"v1": _FAILS, "v2": _FAILS},
        interval=_HOUR,
    ),
    World("foreign append between", made.foreign_append, _SAFE),
    World("compaction between", made.compaction, _SAFE),
    World("DELETE between", made.delete_between, _SAFE),
    World("older state after all three", made.older_state_after_all_of_it, _DOUBLES),
)


def play(world: World, sink: str, stack: Stack) -> Row:
    """Make the world, ask the guard, start all the same, and count."""
    begun = time.monotonic()
    with running_job(stack, sink=sink, first_interval=world.interval) as rig:  # type: ignore[arg-type]
        given = world.make(rig)
        try:
            decision = ask(given)
            after, lost, doubled = _count(given, decision)
        finally:
            given.rig.producer.stop()
            if given.rival:
                do.cancel(rig, given.rival)
    worst = decision.findings[0] if decision.findings else None
    return Row(
        world.name,
        sink,
        stack.versions.flink,
        decision.verdict.value,
        worst.cause.value if worst else None,
        decision.rows,
        after.value,
        lost,
        doubled,
        world.expected[sink] == Expected(decision.verdict, worst.cause if worst else None, after),
        round(time.monotonic() - begun, 1),
    )


def ask(given: Given) -> Decision:
    """The guard's answer; a start that it calls SAFE is made."""
    rig, options = given.rig, replace(OPTIONS, allow_non_restored_state=given.ignore)
    if given.job_id is not None:
        return _of_reused(given)
    steps = rig.steps()
    try:
        _, decision = start_job(rig.systems(), steps, given.state, options)
    except RestartRefused as refused:
        return refused.decision
    except JobFailed:
        # The guard saw nothing and Flink refused: the answer is in the record, and the row says that it never ran.
        return Decision.from_dict((steps.intent(Step.START) or {})["decision"])
    return decision


def _of_reused(given: Given) -> Decision:
    """Our own starts never use an id again, so the guard is asked about one that somebody else would choose."""
    systems, steps = given.rig.systems(), given.rig.steps()
    state = given.state
    savepoint = state.savepoint if isinstance(state, RestorePoint) else state
    found = find_savepoint(systems, savepoint) if savepoint else None
    start = plan(systems, steps, found, None, OPTIONS)
    return decide(replace(start.facts, new_job_id=given.job_id))


def _count(given: Given, decision: Decision) -> tuple[After, int | None, int | None]:
    """Start what was refused, by name of each verdict, and count when the table is final."""
    rig = given.rig
    try:
        job_id = _start_anyway(given, decision) if decision.findings else _running(rig)
    except (JobFailed, WaitTimeout):
        return After.NEVER_RUNS, None, None
    if job_id is None:
        return After.NEVER_RUNS, None, None
    try:
        _wait_final(rig, job_id)
        lost, doubled = damage(given)
    except OSError:
        return After.UNREADABLE, None, None
    if (lost, doubled) == (0, 0):
        return After.EXACT, 0, 0
    if decision.rows and decision.rows in (lost + doubled, max(lost, doubled)):
        return After.AS_SAID, lost, doubled
    return After.NO_NUMBER, lost, doubled


def _running(rig: Rig) -> str | None:
    return next(iter(rig.running()), None)


def _start_anyway(given: Given, decision: Decision) -> str:
    rig = given.rig
    if given.job_id is not None:
        state = given.state.path if isinstance(given.state, Savepoint) else None
        return do.start_by_hand(rig, rig.script or "", state, given.job_id)
    accept = tuple({finding.verdict for finding in decision.findings})
    options = replace(
        OPTIONS, accept=accept, reason="the drill counts", allow_non_restored_state=given.ignore
    )
    running, _ = start_job(rig.systems(), rig.steps(), given.state, options)
    return running.job_id


def _wait_final(rig: Rig, job_id: str) -> None:
    """No more orders, and checkpoints beyond every id in the table have brought no more rows."""
    rig.producer.stop()
    stack = rig.stack
    highest = max(_ids(rig), default=0)
    wait_until(lambda: do.completed(stack, job_id) > highest, f"a checkpoint above {highest}", 120)
    rows, since = rig.row_count(), do.completed(stack, job_id)
    for _ in range(600):
        now, completed = rig.row_count(), do.completed(stack, job_id)
        if now != rows:
            rows, since = now, completed
        elif completed >= since + _CALM:
            return
        time.sleep(0.5)
    raise AssertionError(f"{rig.table} is not final after 300 s")


def _ids(rig: Rig) -> Iterator[int]:
    for snapshot in rig.iceberg().snapshots():
        found = (
            (snapshot.summary or {}).get("flink.max-committed-checkpoint-id") if snapshot.summary else None
        )
        if found is not None and int(found) != _END_OF_INPUT:
            yield int(found)


def damage(given: Given) -> tuple[int, int]:
    """(lost, doubled) rows of this job: what the broker holds against what the table holds."""
    ends = given.rig.producer.stop().partitions
    counts = given.rig.counts()
    ours = {key: times for key, times in counts.items() if key[0] != do.FOREIGN}
    wanted = {
        (partition, offset)
        for partition, end in ends.items()
        for offset in range(given.starts.get(partition, 0), end)
    }
    assert set(ours) <= wanted, "the table holds records that the topic does not have"
    return len(wanted - set(ours)) - given.deleted, sum(ours.values()) - len(ours)


def write(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Leave the rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def as_table(rows: Iterable[Row]) -> str:
    """The table for people."""
    head = ("world", "sink", "flink", "answer", "cause", "said", "after", "lost", "doubled", "", "s")
    lines = [head, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines) + "\n"


def _line(row: Row) -> tuple[str, ...]:
    shown = asdict(row)
    shown["as_expected"] = "" if row.as_expected else "NOT AS EXPECTED"
    return tuple("-" if item is None else str(item) for item in shown.values())


def cases(flink: str | None = None) -> list[tuple[World, str]]:
    """Every world with every sink that it is played with, of one Flink version (``None``: the default)."""
    return [(world, sink) for world in WORLDS if world.on == flink for sink in world.expected]


def main(arguments: list[str] | None = None) -> int:
    """Play worlds and print the table; 1 if one is not as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills.worlds")
    parser.add_argument("--flink", help="all worlds on this version; default: each on its own")
    parser.add_argument("--only", action="append", default=[], metavar="WORLD")
    parser.add_argument("--sink", choices=("v1", "v2"))
    parser.add_argument("--directory", type=Path, help="of the stacks; default: a temporary one")
    options = parser.parse_args(arguments)
    chosen = [each for each in WORLDS if not options.only or each.name in options.only]
    directory = options.directory or Path(tempfile.mkdtemp(prefix="worlds-"))
    rows: list[Row] = []
    for version in sorted({options.flink or world.on or select().flink for world in chosen}):
        with Stack(directory / version, versions=select(version), slots=24) as stack:
            for world in chosen:
                if (options.flink or world.on or select().flink) != version:
                    continue
                for sink in world.expected:
                    if options.sink in (None, sink):
                        rows.append(play(world, sink, stack))
                        print(rows[-1], file=sys.stderr, flush=True)
                        write(rows)
    print(as_table(rows))
    return 0 if all(row.as_expected for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
