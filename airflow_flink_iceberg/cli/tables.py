"""How commands name a table: identifier, catalog of PyIceberg's own configuration, branch."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

CATALOG_HELP = (
    "catalog as in .pyiceberg.yaml or PYICEBERG_CATALOG__NAME__...; default: PyIceberg's default catalog"
)


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add TABLE, --catalog, --branch and --json."""
    parser.add_argument("table", metavar="TABLE", help="namespace.name")
    parser.add_argument("--catalog", metavar="NAME", help=CATALOG_HELP)
    parser.add_argument("--branch", default="main", metavar="BRANCH", help="default: main")
    parser.add_argument("--json", action="store_true", help="print JSON")


def open_table(table: str, catalog: str | None) -> TableAccess:
    """Open the table that the arguments name; nothing is asked of the catalog yet.

    :raises InvalidValue: PyIceberg's configuration does not have the catalog.
    """
    from pyiceberg.utils.config import Config

    from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess

    try:
        config = Config()
        name = catalog or config.get_default_catalog_name()
        properties = config.get_catalog_config(name)
    except ValueError as error:
        raise InvalidValue(f"PyIceberg's configuration cannot be read: {error}") from error
    if properties is None:
        raise InvalidValue(
            f"PyIceberg's configuration has no catalog {name!r}: name one with --catalog, and set it up in "
            f".pyiceberg.yaml or with PYICEBERG_CATALOG__{name.upper()}__URI."
        )
    return TableAccess(CatalogConfig(name, properties), table)
