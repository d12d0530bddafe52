"""Which module measures which figure, and in how many runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A module of this folder with ``run(runs: int) -> list[dict]``, which returns an entry for each name.

    :param runs: how often (in pairs, where two things are compared) for figures worth quoting.
    """

    module: str
    names: tuple[str, ...]
    runs: int

    def run(self, runs: int | None = None) -> list[dict[str, Any]]:
        """Measure all of its figures.

        :raises RuntimeError: an entry that was promised is missing.
        """
        module = importlib.import_module(f"tests.bench.{self.module}")
        entries: list[dict[str, Any]] = module.run(runs or self.runs)
        missing = set(self.names) - {entry["name"] for entry in entries}
        if missing:
            raise RuntimeError(f"{self.module} did not measure {', '.join(sorted(missing))}")
        return entries


MEASUREMENTS = (
    Measurement("downtime", ("downtime_vs_rest", "downtime_vs_rest_default_poll"), 30),
    Measurement("downtime_sql", ("downtime_sql_vs_script", "downtime_sql_vs_script_default_poll"), 30),
    Measurement("downtime_10k", ("downtime_vs_rest_10k_snapshots",), 30),
    Measurement("downtime_filtered", ("downtime_vs_rest_filtered",), 30),
    Measurement("probe", ("probe_unchanged_vs_load_table", "probe_changed_vs_load_table"), 20),
    Measurement("pin", ("pin_10k_snapshots_vs_create_tag",), 10),
    Measurement("imports", ("import_cost",), 30),
    Measurement("cli_help", ("cli_help",), 30),
    Measurement("report", ("report_10k_results",), 10),
    Measurement(
        "guard",
        (
            "guard_playground",
            "guard_playground_moved",
            "guard_10k_snapshots",
            "guard_10k_snapshots_moved",
            "guard_100k_snapshots",
            "guard_100k_snapshots_moved",
        ),
        20,
    ),
    Measurement("guard_memory", ("guard_peak_memory",), 5),
    Measurement("retry", ("retry_added_downtime", "retry_added_downtime_sql"), 10),
    Measurement("savepoint", ("savepoint_50mb", "savepoint_50mb_memory"), 10),
    Measurement("sensors", ("waiting_sensors_lag", "waiting_sensors_lag_beside_hung"), 1),
    Measurement(
        "rows", ("rows_proof_vs_decode", "rows_proof_vs_decode_alternating", "rows_proof_peak_memory"), 5
    ),
    Measurement(
        "rows_engines",
        (
            "rows_proof_vs_duckdb",
            "rows_proof_vs_polars",
            "rows_proof_vs_duckdb_alternating",
            "rows_proof_vs_polars_alternating",
        ),
        3,
    ),
    Measurement(
        "proof",
        ("bounds_proof_vs_manifest_decode", "bounds_incremental_vs_first", "metadata_checks_10k_snapshots"),
        5,
    ),
)


def names() -> list[str]:
    """All figures, in the order in which they are measured."""
    return [name for measurement in MEASUREMENTS for name in measurement.names]


def chosen(wanted: Iterable[str]) -> list[Measurement]:
    """The measurements that give the wanted figures; all, if none is named. A module is run once for all its figures.

    :raises KeyError: names that nobody measures.
    """
    wanted = set(wanted)
    if unknown := wanted - set(names()):
        raise KeyError(", ".join(sorted(unknown)))
    return [each for each in MEASUREMENTS if not wanted or wanted & set(each.names)]
