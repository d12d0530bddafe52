"""One self-contained page: no script, nothing loaded from elsewhere, every text escaped, light and dark, printable.

It answers in the order in which it is asked at night: what is the verdict, what to do, how long was the job down, which
check says so, by what evidence.
"""

from __future__ import annotations

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.html_checks import checks_section
from airflow_flink_iceberg.integrity.report.html_restart import ids_section, restart_section
from airflow_flink_iceberg.integrity.report.markup import anchor, link, moment, plain, rows, text, word
from airflow_flink_iceberg.integrity.report.style import STYLE

MAX_BYTES = 200_000
"""A page is smaller than this, whatever is in the report."""

_SPARE = 2_000
_STEP = 500
_NAMES = 12
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_report(report: Report) -> str:
    """The page; of many results the worst are shown with their evidence, then their names, then their number."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="referrer" content="no-referrer"><title>{_title(report)}</title><style>{STYLE}</style></head>'
    )
    above = [head, "\n<body><main>", _verdict(report), _next(report)]
    above += [restart_section(report.restart)] if report.restart else []
    below = [ids_section(report.restart)] if report.restart else []
    below += [_origin(report), "</main></body></html>\n"]
    used = sum(len(part.encode()) + 1 for part in [*above, *below])
    parts = [*above, checks_section(report, MAX_BYTES - used - _SPARE), *below]
    return "\n".join(part for part in parts if part)


def _title(report: Report) -> str:
    where = report.checks.table if report.checks else "restart"
    return plain(f"{report.outcome.value.upper()}: {where}", 120)


def _verdict(report: Report) -> str:
    checks = report.checks
    about = [] if checks is None else [text(f"{checks.table}@{checks.branch}")]
    if checks is not None and checks.snapshot_id is not None:
        about.append(f"snapshot {text(checks.snapshot_id)}")
    if checks is not None and checks.created_at is not None:
        about.append(text(moment(checks.created_at)))
    links = "".join(f"<li>{found}</li>" for found in _links(report))
    return (
        f'<header class="verdict {report.outcome.value}">{word(report.outcome)}<h1>{text(report.sentence, 700)}</h1>'
        f'<p class="dim">{" · ".join(about)}</p>'
        + (f'<ul class="links">{links}</ul>' if links else "")
        + "</header>"
    )


def _links(report: Report) -> list[str]:
    return [found for name, url in list(report.links.items())[:_NAMES] if (found := link(name, url))]


def _next(report: Report) -> str:
    items = "".join(
        f'<li><a href="#{anchor(step.result.name)}">{text(step.result.name, 80)}</a>: {text(step.text, _STEP)}</li>'
        for step in report.next_steps
    )
    if not items:
        return ""
    return f'<section id="next"><h2>What to do next</h2><ol class="steps">{items}</ol></section>'


def _origin(report: Report) -> str:
    items = [(plain(name, 40), value) for name, value in list(report.origin.items())[:_NAMES]]
    return (
        f'<section id="origin"><h2>Made by</h2><dl class="ids">{rows(items)}</dl></section>' if items else ""
    )
