"""TLS and mutual TLS against a real TLS server, with certificates made for the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.model.errors import FlinkUnauthorized, FlinkUnreachable
from tests.integration.fakes.flink import FakeFlink
from tests.support.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def flink(authority: Authority) -> Iterator[FakeFlink]:
    with FakeFlink(tls=authority.server_context(client_needed=False)) as fake:
        yield fake


@pytest.fixture
def mutual(authority: Authority) -> Iterator[FakeFlink]:
    with FakeFlink(tls=authority.server_context(client_needed=True)) as fake:
        yield fake


def test_a_ca_bundle_makes_the_server_trusted(flink: FakeFlink, authority: Authority) -> None:
    with FlinkClient(FlinkEndpoint(flink.url, verify=authority.bundle)) as client:
        assert client.overview().flink_version == "2.1.3"


def test_an_unknown_authority_is_refused_and_no_credentials_are_sent(flink: FakeFlink) -> None:
    endpoint = FlinkEndpoint(flink.url, auth=("me", "hunter2"))
    with FlinkClient(endpoint) as client, pytest.raises(FlinkUnauthorized, match="certificate verify failed"):
        client.overview()
    assert flink.requests == []


def test_the_check_can_be_switched_off_also_where_the_machine_names_a_bundle(
    flink: FakeFlink, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = authority.directory / "other"
    other.mkdir()
    # `requests` would prefer this over the session's own setting.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", Authority(other).bundle)
    with (
        pytest.warns(Warning, match="Unverified"),
        FlinkClient(FlinkEndpoint(flink.url, verify=False)) as client,
    ):
        assert client.overview().slots_total == 8


def test_a_client_certificate_opens_mutual_tls(mutual: FakeFlink, authority: Authority) -> None:
    certificate, key = authority.issue("worker")
    endpoint = FlinkEndpoint(mutual.url, verify=authority.bundle, client_cert=certificate, client_key=key)
    with FlinkClient(endpoint) as client:
        assert client.overview().slots_total == 8


def test_without_a_client_certificate_the_message_names_the_field(
    mutual: FakeFlink, authority: Authority
) -> None:
    endpoint = FlinkEndpoint(mutual.url, verify=authority.bundle)
    with FlinkClient(endpoint) as client, pytest.raises(FlinkUnauthorized, match="client_cert"):
        client.overview()
    assert mutual.requests == []


def test_plain_http_to_a_tls_port_is_no_answer(flink: FakeFlink) -> None:
    endpoint = FlinkEndpoint(flink.url.replace("https", "http"), timeout=1)
    with FlinkClient(endpoint) as client, pytest.raises(FlinkUnreachable):
        client.overview()


def test_tls_to_a_plain_port_says_so() -> None:
    with FakeFlink() as plain:
        endpoint = FlinkEndpoint(plain.url.replace("http", "https"), timeout=1)
        with FlinkClient(endpoint) as client, pytest.raises((FlinkUnauthorized, FlinkUnreachable)):
            client.overview()
