"""Checks of request bodies and identifiers."""

from __future__ import annotations

import re
from typing import Any, Final

from reverse_etl.sandbox.exchange import BROKEN
from reverse_etl.sandbox.iterable.answers import bad_json_body, bad_params, invalid_email, invalid_user_id
from reverse_etl.sandbox.settings import Settings

Shape = dict[str, type]

USER_UPDATE: Final[Shape] = {
    "email": str,
    "userId": str,
    "dataFields": dict,
    "preferUserId": bool,
    "mergeNestedObjects": bool,
    "createNewFields": bool,
}
BULK_USER: Final[Shape] = {name: kind for name, kind in USER_UPDATE.items() if name != "createNewFields"}
TRACK: Final[Shape] = {
    "eventName": str,
    "email": str,
    "userId": str,
    "id": str,
    "createdAt": int,
    "dataFields": dict,
    "campaignId": int,
    "templateId": int,
    "createNewFields": bool,
}
ONE_USER: Final[Shape] = {"email": str, "userId": str}

_EXPECTED: Final[dict[type, str]] = {
    str: "String value expected",
    int: "Number value expected",
    bool: "Boolean value expected",
    dict: "Object value expected",
    list: "Array value expected",
}
MISSING: Final = "Required value is missing"

_ATOM: Final = r"[^\s\x00-\x20\x7f()<>@,;:\\\".\[\]]+"
_LOCAL_PART: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9-]{{1,59}}|[a-z]{{2,63}})")
# Reserved by RFC 2606, RFC 6761, RFC 6762 and ICANN: never in the list of top-level domains.
_NOT_DELEGATED: Final = frozenset({"test", "example", "invalid", "localhost", "local", "internal", "onion"})
_USER_ID: Final = re.compile(r"[ -~]{0,51}[!-~]")
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9-]{1,512}")


def check_body(path: str, payload: object, shape: Shape, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the body when it is an object with the right JSON types; unknown keys are ignored, null is absent.

    Raises RefusedError (BadJsonBody) that names every wrong key.
    """
    if payload is BROKEN:
        raise bad_json_body(path, {"obj": "Valid JSON expected"})
    problems = _problems("obj", payload, shape, required)
    if problems or not isinstance(payload, dict):
        raise bad_json_body(path, problems)
    return payload


def check_rows(path: str, key: str, rows: list[Any], shape: Shape, required: tuple[str, ...] = ()) -> None:
    """Raise RefusedError (BadJsonBody) that names every wrong key of every row by its index from 0."""
    problems = {}
    for number, row in enumerate(rows):
        problems.update(_problems(f"obj.{key}[{number}]", row, shape, required))
    if problems:
        raise bad_json_body(path, problems)


def _problems(where: str, value: object, shape: Shape, required: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(value, dict):
        return {where: _EXPECTED[dict]}
    problems = {}
    for name, kind in shape.items():
        inner = value.get(name)
        if inner is not None and type(inner) is not kind:
            problems[f"{where}.{name}"] = _EXPECTED[kind]
    for name in required:
        if value.get(name) is None:
            problems[f"{where}.{name}"] = MISSING
    return problems


def fold_email(email: str, settings: Settings) -> str:
    """Return the e-mail in the form in which answers repeat it, well-formed or not."""
    return (email.strip() if settings.trim_emails else email).lower()


def clean_email(email: str, settings: Settings) -> str:
    """Return the e-mail as it is stored, in lower case; raises RefusedError (InvalidEmailAddressError)."""
    cleaned = fold_email(email, settings)
    if not _is_email(cleaned, check_top_level_domain=settings.check_top_level_domain):
        raise invalid_email(email, cleaned)
    return cleaned


def _is_email(email: str, *, check_top_level_domain: bool) -> bool:
    local, _, domain = email.rpartition("@")
    if not local or len(local) > 64 or len(domain) > 253 or not _LOCAL_PART.fullmatch(local):
        return False
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            return False
    if not _DOMAIN.fullmatch(domain):
        return False
    return not check_top_level_domain or domain.rpartition(".")[2] not in _NOT_DELEGATED


def check_user_id(user_id: str) -> str:
    """Return the user id; raises RefusedError (InvalidUserIdError)."""
    if not _USER_ID.fullmatch(user_id):
        raise invalid_user_id(user_id)
    return user_id


def check_event_id(event_id: str) -> str:
    """Return the event id (letters, digits, hyphens, at most 512 bytes); raises RefusedError (BadParams)."""
    if not _EVENT_ID.fullmatch(event_id):
        raise bad_params("Event id must be 1 to 512 letters, digits and hyphens")
    return event_id


def identifiers(body: dict[str, Any], settings: Settings, missing: str) -> tuple[str | None, str | None]:
    """Return the checked e-mail and user id of a body.

    Raises RefusedError: BadParams with `missing` as its message when both are absent, else the identifier's own error.
    """
    email, user_id = body.get("email"), body.get("userId")
    if email is None and user_id is None:
        raise bad_params(missing)
    return (
        None if email is None else clean_email(email, settings),
        None if user_id is None else check_user_id(user_id),
    )
