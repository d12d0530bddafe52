"""What the preflight asks of the proof: whether rows were lost or doubled before, by the newest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.operators.compared import Compared

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.job import TableSink
    from airflow_flink_iceberg.model.result import CheckReport, CheckResult
    from airflow_flink_iceberg.restart.systems import Systems


def with_damage_before(systems: Systems, script: str | None, report: CheckReport) -> CheckReport:
    """The preflight's report with one ``damaged_before`` for each table, and one for all of which nothing is known.

    Nothing is raised: what cannot be read or asked is ``unknown`` at severity warn. Without a kept baseline the state
    is not read. No data file is read.

    :param script: the text of the job's script, if it is to be had: tells whether the job is still the same.
    """
    from airflow_flink_iceberg.integrity.results import fit

    found = _together(_judged(systems, script))
    return replace(report, results=fit([*report.results, *found]))


def _judged(systems: Systems, script: str | None) -> list[CheckResult]:
    from airflow_flink_iceberg.integrity.damaged_before import unknown

    job = systems.job
    try:
        # Before the tables are looked at again: they have to be at least as new as the state.
        looked = _look(systems, script)
    except FlinkIcebergError as error:
        return [unknown(job.sink_name(sink), str(error)) for sink in job.sinks]
    return [_judge(systems, sink, looked) for sink in job.sinks]


def _look(systems: Systems, script: str | None) -> Compared:
    from airflow_flink_iceberg.integrity.damaged_before import has_baseline
    from airflow_flink_iceberg.integrity.fingerprint import fingerprint
    from airflow_flink_iceberg.restart.facts import link_of_run
    from airflow_flink_iceberg.restart.running_state import RunningState, read_running_state

    if not any(has_baseline(systems.table(sink).metadata().properties) for sink in systems.job.sinks):
        return Compared(RunningState())
    state = read_running_state(systems)
    link = link_of_run(systems, state.job_id) if state.job_id else None
    return Compared(state, fingerprint(systems.job, script, state.metadata), link=link)


def _judge(systems: Systems, sink: TableSink, looked: Compared) -> CheckResult:
    from airflow_flink_iceberg.integrity.beginning import LAST_PROVEN
    from airflow_flink_iceberg.integrity.damaged_before import judge_before, unknown

    name = systems.job.sink_name(sink)
    try:
        return judge_before(looked.context(systems, sink, LAST_PROVEN), name)
    except FlinkIcebergError as error:
        return unknown(name, str(error))


def _together(results: Sequence[CheckResult]) -> list[CheckResult]:
    """Many tables of which nothing is known are one line: the first says why, the others are in its evidence."""
    from airflow_flink_iceberg.model.result import Outcome

    known = [result for result in results if result.outcome is not Outcome.UNKNOWN]
    others = [result for result in results if result.outcome is Outcome.UNKNOWN]
    if len(others) < 2:
        return [*known, *others]
    tables = {"count": len(others), "first": [result.table for result in others[:20]]}
    return [*known, replace(others[0], evidence={**others[0].evidence, "tables": tables})]
