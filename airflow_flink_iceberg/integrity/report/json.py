"""The report for programs: exactly the dict form, so that ``Report.from_dict`` reads it back."""

from __future__ import annotations

import json

from airflow_flink_iceberg.integrity.report.content import Report


def json_report(report: Report) -> str:
    """The dict form as indented JSON: ``outcome`` and ``sentence`` on top, then all of the restart and the checks."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=True, default=str) + "\n"
