"""Ids of sources out of Flink's plan; those of the first rows are known from any Flink job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_flink_iceberg.flink.planned_sources import source_id, sources_of_plan
from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid

ALONE, CHAINED = "bc764cd8ddf7a0cff126f51c16239658", "cbc357ccb763df2852fee8c4fc7d55f2"


def node(number: int, parallelism: int = 1, *inputs: int, ship: str = "FORWARD") -> dict[str, Any]:
    found: dict[str, Any] = {"id": number, "type": f"n{number}", "parallelism": parallelism}
    if inputs:
        found["predecessors"] = [{"id": each, "ship_strategy": ship, "side": "second"} for each in inputs]
    return found


def plan_of(*nodes: dict[str, Any]) -> str:
    return f"== Abstract Syntax Tree ==\nx\n\n== Physical Execution Plan ==\n{json.dumps({'nodes': nodes})}"


def ids(*nodes: dict[str, Any], **settings: str) -> set[str] | None:
    properties = {key.replace("__", "-").replace("_", "."): item for key, item in settings.items()}
    found = sources_of_plan(plan_of(*nodes), properties)
    return None if found is None else set(found)


def test_a_source_is_named_by_its_number_and_the_edges_that_are_chained() -> None:
    assert (source_id(0, 0), source_id(0, 1)) == (ALONE, CHAINED)
    assert source_id(1, 0) == "feca28aff5a3958840bee985ee7de4d3"
    assert ids(node(1), node(2, 1, 1)) == {CHAINED}
    # Sent over the network, to another parallelism, into a node with two inputs, or with chaining switched off.
    assert ids(node(1), node(2, 1, 1, ship="HASH")) == {ALONE}
    assert ids(node(1), node(2, 2, 1)) == {ALONE}
    assert ids(node(1), node(2), node(3, 1, 1, 2)) == {ALONE, source_id(1, 0)}
    assert ids(node(1), node(2, 1, 1), pipeline_operator__chaining_enabled="false") == {ALONE}
    assert ids(node(1), node(2, 1, 1), pipeline_operator__chaining="false") == {ALONE}
    # Into two sinks, and beside another source, by the order of their numbers.
    assert ids(node(1), node(2, 1, 1), node(3, 1, 1)) == {source_id(0, 2)}
    assert ids(node(7), node(3), node(8, 1, 7), node(4, 1, 3)) == {CHAINED, source_id(1, 1)}


def test_settings_that_give_uids_are_not_known() -> None:
    assert ids(node(1), table_exec_uid_generation="ALWAYS") is None
    assert ids(node(1), table_exec_uid_generation="PLAN_ONLY") == {ALONE}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"nodes": [{}]}', '{"nodes": [{"id": 1, "predecessors": 3}]}']
)
def test_what_is_no_plan_is_said(text: str) -> None:
    with pytest.raises(FlinkAnswerInvalid, match="not of the form"):
        sources_of_plan(text, {})


@pytest.mark.parametrize(
    ("contents", "name"),
    [
        ("[1]:TableSourceScan(table=[[default_catalog, default_database, orders]], fields=[a, b])", "orders"),
        (
            "[1]:TableSourceScan(table=[[c, d, orders, project=[a, b], metadata=[partition]]], fields=[a])",
            "orders",
        ),
        # Under a hint it may be another topic than its table's.
        (
            "[1]:TableSourceScan(table=[[c, d, orders]], fields=[a], hints=[[[OPTIONS options:{topic=x}]]])",
            "",
        ),
        ("[1]:DataGenerator", ""),
    ],
)
def test_the_table_that_a_source_scans(contents: str, name: str) -> None:
    assert sources_of_plan(plan_of({**node(1), "contents": contents}), {}) == {ALONE: name}
