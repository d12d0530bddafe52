"""With the flag Flink drops the offsets of a source that the new job has not, and begins its topic anew.

Seen on Flink 2.1 as the drill's world "jar's uid changed, and its source's": 296 and 363 rows came twice.
"""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.deployments.base import SinkProgram
from tests.support.guard_worlds import says, state

SOURCE, OTHER = "ab" * 16, "cd" * 16
TABLE = "a:4+60 a:5+10"


@pytest.mark.parametrize(
    ("of", "planned", "expected"),
    [
        ({SOURCE}, {SOURCE}, "SAFE"),
        ({SOURCE}, {SOURCE, OTHER}, "SAFE"),
        ({SOURCE}, {OTHER}, "WOULD_DUPLICATE state_unmatched"),
        ({SOURCE, OTHER}, {OTHER}, "WOULD_DUPLICATE state_unmatched"),
        ({SOURCE}, set(), "WOULD_DUPLICATE state_unmatched"),
        # A state that holds no offsets has none to drop.
        (set(), {OTHER}, "SAFE"),
        ({SOURCE}, None, "UNKNOWN state_unmatched"),
        (set(), None, "SAFE"),
    ],
)
def test_a_jar_keeps_the_sources_of_the_state_or_is_refused(
    of: set[str], planned: set[str] | None, expected: str
) -> None:
    made = state("a:5", source_topics=dict.fromkeys(of, frozenset({"orders"})))
    given = {"program": SinkProgram.JAR, "planned_sources": None if planned is None else frozenset(planned)}
    assert says(TABLE, made, allow_non_restored_state=True, **given) == expected
    # Before a stop it is known as well: the job goes on then.
    assert says(TABLE, made, allow_non_restored_state=True, before_stop=True, **given) == expected


def test_without_the_flag_flink_itself_refuses_what_does_not_fit() -> None:
    made = state("a:5", source_topics={SOURCE: frozenset({"orders"})})
    assert says(TABLE, made, program=SinkProgram.JAR) == "SAFE"
    assert says(TABLE, made, program=SinkProgram.JAR, planned_sources=frozenset({OTHER})) == "SAFE"


@pytest.mark.parametrize("program", [SinkProgram.SQL, SinkProgram.SQL_V1, SinkProgram.SQL_V2])
def test_a_script_whose_plan_does_not_tell_is_unknown(program: SinkProgram) -> None:
    made = state("a:5", source_topics={SOURCE: frozenset({"orders"})})
    assert says(TABLE, made, allow_non_restored_state=True, program=program) == "UNKNOWN state_unmatched"
    assert says(TABLE, made, program=program) == "SAFE"


def test_what_else_holds_data_cannot_be_told_to_be_kept() -> None:
    made = state("a:5", other_ids=frozenset({OTHER}))
    assert says(TABLE, made, allow_non_restored_state=True) == "UNKNOWN state_unmatched"
    assert says(TABLE, made) == "SAFE"
