"""Sizes: measured over the JSON as it was sent, at both limits to the byte."""

from __future__ import annotations

import gzip
import json
from typing import Any

import orjson
import pytest

from reverse_etl.sandbox.customerio.settings import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from reverse_etl.sandbox.customerio.sizes import item_sizes, largest_possible


def message_of(size: int, **rest: object) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "track", "event": "e", "userId": "u1", "properties": {"fill": ""}, **rest}
    message["properties"]["fill"] = "x" * (size - len(orjson.dumps(message)))
    assert len(orjson.dumps(message)) == size
    return message


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 400)])
def test_a_call_may_have_32_kib_and_not_a_byte_more(cio: Any, extra: int, status: int) -> None:
    reply = cio.send("track", message_of(MAX_MESSAGE_BYTES + extra))
    assert reply.status == status
    assert len(cio.state.events()) == (status == 200)


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 400)])
def test_an_item_of_a_batch_may_have_32_kib_and_not_a_byte_more(cio: Any, extra: int, status: int) -> None:
    reply = cio.batch(message_of(100), message_of(MAX_MESSAGE_BYTES + extra), message_of(100))
    assert reply.status == status
    if status == 400:
        assert reply.json["meta"]["errors"] == ["batch[1]: the message is larger than the limit for one call"]
    assert len(cio.state.events()) == (3 if status == 200 else 0)


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 400)])
def test_a_batch_may_have_500_kib_and_not_a_byte_more(cio: Any, extra: int, status: int) -> None:
    items = [message_of(30_000) for _ in range(17)]
    rest = MAX_BATCH_BYTES + extra - len(orjson.dumps({"batch": items})) - 1
    body = orjson.dumps({"batch": [*items, message_of(rest)]})
    assert len(body) == MAX_BATCH_BYTES + extra
    reply = cio.send("batch", body)
    assert reply.status == status
    assert len(cio.state.events()) == (18 if status == 200 else 0)


def test_too_large_is_200_and_dropped_in_permissive_mode(cio: Any) -> None:
    large = message_of(MAX_MESSAGE_BYTES + 1, messageId="large")
    cio.send("track", large, strict=None)
    cio.batch(large, message_of(100), strict=None)
    cio.send("batch", {"batch": [message_of(30_000)] * 18}, strict=None)
    assert cio.dropped() == [("message_too_large", None), ("message_too_large", 0), ("batch_too_large", None)]
    assert [entry["messages"] for entry in cio.state.dropped()] == [1, 1, 18]
    assert len(cio.state.events()) == 1


def test_a_body_that_the_server_does_not_read_is_too_large_as_well(cio: Any, sandbox: Any) -> None:
    sandbox.settings(max_body_bytes=1000)
    assert cio.send("track", message_of(2000)).status == 400
    assert cio.send("batch", {"batch": [message_of(2000)]}, strict=None).status == 200
    assert cio.dropped() == [("batch_too_large", None)]


def test_gzip_is_measured_unpacked(cio: Any) -> None:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(orjson.dumps(message_of(MAX_MESSAGE_BYTES + 1)))
    assert len(body) < 1000
    assert cio.send("track", body, headers=headers).status == 400
    bomb = gzip.compress(b" " * 50_000_000)
    assert cio.send("track", bomb, headers=headers).json["meta"]["errors"] == [
        "the message is larger than the limit for one call"
    ]


def test_blanks_and_escapes_count_as_they_were_sent(cio: Any) -> None:
    item = {"type": "track", "event": "e", "userId": "u1", "properties": {"fill": "é" * 6_000}}
    assert len(orjson.dumps(item)) < MAX_MESSAGE_BYTES < len(json.dumps(item))
    assert cio.send("batch", orjson.dumps({"batch": [item]})).status == 200
    assert cio.send("batch", json.dumps({"batch": [item]}).encode()).status == 400


def test_blanks_outside_the_items_do_not_count_for_them(cio: Any) -> None:
    body = b'{"batch" :' + b" " * 40_000 + b'[{"type":"track","event":"e","userId":"u1"}]}'
    assert cio.send("batch", body).status == 200


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        (b'{"batch":[]}', []),
        (b' { "a" : [1, {"batch": [1]}] , "batch" : [ {"a": 1} , [] , "\\u00e9]" ] , "z" : null } ', [8, 2, 9]),
        ('{"batch":["é","日本"],"x":"]"}'.encode(), [4, 8]),
        (b'{"batch":[1],"batch":[22,333]}', [2, 3]),
        (b'{"batch":{}}', []),
    ],
)
def test_items_are_measured_where_they_stand(body: bytes, sizes: list[int]) -> None:
    assert item_sizes(body, "batch") == sizes
    items = orjson.loads(body)["batch"]
    assert largest_possible(list(items), body) >= max(sizes, default=0)


def test_the_limits_are_settings(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"max_message_bytes": 200, "max_batch_bytes": 500})
    assert cio.send("track", message_of(201)).status == 400
    assert cio.batch(message_of(200), message_of(200)).status == 200
    assert cio.batch(*[message_of(150)] * 4).status == 400
