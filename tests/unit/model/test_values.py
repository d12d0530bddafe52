"""Errors about text: they say what is wrong with it, and never spell out what may be a secret."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model import FlinkJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import InvalidValue

CANARY = "hunter2-canary"
REPR = "<airflow.sdk.context.VariableAccessor object at 0x7f01>"
SCRIPT = (
    f"CREATE CATALOG c WITH ('jdbc.password'='{CANARY}'); CREATE TABLE t WITH ('x'='{REPR}'); INSERT INTO t"
)


def failure(make: object) -> str:
    with pytest.raises(InvalidValue) as caught:
        make()  # type: ignore[operator]
    return str(caught.value)


@pytest.mark.parametrize("script", [SCRIPT, f"{CANARY} {REPR}", "None", ""])
def test_of_a_script_an_error_says_the_length_only(script: str) -> None:
    text = failure(lambda: SqlDeployment(script))
    assert text.startswith(f"SqlDeployment script of {len(script)} characters")
    assert CANARY not in text
    assert "0x7f01" not in text


def test_a_script_in_the_place_of_a_deployment_is_not_shown() -> None:
    text = failure(lambda: FlinkJob("orders", deployment=f"SET 'password' = '{CANARY}'"))  # type: ignore[arg-type]
    assert "deployment has to be a deployment value, not str" in text
    assert CANARY not in text


def test_of_other_text_the_beginning_is_shown() -> None:
    long = REPR + "x" * 200 + CANARY
    text = failure(lambda: TableSink("shop.orders", branch=long))
    assert text.startswith(f"TableSink branch is {(repr(long)[:77])}...: ")
    assert CANARY not in text
    assert "TableSink branch is 'None':" in failure(lambda: TableSink("shop.orders", branch="None"))
    assert CANARY not in failure(lambda: FlinkJob("orders", job_id="x" * 100 + CANARY))


def test_no_two_sinks_of_a_job_share_a_name() -> None:
    plain, other = TableSink("shop.orders"), TableSink("shop.refunds")
    assert FlinkJob("orders", sinks=[plain, other]).sink_name(plain) == "shop.orders@main"
    archive = TableSink("shop.orders", iceberg_conn_id="archive")
    twice = FlinkJob("orders", sinks=[plain, archive, other])
    assert [twice.sink_name(sink) for sink in twice.sinks] == [
        "iceberg_default:shop.orders@main",
        "archive:shop.orders@main",
        "shop.refunds@main",
    ]
    shared = [TableSink("shop.orders", sink_uid=uid) for uid in ("web", "shop")]
    one_branch = FlinkJob("orders", sinks=shared)
    assert [one_branch.sink_name(sink) for sink in shared] == [
        "shop.orders@main/web",
        "shop.orders@main/shop",
    ]
