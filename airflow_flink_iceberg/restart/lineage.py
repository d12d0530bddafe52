"""Which runs belong together: the links "this run was restored from that one's checkpoint"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_flink_iceberg.model.commit import RunLink

_RETAINED = re.compile(r"/([0-9a-f]{32})/chk-(\d+)/?$")


@dataclass(frozen=True)
class Lineage:
    """Runs linked by "restored from"; a start without state begins a new tree."""

    links: tuple[RunLink, ...] = ()

    def with_links(self, links: Iterable[RunLink]) -> Lineage:
        """This lineage plus ``links``; the first link known for a run stays: a run is started once."""
        known = {link.job_id: link for link in self.links}
        for link in links:
            known.setdefault(link.job_id, link)
        return Lineage(tuple(known.values()))

    def parent(self, job_id: str) -> RunLink | None:
        """The link of the state that a run was started from."""
        return next((link for link in self.links if link.job_id == job_id), None)

    def tree(self, job_id: str) -> frozenset[str]:
        """Every run connected with ``job_id``: ancestors, siblings and their descendants."""
        neighbours: dict[str, set[str]] = {}
        for link in self.links:
            neighbours.setdefault(link.job_id, set()).add(link.parent_job_id)
            neighbours.setdefault(link.parent_job_id, set()).add(link.job_id)
        tree, todo = {job_id}, [job_id]
        while todo:
            new = neighbours.get(todo.pop(), set()) - tree
            tree |= new
            todo.extend(new)
        return frozenset(tree)


def retained_checkpoint(path: str) -> tuple[str, int] | None:
    """Job id and checkpoint id that the path of a retained checkpoint names (``.../<job id>/chk-<n>``)."""
    match = _RETAINED.search(path)
    return (match[1], int(match[2])) if match else None
