"""SQL as words with their depth in brackets: enough to find the names that a query reads, and what is no comment."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_COMMENT = r"--[^\n]*|/\*.*?\*/"
_QUOTED = r"'(?:[^']|'')*'|`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\""
_WORD = re.compile(
    rf"(?P<hint>/\*\+.*?\*/)|(?P<comment>{_COMMENT})|(?P<word>{_QUOTED}|[^\W\d]\w*|\d+|[^\s\w])", re.DOTALL
)
# What may stand behind a table in a FROM and is no alias.
_GOES_ON = {
    "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "ON", "USING", "JOIN", "LEFT",
    "RIGHT", "INNER", "FULL", "CROSS", "NATURAL", "WINDOW", "FOR", "MATCH_RECOGNIZE", "TABLESAMPLE", "END", "INSERT",
}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A word, a quoted name or text, a sign, or a hint, with the number of brackets around it."""

    text: str
    depth: int

    @property
    def upper(self) -> str:
        """In upper case, as keywords compare; a quoted one is no keyword."""
        return self.text.upper()


def words(text: str, *, hints: bool = False) -> Iterator[Word]:
    """The words of a statement without its comments; hints are comments unless they are asked for."""
    depth = 0
    for found in _WORD.finditer(text):
        if found.lastgroup == "comment" or (found.lastgroup == "hint" and not hints):
            continue
        value = found.group()
        depth -= value == ")"
        yield Word(value, max(depth, 0))
        depth += value == "("


def split_outside(text: str, mark: str) -> list[str]:
    """The pieces of a text around a mark, where that stands in no comment and in no quotes."""
    pieces, begin = [], 0
    for found in re.finditer(rf"{_COMMENT}|{_QUOTED}|({re.escape(mark)})", text, re.DOTALL):
        if found[1]:
            pieces.append(text[begin : found.start()])
            begin = found.end()
    return [*pieces, text[begin:]]


def quoted(text: str) -> str:
    """A name or text without the quotes around it."""
    mark = text[:1]
    return text[1:-1].replace(mark * 2, mark) if mark in ("'", "`", '"') and len(text) > 1 else text


def path_at(said: list[Word], at: int) -> tuple[str, ...]:
    """The name that begins at a place, in its parts; one empty part where there is none."""
    parts = []
    while at < len(said) and _is_name(said[at]):
        parts.append(quoted(said[at].text))
        if said[at + 1 : at + 2] == [] or said[at + 1].text != ".":
            break
        at += 2
    return tuple(parts) or ("",)


def names_after(said: list[Word], keywords: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The names behind keywords, and behind commas that go on with their list, each with the hint behind it.

    A name behind ``TABLE`` inside of a function's brackets counts, a function does not.
    """
    for at, word in enumerate(said):
        before = said[at - 1].upper if at else ""
        if word.upper in keywords or (word.upper == "TABLE" and before in ("(", "=>")):
            yield from _listed(said, at + 1)


def _listed(said: list[Word], at: int) -> Iterator[tuple[tuple[str, ...], str]]:
    while at < len(said):
        name = path_at(said, at)
        at += len(name) * 2 - 1
        if said[at : at + 1] and said[at].text == "(" and name != ("",):
            return  # a function: what it reads stands behind TABLE in its brackets
        if name != ("",) and name[-1].upper() not in ("LATERAL", "TABLE", "UNNEST"):
            hint = said[at].text if said[at : at + 1] and said[at].text.startswith("/*+") else ""
            at += bool(hint)
            yield name, hint
        elif said[at - 1 : at] and said[at - 1].text == "(":
            at = _closed(said, at - 1)
        at = _behind_alias(said, at)
        if not (said[at : at + 1] and said[at].text == ","):
            return
        at += 1


def _closed(said: list[Word], at: int) -> int:
    """The place behind the bracket that closes the one here."""
    depth = said[at].depth
    return next(
        (n + 1 for n in range(at + 1, len(said)) if said[n].text == ")" and said[n].depth == depth), len(said)
    )


def _behind_alias(said: list[Word], at: int) -> int:
    at += bool(said[at : at + 1] and said[at].upper == "AS")
    if said[at : at + 1] and _is_name(said[at]) and said[at].upper not in _GOES_ON:
        at += 1
        if said[at : at + 1] and said[at].text == "(":
            at = _closed(said, at)
    return at


def _is_name(word: Word) -> bool:
    return word.text[:1] in ("`", '"') or bool(re.match(r"[^\W\d]", word.text))
