"""Which runs belong together, and how much of each ancestor's work a run's state contains."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_flink_iceberg.model.commit import RunLink


class Runs:
    """Runs of one job, linked by "restored from".

    :param links: the first link known for a run counts: a run is started once.
    :param members: ids of runs that belong to the job though no link names them.
    """

    def __init__(self, links: Iterable[RunLink] = (), members: Iterable[str] = ()) -> None:
        self._parents: dict[str, RunLink] = {}
        for link in links:
            self._parents.setdefault(link.job_id, link)
        parents = {link.parent_job_id for link in self._parents.values()}
        self.ids = frozenset(self._parents) | frozenset(parents) | frozenset(members)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self.ids

    def __bool__(self) -> bool:
        return bool(self.ids)

    def parent(self, job_id: str) -> RunLink | None:
        """The link of the state that a run was started from, if it is known."""
        return self._parents.get(job_id)

    def contained(self, job_id: str) -> dict[str, int]:
        """By ancestor, nearest first: the newest checkpoint of it that the state of ``job_id`` contains."""
        bounds: dict[str, int] = {}
        link = self._parents.get(job_id)
        # A cycle of links would be a lie; each run counts once, so it ends.
        while link and link.parent_job_id not in bounds and link.parent_job_id != job_id:
            bounds[link.parent_job_id] = link.checkpoint_id
            link = self._parents.get(link.parent_job_id)
        return bounds

    def children(self, job_id: str) -> tuple[RunLink, ...]:
        """The runs that were started from a state of ``job_id``."""
        return tuple(link for link in self._parents.values() if link.parent_job_id == job_id)
