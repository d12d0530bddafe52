"""Everything here is asked twice: as it is, and with so little held that a short history is a long one."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.iceberg import long_walk, snapshot_index


@pytest.fixture(autouse=True, params=["short", "long"])
def history_is(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a walk is no longer held, and snapshots are found all together."""
    if request.param == "long":
        monkeypatch.setattr(long_walk, "HELD", 1)
        monkeypatch.setattr(long_walk, "_BLOCK", 2)
        monkeypatch.setattr(snapshot_index, "NEWEST", 1)
        monkeypatch.setattr(snapshot_index, "_CHUNK", 2)
