"""``flink-iceberg guard``: what starting a state over the tables as they are now would do to the rows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from airflow_flink_iceberg.cli.decisions import decision_exit_code, decision_text
from airflow_flink_iceberg.cli.jobs import add_start_arguments, sinks_of, state_of
from airflow_flink_iceberg.cli.output import print_json, print_text
from airflow_flink_iceberg.cli.systems import open_job
from airflow_flink_iceberg.model.restore_point import RestorePoint

if TYPE_CHECKING:
    from airflow_flink_iceberg.cli.jobs import State
    from airflow_flink_iceberg.model.decision import Decision
    from airflow_flink_iceberg.restart.systems import Systems

HELP = "say what starting a savepoint over the tables would do to the rows"
DESCRIPTION = (
    "Say what starting a savepoint or retained checkpoint over the tables as they are now would do: SAFE, or which\n"
    "rows would be lost or doubled, with their number. Nothing is started or written. Exit 0 if it is SAFE, 1 if it\n"
    "would lose, duplicate or fail, 3 if that is not known."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_start_arguments(parser)
    parser.add_argument(
        "--gateway", metavar="URL", help="accepted like in restart; the guard does not ask it"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--savepoint",
        metavar="PATH|JSON",
        help="its path, or a savepoint, restore point or restart as JSON or as a .json file",
    )
    what.add_argument("--stateless", action="store_true", help="a start without state")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print the decision with all findings, worst first."""
    state = None if options.stateless else state_of(options.savepoint)
    with open_job(options, sinks_of(options)) as systems:
        decision = _decide(systems, state, allow_dropped=options.allow_non_restored_state)
    if options.json:
        print_json(decision.to_dict())
    else:
        print_text(decision_text(decision))
    return decision_exit_code(decision)


def _decide(systems: Systems, state: State | None, *, allow_dropped: bool) -> Decision:
    from airflow_flink_iceberg.restart.start import StartOptions
    from airflow_flink_iceberg.restart.start_job import find_savepoint, plan
    from airflow_flink_iceberg.restart.steps import MemoryStore, Steps

    point = state if isinstance(state, RestorePoint) else None
    wanted = state.savepoint if isinstance(state, RestorePoint) else state
    savepoint = None if wanted is None else find_savepoint(systems, wanted)
    options = StartOptions(allow_non_restored_state=allow_dropped)
    return plan(systems, Steps(MemoryStore()), savepoint, point, options).decision
