"""``flink-iceberg commits TABLE``: which job committed which checkpoint, newest first."""

from __future__ import annotations

import argparse
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.cli.output import PASS, complain, print_json, print_text, table
from airflow_flink_iceberg.cli.tables import add_table_arguments, open_table

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.commit import Commit

HELP = "list Flink's commits of a table, newest first"
DESCRIPTION = (
    "List the snapshots of a branch that Flink has committed, newest first: job, operator, checkpoint and rows.\n"
    "Snapshots of other writers are left out. The job is the one that wrote the files; it may have ended before."
)
_FIELDS = ("snapshot_id", "committed_at", "job_id", "operator_id", "checkpoint_id", "added_records")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table_arguments(parser)
    parser.add_argument("--limit", type=_positive, metavar="N", help="the newest N only")


def run(options: argparse.Namespace) -> int:
    """Print the commits; times in JSON are milliseconds since the epoch."""
    from airflow_flink_iceberg.iceberg.history import History

    access = open_table(options.table, options.catalog)
    metadata = access.metadata()
    history = History(metadata, older=access.read_metadata_file)
    head = metadata.head(options.branch)
    commits = list(itertools.islice(history.commits(head), options.limit))
    if options.json:
        print_json([_as_dict(commit) for commit in commits])
    else:
        print_text(table(_FIELDS, [_as_row(commit) for commit in commits]))
    if options.limit is None or len(commits) < options.limit:
        walk = history.walk(head)
        if not walk.complete:
            complain(f"The history is cut, older commits are not listed: {walk.why_cut}.")
    return PASS


def _as_dict(commit: Commit) -> dict[str, Any]:
    return {name: getattr(commit, name) for name in _FIELDS}


def _as_row(commit: Commit) -> list[Any]:
    row = _as_dict(commit)
    row["committed_at"] = f"{datetime.fromtimestamp(commit.committed_at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    if commit.is_end_of_input:
        row["checkpoint_id"] = "end of input"
    return list(row.values())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
