"""What the operators share: folders, the run's facts in XCom, and what is worth an Airflow retry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, ExceptionRetryPolicy, ObjectStoragePath, RetryAction, RetryRule, conf

from reverse_etl.errors import ConfigurationError
from reverse_etl.redaction import KeyHasher
from reverse_etl.sync import Sync

RUN_FACTS = "run"
"""XCom key of the extract task: day, window, rows read, seconds."""

DELIVERY = "delivery"
"""XCom key of a deliver task, pushed whether it succeeds or fails."""

RESULT = "result"
"""XCom key of the report task, pushed whether it succeeds or fails."""

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[
                "reverse_etl.errors.SourceUnavailable",
                "reverse_etl.errors.StagingError",
                "reverse_etl.errors.CallFailed",
                "reverse_etl.errors.DestinationUnavailable",
            ],
            action=RetryAction.RETRY,
            reason="the same work may succeed later",
        ),
        RetryRule(
            exception="reverse_etl.errors.ReverseEtlError",
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


def staging_folder(context: Mapping[str, Any]) -> ObjectStoragePath:
    """Return the folder of the run's batches and row results; a retry finds the same one."""
    dag_run = context["dag_run"]
    digest = hashlib.blake2b(dag_run.run_id.encode(), digest_size=4).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", dag_run.run_id)[:80]
    folder: ObjectStoragePath = _configured_folder("staging") / dag_run.dag_id / f"{readable}-{digest}"
    return folder


def output_file(sync: Sync, name: str, stamp: str, suffix: str, *, dry_run: bool) -> ObjectStoragePath:
    """Return the path of one of the run's result files; those of a dry run have their own names."""
    mark = "_dry_run" if dry_run else ""
    path: ObjectStoragePath = _configured_folder("output") / sync.name / f"{name}_{stamp}{mark}.{suffix}"
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


def _configured_folder(name: str) -> ObjectStoragePath:
    configured = conf.get("reverse_etl", f"{name}_path", fallback=None)
    if not configured:
        raise ConfigurationError(
            f"no {name} folder is configured; set AIRFLOW__REVERSE_ETL__{name.upper()}_PATH, "
            f"for instance to file:///data/reverse_etl/{name}"
        )
    return ObjectStoragePath(configured)
