from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import pytest

from reverse_etl.delivery.breaker import FAILED_BEFORE_FIRST_ANSWER, FAILED_IN_A_ROW
from reverse_etl.delivery.destination import Call, RenderedRow, Tell, Verdict
from reverse_etl.delivery.engine import PACKS_AHEAD
from reverse_etl.delivery.outcomes import Outcome, add_up
from reverse_etl.errors import (
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    ConnectionFailed,
    DestinationError,
    DestinationUnavailable,
    StagingError,
    Throttled,
    UserNotFound,
    UserSuppressed,
)
from tests.delivery.platform import HASH, Platform, Run, rows


async def test_a_refused_account_stops_the_run_and_every_row_still_has_an_outcome() -> None:
    run = Run(Platform(lambda call, row_id: AuthenticationRefused("no", status=401) if row_id == 3 else None))
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows(500))
    assert add_up(500, run.engine.totals.as_dict())
    assert len({result.key for result in run.results}) == 500
    assert run.counts["failed"] >= 480
    assert run.by_id(499).code == "not_sent"


async def test_a_wrong_key_costs_one_request() -> None:
    run = Run(Platform(lambda call, row_id: AuthenticationRefused("no", status=401), in_flight=100))
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows(500))
    assert run.platform.sent == [("update", 0)]


async def test_a_host_that_never_answers_stops_the_batch_after_three_rows() -> None:
    run = Run(Platform(lambda call, row_id: ConnectionFailed("no", code="timeout"), in_flight=100))
    with pytest.raises(DestinationUnavailable, match="3 requests in a row failed"):
        await run.deliver(rows(500))
    assert len(run.platform.sent) == FAILED_BEFORE_FIRST_ANSWER
    assert add_up(500, run.engine.totals.as_dict())


async def test_a_platform_that_goes_down_later_stops_the_batch() -> None:
    run = Run(Platform(lambda call, row_id: CallFailed("no", status=503) if row_id >= 100 else None))
    with pytest.raises(DestinationUnavailable) as caught:
        await run.deliver(rows(1000))
    assert caught.value.retryable
    assert run.counts["delivered"] == 100
    assert FAILED_IN_A_ROW <= len(run.platform.sent) - 200 <= FAILED_IN_A_ROW + 10
    assert add_up(1000, run.engine.totals.as_dict())


async def test_failures_with_successes_between_them_stop_nothing() -> None:
    run = await Run(Platform(lambda call, row_id: CallFailed("no", status=503) if row_id % 2 else None)).deliver(
        rows(1000)
    )
    assert run.counts == {"delivered": 500, "failed": 500}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CallRejected("no", status=400, code="BadParams"), Outcome.REJECTED),
        (UserSuppressed("no", status=409, code="ForgottenUserError"), Outcome.SUPPRESSED),
        (CallFailed("no", status=503, code="http_503"), Outcome.FAILED),
    ],
)
@pytest.mark.parametrize(("failing_call", "partial"), [("update", False), ("event", True)])
async def test_one_rows_refusal_never_stops_the_others(
    error: DestinationError, outcome: Outcome, failing_call: str, partial: bool
) -> None:
    platform = Platform(lambda call, row_id: error if (call, row_id) == (failing_call, 5) else None)
    run = await Run(platform).deliver(rows(20))
    assert run.counts == {"delivered": 19, outcome.value: 1}
    result = run.by_id(5)
    assert (result.outcome, result.code, result.is_partial) == (outcome, error.code, partial)
    assert result.calls[-1].status == error.status


async def test_an_event_is_not_sent_for_a_user_who_was_not_updated() -> None:
    run = await Run(Platform(lambda call, row_id: CallRejected("no") if call == "update" else None)).deliver(rows(3))
    assert {call for call, _ in run.platform.sent} == {"update"}


async def test_an_invalid_row_sends_nothing_and_stops_nothing() -> None:
    source = [*rows(3), {"id": 3, "person": "p3", "invalid": True}, {"id": None, "person": "p4"}]
    run = await Run(Platform()).deliver(source)
    assert run.counts == {"delivered": 3, "invalid": 2}
    assert {result.code for result in run.results if result.outcome is Outcome.INVALID} == {
        "email_malformed",
        "key_missing",
    }
    assert len(run.platform.sent) == 6


async def test_no_rows_are_no_calls() -> None:
    run = await Run(Platform()).deliver([])
    assert (run.counts, run.platform.sent) == ({}, [])


async def test_many_rows_are_in_flight_and_never_more_than_allowed() -> None:
    run = await Run(Platform(pause=0.002, in_flight=25)).deliver(rows(200))
    assert run.platform.most_under_way == 25
    assert run.counts == {"delivered": 200}


async def test_rows_of_one_person_go_one_after_the_other_in_their_order() -> None:
    source = [{"id": number, "person": f"p{number % 3}"} for number in range(60)]
    run = await Run(Platform(pause=0.001)).deliver(source)
    assert set(run.platform.most_per_person.values()) == {1}
    for person in range(3):
        mine = [row_id for call, row_id in run.platform.sent if call == "event" and row_id % 3 == person]
        assert mine == sorted(mine)


async def test_a_rows_calls_keep_their_order() -> None:
    run = await Run(Platform(pause=0.001)).deliver(rows(50))
    for number in range(50):
        assert [call for call, row_id in run.platform.sent if row_id == number] == ["update", "event"]


async def test_a_batch_that_cannot_be_read_further_raises_its_own_error() -> None:
    def broken() -> Iterable[Mapping[str, object]]:
        yield from rows(5)
        raise StagingError("the batch is damaged")

    with pytest.raises(StagingError, match="damaged"):
        await Run(Platform()).deliver(broken())


async def test_rows_are_read_only_as_fast_as_they_are_sent() -> None:
    read = 0

    def counting() -> Iterable[Mapping[str, object]]:
        nonlocal read
        for row in rows(5_000):
            read += 1
            yield row

    platform = Platform()
    furthest = 0

    def watch(call: str, row_id: int) -> None:
        nonlocal furthest
        furthest = max(furthest, read - len(platform.sent) // 2)

    platform.judge = watch
    await Run(platform).deliver(counting())
    assert furthest <= platform.requests_in_flight * PACKS_AHEAD + 1


# --- Packs -----------------------------------------------------------------------------------------------------


async def test_calls_go_in_full_packs_and_the_rest_in_one_more() -> None:
    run = await Run(Platform(pack=100)).deliver(rows(250))
    assert sorted((request[0][0], len(request)) for request in run.platform.requests) == [
        ("event", 50),
        ("event", 100),
        ("event", 100),
        ("update", 50),
        ("update", 100),
        ("update", 100),
    ]
    assert run.counts == {"delivered": 250}


async def test_a_pack_never_has_more_bytes_than_allowed() -> None:
    run = await Run(Platform(pack=1000)).deliver(rows(250))
    assert max(len(request) for request in run.platform.requests if request[0][0] == "update") == 100


async def test_a_pack_never_holds_a_person_twice() -> None:
    source = [{"id": number, "person": f"p{number % 7}"} for number in range(70)]
    run = await Run(Platform(pack=50, pause=0.001)).deliver(source)
    assert set(run.platform.most_per_person.values()) == {1}
    assert run.counts == {"delivered": 70}
    for person in range(7):
        mine = [row_id for call, row_id in run.platform.sent if call == "event" and row_id % 7 == person]
        assert mine == sorted(mine)


async def test_only_refused_rows_of_a_pack_are_refused() -> None:
    platform = Platform(lambda call, row_id: CallRejected("no", code="x") if row_id in (7, 42) else None, pack=100)
    run = await Run(platform).deliver(rows(100))
    assert run.counts == {"delivered": 98, "rejected": 2}
    assert ("event", 7) not in platform.sent


async def test_a_wrong_key_costs_one_request_also_in_packs() -> None:
    run = Run(Platform(lambda call, row_id: AuthenticationRefused("no", status=401), pack=100))
    with pytest.raises(AuthenticationRefused):
        await run.deliver(rows(1000))
    assert len(run.platform.requests) == 1
    assert run.counts == {"failed": 1000}


async def test_a_bug_in_sending_ends_the_delivery_with_that_bug() -> None:
    class Broken(Platform):
        async def send(self, calls: Sequence[Call], tell: Tell) -> Sequence[Verdict]:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Run(Broken()).deliver(rows(10))


# --- Under way -------------------------------------------------------------------------------------------------


async def test_an_endpoint_that_is_down_is_noticed_although_another_one_works() -> None:
    run = Run(Platform(lambda call, row_id: CallFailed("no", status=503) if call == "event" else None))
    with pytest.raises(DestinationUnavailable):
        await run.deliver(rows(1000))
    assert len([call for call, _ in run.platform.sent if call == "event"]) <= FAILED_IN_A_ROW + 10
    assert add_up(1000, run.engine.totals.as_dict())


async def test_people_the_platform_does_not_know_stop_nothing() -> None:
    unknown = UserNotFound("who", status=400, code="UnknownEmailError")
    run = await Run(Platform(lambda call, row_id: unknown if row_id < 200 else None)).deliver(rows(250))
    assert run.counts == {"delivered": 50, "rejected": 200}


async def test_a_platform_that_asks_for_a_very_long_wait_stops_the_batch() -> None:
    throttled = Throttled("later", status=429, code="RateLimitExceeded")
    run = Run(Platform(lambda call, row_id: throttled if row_id == 5 else None))
    with pytest.raises(DestinationUnavailable, match="longer wait"):
        await run.deliver(rows(500))
    assert add_up(500, run.engine.totals.as_dict())


async def test_rows_that_share_any_identifier_wait_for_each_other() -> None:
    class TwoIdentifiers(Platform):
        def render(self, row: Mapping[str, object]) -> RenderedRow:
            rendered = super().render(row)
            shared = ("email:ada",) if row["id"] in (0, 2) else ("id:7",) if row["id"] == 3 else ("email:ada", "id:7")
            return RenderedRow(shared, rendered.calls)

    platform = TwoIdentifiers(pause=0.001)
    await Run(platform).deliver([{"id": number, "person": "ada"} for number in range(4)])
    assert platform.most_per_person["ada"] <= 2  # rows 2 and 3 share nothing
    order = [row_id for call, row_id in platform.sent if call == "event"]
    assert order[:2] == [0, 1]


async def test_many_rows_of_few_people_do_not_hold_up_the_others() -> None:
    source = [{"id": number, "person": "busy" if number < 30 else f"p{number}"} for number in range(60)]
    platform = Platform(pause=0.001, in_flight=20)
    await Run(platform).deliver(source)
    last_of_the_others = max(place for place, (_, row_id) in enumerate(platform.sent) if row_id >= 30)
    assert last_of_the_others < len(platform.sent) - 10


async def test_many_invalid_rows_do_not_hold_up_the_event_loop() -> None:
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    run = await Run(Platform()).deliver(rows(20_000, invalid=True))
    ticking.cancel()
    assert run.counts == {"invalid": 20_000}
    assert turns >= 20


async def test_a_delivery_cut_short_from_outside_leaves_a_result_for_every_row() -> None:
    platform = Platform(pause=0.01, in_flight=5)
    run = Run(platform)
    source = iter(rows(2_000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run.engine.deliver(source, platform), timeout=0.5)
    run.engine.abandon(source)
    assert add_up(2_000, run.engine.totals.as_dict())
    assert {result.code for result in run.results} == {"delivered", "interrupted", "not_sent"}


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_rows_of_a_person_whose_earlier_row_failed_wait_for_its_retry(pause: float) -> None:
    platform = Platform(lambda call, row_id: CallFailed("no", status=500) if row_id == 0 else None, pause=pause)
    source = [{"id": number, "person": "ada" if number < 3_000 else "bob"} for number in (0, 1, 2, 4_000)]
    run = await Run(platform).deliver(source)
    assert {row_id for _, row_id in platform.sent} == {0, 4_000}
    assert [run.by_id(row_id).code for row_id in (1, 2)] == ["earlier_row_failed"] * 2
    assert run.counts == {"delivered": 1, "failed": 3}


async def test_thousands_of_rows_of_a_person_whose_first_row_failed_are_held_back() -> None:
    platform = Platform(lambda call, row_id: CallFailed("no", status=500), pack=5_000, pause=0.01)
    run = await Run(platform).deliver([{"id": number, "person": "ada"} for number in range(3_000)])
    assert run.counts == {"failed": 3_000}
    assert platform.sent == [("update", 0)]


async def test_kinds_of_one_lane_share_requests_and_a_row_still_goes_step_by_step() -> None:
    refused = ("update", 3)  # leaves a gap, so that packs of updates do not come back as packs of events

    def judge(*call: object) -> CallRejected | None:
        return CallRejected("no") if call == refused else None

    platform = Platform(judge, pack=10, in_flight=2, lane="all")
    run = await Run(platform).deliver(rows(200))
    assert run.counts == {"delivered": 199, "rejected": 1}
    mixed = [{kind for kind, _ in request} for request in platform.requests]
    assert {"update", "event"} in mixed
    assert all(
        platform.sent.index(("update", row)) < platform.sent.index(("event", row)) for row in range(200) if row != 3
    )
    assert [call.call for call in run.by_id(0).calls] == ["update", "event"]


async def test_a_lane_gives_each_kind_the_results_of_its_own_calls() -> None:
    platform = Platform(pack=10, lane="all", judge=lambda kind, row: CallRejected("no") if kind == "event" else None)
    run = await Run(platform).deliver(rows(50))
    assert run.counts == {"rejected": 50}
    assert {call.call for result in run.results for call in result.calls} == {"update", "event"}


async def test_rows_that_are_withheld_end_suppressed_and_nothing_of_them_is_rendered() -> None:
    rendered = []

    class Watched(Platform):
        def render(self, row: Mapping[str, object]) -> RenderedRow:
            rendered.append(row["id"])
            return super().render(row)

    withheld = {HASH((1,)), HASH((3,))}
    run = await Run(Watched(), withheld=withheld).deliver([*rows(3), {"id": 3, "invalid": True}])
    assert run.counts == {"delivered": 2, "suppressed": 2}
    assert run.by_id(3).code == "no_consent"
    assert rendered == [0, 2]


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_a_row_held_back_holds_back_the_rows_that_share_its_other_identifier(pause: float) -> None:
    """Row 1 is of the same person as row 0 and as row 2, which have no identifier in common."""

    class TwoNames(Platform):
        def render(self, row: Mapping[str, object]) -> RenderedRow:
            return super().render(row)._replace(identifiers=tuple(str(row["person"]).split()))

    platform = TwoNames(lambda call, row_id: CallFailed("no", status=500) if row_id == 0 else None, pause=pause)
    people = {0: "email:a", 300: "email:a userId:u", 301: "userId:u", 302: "userId:other"}
    filler = {number: f"userId:{number}" for number in range(1, 300)}
    source = [{"id": number, "person": person} for number, person in sorted({**people, **filler}.items())]
    run = await Run(platform).deliver(source)
    assert [run.by_id(row_id).code for row_id in (300, 301)] == ["earlier_row_failed"] * 2
    assert run.by_id(302).code == "delivered"
