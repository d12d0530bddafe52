"""The report for programs: exactly the dict form, so that ``Report.from_dict`` reads it back."""

from __future__ import annotations

import json

from airflow_flink_iceberg.integrity.report.content import Report

_INDENTED = 1_000


def json_report(report: Report) -> str:
    """The dict form as JSON: ``outcome`` and ``sentence`` on top, then all of the restart and the checks."""
    # Indenting takes Python's own encoder, which is several times slower.
    indent = 2 if len(report.results) <= _INDENTED else None
    return json.dumps(report.to_dict(), indent=indent, ensure_ascii=True, default=str) + "\n"
