"""What became of every start that an e2e test made through our code: the guard's answer, and the rows counted after it.

``observed/sitecustomize.py`` notes the answers, in the test's process and in its children. When a test is over, its
table is counted at the moments that Iceberg's own log of heads tells: before a start was decided, and at the last
commit of the run that it began. The session leaves ``build/e2e.json``; ``python -m tests.drills.evidence`` reads it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model.decision import Verdict
from playground.versions import ICEBERG
from tests.e2e.observed import sitecustomize
from tests.support.judged import Judged, judge

RESULTS = Path(__file__).resolve().parents[2] / "build" / "e2e.json"
_COLUMNS = ("kafka_partition", "kafka_offset")
_rows: list[Row] = []


class Became(StrEnum):
    """What is known of a start."""

    COUNTED = "counted"
    NOT_MADE = "refused, not made"
    UNCOUNTED = "made, not counted"
    """The table has no offsets to count by, or the run that was begun committed nothing by which it could be told."""


@dataclass(frozen=True)
class Row:
    """One start.

    :param test: the file. :param said: rows that the guard foretold; ``None``: no number.
    :param lost: with ``doubled`` as counted for this start alone; ``None`` where nothing was.
    """

    test: str
    table: str
    flink: str
    verdict: str
    cause: str | None
    said: int | None
    message: str
    became: str
    lost: int | None = None
    doubled: int | None = None
    iceberg: str = ICEBERG
    on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @property
    def judged(self) -> Judged | None:
        """The class of the answer; ``None`` where there is nothing to compare it with."""
        if self.lost is None or self.doubled is None:
            return None
        damage = self.lost + self.doubled
        number = self.said in (damage, self.lost, self.doubled) if self.said else None
        return judge(Verdict(self.verdict), is_harmed=damage > 0, number=number)


@contextmanager
def noted(directory: Path, results: Path = RESULTS) -> Iterator[None]:
    """Note all starts of this process and of its children, and leave those whose tables were counted as JSON.

    A row takes the place of those of an earlier session with the same test file.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(sitecustomize.FILE, str(directory / "starts.jsonl"))
        patch.setenv("PYTHONPATH", str(Path(sitecustomize.__file__).parent), prepend=os.pathsep)
        yield
    write(_rows, results)


def count(
    name: str, open_table: Callable[[], Any], end_offsets: Callable[[], Mapping[int, int]], flink: str
) -> None:
    """Keep a row for each start of the jobs that write this table, once they have ended; asks nothing without one.

    :param open_table: by PyIceberg. :param end_offsets: of the table's topic, by the broker.
    """
    starts = [start for start in _starts() if name in start["tables"]]
    if not starts:
        return
    counted = _Counted(open_table(), end_offsets())
    moments = [start["at"] for start in starts if start["made"]] + [float("inf")]
    for start in starts:
        until = next(moment for moment in moments if moment > start["at"])
        damage = counted.damage(start["job_id"], start["at"], until) if start["made"] else None
        made = Became.COUNTED if damage else Became.UNCOUNTED
        _rows.append(_row(start, name, flink, made if start["made"] else Became.NOT_MADE, damage))


def _row(
    start: Mapping[str, Any], table: str, flink: str, became: Became, damage: tuple[int, int] | None
) -> Row:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0].rpartition("/")[2]
    said = {key: start[key] for key in ("verdict", "cause", "said", "message")}
    lost, doubled = damage or (None, None)
    return Row(test, table, flink, **said, became=became.value, lost=lost, doubled=doubled)


def write(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Leave the rows as JSON, in place of earlier ones of the same test files."""
    new = list(rows)
    played = {row.test for row in new}
    kept = [row for row in read(path) if row.test not in played]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in [*kept, *new]], indent=1) + "\n")


def read(path: Path = RESULTS) -> list[Row]:
    """The rows of the newest session of each test file; none before the first."""
    return [Row(**found) for found in json.loads(path.read_text())] if path.exists() else []


def damage_of(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """(lost, doubled): an offset is lost when a later one of its partition is there, because sources read in order."""
    newest = _newest(counts)
    lost = sum(offset + 1 for offset in newest.values()) - len(counts)
    return lost, counts.total() - len(counts)


class _Counted:
    """A table's rows at the moments of its life."""

    def __init__(self, table: Any, end_offsets: Mapping[int, int]) -> None:
        self._table = table
        self._ends = {partition: end for partition, end in end_offsets.items() if end}
        self._heads: Sequence[tuple[float, int]] = [
            (entry.timestamp_ms / 1000, entry.snapshot_id) for entry in table.history()
        ]
        self._counts = cache(self._scan)

    def damage(self, job_id: str, at: float, until: float) -> tuple[int, int] | None:
        """Rows that the run lost and doubled from its decision until the next; ``None``: nothing tells.

        What others commit after the run's last commit is not the start's: a repair would hide its damage.
        """
        names = {each.name for each in self._table.schema().fields}
        if not names.issuperset(_COLUMNS):
            return None
        earlier = [head for moment, head in self._heads if moment <= at]
        later = [head for moment, head in self._heads if at < moment <= until]
        own = [head for head in later if self._writer(head) == job_id]
        before = self._counts(earlier[-1]) if earlier else Counter()
        after = (
            self._counts(own[-1] if own else (later or earlier)[-1]) if own or later or earlier else Counter()
        )
        if not self._tells(before, after, is_own=bool(own)):
            return None
        lost, doubled = (now - then for now, then in zip(damage_of(after), damage_of(before), strict=True))
        return max(0, lost), max(0, doubled)

    def _tells(self, before: Counter[Any], after: Counter[Any], *, is_own: bool) -> bool:
        """Whether the rows show what became of the start.

        Either each partition has got newer rows, so that a gap would be seen, or all that the topic has is there.
        """
        old, new = _newest(before), _newest(after)
        if new == {partition: end - 1 for partition, end in self._ends.items()}:
            return True
        return is_own and all(new.get(partition, -1) > old.get(partition, -1) for partition in self._ends)

    def _writer(self, snapshot_id: int) -> str | None:
        summary = self._table.snapshot_by_id(snapshot_id).summary
        return str(summary["flink.job-id"]) if summary and "flink.job-id" in summary else None

    def _scan(self, snapshot_id: int) -> Counter[tuple[int, int]]:
        scan = self._table.scan(selected_fields=_COLUMNS, snapshot_id=snapshot_id)
        found = scan.to_arrow().to_pydict()
        return Counter(zip(*(found[column] for column in _COLUMNS), strict=True))


def _newest(counts: Iterable[tuple[int, int]]) -> dict[int, int]:
    newest: dict[int, int] = {}
    for partition, offset in counts:
        newest[partition] = max(offset, newest.get(partition, -1))
    return newest


def _starts() -> list[dict[str, Any]]:
    """The noted starts in order; of a start that was decided on again before it was launched, the last decision."""
    file = Path(os.environ.get(sitecustomize.FILE, os.devnull))
    lines = file.read_text().splitlines() if file.is_file() else []
    found = {(start["job_id"], start["made"]): start for start in map(json.loads, lines)}
    return sorted(found.values(), key=lambda start: float(start["at"]))
