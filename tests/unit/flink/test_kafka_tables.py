"""The topics and brokers that a script names."""

from __future__ import annotations

from airflow_flink_iceberg.flink.kafka_tables import kafka_tables
from airflow_flink_iceberg.flink.script import parse_script
from airflow_flink_iceberg.kafka.topics import client_settings

SCRIPT = """
SET 'pipeline.name' = 'orders';
CREATE TEMPORARY TABLE source (id BIGINT, p INT METADATA FROM 'partition' VIRTUAL) WITH (
  'connector' = 'kafka', 'topic' = 'orders; refunds', 'properties.bootstrap.servers' = 'one:9092,two:9092',
  'properties.sasl.jaas.config' = 'org.apache...PlainLoginModule required username="me" password="it''s \\"so\\"";',
  'format' = 'json');
CREATE TABLE patterned (id BIGINT) WITH ('connector'='upsert-kafka','topic-pattern'='o.*');
CREATE TABLE lake.shop.orders (id BIGINT) WITH ('topic'='not kafka');
CREATE VIEW v AS SELECT 1;
INSERT INTO lake.shop.orders SELECT id FROM source;
"""


def test_topics_and_properties_of_the_kafka_tables_only() -> None:
    source, patterned = kafka_tables(parse_script(SCRIPT).ddl)
    assert source.topics == {"orders", "refunds"}
    assert source.properties["bootstrap.servers"] == "one:9092,two:9092"
    assert patterned.topics == frozenset()
    assert "password" not in repr(source)


def test_a_login_is_taken_out_of_the_jaas_text() -> None:
    source, _ = kafka_tables(parse_script(SCRIPT).ddl)
    settings = client_settings({**source.properties, "sasl.mechanism": "PLAIN", "group.id": "x"}, timeout=2)
    assert settings["bootstrap_servers"] == "one:9092,two:9092"
    assert (settings["sasl_plain_username"], settings["sasl_plain_password"]) == ("me", 'it\'s "so"')
    assert settings["sasl_mechanism"] == "PLAIN"
    assert settings["request_timeout_ms"] == 2000
    assert "group_id" not in settings
    own = client_settings({**source.properties, "sasl.password": "other"})
    assert own["sasl_plain_password"] == "other"
