"""Setting and removing tags and branches with one compare-and-swap, however long the table's history is.

PyIceberg's own ``create_tag`` parses and writes all snapshots (2.5 s at 10,000), moves an existing tag without a
word, and never retries a conflict. Here several refs and table properties change in one commit that touches nothing
else: snapshots, and fields that this package does not know, stay byte for byte what they were.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping

from airflow_flink_iceberg.iceberg import refs_other, refs_rest, refs_sql
from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.metadata import TableMetadata
from airflow_flink_iceberg.iceberg.pointers import RestPointer, SqlPointer
from airflow_flink_iceberg.iceberg.refs_plan import Attempt, Plan, RefChange, RefUpdate, plan_update
from airflow_flink_iceberg.model.errors import RefConflict, TableNotFound

__all__ = ["RefChange", "RefUpdate", "update_refs"]

_LONGEST_PAUSE = 2.0


def update_refs(
    access: TableAccess,
    changes: Iterable[RefChange],
    properties: Mapping[str, str | None] | None = None,
    require: Mapping[str, int | None] | None = None,
    timeout: float = 30.0,
) -> RefUpdate:
    """Bring refs and table properties to the wanted state in one commit.

    All of it is committed, or nothing. What is already so is left alone, so a retry after a kill at any instant
    changes nothing twice. Conflicts with other writers are retried with full jitter on top of their commit; after an
    answer that does not say whether it was committed the table is read again.

    :param properties: table properties to set, or to remove (``None``).
    :param require: ``{ref: snapshot id}`` that must hold when the commit is made; ``None``: the ref must not exist.
        Not asked for when everything is already as wanted.
    :param timeout: seconds after which no new attempt is made.
    :raises InvalidValue: an unknown snapshot, or a ref that exists as the other type.
    :raises RefConflict: a required ref is elsewhere, or others won every time; nothing was committed by this call,
        unless the message says that its outcome is unknown.
    :raises TableNotFound: no such table, or it was dropped and created again meanwhile.
    :raises CatalogUnreachable: no answer.
    """
    changes, properties, require = tuple(changes), dict(properties or {}), dict(require or {})
    deadline = time.monotonic() + timeout
    uuid: str | None = None
    outcome, may_be_ours, attempt = Attempt.CONFLICT, False, 0
    while True:
        base = access.refs_metadata()
        uuid = _same_table(access, base, uuid)
        plan = plan_update(base, changes, properties, require)
        if not plan:
            return RefUpdate(may_be_ours, base.metadata_location)
        if attempt and time.monotonic() >= deadline:
            raise _gave_up(access, plan, attempt, outcome)
        _check_required(access, plan)
        outcome, location = _commit(access, plan)
        if outcome is Attempt.COMMITTED:
            return RefUpdate(True, location)
        may_be_ours = may_be_ours or outcome is Attempt.UNKNOWN
        attempt += 1
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.02 * 2**attempt)))


def _commit(access: TableAccess, plan: Plan) -> tuple[Attempt, str]:
    pointer = access.pointer
    if isinstance(pointer, SqlPointer):
        return refs_sql.commit(access, pointer, plan)
    if isinstance(pointer, RestPointer):
        return refs_rest.commit(access, pointer, plan)
    return refs_other.commit(access, plan)


def _same_table(access: TableAccess, base: TableMetadata, uuid: str | None) -> str:
    if uuid is not None and base.uuid != uuid:
        raise TableNotFound(
            f"Table {access.identifier} (uuid {uuid}) was dropped and created again (uuid {base.uuid}) while its refs"
            " were to be changed; nothing was changed in the new table."
        )
    return base.uuid


def _check_required(access: TableAccess, plan: Plan) -> None:
    for name, expected in plan.require.items():
        ref = plan.base.refs.get(name)
        found = ref.snapshot_id if ref else None
        if found != expected:
            raise RefConflict(
                f"{name!r} of {access.identifier} is at snapshot {found}, not at {expected}: somebody committed,"
                " and nothing was changed."
            )


def _gave_up(access: TableAccess, plan: Plan, attempts: int, outcome: Attempt) -> RefConflict:
    names = ", ".join(map(repr, [*plan.refs, *plan.properties]))
    how = "the last outcome is unknown" if outcome is Attempt.UNKNOWN else "other commits won every time"
    return RefConflict(
        f"{names} of {access.identifier} could not be changed in {attempts} attempts: {how}; try again."
    )
