"""Keys: strict mode says that one opens nothing, permissive mode loses everything in silence."""

from __future__ import annotations

from typing import Any

import pytest

from reverse_etl.sandbox.testing import (
    CUSTOMERIO_EU_KEY,
    CUSTOMERIO_KEY,
    CUSTOMERIO_PRIVATE_KEY,
    CUSTOMERIO_PUBLIC_KEY,
    SERVER_KEY,
)
from tests.sandbox.customerio.conftest import basic

MESSAGE = {"userId": "u1", "traits": {"plan": "pro"}}
WRONG = [
    None,
    "",
    "Basic",
    "Basic !!!",
    "Basic /w==",
    basic(""),
    basic("nobody's-key"),
    basic(SERVER_KEY),
    basic(CUSTOMERIO_KEY, "password"),
    basic(CUSTOMERIO_KEY + "\n"),
    "Basic c2FuZGJveC1jdXN0b21lcmlvLWtleQ==",
    f"Bearer {CUSTOMERIO_KEY}",
    f"Bearer {CUSTOMERIO_EU_KEY}",
    "Bearer sk_us_unknown",
    f"Token {CUSTOMERIO_PRIVATE_KEY}",
]


@pytest.mark.parametrize("authorization", WRONG)
def test_a_wrong_key_is_401_in_strict_mode(cio: Any, authorization: str | None) -> None:
    reply = cio.send("identify", MESSAGE, authorization=authorization)
    assert reply.status == 401
    assert list(reply.json) == ["meta"]
    assert cio.state.people() == cio.state.dropped() == []


@pytest.mark.parametrize("authorization", WRONG)
def test_a_wrong_key_is_200_and_a_total_loss_in_permissive_mode(cio: Any, authorization: str | None) -> None:
    reply = cio.send("identify", MESSAGE, authorization=authorization, strict=None)
    assert (reply.status, reply.json) == (200, {"success": True})
    assert cio.state.people() == []
    assert cio.dropped() == [("bad_key", None)]


def test_a_batch_that_is_lost_by_its_key_counts_all_its_messages(cio: Any) -> None:
    items = [{"type": "track", "event": "e", "userId": "u1"}] * 3
    cio.send("batch", {"batch": items}, authorization=None, strict=None)
    cio.send("batch", {"batch": []}, authorization=None, strict=None)
    cio.send("batch", b"{", authorization=None, strict=None)
    assert [entry["messages"] for entry in cio.state.dropped()] == [3, 1, 1]
    assert cio.state.stats()["dropped"] == {"bad_key": 5}


def test_a_setting_lets_permissive_mode_refuse_a_wrong_key(cio: Any, sandbox: Any) -> None:
    sandbox.settings(customerio={"permissive_bad_key_status": 401})
    assert cio.send("identify", MESSAGE, authorization=None, strict=None).status == 401


def test_new_keys_go_as_bearer_tokens_only_when_the_settings_say_so(cio: Any, sandbox: Any) -> None:
    authorization = basic(CUSTOMERIO_PRIVATE_KEY)
    assert cio.send("identify", MESSAGE, authorization=authorization).status == 200
    sandbox.settings(customerio={"new_keys_over_basic": False})
    assert cio.send("identify", MESSAGE, authorization=authorization).status == 401


def test_the_region_of_a_new_key_must_be_that_of_the_host(cio: Any, sandbox: Any) -> None:
    def statuses() -> list[int]:
        keys = (CUSTOMERIO_PRIVATE_KEY, CUSTOMERIO_PUBLIC_KEY, CUSTOMERIO_EU_KEY)
        return [cio.send("identify", MESSAGE, authorization=f"Bearer {key}").status for key in keys]

    assert statuses() == [200, 200, 401]
    sandbox.settings(customerio={"region": "eu"})
    assert statuses() == [401, 401, 200]
    assert cio.send("identify", MESSAGE).status == 200


@pytest.mark.parametrize("scheme", ["basic", "BASIC"])
def test_the_scheme_is_read_in_any_case(cio: Any, scheme: str) -> None:
    assert cio.send("identify", MESSAGE, authorization=basic(CUSTOMERIO_KEY).replace("Basic", scheme)).status == 200


def test_the_key_of_customerio_does_not_open_iterable(api: Any) -> None:
    assert api.send("POST", "/api/users/update", {"email": "a@acme.com"}, key=CUSTOMERIO_KEY).status == 401
