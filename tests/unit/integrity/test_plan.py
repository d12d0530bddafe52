"""Who reads the rows: by what was asked for, by what can answer at all, then by size; the reason is always told."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.checks import Engine, Tier
from airflow_flink_iceberg.integrity.engines.sql import EngineFailed
from airflow_flink_iceberg.integrity.plan import MAX_FILES, MAX_ROWS, NoPlan, Size, choose, require_rows

FLINK = Engine("flink")
SMALL = Size(files=12, rows=1_000, bytes=40_300_000)
MANY_ROWS = Size(files=12, rows=MAX_ROWS + 1, bytes=7_200_000_000_000)
MANY_FILES = Size(files=MAX_FILES + 1, rows=10)
UPSERTS = Size(files=2, rows=10, has_deletes=True, has_equality_deletes=True)


@pytest.mark.parametrize(
    ("tier", "engine", "size", "chosen", "says"),
    [
        (Tier.AUTO, None, SMALL, "rows", "Tier 3, this worker: 12 files, 40 MB, 1,000 rows"),
        (Tier.AUTO, FLINK, SMALL, "rows", "Tier 3, this worker: 12 files, 40 MB, 1,000 rows"),
        (Tier.ENGINE, FLINK, SMALL, "engine", "Tier 4, engine flink: 12 files, 40 MB, 1,000 rows; asked for"),
        (Tier.AUTO, FLINK, MANY_ROWS, "engine", "7.2 TB, 500,000,001 rows; more than 500,000,000 rows"),
        (Tier.AUTO, FLINK, MANY_FILES, "engine", "50,001 files, 10 rows; more than 50,000 files"),
        (Tier.AUTO, None, MANY_ROWS, "rows", "takes long: an engine could read them (engine=)"),
        (Tier.ROWS, FLINK, MANY_ROWS, "rows", "; asked for"),
        (Tier.AUTO, FLINK, UPSERTS, "engine", "2 files, 10 rows; it has equality deletes"),
        (Tier.AUTO, FLINK, Size(), "rows", "size unknown"),
    ],
)
def test_the_plan_says_why(tier: Tier, engine: Engine | None, size: Size, chosen: str, says: str) -> None:
    plan = choose("kafka_offsets", tier, engine, size)
    assert (plan.tier, plan.engine) == (chosen, FLINK if chosen == "engine" else None)
    assert plan.text.endswith(says)


@pytest.mark.parametrize(("tier", "engine"), [(Tier.AUTO, None), (Tier.ROWS, None), (Tier.ROWS, FLINK)])
def test_equality_deletes_that_nobody_applies_refuse_with_the_next_step(
    tier: Tier, engine: Engine | None
) -> None:
    with pytest.raises(NoPlan, match=r'give the check an engine \(engine="flink"'):
        choose("kafka_offsets", tier, engine, UPSERTS)
    assert choose("key_unique", tier, engine, UPSERTS, applies_equality=True).tier == "rows"


def test_an_engine_that_read_other_rows_is_refused() -> None:
    require_rows("flink", SMALL, 1_000)
    require_rows("flink", UPSERTS, 7)
    require_rows("flink", Size(), 7)
    with pytest.raises(EngineFailed, match=r"read 999 rows where the snapshot's manifests have 1,000"):
        require_rows("flink", SMALL, 999)
