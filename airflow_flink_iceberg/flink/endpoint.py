"""Where a Flink is and how to speak to it; everything secret of a connection ends here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from airflow_flink_iceberg.model.errors import InvalidValue

Origin = tuple[str, str, int]
"""Scheme, host and port."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BREAKS_A_HEADER = re.compile(r"[\x00-\x1f\x7f]")


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL, with the scheme's default port.

    :raises InvalidValue: not http(s), no host, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise InvalidValue(
            "A Flink URL has a host or port that cannot be read; it has to be http(s)://host:port/prefix."
        ) from error
    if scheme not in _DEFAULT_PORTS or not host:
        raise InvalidValue("A Flink URL has to be http(s)://host:port/prefix.")
    return scheme, host.lower(), port or _DEFAULT_PORTS[scheme]


@dataclass(frozen=True, repr=False)
class FlinkEndpoint:
    """One Flink REST API (or SQL Gateway), with credentials that are sent to the origin of ``url`` only.

    Flink itself has no users: ``auth`` (basic), ``token`` (bearer) and ``headers`` are for a proxy in front of it.

    :param verify: ``False`` switches the check of the server's certificate off; a path is a CA bundle.
    :param client_cert: PEM file for mutual TLS, ``client_key`` its key where that is a file of its own.
    :param timeout: seconds to connect, and again seconds of silence; a whole answer may take twice as long.
    :param ui_url: what people's browsers can reach; links use it.
    """

    url: str
    auth: tuple[str, str] | None = None
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    verify: bool | str = True
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 10.0
    gateway_url: str | None = None
    ui_url: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _base_url("Flink URL", self.url))
        if self.gateway_url is not None:
            object.__setattr__(self, "gateway_url", _base_url("SQL Gateway URL", self.gateway_url))
        if not self.timeout > 0:
            raise InvalidValue(
                f"The timeout for {self.url} has to be more than 0 seconds, not {self.timeout!r}."
            )
        if self.auth is not None and self.token is not None:
            raise InvalidValue(
                f"The connection to {self.url} has both a login and a token; only one can be sent."
            )
        for name, value in {**self.headers, "token": self.token or ""}.items():
            # The value is a secret and stays out of the message.
            if _BREAKS_A_HEADER.search(name) or _BREAKS_A_HEADER.search(str(value)):
                raise InvalidValue(
                    f"The connection to {self.url} has a header with control characters in its name or value."
                )

    def __repr__(self) -> str:
        return f"FlinkEndpoint({self.url!r})"

    @property
    def origin(self) -> Origin:
        """What the credentials may be sent to."""
        return origin_of(self.url)

    def for_gateway(self) -> FlinkEndpoint:
        """The SQL Gateway of this Flink.

        Login, token and headers go along only where it has the same origin (one ingress, two paths): credentials are
        sent to no other origin than the one they were configured for. CA bundle and client certificate stay.

        :raises InvalidValue: the connection names no SQL Gateway.
        """
        if self.gateway_url is None:
            raise InvalidValue(
                f"The connection to {self.url} has no sql_gateway_url, which an SQL deployment needs."
            )
        if origin_of(self.gateway_url) == self.origin:
            return replace(self, url=self.gateway_url, gateway_url=None)
        return replace(self, url=self.gateway_url, gateway_url=None, auth=None, token=None, headers={})


def _base_url(what: str, url: str) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or _BREAKS_A_HEADER.search(url) or " " in url:
        raise InvalidValue(f"{what} has to be http(s)://host:port/prefix without blanks.")
    if parts.username is not None or parts.password is not None:
        raise InvalidValue(f"{what} must not hold a login; put it into the connection's login and password.")
    if parts.query or parts.fragment:
        raise InvalidValue(f"{what} must not have a query or fragment.")
    origin_of(url)
    return url.rstrip("/")
