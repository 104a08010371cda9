from __future__ import annotations

from typing import Any

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.iterable.connection import IterableConnection, Region
from reverse_etl.iterable.limits import HEADROOM

KEY = "a-very-secret-key"
BULK = "/api/users/bulkUpdate"
WRONG_TYPES = [
    ("timeout", "ten"),
    ("tries", "2.5"),
    ("tries", True),
    ("tries", [1]),
    ("rate_limits", "ten"),
    ("rate_limits", [1]),
    ("rate_limits", 5),
    ("rate_limits", {BULK: "fast"}),
]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_key": ""}, "has no API key; put it in the password field"),
        ({"api_key": "  "}, "has no API key"),
        ({"api_key": "a\nb"}, "characters that cannot stand in a header"),
        ({"api_key": "schlüssel"}, "characters that cannot stand in a header"),
        ({"region": "asia"}, "region is 'asia', neither us nor eu"),
        ({"host": "http://api.iterable.com"}, "would send the key unencrypted"),
        ({"host": "http://10.0.0.1:8080"}, "would send the key unencrypted"),
        ({"host": "http://localhost.evil.example"}, "would send the key unencrypted"),
        ({"host": "ftp://127.0.0.1"}, "host is not of the form"),
        ({"host": "https://api.iterable.com/api"}, "host is not of the form"),
        ({"host": "https://user:pass@api.iterable.com"}, "host is not of the form"),
        ({"host": "https://:s3cret@api.iterable.com"}, "^host is not of the form https://name or https://name:port$"),
        ({"host": "https://[bad"}, "host is not of the form"),
        ({"host": "https://api.iterable.com:99999"}, "host is not of the form"),
        ({"timeout": 0}, r"timeout is 0, expected 0\.1 to 600 seconds"),
        ({"jwt_lifetime": 31_536_001}, "jwt_lifetime is 31536001, expected 60 to 31536000 seconds"),
        ({"requests_in_flight": 0}, "requests_in_flight is 0, expected 1 to 1000 requests"),
        ({"rate_share": 1.5}, r"rate_share is 1\.5, expected 0\.001 to 1"),
        ({"tries": 0}, "tries is 0, expected 1 to 10"),
        (
            {"rate_limits": {"/api/users/bulkupdate": 5}},
            "rate_limits names /api/users/bulkupdate, expected ",
        ),
        ({"rate_limits": {BULK: 0}}, "rate_limits of /api/users/bulkUpdate is 0, expected 0.01 to 100000 requests per"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        IterableConnection(**{"api_key": KEY, **settings})


def test_an_unknown_extra_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(
        ConfigurationError, match="extra holds regoin, expected only jwt_lifetime, jwt_secret, rate_limits, rate_share"
    ):
        IterableConnection.from_parts(password=KEY, host=None, extra={"regoin": "eu"})


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES)
def test_an_extra_of_the_wrong_type_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"extra {name} is not a"):
        IterableConnection.from_parts(password=KEY, host=None, extra={name: value})


def test_extras_may_be_text_as_the_ui_saves_them_and_empty_ones_mean_the_default() -> None:
    connection = IterableConnection.from_parts(
        password=f" {KEY}\n",
        host="",
        extra={"region": "EU", "timeout": "2.5", "tries": "5", "jwt_secret": None, "rate_share": ""},
    )
    assert connection == IterableConnection(KEY, region=Region.EU, timeout=2.5, tries=5)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "https://api.iterable.com"),
        ({"region": "eu"}, "https://api.eu.iterable.com"),
        ({"host": "api.example.com/"}, "https://api.example.com"),
        ({"host": "http://127.0.0.1:8081"}, "http://127.0.0.1:8081"),
        ({"host": "http://localhost:8081/"}, "http://localhost:8081"),
        ({"host": "http://[::1]:8081"}, "http://[::1]:8081"),
    ],
)
def test_the_host_follows_from_region_or_is_given(settings: dict[str, Any], url: str) -> None:
    assert IterableConnection(KEY, **settings).base_url == url


@pytest.mark.parametrize("value", [{BULK: 10}, f'{{"{BULK}": "10"}}'])
def test_rate_limits_take_the_place_of_the_published_ones(value: object) -> None:
    extra = {"rate_limits": value, "rate_share": 0.5}
    connection = IterableConnection.from_parts(password=KEY, host=None, extra=extra)
    assert connection.rate(BULK, published=5) == pytest.approx(10 * 0.5 * HEADROOM)
    assert connection.rate("/api/users/update", published=500) == pytest.approx(250 * HEADROOM)


def test_an_account_is_a_key_at_a_host_and_its_name_does_not_tell_the_key() -> None:
    accounts = {
        connection.account
        for connection in (
            IterableConnection(KEY),
            IterableConnection(KEY, rate_share=0.5),
            IterableConnection(KEY, host="https://api.iterable.com/"),
            IterableConnection(KEY, region=Region.EU),
            IterableConnection(f"{KEY}x"),
        )
    }
    assert len(accounts) == 3
    assert {len(account) for account in accounts} == {32}
    assert all(KEY not in account for account in accounts)


def test_secrets_are_not_in_the_text_of_a_connection() -> None:
    assert "secret" not in repr(IterableConnection(KEY, jwt_secret="another secret"))
