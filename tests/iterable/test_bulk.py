"""Bulk requests against the sandbox: every row has its true verdict, and a bad row costs only itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from reverse_etl.delivery.destination import Call, Verdict
from reverse_etl.delivery.outcomes import Receipt
from reverse_etl.delivery.retry import RetryPolicy, Sleep
from reverse_etl.errors import AuthenticationRefused, InvalidRow
from reverse_etl.iterable.bulk import BulkSender
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import EventTrack, IterableDestination, UserUpdate
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.iterable.limits import BULK_BODY_BYTES, LARGEST_CALL_BYTES, Endpoint, Limit
from reverse_etl.iterable.payloads import EVENT_TRACK, USER_UPDATE, RowRenderer
from reverse_etl.mapping import Field
from reverse_etl.sandbox.testing import JWT_KEY, SERVER_KEY, SandboxServer

UPDATE, BULK_UPDATE = "POST /api/users/update", "POST /api/users/bulkUpdate"
TRACK, BULK_TRACK = "POST /api/events/track", "POST /api/events/trackBulk"

NO_LIMITS = {endpoint: Limit(per_second=10_000) for endpoint in Endpoint}


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


def update(number: int, **fields: Any) -> Call:
    email = f"p{number}@example.com"
    body = {"email": email, "dataFields": {"plan": "pro", **fields}}
    return Call(USER_UPDATE, orjson.dumps(body), {"email": email})


def event(number: int, name: str = "page_view", **changes: Any) -> Call:
    email = f"p{number}@example.com"
    body = {"email": email, "eventName": name, "id": f"view-{number}", "createdAt": 1768293015, **changes}
    return Call(EVENT_TRACK, orjson.dumps(body), {"email": email}, name)


async def send(sandbox: SandboxServer, *packs: list[Call], key: str = SERVER_KEY, **settings: Any) -> list[Verdict]:
    connection = IterableConnection(api_key=key, host=sandbox.url, **settings)
    async with IterableClient(connection, retry=RetryPolicy(sleep=no_wait), limits=NO_LIMITS) as client:
        sender = BulkSender(client, sleep=no_wait)
        return [verdict for pack in packs for verdict in await sender.send(pack)]


def codes(verdicts: list[Verdict]) -> Counter[str]:
    return Counter("delivered" if isinstance(verdict, Receipt) else verdict.code for verdict in verdicts)


def requests(sandbox: SandboxServer, endpoint: str) -> int:
    return sum(sandbox.stats()["requests"].get(endpoint, {}).values())


@pytest.fixture(autouse=True)
def no_limits(sandbox: SandboxServer) -> None:
    sandbox.settings(limits="off")


async def test_a_key_that_may_not_write_in_bulk_is_refused(sandbox: SandboxServer) -> None:
    with pytest.raises(AuthenticationRefused):
        await send(sandbox, [update(1)], key=JWT_KEY)
    assert sandbox.users() == []


async def test_a_thousand_rows_are_one_request_each_way(sandbox: SandboxServer) -> None:
    numbers = range(1000)
    verdicts = await send(sandbox, [update(n) for n in numbers], [event(n) for n in numbers])
    assert codes(verdicts) == {"delivered": 2000}
    assert (requests(sandbox, BULK_UPDATE), requests(sandbox, BULK_TRACK)) == (1, 1)
    assert (len(sandbox.users()), len(sandbox.events())) == (1000, 1000)


async def test_the_two_rows_that_break_a_thousand_cost_two_rows(sandbox: SandboxServer) -> None:
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"age": 5}})
    pack = [update(n, age="old" if n in (123, 877) else n) for n in range(1000)]
    verdicts = await send(sandbox, pack)
    assert codes(verdicts) == {"delivered": 998, "RequestFieldsTypesMismatched": 2}
    assert not isinstance(verdicts[123], Receipt)
    assert not isinstance(verdicts[877], Receipt)
    assert requests(sandbox, BULK_UPDATE) <= 2 * 2 * 10
    assert requests(sandbox, UPDATE) == 1
    assert len(sandbox.users()) == 999


async def test_half_a_pack_of_bad_rows_does_not_cost_a_request_per_row_at_the_slow_endpoint(
    sandbox: SandboxServer,
) -> None:
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"age": 5}})
    verdicts = await send(sandbox, [update(n, age="old" if n % 2 else n) for n in range(400)])
    assert codes(verdicts) == {"delivered": 200, "RequestFieldsTypesMismatched": 200}
    assert requests(sandbox, BULK_UPDATE) < 80


async def test_rows_of_a_bad_form_are_named_by_the_answer_and_cost_one_request_more(sandbox: SandboxServer) -> None:
    pack = [event(n, createdAt="soon") if n in (3, 700) else event(n) for n in range(1000)]
    verdicts = await send(sandbox, [update(n) for n in range(1000)], pack)
    assert codes(verdicts) == {"delivered": 1998, "BadJsonBody": 2}
    assert requests(sandbox, BULK_TRACK) <= 3


async def test_a_request_too_large_for_the_platform_is_divided(sandbox: SandboxServer) -> None:
    sandbox.settings(max_body_bytes=20_000)
    verdicts = await send(sandbox, [update(n, note="x" * 100) for n in range(1000)])
    assert codes(verdicts) == {"delivered": 1000}
    assert len(sandbox.users()) == 1000


async def test_refused_rows_are_matched_whatever_the_case(sandbox: SandboxServer) -> None:
    shouting = Call(USER_UPDATE, b'{"email":"NO@X","dataFields":{}}', {"email": "NO@X"})
    verdicts = await send(sandbox, [update(1), shouting, update(2)])
    assert [isinstance(verdict, Receipt) for verdict in verdicts] == [True, False, True]


async def test_forgotten_people_are_suppressed(sandbox: SandboxServer) -> None:
    sandbox.post("/api/users/update", {"email": "p1@example.com"})
    sandbox.post("/api/users/forget", {"email": "p1@example.com"})
    assert codes(await send(sandbox, [update(n) for n in range(3)])) == {"delivered": 2, "ForgottenUserError": 1}


@pytest.mark.parametrize("lists", ["all", "sparse", "old"])
async def test_rows_the_answer_refuses_without_naming_them_are_resent_singly(
    sandbox: SandboxServer, lists: str
) -> None:
    sandbox.settings(bulk_lists=lists)
    sandbox.faults([{"path": "*bulkUpdate", "kind": "refuse_rows", "share": 0.1, "seed": 3, "list": "unexplained"}])
    assert codes(await send(sandbox, [update(n) for n in range(100)])) == {"delivered": 100}
    assert len(sandbox.users()) == 100
    assert requests(sandbox, BULK_UPDATE) == 1


async def test_a_conflict_that_names_another_row_rejects_the_row_that_has_it(sandbox: SandboxServer) -> None:
    sandbox.settings(project_type="hybrid")
    sandbox.post("/api/users/update", {"email": "ann@example.com", "userId": "u1"})
    in_the_way = Call(USER_UPDATE, b'{"userId":"u1","dataFields":{"plan":"pro"}}', {"userId": "u1"})
    identity = {"email": "ann@example.com", "userId": "u9"}
    refused = Call(USER_UPDATE, orjson.dumps({**identity, "dataFields": {"plan": "none"}}), identity)
    verdicts = await send(sandbox, [update(1), in_the_way, refused, update(2)])
    assert [isinstance(verdict, Receipt) for verdict in verdicts] == [True, True, False, True]
    assert codes(verdicts)["ExternalKeyConflict"] == 1
    assert {user["dataFields"]["plan"] for user in sandbox.users()} == {"pro"}


async def test_events_of_users_not_visible_yet_are_sent_again(sandbox: SandboxServer) -> None:
    sandbox.settings(visibility_delay_seconds=0.6)
    connection = IterableConnection(api_key=SERVER_KEY, host=sandbox.url)
    async with IterableClient(connection) as client:
        sender = BulkSender(client)
        await sender.send([update(n) for n in range(50)])
        verdicts = await sender.send([event(n) for n in range(50)])
    assert codes(verdicts) == {"delivered": 50}
    assert len(sandbox.events()) == 50


async def test_events_of_users_who_never_appear_fail_with_the_reason(sandbox: SandboxServer) -> None:
    assert codes(await send(sandbox, [event(n) for n in range(5)])) == {"user_not_found": 5}


class Told:
    """Keeps the verdicts told early, with the requests that had been made by then; each call may be told once."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.places: dict[int, Verdict] = {}
        self.after_requests: list[int] = []

    async def __call__(self, found: Mapping[int, Verdict]) -> None:
        assert not found.keys() & self.places.keys()
        self.places |= found
        self.after_requests.append(self.sandbox.stats()["requests_total"])


async def send_and_tell(
    sandbox: SandboxServer, pack: list[Call], told: Told, sleep: Sleep = no_wait
) -> Sequence[Verdict]:
    connection = IterableConnection(api_key=SERVER_KEY, host=sandbox.url)
    async with IterableClient(connection, retry=RetryPolicy(sleep=no_wait), limits=NO_LIMITS) as client:
        return await BulkSender(client, sleep=sleep).send(pack, told)


async def test_events_that_went_through_are_told_before_the_others_are_waited_for(sandbox: SandboxServer) -> None:
    await send(sandbox, [update(n) for n in range(8)])
    told, waits = Told(sandbox), []

    async def wait(seconds: float) -> None:
        waits.append((seconds, sorted(told.places)))
        if len(waits) == 2:
            await send(sandbox, [update(8)])

    verdicts = await send_and_tell(sandbox, [event(n) for n in range(10)], told, wait)
    first = list(range(8))
    assert waits == [(1.0, first), (2.0, first), (4.0, [*first, 8]), (8.0, [*first, 8]), (15.0, [*first, 8])]
    assert codes(list(verdicts)) == {"delivered": 9, "user_not_found": 1}


async def test_a_clean_pack_has_nothing_to_tell_before_its_end(sandbox: SandboxServer) -> None:
    told = Told(sandbox)
    assert codes(list(await send_and_tell(sandbox, [update(n) for n in range(10)], told))) == {"delivered": 10}
    assert told.places == {}


async def test_the_half_of_a_divided_pack_that_went_through_is_told_before_the_other_is_sent(
    sandbox: SandboxServer,
) -> None:
    sandbox.post("/api/users/update", {"email": "early@example.com", "dataFields": {"age": 5}})
    told, before = Told(sandbox), sandbox.stats()["requests_total"]
    verdicts = await send_and_tell(sandbox, [update(n, age="old" if n == 7 else n) for n in range(8)], told)
    assert codes(list(verdicts)) == {"delivered": 7, "RequestFieldsTypesMismatched": 1}
    assert sorted(told.places) == list(range(7))
    assert [after - before for after in told.after_requests] == [2, 4, 6]  # of 7: each half is sent once


async def test_calls_that_went_through_singly_are_told_although_the_account_is_refused_for_another(
    sandbox: SandboxServer,
) -> None:
    sandbox.faults(
        [
            {"path": "*bulkUpdate", "kind": "refuse_rows", "share": 1.0, "seed": 3, "list": "unexplained"},
            {"path": "*users/update", "kind": "status", "status": 401, "match_email": "p3@example.com"},
        ]
    )
    told = Told(sandbox)
    with pytest.raises(AuthenticationRefused):
        await send_and_tell(sandbox, [update(n) for n in range(300)], told)
    stored = {user["email"] for user in sandbox.users()}
    assert {f"p{place}@example.com" for place in told.places} <= stored
    assert 3 not in told.places


async def test_a_disallowed_event_is_rejected_and_the_others_arrive(sandbox: SandboxServer) -> None:
    sandbox.settings(disallowed_event_names=["signed_up"])
    pack = [event(n, name="signed_up" if n % 2 else "page_view") for n in range(10)]
    verdicts = await send(sandbox, [update(n) for n in range(10)], pack)
    assert codes(verdicts[10:]) == {"delivered": 5, "event_disallowed": 5}


@pytest.mark.parametrize("kind", ["lost_reply", "reset", "garbage"])
async def test_a_lost_answer_stores_no_event_twice(sandbox: SandboxServer, kind: str) -> None:
    sandbox.faults([{"path": "*trackBulk", "kind": kind, "times": 1}])
    verdicts = await send(sandbox, [update(n) for n in range(20)], [event(n) for n in range(20)])
    assert codes(verdicts) == {"delivered": 40}
    assert len({found["id"] for found in sandbox.events()}) == len(sandbox.events()) == 20
    assert {verdict.tries for verdict in verdicts[20:]} == {2}


async def test_a_platform_that_stays_down_fails_every_row_of_the_pack(sandbox: SandboxServer) -> None:
    sandbox.faults([{"kind": "status", "status": 503}])
    verdicts = await send(sandbox, [update(n) for n in range(10)])
    assert codes(verdicts) == {"GenericError": 10}
    assert requests(sandbox, BULK_UPDATE) == 3


async def test_dropped_fields_are_said_once(sandbox: SandboxServer, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.settings(create_new_fields=False)
    await send(sandbox, [update(1, brand_new=1)], [update(2, brand_new=2)])
    dropped = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert len(dropped) == 1
    assert "brand_new" in dropped[0]


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
@pytest.mark.parametrize("kind", ["user", "event"])
async def test_the_largest_call_that_is_not_refused_before_sending_fits_into_a_bulk_request(
    sandbox: SandboxServer, kind: str
) -> None:
    user = UserUpdate((Field("note"),)) if kind == "user" else None
    event = EventTrack("page_view", created_at="seen_at", fields=(Field("note"),)) if kind == "event" else None
    render = RowRenderer("views", ("email",), IterableDestination(email="email", user=user, event=event))
    row = {"email": "p1@example.com", "seen_at": datetime(2026, 1, 13, tzinfo=UTC), "note": ""}
    around = len(render(row).calls[0].body)
    calls = list(render({**row, "note": "x" * (LARGEST_CALL_BYTES - around)}).calls)
    assert len(calls[0].body) == LARGEST_CALL_BYTES
    with pytest.raises(InvalidRow, match="too_large"):
        render({**row, "note": "x" * (LARGEST_CALL_BYTES - around + 1)})
    assert codes(await send(sandbox, [update(1)], calls)) == {"delivered": 2}


def test_a_full_pack_stays_below_the_documented_size() -> None:
    assert BULK_BODY_BYTES + 1000 + 64 < 4_000_000
