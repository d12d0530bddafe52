"""Storage that this worker cannot open: one sentence that names the scheme and what is missing, whatever failed."""

from __future__ import annotations

import importlib.util

import pytest

from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from airflow_flink_iceberg.restart.state_files import open_state_files

pytestmark = pytest.mark.filterwarnings("ignore:No preferred file implementation")
needs_no = {
    module: pytest.mark.skipif(importlib.util.find_spec(module) is not None, reason=f"{module} is installed")
    for module in ("adlfs",)
}


@pytest.mark.parametrize(
    ("url", "storage", "said"),
    [
        ("s3p://bucket/sp", {}, "s3p://.*let Flink write to s3://"),
        ("cosn://bucket/sp", {}, "cosn://.*py-io-impl.*'storage'"),
        ("wasbs://c@account/sp", {}, "wasbs://.*abfss://"),
        ("hdfs://namenode:1/sp", {}, "hdfs://.*HADOOP_HOME"),
        pytest.param(
            "abfs://c@account/sp",
            {},
            r"abfs:// \(module 'adlfs' is missing\).*adlfs\]",
            marks=needs_no["adlfs"],
        ),
        ("gs://bucket/sp", {"py-io-impl": "nowhere.NoFileIO"}, r"gs://.*pyiceberg\[gcsfs\]"),
    ],
    ids=lambda each: each if isinstance(each, str) and each.endswith("/sp") else "",
)
def test_a_scheme_without_a_driver_is_named_with_the_next_step(
    url: str, storage: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HADOOP_HOME", "JAVA_HOME", "CLASSPATH"):
        monkeypatch.setenv(name, "/nowhere")
    files = open_state_files((url,), storage)
    assert files is not None
    for ask in (files.read, files.size):
        with pytest.raises(SavepointUnreadable, match=said):
            ask(f"{url}/savepoint-1/_metadata")
    with pytest.raises(SavepointUnreadable, match=said):
        read_metadata(f"{url}/savepoint-1", files)


def test_userinfo_is_not_shown() -> None:
    files = open_state_files(("s3p://user:canary@bucket/sp",), {})
    assert files is not None
    with pytest.raises(SavepointUnreadable) as caught:
        files.read("s3p://user:canary@bucket/sp/x")
    assert "canary" not in str(caught.value)
