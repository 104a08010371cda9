from __future__ import annotations

import base64

import pytest

from reverse_etl.customerio.auth import authorization
from reverse_etl.customerio.connection import CustomerIOConnection
from reverse_etl.errors import ConfigurationError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": ""}, "no API key"),
        ({"api_key": " \n"}, "no API key"),
        ({"api_key": "sch\u00fcssel"}, "cannot stand in a header"),
        ({"region": "mars"}, "region is 'mars', neither us nor eu"),
        ({"api_key": "sk_eu_1", "region": "us"}, "belongs to the region eu, but region is us"),
        ({"api_key": "pk_us_1", "region": "eu"}, "belongs to the region us, but region is eu"),
        ({"host": "http://example.com"}, "unencrypted"),
        ({"host": "https://example.com/v1"}, "not of the form"),
        ({"timeout": 0}, "timeout is 0, expected 0.1 to 600 seconds"),
        ({"tries": 11}, "tries is 11, expected 1 to 10"),
        ({"rate_share": 0}, "rate_share"),
        ({"requests_in_flight": 0}, "requests_in_flight"),
        ({"api_key": None}, "the API key is a NoneType, expected text"),
        ({"host": None}, "host is a NoneType, expected text"),
        ({"timeout": "10"}, "timeout is a str, expected 0.1 to 600 seconds"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"tries": True}, "tries is a bool, expected 1 to 10 tries"),
        ({"tries": 2.5}, "tries is 2.5, expected a whole number of tries"),
        ({"requests_in_flight": 2.5}, "requests_in_flight is 2.5, expected a whole number"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_without_showing_the_key(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        CustomerIOConnection(**{"api_key": "secret-key", **settings})
    assert "secret-key" not in str(refused.value)
    assert "_eu_1" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "region", "url"),
    [
        ("classic", "", "https://cdp.customer.io"),
        ("classic", " EU ", "https://cdp-eu.customer.io"),
        ("sk_eu_1", "", "https://cdp-eu.customer.io"),
        ("sk_eu_1", "eu", "https://cdp-eu.customer.io"),
        ("pk_us_1\n", "", "https://cdp.customer.io"),
        ("sk_mars_1", "", "https://cdp.customer.io"),
    ],
)
def test_the_region_is_that_of_the_key_or_of_the_setting(key: str, region: str, url: str) -> None:
    assert CustomerIOConnection(key, region=region).base_url == url


def test_classic_keys_go_as_basic_and_newer_ones_as_bearer() -> None:
    assert authorization("classic") == "Basic " + base64.b64encode(b"classic:").decode()
    assert authorization("sk_eu_1") == "Bearer sk_eu_1"
    assert authorization("xsk_eu_1").startswith("Basic ")


def test_the_key_is_stripped_and_not_shown() -> None:
    connection = CustomerIOConnection("  secret-key \n")
    assert connection.api_key == "secret-key"
    assert "secret-key" not in repr(connection)
    assert "secret-key" not in connection.account


def test_parts_of_an_airflow_connection_are_read_as_the_form_saves_them() -> None:
    connection = CustomerIOConnection.from_parts(
        password="key", host=None, extra={"region": "eu", "timeout": "2.5", "tries": "5", "rate_share": ""}
    )
    assert (connection.region, connection.timeout, connection.tries, connection.rate) == ("eu", 2.5, 5, 990)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"regoin": "eu"}, "regoin, expected only"),
        ({"tries": "many"}, "extra tries is not an integer, 1 to 10 tries"),
        ({"timeout": "long"}, r"timeout is not a number, 0\.1 to 600 seconds"),
    ],
)
def test_an_extra_that_is_misspelt_is_refused(extra: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        CustomerIOConnection.from_parts(password="key", host="", extra=extra)
