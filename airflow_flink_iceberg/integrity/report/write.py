"""Writes a report where the caller can write: a local directory, or any store behind one function."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.html import html_report
from airflow_flink_iceberg.integrity.report.json import json_report
from airflow_flink_iceberg.integrity.report.markdown import markdown_report

Write = Callable[[str, str], None]
"""``write(path, text)``: store the text, replacing what is there."""


def report_paths(path: str | os.PathLike[str]) -> tuple[str, str, str]:
    """HTML, Markdown and JSON: of ``.../name.html`` beside it as ``name``; below a directory as ``report``."""
    given = os.fspath(path)
    is_page = given.endswith((".html", ".htm"))
    base = given.rpartition(".")[0] if is_page else f"{given.rstrip('/')}/report"
    return given if is_page else f"{base}.html", f"{base}.md", f"{base}.json"


def write_report(
    report: Report, path: str | os.PathLike[str], *, write: Write | None = None
) -> tuple[str, str, str]:
    """Write the page, the Markdown and the JSON; return their paths, the page first.

    :param path: ``.../name.html`` gives ``name.html``, ``name.md`` and ``name.json``; anything else is a directory,
        which gets ``report.html`` and so on.
    :param write: stores one text; default: a local file, its directories made, replaced in one step. A retry
        overwrites; a kill leaves the old file or the new one.
    :raises OSError: the store refused.
    """
    html, markdown, document = report_paths(path)
    store = write or _write_local
    # The page last: whoever sees the new page finds the rest as new.
    store(document, json_report(report))
    store(markdown, markdown_report(report))
    store(html, html_report(report))
    return html, markdown, document


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
