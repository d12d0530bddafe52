"""What Flink's runs had committed up to a snapshot, in so little that a baseline carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.values import Value


@dataclass(frozen=True)
class Past(Value):
    """A fact about the ancestry of one snapshot, which nothing that happens to the table later can change.

    :param runs: by job id, in the order of their first commits: the highest checkpoint id by operator id (empty: the
        stamp has none); the end of input is the highest of all.
    :param latest: positions in ``runs``, in the order of their last commits.
    :param whole: the ancestry was seen down to the table's first snapshot, and each Flink stamp in it could be read.
    """

    KIND: ClassVar[str] = "past"

    runs: Mapping[str, Mapping[str, int]]
    latest: tuple[int, ...]
    whole: bool

    def __post_init__(self) -> None:
        each_by_operator = isinstance(self.runs, Mapping) and all(
            isinstance(ids, Mapping) and ids for ids in self.runs.values()
        )
        if not each_by_operator or not all(
            type(number) is int and number >= 0 for ids in self.runs.values() for number in ids.values()
        ):
            raise InvalidValue("A past says of each run the highest checkpoint id by operator.")
        if sorted(self.latest) != list(range(len(self.runs))):
            raise InvalidValue("A past has each of its runs once in the order of their last commits.")
        if not isinstance(self.whole, bool):
            raise InvalidValue("A past says whether it is whole.")

    def newest(self, job_id: str) -> int:
        """The highest checkpoint id of a run; -1: it has committed nothing."""
        return max(self.runs.get(job_id, {}).values(), default=-1)
