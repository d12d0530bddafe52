from __future__ import annotations

import copy
import importlib
import json
import tomllib
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_flink_iceberg import __version__
from airflow_flink_iceberg.get_provider_info import get_provider_info

SECRET_FIELDS = {"token", "headers", "storage", "kafka"}
Info = dict[str, Any]


def airflow_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(resources.files("airflow").joinpath(name).read_text(encoding="utf-8"))
    return schema


def validate(info: Info) -> None:
    """Airflow's own runtime schema, and the stricter one of its provider.yaml wherever that knows a key.

    The runtime schema lets unknown keys pass (``ui_field_behaviour`` with an underscore is ignored without a
    word), so objects of ours are closed here.
    """
    jsonschema.validate(info, airflow_schema("provider_info.schema.json"))
    strict = airflow_schema("provider.yaml.schema.json")
    unknown = info.keys() - strict["properties"].keys()
    assert not unknown, f"Airflow knows no provider key {unknown}"
    for key, value in info.items():
        schema = copy.deepcopy(strict["properties"][key])
        if key == "connection-types":
            schema["items"]["additionalProperties"] = False
        if key == "sensors":
            schema["items"]["additionalProperties"] = False
        jsonschema.validate(value, schema)


def dotted_paths(info: Info) -> list[str]:
    modules = [
        module
        for kind in ("operators", "sensors", "triggers", "hooks")
        for entry in info[kind]
        for module in entry["python-modules"]
    ]
    hooks = [entry["hook-class-name"] for entry in info["connection-types"]]
    return [*modules, *hooks, *info["extra-links"]]


def load(path: str) -> object:
    """The module of that name, or the attribute of its parent."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as missing:
        if missing.name != path:
            raise
        parent, _, name = path.rpartition(".")
        loaded: object = getattr(importlib.import_module(parent), name)
        return loaded


def test_provider_info_is_what_airflow_expects() -> None:
    validate(get_provider_info())


def underscore(info: Info) -> None:
    connection = info["connection-types"][0]
    connection["ui_field_behaviour"] = connection.pop("ui-field-behaviour")


def unknown_hint(info: Info) -> None:
    info["connection-types"][0]["conn-fields"]["token"]["placeholder"] = "abc"


def hidden_field_that_is_none(info: Info) -> None:
    info["connection-types"][0]["ui-field-behaviour"]["hidden-fields"] = ["token"]


def unknown_format(info: Info) -> None:
    info["connection-types"][0]["conn-fields"]["token"]["schema"]["format"] = "secret"


def no_description(info: Info) -> None:
    del info["description"]


def misspelt_key(info: Info) -> None:
    info["extra_links"] = info.pop("extra-links")


@pytest.mark.parametrize(
    "damage",
    [underscore, unknown_hint, hidden_field_that_is_none, unknown_format, no_description, misspelt_key],
)
def test_validation_sees_what_airflow_would_ignore(damage: Callable[[Info], None]) -> None:
    info = get_provider_info()
    damage(info)
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        validate(info)


def test_package_name_is_the_distributions_name() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))
    assert get_provider_info()["package-name"] == project["project"]["name"]


def test_the_distribution_registers_this_function_and_this_version() -> None:
    name = get_provider_info()["package-name"]
    entry_points = metadata.distribution(name).entry_points.select(group="apache_airflow_provider")
    assert [entry_point.load() for entry_point in entry_points] == [get_provider_info]
    assert metadata.version(name) == __version__


@pytest.mark.parametrize("path", dotted_paths(get_provider_info()))
def test_named_paths_can_be_imported(path: str) -> None:
    assert path.endswith(load(path).__name__)  # type: ignore[attr-defined]


def test_secrets_are_hidden_in_the_form() -> None:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    hidden = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert hidden == SECRET_FIELDS


def test_the_iceberg_connection_stays_with_the_official_provider() -> None:
    types = [entry["connection-type"] for entry in get_provider_info()["connection-types"]]
    assert types == ["flink"]


def test_each_call_returns_its_own_dictionary() -> None:
    get_provider_info()["connection-types"].clear()
    assert get_provider_info()["connection-types"]
