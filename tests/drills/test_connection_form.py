"""The ``flink`` connection as people make it: Airflow's own webserver in a real browser, and a server that it reaches.

Leaves ``build/connection-form.png``, the picture in the docs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_flink_iceberg.get_provider_info import get_provider_info
from playground import ports
from playground.airflow_env import REPOSITORY
from playground.airflow_ui import PORTS, settings, watched
from tests.e2e.rig import wait_until
from tests.integration.fakes.flink import FakeFlink
from tests.support.browser import Page, browser, find_browser

CANARY = "c4nary-Secret-value"
CONNECTION = get_provider_info()["connection-types"][0]
FORM = "document.querySelector('[role=dialog]')"
PICTURE = REPOSITORY / "build" / "connection-form.png"
_LARGEST_PICTURE = 150_000


@dataclass(frozen=True)
class Webserver:
    """A running api-server."""

    url: str
    log: Path

    def call(self, method: str, path: str) -> Any:
        """One call of the public REST API."""
        token = requests.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{self.url}/api/v2/{path}", headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    """Airflow's api-server alone, without a login, as the playground has it."""
    home = tmp_path_factory.mktemp("airflow")
    chosen = ports.choose(PORTS)
    url = f"http://127.0.0.1:{chosen['api']}"
    own = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__WORKERS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    kept = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment = {**kept, **settings(url, chosen), **own}
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=300)
    log = home / "api-server.log"
    with log.open("wb") as output:
        watcher = subprocess.Popen(
            watched("api-server", "--port", str(chosen["api"])),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(url), "Airflow's webserver", 300)
        yield Webserver(url, log)
    finally:
        if watcher.stdin:
            watcher.stdin.close()
        watcher.wait(60)


@pytest.fixture(scope="module")
def page(webserver: Webserver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab that shows the list of connections."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium on this machine; set CHROMIUM to one")
    with browser(executable, tmp_path_factory.mktemp("browser")) as tab:
        tab.resize(900, 1_800)
        tab.open(f"{webserver.url}/connections")
        yield tab


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/api/v2/monitor/health", timeout=10).ok
    except requests.RequestException:
        return False


def button(text: str) -> str:
    """The expression of a button by its text or label, in the form if one is open."""
    buttons = f"[...({FORM} || document).querySelectorAll('button')]"
    return f"{buttons}.find(b => b.innerText.trim() == '{text}' || b.getAttribute('aria-label') == '{text}')"


def fill(page: Page, fields: dict[str, str]) -> None:
    for name, text in fields.items():
        field = f"{FORM}?.querySelector('input[name={name}]')"
        page.click(field)
        page.type(text)
        page.wait(f"{field}.value == '{text}'")


def inputs(page: Page) -> dict[str, dict[str, str]]:
    """What the form's inputs are and hold, by name."""
    each = "[i.name || i.id, {type: i.type, hint: i.placeholder, value: i.value}]"
    return dict(
        page.script(f"[...{FORM}.querySelectorAll('input, textarea')].map(i => {each}).filter(i => i[0])")
    )


def test_the_form_has_every_field_with_its_hint_and_hides_the_secret_ones(page: Page) -> None:
    page.click(button("Add Connection"))
    fill(page, {"connection_id": "flink_orders"})
    page.click(f"{FORM}.querySelector('input[role=combobox]')")
    page.type("flink")
    page.wait("document.querySelector('[role=option]')")
    page.press("Enter")
    page.wait(f"{FORM}.innerText.includes('Standard Fields')")
    behaviour = CONNECTION["ui-field-behaviour"]
    for label in behaviour["relabeling"].values():
        assert label in page.text()
    shown = inputs(page)
    assert {name: shown[name]["hint"] for name in ("host", "port", "schema", "login")} == {
        name: behaviour["placeholders"][name] for name in ("host", "port", "schema", "login")
    }
    page.click(button("Extra Fields"))
    page.wait(f"{FORM}.querySelector('#element_ui_url')?.getBoundingClientRect().width")
    for name, field in CONNECTION["conn-fields"].items():
        page.wait(f"{FORM}.innerText.includes({field['label']!r})")
        assert field["description"] in page.text()
        is_secret = field["schema"].get("format") == "password"
        assert (inputs(page)[f"element_{name}"]["type"] == "password") is is_secret
    PICTURE.parent.mkdir(exist_ok=True)
    # The accordion opens slowly.
    page.wait(f"{FORM}.getAnimations({{subtree: true}}).length == 0")
    page.screenshot(PICTURE, FORM)
    assert PICTURE.stat().st_size < _LARGEST_PICTURE


def test_the_button_asks_flink_once_with_the_token_that_nobody_sees_again(
    page: Page, webserver: Webserver
) -> None:
    with FakeFlink() as flink:
        host, _, port = flink.url.removeprefix("http://").partition(":")
        page.click(button("Standard Fields"))
        fill(page, {"host": host, "port": port, "schema": "http"})
        page.click(button("Extra Fields"))
        fill(page, {"element_token": CANARY, "element_ui_url": "https://flink.example.com/team-a"})
        page.click(button("Save"))
        page.wait(f"!{FORM} && document.body.innerText.includes('flink_orders')")
        before = colour(page)
        page.click(button("Test Connection"))
        wait_until(lambda: colour(page) != before, "the button to say so", 60)
        red, green, _ = colour(page)
        assert green > red, page.text()
        (asked,) = flink.requests
        assert (asked.path, asked.headers["authorization"]) == ("/overview", f"Bearer {CANARY}")
    page.click(button("Edit Connection"))
    page.wait(f"{FORM}?.querySelector('#element_token')")
    assert inputs(page)["element_token"]["value"] == "***"
    stored = webserver.call("GET", "connections/flink_orders")
    assert "https://flink.example.com/team-a" in stored["extra"]
    everywhere = page.script("document.documentElement.outerHTML") + str(inputs(page)) + str(stored)
    assert CANARY not in everywhere + webserver.log.read_text(errors="replace")


def test_the_button_says_when_nobody_answers(page: Page) -> None:
    """The server of the test above is gone."""
    page.click(button("Close"))
    page.wait(f"!{FORM}")
    before = colour(page)
    page.click(button("Test Connection"))
    wait_until(lambda: colour(page) != before, "the button to say so", 60)
    red, green, _ = colour(page)
    assert red > green


def colour(page: Page) -> tuple[int, int, int]:
    """The test button's, once the mouse and its transitions are done with it."""
    text = page.wait(f"getComputedStyle({button('Test Connection')}.querySelector('svg')).color")
    canvas = "(c => {const x = document.createElement('canvas').getContext('2d'); x.fillStyle = c;"
    canvas += f" x.fillRect(0, 0, 1, 1); return [...x.getImageData(0, 0, 1, 1).data]}})('{text}')"
    red, green, blue, _ = page.script(canvas)
    return red, green, blue
