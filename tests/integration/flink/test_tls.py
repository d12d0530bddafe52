"""TLS and mutual TLS against a real TLS server, with certificates made for the test."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.model.errors import FlinkUnauthorized, FlinkUnreachable
from tests.integration.fakes.flink import FakeFlink


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self.name, self.key.public_key(), is_authority=True)
        self.bundle = self._write("ca.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[str, str]:
        """Paths of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), is_authority=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return self._write(f"{name}.pem", pem), self._write(f"{name}.key", private)

    def server_context(self, *, client_needed: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server"))
        if client_needed:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.bundle)
        return context

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
        )
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, data: bytes) -> str:
        path = self.directory / name
        path.write_bytes(data)
        return str(path)


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
