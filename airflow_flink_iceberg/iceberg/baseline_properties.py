"""Where baselines are kept: as table properties named after the tag that pins their snapshot, in the same commit.

The table outlives the tasks, the XComs and the cluster, and a table that is created again has none of them. A record
is one line of JSON; empty fields are left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping

from airflow_flink_iceberg.iceberg.history import History
from airflow_flink_iceberg.model.baseline import Baseline
from airflow_flink_iceberg.model.errors import InvalidValue

PROPERTY_PREFIX = "flink-iceberg.baseline."
MAX_BYTES = 30_000
"""Hive's metastore drops longer properties (iceberg.hive.table-property-max-length is 32,672)."""


def baseline_property(tag: str, baseline: Baseline) -> tuple[str, str]:
    """The table property that records a baseline; its past, which only saves time, is left out where it is too long.

    :raises InvalidValue: the record would be longer than catalogs keep: a source with more than a thousand partitions.
    """
    needed = {item.name for item in dataclasses.fields(Baseline) if item.default is dataclasses.MISSING}
    given = {key: each for key, each in baseline.to_dict().items() if each or key in needed}
    if set(baseline.discovered) == set(baseline.offsets):
        given["discovered"] = "offsets"
    text = json.dumps(given)
    if len(text) > MAX_BYTES and given.pop("past", None):
        text = json.dumps(given)
    if len(text) > MAX_BYTES:
        raise InvalidValue(
            f"The baseline of {baseline.table} with {len(baseline.offsets)} partitions takes {len(text):,} bytes, and "
            f"a table property holds {MAX_BYTES:,}: it is not kept."
        )
    return f"{PROPERTY_PREFIX}{tag}", text


def baselines_in_properties(properties: Mapping[str, str]) -> dict[str, Baseline | InvalidValue]:
    """What is recorded, by tag; a record that cannot be read is the error that says so."""
    return {
        key.removeprefix(PROPERTY_PREFIX): _read(key, text)
        for key, text in properties.items()
        if key.startswith(PROPERTY_PREFIX)
    }


def orphans(properties: Mapping[str, str], tags: Iterable[str]) -> dict[str, None]:
    """Changes that remove the records of tags that are gone (expired, or removed by hand)."""
    kept = {f"{PROPERTY_PREFIX}{tag}" for tag in tags}
    return dict.fromkeys(key for key in properties if key.startswith(PROPERTY_PREFIX) and key not in kept)


def baselines_above(history: History, branch: str, target_id: int) -> dict[str, None]:
    """Changes that remove what a rollback to ``target_id`` drops: baselines whose rows are no more in the branch."""
    return {
        f"{PROPERTY_PREFIX}{tag}": None
        for tag, record in baselines_in_properties(history.metadata.properties).items()
        if isinstance(record, Baseline)
        and record.branch == branch
        and record.snapshot_id is not None
        and history.is_ancestor(record.snapshot_id, of=target_id) is not True
    }


def _read(key: str, text: str) -> Baseline | InvalidValue:
    try:
        document = json.loads(text)
        if isinstance(document, dict) and document.get("discovered") == "offsets":
            document["discovered"] = sorted(document["offsets"])
        baseline = Baseline.from_dict(document)
        _require_numbers(baseline)
    except (ValueError, KeyError, TypeError, InvalidValue) as error:
        return InvalidValue(f"The table property {key} is no baseline: {error}")
    return baseline


def _require_numbers(baseline: Baseline) -> None:
    """Values decode leniently, and a sum over something else would be no proof."""
    numbers = [
        baseline.pending_rows,
        *baseline.offsets.values(),
        *baseline.log_starts.values(),
        *baseline.staged.values(),
    ]
    numbers += [each for each in (baseline.snapshot_id, baseline.checkpoint_id) if each is not None]
    if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
        raise InvalidValue("one of its numbers is none")
    if not all(key.rpartition("/")[2].isdigit() for key in baseline.offsets):
        raise InvalidValue("its offsets are not by topic/partition")
    if baseline.staged and sum(baseline.staged.values()) != baseline.pending_rows:
        raise InvalidValue("its staged rows are not its pending ones")
