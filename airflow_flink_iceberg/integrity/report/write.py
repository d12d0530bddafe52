"""Writes a report where the caller can write: a local directory, or any store behind one function."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from airflow_flink_iceberg.integrity.report.html import html_report
from airflow_flink_iceberg.integrity.report.json import json_report
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import CheckReport

Write = Callable[[str, str], None]
"""``write(path, text)``: store the text, replacing what is there."""


def write_report(
    report: CheckReport,
    path: str | os.PathLike[str],
    *,
    restart: Restart | None = None,
    write: Write | None = None,
) -> tuple[str, ...]:
    """Write the HTML page and the JSON next to it; return both paths, HTML first.

    :param path: ``.../name.html`` gives ``name.html`` and ``name.json``; anything else is a directory, which gets
        ``report.html`` and ``report.json``.
    :param write: stores one text; default: a local file, its directories made, replaced in one step. A retry
        overwrites; a kill leaves the old file or the new one.
    :raises OSError: the store refused.
    """
    base = os.fspath(path)
    html_path = base if base.endswith((".html", ".htm")) else f"{base.rstrip('/')}/report.html"
    json_path = f"{html_path.rpartition('.')[0]}.json"
    store = write or _write_local
    store(json_path, json_report(report))
    store(html_path, html_report(report, restart))
    return html_path, json_path


def _write_local(path: str, text: str) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the rename stays on one file system; a reader never sees half a page.
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
