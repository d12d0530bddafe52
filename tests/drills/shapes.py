"""The guard's answers over ten ordinary job shapes on real Flink, and what became of the rows.

Every start is asked about and then really made, also where it was refused; the rows are counted by an oracle that uses
none of the package's code. ``python -m tests.drills.shapes [--shape NAME]... [--sink v1|v2] [--directory DIR]`` prints
the table and leaves it as ``build/shapes.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from airflow_flink_iceberg.model.decision import Verdict
from playground.stack import Stack
from tests.drills.shapes_jobs import SHAPES, Shape
from tests.drills.shapes_starts import LIVES, Answer
from tests.support.judged import Judged, judge

RESULT = Path(__file__).resolve().parents[2] / "build" / "shapes.json"
SINKS = ("v2", "v1")


@dataclass(frozen=True)
class Row:
    """One start.

    :param said: rows that the guard foretold, by table (> 0 doubled, < 0 lost); ``None``: no number.
    :param counted: the same as counted; ``None``: the start never ran.
    """

    shape: str
    sink: str
    start: str
    verdict: str
    cause: str | None
    said: int | None
    lost: int | None
    doubled: int | None
    kind: str
    message: str


def classify(answer: Answer) -> Judged:
    """How the guard's answer compares with the rows."""
    damage = answer.damage
    is_harmed = damage is None or any(each.any for each in damage.values())
    return judge(Verdict(answer.verdict), is_harmed=is_harmed, number=_is_number_right(answer))


def _is_number_right(answer: Answer) -> bool | None:
    if answer.damage is None or not answer.said:
        return None
    return answer.said == {
        table: damage.net
        for table, damage in answer.damage.items()
        if damage.any and table not in answer.unknown
    }


def row_of(shape: Shape, sink: str, answer: Answer) -> Row:
    """One line of the table."""
    damage = None if answer.damage is None else list(answer.damage.values())
    return Row(
        shape.name,
        sink,
        answer.start,
        answer.verdict,
        answer.cause,
        sum(answer.said.values()) if answer.said else None,
        None if damage is None else sum(each.lost for each in damage),
        None if damage is None else sum(each.doubled for each in damage),
        classify(answer).value,
        answer.message,
    )


def play(stack: Stack, shape: Shape, sink: str) -> list[Row]:
    """Every start of one shape with one sink."""
    return [row_of(shape, sink, answer) for life in LIVES for answer in life(stack, shape, sink)]


def write(rows: Iterable[Row], path: Path = RESULT) -> None:
    """Leave the rows and their summary as JSON."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "on": datetime.now(UTC).date().isoformat(),
        "summary": dict(summary(rows)),
        "starts": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def summary(rows: Iterable[Row]) -> Counter[str]:
    """How many answers of each class."""
    found = Counter(row.kind for row in rows)
    return Counter({kind.value: found[kind.value] for kind in Judged})


def as_table(rows: Iterable[Row]) -> str:
    """The table for people, and the summary below it."""
    rows = list(rows)
    head = ("shape", "sink", "start", "answer", "cause", "said", "lost", "doubled", "class")
    lines = [head, *(tuple(_shown(item) for item in list(asdict(row).values())[:9]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    counts = [f"{count:4d}  {kind}" for kind, count in summary(rows).items()]
    return "\n".join(
        [*text, "", f"{len(rows)} starts of {len({row.shape for row in rows})} job shapes", *counts]
    )


def _shown(item: object) -> str:
    return "-" if item is None else str(item)


def main(arguments: list[str] | None = None) -> int:
    """Play and print; 1 if a SAFE was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.drills.shapes", description="Ten ordinary job shapes."
    )
    parser.add_argument("--shape", action="append", choices=[shape.name for shape in SHAPES])
    parser.add_argument("--sink", action="append", choices=SINKS)
    parser.add_argument("--directory", type=Path, default=Path("build/shapes"))
    parser.add_argument("--attach", action="store_true", help="use the stack that runs in the directory")
    options = parser.parse_args(arguments)
    if options.attach:
        return _play_all(Stack.attach(options.directory), options)
    with Stack(options.directory, checkpoint_interval=0.5, slots=8) as stack:
        return _play_all(stack, options)


def _play_all(stack: Stack, options: argparse.Namespace) -> int:
    rows: list[Row] = []
    for shape in SHAPES:
        for sink in SINKS:
            if shape.name in (options.shape or [shape.name]) and sink in (options.sink or SINKS):
                for row in play(stack, shape, sink):
                    rows.append(row)
                    print(row, file=sys.stderr, flush=True)
                    write(rows)
    print(as_table(rows))
    return 1 if any(row.kind == Judged.SAFE_WRONG for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
