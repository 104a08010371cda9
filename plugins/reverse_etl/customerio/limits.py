"""Customer.io's published limits, one table. Source: its OpenAPI document of the Data Pipelines API, read in 2026."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Region(StrEnum):
    """The two data centres; a workspace and its keys belong to one of them."""

    US = "us"
    EU = "eu"


HOSTS: Mapping[Region, str] = {
    Region.US: "https://cdp.customer.io",
    Region.EU: "https://cdp-eu.customer.io",
}


class Endpoint(StrEnum):
    """Paths of the API, each for a POST."""

    IDENTIFY = "/v1/identify"
    TRACK = "/v1/track"
    GROUP = "/v1/group"
    PAGE = "/v1/page"
    SCREEN = "/v1/screen"
    ALIAS = "/v1/alias"
    BATCH = "/v1/batch"


LARGEST_MESSAGE_BYTES = 32_000
LARGEST_BATCH_BYTES = 500_000
"""Documented as 32 KB and 500 KB without saying which kilobyte; the smaller one is safe. UTF-8 JSON is measured."""

BATCH_MESSAGES = 1_000
"""Messages the delivery engine puts into a request. No number is published; fewer in one cost less to send again."""

REQUESTS_PER_SECOND = 1_000
"""3,000 requests in 3 seconds, one budget for all paths of an account."""

BUDGET = "/v1"
"""The name of that budget."""

HEADROOM = 0.99
"""Share of a limit we use, so that two clocks that differ by a hair cause no 429."""
