"""A look at the brokers is one sentence in a task's log, whatever Kafka's client would say."""

from __future__ import annotations

import logging
import threading

import pytest

from airflow_flink_iceberg.kafka import topics
from airflow_flink_iceberg.kafka.topics import BOOTSTRAP, read_topics
from airflow_flink_iceberg.model.errors import BrokersUnreachable
from playground.ports import choose


def test_the_client_of_kafka_is_quiet_while_we_look_and_only_then(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("kafka")
    nobody = f"127.0.0.1:{choose(['kafka'])['kafka']}"
    with caplog.at_level(logging.INFO, logger="kafka"):
        with pytest.raises(BrokersUnreachable, match=nobody):
            read_topics({BOOTSTRAP: nobody}, ["orders"], timeout=0.5)
        assert [record for record in caplog.records if record.name.startswith("kafka")] == []
        assert log.level == logging.INFO


def test_two_looks_at_once_leave_the_level_as_it_was() -> None:
    """The second began while the first had turned the client's log off, and put that back at its end."""
    log = logging.getLogger("kafka")
    before = log.level
    log.setLevel(logging.INFO)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with topics._quiet():
            first_is_in.set()
            second_is_in.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert first_is_in.wait(10)
        with topics._quiet():
            second_is_in.set()
            thread.join(10)
            assert log.level == logging.CRITICAL
        assert log.level == logging.INFO
    finally:
        log.setLevel(before)
