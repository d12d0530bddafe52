"""The worlds that a guard must know, on the real stack: what it says before the start, and what the rows are after it.

``python -m tests.drills.worlds [--flink VERSION] [--only WORLD]... [--sink v1|v2] [--directory DIR]`` plays them as
:mod:`tests.drills.play` says, prints the table, and leaves it as ``build/worlds.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from airflow_flink_iceberg.model.decision import Cause, Verdict
from playground.stack import Stack
from playground.versions import select
from tests.drills import given as made
from tests.drills import variants as also
from tests.drills.play import Expected, World, play
from tests.drills.record import After, Row, as_table, write


def _both(verdict: Verdict, cause: Cause | None, after: After) -> dict[str, Expected]:
    return dict.fromkeys(("v2", "v1"), Expected(verdict, cause, after))


_SAFE = _both(Verdict.SAFE, None, After.EXACT)
_HOUR = "1 h"
_FAILS = Expected(Verdict.WOULD_FAIL, Cause.PENDING_MANIFEST_MISSING, After.NEVER_RUNS)
_DOUBLES = _both(Verdict.WOULD_DUPLICATE, Cause.OLDER_STATE, After.AS_SAID)
_REUSED = _both(Verdict.WOULD_LOSE, Cause.JOB_ID_REUSED, After.NO_NUMBER)
_DROPPED = _both(Verdict.WOULD_LOSE, Cause.PENDING_DROPPED, After.AS_SAID)
_UNMATCHED = Expected(Verdict.WOULD_FAIL, Cause.STATE_UNMATCHED, After.NEVER_RUNS)
_BOTH_UNMATCHED = {"v2": _UNMATCHED, "v1": _UNMATCHED}

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
        _SAFE,
    ),
    World(
        "older state, idle since",
        made.older_state_idle_since,
        {
            "v2": Expected(Verdict.SAFE, None, After.EXACT),
            # It commits late, is right, and that is said.
            "v1": Expected(Verdict.SAFE, Cause.COMMITS_LATE, After.EXACT),
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
    World("jar's uid changed, strict", also.jar_uid_changed_strict, _BOTH_UNMATCHED, deployment="jar"),
    World("jar's uid changed, nothing pending", also.jar_uid_changed_ignored, _SAFE, deployment="jar"),
    World(
        "jar's uid changed, rows pending",
        also.jar_uid_changed_pending,
        _DROPPED,
        interval=_HOUR,
        deployment="jar",
    ),
    World(
        "jar's uid changed, and its source's",
        also.jar_source_uid_changed,
        _both(Verdict.WOULD_DUPLICATE, Cause.STATE_UNMATCHED, After.NO_NUMBER),
        deployment="jar",
    ),
    World(
        "script with one more source",
        also.source_added,
        {"v2": Expected(Verdict.UNKNOWN, Cause.SOURCE_CHANGED, After.NO_NUMBER)},
        why="Which source of a script gets which operator id is not known before Flink has planned it.",
    ),
    World("sink class changed, strict", made.sink_changed_strict, _BOTH_UNMATCHED),
    World("sink class changed, nothing pending", made.sink_changed_ignored, _SAFE),
    World("sink class changed, rows pending", made.sink_changed_pending, _DROPPED, interval=_HOUR),
    World("commit failed in stop, its savepoint", made.commit_failed, _SAFE, interval=_HOUR),
    World("commit failed in stop, checkpoint before", made.commit_failed_previous, _SAFE, interval=_HOUR),
    World("commit failed in stop, both in turn", made.commit_failed_both, _DOUBLES, interval=_HOUR),
    World(
        "commit failed in stop, then commits of others",
        also.others_over_a_pending_commit,
        _SAFE,
        interval=_HOUR,
    ),
    World("state that a run has used already", also.state_used_already, _DOUBLES),
    World(
        "state of a job that still runs",
        also.still_alive,
        _both(Verdict.WOULD_DUPLICATE, Cause.JOB_ALIVE, After.NO_NUMBER),
    ),
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
        why="Nobody has recorded where the table stood: the state may belong to it as it is. The number is said.",
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
        "recreated, with rows, not recorded",
        also.recreated_with_rows_unrecorded,
        {"v1": _FAILS, "v2": _FAILS},
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
        why="Nobody has recorded which table it was; a state without rows does not tell, nor does the new table.",
    ),
    World(
        "pointer put back to the first file",
        made.pointer_at_the_beginning,
        _both(Verdict.UNKNOWN, Cause.TABLE_ROLLED_BACK, After.AS_SAID),
        why="Nobody has recorded where the table stood; files beside it show a newer version. The number is said.",
    ),
    World(
        "pointer put back to a file in between",
        made.pointer_in_the_middle,
        _both(Verdict.UNKNOWN, Cause.TABLE_ROLLED_BACK, After.AS_SAID),
        why="Nobody has recorded where the table stood; files beside it show a newer version. The number is said.",
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
        why="The commits between state and table have expired, so nobody can tell that none of them was this job's.",
    ),
    World("expired, with rows, pinned", made.expired_pinned, _SAFE, interval=_HOUR),
    World("rolled back together with its state", made.rollback_pair, _SAFE),
    World("topic begins above offset 0", also.topic_above_zero, _SAFE),
    World("topic begins above offset 0, older state", also.topic_above_zero_older, _DOUBLES),
    World("partition added while down", also.partition_added, _SAFE),
    World("partition added while down, older state", also.partition_added_older, _DOUBLES),
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
    World(
        "another Flink job between, not declared",
        also.rival_undeclared,
        _both(Verdict.UNKNOWN, Cause.UNKNOWN_WRITER, After.EXACT),
        why="Whether a Flink job that nobody has declared wrote this job's rows cannot be told; declared it is SAFE.",
    ),
    World("another Flink job between, declared", also.rival_declared, _SAFE),
    World("compaction between", made.compaction, _SAFE),
    World("DELETE between", made.delete_between, _SAFE),
    World("older state after all three", made.older_state_after_all_of_it, _DOUBLES),
)


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
