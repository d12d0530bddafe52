"""How other people's texts get into a page: escaped, without control characters, and not endless."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlsplit

from airflow_flink_iceberg.integrity.report.text import MARKS, printable
from airflow_flink_iceberg.model.result import Outcome

LIMIT = 300
"""Characters of a text that a page shows unless told otherwise; the JSON report has the whole of it."""


def text(value: Any, limit: int = LIMIT) -> str:
    """Escaped text that writes in its own direction: right-to-left characters move nothing beside them."""
    return "-" if value is None else f"<bdi>{plain(value, limit)}</bdi>"


def plain(value: Any, limit: int = LIMIT) -> str:
    """Escaped text for attributes and for where an element may not stand."""
    return escape(printable(shortened(str(value), limit)), quote=True)


def shortened(value: str, limit: int) -> str:
    """The beginning of a long text, or of an id its beginning and its end."""
    if len(value) <= limit:
        return value
    if " " in value[:limit]:
        return f"{value[: limit - 1]}…"
    half = limit // 2
    return f"{value[:half]}…{value[half + 1 - limit :]}"


def word(outcome: Outcome) -> str:
    """An outcome as mark and word."""
    return f'<span class="word {outcome.value}">{MARKS[outcome]} {outcome.value}</span>'


def anchor(name: str) -> str:
    """A check's name as an anchor, the same from report to report."""
    return "check-" + (re.sub(r"[^a-z0-9_-]", "", name.lower())[:60] or "unnamed")


def rows(items: list[tuple[str, Any]]) -> str:
    """Names, which are ours, and values as a list of definitions; those without a value are left out."""
    shown = [(name, value) for name, value in items if value not in (None, "")]
    return "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in shown)


def link(name: str, address: str) -> str:
    """A link, if the address is one of the web; else nothing."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return f'<a href="{plain(address, 2_000)}" rel="noreferrer">{plain(name, 60)}</a>' if is_web else ""


def moment(milliseconds: int | None) -> str:
    """A time in UTC; a number that is no time is shown as it is."""
    if milliseconds is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"{milliseconds} ms"
