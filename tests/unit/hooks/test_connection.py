"""The flink connection: addresses, text and JSON extras, and fields that are not of their form."""

from __future__ import annotations

import json
import logging
import traceback
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk._shared.secrets_masker import redact

from airflow_flink_iceberg.hooks import FlinkHook
from airflow_flink_iceberg.hooks.systems import catalog_config
from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue

CANARY = "c4nary-Secret-value"


def hook(extra: Any = None, **fields: Any) -> FlinkHook:
    """A hook over a connection with these fields."""
    return FlinkHook("flink_test", lookup=lambda conn_id: connection(extra, **fields))


def connection(extra: Any = None, **fields: Any) -> Any:
    given = {"host": "flink", "port": None, "schema": None, "login": None, "password": None, **fields}
    return SimpleNamespace(**given, extra_dejson=dict(extra or {}))


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://flink:8081"),
        ({"port": 9000}, "http://flink:9000"),
        ({"host": "flink:9000"}, "http://flink:9000"),
        ({"host": "http://flink"}, "http://flink:8081"),
        ({"host": "https://flink"}, "https://flink"),
        ({"schema": "https"}, "https://flink"),
        ({"schema": "https", "port": 8443}, "https://flink:8443"),
        ({"host": "https://flink:8443/team/orders/"}, "https://flink:8443/team/orders"),
        ({"host": "flink/team"}, "http://flink:8081/team"),
        ({"host": " flink "}, "http://flink:8081"),
        ({"host": "[::1]"}, "http://[::1]:8081"),
        ({"host": "http://flink:9000", "port": 1}, "http://flink:9000"),
    ],
)
def test_the_address(fields: dict[str, Any], url: str) -> None:
    assert hook(**fields).endpoint.url == url


@pytest.mark.parametrize("as_text", [True, False])
def test_extras_come_as_json_and_as_text(as_text: bool) -> None:
    headers, storage, brokers = {"X-Team": "a"}, {"s3.region": "x"}, {"bootstrap.servers": "kafka:9092"}
    extra = {
        "headers": json.dumps(headers) if as_text else headers,
        "storage": json.dumps(storage) if as_text else storage,
        "kafka": json.dumps(brokers) if as_text else brokers,
        "timeout": "2.5" if as_text else 2.5,
        "verify": "FALSE" if as_text else False,
        "savepoint_roots": "file:///a, s3://b/c" if as_text else ["file:///a", "s3://b/c"],
        "token": "",
    }
    found = hook(extra)
    endpoint = found.endpoint
    assert (dict(endpoint.headers), endpoint.timeout, endpoint.verify) == (headers, 2.5, False)
    assert (found.storage, found.kafka) == (storage, brokers)
    assert found.savepoint_roots == ("file:///a", "s3://b/c")
    assert endpoint.token is None


@pytest.mark.parametrize(
    ("given", "wanted"), [(None, True), ("", True), ("true", True), ("/ca.pem", "/ca.pem")]
)
def test_verify(given: Any, wanted: Any) -> None:
    assert hook({"verify": given}).endpoint.verify == wanted


@pytest.mark.parametrize(
    ("extra", "fields", "named"),
    [
        ({"headers": CANARY}, {}, "headers"),
        ({"headers": f'["{CANARY}"]'}, {}, "headers"),
        ({"headers": f'{{"a": "{CANARY}'}, {}, "headers"),
        ({"headers": {"a": f"{CANARY}\nX: y"}}, {}, "header"),
        ({"storage": CANARY}, {}, "storage"),
        ({"kafka": CANARY}, {}, "kafka"),
        ({"timeout": CANARY}, {}, "timeout"),
        ({"timeout": "nan"}, {}, "timeout"),
        ({"timeout": "inf"}, {}, "timeout"),
        ({"timeout": -1}, {}, "timeout"),
        ({"ui_url": f"https://user:{CANARY}@ui"}, {}, "ui_url"),
        ({"ui_url": f"javascript:{CANARY}"}, {}, "ui_url"),
        ({"sql_gateway_url": f"http://user:{CANARY}@gateway"}, {}, "SQL Gateway"),
        ({"token": CANARY}, {"login": "me", "password": CANARY}, "login and a token"),
        ({}, {"host": ""}, "host"),
        ({}, {"host": f"http://flink:{CANARY}"}, "host"),
        ({}, {"host": f"http://[{CANARY}"}, "host"),
        ({}, {"host": f"http://user:{CANARY}@flink"}, "login"),
        ({}, {"schema": "ftp"}, "http"),
    ],
)
def test_a_bad_field_is_named_and_its_value_is_not(
    extra: dict[str, Any], fields: dict[str, Any], named: str
) -> None:
    found = hook(extra, **fields)
    with pytest.raises(InvalidValue) as refused:
        _ = (found.endpoint, found.storage, found.kafka, found.ui_url)
    assert named in str(refused.value)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_a_link_takes_no_login_from_the_host() -> None:
    """Without a ui_url the links use the host; they are stored and shown."""
    with pytest.raises(InvalidValue) as refused:
        _ = hook({}, host=f"http://user:{CANARY}@flink").ui_url
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    assert hook({}, host="https://flink.example.com/team-a/").ui_url == "https://flink.example.com/team-a"


def test_a_bad_field_leaves_no_other_secret_unmasked() -> None:
    secret = uuid4().hex  # one that no other test has masked
    with pytest.raises(InvalidValue):
        _ = hook({"headers": "no json", "token": secret}).endpoint
    assert secret not in str(redact(f"log line with {secret}"))


def test_what_is_masked_and_what_stays_readable() -> None:
    secrets = {name: uuid4().hex for name in ("password", "token", "header", "key", "uri", "rest", "kafka")}
    found = hook(
        {
            "headers": json.dumps({"Authorization": secrets["header"]}),
            "storage": {
                "s3.secret-access-key": secrets["key"],
                "s3.region": "eu-canary-1",
                "s3.path-style": "false",
            },
            "kafka": {"sasl.password": secrets["kafka"]},
        },
        login="me",
        password=secrets["password"],
    )
    _ = found.connection
    _ = hook({"token": secrets["token"]}).connection
    catalog_config(
        "lake",
        lambda _: connection({"type": "sql", "uri": f"postgresql://u:{secrets['uri']}@db/x"}, host=None),
    )
    catalog_config("lake", lambda _: connection(host="http://rest", login="id", password=secrets["rest"]))
    for secret in secrets.values():
        assert secret not in str(redact(f"a log line: {secret}.")), secret
    for harmless in ("eu-canary-1", "false", "postgresql"):
        assert harmless in str(redact(f"a log line: {harmless}."))


def test_nothing_secret_in_reprs_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    found = hook({"token": CANARY, "headers": {"X": CANARY}, "sql_gateway_url": "http://g"}, port=1)
    with caplog.at_level(logging.DEBUG):
        shown = [
            repr(found),
            repr(found.endpoint),
            repr(found.get_conn()),
            repr(found.endpoint.for_gateway()),
        ]
        with pytest.raises(FlinkIcebergError) as unreachable:
            found.get_conn().overview()
        found.close()
    shown += ["".join(traceback.format_exception(unreachable.value)), caplog.text]
    assert not [text for text in shown if CANARY in text]


def test_the_catalog_name_and_the_official_fields() -> None:
    config = catalog_config(
        "iceberg_default",
        lambda _: connection({"catalog_name": "lake", "warehouse": "w"}, host="http://rest/"),
    )
    assert config.name == "lake"
    assert config.properties == {"warehouse": "w", "uri": "http://rest", "type": "rest"}
    assert catalog_config("iceberg_default", lambda _: connection(host=None)).name == "iceberg_default"
