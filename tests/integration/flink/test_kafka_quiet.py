"""A look at the brokers is one sentence in a task's log, whatever Kafka's client would say."""

from __future__ import annotations

import logging

import pytest

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
