"""Storage that this worker cannot open: one sentence that names the scheme and what is missing, whatever failed."""

from __future__ import annotations

import importlib.util
import threading
import time

import pytest
from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

from airflow_flink_iceberg.flink.metadata import read_metadata
from airflow_flink_iceberg.model.errors import SavepointUnreadable
from airflow_flink_iceberg.restart import state_files
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


class FailingFileIO(PyArrowFileIO):
    """As drivers do that find no credentials: an error of their own, which is none of the storage."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        raise LookupError("canary")


class SilentFileIO(PyArrowFileIO):
    """A host that takes the connection and says nothing."""

    asked = 0

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        type(self).asked += 1
        threading.Event().wait(20)
        raise LookupError("nobody waits for this any more")


@pytest.mark.parametrize("ask", ["read", "size", "children"])
def test_an_error_of_a_driver_means_that_it_is_not_readable(ask: str) -> None:
    files = open_state_files(("gs://bucket/sp",), {"py-io-impl": f"{__name__}.FailingFileIO"})
    with pytest.raises(SavepointUnreadable, match=r"gs:// \(LookupError\).*gcsfs") as caught:
        getattr(files, ask)("gs://bucket/sp/x")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("ask", ["read", "size", "children"])
def test_a_silent_storage_is_waited_for_once(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(state_files, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(SilentFileIO, "asked", 0)
    files = open_state_files(("gs://bucket/sp",), {"py-io-impl": f"{__name__}.SilentFileIO"})
    begun = time.monotonic()
    for _ in range(5):
        with pytest.raises(
            TimeoutError, match=r"The storage of 'gs://bucket/sp/x' did not answer within 0\.2 s"
        ):
            getattr(files, ask)("gs://bucket/sp/x")
    assert SilentFileIO.asked == 1
    assert time.monotonic() - begun < 5
    with pytest.raises(SavepointUnreadable, match="TimeoutError"):
        read_metadata("gs://bucket/sp/x", files)
