from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.probe import HeadProbe
from airflow_flink_iceberg.iceberg.refs import RefChange, update_refs
from airflow_flink_iceberg.model.errors import CatalogUnreachable, InvalidValue, RefConflict, TableNotFound
from tests.integration.fakes.iceberg_rest import Fault, IcebergRest
from tests.integration.iceberg.conftest import TABLE, make_lake
from tests.support.crafted import JOB_ID


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[IcebergRest, list[int]]]:
    """A REST catalog that serves a table of three commits, and their snapshot ids."""
    for lake in make_lake(tmp_path):
        ids = lake.append(1, 2, 3)
        with IcebergRest() as server:
            server.register(TABLE, lake.table.metadata_location)
            yield server, ids


def access_to(server: IcebergRest, **config: float) -> TableAccess:
    return TableAccess(CatalogConfig("rest", {"type": "rest", "uri": server.uri}, **config), TABLE)


def test_a_tag_is_one_request_that_says_what_must_not_have_changed(
    served: tuple[IcebergRest, list[int]],
) -> None:
    server, ids = served
    done = update_refs(
        access_to(server), [RefChange("pin", ids[0], max_ref_age_ms=7)], {"mark": "1"}, {"main": ids[2]}
    )
    assert done.changed
    assert server.metadata(TABLE)["refs"]["pin"] == {
        "snapshot-id": ids[0],
        "type": "tag",
        "max-ref-age-ms": 7,
    }
    assert server.metadata(TABLE)["properties"]["mark"] == "1"
    (post,) = [request for request in server.requests if request.method == "POST"]
    assert post.body is not None
    assert post.body["requirements"] == [
        {"type": "assert-table-uuid", "uuid": server.metadata(TABLE)["table-uuid"]},
        {"type": "assert-ref-snapshot-id", "ref": "pin", "snapshot-id": None},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": ids[2]},
    ]
    assert {request.query.get("snapshots") for request in server.requests if "/tables/" in request.path} <= {
        "refs",
        None,
    }
    again = update_refs(access_to(server), [RefChange("pin", ids[0])], {"mark": "1"})
    assert (again.changed, server.count("POST")) == (False, 1)


def test_a_moved_branch_keeps_its_retention(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    audit = {"snapshot-id": ids[2], "type": "branch", "min-snapshots-to-keep": 3, "max-snapshot-age-ms": 9}
    server.metadata(TABLE)["refs"]["audit"] = audit
    update_refs(access_to(server), [RefChange("audit", ids[0], "branch")])
    assert server.metadata(TABLE)["refs"]["audit"] == {**audit, "snapshot-id": ids[0]}


def test_tags_and_properties_are_removed(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    update_refs(access_to(server), [RefChange("pin", ids[0])], {"mark": "1"})
    update_refs(access_to(server), [RefChange("pin", None)], {"mark": None})
    assert "pin" not in server.metadata(TABLE)["refs"]
    assert "mark" not in server.metadata(TABLE)["properties"]


def test_pyiceberg_goes_on_with_our_tags_on_the_same_server(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    access = access_to(server)
    update_refs(access, [RefChange("pin", ids[0])])
    access.load().manage_snapshots().create_tag(ids[1], "theirs").commit()
    assert set(access.metadata().refs) == {"main", "pin", "theirs"}


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.ERROR_AFTER, Fault.CUT_AFTER])
def test_a_commit_whose_answer_is_lost_is_recognised_and_not_sent_again(
    served: tuple[IcebergRest, list[int]], fault: Fault
) -> None:
    server, ids = served
    server.fail_next("POST", fault)
    done = update_refs(
        access_to(server), [RefChange("main", ids[0], "branch")], require={"main": ids[2]}, timeout=10
    )
    assert done.changed
    assert server.count("POST") == 1
    assert server.metadata(TABLE)["refs"]["main"]["snapshot-id"] == ids[0]


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, 500, 502, 503, 504])
def test_a_commit_that_was_not_carried_out_is_sent_again(
    served: tuple[IcebergRest, list[int]], fault: Fault | int
) -> None:
    server, ids = served
    server.fail_next("POST", fault)
    assert update_refs(access_to(server), [RefChange("pin", ids[0])], timeout=10).changed
    assert server.count("POST") == 2
    assert server.metadata(TABLE)["refs"]["pin"]["snapshot-id"] == ids[0]


def test_a_conflict_is_planned_again_on_what_the_winner_left(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served

    def somebody_elses() -> None:
        update_refs(access_to(server), [RefChange("pin", ids[1])])

    server.before_commit = somebody_elses
    assert update_refs(access_to(server), [RefChange("pin", ids[0])], timeout=10).changed
    assert server.count("POST") == 3, "theirs, ours refused with 409, ours again"
    assert server.metadata(TABLE)["refs"]["pin"]["snapshot-id"] == ids[0]


def test_a_requirement_that_is_broken_while_the_request_travels_refuses(
    served: tuple[IcebergRest, list[int]],
) -> None:
    server, ids = served

    def somebody_elses() -> None:
        update_refs(access_to(server), [RefChange("main", ids[1], "branch")])

    server.before_commit = somebody_elses
    with pytest.raises(RefConflict, match=f"at snapshot {ids[1]}, not at {ids[2]}"):
        update_refs(access_to(server), [RefChange("pin", ids[0])], require={"main": ids[2]}, timeout=10)
    assert "pin" not in server.metadata(TABLE)["refs"]


def test_endless_conflicts_end_with_the_timeout(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    for _ in range(200):
        server.fail_next("POST", 409)
    with pytest.raises(RefConflict, match="other commits won every time"):
        update_refs(access_to(server), [RefChange("pin", ids[0])], timeout=0.5)
    assert 2 <= server.count("POST") < 50


def test_a_server_that_hangs_is_left_after_the_timeout(served: tuple[IcebergRest, list[int]]) -> None:
    server, _ = served
    access = access_to(server, read_timeout=0.3)
    access.metadata_location()
    server.fail_next("GET", Fault.HANG)
    started = time.monotonic()
    with pytest.raises(CatalogUnreachable, match=TABLE):
        access.metadata_location()
    assert time.monotonic() - started < 5
    server.fail_next("POST", Fault.HANG)
    assert update_refs(access, [RefChange("pin", served[1][0])], timeout=10).changed


def test_an_unknown_snapshot_is_the_callers_mistake(served: tuple[IcebergRest, list[int]]) -> None:
    server, _ = served
    with pytest.raises(InvalidValue, match="unknown snapshot: 77"):
        update_refs(access_to(server), [RefChange("pin", 77)])
    assert server.count("POST") == 1


@pytest.mark.parametrize(("status", "error"), [(403, CatalogUnreachable), (404, TableNotFound)])
def test_refusals_are_not_repeated(
    served: tuple[IcebergRest, list[int]], status: int, error: type[Exception]
) -> None:
    server, ids = served
    server.fail_next("POST", status)
    with pytest.raises(error):
        update_refs(access_to(server), [RefChange("pin", ids[0])])
    assert server.count("POST") == 1


def test_a_quiet_table_costs_one_empty_answer(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    probe = HeadProbe(access_to(server))
    assert (probe.poll().changed, probe.poll().changed, probe.poll().head_id) == (True, False, ids[2])
    gets = [request for request in server.requests if "/tables/" in request.path]
    assert len(gets) == 3
    assert {request.query["snapshots"] for request in gets} == {"refs"}
    assert ["If-None-Match" in request.headers for request in gets] == [False, True, True]


@pytest.mark.parametrize(("etags", "knows_refs"), [(False, True), (True, False), (False, False)])
def test_servers_that_know_less_give_the_same_answers(tmp_path: Path, etags: bool, knows_refs: bool) -> None:
    for lake in make_lake(tmp_path):
        ids = lake.append(1, 2, 3)
        with IcebergRest(etags=etags, knows_refs=knows_refs) as server:
            server.register(TABLE, lake.table.metadata_location)
            probe = HeadProbe(access_to(server))
            assert [probe.poll().changed for _ in range(2)] == [True, False]
            landed = probe.landed({JOB_ID: None}, 2)
            assert landed is not None
            assert (landed.snapshot_id, landed.checkpoint_id) == (ids[2], 3)
            assert update_refs(access_to(server), [RefChange("pin", ids[0])]).changed
            assert probe.poll().changed


def test_all_snapshots_are_loaded_once_per_change(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    probe = HeadProbe(access_to(server))
    for _ in range(3):
        assert not probe.search({JOB_ID: None}, 4).commit
    assert sum(request.query.get("snapshots") == "all" for request in server.requests) == 1
    update_refs(access_to(server), [RefChange("pin", ids[0])])
    assert probe.search({JOB_ID: None}, 4).complete
    assert sum(request.query.get("snapshots") == "all" for request in server.requests) == 1, (
        "the head did not move"
    )


def test_a_gateway_error_on_a_read_is_repeated_a_few_times(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    server.fail_next("GET", 503)
    server.fail_next("GET", Fault.DROP_BEFORE)
    assert access_to(server).metadata().head() == ids[2]
    server.fail_next("GET", Fault.CUT_AFTER)
    assert access_to(server).metadata().head() == ids[2]
    for _ in range(3):
        server.fail_next("GET", 502)
    with pytest.raises(CatalogUnreachable, match="HTTP 502: ordered"):
        access_to(server).metadata()


def test_an_unauthorised_read_says_so_without_the_credentials(served: tuple[IcebergRest, list[int]]) -> None:
    server, _ = served
    config = CatalogConfig("rest", {"type": "rest", "uri": server.uri, "token": "very-secret-token"})
    access = TableAccess(config, TABLE)
    for _ in range(2):
        server.fail_next("GET", 401)
    with pytest.raises(CatalogUnreachable, match="HTTP 401") as caught:
        access.metadata()
    assert "very-secret-token" not in f"{caught.value!r}{caught.value.__cause__!r}{config!r}{access!r}"
    authorised = [request for request in server.requests if request.headers.get("Authorization")]
    assert authorised, "the catalog's own session was used"


def test_a_table_that_is_dropped_while_it_is_watched(served: tuple[IcebergRest, list[int]]) -> None:
    server, ids = served
    access = access_to(server)
    access.metadata()
    server.drop(TABLE)
    assert not access.exists
    with pytest.raises(TableNotFound, match=TABLE):
        update_refs(access, [RefChange("pin", ids[0])])
