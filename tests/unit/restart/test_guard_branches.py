"""Where a state stands on a branch that Iceberg keeps no log of: proven by the older metadata files, or unknown."""

from __future__ import annotations

from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.model.job import TableSink
from airflow_flink_iceberg.restart.facts import SinkFacts
from tests.support.guard_worlds import metadata, says, sink_facts, snapshots, state

AUDIT = TableSink("shop.orders", branch="audit")
CUT = "UNKNOWN lineage_cut"
CHAIN = snapshots("*+1 a:3+10 a:4+60")


def version(head: int | None, upto: int = 3, **fields) -> TableMetadata:
    branches = {} if head is None else {"audit": head}
    return metadata(CHAIN[:upto], head=1, log=[1], branches=branches, **fields)


def on_branch(now: int, *heads: int | None) -> SinkFacts:
    """The branch is at ``now`` and was at ``heads`` before, oldest first; each version has the snapshots up to then."""
    seen, older = 1, {}
    for number, head in enumerate(heads):
        seen = max(seen, head or 1)
        older[f"file:///t/metadata/{number}.metadata.json"] = version(head, seen)
    return sink_facts(version(now, older=list(older)), sink=AUDIT, older=older)


def test_a_branch_that_only_grew_gives_a_number() -> None:
    grown = on_branch(3, None, 1, 2)
    assert says(grown, state("a:4", "a:4+60")) == "SAFE"
    assert says(grown, state("a:3", "a:3+10")) == "WOULD_DUPLICATE older_state 60"


def test_a_branch_that_was_set_back_is_told_with_its_rows() -> None:
    assert says(on_branch(2, 1, 2, 3), state("a:5", "a:5+0")) == "UNKNOWN table_rolled_back 60"
    # The state that belongs to the branch as it is now.
    assert says(on_branch(2, 1, 2, 3), state("a:3", "a:3+10")) == "SAFE"
    # And forth again: nothing of it is missing.
    assert says(on_branch(3, 1, 2, 3, 2), state("a:4", "a:4+60")) == "SAFE"


def test_a_version_that_is_gone_may_have_shown_it() -> None:
    assert says(sink_facts(version(3), sink=AUDIT), state("a:4", "a:4+60")) == CUT
    names = [f"file:///t/metadata/{number}.metadata.json" for number in range(3)]
    older = {names[0]: version(1, 1), names[2]: version(3)}
    holed = sink_facts(version(3, older=names), sink=AUDIT, older=older)
    assert says(holed, state("a:4", "a:4+60")) == CUT
    # A log that was trimmed after the newest commit.
    assert says(on_branch(3, 3), state("a:4", "a:4+60")) == CUT


def test_a_branch_without_a_commit_of_the_job_is_unknown() -> None:
    assert says(on_branch(1, 1), state("a:4", "a:4+0")) == CUT
