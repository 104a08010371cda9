"""What the tasks that deliver one batch each have in common: how they are mapped, and what they tell at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reverse_etl.errors import RowsFailed
from reverse_etl.operators.base import DELIVERY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from reverse_etl.operators.batch import Delivered

LABEL = "batch_label"


def over_batches(
    operator: type[BaseOperator], batches: XComArg, *, named_by: str = "", **kwargs: Any
) -> MappedOperator:
    """Return the operator mapped over batches, each task labelled with what became of it.

    `named_by` is its argument for the id of the task that returns the batches, if it has one.
    """
    kwargs.setdefault("map_index_template", f"{{{{ {LABEL} }}}}")
    kwargs.setdefault("retry_policy", RETRY_POLICY)
    for task, _key in batches.iter_references() if named_by else ():
        kwargs.setdefault(named_by, task.task_id)
    return operator.partial(**kwargs).expand(batch=batches)


def publish(context: Any, name: str, delivered: Delivered) -> None:
    """Push what became of a batch, and label its task with that; `name` is that of the batch."""
    context["ti"].xcom_push(DELIVERY, delivered.counts.as_dict())
    context[LABEL] = f"{name}: {delivered.totals}"


def raise_unless_done(ti: Any, delivered: Delivered) -> None:
    """Raise what stopped the batch, or RowsFailed while Airflow has a try left for rows that failed.

    After the last try the report judges them.
    """
    from reverse_etl.delivery.outcomes import Outcome

    if delivered.stopped is not None:
        raise delivered.stopped
    failed = delivered.totals.outcomes[Outcome.FAILED]
    if failed and ti.try_number <= ti.max_tries:
        raise RowsFailed(
            f"{failed} of {delivered.totals.rows} rows failed ({delivered.totals.top_reasons()}); "
            "another try sends only what is missing"
        )
