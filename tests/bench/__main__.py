"""``python -m tests.bench [NAME ...]``: measures the named figures, or all, and says which meet their targets.

Each figure compares two things within one run, in turn, so that a slow minute of the machine hits both. Prints a table
and writes ``.playground/bench.json``, a list with what this run has measured; it is written anew after each module, so
a run that is broken off leaves what it had.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.registry import chosen, names

RESULT = Path(__file__).resolve().parents[2] / ".playground" / "bench.json"
_COLUMNS = ("figure", "value", "target", "met", "spread", "runs", "against")


def main(arguments: Sequence[str] | None = None, result: Path = RESULT) -> int:
    """0 when everything was measured, also if a target was missed; 1 if a figure could not be; 2 for a wrong name."""
    given = _parser().parse_args(arguments)
    wanted = given.figures
    try:
        measurements = chosen(wanted)
    except KeyError as error:
        print(f"No such figure: {error.args[0]}. There are: {', '.join(names())}.", file=sys.stderr)
        return 2
    entries: list[dict[str, Any]] = []
    failed: list[str] = []
    for measurement in measurements:
        started = time.monotonic()
        print(f"measuring {', '.join(measurement.names)} ...", flush=True)
        try:
            entries.extend(measurement.run(given.runs))
        except Exception:  # noqa: BLE001  # the other figures are worth having all the same
            traceback.print_exc()
            failed.extend(measurement.names)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
        _write(entries, result)
    print("\n".join(["", *table(entries), "", *details(entries), "", *verdict(entries, failed)]))
    print(f"written to {result}")
    return 1 if failed else 0


def is_met(entry: dict[str, Any]) -> bool:
    """Whether the figure reaches its target."""
    value, target = float(entry["value"]), float(entry["target"])
    return value <= target if entry["better"] == "lower" else value >= target


def table(entries: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each figure."""
    rows = [_COLUMNS, *(_cells(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def details(entries: Sequence[dict[str, Any]]) -> list[str]:
    """What does not fit into the table: both medians, and what was counted afterwards."""
    return [
        f"{entry['name']}: "
        + "; ".join(f"{_title(key)} {_text(entry[key])}" for key in _DETAILS if key in entry)
        for entry in entries
        if any(key in entry for key in _DETAILS)
    ]


def verdict(entries: Sequence[dict[str, Any]], failed: Sequence[str]) -> list[str]:
    """How many targets are met, and each one that is not."""
    missed = [entry for entry in entries if not is_met(entry)]
    return [
        f"{len(entries) - len(missed)} of {len(entries)} targets are met.",
        *(
            f"MISSED: {entry['name']} is {entry['value']} {entry['unit']}, the target is {_target(entry)}."
            for entry in missed
        ),
        *(f"NOT MEASURED: {name}; the error is above." for name in failed),
    ]


_DETAILS = (
    "median_ms",
    "quartiles_ms",
    "spread_ms",
    "all_tasks_value",
    "all_tasks_median_ms",
    "pair_difference_ms",
    "cpu_ms",
    "added_seconds",
    "to_launch_seconds",
    "import_seconds",
    "counted",
)


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    spread = entry.get("spread")
    return (
        entry["name"],
        f"{entry['value']} {entry['unit']}",
        _target(entry),
        "yes" if is_met(entry) else "NO",
        f"{spread[0]} .. {spread[1]}" if spread else "",
        str(entry["runs"]),
        entry["against"],
    )


def _target(entry: dict[str, Any]) -> str:
    return f"{'<=' if entry['better'] == 'lower' else '>='} {entry['target']} {entry['unit']}"


def _title(key: str) -> str:
    return key.removesuffix("_value").replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{side} {_text(number)}" for side, number in value.items())
    if isinstance(value, list):
        return " .. ".join(str(number) for number in value)
    return str(value)


def _write(entries: Sequence[dict[str, Any]], result: Path) -> None:
    result.parent.mkdir(exist_ok=True)
    unfinished = result.with_suffix(".new")
    unfinished.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Side-by-side ratios.")
    parser.add_argument("figures", nargs="*", metavar="NAME", help="figures to measure; all by default")
    parser.add_argument(
        "--runs", type=_positive, help="instead of each figure's own number: fewer for a first look"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
