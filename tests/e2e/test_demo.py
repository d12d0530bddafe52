"""README's first command, as it is: what it prints and leaves is compared with rows counted here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pyiceberg.catalog import load_catalog

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_demo_tells_the_truth(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "playground.demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    directory = tmp_path / ".playground"
    summary = json.loads((directory / "summary.json").read_text())
    counts = _counts(directory)
    assert summary["verdict"] == "pass"
    assert summary["orders_in_table"] == summary["orders_produced"] == len(counts) == sum(counts.values())
    assert summary["refused"]["verdict"] == "WOULD_DUPLICATE"
    assert 0 < summary["refused"]["rows"] < summary["orders_in_table"]
    assert summary["old_job_id"] != summary["new_job_id"]
    assert summary["downtime_seconds"] > 0
    for partition in range(3):
        offsets = sorted(offset for found, offset in counts if found == partition)
        assert offsets == list(range(len(offsets)))
    assert (tmp_path / summary["report"]).read_text().lower().startswith("<!doctype html>")
    for sentence in (
        "WOULD_DUPLICATE",
        "no order lost, none doubled",
        "contiguous in 3 partitions",
        "downtime",
    ):
        assert sentence in done.stdout


def _counts(directory: Path) -> Counter[tuple[int, int]]:
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{directory / 'catalog.db'}",
        "warehouse": f"file://{directory / 'warehouse'}",
    }
    table = load_catalog("lake", **properties).load_table("shop.orders")
    found = table.scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow().to_pydict()
    return Counter(zip(found["kafka_partition"], found["kafka_offset"], strict=True))
