"""What of a connection is secret, told to Airflow's masker before anything else is done with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

_SECRET_KEY = re.compile(r"key|secret|token|passw|credential|sas|signature|authorization", re.IGNORECASE)


def mask_all(values: Iterable[Any]) -> None:
    """Mask every value that says something."""
    from airflow.sdk.log import mask_secret

    for value in values:
        if value:
            mask_secret(str(value))


def mask_properties(properties: Mapping[str, Any]) -> None:
    """Mask the values under secret names, and passwords in addresses, of a catalog's or file system's properties.

    All values would be too many: a masked ``us-east-1`` or ``false`` makes every log unreadable.
    """
    texts = {str(key): str(item) for key, item in properties.items()}
    secrets = [item for key, item in texts.items() if _SECRET_KEY.search(key)]
    # A credential is ``id:secret``, and may show up without its first half.
    mask_all([*secrets, *(item.partition(":")[2] for item in secrets)])
    mask_all(secret for item in texts.values() if "@" in item for secret in _passwords(item))


def _passwords(address: str) -> Iterable[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return ()
    return {password, unquote(password)} if password else ()
