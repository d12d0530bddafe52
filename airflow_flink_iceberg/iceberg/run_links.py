"""Where the links between runs are kept: as table properties, written in the same commit as the pin.

Flink forgets a finished job after an hour, and a JobManager failover forgets it at once; the table does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_flink_iceberg.model.commit import RunLink

PROPERTY_PREFIX = "flink-iceberg.run."
_PROPERTY = re.compile(re.escape(PROPERTY_PREFIX) + r"([0-9a-f]{32})")
_RECORD = re.compile(r"([0-9a-f]{32})/(\d{1,19})")


def links_in_properties(properties: Mapping[str, str]) -> tuple[RunLink, ...]:
    """The links recorded in a table; a property that is not in our form is not ours and is passed over."""
    links = []
    for key, record in properties.items():
        key_match, match = _PROPERTY.fullmatch(key), _RECORD.fullmatch(record)
        if key_match and match:
            links.append(RunLink(key_match[1], match[1], int(match[2]), source="table"))
    return tuple(links)


def link_property(link: RunLink) -> tuple[str, str]:
    """The table property that records a link."""
    return f"{PROPERTY_PREFIX}{link.job_id}", f"{link.parent_job_id}/{link.checkpoint_id}"
