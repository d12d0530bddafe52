"""How the offsets that files hold fit between where reading began and where it is, with what is staged at both ends.

What is staged lies right below a state's offset, in whichever partitions. Where its files were looked at, it is known
which; else it is one number, and over several partitions a loss at one end would make up for a doubling at another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_flink_iceberg.integrity.proof_state import partition_of
from airflow_flink_iceberg.integrity.results import counted

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.engines.coverage import OffsetSummary


@dataclass(frozen=True)
class Ends:
    """Where reading began and where it is, by ``topic/partition``, and what is staged at either end.

    :param pending_before: rows that were staged at the start and lie below it, unless ``staged_before`` says where.
    :param pending_now: rows that are staged and not among the files; 0 where their files were looked at.
    """

    starts: Mapping[str, int]
    offsets: Mapping[str, int]
    pending_before: int = 0
    staged_before: Mapping[str, int] | None = None
    pending_now: int = 0

    @property
    def unplaced_before(self) -> int:
        """Rows below the starts of which nobody knows the partition."""
        return 0 if self.staged_before else self.pending_before

    def why_open(self) -> str:
        """Why offsets that fit prove nothing about the ends; empty: they do."""
        now = [key for key, start in self.starts.items() if self.offsets[key] > start]
        if self.pending_now and len(now) > 1:
            return (
                f"the last ones: of the {counted(self.pending_now, 'row')} staged it is not known which of "
                f"{len(now)} partitions they are of; the state of a later checkpoint has them committed"
            )
        before = [key for key, start in self.starts.items() if start > 0]
        if self.unplaced_before and len(before) > 1:
            return (
                f"the first ones: of the {counted(self.unplaced_before, 'row')} staged at the baseline it is not "
                f"known which of {len(before)} partitions they are of; kafka_offsets reads all rows"
            )
        return ""


@dataclass(frozen=True)
class Edges:
    """What is found at the ends.

    :param early: offsets below the start: what was staged at the baseline.
    :param late: by partition, offsets up to the state's that no file has: what is staged now.
    :param missing: holes at the start.
    :param beyond: partitions that reach above the state's offset, or that the state does not know.
    """

    early: int
    late: Mapping[int, int]
    missing: int
    beyond: tuple[int, ...]

    @property
    def short(self) -> int:
        """Offsets up to the state's that no file has."""
        return sum(self.late.values())


def edges(ends: Ends, summary: OffsetSummary) -> Edges:
    """Compare the first and the last offset of each partition with where they should be."""
    found = {item.partition: item for item in summary.partitions if item.first is not None}
    staged = ends.staged_before or {}
    expected = {
        partition_of(key): (start - staged.get(key, 0), ends.offsets[key])
        for key, start in ends.starts.items()
    }
    early = missing = 0
    late: dict[int, int] = {}
    beyond = [partition for partition in found if partition not in expected]
    for partition, (start, end) in expected.items():
        item = found.get(partition)
        if item is None or item.first is None or item.next is None:
            late[partition] = end - start
            continue
        early += max(start - item.first, 0)
        missing += max(item.first - start, 0)
        late[partition] = max(end - item.next, 0)
        if item.next > end:
            beyond.append(partition)
    return Edges(early, late, missing, tuple(beyond))
