"""The report for programs: exactly the dict form, so that ``CheckReport.from_dict`` reads it back."""

from __future__ import annotations

import json

from airflow_flink_iceberg.model.result import CheckReport


def json_report(report: CheckReport) -> str:
    """The dict form as indented JSON; below 48 KB when it comes from ``run_checks``."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=True) + "\n"
