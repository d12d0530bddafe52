"""How a ``job`` argument is rendered, and how other arguments refuse what a template left behind.

Airflow renders nested objects in place, which fails on frozen values and leaks between tasks that share one. So a
:class:`FlinkJob` is wrapped in an object whose ``resolve`` returns a rendered *copy*. A dict (from XCom or a file)
is rendered by Airflow once and never again here: a second pass would evaluate other people's templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import FlinkJob, SqlDeployment
from airflow_flink_iceberg.model.values import Value, require_text

if TYPE_CHECKING:
    from airflow.sdk import Context

_Value = TypeVar("_Value", bound=Value)


class JobTemplate:
    """A job whose strings may hold templates; ``resolve`` is what Airflow's templater looks for."""

    def __init__(self, job: FlinkJob) -> None:
        self.job = job

    def __repr__(self) -> str:
        return repr(self.job)

    def resolve(self, context: Context) -> FlinkJob:
        """Return a rendered copy; the original, which other tasks may share, stays as it is."""
        environment = _text_environment(context["task"])
        rendered: Any = _rendered(self.job.to_dict(), context, environment)
        return FlinkJob.from_dict(rendered)


def job_argument(job: Any) -> Any:
    """What an operator keeps of its ``job`` argument until it is rendered."""
    return JobTemplate(job) if isinstance(job, FlinkJob) else job


def rendered_job(job: Any) -> FlinkJob:
    """The job after rendering: a value, its dict, or its JSON.

    :raises InvalidValue: anything else, such as what an empty template leaves behind.
    """
    if isinstance(job, JobTemplate):
        return job.job
    return value_argument("job", job, FlinkJob)


def value_argument(name: str, given: Any, *kinds: type[_Value]) -> _Value:
    """A value of one of the kinds, given as such, as its dict form, or as the JSON of it.

    A dict that does not name its kind is taken for the last one.

    :raises InvalidValue: anything else; its text stays out of the message, because a job may hold passwords.
    """
    if isinstance(given, kinds):
        return given
    expected = " or ".join(kind.KIND for kind in kinds)
    if isinstance(given, str):
        try:
            given = json.loads(require_text(name, given))
        except json.JSONDecodeError:
            raise InvalidValue(f"{name} is a string that is no JSON of a {expected}.") from None
    if not isinstance(given, Mapping):
        raise InvalidValue(
            f"{name} has to be a {expected}, its dict or its JSON, not {type(given).__name__}."
        )
    fitting = (kind for kind in kinds if given.get("kind") == kind.KIND)
    return next(fitting, kinds[-1]).from_dict(given)


def given_names(**arguments: Any) -> frozenset[str]:
    """Which optional arguments the DAG's author has given, asked before anything is rendered."""
    return frozenset(name for name, given in arguments.items() if given is not None)


def require_rendered(task: Any, given: frozenset[str]) -> None:
    """Refuse arguments that were given and are None now: an upstream task has returned nothing.

    :raises InvalidValue: names the argument; taken as "not given" it would ask for less than was meant.
    """
    for name in sorted(given):
        if getattr(task, name) is None:
            raise InvalidValue(
                f"{name} was given and is None after rendering: the task that it comes from has returned nothing. "
                f"Look at that task, or leave {name} out."
            )


def script_text(job: FlinkJob, task: Any, context: Context) -> str | None:
    """The text of a SQL job's script file, from the DAG's template search path and rendered like any template."""
    deployment = job.deployment
    if not isinstance(deployment, SqlDeployment):
        return None
    if not deployment.script.endswith(".sql") or "\n" in deployment.script:
        return deployment.script
    from jinja2 import TemplateNotFound

    environment = _text_environment(task)
    try:
        template = environment.get_template(deployment.script)
    except TemplateNotFound as error:
        raise InvalidValue(
            f"The script {deployment.script!r} of job {job.name!r} is not in the DAG's template search path."
        ) from error
    return str(template.render(context))


def _text_environment(task: Any) -> Any:
    """The DAG's environment, without the native mode that would turn the text ``"7"`` into a number."""
    dag = task.get_dag()
    return dag.get_template_env(force_sandboxed=True) if dag else task.get_template_env()


def _rendered(value: Any, context: Context, environment: Any) -> Any:
    """Render the strings of a dict form; the operator's own method follows the DAG's native mode."""
    if isinstance(value, str):
        return environment.from_string(value).render(context)
    if isinstance(value, list):
        return [_rendered(item, context, environment) for item in value]
    if isinstance(value, dict):
        return {key: _rendered(item, context, environment) for key, item in value.items()}
    return value
