"""The topics and brokers that a script names."""

from __future__ import annotations

import pytest

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


KAFKA = "WITH ('connector'='kafka', 'topic'='a', 'properties.bootstrap.servers'='one:9092')"


def topics(script: str) -> list[set[str]]:
    parsed = parse_script(script)
    return [set(table.topics) for table in kafka_tables(parsed.ddl, parsed.insert)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t SELECT * FROM s", [{"a"}]),
        # Only what is read: a table for dead letters, or one left over, is no source.
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; CREATE TABLE d WITH ('connector'='kafka','topic'='dead') LIKE s;"
            " EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT * FROM s; INSERT INTO d SELECT * FROM s; END"),
            [{"a"}, {"a"}],
        ),
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; CREATE TABLE l WITH ('topic'='b') LIKE s (EXCLUDING ALL INCLUDING "
            "PARTITIONS); INSERT INTO t SELECT * FROM l"),
            [],
        ),
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; CREATE TABLE l WITH ('topic'='b') LIKE s (EXCLUDING GENERATED); "
            "INSERT INTO t SELECT * FROM l"),
            [{"b"}],
        ),
        (
            f"CREATE TABLE s (i INT) {KAFKA}; ALTER TABLE s SET ('topic' = 'it''s;b'); INSERT INTO t SELECT * FROM s",
            [{"it's", "b"}],
        ),
        (
            f"CREATE TABLE s (i INT) {KAFKA}; ALTER TABLE s RENAME TO r; INSERT INTO t SELECT * FROM `r` AS x",
            [{"a"}],
        ),
        (f"CREATE TABLE s (i INT) {KAFKA}; ALTER TABLE s RESET ('topic'); INSERT INTO t SELECT * FROM s", [set()]),
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t /*+ OPTIONS('branch'='b') */ SELECT * FROM "
            "s /*+ OPTIONS('topic'='b', 'scan.startup.mode'='earliest-offset') */ AS x"),
            [{"b"}],
        ),
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; CREATE VIEW v AS SELECT * FROM s /*+ OPTIONS('topic'='c') */; "
            "INSERT INTO t WITH w AS (SELECT * FROM v) SELECT * FROM w"),
            [{"c"}],
        ),
        (
            (f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t SELECT * FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(x), "
            "INTERVAL '1' MINUTE))"),
            [{"a"}],
        ),
        # Sources that the script does not make: what it reads is not all known.
        (f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t SELECT * FROM s, c.d.o", [{"a"}, set()]),
        (f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t SELECT * FROM s x, hive.db.o", [{"a"}, set()]),
        ("CREATE TABLE l WITH ('topic'='b') LIKE hive.db.o; INSERT INTO t SELECT * FROM l", [set()]),
        ("INSERT INTO t SELECT * FROM hive.db.o /*+ OPTIONS('topic'='b') */", [set()]),
        (
            (f"CREATE TABLE x.s (i INT) {KAFKA}; CREATE TABLE y.s (i INT) WITH ('connector'='datagen'); "
            "INSERT INTO t SELECT * FROM x.s"),
            [set()],
        ),
    ],
)  # fmt: skip
def test_what_a_script_reads(script: str, expected: list[set[str]]) -> None:
    assert topics(script) == expected


def test_a_hint_keeps_the_brokers_of_its_table() -> None:
    parsed = parse_script(
        f"CREATE TABLE s (i INT) {KAFKA}; INSERT INTO t SELECT * FROM s /*+ OPTIONS('topic'='b') */"
    )
    (table,) = kafka_tables(parsed.ddl, parsed.insert)
    assert table.properties == {"bootstrap.servers": "one:9092"}
