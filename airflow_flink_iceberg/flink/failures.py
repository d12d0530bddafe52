"""Which error an exchange is that ended without a whole answer of Flink."""

from __future__ import annotations

import ssl

import requests
import urllib3

from airflow_flink_iceberg.flink.refusals import unreachable
from airflow_flink_iceberg.model.errors import (
    FlinkAnswerInvalid,
    FlinkIcebergError,
    FlinkUnauthorized,
    FlinkUnreachable,
    InvalidValue,
)

_TIMEOUTS = (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)
_TLS = (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError)
_CUT = (
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.DecodeError,
    requests.exceptions.ContentDecodingError,
)
_UNSENDABLE = (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)
_SIGNS = (
    ("Connection refused", "connection refused"),
    ("NameResolution", "the host name is unknown"),
    ("RemoteDisconnected", "the connection was closed before an answer"),
    ("reset by peer", "the connection was reset before an answer"),
    ("ProxyError", "the HTTP proxy of this worker failed"),
)
_TLS_SIGNS = (
    "certificate verify failed",
    "bad certificate",
    "certificate required",
    "unknown ca",
    "wrong version number",
)


class SlowAnswer(FlinkUnreachable):
    """A silent server: not asked again at once, three timeouts in a row would hold the caller three times as long."""


def failure(where: str, error: Exception, wait: float) -> FlinkIcebergError:
    """The error for an exception of the HTTP library, whose own text is dropped: it repeats URLs and headers.

    :param where: method, URL and path of the request, without secrets.
    :param wait: seconds that were waited at most.
    """
    text = str(error)
    if isinstance(error, _TIMEOUTS):
        return SlowAnswer(
            f"{where}: no answer within {wait:g} s; whether the request was carried out is unknown, check Flink and "
            "retry."
        )
    if isinstance(error, _TLS):
        return FlinkUnauthorized(
            f"{where}: TLS failed ({_tls_reason(text)}); check verify (the CA bundle), client_cert and client_key of "
            "the connection."
        )
    if isinstance(error, _CUT):
        return FlinkAnswerInvalid(
            f"{where}: the connection ended in the middle of the answer; retry, and check the proxy."
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return unreachable(
            where, next((meaning for sign, meaning in _SIGNS if sign in text), "no connection")
        )
    if isinstance(error, _UNSENDABLE) or not isinstance(error, requests.exceptions.RequestException):
        return InvalidValue(
            f"{where}: could not be sent ({type(error).__name__}); check the URL, headers and certificate files."
        )
    return unreachable(where, f"failed ({type(error).__name__})")


def looks_like(body: bytes) -> str:
    """What a body is that is not Flink's, in words."""
    start = body[:200].lstrip().lower()
    if start.startswith(b"<"):
        return "HTML"
    return "half a JSON body" if start.startswith((b"{", b"[")) else "other content"


def _tls_reason(text: str) -> str:
    plain = text.lower().replace("_", " ")
    return next((sign for sign in _TLS_SIGNS if sign in plain), "handshake")
