"""What the operators share: folders, the run's facts in XCom, and what is worth an Airflow retry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import (
    BaseOperator,
    ExceptionRetryPolicy,
    ObjectStoragePath,
    RetryAction,
    RetryDecision,
    RetryRule,
    conf,
)

from reverse_etl.errors import ConfigurationError
from reverse_etl.redaction import KeyHasher
from reverse_etl.sync import Sync

if TYPE_CHECKING:
    from airflow.sdk import Context

RUN_FACTS = "run"
"""XCom key of the extract task: day, window, rows read, seconds."""

DELIVERY = "delivery"
"""XCom key of a deliver task, pushed whether it succeeds or fails."""

RESULT = "result"
"""XCom key of the report task, pushed whether it succeeds or fails."""

NOT_DONE = ["failed", "upstream_failed"]
"""States of tasks that failed or were not begun because of it."""

AS_THE_SYNC_SAYS = "as the sync says"

LONGEST_WAIT = timedelta(days=1)


class DeliveryRetryPolicy(ExceptionRetryPolicy):
    """Retries by the type of the error, after the time the platform asked for where it named one."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Return whether and when to try again."""
        decision = super().evaluate(exception, try_number, max_tries, context)
        seconds = getattr(exception, "retry_after", None)
        if decision.action is not RetryAction.RETRY or not seconds:
            return decision
        wait = min(timedelta(seconds=seconds), LONGEST_WAIT)
        return RetryDecision.retry(delay=wait, reason="the platform asked to wait that long")


RETRY_POLICY = DeliveryRetryPolicy(
    rules=[
        RetryRule(
            exception=[
                "reverse_etl.errors.SourceUnavailable",
                "reverse_etl.errors.StagingError",
                "reverse_etl.errors.LedgerUnavailable",
                "reverse_etl.errors.RowsFailed",
                "reverse_etl.errors.CallFailed",
                "reverse_etl.errors.DestinationUnavailable",
            ],
            action=RetryAction.RETRY,
            reason="the same work may succeed later",
        ),
        RetryRule(
            exception=["reverse_etl.errors.ReverseEtlError", "airflow.sdk.exceptions.AirflowNotFoundException"],
            action=RetryAction.FAIL,
            reason="another try would end the same",
        ),
    ]
)


class SyncOperator(BaseOperator):
    """Base of the operators: one task of one sync, retried only when that may help."""

    def __init__(self, *, sync: Sync, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", RETRY_POLICY)
        super().__init__(**kwargs)
        self.sync = sync


@dataclass(frozen=True, slots=True)
class RunParams:
    """The params of the run, as `sync_params()` declares them."""

    date: str | None
    window_days: int
    row_limit: int | None
    dry_run: bool
    send: str
    batch_rows: int

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> RunParams:
        """Read them from Airflow's context; raise ConfigurationError when the DAG does not declare them."""
        params = context["params"]
        missing = [name for name in cls.__slots__ if name not in params]
        if missing:
            raise ConfigurationError(
                f"the DAG declares no param {', '.join(missing)}; write DAG(..., params=sync_params())"
            )
        refuse_unknown_params(context)
        return cls(**{name: params[name] for name in cls.__slots__})

    def sends(self, sync: Sync) -> str:
        """Return what the run sends: `all` calls or those that `changed`."""
        return sync.send if self.send == AS_THE_SYNC_SAYS else self.send


def refuse_unknown_params(context: Mapping[str, Any]) -> None:
    """Raise ConfigurationError when the run was given a param the DAG does not declare, such as a misspelt one."""
    unknown = sorted(set(context["dag_run"].conf or {}) - set(context["dag"].params))
    if unknown:
        raise ConfigurationError(
            f"the run was given {', '.join(unknown)}, which the DAG does not know; "
            f"it takes {', '.join(sorted(context['dag'].params))}"
        )


def pulled(ti: Any, task_id: str, key: str) -> Any:
    """Return what a task of the run pushed; raise ConfigurationError when it pushed nothing."""
    value = ti.xcom_pull(task_ids=task_id, key=key)
    if value is None:
        raise ConfigurationError(
            f"the task {task_id!r} pushed no {key!r}; if the extract task has another id, name it in extract_task_id"
        )
    return value


def failures_of(ti: Any, *task_ids: str) -> list[str]:
    """Return a problem for each of these tasks of the run that failed, wholly or in part."""
    problems = []
    for task_id in task_ids:
        count = ti.get_ti_count(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[task_id], states=NOT_DONE)
        if count:
            problems.append(f"{count} {task_id} task(s) failed; their logs say why")
    return problems


def staging_folder(sync: Sync, context: Mapping[str, Any]) -> ObjectStoragePath:
    """Return the folder of the run's batches and row results of a sync; a retry finds the same one."""
    dag_run = context["dag_run"]
    return run_folder(dag_run.dag_id, dag_run.run_id, sync.name)


def run_folder(dag_id: str, run_id: str, sync: str) -> ObjectStoragePath:
    """Return the staging folder of a run's rows of a sync."""
    digest = hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", run_id)[:80]
    folder: ObjectStoragePath = configured_folder("staging") / dag_id / f"{readable}-{digest}" / sync
    return folder


def output_file(sync: Sync, name: str, stamp: str, suffix: str, params: RunParams) -> ObjectStoragePath:
    """Return the path of one of the run's result files; those of dry runs and trials have their own names."""
    mark = "_dry_run" if params.dry_run else "_trial" if params.row_limit else ""
    path: ObjectStoragePath = configured_folder("output") / sync.name / f"{name}_{stamp}{mark}.{suffix}"
    return path


def hash_key() -> KeyHasher:
    """Return the configured hash for row keys."""
    secret = conf.get("reverse_etl", "hash_key", fallback=None)
    if not secret:
        raise ConfigurationError(
            "no hash key is configured; "
            "set AIRFLOW__REVERSE_ETL__HASH_KEY to a random text of 32 characters and keep it"
        )
    return KeyHasher(secret)


def configured_folder(name: Literal["staging", "output"]) -> ObjectStoragePath:
    """Return the folder of that name from Airflow's configuration; raise ConfigurationError when there is none."""
    configured = conf.get("reverse_etl", f"{name}_path", fallback=None)
    if not configured:
        raise ConfigurationError(
            f"no {name} folder is configured; set AIRFLOW__REVERSE_ETL__{name.upper()}_PATH, "
            f"for instance to file:///data/reverse_etl/{name}"
        )
    return ObjectStoragePath(configured)
