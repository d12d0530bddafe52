"""What a drill has seen in one world: the guard's answer before a start, and the rows counted after it.

Every drill that makes a world leaves such a row in ``build/worlds.json``; ``python -m tests.drills.evidence`` makes the
pages of the docs from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from filelock import FileLock

from airflow_flink_iceberg.model.decision import Verdict
from playground.stack import Stack
from playground.versions import ICEBERG
from tests.support.judged import Judged, judge

RESULTS = Path(__file__).resolve().parents[2] / "build" / "worlds.json"
_SHOWN = (
    "world",
    "sink",
    "flink",
    "verdict",
    "cause",
    "said",
    "after",
    "lost",
    "doubled",
    "proof",
    "by_rows",
)


class After(StrEnum):
    """What became of the rows, and how the guard's number compares with it."""

    EXACT = "exact"
    AS_SAID = "as said"
    """Lost or doubled exactly as many as the guard said."""
    NO_NUMBER = "damaged, no number said"
    NUMBER_WRONG = "damaged, BUT NOT AS SAID"
    NEVER_RUNS = "never runs"
    UNREADABLE = "table unreadable"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param done: how the world was made, one sentence.
    :param verdict: of the guard; other words where a drill asks for more than one start.
    :param said: rows that the guard foretold; ``None``: no number.
    :param lost: with ``doubled`` as counted; ``None`` where the start never ran or the table cannot be read.
    :param why: for a refusal of what is harmless, and for an UNKNOWN: why nothing better can be said.
    :param proof: what ``state_matches_table`` says of the table in the end, ``by_rows`` what ``kafka_offsets`` does;
        empty: nothing ran in the end, or the proof was not asked.
    :param on: the day of the run.
    """

    world: str
    sink: str
    flink: str
    verdict: str
    cause: str | None
    said: int | None
    after: str
    lost: int | None
    doubled: int | None
    as_expected: bool
    seconds: float
    done: str = ""
    why: str = ""
    proof: str = ""
    by_rows: str = ""
    iceberg: str = ICEBERG
    on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def judged(self) -> Judged | None:
        """The class of the answer; ``None`` where it is not a verdict of the guard."""
        if self.verdict not in list(Verdict):
            return None
        number = {After.AS_SAID: True, After.NUMBER_WRONG: False}.get(After(self.after))
        return judge(Verdict(self.verdict), is_harmed=self.after != After.EXACT, number=number)


def after(damage: tuple[int, int], said: int | None = None) -> After:
    """How counted (lost, doubled) rows compare with the rows that were said."""
    if damage == (0, 0):
        return After.EXACT
    if not said:
        return After.NO_NUMBER
    return After.AS_SAID if said in (sum(damage), max(damage)) else After.NUMBER_WRONG


def seen(
    rows: list[Row],
    stack: Stack,
    world: str,
    sink: str,
    done: str,
    *,
    answer: tuple[str, str | None, int | None],
    damage: tuple[int, int] | After,
    seconds: float = 0.0,
    why: str = "",
) -> None:
    """Add the row of a world that a drill of its own makes: what it has seen, it has asserted, too.

    :param answer: verdict, cause and rows that were said.
    :param damage: counted (lost, doubled), or that there is nothing to count.
    :param why: as in :class:`Row`.
    """
    lost, doubled = (None, None) if isinstance(damage, After) else damage
    became = damage if isinstance(damage, After) else after(damage, answer[2])
    rows.append(
        Row(
            world, sink, stack.versions.flink, *answer, became.value, lost, doubled, True, round(seconds, 1),
            done=done, why=why,
        )
    )  # fmt: skip


def write(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Leave the rows as JSON, in place of those of the same worlds from an earlier run; lanes wait for each other."""
    new = list(rows)
    played = {_key(row) for row in new}
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=60):
        kept = [row for row in read(path) if _key(row) not in played]
        path.write_text(json.dumps([asdict(row) for row in [*kept, *new]], indent=1) + "\n")


def read(path: Path = RESULTS) -> list[Row]:
    """The rows of the newest run of each world; none before the first."""
    if not path.exists():
        return []
    return [Row(**found) for found in json.loads(path.read_text())]


def as_table(rows: Sequence[Row]) -> str:
    """The table for people."""
    head = (*_SHOWN, "", "s")
    lines = [head, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines) + "\n"


def _line(row: Row) -> tuple[str, ...]:
    shown = [getattr(row, name) for name in _SHOWN]
    shown += ["" if row.as_expected else "NOT AS EXPECTED", row.seconds]
    return tuple("-" if item is None else str(item) for item in shown)


def _key(row: Row) -> tuple[str, str, str]:
    return row.world, row.sink, row.flink


def timed(row: Row, seconds: float) -> Row:
    """The row with its duration."""
    return replace(row, seconds=round(seconds, 1))
