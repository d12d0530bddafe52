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
        self._members = frozenset(members)
        parents = {link.parent_job_id for link in self._parents.values()}
        self.ids = frozenset(self._parents) | frozenset(parents) | self._members

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

    def tree(self, job_id: str) -> frozenset[str]:
        """Every run connected with ``job_id``: ancestors, siblings, their descendants, and what is given as member.

        Two jobs may pin the same table, so a recorded link alone does not make a run one of this job's.
        """
        neighbours: dict[str, set[str]] = {}
        for link in self._parents.values():
            neighbours.setdefault(link.job_id, set()).add(link.parent_job_id)
            neighbours.setdefault(link.parent_job_id, set()).add(link.job_id)
        tree = {job_id, *self._members}
        todo = list(tree)
        while todo:
            new = neighbours.get(todo.pop(), set()) - tree
            tree |= new
            todo.extend(new)
        return frozenset(tree)

    def after(self, job_id: str, checkpoint_id: int) -> frozenset[str]:
        """The runs that descend from a state of ``job_id`` at ``checkpoint_id`` or later."""
        found: set[str] = set()
        todo = [link.job_id for link in self.children(job_id) if link.checkpoint_id >= checkpoint_id]
        while todo:
            run = todo.pop()
            if run not in found and run != job_id:
                found.add(run)
                todo.extend(link.job_id for link in self.children(run))
        return frozenset(found)
