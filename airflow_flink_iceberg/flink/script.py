"""A SQL script taken apart: settings, statements that prepare, and the one that launches the job.

Only as much of the language is understood as is needed to find the ends of statements and their first words; the
statements themselves are checked by Flink.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from airflow_flink_iceberg.model.errors import InvalidValue

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>'(?:[^']|'')*'|`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"
    r"|(?P<open>/\*|['`\"])|(?P<word>[A-Za-z_]\w*)|(?P<space>\s+)|(?P<end>;)|(?P<other>.)",
    re.DOTALL,
)
_SET = re.compile(r"SET\s+(?:'((?:[^']|'')+)'|([\w.$\-]+))\s*=\s*(?:'((?:[^']|'')*)'|(\S+))", re.IGNORECASE)
_PREPARES = {"CREATE", "ALTER", "USE", "LOAD", "UNLOAD", "ADD", "REMOVE", "DROP"}
_BLOCKS = ("EXECUTE STATEMENT SET BEGIN", "BEGIN STATEMENT SET")
_LAUNCHES = ("INSERT ", "EXECUTE INSERT ", "EXECUTE STATEMENT SET ", "BEGIN STATEMENT SET")
_QUERIES = {"SELECT", "WITH", "VALUES"}
_WRITES = {
    "INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "CALL",
}  # fmt: skip
# These would start a job, or destroy data, already while the old job runs: preparing must do neither.
_SUBMITS = re.compile(r"^CREATE\b.*\bTABLE\b.*\bAS\s*\(?\s*(?:SELECT|WITH|VALUES)\b|\bMATERIALIZED TABLE\b")
_DESTROYS = re.compile(r"^DROP (?:TABLE|DATABASE|CATALOG)\b|^ALTER TABLE .*\bDROP PARTITION")


@dataclass(frozen=True)
class SqlScript:
    """What a script says, in its order.

    :param settings: ``SET`` lines; they become properties of the session.
    :param ddl: statements that can run while the old job runs.
    :param insert: the one INSERT or statement set.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    ddl: tuple[str, ...] = ()
    insert: str = ""


@dataclass
class _Statement:
    """``words`` is the text in upper case without comments, with one blank for each quoted part."""

    text: str
    words: str
    line: int

    @property
    def start(self) -> str:
        """The first words, for messages: never the strings of a statement, which may hold passwords."""
        return " ".join(self.words.split()[:3])


def parse_script(text: str) -> SqlScript:
    """Take a script apart.

    :raises InvalidValue: an open quote or comment, not exactly one INSERT or statement set, something after it, a
        statement that cannot be prepared, or a setting with two values. The message has the line.
    """
    settings: dict[str, str] = {}
    ddl: list[str] = []
    inserts: list[_Statement] = []
    for statement in _statements(text):
        if statement.words.split(maxsplit=1)[0] == "SET":
            _add_setting(settings, statement)
        elif statement.words.startswith(_LAUNCHES):
            inserts.append(statement)
        elif inserts:
            raise InvalidValue(
                f"Line {statement.line}: {statement.start} comes after the INSERT, which has to be last."
            )
        else:
            ddl.append(_preparing(statement))
    if len(inserts) != 1:
        where = ", ".join(f"line {statement.line}" for statement in inserts)
        found = f"{len(inserts)} of them ({where})" if inserts else "none"
        raise InvalidValue(
            f"The script needs exactly one INSERT or statement set, it has {found}; several INSERTs of one job "
            "belong "
            "into EXECUTE STATEMENT SET BEGIN ... END."
        )
    return SqlScript(settings, tuple(ddl), _launching(inserts[0]))


def catalog_statements(text: str) -> tuple[str, ...]:
    """The ``CREATE CATALOG`` statements of a script, for another session that has to know the same catalogs.

    :raises InvalidValue: an open quote or comment.
    """
    return tuple(item.text for item in _statements(text) if item.words.startswith("CREATE CATALOG "))


def single_query(text: str) -> str:
    """The one reading statement that a text is, without a semicolon at its end.

    :raises InvalidValue: not exactly one statement, one that does not begin with SELECT, WITH or VALUES, or one with a
        word outside of quotes that writes.
    """
    statements = list(_statements(text))
    if len(statements) != 1:
        raise InvalidValue(f"One statement is needed, the text has {len(statements)}.")
    words = statements[0].words.split()
    if words[0].lstrip("(") not in _QUERIES and words[0] != "(":
        raise InvalidValue(f"Only {', '.join(sorted(_QUERIES))} may be run, not {words[0]}.")
    if writing := sorted(_WRITES.intersection(words)):
        raise InvalidValue(
            f"Only reading statements may be run, and this one has {writing[0]}; quote it if it is a name."
        )
    return statements[0].text


def _statements(text: str) -> Iterator[_Statement]:
    begin: int | None = None
    words: list[str] = []
    in_block = False
    for token in _TOKEN.finditer(text):
        kind, value = token.lastgroup, token.group()
        if kind == "open":
            what = "comment" if value == "/*" else f"quote {value}"
            raise InvalidValue(f"Line {_line(text, token.start())}: the {what} is never closed.")
        if kind in ("space", "comment") or (kind == "end" and begin is None):
            continue
        begin = token.start() if begin is None else begin
        if kind == "end" and not in_block:
            yield _Statement(text[begin : token.start()].rstrip(), " ".join(words), _line(text, begin))
            begin, words = None, []
            continue
        # In a block, END ends it only after a ';': elsewhere it belongs to CASE ... END.
        if in_block and value.upper() == "END" and words[-1] in (";", "BEGIN"):
            in_block = False
        words.append("''" if kind == "quoted" else value.upper())
        in_block = in_block or (len(words) <= 4 and " ".join(words).endswith(_BLOCKS))
    if begin is not None:
        statement = _Statement(text[begin:].rstrip(), " ".join(words), _line(text, begin))
        if in_block:
            raise InvalidValue(f"Line {statement.line}: the statement set has no END after its last ';'.")
        yield statement


def _add_setting(settings: dict[str, str], statement: _Statement) -> None:
    found = _SET.fullmatch(statement.text)
    if found is None:
        raise InvalidValue(f"Line {statement.line}: this SET is not of the form SET 'key' = 'value'.")
    quoted_key, bare_key, quoted, bare = found.groups()
    key = quoted_key.replace("''", "'") if quoted_key is not None else bare_key
    value = quoted.replace("''", "'") if quoted is not None else bare
    if settings.setdefault(key, value) != value:
        raise InvalidValue(
            f"Line {statement.line}: {key!r} is set a second time, to another value; settings hold for the whole "
            "session."
        )


def _preparing(statement: _Statement) -> str:
    first = statement.words.split(maxsplit=1)[0]
    if _SUBMITS.search(statement.words) or first == "REPLACE":
        raise InvalidValue(
            f"Line {statement.line}: {statement.start} would start a job of its own; create the table first, then "
            "INSERT."
        )
    if _DESTROYS.search(statement.words):
        raise InvalidValue(
            f"Line {statement.line}: {statement.start} would run while the old job still writes; a restart script "
            "may drop "
            "temporary objects only."
        )
    if first not in _PREPARES:
        raise InvalidValue(
            f"Line {statement.line}: {statement.start} cannot be part of a job's script; it may hold SET, CREATE, "
            "ALTER, USE, LOAD, "
            "ADD and exactly one INSERT or statement set."
        )
    return statement.text


def _launching(statement: _Statement) -> str:
    if not statement.words.startswith("BEGIN STATEMENT SET"):
        return statement.text
    # The SQL client's older form; the gateway takes the whole set as one statement only in the newer one.
    body = re.sub(r"^BEGIN\s+STATEMENT\s+SET\s*;?", "", statement.text, flags=re.IGNORECASE)
    return f"EXECUTE STATEMENT SET BEGIN{body}"


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
