from __future__ import annotations

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.flink.deployments.base import Deployment, StartRequest
from airflow_flink_iceberg.flink.gateway import GatewayClient
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkAnswerInvalid,
    FlinkUnreachable,
    GatewayFailed,
    InvalidValue,
    JobFailed,
    WaitTimeout,
)
from tests.integration.fakes.flink import FakeFlink, new_id, trace
from tests.integration.fakes.gateway import FakeGateway
from tests.integration.fakes.http import Answer

SCRIPT = """
SET 'execution.runtime-mode' = 'streaming';
CREATE TABLE src (a INT);
CREATE TABLE dst (a INT);
INSERT INTO dst SELECT a FROM src;
"""
INSERT = "INSERT INTO dst SELECT a FROM src"


def sql_job(
    client: FlinkClient, script: str = SCRIPT, properties: dict[str, str | int] | None = None
) -> Deployment:
    deployment = SqlDeployment(script, properties=properties or {})
    return open_deployment(FlinkJob("orders", deployment=deployment), client)


def test_prepare_runs_all_but_the_insert_in_one_session(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    sql_job(sql_client, properties={"parallelism.default": 2}).check_program()
    assert list(gateway.sessions.values()) == [
        {"execution.runtime-mode": "streaming", "parallelism.default": "2", "pipeline.name": "orders"}
    ]
    assert [statement for _, statement, _ in gateway.statements] == [
        "CREATE TABLE src (a INT)",
        "CREATE TABLE dst (a INT)",
        f"EXPLAIN {INSERT}",
    ]
    assert flink.jobs == {}


def test_launch_sends_the_insert_with_id_and_state_of_this_launch_only(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    flink.savepoints["file:/sp/1"] = 7
    deployment = sql_job(sql_client)
    deployment.check_program()
    gateway.requests.clear()
    job_id = new_id()
    deployment.launch(StartRequest(job_id, "file:/sp/1"))
    session, statement, config = gateway.statements[-1]
    assert statement == INSERT
    assert config["$internal.pipeline.job-id"] == job_id
    assert config["execution.state-recovery.path"] == "file:/sp/1"
    # No session and no DDL in the downtime.
    assert [r.path.rsplit("/", 2)[-1] for r in gateway.requests if r.method == "POST"] == ["statements"]
    assert "execution.state-recovery.path" not in gateway.sessions[session]
    restored = sql_client.checkpoints(job_id).restored
    assert restored is not None
    assert restored.path == "file:/sp/1"


def test_prepare_again_only_looks_whether_the_session_lives(
    gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    deployment = sql_job(sql_client)
    deployment.check_program()
    gateway.requests.clear()
    deployment.check_program()
    assert [r.path.rsplit("/", 1)[-1] for r in gateway.requests] == ["heartbeat"]
    gateway.forget_sessions()
    deployment.check_program()
    assert len(gateway.sessions) == 1
    statements = [statement for _, statement, _ in gateway.statements]
    assert statements[3:] == statements[:2]  # the DDL again; that the INSERT can be planned is known


def test_a_session_lost_before_the_launch_is_opened_again_once(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    deployment = sql_job(sql_client)
    deployment.check_program()
    gateway.forget_sessions()
    job_id = new_id()
    deployment.launch(StartRequest(job_id, None))
    assert flink.jobs[job_id].name == "orders"
    assert [statement for _, statement, _ in gateway.statements].count(INSERT) == 1
    assert gateway.count("POST", "/v2/sessions") == 2


def test_a_gateway_that_keeps_losing_sessions_ends_in_an_error(
    gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    deployment = sql_job(sql_client)
    deployment.check_program()
    lost = Answer(
        500,
        {
            "errors": [
                "Internal server error.",
                trace("x.Y: no", "a.SqlGatewayException: Session 'x' does not exist."),
            ]
        },
    )
    gateway.script("POST", ".*/statements", lost, repeat_last=True)
    with pytest.raises(GatewayFailed, match="does not know our session"):
        deployment.launch(StartRequest(new_id(), None))
    assert gateway.count("POST", "/v2/sessions") == 2


def test_a_ddl_that_fails_says_which_and_why_and_leaves_no_session(
    gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    gateway.failing["dst"] = (
        "org.apache.flink.table.catalog.exceptions.TableAlreadyExistException: Table dst already exists."
    )
    with pytest.raises(
        GatewayFailed, match=r"Statement 2 \(CREATE TABLE dst \.\.\.\) of job 'orders' failed.*already exists"
    ) as caught:
        sql_job(sql_client).check_program()
    assert "\tat " not in str(caught.value)
    assert gateway.sessions == {}


@pytest.mark.parametrize("version", ["1.20.5", "2.3.0"])
def test_a_job_id_that_has_lived(version: str) -> None:
    with FakeFlink(version) as flink, FakeGateway(flink) as gateway:
        job = flink.add_job("orders")
        with (
            FlinkClient(FlinkEndpoint(flink.url, gateway_url=gateway.url)) as client,
            pytest.raises(DuplicateJob, match=f"{job.job_id} of 'orders' has lived"),
        ):
            sql_job(client).launch(StartRequest(job.job_id, None))
        assert len(flink.jobs) == 1


def test_a_restore_that_fails_names_the_jobs_own_reason(
    gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    job_id = new_id()
    with pytest.raises(
        JobFailed, match=f"'orders' as job {job_id} from savepoint file:/sp/9.*Cannot find checkpoint"
    ) as caught:
        sql_job(sql_client).launch(StartRequest(job_id, "file:/sp/9"))
    assert "Nothing runs under this id" in str(caught.value)


def test_an_insert_that_is_refused_before_there_is_a_job(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    gateway.failing["INSERT"] = "org.apache.flink.table.api.ValidationException: Column types do not match."
    with pytest.raises(JobFailed, match="Column types do not match"):
        sql_job(sql_client).launch(StartRequest(new_id(), None))
    assert flink.jobs == {}


def test_a_gateway_that_is_down(flink: FakeFlink) -> None:
    with FakeGateway(flink) as gone:
        url = gone.url
    with (
        FlinkClient(FlinkEndpoint(flink.url, gateway_url=url, timeout=1)) as client,
        pytest.raises(FlinkUnreachable, match=f"{url}/v2/sessions: connection refused"),
    ):
        sql_job(client).check_program()


def test_an_address_that_is_no_gateway(flink: FakeFlink) -> None:
    with (
        FlinkClient(FlinkEndpoint(flink.url, gateway_url=flink.url)) as client,
        pytest.raises(GatewayFailed, match="Unable to load requested file /v2/sessions"),
    ):
        sql_job(client).check_program()


def test_html_from_the_gateway(gateway: FakeGateway, sql_client: FlinkClient) -> None:
    gateway.script("POST", "/v2/sessions", Answer(200, b"<html>Sign in</html>"))
    with pytest.raises(FlinkAnswerInvalid, match="HTML"):
        sql_job(sql_client).check_program()


def test_a_lost_answer_to_the_insert_is_not_sent_again(gateway: FakeGateway, sql_client: FlinkClient) -> None:
    deployment = sql_job(sql_client)
    deployment.check_program()
    count = gateway.count("POST", ".*/statements")
    gateway.script("POST", ".*/statements", Answer(drop=True))
    with pytest.raises(FlinkUnreachable):
        deployment.launch(StartRequest(new_id(), None))
    assert gateway.count("POST", ".*/statements") == count + 1


def test_a_statement_without_end_is_given_up(gateway: FakeGateway) -> None:
    gateway.not_ready = 1_000_000
    session = GatewayClient(FlinkEndpoint(gateway.url)).open({})
    with pytest.raises(WaitTimeout, match=r"no complete result within 0\.3 s"):
        session.execute("SELECT 1", timeout=0.3)


def test_rows_of_a_query(gateway: FakeGateway) -> None:
    gateway.rows = [[1, "a"], [2, None]]
    with GatewayClient(FlinkEndpoint(gateway.url)).open({"a": "b"}) as session:
        assert session.execute("SELECT 1") == [[1, "a"], [2, None]]
    assert gateway.sessions == {}


def test_close_ends_the_session_and_never_fails(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    deployment = sql_job(sql_client)
    deployment.close()
    deployment.check_program()
    deployment.close()
    assert gateway.sessions == {}
    deployment.close()
    deployment.check_program()
    gateway.script("DELETE", ".*", Answer(503, b""))
    deployment.close()
    job_id = new_id()
    deployment.launch(StartRequest(job_id, None))
    deployment.close()
    assert flink.jobs[job_id].state == "RUNNING"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("CREATE TABLE t (a INT);", "Script of job 'orders': .*exactly one INSERT"),
        (f"{INSERT}; {INSERT};", "exactly one INSERT"),
        (f"SET 'pipeline.name' = 'other';\n{INSERT}", r"pipeline\.name to 'other'"),
        (f"SET 'execution.savepoint.path' = '/sp/old';\n{INSERT}", "decided at each launch"),
    ],
)
def test_a_script_that_cannot_be_launched_sends_nothing(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient, script: str, says: str
) -> None:
    with pytest.raises(InvalidValue, match=says):
        sql_job(sql_client, script)
    assert flink.requests == gateway.requests == []


def test_a_path_is_not_taken_for_a_script(sql_client: FlinkClient) -> None:
    with pytest.raises(InvalidValue, match=r"'jobs/orders\.sql' of job 'orders' was not read"):
        sql_job(sql_client, "jobs/orders.sql")


def test_without_a_gateway_url_the_message_says_what_to_set(client: FlinkClient) -> None:
    with pytest.raises(InvalidValue, match="sql_gateway_url"):
        sql_job(client)


def test_credentials_stay_away_from_a_gateway_on_another_origin(
    flink: FakeFlink, gateway: FakeGateway
) -> None:
    endpoint = FlinkEndpoint(
        flink.url, auth=("me", "hunter2"), headers={"X-Key": "hunter2"}, gateway_url=gateway.url
    )
    with FlinkClient(endpoint) as client:
        sql_job(client).check_program()
    sent = [value for request in gateway.requests for value in request.headers.values()]
    assert sent
    assert "authorization" not in gateway.requests[0].headers
    assert "hunter2" not in sent


def test_a_failed_statement_is_named_without_its_secrets(
    gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    gateway.failing["ADD JAR"] = "java.io.IOException: https://me:hunter2@repo/x.jar?sig=hunter2 is gone"
    script = "ADD JAR 'https://me:hunter2@repo/x.jar';" + SCRIPT
    with pytest.raises(GatewayFailed, match="Statement 1") as caught:
        sql_job(sql_client, script).check_program()
    assert "https://repo/x.jar" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_gateways_reason_is_shown_although_flink_is_gone(
    flink: FakeFlink, gateway: FakeGateway, sql_client: FlinkClient
) -> None:
    gateway.failing["INSERT"] = "a.B: no route to the JobManager"
    flink.script("GET", ".*/exceptions", Answer(503, {"errors": ["leader election"]}), repeat_last=True)
    with pytest.raises(JobFailed, match="no route to the JobManager"):
        sql_job(sql_client).launch(StartRequest(new_id(), None))


def test_a_session_handle_stays_out_of_messages(gateway: FakeGateway, sql_client: FlinkClient) -> None:
    deployment = sql_job(sql_client)
    deployment.check_program()
    gateway.script("POST", ".*/statements", Answer(drop=True))
    with pytest.raises(FlinkUnreachable) as caught:
        deployment.launch(StartRequest(new_id(), None))
    (handle,) = gateway.sessions
    assert handle not in str(caught.value)
