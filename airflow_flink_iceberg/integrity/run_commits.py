"""What a judge of the chain has to remember of one run's commits, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_flink_iceberg.model.commit import END_OF_INPUT, Commit

_UNREADABLE = 2**64 - 1


@dataclass
class RunCommits:
    """One run's commits, oldest first: two numbers of each, so that a long run takes little.

    :param newest: the highest id; ``end_rows``: rows of its end of input, if it committed one.
    :param recalled: the highest id of commits that are remembered as a whole, beside those that are added.
    """

    newest: int = -1
    end_rows: int | None = None
    recalled: int = -1
    _ids: array[int] = field(default_factory=lambda: array("Q"))
    _rows: array[int] = field(default_factory=lambda: array("Q"))

    @classmethod
    def recall(cls, ids: Iterable[int]) -> RunCommits:
        """A run of which only the highest ids are remembered: enough to see that none is above a bound."""
        all_ids = set(ids)
        newest = max(all_ids - {END_OF_INPUT}, default=-1)
        return cls(newest, 0 if END_OF_INPUT in all_ids else None, newest)

    def add(self, commit: Commit) -> None:
        """The next one."""
        if commit.is_end_of_input:
            self.end_rows = commit.added_records
        else:
            self.newest = max(self.newest, commit.checkpoint_id)
        self._ids.append(commit.checkpoint_id)
        self._rows.append(_UNREADABLE if commit.added_records is None else commit.added_records)

    def rows(self) -> int | None:
        """Of all commits; ``None`` when one of the counts is not readable."""
        return _sum(self._rows)

    def above(self, bound: int) -> tuple[int, int | None] | None:
        """The commits that a state which holds this run up to ``bound`` does not contain: the last one's id, and rows.

        A drain's savepoint has an id above all others and its rows are committed under the end-of-input id, so after
        such a state that last commit is no surplus.
        """
        if self.recalled > bound:
            return self.recalled, None
        is_drained = bound > self.newest
        surplus = [
            at
            for at, checkpoint_id in enumerate(self._ids)
            if checkpoint_id > bound
            and not (checkpoint_id == END_OF_INPUT and (is_drained or self._rows[at] == 0))
        ]
        return (self._ids[surplus[-1]], _sum(self._rows[at] for at in surplus)) if surplus else None


def _sum(rows: Iterable[int]) -> int | None:
    total = 0
    for count in rows:
        if count == _UNREADABLE:
            return None
        total += count
    return total
