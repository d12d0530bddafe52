"""``make demo``: restart a live job through a real DAG run, prove it, and show a refusal that is right to the row.

Nothing is mocked: Kafka, Flink with its SQL Gateway, an Iceberg catalog and Airflow are real, and orders flow all
the while. Leaves ``.playground/`` with the table, the report and ``summary.json``.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.checks import default_checks, kafka_offsets
from airflow_flink_iceberg.iceberg.run_links import links_in_properties
from airflow_flink_iceberg.integrity.context import open_context
from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.text import text_report
from airflow_flink_iceberg.integrity.report.write import write_report
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import (
    CheckReport,
    FlinkJob,
    Outcome,
    Restart,
    SqlDeployment,
    TableSink,
)
from airflow_flink_iceberg.model.errors import FlinkIcebergError, RestartRefused
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import JsonFileStore, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems
from playground.airflow_env import migrate, run_dag
from playground.errors import NotReadyError, PlaygroundError
from playground.orders import OrdersProducer, Produced
from playground.product import open_client, open_systems, open_table
from playground.sql import TABLE, orders_script
from playground.stack import Stack

DIRECTORY = Path(".playground")
RATE = 150.0
_WAIT = 60.0


@dataclass(frozen=True)
class Refusal:
    """What the guard said of the older savepoint, and what counting says."""

    verdict: str
    savepoint: str
    rows: int
    counted: int
    sentence: str


def main() -> int:
    """Run the demo; 0 only if every claim it prints is true."""
    started = time.monotonic()
    stack = Stack(DIRECTORY, checkpoint_interval=1.0)
    try:
        stack.wipe_unused()
        _say("starting Kafka, Flink, the SQL Gateway and the catalog")
        with stack:
            code = _demo(stack)
    except (PlaygroundError, FlinkIcebergError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; everything that was started has been ended.", file=sys.stderr)
        return 130
    _say(f"everything is stopped again, {time.monotonic() - started:.0f} s in all")
    return code


def _demo(stack: Stack) -> int:
    script = orders_script(stack.catalog, stack.source())
    (stack.directory / "orders.sql").write_text(script)
    migrate(stack)
    producer = OrdersProducer(stack.kafka_bootstrap, rate=RATE)
    try:
        old_job = stack.submit(script)
        _say(f"job {old_job} writes {TABLE}, {RATE:g} orders a second")
        _wait_for_rows(stack, 3 * int(RATE))
        restart, report_path = _restart_by_dag(stack)
        refusal = _refuse_older(stack, script, restart)
        produced = _finish(stack, script, producer)
    finally:
        producer.stop()
    return _close(stack, restart, report_path, refusal, produced)


def _restart_by_dag(stack: Stack) -> tuple[Restart, str]:
    """Run ``dags/restart_orders.py``; the orders go on flowing."""
    _say("running the DAG restart_orders: restart, landed, verify")
    tasks = run_dag(stack, "restart_orders")["tasks"]
    restart = Restart.from_dict(tasks["restart"]["returned"])
    report = CheckReport.from_dict(tasks["verify"]["returned"])
    path = stack.directory / "reports" / "restart_orders" / "report.html"
    print(f"\n{text_report(report, restart)}")
    _say(f"downtime {restart.downtime_seconds} s by Flink's own clock; the report: {_shown(path)}")
    return restart, _shown(path)


def _refuse_older(stack: Stack, script: str, restart: Restart) -> Refusal:
    """Stop again, try to start from the older savepoint, and start from the right one."""
    before = _row_count(stack)
    _wait_for_rows(stack, before + 2 * int(RATE))
    newest = stop(_systems(stack, script), _steps(stack, "stop-again"), StopOptions())
    _say(
        f"stopped again with savepoint {newest.checkpoint_id}; now starting from the older one, "
        f"{restart.savepoint.checkpoint_id}"
    )
    counted = _rows_after(stack, restart)
    try:
        start_job(_systems(stack, script), _steps(stack, "start-older"), restart.savepoint, StartOptions())
    except RestartRefused as refused:
        worst = refused.decision.findings[0]
        _say(f"refused: {refused}")
        _say(f"counted in the table: {counted} rows are newer than that savepoint")
        refusal = Refusal(worst.verdict.value, restart.savepoint.path, worst.rows or 0, counted, str(refused))
    else:
        raise PlaygroundError("The older savepoint was started: the guard has failed.")
    running, decision = start_job(
        _systems(stack, script), _steps(stack, "start-right"), newest, StartOptions()
    )
    _say(f"started from the right one: job {running.job_id}, {decision.verdict} by {decision.proven_by}")
    return refusal


def _finish(stack: Stack, script: str, producer: OrdersProducer) -> Produced:
    """Stop the producer, let the job catch up, and stop the job: from here on the counts are final."""
    produced = producer.stop()
    _wait_for_rows(stack, produced.total)
    stop(_systems(stack, script), _steps(stack, "stop-last"), StopOptions())
    return produced


def _close(stack: Stack, restart: Restart, report_path: str, refusal: Refusal, produced: Produced) -> int:
    report = _final_report(stack, produced)
    print(f"\n{text_report(report)}")
    rows, distinct = _counts(stack)
    proven = report.outcome is Outcome.PASS and rows == distinct == produced.total
    right = refusal.verdict == "WOULD_DUPLICATE" and refusal.rows == refusal.counted
    if proven:
        highest = max(produced.partitions.values()) - 1
        _say(
            f"no order lost, none doubled: offsets 0..{highest} contiguous in {len(produced.partitions)} "
            "partitions"
        )
    summary = {
        "verdict": report.outcome.value,
        "downtime_seconds": restart.downtime_seconds,
        "old_job_id": restart.savepoint.job_id,
        "new_job_id": restart.running_job.job_id,
        "savepoint": restart.savepoint.path,
        "checkpoint_id": restart.savepoint.checkpoint_id,
        "orders_produced": produced.total,
        "orders_in_table": rows,
        "report": report_path,
        "refused": {"verdict": refusal.verdict, "savepoint": refusal.savepoint, "rows": refusal.rows},
    }
    (stack.directory / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _say(
        f"{produced.total} orders in the topic, {rows} rows in {TABLE}, {distinct} of them distinct; "
        f"{_shown(stack.directory / 'summary.json')}"
    )
    if not right:
        print(
            f"The refusal was not right to the row: {refusal.rows} said, {refusal.counted} counted.",
            file=sys.stderr,
        )
    return 0 if proven and right else 1


def _final_report(stack: Stack, produced: Produced) -> CheckReport:
    access = open_table(stack, TABLE)
    checks = [
        *default_checks(with_restart=False),
        kafka_offsets(
            "kafka_partition", "kafka_offset", offsets="dense", end_offsets=dict(produced.partitions)
        ),
    ]
    context = open_context(
        access, lineage=links_in_properties(access.metadata().properties), flink=open_client(stack)
    )
    report = run_checks(checks, context)
    write_report(Report(report), stack.directory / "reports" / "final")
    return report


def _rows_after(stack: Stack, restart: Restart) -> int:
    """Rows in the table that the older savepoint would read again, by its Kafka offsets: an independent count."""
    position = restart.restore_point.position(TABLE)
    offsets = (position.offsets if position else None) or {}
    scanned = _scan(stack)
    pairs = zip(scanned["kafka_partition"], scanned["kafka_offset"], strict=True)
    return sum(offset >= offsets[f"orders/{partition}"] for partition, offset in pairs)


def _counts(stack: Stack) -> tuple[int, int]:
    scanned = _scan(stack)
    pairs = Counter(zip(scanned["kafka_partition"], scanned["kafka_offset"], strict=True))
    return sum(pairs.values()), len(pairs)


def _row_count(stack: Stack) -> int:
    return _counts(stack)[0]


def _scan(stack: Stack) -> dict[str, list[Any]]:
    """Every row's partition and offset, by PyIceberg's plain scan: nothing of ours is asked."""
    table = open_table(stack, TABLE).load()
    columns: dict[str, list[Any]] = (
        table.scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow().to_pydict()
    )
    return columns


def _wait_for_rows(stack: Stack, wanted: int) -> None:
    deadline = time.monotonic() + _WAIT
    while (rows := _row_count(stack)) < wanted:
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"{TABLE} has {rows} rows, not {wanted}, after {_WAIT:g} s; look into "
                f"{_shown(stack.directory)}/logs."
            )
        time.sleep(0.5)


def _systems(stack: Stack, script: str) -> Systems:
    sink = TableSink(TABLE, sink_uid="orders", rows="one_to_one", offsets="dense")
    return open_systems(stack, FlinkJob("orders", deployment=SqlDeployment(script), sinks=[sink]), script)


def _steps(stack: Stack, name: str) -> Steps:
    return Steps(JsonFileStore(stack.directory / "steps" / f"{name}.json"))


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
