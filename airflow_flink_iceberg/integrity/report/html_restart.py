"""The page's part about the restart: how long nothing ran, when what happened, what the guard said, and the ids."""

from __future__ import annotations

from typing import Any

from airflow_flink_iceberg.integrity.report.content import spoken_seconds
from airflow_flink_iceberg.integrity.report.markup import moment as spoken_moment
from airflow_flink_iceberg.integrity.report.markup import rows, shortened, text
from airflow_flink_iceberg.integrity.report.timeline import MAX_EVENTS, moments, timeline_svg
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.restore_point import SinkPosition

_FINDINGS = 5
_SINKS = 10
_WORD = {Verdict.SAFE: "pass", Verdict.UNKNOWN: "unknown"}


def restart_section(restart: Restart) -> str:
    """How long, when, and by whose leave."""
    return (
        '<section id="restart"><h2>Restart</h2>'
        f"{_tiles(restart)}{_timeline(restart)}{_findings(restart.decision)}</section>"
    )


def ids_section(restart: Restart) -> str:
    """What has to be copied into other tools."""
    return f'<section id="ids"><h2>Ids</h2><dl class="ids">{rows(_ids(restart))}</dl></section>'


def _tiles(restart: Restart) -> str:
    decision, savepoint = restart.decision, restart.savepoint
    verdict = decision.verdict
    guard = f'<span class="word {_WORD.get(verdict, "fail")}">{verdict.value}</span>'
    tiles = [
        ("Downtime", spoken_seconds(restart.downtime_seconds), "old job ended to new job RUNNING"),
        ("Until all tasks ran", spoken_seconds(restart.all_tasks_downtime_seconds), "from the old job's end"),
        ("Guard", guard, f"proven by {text(decision.proven_by, 20)}"),
        ("From checkpoint", text(savepoint.checkpoint_id), f"commit {savepoint.commit.value}"),
    ]
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{below}</small></dd></div>" for name, value, below in tiles
    )
    return f'<dl class="tiles">{shown}</dl>'


def _timeline(restart: Restart) -> str:
    found = moments(restart)
    if not found:
        return (
            "<p>There is no timeline: Flink no longer knew when the old job ended or the new one began.</p>"
        )
    items = "".join(
        f"<li><b>{each.number}</b><span>{text(each.event.name, 100)}{_clock(each.event.clock)}</span>"
        f"<time>+{each.seconds:.3f} s</time></li>"
        for each in found
    )
    more = len(restart.timeline) - MAX_EVENTS
    left_out = f'<p class="dim">{more} later moments are in the JSON report.</p>' if more > 0 else ""
    return (
        f'<figure id="timeline">{timeline_svg(restart)}<ol class="moments">{items}</ol>'
        f'<p class="dim">0 is {text(spoken_moment(found[0].event.at))}</p>{left_out}</figure>'
    )


def _clock(clock: str) -> str:
    return "" if clock == "flink" else f' <small class="dim">({text(clock, 30)} clock)</small>'


def _findings(decision: Decision) -> str:
    """What the guard had to say; accepted verdicts with the reason that somebody gave."""
    found = "".join(
        f"<li><b>{finding.verdict.value}</b> ({finding.cause.value}): {text(finding.message, 500)} "
        f"{text(finding.next_step) if finding.next_step else ''}</li>"
        for finding in decision.findings[:_FINDINGS]
        if finding.verdict is not Verdict.SAFE
    )
    names = ", ".join(verdict.value for verdict in decision.accepted)
    accepted = (
        f"<p><b>Accepted:</b> {names}, because: {text(decision.reason)}</p>" if decision.accepted else ""
    )
    return accepted + (f'<ul class="steps">{found}</ul>' if found else "")


def _ids(restart: Restart) -> list[tuple[str, Any]]:
    savepoint, job = restart.savepoint, restart.running_job
    of_sinks = [("table", _position(sink)) for sink in restart.restore_point.sinks[:_SINKS]]
    return [
        ("old job", savepoint.job_id),
        ("new job", job.job_id),
        ("savepoint", savepoint.path),
        ("checkpoint", f"{savepoint.checkpoint_id} (known from {savepoint.checkpoint_id_source.value})"),
        ("first checkpoint", job.first_checkpoint_id),
        *of_sinks,
    ]


def _position(sink: SinkPosition) -> str:
    where = f"{shortened(sink.table, 100)}@{shortened(sink.branch, 40)}"
    return f"{where}: snapshot {sink.snapshot_id}, tag {shortened(str(sink.tag), 80)}"
