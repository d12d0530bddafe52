"""Compares who committed with the records of which state each run was started from.

Tier ``metadata``: snapshot summaries and the links recorded with the pins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from airflow_flink_iceberg.checks import Lineage
from airflow_flink_iceberg.integrity.context import CheckContext
from airflow_flink_iceberg.integrity.continuity import short
from airflow_flink_iceberg.integrity.past import past_of
from airflow_flink_iceberg.integrity.results import Answer, counted, listed
from airflow_flink_iceberg.integrity.writers import Writing, read_writing
from airflow_flink_iceberg.model.commit import RunLink
from airflow_flink_iceberg.model.result import Outcome, worst

EXPECTED = "every run's state is on record, in one line"
_Note = tuple[Outcome, str]


def run(check: Lineage, context: CheckContext) -> Answer:
    """Compare who committed with what is on record."""
    writing = read_writing(context)
    others = context.other_writers.union(check.other_writers)
    jobs = writing.jobs(others)
    if not jobs:
        return Answer(Outcome.UNKNOWN, "No Flink job committed: nothing was proven.", EXPECTED, "no commit")
    notes = [*_contradictions(context.links), *_circles(context), *_siblings(context, jobs)]
    notes += _unrecorded(context, writing, jobs, others)
    notes.sort(key=lambda note: note[0].rank)
    outcome = worst([Outcome.PASS, *(note[0] for note in notes)])
    line = " -> ".join(short(job) for job in jobs[-6:])
    text = "; ".join([f"{counted(len(jobs), 'run')} committed: {line}", *(text for _, text in notes[:6])])
    evidence = {"jobs": listed(jobs), "links": listed([_spoken(link) for link in context.links])}
    return Answer(outcome, f"{text}.", EXPECTED, notes[0][1] if notes else line, evidence=evidence)


def _contradictions(links: tuple[RunLink, ...]) -> Iterator[_Note]:
    said: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    for link in links:
        said[link.job_id].setdefault((link.parent_job_id, link.checkpoint_id), link.source)
    for job_id, parents in said.items():
        if len(parents) > 1:
            each = [f"{short(job)}:{number} ({source})" for (job, number), source in parents.items()]
            yield (
                Outcome.FAIL,
                f"records contradict each other about run {short(job_id)}: {' and '.join(each[:3])}",
            )


def _circles(context: CheckContext) -> Iterator[_Note]:
    runs = context.runs
    for link in context.links:
        seen, job_id = {link.job_id}, link.parent_job_id
        while job_id not in seen:
            seen.add(job_id)
            parent = runs.parent(job_id)
            if parent is None:
                break
            job_id = parent.parent_job_id
        else:
            yield Outcome.FAIL, f"the records of run {short(link.job_id)} go in a circle"
            return


def _siblings(context: CheckContext, jobs: list[str]) -> Iterator[_Note]:
    """Two runs from states of one run: at least one of them read again what the other had written."""
    children: dict[str, list[str]] = defaultdict(list)
    for job_id in jobs:
        link = context.runs.parent(job_id)
        if link:
            children[link.parent_job_id].append(f"{short(job_id)} from checkpoint {link.checkpoint_id}")
    for parent, found in children.items():
        if len(found) > 1:
            text = f"{counted(len(found), 'run')} started from states of run {short(parent)} committed: "
            yield Outcome.FAIL, text + ", ".join(found[:4])


def _unrecorded(
    context: CheckContext, writing: Writing, jobs: list[str], others: frozenset[str]
) -> Iterator[_Note]:
    for job_id in jobs:
        if context.runs.parent(job_id) is not None:
            continue
        # Over the whole branch, so only where the answer counts.
        if job_id != jobs[0] or not _is_first(context, writing, job_id, others):
            yield Outcome.UNKNOWN, f"no record says which state run {short(job_id)} was started from"
    strange = next((each.snapshot.snapshot_id for each in writing.written if not each.is_known), None)
    if strange is not None:
        yield Outcome.UNKNOWN, f"whose rows snapshot {strange} cherry-picked is not known any more"


def _is_first(context: CheckContext, writing: Writing, job_id: str, others: frozenset[str]) -> bool:
    """Whether no other Flink job had committed before, over the whole branch."""
    if writing.why_cut:
        return False
    past = past_of(context)
    if past and past.whole and past.runs.keys() <= {job_id, *others}:
        return True
    below = context.history.walk(context.since_snapshot_id)
    if not below.complete:
        return False
    before = (context.history.origin(snapshot) for snapshot in below.snapshots)
    return not any(origin and origin.job_id not in (None, job_id, *others) for origin in before)


def _spoken(link: RunLink) -> str:
    return f"{short(link.job_id)} from {short(link.parent_job_id)}:{link.checkpoint_id} ({link.source})"
