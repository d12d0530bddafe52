"""``flink-iceberg restart``: stop a job with a savepoint and start it from exactly that one."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_flink_iceberg.cli.decisions import decision_exit_code, decision_text
from airflow_flink_iceberg.cli.jobs import add_start_arguments, read_script, record_path, sinks_of
from airflow_flink_iceberg.cli.ledger_entry import add_ledger_argument, record_act
from airflow_flink_iceberg.cli.output import PASS, complain, print_json, print_text
from airflow_flink_iceberg.cli.systems import open_job
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import InvalidValue, RestartRefused
from airflow_flink_iceberg.model.job import JarDeployment, SqlDeployment

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.restart import Restart
    from airflow_flink_iceberg.restart.restart import RestartOptions
    from airflow_flink_iceberg.restart.steps import Steps, StepStore

HELP = "restart a job from a savepoint, guarded, and print the downtime"
DESCRIPTION = (
    "Stop a job with a savepoint and start it from exactly that one. The stop is refused when the start would lose or\n"
    "double rows. If this command is killed or fails, run the same command again: it goes on where it was, with one\n"
    "savepoint and one job, however often. Exit 0 when the job runs from our state, 1 or 3 when the guard refused."
)
INTERRUPTED = "Interrupted; the stop or start goes on in Flink. Run the same command again to go on with it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_start_arguments(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--sql", metavar="FILE", help="script of the job: DDL, SET and one INSERT")
    how.add_argument("--jar", metavar="ID", help="name or id of a jar that the cluster has")
    parser.add_argument(
        "--gateway", metavar="URL", help="SQL Gateway for --sql; default: FLINK_ICEBERG_GATEWAY"
    )
    parser.add_argument("--entry-class", metavar="CLASS", help="with --jar: default as in its manifest")
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="ARG",
        help="with --jar: one argument of the program; --arg=--x for one that begins with -",
    )
    parser.add_argument(
        "--target-directory", metavar="DIR", help="base directory of the savepoint; default: the cluster's"
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        choices=[verdict.value for verdict in Verdict if verdict is not Verdict.SAFE],
        metavar="VERDICT",
        help="restart in spite of exactly this verdict; needs --reason",
    )
    parser.add_argument(
        "--reason", metavar="TEXT", help="why; recorded with the restart, and needed with --accept"
    )
    parser.add_argument("--no-pin", action="store_true", help="set no tags on the tables")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="SECONDS", help="default: 1800")
    parser.add_argument(
        "--store",
        metavar="FILE",
        help="record that lets the same command go on after a kill; default: a file of this job below "
        "XDG_STATE_HOME or ~/.local/state",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew: if the job runs, restart it, whatever the record says",
    )
    add_ledger_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Restart, and print savepoint, jobs, decision, timeline and downtime."""
    from airflow_flink_iceberg.restart.ledger_entries import restart_entries
    from airflow_flink_iceberg.restart.restart import restart

    deployment, script = _deployment(options)
    how = _options(options)
    with open_job(options, sinks_of(options), deployment, script) as systems, _progress():
        steps, store = _record(options)
        try:
            done = restart(systems, steps, how)
        except RestartRefused as error:
            complain(str(error))
            if options.json:
                print_json(error.decision.to_dict())
            else:
                print_text(decision_text(error.decision))
            return decision_exit_code(error.decision, how.start.accept)
        record_act(options, systems, steps, lambda act: restart_entries(act, done))
    if options.json:
        print_json(done.to_dict())
    else:
        print_text(_as_text(done))
    # Only now: a kill before this lets the next run print the same answer.
    store.clear()
    return PASS


def _deployment(options: argparse.Namespace) -> tuple[SqlDeployment | JarDeployment, str | None]:
    if options.jar:
        return JarDeployment(options.jar, entry_class=options.entry_class, program_args=options.arg), None
    script = read_script(options.sql)
    return SqlDeployment(script), script


def _options(options: argparse.Namespace) -> RestartOptions:
    from airflow_flink_iceberg.restart.restart import RestartOptions
    from airflow_flink_iceberg.restart.start import StartOptions
    from airflow_flink_iceberg.restart.stop import StopOptions

    if not options.timeout > 0:
        raise InvalidValue(f"--timeout has to be more than 0 seconds, not {options.timeout}.")
    return RestartOptions(
        StopOptions(options.target_directory, timeout=options.timeout),
        StartOptions(
            options.allow_non_restored_state,
            tuple(Verdict(name) for name in options.accept),
            options.reason,
            timeout=options.timeout,
        ),
        pin=not options.no_pin,
    )


def _record(options: argparse.Namespace) -> tuple[Steps, StepStore]:
    """The record of an earlier run that did not end, or a new one; opening it takes it over from a run that hangs."""
    from airflow_flink_iceberg.restart.steps import JsonFileStore, Steps

    path, key = record_path(options), f"restart/{options.job}"
    try:
        store = JsonFileStore(path)
    except (OSError, ValueError) as error:
        raise InvalidValue(f"The record {path} cannot be used ({error}); give --store FILE.") from error
    epoch = Steps(store, key=key).recorded_epoch
    if epoch is None:
        return Steps(store, key=key), store
    steps = Steps(store, key=key, epoch=epoch + 1 if options.fresh else epoch)
    if not options.fresh:
        complain(f"Going on with the restart{_begun(steps)} that {path} records; --fresh begins a new one.")
    return steps, store


def _begun(steps: Steps) -> str:
    from airflow_flink_iceberg.restart.steps import Step

    at = (steps.intent(Step.STOP) or {}).get("requested_at")
    return f" of {datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z" if at else ""


@contextmanager
def _progress() -> Iterator[None]:
    """Say on standard error what happens while it happens."""
    log = logging.getLogger("airflow_flink_iceberg")
    handler, level, propagate = _Complaints(), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class _Complaints(logging.Handler):
    def emit(self, entry: logging.LogRecord) -> None:
        complain(entry.getMessage())


def _as_text(done: Restart) -> str:
    from airflow_flink_iceberg.integrity.report.text import printable

    savepoint, running = done.savepoint, done.running_job
    lines = [
        f"job        {savepoint.job_id} -> {running.job_id}",
        f"savepoint  {savepoint.path}",
        f"checkpoint {savepoint.checkpoint_id} (by {savepoint.checkpoint_id_source}), commit {savepoint.commit}",
    ]
    begin = done.timeline[0].at if done.timeline else 0
    lines += [f"{(event.at - begin) / 1000:9.3f} s  {event.name} ({event.clock})" for event in done.timeline]
    lines.append(f"downtime   {_seconds(done.downtime_seconds)}")
    lines.append(f"until all tasks ran: {_seconds(done.all_tasks_downtime_seconds)}")
    return "".join(f"{printable(line)}\n" for line in lines) + decision_text(done.decision)


def _seconds(value: float | None) -> str:
    return "unknown: Flink has forgotten a job" if value is None else f"{value:.3f} s"
