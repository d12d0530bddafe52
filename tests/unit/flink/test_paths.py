from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.paths import (
    configured_roots,
    is_below,
    normalise_path,
    require_below,
    retained_checkpoint,
    same_path,
)
from airflow_flink_iceberg.model.errors import InvalidValue


@pytest.mark.parametrize(
    "spelling",
    ["/data/sp-1", "file:/data/sp-1", "file:///data/sp-1", "FILE:///data/sp-1/", "/data//sp-1/", "/data/sp-1/_metadata",
     "file:/data/sp-1/_metadata/"],
)  # fmt: skip
def test_all_spellings_of_a_local_savepoint_are_one(spelling: str) -> None:
    assert normalise_path(spelling) == "/data/sp-1"
    assert same_path(spelling, "file:/data/sp-1")


@pytest.mark.parametrize(
    "spelling", ["s3://lake/sp/1", "s3a://lake/sp/1/", "s3n://lake/sp/1/_metadata", "S3A://lake//sp/1"]
)
def test_all_spellings_of_an_object_are_one(spelling: str) -> None:
    assert normalise_path(spelling) == "s3://lake/sp/1"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("/data/sp-1", "/data/sp-10"), ("s3://lake/x", "s3://other/x"), ("s3://lake/x", "gs://lake/x"), ("/x", "s3://x"),
        ("hdfs://a:8020/x", "hdfs://b:8020/x"), ("/data/sp-1_metadata", "/data/sp-1"), (None, None), (None, "/x"),
    ],
)  # fmt: skip
def test_different_savepoints_stay_different(a: str | None, b: str | None) -> None:
    assert not same_path(a, b)


def test_the_root_directory_survives() -> None:
    assert normalise_path("file:///") == "/"
    assert is_below("/x", "/")
    assert is_below("s3://lake/x", "s3a://lake/")


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/sp/a", "/sp"),
        ("/sp", "/sp"),
        ("file:/sp/a/b", "/sp/"),
        ("s3a://lake/sp/a", "s3://lake/sp"),
        ("/sp/a/_metadata", "file:///sp/a"),
    ],
)
def test_a_path_below_a_root_is_returned_normalised(path: str, root: str) -> None:
    assert require_below(path, ["/elsewhere", root]) == normalise_path(path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/savepoints-of-others/a", "none of the allowed roots"),
        ("/savepoints/../etc", r"'\.' or '\.\.'"),
        ("/savepoints/%2e%2e/etc", r"'\.' or '\.\.'"),
        ("/savepoints/%2E./etc", r"'\.' or '\.\.'"),
        ("s3://lake/savepoints/a", "none of the allowed roots"),
        ("savepoints/a", "relative"),
        ("", "empty"),
        ("   ", "empty"),
        (None, "empty"),
        ("/savepoints/a\nb", "control characters"),
        ("/savepoints/a\x00", "control characters"),
        ("s3://me:pw@lake/savepoints", "login"),
        ("https://host/savepoints?X-Amz-Signature=abc", "none of the allowed roots"),
    ],
)
def test_a_path_outside_of_the_roots_is_refused(path: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says) as caught:
        require_below(path, ["/savepoints"])
    assert "pw" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_without_roots_nothing_is_allowed() -> None:
    with pytest.raises(InvalidValue, match=r"\(none\)"):
        require_below("/savepoints/a", [])
    with pytest.raises(InvalidValue):
        require_below("/savepoints/a", [""])


def test_the_clusters_own_directories_are_the_roots() -> None:
    config = {
        "execution.checkpointing.savepoint-dir": "s3a://lake/sp/",
        "state.checkpoints.dir": "file:///cp",
        "state.savepoints.dir": "s3://lake/sp",
        "rest.port": "8081",
    }
    assert configured_roots(config) == ("s3://lake/sp", "/cp")
    assert configured_roots({"state.savepoints.dir": ""}) == ()


def test_a_retained_checkpoint_names_its_run() -> None:
    run = "a" * 32
    assert retained_checkpoint(f"s3://lake/chk/{run}/chk-12") == (run, 12)
    assert retained_checkpoint(f"file:/x/{run}/chk-12/") == (run, 12)
    for path in (
        f"file:/x/{run}/savepoint-1",
        f"file:/x/{run}/chk-",
        "file:/x/chk-1",
        f"file:/x/{run}/chk-1/more",
    ):
        assert retained_checkpoint(path) is None
