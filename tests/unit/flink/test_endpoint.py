from __future__ import annotations

from typing import Any

import pytest

from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint, origin_of
from airflow_flink_iceberg.model.errors import InvalidValue


def test_the_repr_shows_the_address_only() -> None:
    endpoint = FlinkEndpoint(
        "http://jm:8081/", auth=("me", "hunter2"), headers={"X-Key": "hunter3"}, client_key="/k.pem"
    )
    assert repr(endpoint) == "FlinkEndpoint('http://jm:8081')"
    assert f"{endpoint}" == repr(endpoint)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://jm:8081", "http"),
        ("jm:8081", "http"),
        ("http://", "http"),
        ("", "http"),
        (None, "http"),
        ("http://me:hunter2@jm:8081", "login"),
        ("http://jm:8081?token=hunter2", "query"),
        ("http://jm:8081#hunter2", "fragment"),
        ("http://jm:99999", "port"),
        ("http://jm:x", "port"),
        ("http://jm :8081", "blanks"),
        ("http://jm:8081/\r\nX: hunter2", "blanks"),
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says) as caught:
        FlinkEndpoint(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"auth": ("a", "hunter2"), "token": "hunter2"},
        {"headers": {"X": "hunter2\r\nEvil: 1"}},
        {"headers": {"X\n": "hunter2"}},
        {"token": "hunter2\n"},
    ],
)
def test_fields_that_cannot_be_sent_are_refused_without_secrets(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue) as caught:
        FlinkEndpoint("http://jm:8081", **fields)
    assert "hunter2" not in str(caught.value)


def test_an_origin_has_the_default_port() -> None:
    assert origin_of("HTTPS://JM/x") == ("https", "jm", 443)
    assert origin_of("http://[::1]:8081") == ("http", "::1", 8081)


def test_a_gateway_on_the_same_origin_gets_the_credentials() -> None:
    endpoint = FlinkEndpoint(
        "https://in.example/flink", token="t", headers={"X": "1"}, gateway_url="https://in.example:443/gw/"
    )
    gateway = endpoint.for_gateway()
    assert (gateway.url, gateway.token, gateway.headers) == ("https://in.example:443/gw", "t", {"X": "1"})


@pytest.mark.parametrize(
    "url", ["https://other.example/gw", "http://in.example/gw", "https://in.example:8083/gw"]
)
def test_a_gateway_on_another_origin_gets_no_credentials(url: str) -> None:
    endpoint = FlinkEndpoint(
        "https://in.example/flink", auth=("a", "b"), headers={"X": "1"}, verify="/ca.pem", gateway_url=url
    )
    gateway = endpoint.for_gateway()
    assert (gateway.auth, gateway.token, dict(gateway.headers)) == (None, None, {})
    assert gateway.verify == "/ca.pem"


def test_without_a_gateway_the_message_says_what_to_set() -> None:
    with pytest.raises(InvalidValue, match="sql_gateway_url"):
        FlinkEndpoint("http://jm:8081").for_gateway()
