"""The project's DAG for Customer.io on a real database, a server of the test's own and Airflow's `dag.test`."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from tests.conftest import ROOT
from tests.customerio.platform import KEY, Workspace, workspace
from tests.operators.conftest import DAY, Finished, local, register

pytestmark = pytest.mark.integration

CONFIRMED = (200, b'{"success":true}')
"""The answer to the check, which comes before the rows."""

Shop = Callable[..., list[tuple[Any, ...]]]
Run = Callable[..., Finished]


@pytest.fixture
def there() -> Iterator[Workspace]:
    """A workspace whose server runs in a thread: `dag.test` has an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = workspace()
    yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
    asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def run(
    connections: Callable[..., None], there: Workspace, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Finished]:
    connection = {"conn_type": "customerio", "host": there.url, "password": KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps(connection))

    def run_dag(**params: object) -> Finished:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(ROOT / "dags"))
        assert bag.import_errors == {}
        dag = bag.dags["customerio_page_views"]
        for task in dag.tasks:
            task.retry_delay = timedelta(0)
        register(dag)
        return Finished(dag.test(run_conf={"date": DAY, **params}), tmp_path / "output")

    return run_dag


def test_a_day_ends_with_every_person_identified_and_then_tracked(run: Run, shop: Shop, there: Workspace) -> None:
    finished = run()
    assert finished.state == "success"
    assert finished.counts == {"read": 5, "delivered": 5}
    assert finished.tasks[("deliver", 0)].rendered_map_index == "batch 0: 5 delivered"
    assert {request.path for request in there.requests} == {"/v1/batch"}
    identified = {message["userId"]: message for message in there.messages if message["type"] == "identify"}
    names = {message["traits"]["email"]: message["traits"]["first_name"] for message in identified.values()}
    assert names == dict(shop("SELECT email, first_name FROM customers WHERE plan_type = 'pro' AND id <= 5"))
    for person in identified:
        kinds = [message["type"] for message in there.messages if message["userId"] == person]
        assert kinds == ["identify", "track"]


def test_an_event_holds_the_view_it_is_about(run: Run, shop: Shop, there: Workspace) -> None:
    run()
    ((user, page, device, stamp),) = shop(
        "SELECT user_id, page, device, DATE_FORMAT(event_time, '%Y-%m-%dT%H:%i:%s.%f') FROM page_views WHERE id = 37"
    )
    (event,) = [message for message in there.messages if message["type"] == "track" and message["userId"] == str(user)]
    assert (event["event"], event["timestamp"]) == ("page_view", f"{stamp[:-3]}Z")
    assert (event["properties"]["page"], event["properties"]["device"]) == (page, device)


def test_a_second_run_of_the_day_has_the_same_message_ids(run: Run, shop: Shop, there: Workspace) -> None:
    run()
    first = {message["messageId"] for message in there.messages}
    there.bodies.clear()
    assert run().counts == {"read": 5, "delivered": 5}
    assert {message["messageId"] for message in there.messages} == first


def test_the_export_is_that_of_the_other_dag(run: Run, run_page_views: Run, shop: Shop) -> None:
    exports = []
    for finished in (run(), run_page_views()):
        with local(finished.result["csv"]).open(encoding="utf-8", newline="") as file:
            exports.append(list(csv.DictReader(file)))
    assert exports[0] == exports[1]


def test_a_dry_run_sends_nothing(run: Run, shop: Shop, there: Workspace) -> None:
    assert run(dry_run=True).counts == {"read": 5, "planned": 5}
    assert there.requests == []


def test_only_who_changed_is_sent_when_the_run_says_so(run: Run, shop: Shop, there: Workspace) -> None:
    run()
    there.bodies.clear()
    ((email,),) = shop("SELECT email FROM customers WHERE id = 3")
    shop("UPDATE customers SET first_name = 'Grace' WHERE id = 3")
    predicted = run(send="changed", dry_run=True).result["prediction"]
    assert (predicted["rows"]["changed"], predicted["rows"]["unchanged"]) == (1, 4)
    assert predicted["requests"] == {"/v1/batch": {"requests": 1, "calls": 1, "per_second": 990.0}}
    assert there.messages == []
    assert run(send="changed").counts == {"read": 5, "delivered": 1, "unchanged": 4}
    (message,) = there.messages
    assert (message["type"], message["traits"]["email"], message["traits"]["first_name"]) == (
        "identify",
        email,
        "Grace",
    )


def test_a_bad_person_is_quarantined_and_the_others_are_delivered(run: Run, shop: Shop, there: Workspace) -> None:
    there.refuse = lambda message: message["userId"] == "3"
    finished = run()
    assert finished.state == "failed"
    assert finished.counts == {"read": 5, "delivered": 4, "rejected": 1}
    written = orjson.loads(local(finished.result["json"]).read_bytes())
    assert written["reasons"] == [{"outcome": "rejected", "code": "http_400", "rows": 1}]


def test_a_refused_key_stops_the_run_at_once(run: Run, shop: Shop, there: Workspace) -> None:
    there.replies = [CONFIRMED, *[(401, b"")] * 10]
    finished = run(batch_rows=2)
    assert finished.state == "failed"
    assert finished.counts == {"read": 5, "failed": 5}
    assert {ti.state for (task, _), ti in finished.tasks.items() if task == "deliver"} == {"failed"}


def test_a_key_refused_by_the_check_costs_one_request(run: Run, shop: Shop, there: Workspace) -> None:
    there.replies = [(401, b"")]
    finished = run()
    assert (finished.state, finished.states("check")) == ("failed", ["failed"])
    assert len(there.requests) == 1


def test_rows_a_passing_problem_held_up_are_sent_by_the_retry(run: Run, shop: Shop, there: Workspace) -> None:
    there.replies = [CONFIRMED, *[(503, b"")] * 3]
    assert run().counts == {"read": 5, "delivered": 5}


def test_the_test_button_tells_what_is_wrong(run: Run, there: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverse_etl.customerio.hook import CustomerIOHook

    assert CustomerIOHook().test_connection() == (True, "Connected: the key may send messages.")
    there.replies = [(401, b"")]
    assert CustomerIOHook().test_connection()[1].startswith("Wrong key:")
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERIO_DEFAULT", json.dumps({"conn_type": "customerio"}))
    works, words = CustomerIOHook().test_connection()
    assert (works, words) == (False, "the connection has no API key; put it in the password field")


def test_the_hook_sends_a_message_also_where_a_loop_runs_and_masks_the_key(run: Run, there: Workspace) -> None:
    from airflow.sdk.log import redact

    from reverse_etl.customerio import messages
    from reverse_etl.customerio.auth import authorization
    from reverse_etl.customerio.hook import CustomerIOHook

    async def cell() -> None:
        CustomerIOHook().send(messages.identify("ada"))
        assert CustomerIOHook().test_connection()[0]

    CustomerIOHook().send(messages.identify("ada"))
    asyncio.run(cell())
    assert [message["userId"] for message in there.messages] == ["ada", "ada"]
    credentials = authorization(KEY).removeprefix("Basic ")
    assert redact(f"{KEY} and {credentials}") == "*** and ***"
