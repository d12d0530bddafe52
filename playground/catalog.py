"""The Iceberg catalog: one SQLite file that Flink (JdbcCatalog) and PyIceberg (SqlCatalog) share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "lake"  # both sides key their rows by it


@dataclass(frozen=True)
class Catalog:
    """The catalog of one stack directory; its tables survive a stop and a start."""

    database: Path
    warehouse: Path
    name: str = NAME

    @property
    def properties(self) -> dict[str, str]:
        """For `pyiceberg.catalog.load_catalog(NAME, **properties)`."""
        return {"type": "sql", "uri": f"sqlite:///{self.database}", "warehouse": f"file://{self.warehouse}"}

    @property
    def create_statement(self) -> str:
        """For Flink SQL; harmless in a session that has it already."""
        options = {
            "type": "iceberg",
            "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
            "uri": self.java_properties["uri"],
            "warehouse": self.java_properties["warehouse"],
            "jdbc.schema-version": self.java_properties["jdbc.schema-version"],
        }
        listed = ", ".join(f"'{key}'='{value}'" for key, value in options.items())
        return f"CREATE CATALOG IF NOT EXISTS {self.name} WITH ({listed})"

    @property
    def java_properties(self) -> dict[str, str]:
        """For a `CatalogLoader` in a jar job."""
        return {
            "uri": f"jdbc:sqlite:{self.database}",
            "warehouse": f"file://{self.warehouse}",
            "jdbc.schema-version": "V1",
        }
