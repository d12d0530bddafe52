"""A restart through an ingress: path prefix, TLS with a client certificate, and a login, for REST and gateway alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.hooks.flink import FlinkHook
from airflow_flink_iceberg.hooks.systems import open_systems
from airflow_flink_iceberg.model import JarDeployment
from airflow_flink_iceberg.model.errors import FlinkUnauthorized
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from playground.stack import Stack
from tests.e2e.airflow_side import connect, set_connection
from tests.e2e.rig import older, running_job
from tests.support.authority import Authority
from tests.support.proxy import Proxy, proxy

LOGIN, PASSWORD = "operator", "open-sesame-71"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def ingress(stack: Stack, authority: Authority) -> Iterator[Proxy]:
    """The only way in: both servers behind one origin."""
    token = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    targets = {"/flink": stack.flink_url, "/gateway": stack.gateway_url}
    tls = authority.server_context(client_needed=True)
    with proxy(targets, tls=tls, authorization=f"Basic {token}") as opened:
        yield opened


def connection(ingress: Proxy, authority: Authority, password: str = PASSWORD, **extra: str) -> str:
    """A ``flink`` connection through the ingress."""
    certificate, key = authority.issue("worker")
    host, _, port = ingress.url.removeprefix("https://").partition(":")
    fields: dict[str, Any] = {
        "verify": authority.bundle,
        "client_cert": certificate,
        "client_key": key,
        "sql_gateway_url": f"{ingress.url}/gateway",
        **extra,
    }
    return set_connection(
        "flink_ingress",
        conn_type="flink",
        host=f"https://{host}:{port}/flink",
        login=LOGIN,
        password=password,
        extra=fields,
    )


@pytest.mark.parametrize("deployment", ["sql", "jar"])
def test_a_restart_goes_through(stack: Stack, ingress: Proxy, authority: Authority, deployment: str) -> None:
    connect(stack)
    with running_job(stack, deployment=deployment) as rig:
        rig.wait_rows(100)
        job = older(rig.job, flink_conn_id=connection(ingress, authority))
        done = restart(open_systems(job, rig.script), rig.steps(), RestartOptions())
        assert rig.running() == [done.running_job.job_id] != [rig.first_job_id]
        assert rig.damage(rig.finish()) == (0, 0)
    paths = {path.split("/")[1] for _, path, _ in ingress.seen}
    assert paths == ({"flink"} if isinstance(job.deployment, JarDeployment) else {"flink", "gateway"})


def test_a_wrong_password_stops_nothing_and_is_not_said(
    stack: Stack, ingress: Proxy, authority: Authority
) -> None:
    connect(stack)
    with running_job(stack) as rig:
        job = older(rig.job, flink_conn_id=connection(ingress, authority, password="mistyped-83"))
        with pytest.raises(FlinkUnauthorized, match="401") as refused:
            restart(open_systems(job, rig.script), rig.steps(), RestartOptions())
        assert "mistyped" not in str(refused.value)
        assert not ingress.seen
        assert rig.running() == [rig.first_job_id]


def test_the_test_button(ingress: Proxy, authority: Authority) -> None:
    works, said = FlinkHook(connection(ingress, authority)).test_connection()
    assert (works, "2.1" in said) == (True, True), said
    works, said = FlinkHook(connection(ingress, authority, client_cert="", client_key="")).test_connection()
    assert not works
    assert "client_cert" in said
    assert PASSWORD not in json.dumps(said)
