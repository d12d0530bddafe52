"""The downtime of a job that filters and keeps no offsets, into a table that somebody else writes to as well.

Its script is SQL, so the bare calls are the best that a script can do: session and DDL ready before the stop.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException

from playground.orders import Produced, order
from tests.bench.downtime import SHORT_POLL, TARGET, bench_stack, conditions
from tests.bench.downtime_pairs import compare, said
from tests.bench.downtime_sides import product, script_before_stop
from tests.e2e.rig import Rig, running_job, wait_until

_LEAST_AMOUNT = 50.0
_FOREIGN_ID = -1
_ATTEMPTS = 20


def run(runs: int) -> list[dict[str, Any]]:
    """``downtime_vs_rest_filtered``."""
    with bench_stack() as stack, running_job(stack, filtered=True) as rig:
        rig.wait_rows()
        compared = compare(
            rig,
            runs,
            product(rig, SHORT_POLL),
            script_before_stop(rig, SHORT_POLL),
            before_pair=lambda: _foreign_append(rig),
        )
        return [
            compared.entry(
                "downtime_vs_rest_filtered",
                target=TARGET,
                against=f"a script with session and DDL ready, only INSERT after the stop, a foreign writer, "
                f"{conditions(SHORT_POLL)}",
                counted=_count(rig, runs),
            )
        ]


def _foreign_append(rig: Rig) -> None:
    """One row by a writer that is no Flink job."""
    row = {"order_id": _FOREIGN_ID, "customer": "foreign", "amount": 1.0, "event_time": datetime(2026, 1, 1)}  # noqa: DTZ001
    for _ in range(_ATTEMPTS):
        table = rig.iceberg()
        try:
            table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
            return
        except CommitFailedException:
            continue  # Flink was faster
    raise RuntimeError(f"Flink overtook {_ATTEMPTS} foreign commits")


def _count(rig: Rig, runs: int) -> str:
    """Without offsets the orders are told by their ids, which the test knows and a user would not."""
    produced = rig.producer.stop()
    wanted = _wanted(produced)
    wait_until(lambda: len(_ids(rig)) >= len(wanted), f"{len(wanted)} orders in {rig.table}", 120)
    found = _ids(rig)
    doubled = sum(times - 1 for times in found.values())
    sentence = said(runs, produced.total, len(wanted - set(found)), doubled)
    return f"{sentence}, of which the filter keeps {len(wanted)}"


def _ids(rig: Rig) -> Counter[int]:
    ids = rig.iceberg().scan(selected_fields=("order_id",)).to_arrow()["order_id"].to_pylist()
    return Counter(order_id for order_id in ids if order_id != _FOREIGN_ID)


def _wanted(produced: Produced) -> set[int]:
    partitions = len(produced.partitions)
    ids = (
        partition + offset * partitions
        for partition, end in produced.partitions.items()
        for offset in range(end)
    )
    return {order_id for order_id in ids if float(str(order(order_id)["amount"])) >= _LEAST_AMOUNT}
