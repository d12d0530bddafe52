"""``flink-iceberg verify TABLE``: run checks, print what was proven, exit by the worst outcome at severity error."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_flink_iceberg.checks import CHECK_TYPES, Check, default_checks, parse
from airflow_flink_iceberg.cli.output import complain, exit_code, print_json, print_text
from airflow_flink_iceberg.cli.tables import add_table_arguments, open_table
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.integrity.context import CheckContext
    from airflow_flink_iceberg.model.restart import Restart

HELP = "prove that a table is whole, or say what cannot be proven"
DESCRIPTION = (
    "Run checks over one branch of a table and print what was checked, expected, found, and proven by what.\n"
    "Without --check: default, that is all checks that need no knowledge of the columns; those that ask Flink only\n"
    f"with --restart. Known checks: {', '.join(sorted(CHECK_TYPES))}."
)
_CHECK_HELP = "e.g. kafka_offsets:partition_column=p,offset_column=o; may be given several times"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table_arguments(parser)
    parser.add_argument("--since", metavar="TAG", help="judge what came after this tag or snapshot id")
    parser.add_argument("--check", action="append", metavar="NAME:key=value,...", help=_CHECK_HELP)
    parser.add_argument(
        "--restart", metavar="FILE", help="the JSON of the restart to verify; also the default for --since"
    )
    parser.add_argument("--flink", metavar="URL", help="Flink's REST API; default: FLINK_ICEBERG_URL")
    parser.add_argument(
        "--report",
        metavar="PATH",
        help="also write report.html, report.md and report.json below this directory",
    )


def run(options: argparse.Namespace) -> int:
    """Run the checks and print the report; the exit code is the report's outcome."""
    checks = _checks(options.check or ["default"], with_restart=options.restart is not None)
    restart = _restart(options.restart) if options.restart else None
    with ExitStack() as stack:
        flink = _flink(options.flink or os.environ.get("FLINK_ICEBERG_URL"), stack)
        return _verify(options, checks, restart, flink)


def _verify(
    options: argparse.Namespace, checks: list[Check], restart: Restart | None, flink: FlinkClient | None
) -> int:
    from airflow_flink_iceberg.integrity.report.text import text_report
    from airflow_flink_iceberg.integrity.suite import run_checks

    report = run_checks(checks, _context(options, restart, flink))
    if options.json:
        print_json(report.to_dict())
    else:
        print_text(text_report(report, restart))
    if options.report:
        from airflow_flink_iceberg.integrity.report.content import Report
        from airflow_flink_iceberg.integrity.report.write import write_report

        complain(f"Report: {write_report(Report(report, restart), options.report)[0]}")
    return exit_code(report.outcome)


def _context(options: argparse.Namespace, restart: Restart | None, flink: FlinkClient | None) -> CheckContext:
    from airflow_flink_iceberg.integrity.context import open_context

    access = open_table(options.table, options.catalog)
    return open_context(
        access,
        branch=options.branch,
        since=options.since or restart,
        restart=restart,
        flink=flink,
    )


def _checks(texts: list[str], *, with_restart: bool) -> list[Check]:
    """What ``default`` stands for depends on whether there is a restart that Flink can be asked about."""
    found: list[Check] = []
    for text in texts:
        is_default = text.strip() == "default"
        found += default_checks(with_restart=with_restart) if is_default else parse(text)
    return found


def _restart(path: str) -> Restart:
    from airflow_flink_iceberg.model.restart import Restart

    try:
        return Restart.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidValue(f"--restart {path} is not the JSON of a restart: {error}") from error


def _flink(url: str | None, stack: ExitStack) -> FlinkClient | None:
    if not url:
        return None
    from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint

    return stack.enter_context(FlinkClient(FlinkEndpoint(url)))
