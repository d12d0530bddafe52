"""Both sinks, both deployments: a restart under traffic is exact, and an older state is told to the row."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.model.savepoint import CommitState
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.e2e.rig import running_job, wait_until

MATRIX = [("sql", "v2"), ("sql", "v1"), ("jar", "v2"), ("jar", "v1")]


@pytest.mark.parametrize(("deployment", "sink"), MATRIX)
def test_a_restart_is_exact_and_the_older_state_is_foretold(stack: Stack, deployment: str, sink: str) -> None:
    with running_job(stack, sink=sink, deployment=deployment) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        first = restart(rig.systems(), rig.steps(), RestartOptions())
        assert rig.running() == [first.running_job.job_id]
        assert first.savepoint.job_id == rig.first_job_id
        assert first.savepoint.commit is CommitState.DONE
        assert first.decision.verdict is Verdict.SAFE
        assert first.decision.proven_by == "bytes"
        assert first.downtime_seconds is not None
        # The pin is a real tag on the snapshot that holds exactly the savepoint's rows.
        position = first.restore_point.sinks[0]
        table = rig.iceberg()
        assert table.refs()[position.tag].snapshot_id == position.snapshot_id
        pinned = table.scan(snapshot_id=position.snapshot_id).to_arrow().num_rows
        assert pinned == sum((position.offsets or {}).values())

        rig.wait_rows(200)
        newest = stop(rig.systems(), rig.steps(), StopOptions())
        newer = rig.rows_from(dict(position.offsets or {}))
        assert newer > 0
        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), first.savepoint, StartOptions())
        finding = refused.value.decision.findings[0]
        assert (finding.verdict, finding.cause, finding.rows) == (
            Verdict.WOULD_DUPLICATE,
            Cause.OLDER_STATE,
            newer,
        )
        assert rig.running() == []

        running, decision = start_job(rig.systems(), rig.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        assert rig.running() == [running.job_id]
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_what_the_guard_foretells_happens_when_it_is_accepted(stack: Stack, sink: str) -> None:
    """The proof of the number: start in spite of it, and count."""
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        first = restart(rig.systems(), rig.steps(), RestartOptions())
        rig.wait_rows(200)
        stop(rig.systems(), rig.steps(), StopOptions())
        options = StartOptions(accept=(Verdict.WOULD_DUPLICATE,), reason="the test wants the damage")
        _, decision = start_job(rig.systems(), rig.steps(), first.savepoint, options)
        foretold = decision.rows
        assert decision.verdict is Verdict.WOULD_DUPLICATE
        produced = rig.producer.stop()
        # v1 commits nothing until its ids have passed the old ones, then all at once.
        wait_until(lambda: rig.row_count() >= produced.total + (foretold or 0), "the doubled rows", 90)
        assert rig.damage(produced) == (0, foretold)


def test_a_job_without_offset_columns_and_with_a_foreign_writer(stack: Stack) -> None:
    """The restore gap needs no offsets: filters and other writers do not move it."""
    with running_job(stack, filtered=True) as rig:
        rig.wait_rows(50)
        foreign = rig.iceberg().scan(limit=5).to_arrow()
        rig.iceberg().append(foreign)
        first = restart(rig.systems(), rig.steps(), RestartOptions())
        assert first.decision.verdict is Verdict.SAFE
        rig.wait_rows(50)
        rig.iceberg().append(foreign)
        before = rig.row_count()
        newest = stop(rig.systems(), rig.steps(), StopOptions())
        rig.iceberg().append(foreign)
        own_since = rig.row_count() - foreign.num_rows
        pinned = rig.iceberg().scan(snapshot_id=first.restore_point.sinks[0].snapshot_id).to_arrow().num_rows
        with pytest.raises(RestartRefused) as refused:
            start_job(rig.systems(), rig.steps(), first.savepoint, StartOptions())
        # Two of the foreign appends came after the pinned snapshot; one of them is in `own_since` still.
        assert refused.value.decision.findings[0].rows == own_since - pinned - foreign.num_rows
        assert own_since >= before
        _, decision = start_job(rig.systems(), rig.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        produced = rig.producer.stop()
        kept = _kept_orders(produced.total)
        wait_until(lambda: rig.row_count() >= kept + 3 * foreign.num_rows, "the filtered rows", 60)
        assert rig.row_count() == kept + 3 * foreign.num_rows


def _kept_orders(total: int) -> int:
    from playground.orders import order

    return sum(float(str(order(number)["amount"])) >= 50 for number in range(total))
