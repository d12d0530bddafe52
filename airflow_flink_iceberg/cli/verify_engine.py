"""The engine that ``verify`` may push checks down to: DuckDB here, or Flink's batch SQL."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.checks import Check, Engine, Tier
from airflow_flink_iceberg.cli.jobs import read_script
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.integrity.engines.sql import SqlEngine

_NAMES = ("duckdb", "flink")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names an engine."""
    parser.add_argument(
        "--engine",
        choices=_NAMES,
        help="what may answer checks of rows by SQL; a check's own engine= counts more. flink needs --gateway",
    )
    parser.add_argument(
        "--tier",
        choices=[tier.value for tier in Tier],
        help="rows: read here; engine: ask the engine; auto (default): by size",
    )
    parser.add_argument(
        "--gateway", metavar="URL", help="SQL Gateway of engine flink; default: FLINK_ICEBERG_GATEWAY"
    )
    parser.add_argument(
        "--sql",
        metavar="FILE",
        help="the job's script: compared with that of the baseline; engine flink runs its CREATE CATALOG statements",
    )
    parser.add_argument(
        "--engine-catalog", metavar="NAME", help="what the engine calls the catalog; default: as --catalog"
    )


def with_engine(checks: Sequence[Check], options: argparse.Namespace) -> list[Check]:
    """The checks with the engine and tier of the arguments, where they take one and have none of their own.

    :raises InvalidValue: no check takes one, or ``--tier engine`` without an engine.
    """
    given = Engine(options.engine, catalog=options.engine_catalog) if options.engine else None
    if given is None and options.tier is None:
        return list(checks)
    changed = [_changed(check, given, options.tier) for check in checks]
    if changed == list(checks):
        raise InvalidValue("--engine and --tier are for checks that read rows, and none of these does.")
    return changed


def _changed(check: Check, engine: Engine | None, tier: str | None) -> Check:
    names = {item.name for item in fields(check)}
    if not {"engine", "tier"} <= names:
        return check
    own: Any = check
    chosen = tier if tier and own.tier is Tier.AUTO else own.tier
    changed: Check = replace(own, engine=own.engine or engine, tier=chosen)
    return changed


@dataclass(frozen=True)
class NamedEngines:
    """Opens the engines that need no Airflow connection; an instance is :attr:`CheckContext.engines`.

    :param gateway: the SQL Gateway's address. :param script: file with ``CREATE CATALOG`` statements.
    """

    gateway: str | None = None
    script: str | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> NamedEngines:
        """As the arguments and the environment say."""
        return cls(options.gateway or os.environ.get("FLINK_ICEBERG_GATEWAY"), options.sql)

    def __call__(self, engine: Engine) -> SqlEngine:
        """Open the engine.

        :raises EngineFailed: another name, or ``flink`` without a gateway.
        """
        from airflow_flink_iceberg.integrity.engines.sql import EngineFailed

        if engine.name == "duckdb":
            from airflow_flink_iceberg.integrity.engines.duckdb_files import DuckDbEngine

            return DuckDbEngine(engine)
        if engine.name != "flink":
            raise EngineFailed(
                f"Engine {engine.name!r} is a connection of Airflow; here are {' and '.join(_NAMES)}."
            )
        if not self.gateway:
            raise EngineFailed(
                "Engine 'flink' needs the SQL Gateway: --gateway URL or FLINK_ICEBERG_GATEWAY."
            )
        return self._flink(engine, self.gateway)

    def _flink(self, engine: Engine, gateway: str) -> SqlEngine:
        from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
        from airflow_flink_iceberg.flink.gateway import GatewayClient
        from airflow_flink_iceberg.flink.script import catalog_statements
        from airflow_flink_iceberg.integrity.engines.flink_sql import FlinkEngine

        prepare = catalog_statements(read_script(self.script)) if self.script else ()
        return FlinkEngine(GatewayClient(FlinkEndpoint(gateway)), engine, prepare)
