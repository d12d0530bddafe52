"""The operator ids that the sources of a script get, from Flink's own plan of it, before anything is launched.

Flink names operators without a uid by their place in the graph (``StreamGraphHasherV2``): a source's id is the hash of
its number among the sources, said once for itself and once for each edge behind it that is chained. Nothing else of
the graph goes into it. Checked against running jobs of Flink 1.20 and 2.1.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

import mmh3

from airflow_flink_iceberg.model.errors import FlinkAnswerInvalid

_SCANNED = re.compile(r"TableSourceScan\(table=\[\[[^,\]]+, [^,\]]+, ([^,\]]+)[,\]]")
_TITLE = "== Physical Execution Plan =="
CHAINING_KEYS = ("pipeline.operator-chaining.enabled", "pipeline.operator-chaining")
UID_KEYS = ("table.exec.uid.generation", "table.exec.legacy-transformation-uids")
"""Settings under which a source has a uid, or none."""


def sources_of_plan(text: str, properties: Mapping[str, str]) -> dict[str, str] | None:
    """By id, the last name of the table that each source of an ``EXPLAIN JSON_EXECUTION_PLAN`` scans.

    ``None``: its settings give sources uids. The name is empty where the plan does not say it, or under a hint.

    :param text: the plan, or Flink's whole answer that ends with it.
    :param properties: of the session that planned it, the gateway's own among them.
    :raises FlinkAnswerInvalid: the plan is not of the form that Flink has.
    """
    if any(
        properties.get(key, "PLAN_ONLY").upper() not in ("PLAN_ONLY", "DISABLED", "FALSE") for key in UID_KEYS
    ):
        return None
    is_chaining = all(properties.get(key, "true").lower() == "true" for key in CHAINING_KEYS)
    try:
        nodes = {int(node["id"]): node for node in json.loads(text.rpartition(_TITLE)[2])["nodes"]}
        sources = sorted(at for at, node in nodes.items() if not node.get("predecessors"))
        if not sources:
            raise ValueError("no source")
        chained = {at: _chained(at, nodes) if is_chaining else 0 for at in sources}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FlinkAnswerInvalid(
            f"Flink's plan of the script is not of the form that is known: {error!r}."
        ) from error
    return {source_id(number, chained[at]): _table(nodes[at]) for number, at in enumerate(sources)}


def source_id(number: int, chained: int) -> str:
    """The id of a source without a uid.

    :param number: its place among the sources of the job, from 0.
    :param chained: how many of the edges behind it are chained.
    """
    said: str = mmh3.hash_bytes(struct.pack("<i", number) * (1 + chained)).hex()
    return said


def _table(node: Mapping[str, Any]) -> str:
    said = str(node.get("contents", ""))
    found = None if "OPTIONS" in said else _SCANNED.search(said)
    return found[1] if found else ""


def _chained(source: int, nodes: Mapping[int, Mapping[str, Any]]) -> int:
    """Edges on which nothing is sent: to a node of the same parallelism with no other input."""
    count = 0
    for node in nodes.values():
        inputs = node.get("predecessors") or []
        if len(inputs) == 1 and inputs[0]["id"] == source and inputs[0]["ship_strategy"] == "FORWARD":
            count += node["parallelism"] == nodes[source]["parallelism"]
    return count
