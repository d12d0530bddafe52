"""Everything here is asked three times: as it is, and with so little held that a short history is a long one."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.iceberg import history, long_walk, snapshot_index


@pytest.fixture(autouse=True, params=["held", "step by step", "one line"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a walk is made, and where snapshots are found all together."""
    if request.param != "held":
        monkeypatch.setattr(long_walk, "HELD", 1)
        monkeypatch.setattr(long_walk, "_BLOCK", 2)
        monkeypatch.setattr(snapshot_index, "NEWEST", 1)
        monkeypatch.setattr(snapshot_index, "_CHUNK", 2)
    if request.param == "one line":
        monkeypatch.setattr(history, "HELD", 1)
