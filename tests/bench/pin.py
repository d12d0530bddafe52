"""What a pin costs at 10,000 snapshots, against PyIceberg's ``create_tag`` on a table that is loaded already."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from tests.bench.pairs import compared
from tests.support.crafted import craft_table


def run(runs: int) -> list[dict[str, Any]]:
    """``pin_10k_snapshots_vs_create_tag``."""
    with tempfile.TemporaryDirectory() as directory:
        crafted = craft_table(Path(directory))
        access = crafted.access()
        head_id = access.metadata().head()
        if head_id is None:
            raise RuntimeError("the crafted table has no head")
        loaded = access.load()
        numbers = itertools.count()

        def create_tag() -> None:
            loaded.manage_snapshots().create_tag(head_id, f"theirs-{next(numbers)}").commit()

        def pin() -> None:
            fresh = TableAccess(crafted.config, crafted.identifier, access.catalog)
            if not update_refs(fresh, [RefChange(f"ours-{next(numbers)}", head_id)]).changed:
                raise RuntimeError("the pin was not written")

        def forget() -> None:
            loaded.refresh()

        against = "PyIceberg create_tag on a loaded table, 10,000 snapshots"
        measured = compared(
            "pin_10k_snapshots_vs_create_tag",
            runs,
            create_tag,
            pin,
            target=20,
            against=against,
            prepare=forget,
        )
        missing = [number for number in range(2 * runs) if not _is_there(access, number)]
        if missing:
            raise RuntimeError(f"tags {missing} are not in the table")
        return [measured]


def _is_there(access: TableAccess, number: int) -> bool:
    return any(name.endswith(f"-{number}") for name in access.refs_metadata().refs)


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5), indent=1))
