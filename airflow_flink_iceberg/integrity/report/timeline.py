"""A restart's timeline as inline SVG: numbered moments on one line, the downtime shaded.

Places are percentages and sizes are pixels, so text and markers keep their size on a phone. The numbers are explained
in a list beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from airflow_flink_iceberg.integrity.report.content import spoken_seconds
from airflow_flink_iceberg.integrity.report.text import printable
from airflow_flink_iceberg.model.restart import NEW_JOB_RUNNING, OLD_JOB_ENDED, Restart, TimelineEvent

MAX_EVENTS = 60

_LEFT, _RIGHT = 4.0, 96.0
_APART = 8.5
"""Percent between two markers of a row: about their width on a narrow phone."""
_ROW = 24
_LABEL_ROW = 22
_RADIUS = 9
_HALF_LABEL = 20.0


@dataclass(frozen=True)
class Moment:
    """One numbered moment: percent from the left, and the row that it has room in."""

    number: int
    event: TimelineEvent
    seconds: float
    place: float
    row: int


def moments(restart: Restart) -> list[Moment]:
    """The moments in their order; of more than ``MAX_EVENTS`` the first."""
    events = sorted(restart.timeline, key=lambda event: event.at)[:MAX_EVENTS]
    if not events:
        return []
    start = events[0].at
    span = max(events[-1].at - start, 1)
    found: list[Moment] = []
    ends: list[float] = []
    for number, event in enumerate(events, start=1):
        place = _LEFT + (_RIGHT - _LEFT) * (event.at - start) / span
        row = next((row for row, end in enumerate(ends) if place - end >= _APART), len(ends))
        ends[row : row + 1] = [place]
        found.append(Moment(number, event, (event.at - start) / 1000, place, row))
    return found


def downtime_of(restart: Restart) -> tuple[Moment, Moment] | None:
    """The moments between which nothing ran, if the timeline has both."""
    by_name = {moment.event.name: moment for moment in reversed(moments(restart))}
    ended, running = by_name.get(OLD_JOB_ENDED), by_name.get(NEW_JOB_RUNNING)
    return (ended, running) if ended and running and ended.place <= running.place else None


def timeline_svg(restart: Restart) -> str:
    """The drawing, with its content as text for screen readers; empty without a timeline."""
    found = moments(restart)
    if not found:
        return ""
    axis = _LABEL_ROW + _ROW * (max(moment.row for moment in found) + 1)
    height = axis + 24
    down = downtime_of(restart)
    parts = [
        f'<svg class="timeline" role="img" width="100%" height="{height}" aria-label="{_spoken(found)}">',
        *(_shaded(down, axis, restart.downtime_seconds) if down else []),
        f'<line class="axis" x1="{_LEFT}%" x2="{_RIGHT}%" y1="{axis}" y2="{axis}"/>',
        *(_marker(moment, axis) for moment in reversed(found)),
        f'<text x="{_LEFT}%" y="{height - 6}">0</text>',
        f'<text x="{_RIGHT}%" y="{height - 6}" text-anchor="end">{spoken_seconds(found[-1].seconds)}</text>',
        "</svg>",
    ]
    return "".join(parts)


def _shaded(down: tuple[Moment, Moment], axis: int, seconds: float | None) -> list[str]:
    left, right = down[0].place, down[1].place
    middle = min(max((left + right) / 2, _HALF_LABEL), 100 - _HALF_LABEL)
    top = _LABEL_ROW - 4
    return [
        f'<rect class="down" x="{left:.2f}%" y="{top}" width="{max(right - left, 0.6):.2f}%" height="{axis - top}"/>',
        f'<text class="down" x="{middle:.2f}%" y="13" text-anchor="middle">down {spoken_seconds(seconds)}</text>',
    ]


def _marker(moment: Moment, axis: int) -> str:
    x = f"{moment.place:.2f}%"
    y = axis - _ROW // 2 - _ROW * moment.row
    own = "" if moment.event.clock == "flink" else " other"
    return (
        f'<line class="stem" x1="{x}" x2="{x}" y1="{y}" y2="{axis}"/>'
        f'<circle class="moment{own}" cx="{x}" cy="{y}" r="{_RADIUS}"/>'
        f'<text class="number{own}" x="{x}" y="{y + 4}" text-anchor="middle">{moment.number}</text>'
    )


def _spoken(found: Sequence[Moment]) -> str:
    texts = [
        f"{moment.number} {printable(moment.event.name)[:60]} at {moment.seconds:.3f} s" for moment in found
    ]
    return escape("Timeline: " + ", ".join(texts), quote=True)
