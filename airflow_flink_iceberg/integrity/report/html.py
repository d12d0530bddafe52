"""One self-contained page: no script, nothing loaded from elsewhere, every text escaped, light and dark, printable."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Any

from airflow_flink_iceberg.integrity.report.text import MARKS, PROVEN_BY, printable, worst_first
from airflow_flink_iceberg.model.decision import Decision
from airflow_flink_iceberg.model.restart import Restart, TimelineEvent
from airflow_flink_iceberg.model.result import CheckReport, CheckResult

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59636e;--paper:#fff;--line:#d1d9e0;--box:#f6f8fa;
--pass:#1a7f37;--warn:#9a6700;--fail:#cf222e;--unknown:#8250df}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--paper:#0d1117;--line:#3d444d;--box:#151b23;
--pass:#3fb950;--warn:#d29922;--fail:#f85149;--unknown:#ab7df8}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem auto;max-width:72rem;
padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid var(--line);padding:.4rem .6rem;
text-align:left;vertical-align:top;overflow-wrap:anywhere}
.pass{color:var(--pass)}.warn{color:var(--warn)}.fail{color:var(--fail)}.unknown{color:var(--unknown)}
.outcome{font-weight:600;white-space:nowrap}ol.timeline{list-style:none;padding:0;border-left:3px solid var(--line)}
ol.timeline li{padding:.15rem 0 .15rem 1rem}ol.timeline time{display:inline-block;min-width:8rem;color:var(--dim)}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.5rem .8rem;background:var(--box)}
summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12.5px;margin:.5rem 0 0}
@media print{body{margin:0;max-width:none}details{break-inside:avoid}}
""".strip()
_MAX_EVENTS = 60
_MAX_EVIDENCE = 6_000


def html_report(report: CheckReport, restart: Restart | None = None) -> str:
    """The page, below 200 kB; ``restart`` adds its timeline, downtime and the guard's decision."""
    title = f"{report.outcome.value.upper()}: {report.table}@{report.branch}"
    body = [
        f'<h1><span class="{report.outcome.value}">{_mark(report.outcome)} {_text(title)}</span></h1>',
        f'<p class="dim">Snapshot {_text(report.snapshot_id)}{_at(report.created_at)}</p>',
        *([_restart(restart)] if restart else []),
        '<h2 id="checks">Checks</h2>',
        _table(report.results),
        '<h2 id="evidence">Evidence</h2>',
        *(_evidence(number, result) for number, result in enumerate(worst_first(report.results), start=1)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _table(results: Iterable[CheckResult]) -> str:
    rows = "".join(_table_row(result) for result in worst_first(list(results)))
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("outcome", "check", "expected", "actual", "proven by")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _table_row(result: CheckResult) -> str:
    name = result.name if result.column is None else f"{result.name} ({result.column})"
    below = "" if result.severity.value == "error" else f' <span class="dim">({result.severity.value})</span>'
    cells = (
        f'<td class="outcome {result.outcome.value}">{_mark(result.outcome)} {result.outcome.value}{below}</td>',
        f"<td>{_text(name)}</td>",
        f"<td>{_text(result.expected)}</td>",
        f"<td>{_text(result.actual)}</td>",
        f"<td>{_text(PROVEN_BY.get(result.tier, result.tier))}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _evidence(number: int, result: CheckResult) -> str:
    is_open = "" if result.success else " open"
    document = {"params": dict(result.params), "evidence": dict(result.evidence)}
    pretty = json.dumps(document, indent=1, default=str)
    if len(pretty) > _MAX_EVIDENCE:
        pretty = pretty[:_MAX_EVIDENCE] + "\n... (the JSON report has the rest)"
    return (
        f'<details id="check-{number}"{is_open}><summary><span class="{result.outcome.value}">'
        f"{_mark(result.outcome)}</span> {_text(result.name)}: {_text(result.description)}</summary>"
        f"<pre>{_lines(pretty)}</pre></details>"
    )


def _restart(restart: Restart) -> str:
    savepoint, job = restart.savepoint, restart.running_job
    facts = [
        ("downtime", _seconds(restart.downtime_seconds)),
        ("until all tasks ran", _seconds(restart.all_tasks_downtime_seconds)),
        (
            "savepoint",
            f"checkpoint {savepoint.checkpoint_id} ({savepoint.checkpoint_id_source.value}), {savepoint.path}",
        ),
        ("old job", savepoint.job_id),
        ("new job", job.job_id),
        ("decision", _decision(restart.decision)),
    ]
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{_text(value)}</td></tr>' for name, value in facts)
    return f'<h2 id="restart">Restart</h2><table><tbody>{rows}</tbody></table>{_timeline(restart.timeline)}'


def _timeline(events: tuple[TimelineEvent, ...]) -> str:
    if not events:
        return ""
    ordered = sorted(events, key=lambda event: event.at)[:_MAX_EVENTS]
    start = ordered[0].at
    items = "".join(
        f"<li><time>+{(event.at - start) / 1000:.3f} s</time> {_text(event.name)} "
        f'<span class="dim">({_text(event.clock)} clock)</span></li>'
        for event in ordered
    )
    return f'<h2 id="timeline">Timeline</h2><p class="dim">0 is{_at(start)[1:]}</p><ol class="timeline">{items}</ol>'


def _decision(decision: Decision) -> str:
    accepted = f", accepted: {decision.reason}" if decision.reason else ""
    return f"{decision.verdict.value} (by {decision.proven_by}){accepted}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f} s"


def _at(moment: int | None) -> str:
    if moment is None:
        return ""
    try:
        return f", {datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f", {moment} ms"


def _mark(outcome: Any) -> str:
    return MARKS[outcome]


def _text(value: Any) -> str:
    return "-" if value is None else escape(printable(str(value)), quote=True)


def _lines(text: str) -> str:
    return "\n".join(_text(line) for line in text.split("\n"))
