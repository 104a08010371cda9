"""What a project says before the first row: whether the key may write, and how its fields fit the mapping."""

from __future__ import annotations

from collections.abc import Mapping

from reverse_etl.checking import Finding, ok, warning
from reverse_etl.errors import AuthenticationRefused
from reverse_etl.iterable.client import IterableClient
from reverse_etl.iterable.config import IterableDestination
from reverse_etl.iterable.fields import compare_fields


async def check_project(
    client: IterableClient, mapping: IterableDestination, kinds: Mapping[str, str], *, uses_jwt: bool
) -> list[Finding]:
    """Return the findings; raises the DestinationError of a project that refuses the key or does not answer."""
    await client.confirm_key()
    findings = [ok("connection", "the key may write users")]
    if mapping.user is None:
        return findings
    if uses_jwt:
        return [*findings, warning("fields", "not compared: a JWT-enabled key may not read the project's fields")]
    try:
        known = await client.user_fields()
    except AuthenticationRefused:
        return [*findings, warning("fields", "not compared: the key may write, but not read the project's fields")]
    return [*findings, *compare_fields(mapping.user, kinds, known)]
