"""The state file: one JSON object per line, so that a million users are written and read one at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.customerio import persistence as customerio
from reverse_etl.sandbox.customerio.api import CustomerIoApi
from reverse_etl.sandbox.iterable.state import COUNTS, EMPTY, Event, State, User, packed

FORMAT: Final = 1


def save_state(state: State, other: CustomerIoApi, path: Path) -> None:
    """Write the state to `path`, which holds either the old or the new state whatever happens meanwhile.

    The file is readable by its owner only. Raises ConfigurationError when it cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(orjson.dumps(line) + b"\n" for line in _lines(state, other))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"the state file {path} cannot be written: {error.strerror}") from error


def _lines(state: State, other: CustomerIoApi) -> Iterator[dict[str, Any]]:
    yield {
        "sandbox_state": FORMAT,
        "users": state.user_count,
        "events": state.event_count,
        "field_types": state.field_types(),
        "forgotten_emails": state.forgotten_emails,
        "forgotten_user_ids": state.forgotten_user_ids,
        "lists": list(state.lists.items()),
        "counts": {name: getattr(state, name) for name in COUNTS},
        "customerio": customerio.header(other),
    }
    numbers: dict[User, int] = {}
    for number, user in enumerate(state.users()):
        numbers[user] = number
        yield {
            "email": user.email,
            "userId": user.user_id,
            "fields": orjson.Fragment(user.fields),
            "signed_up": user.signed_up,
            "updated": user.updated,
            "visible_at": user.visible_at,
            **({"lists": user.lists} if user.lists else {}),
            **({"unsubscribed": user.unsubscribed} if user.unsubscribed else {}),
        }
    for event in state.events():
        yield {
            "id": event.id,
            "name": event.name,
            "user": numbers[event.user],
            "created_at": event.created_at,
            "body": orjson.Fragment(event.body),
        }
    yield from customerio.lines(other)


def load_state(state: State, other: CustomerIoApi, path: Path) -> None:
    """Fill an empty state and an empty Customer.io side from `path`, which need not have the latter.

    Raises ConfigurationError, saying where, when the file cannot be used.
    """
    line = 1
    try:
        with path.open("rb") as file:
            header = orjson.loads(file.readline())
            if header["sandbox_state"] != FORMAT:
                raise ValueError("another format")
            _take_header(state, header)
            users = []
            for _ in range(header["users"]):
                line += 1
                users.append(_take_user(state, orjson.loads(file.readline())))
            for _ in range(header["events"]):
                line += 1
                _take_event(state, users, orjson.loads(file.readline()))
            if "customerio" in header:
                loader = customerio.Loader(other, header["customerio"])
                for number in range(loader.line_count):
                    line += 1
                    loader.take(number, orjson.loads(file.readline()))
            line += 1
            if file.readline():
                raise ValueError("more lines than announced")
    except OSError as error:
        raise ConfigurationError(f"the state file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        msg = f"the state file {path} is damaged at line {line}; move it away to start empty, or give another --state"
        raise ConfigurationError(msg) from None


def _take_header(state: State, header: dict[str, Any]) -> None:
    state.set_field_types(header["field_types"])
    state.forgotten_emails = dict(header["forgotten_emails"])
    state.forgotten_user_ids = dict(header["forgotten_user_ids"])
    state.lists = {int(number): str(name) for number, name in header.get("lists", ())}
    counts = header["counts"]
    state.events_overwritten = counts["events_overwritten"]
    state.events_dropped = counts["events_dropped"]
    state.reserved_fields_ignored = counts["reserved_fields_ignored"]
    state.placeholders = counts["placeholders"]


def _take_user(state: State, line: dict[str, Any]) -> User:
    user = state.add_user(line["signed_up"], line["visible_at"])
    fields = packed(line["fields"]) if line["fields"] else EMPTY
    state.change_user(user, line["email"], line["userId"], fields, line["updated"])
    user.lists = tuple(map(int, line.get("lists", ())))
    user.unsubscribed = tuple(map(int, line.get("unsubscribed", ())))
    return user


def _take_event(state: State, users: list[User], line: dict[str, Any]) -> None:
    body = packed(line["body"]) if line["body"] else EMPTY
    state.put_event(Event(line["id"], line["name"], users[line["user"]], line["created_at"], body))
