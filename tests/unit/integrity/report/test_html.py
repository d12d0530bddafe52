"""The page: safe whatever is in it, small, readable in both colour schemes, and true to the restart's times."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.html import html_report
from airflow_flink_iceberg.integrity.report.style import STYLE
from airflow_flink_iceberg.model import CheckReport, Outcome, TimelineEvent
from tests.support.reports import GOOD, HOSTILE, MIXED, hostile_checks, restart, result

VOID = {"meta", "line", "circle", "rect"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "ul", "ol", "li",
    "dl", "dt", "dd", "div", "span", "b", "i", "bdi", "a", "small", "details", "summary", "pre", "figure", "time",
    "svg", "line", "rect", "circle", "text",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "class", "id", "open", "href", "rel", "style", "aria-hidden",
    "role", "width", "height", "aria-label", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "text-anchor",
}  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and the text that a reader sees; every element has to be closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str, css: str = "") -> list[dict[str, str | None]]:
        return [
            found for name, found in self.tags if name == tag and (found.get("class") or "").startswith(css)
        ]


@pytest.mark.parametrize("times", [1, 400])
def test_nothing_of_others_gets_out_of_its_place(times: int) -> None:
    events = [
        TimelineEvent('"><script>' + HOSTILE * times, 1_764_065_000_100 + n, HOSTILE) for n in range(80)
    ]
    text = html_report(
        Report(
            hostile_checks(times), restart(*events), (HOSTILE,) * 9, {HOSTILE * times: HOSTILE * times},
            {HOSTILE: "https://ok.example.com/\"><script>", "b": "javascript://host/%0aalert(1)", "c": "https://u:p@host/",
             "d": "data:text/html,x", "e": "https://["},
        )
    )  # fmt: skip
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    anchors = {card["id"] for card in page.all("details", "check")}
    inside: list[object] = []
    outside: list[object] = []
    for tag in page.all("a"):
        (inside if str(tag["href"]).startswith("#") else outside).append(tag["href"])
    assert {str(href)[1:] for href in inside} <= anchors
    assert outside == ['https://ok.example.com/"><script>']
    assert len(page.all("style")) == len(page.all("svg")) == 1
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
    )
    assert "<script>alert(1)</script>" in page.text
    assert len(text.encode()) < 200_000


def test_the_page_loads_nothing_and_forbids_it() -> None:
    text = html_report(Report(MIXED, restart()))
    page = Page(text)
    policy = next(tag["content"] for tag in page.all("meta") if tag.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not re.search(r"url\(|@import|https?:", text)


def test_ten_thousand_results_fit_and_none_is_forgotten() -> None:
    evidence = {"paths": {"count": 900, "first": ["/warehouse/" + "x" * 300] * 20}}
    results = [
        result(f"check_{n}", Outcome.FAIL if n % 3 == 0 else Outcome.PASS, actual="x" * 50, evidence=evidence)
        for n in range(10_000)
    ]
    text = html_report(Report(CheckReport("shop.orders", 1, tuple(results)), restart()))
    assert len(text.encode()) < 200_000
    page = Page(text)
    assert "3,334 of 10,000 checks of shop.orders@main failed" in page.text
    assert "3,334 fail, 6,666 pass" in page.text
    cards, lines = (
        len(page.all("details", "check")),
        text.count("<ul") and len(re.findall(r"<li><span class", text)),
    )
    more = int(re.search(r"And ([\d,]+) more", page.text)[1].replace(",", ""))  # type: ignore[index]
    assert cards + lines + more == 10_000
    assert min(cards, lines) > 10


def test_the_worst_is_first_open_and_linked_and_its_evidence_is_folded() -> None:
    page = Page(html_report(Report(MIXED)))
    cards = page.all("details", "check")
    assert [(card["id"], card["class"]) for card in cards] == [
        ("check-kafka_offsets", "check fail"),
        ("check-commit_continuity", "check unknown"),
        ("check-schema_unchanged", "check warn"),
        ("check-restored_state", "check warn"),
        ("check-duplicate_files", "check pass"),
    ]
    assert ["open" in card for card in cards] == [True, True, True, False, False]
    assert [found for found in page.all("details") if not found.get("class")] == [{}]
    assert "RollbackToRestorePointOperator" in page.text
    assert [tag["href"] for tag in page.all("a")] == [f"#{card['id']}" for card in cards[:4]]


def test_two_checks_of_one_name_have_two_anchors() -> None:
    twice = CheckReport("t", 1, tuple(result("sql", Outcome.PASS) for _ in range(2)))
    ids = [card["id"] for card in Page(html_report(Report(twice))).all("details", "check")]
    assert ids == ["check-sql", "check-sql-2"]


def test_the_downtime_is_shaded_exactly_where_nothing_ran() -> None:
    """0 is at 4 % and the last moment, 3 s later, at 96 %: so a second has 92/3 %."""
    page = Page(html_report(Report(GOOD, restart())))
    (shaded,) = page.all("rect", "down")
    assert float(str(shaded["x"])[:-1]) == pytest.approx(4 + 2.0 * 92 / 3, abs=0.01)
    assert float(str(shaded["width"])[:-1]) == pytest.approx(0.31 * 92 / 3, abs=0.01)
    assert "down 0.31 s" in page.text
    places = [float(str(dot["cx"])[:-1]) for dot in page.all("circle")]
    assert sorted(places) == pytest.approx([4, 4 + 2 * 92 / 3, 4 + 2.31 * 92 / 3, 96], abs=0.01)
    assert page.text.index("old job ended") < page.text.index("new job RUNNING")
    assert "+2.310 s" in page.text


def test_markers_that_would_cover_each_other_get_rows_of_their_own() -> None:
    events = [TimelineEvent(f"moment {n}", 1_764_065_002_000 + n) for n in range(6)]
    dots = Page(html_report(Report(None, restart(*events)))).all("circle")
    places = [(float(str(dot["cx"])[:-1]), str(dot["cy"])) for dot in dots]
    assert len(places) == 10
    assert not [
        (a, b) for n, a in enumerate(places) for b in places[:n] if a[1] == b[1] and abs(a[0] - b[0]) < 8
    ]


def test_a_restart_that_flink_has_forgotten_has_no_drawing_and_says_so() -> None:
    forgotten = replace(restart(downtime=None), timeline=())
    page = Page(html_report(Report(GOOD, forgotten)))
    assert page.all("svg") == []
    assert "There is no timeline" in page.text
    assert "how long it was down is not known" in page.text


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read_on_its_ground(scheme: int) -> None:
    """WCAG's 4.5 to 1."""
    light, dark = (dict(re.findall(r"--([\w-]+):(#\w+)", block)) for block in STYLE.split("@media", 2)[:2])
    colours = [light, {**light, **dark}][scheme]
    grounds: dict[str, tuple[str, ...]] = {
        "ink": ("paper", "card"),
        "dim": ("paper", "card"),
        "link": ("paper", "card"),
    }
    grounds |= {name: ("card", "paper", f"{name}-bg") for name in ("pass", "warn", "fail", "unknown")}
    for name in ("ink", "dim", "link"):
        grounds[name] += tuple(f"{outcome}-bg" for outcome in ("pass", "warn", "fail", "unknown"))
    for text, on in grounds.items():
        for ground in on:
            bright, dim = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground)
