from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.gateway import FakeGateway


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with FakeFlink() as fake:
        yield fake


@pytest.fixture
def gateway(flink: FakeFlink) -> Iterator[FakeGateway]:
    with FakeGateway(flink) as fake:
        yield fake


@pytest.fixture
def client(flink: FakeFlink) -> Iterator[FlinkClient]:
    with FlinkClient(FlinkEndpoint(flink.url, timeout=2.0)) as opened:
        yield opened


@pytest.fixture
def sql_client(flink: FakeFlink, gateway: FakeGateway) -> Iterator[FlinkClient]:
    with FlinkClient(FlinkEndpoint(flink.url, timeout=2.0, gateway_url=gateway.url)) as opened:
        yield opened
