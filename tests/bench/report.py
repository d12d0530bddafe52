"""How long the report of a very large run of checks takes: all three forms, from the values to the files."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.write import write_report
from airflow_flink_iceberg.integrity.results import tidy
from airflow_flink_iceberg.model import CheckReport, CheckResult, Outcome

RESULTS = 10_000
_MAX_PAGE = 200_000
_FILE = "s3://warehouse/shop/orders/data/kafka_partition=3/00000-0-8f1d3a5e2b7c90aa41-{number:05d}.parquet"


def run(runs: int) -> list[dict[str, Any]]:
    """``report_10k_results``: the median of writing HTML, Markdown and JSON to a directory, in seconds.

    :raises RuntimeError: the page is larger than it may be.
    """
    report = Report(many_results())
    seconds: list[float] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            started = time.perf_counter()
            page, *_ = write_report(report, directory)
            seconds.append(time.perf_counter() - started)
            size = Path(page).stat().st_size
    if size >= _MAX_PAGE:
        raise RuntimeError(f"the page has {size:,} bytes, at most {_MAX_PAGE:,} are allowed")
    return [
        {
            "name": "report_10k_results",
            "value": round(statistics.median(seconds), 3),
            "target": 1,
            "better": "lower",
            "unit": "s",
            "against": "nothing: HTML, Markdown and JSON of 10,000 results, one in three a failure",
            "runs": runs,
            "spread": [round(min(seconds), 3), round(max(seconds), 3)],
            "counted": {"page_bytes": size, "results": RESULTS},
        }
    ]


def many_results() -> CheckReport:
    """One result in three is a failure; the evidence is capped as the checks cap it."""
    return CheckReport("shop.orders", 1, tuple(_result(number) for number in range(RESULTS)))


def _result(number: int) -> CheckResult:
    files = tidy([_FILE.format(number=number + place) for place in range(3)])
    return CheckResult(
        f"duplicate_files_{number}",
        "duplicate_files",
        Outcome.FAIL if number % 3 == 0 else Outcome.PASS,
        table="shop.orders",
        expected="each file once",
        actual=f"{number} files more than once",
        description=f"{number} data files are live more than once: readers see {number * 7} rows too many.",
        evidence={"files": {"count": number, "first": files}, "seconds": 0.012},
    )
