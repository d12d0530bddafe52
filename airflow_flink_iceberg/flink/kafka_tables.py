"""The Kafka tables that a script reads: which topics, and how their brokers are reached.

``CREATE TABLE``, ``LIKE``, ``ALTER TABLE`` and ``OPTIONS`` hints are read. What a script leaves to a catalog or a view
of somebody else's is not known here, and then it is said that the topics are not all known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from airflow_flink_iceberg.flink.sql_words import Word, names_after, path_at, quoted, words

_CONNECTORS = ("kafka", "upsert-kafka")
_PROPERTIES = "properties."
_OPTION = re.compile(r"'((?:[^']|'')+)'\s*=\s*'((?:[^']|'')*)'")
_HINT = re.compile(r"\bOPTIONS\s*\(", re.IGNORECASE)

Options = Mapping[str, str]


@dataclass(frozen=True)
class KafkaTable:
    """One table.

    :param topics: empty where they are not known: a ``topic-pattern``, or a source that the script does not make.
    :param properties: Kafka's own, without the ``properties.`` that Flink wants; may hold secrets.
    :param name: its last name; empty where that is not known.
    """

    topics: frozenset[str]
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""


def kafka_tables(statements: Iterable[str], insert: str = "") -> tuple[KafkaTable, ...]:
    """The Kafka tables that a script makes; with its INSERT those that it reads, where all its sources are known.

    :param statements: its DDL, in its order.
    :param insert: a source in it that the DDL does not make adds a table whose topics are not known.
    """
    made, queries = _Made(), [insert]
    for statement in statements:
        made.run(statement, queries)
    all_made = [table for name, options in made.tables.items() if (table := _table(name, options))]
    if not insert:
        return tuple(all_made)
    read = [source for query in queries for source in _sources(query)]
    found = [(name[-1], made.options(name, hints)) for name, hints in read if name[-1] not in made.views]
    if any(options is None for _, options in found):
        return (*all_made, KafkaTable(frozenset()))
    return tuple(table for name, options in found if options and (table := _table(name, options)))


class _Made:
    """The tables and views that a script's DDL has made so far, by their last name."""

    def __init__(self) -> None:
        self.tables: dict[str, Options] = {}
        self.views: set[str] = set()
        self._paths: dict[str, set[tuple[str, ...]]] = {}

    def options(self, name: tuple[str, ...], more: Options) -> Options | None:
        """A table's options under a hint; ``None``: the script does not make it, or several of this last name."""
        made = self.tables.get(name[-1])
        return None if made is None or len(self._paths[name[-1]]) > 1 else {**made, **more}

    def run(self, text: str, queries: list[str]) -> None:
        """Take in one statement; the query of a view is put to ``queries``."""
        statement = list(words(text))
        said = [word.upper for word in statement]
        if said[:1] == ["CREATE"] and "VIEW" in said[:4]:
            self.views.add(path_at(statement, _after(said, "VIEW"))[-1])
            queries.append(text)
        elif said[:1] == ["CREATE"] and "TABLE" in said[:4]:
            self._create(statement, said)
        elif said[:2] == ["ALTER", "TABLE"]:
            self._alter(statement, said)

    def _create(self, statement: list[Word], said: list[str]) -> None:
        path = path_at(statement, _after(said, "TABLE"))
        name = path[-1]
        self._paths.setdefault(name, set()).add(path)
        own = _options_after(statement, said, "WITH")
        like = next(
            (at for at, word in enumerate(statement) if word.upper == "LIKE" and word.depth == 0), None
        )
        if like is None:
            self.tables[name] = own
            return
        base = self.tables.get(path_at(statement, like + 1)[-1])
        excludes = re.search(r"EXCLUDING (ALL|OPTIONS)", " ".join(said[like:]))
        if excludes:
            base = {}
        # A table that is like one of a catalog's is as little known as that one.
        if base is None:
            self.tables.pop(name, None)
        else:
            self.tables[name] = {**base, **own}

    def _alter(self, statement: list[Word], said: list[str]) -> None:
        at = _after(said, "TABLE")
        name = path_at(statement, at)[-1]
        if name not in self.tables:
            return
        if said[-3:-1] == ["RENAME", "TO"]:
            new = path_at(statement, len(said) - 1)
            self._paths.setdefault(new[-1], set()).add(new)
            self.tables[new[-1]] = self.tables.pop(name)
        elif "SET" in said:
            self.tables[name] = {**self.tables[name], **_options_after(statement, said, "SET")}
        elif "RESET" in said:
            reset = {quoted(word.text) for word in statement[said.index("RESET") :] if word.text[:1] == "'"}
            self.tables[name] = {key: each for key, each in self.tables[name].items() if key not in reset}


def _sources(query: str) -> Iterator[tuple[tuple[str, ...], Options]]:
    """What a query reads, each with the options of its hint; its own ``WITH`` names are none."""
    said = list(words(query, hints=True))
    own = {
        quoted(word.text)
        for word, next_one, third in zip(said, said[1:], said[2:], strict=False)
        if (next_one.upper, third.text) == ("AS", "(")
    }
    for name, hint in names_after(said, ("FROM", "JOIN")):
        if not (len(name) == 1 and name[0] in own):
            yield name, _pairs(hint) if _HINT.search(hint) else {}


def _table(name: str, options: Options) -> KafkaTable | None:
    if options.get("connector") not in _CONNECTORS:
        return None
    topics = frozenset(name.strip() for name in options.get("topic", "").split(";") if name.strip())
    properties = {
        key.removeprefix(_PROPERTIES): item for key, item in options.items() if key.startswith(_PROPERTIES)
    }
    return KafkaTable(topics, properties, name)


def _options_after(statement: list[Word], said: list[str], keyword: str) -> dict[str, str]:
    """The pairs in the brackets behind the last such keyword that stands in none."""
    at = [place for place, word in enumerate(statement) if said[place] == keyword and word.depth == 0]
    if not at:
        return {}
    inside: list[str] = []
    for word in statement[at[-1] + 1 :]:
        if inside and word.depth == 0:
            break
        inside.append(word.text)
    return _pairs(" ".join(inside))


def _pairs(text: str) -> dict[str, str]:
    return {key.replace("''", "'"): item.replace("''", "'") for key, item in _OPTION.findall(text)}


def _after(said: list[str], keyword: str) -> int:
    at = said.index(keyword) + 1
    for word in ("IF", "NOT", "EXISTS"):
        at += said[at : at + 1] == [word]
    return at
