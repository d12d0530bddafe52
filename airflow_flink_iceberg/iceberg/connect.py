"""Opening a catalog, and turning its many failures into two: not reachable, or no such table.

PyIceberg's REST client has no timeout on any call, so a catalog that hangs would hang the task for ever: sessions
opened here have one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import requests
from pyiceberg.catalog import Catalog, infer_catalog_type, load_catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import (
    NoSuchIdentifierError,
    NoSuchNamespaceError,
    NoSuchPropertyException,
    NoSuchTableError,
    NotInstalledError,
    OAuthError,
    RESTError,
)
from pyiceberg.utils.config import Config, merge_config
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from airflow_flink_iceberg.model.errors import CatalogUnreachable, InvalidValue, TableNotFound

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
# What a catalog that is described wrongly fails with; SQLAlchemy calls a driver that is not installed an argument, too.
_UNUSABLE = (
    ValueError,
    TypeError,
    KeyError,
    ImportError,
    NoSuchPropertyException,
    NotInstalledError,
    ArgumentError,
)
_SECRET_KEY = re.compile(r"secret|password|credential|token|key|authorization|signature", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=//)[^/@\s]+@")
_QUERY = re.compile(r"\?\S+")


@dataclass(frozen=True)
class CatalogConfig:
    """A catalog as PyIceberg knows it; the repr shows the name only, because properties hold secrets.

    :param name: part of the key of every table in SQL and JDBC catalogs: it has to be the name that the writer uses.
    :param properties: PyIceberg's; what they do not say comes from ``.pyiceberg.yaml`` and the environment.
    :param connect_timeout: seconds to reach a REST catalog.
    :param read_timeout: seconds between two bytes of a REST catalog's answer.
    """

    name: str
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connect_timeout: float = field(default=CONNECT_TIMEOUT, repr=False)
    read_timeout: float = field(default=READ_TIMEOUT, repr=False)


class TimeoutRestCatalog(RestCatalog):
    """PyIceberg's REST catalog with a timeout on every call of its session, the first token included."""

    def __init__(self, name: str, timeout: tuple[float, float], /, **properties: Any) -> None:
        self._timeout = timeout
        super().__init__(name, **properties)

    def _config_headers(self, session: requests.Session) -> None:
        # The first thing done to a new session, before a token is fetched through it. Adapters are left alone:
        # request signing mounts its own.
        session.request = functools.partial(session.request, timeout=self._timeout)  # type: ignore[method-assign]
        super()._config_headers(session)


def open_catalog(config: CatalogConfig) -> Catalog:
    """Open the catalog; a REST catalog is asked for its configuration, a SQL catalog for its tables.

    No catalog tables are created in a SQL database that has none: a typing error in a connection must not look like
    an empty lake.

    :raises CatalogUnreachable: no answer in time, or credentials refused.
    :raises InvalidValue: the properties do not describe a catalog.
    """
    with reported(config, "its configuration"):
        try:
            return _open(config)
        except _UNUSABLE as error:
            raise InvalidValue(
                f"Catalog {config.name!r} cannot be opened: {reason(config, error)}; check the properties of its"
                " connection."
            ) from _cause(config, error)


def _open(config: CatalogConfig) -> Catalog:
    merged = _merged(config)
    kind = merged.get("type")
    if not kind and not config.properties.get("py-catalog-impl"):
        kind = infer_catalog_type(config.name, cast("Any", merged))
    if str(getattr(kind, "value", kind)).lower() == "rest":
        return TimeoutRestCatalog(config.name, (config.connect_timeout, config.read_timeout), **merged)
    return load_catalog(config.name, **{"init_catalog_tables": "false", **config.properties})


def _merged(config: CatalogConfig) -> dict[str, Any]:
    """The properties that PyIceberg will use: the file's and the environment's, overridden by our own."""
    configured = Config().get_catalog_config(config.name) or {}
    return cast("dict[str, Any]", merge_config(configured, cast("Any", dict(config.properties))))


@contextmanager
def reported(config: CatalogConfig, what: str) -> Iterator[None]:
    """Translate the failures of PyIceberg, requests and SQLAlchemy; ``what`` names what was asked for.

    :raises TableNotFound: the catalog says so.
    :raises CatalogUnreachable: everything else that talking to it can end in.
    """
    try:
        yield
    except (NoSuchTableError, NoSuchNamespaceError, NoSuchIdentifierError) as error:
        raise TableNotFound(f"Catalog {config.name!r} has no {what}.") from error
    except (OSError, RESTError, OAuthError, SQLAlchemyError) as error:  # requests' errors are OSErrors
        raise CatalogUnreachable(
            f"Catalog {config.name!r} did not answer for {what}: {reason(config, error)}."
        ) from _cause(config, error)


def reason(config: CatalogConfig, error: BaseException) -> str:
    """The first line of what the error says, without anything that the catalog's properties hold as a secret."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return redacted(config, text.splitlines()[0][:300]).rstrip(".")


def redacted(config: CatalogConfig, text: str) -> str:
    """``text`` without user names and passwords in URLs, query strings (signatures) and configured secrets."""
    for secret in _secrets(_merged(config)):
        text = text.replace(secret, "***")
    return _QUERY.sub("?***", _USERINFO.sub("", text))


def _cause(config: CatalogConfig, error: BaseException) -> BaseException | None:
    """The error itself as the cause, unless a traceback would print a secret with it."""
    text = str(error)
    return error if redacted(config, text) == text else None


def _secrets(properties: Mapping[str, Any]) -> Iterator[str]:
    for key, item in properties.items():
        if isinstance(item, Mapping):
            yield from _secrets(item)
        elif isinstance(item, str) and len(item) >= 4 and _SECRET_KEY.search(key):
            yield item
            yield from (part for part in item.split(":") if len(part) >= 4)
