"""What a change of refs is, and what a table lacks for it; pure, whatever the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_flink_iceberg.iceberg.metadata import MAIN, TableMetadata
from airflow_flink_iceberg.iceberg.metadata_document import Ref
from airflow_flink_iceberg.model.errors import InvalidValue


@dataclass(frozen=True)
class RefChange:
    """What a ref is to be: at ``snapshot_id``, or gone (``None``).

    :param type: ``tag`` or ``branch``; an existing ref never changes its type.
    :param max_ref_age_ms: how long the ref outlives its snapshot's timestamp; ``None`` keeps what the ref has (a new
        one: for ever, or the table's ``history.expire.max-ref-age-ms``).
    """

    name: str
    snapshot_id: int | None
    type: str = "tag"
    max_ref_age_ms: int | None = None

    def __post_init__(self) -> None:
        if not self.name or self.type not in ("tag", "branch"):
            raise InvalidValue(
                f"A ref needs a name and the type tag or branch, not {self.name!r} and {self.type!r}."
            )
        if self.name == MAIN and (self.snapshot_id is None or self.type != "branch"):
            raise InvalidValue("The branch main can be moved, but neither removed nor made a tag.")


@dataclass(frozen=True)
class RefUpdate:
    """The outcome: whether this call committed, and the newest metadata location it saw."""

    changed: bool
    metadata_location: str


@dataclass(frozen=True)
class Plan:
    """What a commit on top of ``base`` has to change; empty when everything is as wanted.

    :param refs: new refs by name; ``None`` removes one.
    :param properties: new values by key; ``None`` removes one.
    :param require: the snapshot ids that refs must have while it is committed; ``None``: the ref must not exist.
    """

    base: TableMetadata
    refs: Mapping[str, Ref | None]
    properties: Mapping[str, str | None]
    require: Mapping[str, int | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.refs or self.properties)


class Attempt(StrEnum):
    """How a commit ended. ``unknown``: no answer, or one that does not say; the table has to be read to find out."""

    COMMITTED = "committed"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"


def plan_update(
    base: TableMetadata,
    changes: Iterable[RefChange],
    properties: Mapping[str, str | None],
    require: Mapping[str, int | None],
) -> Plan:
    """What differs between ``base`` and what is wanted.

    :raises InvalidValue: a ref that exists as the other type.
    """
    refs: dict[str, Ref | None] = {}
    for change in changes:
        existing = base.refs.get(change.name)
        if existing and existing.type != change.type:
            raise InvalidValue(
                f"{change.name!r} is a {existing.type} of the table at {base.location}, not a {change.type}: choose"
                " another name, or remove it first."
            )
        wanted = _wanted(change, existing)
        if wanted != existing:
            refs[change.name] = wanted
    changed = {key: text for key, text in properties.items() if base.properties.get(key) != text}
    return Plan(base, refs, changed, require)


def _wanted(change: RefChange, existing: Ref | None) -> Ref | None:
    if change.snapshot_id is None:
        return None
    age = change.max_ref_age_ms
    if existing is None:
        return Ref(snapshot_id=change.snapshot_id, type=change.type, max_ref_age_ms=age)
    return Ref(
        snapshot_id=change.snapshot_id,
        type=existing.type,
        max_ref_age_ms=existing.max_ref_age_ms if age is None else age,
        max_snapshot_age_ms=existing.max_snapshot_age_ms,
        min_snapshots_to_keep=existing.min_snapshots_to_keep,
    )


def require_snapshots(metadata: TableMetadata, plan: Plan) -> None:
    """Refuse refs to snapshots that are not in ``metadata``.

    :raises InvalidValue: names the ref and the snapshot.
    """
    for name, ref in plan.refs.items():
        if ref is not None and not metadata.has(ref.snapshot_id):
            raise InvalidValue(
                f"{name!r} cannot be set to snapshot {ref.snapshot_id}: the table at {metadata.location} does not have"
                " it (expired, or of another table)."
            )
