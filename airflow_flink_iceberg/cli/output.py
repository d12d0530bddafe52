"""What commands print, and the exit codes: text of tables and jobs cannot steer the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.result import Outcome

PASS, FAIL, USAGE, UNKNOWN, COULD_NOT_RUN = range(5)
EXIT_CODES = "exit codes: 0 pass, 1 fail, 2 usage, 3 unknown, 4 could not run"


def exit_code(outcome: Outcome) -> int:
    """The exit code of an outcome; a warning is a pass."""
    return {"pass": PASS, "warn": PASS, "fail": FAIL, "unknown": UNKNOWN}[outcome.value]


def print_json(document: Any) -> None:
    """Print JSON in plain ASCII, so that nothing in it reaches the terminal as a control character."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text that is safe for a terminal; characters that its encoding lacks are replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    from airflow_flink_iceberg.integrity.report.text import printable
    from airflow_flink_iceberg.integrity.results import clean

    sys.stderr.write(f"flink-iceberg: {printable(clean(message, limit=2_000))}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as their longest cell, numbers to the right."""
    from airflow_flink_iceberg.integrity.report.text import shown

    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(head[place]), *(len(row[place]) for row in cells), 0) for place in range(len(head))]
    is_number = [
        all(row[place] is None or isinstance(row[place], int) for row in rows) for place in range(len(head))
    ]
    lines = []
    for line in [list(head), ["-" * width for width in widths], *cells]:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines) + "\n"
