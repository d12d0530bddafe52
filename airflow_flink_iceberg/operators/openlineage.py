"""Check results as OpenLineage's data-quality facet, where its provider is installed; nothing here is imported without.

A dataset is named after the table's location, as OpenLineage's own Iceberg integrations do, with the catalog's name of
the table as a symlink, so that the assertions land on the dataset that Flink and Spark report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_flink_iceberg.model.result import CheckResult


def lineage_of(
    results: Iterable[CheckResult], locations: Mapping[str, str]
) -> OperatorLineage[Any, Any] | None:
    """The checked tables as inputs, each with its assertions; ``None`` when no table was reached.

    An answer that is not known is no success, and its ``params`` say ``outcome: unknown``.

    :param locations: of the tables, by their names in the results.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    by_table: dict[str, list[CheckResult]] = {table: [] for table in locations}
    for result in results:
        if result.table in by_table:
            by_table[result.table].append(result)
    if not by_table:
        return None
    return OperatorLineage(
        inputs=[_dataset(table, locations[table], found) for table, found in by_table.items()]
    )


def _dataset(table: str, location: str, results: list[CheckResult]) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset, symlinks_dataset

    namespace, name = _named(location)
    symlink = symlinks_dataset.Identifier(namespace=namespace, name=table, type="TABLE")
    assertions = [_assertion(data_quality_assertions_dataset.Assertion, result) for result in results]
    return InputDataset(
        namespace=namespace,
        name=name,
        facets={"symlinks": symlinks_dataset.SymlinksDatasetFacet(identifiers=[symlink])},
        inputFacets={
            "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                assertions=assertions
            )
        },
    )


def _assertion(kind: Any, result: CheckResult) -> Any:
    """Older clients know fewer fields."""
    import attr

    given = {
        "assertion": result.check_type,
        "success": result.success,
        "column": result.column,
        "severity": result.severity.value,
        "name": result.name,
        "description": result.description,
        "expected": None if result.expected is None else str(result.expected),
        "actual": None if result.actual is None else str(result.actual),
        "params": {"outcome": result.outcome.value, "tier": result.tier},
    }
    known = {item.name for item in attr.fields(kind)}
    return kind(**{key: item for key, item in given.items() if key in known})


def _named(location: str) -> tuple[str, str]:
    """``s3://bucket`` and ``warehouse/orders``; a local path is ``file`` and the path (OpenLineage's naming)."""
    scheme, separator, rest = location.partition("://")
    if not separator or scheme == "file":
        return "file", "/" + (rest if separator else location.removeprefix("file:")).strip("/")
    bucket, _, path = rest.partition("/")
    return f"{scheme.replace('s3a', 's3')}://{bucket}", path.strip("/")
