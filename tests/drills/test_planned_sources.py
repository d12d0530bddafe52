"""The ids that a script's sources will have, as told before its launch, against those of the job that then runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_flink_iceberg.model import SqlDeployment
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.orders import OrdersProducer
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.given import OPTIONS
from tests.e2e.rig import RATE, Rig, running_job, wait_until


def _second_source(script: str) -> str:
    """The same rows again: the planner reads them once, and the source has two edges behind it."""
    select = script[script.index("SELECT") : script.rindex(";")]
    return f"{script[: script.rindex(';')]} UNION ALL {select.replace('kafka_offset', 'kafka_offset + 1000000000')};"


Change = Callable[[str], str]
CHANGES: dict[str, Change] = {
    "as it is": lambda script: script,
    "chaining off": lambda script: f"SET 'pipeline.operator-chaining.enabled' = 'false';\n{script}",
    "parallelism 2": lambda script: script.replace(
        "'parallelism.default' = '1'", "'parallelism.default' = '2'"
    ),
    "a source more": _second_source,
    "uids": lambda script: f"SET 'table.exec.uid.generation' = 'ALWAYS';\n{script}",
}
KEEP = replace(OPTIONS, allow_non_restored_state=True)


def _changed(rig: Rig, change: Change) -> Rig:
    script = change(rig.script or "")
    return replace(rig, job=replace(rig.job, deployment=SqlDeployment(script)), script=script)


@pytest.mark.parametrize("sink", ["v2", "v1"])
@pytest.mark.parametrize("filtered", [False, True])
def test_what_is_planned_is_what_runs(stack: Stack, sink: str, filtered: bool) -> None:
    with running_job(stack, sink=sink, filtered=filtered) as rig:  # type: ignore[arg-type]
        for name, change in CHANGES.items():
            other = _changed(rig, change)
            planned = other.systems().deployment.planned_sources()
            do.cancel(rig, rig.running()[0])
            job_id = do.start_by_hand(rig, other.script or "", None)
            runs = rig.client().job(job_id).sources
            assert planned == (None if name == "uids" else runs), name


def test_a_script_that_would_drop_its_offsets_is_refused(stack: Stack) -> None:
    """With the flag; its topic would be read anew, which is counted."""
    with running_job(stack) as rig:
        rig.wait_rows(100)
        savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        other = _changed(rig, CHANGES["chaining off"])
        with pytest.raises(RestartRefused) as refused:
            start_job(other.systems(), other.steps(), savepoint, KEEP)
        worst = refused.value.decision.findings[0]
        assert (worst.verdict, worst.cause) == (Verdict.WOULD_DUPLICATE, Cause.STATE_UNMATCHED)
        held = rig.row_count()
        anyway = replace(KEEP, accept=(Verdict.WOULD_DUPLICATE,), reason="the drill counts")
        start_job(other.systems(), other.steps(), savepoint, anyway)
        assert rig.damage(rig.finish()) == (0, held)


def test_two_sources_that_change_places_are_not_safe(stack: Stack) -> None:
    """Flink accepts it: each source has the other's splits, and finds its own topic new."""
    with running_job(stack) as rig:
        rig.wait_rows(10)
        do.cancel(rig, rig.first_job_id)
        do.recreate(rig)
        first, swapped = _two_sources(rig)
        do.start_by_hand(first, first.script or "", None)
        rig.wait_rows(200)
        savepoint = stop(first.systems(), first.steps(), StopOptions())
        held = _orders(rig)
        assert held
        assert max(held.values()) == 1
        with pytest.raises(RestartRefused) as refused:
            start_job(swapped.systems(), swapped.steps(), savepoint, OPTIONS)
        worst = refused.value.decision.findings[0]
        assert (worst.verdict, worst.cause) == (Verdict.UNKNOWN, Cause.SOURCE_CHANGED)
        anyway = replace(OPTIONS, accept=(Verdict.UNKNOWN,), reason="the drill counts")
        start_job(swapped.systems(), swapped.steps(), savepoint, anyway)
        wait_until(lambda: _twice(rig) >= held.keys(), "every order twice", 120)
        do.cancel(rig, rig.running()[0])


def _twice(rig: Rig) -> set[tuple[int, int]]:
    return {key for key, times in _orders(rig).items() if times == 2}


def _orders(rig: Rig) -> Counter[tuple[int, int]]:
    return Counter({key: times for key, times in rig.counts().items() if key[0] != do.FOREIGN})


def _two_sources(rig: Rig) -> tuple[Rig, Rig]:
    """The orders and the records of another topic, told from them by their partition; in this order and the other."""
    topic = f"{rig.topic}-more"
    OrdersProducer(rig.stack.kafka_bootstrap, topic, rate=RATE).stop()
    head, _, query = (rig.script or "").rpartition("\nSELECT ")
    head, into, target = head.rpartition("INSERT INTO ")
    orders = f"SELECT {query.rstrip().rstrip(';')}"
    more = f"{orders.rpartition(' FROM ')[0]} FROM more".replace(
        "kafka_partition", f"CAST({do.FOREIGN} AS INT)"
    )
    ddl = rig.stack.source(topic).ddl("more", group=rig.job.name)
    scripts = (
        f"{head}{ddl};\n{into}{target}\n{one}\nUNION ALL\n{two};\n"
        for one, two in ((orders, more), (more, orders))
    )
    one, two = (
        replace(rig, job=replace(rig.job, deployment=SqlDeployment(each)), script=each) for each in scripts
    )
    return one, two
