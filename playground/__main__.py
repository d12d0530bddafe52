"""`python -m playground up|down|wipe DIR`, `python -m playground fetch`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playground import processes, registries
from playground.airflow_ui import AirflowUi
from playground.downloads import Cache
from playground.errors import NotReadyError, PlaygroundError
from playground.orders import OrdersProducer
from playground.sql import TABLE, orders_script
from playground.stack import Stack
from playground.versions import select

_UP = "up"
_DOWN_TIMEOUT = 60.0
_CHECK_INTERVAL = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 with one sentence on stderr when it could not."""
    options = _parse(arguments)
    try:
        options.run(options)
    except PlaygroundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m playground", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a fresh stack with a stream of orders, until Ctrl-C")
    up.add_argument("--rate", type=float, default=100.0, help="orders per second (default: %(default)g)")
    up.add_argument("--checkpoint-interval", type=float, default=1.0, help="seconds (default: %(default)g)")
    up.add_argument("--flink-port", type=int, help="port of Flink's web UI (default: a free one)")
    up.add_argument(
        "--airflow", action="store_true", help="with Airflow and its UI, the example DAGs and connections"
    )
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="end the stack of a directory; its data stay")
    down.set_defaults(run=_down)
    wipe = commands.add_parser("wipe", help="end the stack of a directory and remove its data")
    wipe.set_defaults(run=_wipe)
    for command in (up, down, wipe):
        command.add_argument("directory", type=Path, metavar="DIR")
    fetch = commands.add_parser("fetch", help="only fill the cache of downloads")
    fetch.set_defaults(run=_fetch)
    for command in (up, fetch):
        command.add_argument("--flink-version", help="default: FLINK_VERSION, else the newest tested one")
    return parser.parse_args(arguments)


def _up(options: argparse.Namespace) -> None:
    """A fresh stack each time: a new job without state over old rows would write them twice."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `down` and Ctrl-C are the same
    stack = Stack(
        options.directory,
        versions=select(options.flink_version),
        checkpoint_interval=options.checkpoint_interval,
        wanted_ports={"flink": options.flink_port} if options.flink_port else None,
    )
    stack.wipe_unused()
    try:
        with stack:
            processes.write_record(stack.directory, processes.this_process(_UP))
            _stream_orders(stack, options.rate, with_airflow=options.airflow)
    except KeyboardInterrupt:
        print(f"The stack is stopped; its data stay in {stack.directory} until the next `up` or `wipe`.")
    finally:
        (stack.directory / f"{_UP}.json").unlink(missing_ok=True)


def _stream_orders(stack: Stack, rate: float, *, with_airflow: bool) -> None:
    producer = OrdersProducer(stack.kafka_bootstrap, rate=rate)
    airflow = AirflowUi(stack)
    try:
        script = orders_script(stack.catalog, stack.source())
        (stack.directory / "orders.sql").write_text(script)  # what the example DAGs submit
        job_id = stack.submit(script)
        if with_airflow:
            print(f"Airflow      {airflow.start()}", flush=True)
        print(
            f"Flink        {stack.flink_url}\nSQL Gateway  {stack.gateway_url}\nKafka        {stack.kafka_bootstrap}\n"
            f"catalog      {stack.catalog_name} {stack.catalog_properties}\n"
            f"job          {job_id} writes {TABLE}, {rate:g} orders/s\nCtrl-C ends it.",
            flush=True,
        )
        while True:
            time.sleep(_CHECK_INTERVAL)
            stack.check()
    except KeyboardInterrupt:
        print(f"{producer.stop().total} orders were produced.")
        raise
    finally:
        airflow.stop()


def _down(options: argparse.Namespace) -> None:
    """Ask a running `up` to end by itself, so that it can count its orders; then end whatever is left."""
    directory = options.directory.absolute()
    up = processes.read_record(directory / f"{_UP}.json")
    if up:
        up.signal(signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_TIMEOUT
        while up.is_alive():
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"Process {up.pid} did not end within {_DOWN_TIMEOUT:g} s: end it by hand."
                )
            time.sleep(0.1)
    Stack(directory).stop()


def _wipe(options: argparse.Namespace) -> None:
    _down(options)
    Stack(options.directory).wipe()


def _fetch(options: argparse.Namespace) -> None:
    for directory in Cache().ensure(*registries.bundles(select(options.flink_version))):
        print(directory)


if __name__ == "__main__":
    sys.exit(main())
