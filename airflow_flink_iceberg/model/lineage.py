"""Which runs belong together: the links "this run was restored from that one's checkpoint"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from airflow_flink_iceberg.model.commit import RunLink


@dataclass(frozen=True)
class Lineage:
    """Runs linked by "restored from"; a start without state begins a new tree.

    Two jobs may pin the same table, so a recorded link alone does not make a run one of a job's.

    :param links: the first link of a run counts, because a run is started once: give the most trusted first.
    :param members: ids of runs that belong to the job though no link names them.
    """

    links: tuple[RunLink, ...] = ()
    members: frozenset[str] = frozenset()

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ids

    def __bool__(self) -> bool:
        return bool(self._ids)

    def with_links(self, links: Iterable[RunLink]) -> Lineage:
        """This lineage plus ``links``; what is known of a run already stays."""
        known = dict(self._parents)
        for link in links:
            known.setdefault(link.job_id, link)
        return Lineage(tuple(known.values()), self.members)

    def parent(self, job_id: str) -> RunLink | None:
        """The link of the state that a run was started from, if it is known."""
        return self._parents.get(job_id)

    def children(self, job_id: str) -> tuple[RunLink, ...]:
        """The links of the runs that were started from a state of ``job_id``."""
        return tuple(link for link in self._parents.values() if link.parent_job_id == job_id)

    def contained(self, job_id: str) -> dict[str, int]:
        """By ancestor, nearest first: the newest checkpoint of it that the state of ``job_id`` contains."""
        bounds: dict[str, int] = {}
        link = self.parent(job_id)
        # A cycle of links would be a lie; each run counts once, so it ends.
        while link and link.parent_job_id not in bounds and link.parent_job_id != job_id:
            bounds[link.parent_job_id] = link.checkpoint_id
            link = self.parent(link.parent_job_id)
        return bounds

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

    def generations(self) -> dict[str, int]:
        """For each run with a link, how many generations of runs came after it: 0 is the newest of its line."""
        found = dict.fromkeys(self._parents, 0)
        for newest in self._parents:
            run, age, seen = newest, 0, set[str]()
            while run in found and run not in seen and age >= found[run]:
                seen.add(run)
                found[run] = age
                run, age = self._parents[run].parent_job_id, age + 1
        return found

    def tree(self, job_id: str) -> frozenset[str]:
        """Every run connected with ``job_id`` or a member: ancestors, siblings and their descendants."""
        neighbours: dict[str, set[str]] = {}
        for link in self._parents.values():
            neighbours.setdefault(link.job_id, set()).add(link.parent_job_id)
            neighbours.setdefault(link.parent_job_id, set()).add(link.job_id)
        tree = {job_id, *self.members}
        todo = list(tree)
        while todo:
            new = neighbours.get(todo.pop(), set()) - tree
            tree |= new
            todo.extend(new)
        return frozenset(tree)

    @cached_property
    def _parents(self) -> Mapping[str, RunLink]:
        parents: dict[str, RunLink] = {}
        for link in self.links:
            parents.setdefault(link.job_id, link)
        return parents

    @cached_property
    def _ids(self) -> frozenset[str]:
        return self.members.union(self._parents, (link.parent_job_id for link in self._parents.values()))
