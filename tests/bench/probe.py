"""What a poll costs at 10,000 snapshots, against PyIceberg's ``load_table``, which a sensor would call otherwise."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.probe import HeadProbe
from tests.bench.pairs import compared
from tests.support.crafted import CraftedTable, craft_table


def run(runs: int) -> list[dict[str, Any]]:
    """``probe_unchanged_vs_load_table`` and ``probe_changed_vs_load_table``."""
    with tempfile.TemporaryDirectory() as directory:
        table = craft_table(Path(directory))
        access = table.access()
        catalog = access.catalog
        watching = HeadProbe(access)
        watching.poll()
        return [
            compared(
                "probe_unchanged_vs_load_table",
                runs,
                lambda: catalog.load_table(table.identifier),
                watching.poll,
                target=200,
                against="PyIceberg load_table, 10,000 snapshots",
            ),
            compared(
                "probe_changed_vs_load_table",
                runs,
                lambda: catalog.load_table(table.identifier),
                lambda: _changed(table, access),
                target=20,
                against="PyIceberg load_table, 10,000 snapshots",
            ),
        ]


def _changed(table: CraftedTable, access: TableAccess) -> None:
    """A poll by somebody who has seen nothing yet: the whole file, the head, and the commit that is waited for."""
    fresh = TableAccess(table.config, table.identifier, access.catalog)
    landed = HeadProbe(fresh).landed({table.job_id: table.operator_id}, table.newest_checkpoint_id)
    if landed is None:
        raise RuntimeError("the newest checkpoint was not found")


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 10), indent=1))
