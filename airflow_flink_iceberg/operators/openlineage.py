"""Check results as OpenLineage's data-quality facet, where its provider is installed; nothing here is imported without.

A dataset is named after the table's location, as OpenLineage's own Iceberg integrations do, with its catalog's address
and the name there as a symlink, so that the assertions land on the dataset that Flink and Spark report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_flink_iceberg.model.result import CheckResult

_SECRETS = re.compile(r"(?<=//)[^/@\s]+@|\?.*$")


@dataclass(frozen=True)
class CheckedTable:
    """One table of the job with what was found about it.

    :param name: ``namespace.name`` in its catalog; two catalogs may have tables of one name.
    :param catalog: the catalog's properties.
    """

    name: str
    location: str
    catalog: Mapping[str, str]
    results: Sequence[CheckResult]


def lineage_of(checked: Iterable[CheckedTable]) -> OperatorLineage[Any, Any] | None:
    """The checked tables as inputs, each with its assertions; ``None`` when no table was reached.

    An answer that is not known is no success, and its ``params`` say ``outcome: unknown``. What was asked of two
    branches of one table is asserted of its one dataset.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    by_location: dict[str, list[CheckedTable]] = {}
    for table in checked:
        by_location.setdefault(table.location, []).append(table)
    if not by_location:
        return None
    return OperatorLineage(inputs=[_dataset(tables) for tables in by_location.values()])


def _dataset(tables: Sequence[CheckedTable]) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset, symlinks_dataset

    namespace, name = _named(tables[0].location)
    links = {(_catalog_named(table.catalog) or namespace, table.name): None for table in tables}
    symlinks = [symlinks_dataset.Identifier(namespace=of, name=called, type="TABLE") for of, called in links]
    results = [result for table in tables for result in table.results]
    assertions = [_assertion(data_quality_assertions_dataset.Assertion, result) for result in results]
    return InputDataset(
        namespace=namespace,
        name=name,
        facets={"symlinks": symlinks_dataset.SymlinksDatasetFacet(identifiers=symlinks)},
        inputFacets={
            "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                assertions=assertions
            )
        },
    )


def _catalog_named(properties: Mapping[str, str]) -> str:
    """A catalog is named by its address, else by its warehouse: names alone are the same in two of them."""
    return _SECRETS.sub("", properties.get("uri") or properties.get("warehouse") or "")


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
