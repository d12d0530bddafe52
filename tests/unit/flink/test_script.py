from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.script import parse_script
from airflow_flink_iceberg.model.errors import InvalidValue

INSERT = "INSERT INTO lake.shop.orders SELECT * FROM src"


def test_a_whole_script_in_order() -> None:
    script = parse_script(f"""
        -- orders; from Kafka
        SET 'execution.runtime-mode' = 'streaming';
        SET parallelism.default = 2;
        CREATE CATALOG lake WITH ('type'='iceberg', 'uri'='jdbc:x;y');
        CREATE TABLE IF NOT EXISTS lake.shop.orders (id BIGINT);
        {INSERT};
    """)
    assert script.settings == {"execution.runtime-mode": "streaming", "parallelism.default": "2"}
    assert [" ".join(ddl.split()[:2]) for ddl in script.ddl] == ["CREATE CATALOG", "CREATE TABLE"]
    assert script.insert == INSERT


def test_the_last_semicolon_may_be_missing_and_more_may_be_there() -> None:
    assert parse_script(f";;{INSERT}").insert == INSERT
    assert parse_script(f"{INSERT};;\n;-- end").insert == INSERT


@pytest.mark.parametrize(
    "part",
    [
        "';'",
        "'it''s; fine'",
        "`a;b`",
        "`a``;b`",
        '";"',
        "/* ; */ 1",
        "-- ; \n 1",
        "'--'",
        "'/*'",
        "/* ' */ 1",
        "-- it's\n 1",
        "/*+ OPTIONS('a'=';') */ 1",
    ],
)
def test_a_semicolon_in_quotes_and_comments_ends_nothing(part: str) -> None:
    insert = f"INSERT INTO t SELECT {part} FROM src"
    script = parse_script(f"CREATE TABLE t (a INT);{insert};")
    assert script.insert == insert
    assert len(script.ddl) == 1


def test_a_hint_is_kept() -> None:
    insert = "INSERT INTO t /*+ OPTIONS('uid-suffix'='orders') */ SELECT 1"
    assert parse_script(insert).insert == insert


def test_a_comment_before_a_statement_is_left_out() -> None:
    assert parse_script(f"-- password is x\n{INSERT}").insert == INSERT


def test_a_statement_set_is_one_statement() -> None:
    inserts = "INSERT INTO a SELECT CASE x WHEN 1 THEN 2 END FROM s;\nINSERT INTO b SELECT 1;"
    block = f"EXECUTE STATEMENT SET\nBEGIN\n{inserts}\nEND"
    assert parse_script(f"CREATE TABLE s (x INT);\n{block};\n").insert == block
    assert parse_script(block).insert == block


def test_the_older_statement_set_becomes_the_newer_one() -> None:
    script = parse_script("begin  statement set;\nINSERT INTO a SELECT 1;\nINSERT INTO b SELECT 2;\nEND;")
    assert (
        script.insert == "EXECUTE STATEMENT SET BEGIN\nINSERT INTO a SELECT 1;\nINSERT INTO b SELECT 2;\nEND"
    )


def test_names_that_look_like_the_ends_of_a_block_do_not_end_it() -> None:
    block = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT `end` FROM s; INSERT INTO b SELECT 'END;' ; END"
    assert parse_script(block).insert == block


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("SET 'a.b'='c';", {"a.b": "c"}),
        ("set 'a.b' = 'c''d';", {"a.b": "c'd"}),
        ("SET a.b-c = d;", {"a.b-c": "d"}),
        ("SET 'a' = '';", {"a": ""}),
        ("SET '$internal.x' = '1';", {"$internal.x": "1"}),
        ("SET 'a' = '1'; SET 'a' = '1';", {"a": "1"}),
    ],
)
def test_settings(text: str, settings: dict[str, str]) -> None:
    assert parse_script(f"{text}\n{INSERT};").settings == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "exactly one INSERT or statement set, it has none"),
        ("-- nothing", "it has none"),
        ("CREATE TABLE t (a INT);", "it has none"),
        (f"{INSERT};\n{INSERT};", r"2 of them \(line 1, line 2\)"),
        (f"{INSERT};\nCREATE TABLE t (a INT)", "Line 2: CREATE TABLE T comes after the INSERT"),
        (f"SET 'a' = '1';\nSET 'a' = '2';\n{INSERT}", "Line 2: 'a' is set a second time"),
        (f"SET;\n{INSERT}", "not of the form"),
        (f"SET 'a';\n{INSERT}", "not of the form"),
        (f"\n\nSELECT 1;\n{INSERT}", "Line 3: SELECT 1 cannot be part"),
        (f"DELETE FROM t;\n{INSERT}", "DELETE FROM T cannot be part"),
        (f"RESET;\n{INSERT}", "RESET cannot be part"),
        (f"STOP JOB 'x' WITH SAVEPOINT;\n{INSERT}", "STOP JOB '' cannot be part"),
        (f"CREATE TABLE t WITH ('a'='b') AS SELECT 1;\n{INSERT}", "would start a job of its own"),
        (f"CREATE OR REPLACE TABLE t AS (SELECT 1);\n{INSERT}", "would start a job of its own"),
        (
            f"CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' MINUTE AS SELECT 1;\n{INSERT}",
            "would start a job of its own",
        ),
        (
            f"DROP TABLE lake.shop.orders;\n{INSERT}",
            "DROP TABLE LAKE would run while the old job still writes",
        ),
        (f"TRUNCATE TABLE t;\n{INSERT}", "TRUNCATE TABLE T cannot be part"),
        ("INSERT INTO t SELECT 'a", "Line 1: the quote ' is never closed"),
        ("CREATE TABLE t (a INT);\nINSERT INTO `t SELECT 1", "Line 2: the quote ` is never closed"),
        (f"/* x\n{INSERT}", "Line 1: the comment is never closed"),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;", "no END"),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN a THEN b END;", "no END"),
    ],
)
def test_a_script_that_cannot_be_launched_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        parse_script(text)


@pytest.mark.parametrize(
    "ddl",
    [
        "DROP TEMPORARY TABLE IF EXISTS src",
        "DROP TEMPORARY VIEW v",
        "USE CATALOG lake",
        "ADD JAR '/x.jar'",
        "ALTER TABLE t SET ('a'='b')",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TEMPORARY VIEW table_v AS SELECT 1",
        "LOAD MODULE hive",
        "CREATE FUNCTION f AS 'x.Y'",
        "CREATE TABLE t (a INT, b AS a + 1) WITH ('select'='AS SELECT')",
    ],
)
def test_statements_that_only_prepare_are_taken(ddl: str) -> None:
    assert parse_script(f"{ddl};{INSERT}").ddl == (ddl,)


def test_a_refusal_repeats_no_string_of_the_statement() -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_script("SHOW 'hunter2' 'hunter2'; INSERT INTO t SELECT 1")
    assert "hunter2" not in str(caught.value).lower()


def test_a_large_script_is_split_in_linear_time() -> None:
    script = parse_script("CREATE TABLE t (a INT);\n" * 5_000 + "-- " + "'" * 10_000 + "\n" + INSERT)
    assert len(script.ddl) == 5_000
