"""The client against a real sandbox and, for what no HTTP server would say, against raw sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reverse_etl.delivery.retry import RetryPolicy
from reverse_etl.errors import (
    AnswerUnreadable,
    AuthenticationRefused,
    CallFailed,
    CallRejected,
    ConnectionFailed,
    DestinationError,
    Throttled,
    UserSuppressed,
    WrongDestination,
)
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.connection import IterableConnection
from reverse_etl.sandbox.testing import (
    DISABLED_KEY,
    EU_KEY,
    JWT_KEY,
    JWT_SECRET,
    READONLY_KEY,
    SERVER_KEY,
    SandboxServer,
)

ADA: dict[str, Any] = {"email": "ada@example.com", "dataFields": {"plan_type": "pro"}}
VIEW: dict[str, Any] = {"email": "ada@example.com", "eventName": "page_view", "id": "v-1", "createdAt": 1768293015}


async def no_wait(seconds: float) -> None:
    """Let other tasks run, but not the clock."""
    await asyncio.sleep(0)


def client(url: str, *, key: str = SERVER_KEY, tries: int = 3, **settings: Any) -> IterableClient:
    connection = IterableConnection(api_key=key, host=url, **settings)
    return IterableClient(connection, retry=RetryPolicy(tries=tries, sleep=no_wait))


async def update(url: str, payload: dict[str, Any] = ADA, **settings: Any) -> int:
    async with client(url, **settings) as opened:
        return (await opened.update_user(payload)).tries


@pytest.mark.parametrize("key", ["no-such-key", READONLY_KEY, DISABLED_KEY, EU_KEY])
async def test_a_key_that_may_not_write_is_refused_without_retry(sandbox: SandboxServer, key: str) -> None:
    with pytest.raises(AuthenticationRefused) as caught:
        await update(sandbox.url, key=key)
    assert (caught.value.status, caught.value.code, caught.value.tries) == (401, "BadApiKey", 1)
    assert sandbox.users() == []


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_passing_problem_is_tried_again(sandbox: SandboxServer, status: int) -> None:
    sandbox.faults([{"path": "/api/users/update", "kind": "status", "status": status, "times": 2}])
    assert await update(sandbox.url) == 3
    assert len(sandbox.users()) == 1


async def test_a_lasting_problem_fails_after_three_tries(sandbox: SandboxServer) -> None:
    sandbox.faults([{"path": "/api/users/update", "kind": "status", "status": 503}])
    with pytest.raises(CallFailed) as caught:
        await update(sandbox.url)
    assert (caught.value.status, caught.value.tries) == (503, 3)


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"kind": "reset"}, ConnectionFailed, "connection_lost"),
        ({"kind": "garbage"}, AnswerUnreadable, "unreadable"),
        ({"kind": "html", "status": 200}, AnswerUnreadable, "unreadable"),
        ({"kind": "html", "status": 502}, CallFailed, "http_502"),
        ({"kind": "html", "status": 404}, WrongDestination, "http_404"),
        (
            {"kind": "status", "status": 301, "headers": {"Location": "/x"}, "body": "moved"},
            WrongDestination,
            "http_301",
        ),
        ({"kind": "status", "status": 413, "body": "too large"}, CallRejected, "http_413"),
    ],
)
async def test_what_a_broken_server_does_is_an_error_of_the_right_type(
    sandbox: SandboxServer, fault: dict[str, Any], kind: type[DestinationError], code: str
) -> None:
    sandbox.faults([{"path": "/api/users/update", **fault}])
    with pytest.raises(kind) as caught:
        await update(sandbox.url)
    assert type(caught.value) is kind
    assert caught.value.code == code


async def test_a_hanging_server_is_given_up_after_the_timeout(sandbox: SandboxServer) -> None:
    sandbox.faults([{"path": "/api/users/update", "kind": "hang"}])
    with pytest.raises(ConnectionFailed) as caught:
        await update(sandbox.url, timeout=0.1)
    assert (caught.value.code, caught.value.tries) == ("timeout", 3)


async def test_a_lost_answer_leaves_one_event_after_the_retry(sandbox: SandboxServer) -> None:
    sandbox.faults([{"path": "/api/events/track", "kind": "lost_reply", "times": 1}])
    async with client(sandbox.url) as opened:
        await opened.update_user(ADA)
        receipt = await opened.track_event(VIEW)
    assert receipt.tries == 2
    assert [event["id"] for event in sandbox.events()] == ["v-1"]
    assert sandbox.stats()["events_overwritten"] == 1


async def test_a_throttled_call_waits_and_goes_through(sandbox: SandboxServer) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "0.01"}, "times": 8}
    sandbox.faults([{"path": "/api/users/update", **fault}])
    assert await update(sandbox.url) == 9


async def test_one_throttled_call_holds_back_the_others(sandbox: SandboxServer) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "0.5"}, "times": 1}
    sandbox.faults([{"path": "/api/users/update", **fault}])
    loop = asyncio.get_running_loop()
    async with client(sandbox.url) as opened:
        started = loop.time()
        await opened.update_user(ADA)
        assert loop.time() - started >= 0.5


async def test_a_storm_of_429_without_end_fails_the_call(sandbox: SandboxServer) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "1000"}}
    sandbox.faults([{"path": "/api/users/update", **fault}])
    with pytest.raises(Throttled):
        await update(sandbox.url)


async def test_the_published_limit_causes_no_429(sandbox: SandboxServer) -> None:
    async with client(sandbox.url) as opened:
        people = [{**ADA, "email": f"p{number}@example.com"} for number in range(700)]
        await asyncio.gather(*(opened.update_user(person) for person in people))
    stats = sandbox.stats()
    assert stats["users"] == 700
    assert stats["throttled"] == 0


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"email": "not an e-mail", "dataFields": {}}, "InvalidEmailAddressError"),
        ({"dataFields": {"plan_type": "pro"}}, "BadParams"),
        ({"email": "ada@example.com", "dataFields": "text"}, "BadJsonBody"),
    ],
)
async def test_a_payload_iterable_refuses_is_rejected_with_its_code(
    sandbox: SandboxServer, payload: dict[str, Any], code: str
) -> None:
    with pytest.raises(CallRejected) as caught:
        await update(sandbox.url, payload)
    assert (caught.value.code, caught.value.tries) == (code, 1)


async def test_a_field_of_another_type_is_rejected(sandbox: SandboxServer) -> None:
    async with client(sandbox.url) as opened:
        await opened.update_user(ADA)
        with pytest.raises(CallRejected) as caught:
            await opened.update_user({"email": "bob@example.com", "dataFields": {"plan_type": 5}})
    assert caught.value.code == "RequestFieldsTypesMismatched"


async def test_a_forgotten_person_is_suppressed(sandbox: SandboxServer) -> None:
    assert await update(sandbox.url) == 1
    sandbox.post("/api/users/forget", {"email": "ada@example.com"})
    with pytest.raises(UserSuppressed):
        await update(sandbox.url)


async def test_an_event_name_the_project_disallows_is_rejected_although_the_answer_is_200(
    sandbox: SandboxServer,
) -> None:
    sandbox.settings(disallowed_event_names=["page_view"])
    async with client(sandbox.url) as opened:
        await opened.update_user(ADA)
        with pytest.raises(CallRejected) as caught:
            await opened.track_event(VIEW)
    assert (caught.value.status, caught.value.code) == (200, "event_disallowed")


async def test_an_event_of_a_user_not_visible_yet_is_tried_again(sandbox: SandboxServer) -> None:
    sandbox.settings(visibility_delay_seconds=0.3)
    connection = IterableConnection(api_key=SERVER_KEY, host=sandbox.url)
    async with IterableClient(connection, retry=RetryPolicy(first_wait=0.2)) as opened:
        await opened.update_user(ADA)
        receipt = await opened.track_event(VIEW)
    assert receipt.tries > 1


async def test_a_jwt_key_works_with_its_secret_only(sandbox: SandboxServer) -> None:
    assert await update(sandbox.url, key=JWT_KEY, jwt_secret=JWT_SECRET) == 1
    with pytest.raises(AuthenticationRefused) as caught:
        await update(sandbox.url, key=JWT_KEY, jwt_secret="another secret of more than 32 letters")
    assert caught.value.code == "InvalidJwtPayload"


async def test_a_token_the_platform_refuses_once_is_signed_again(sandbox: SandboxServer) -> None:
    body = {"msg": "jwt token is expired", "code": "InvalidJwtPayload", "params": {}}
    sandbox.faults([{"path": "/api/users/update", "kind": "status", "status": 401, "body": body, "times": 1}])
    assert await update(sandbox.url, key=JWT_KEY, jwt_secret=JWT_SECRET) == 1
    assert len(sandbox.users()) == 1


async def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(RuntimeError, match="not open; use it as `async with"):
        await client("http://127.0.0.1:9").update_user(ADA)


async def test_a_closed_port_is_an_unreachable_host() -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await update("http://127.0.0.1:9")
    assert (caught.value.code, caught.value.status) == ("connection_refused", None)


@asynccontextmanager
async def raw_server(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ConnectionFailed),
        (b"SSH-2.0-OpenSSH\r\n\r\n", AnswerUnreadable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", AnswerUnreadable),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", AnswerUnreadable),
        (b"HTTP/1.1 204 No Content\r\n\r\n", AnswerUnreadable),
    ],
)
async def test_an_answer_that_is_no_whole_http_answer_confirms_nothing(
    answer: bytes, kind: type[DestinationError]
) -> None:
    async with raw_server(lambda writer: writer.write(answer)) as url:
        with pytest.raises(kind):
            await update(url, tries=1)


async def test_speaking_tls_to_a_plain_port_is_a_wrong_host(sandbox: SandboxServer) -> None:
    with pytest.raises(
        ConnectionFailed, match="TLS handshake failed; a sandbox speaks plain http: write http:// before"
    ):
        await update(sandbox.url.replace("http://", "https://"), tries=1)


@pytest.mark.parametrize(
    "identity",
    [
        {"email": "ada@example.com"},
        {"email": "o'neill+%2f@example.com", "userId": "7"},
        {"userId": "id/with spaces?#"},
    ],
)
async def test_a_user_is_deleted_whatever_is_in_the_identifier(
    sandbox: SandboxServer, identity: dict[str, str]
) -> None:
    async with client(sandbox.url) as opened:
        await opened.update_user({**identity, "dataFields": {"plan_type": "pro"}})
        await opened.update_user({"email": "bob@example.com", "dataFields": {}})
        assert (await opened.delete_user(identity)).status == 200
    assert [user["email"] for user in sandbox.users()] == ["bob@example.com"]


@pytest.mark.parametrize(("identity", "status"), [({"email": "nobody@example.com"}, 200), ({"userId": "nobody"}, 400)])
async def test_somebody_who_is_not_there_counts_as_deleted(
    sandbox: SandboxServer, identity: dict[str, str], status: int
) -> None:
    async with client(sandbox.url) as opened:
        assert (await opened.delete_user(identity)).status == status


async def test_a_deletion_the_platform_refuses_is_rejected(sandbox: SandboxServer) -> None:
    async with client(sandbox.url) as opened:
        with pytest.raises(CallRejected):
            await opened.delete_user({"email": "not an e-mail"})
