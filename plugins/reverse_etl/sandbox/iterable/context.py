"""What every Iterable endpoint works with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from reverse_etl.sandbox.exchange import Answer, Request
from reverse_etl.sandbox.iterable.answers import refused
from reverse_etl.sandbox.iterable.auth import Gate, Identity
from reverse_etl.sandbox.iterable.state import State, User
from reverse_etl.sandbox.settings import Settings


@dataclass(slots=True)
class Context:
    """Settings, state and the key check, as they are at this moment; `now` gives epoch seconds."""

    settings: Settings
    state: State
    gate: Gate
    now: Callable[[], float] = time.time

    def check_token(self, request: Request, identity: Identity | None, email: str | None, user_id: str | None) -> None:
        """Raise RefusedError unless the request is about the person its JWT speaks for."""
        if identity is not None:
            self.gate.check_speaks_for(request, identity, email, user_id)

    def refuse_forgotten(self, email: str | None, user_id: str | None) -> None:
        """Raise RefusedError (ForgottenUserError) when one of the identifiers is forgotten."""
        if not self.state.is_forgotten(email, user_id):
            return
        by_email = self.state.is_forgotten(email, None)
        raise refused(
            self.settings.forgotten_status,
            "ForgottenUserError",
            "The user was forgotten and cannot be updated",
            email=email if by_email else None,
            user_id=None if by_email else user_id,
        )

    def visible(self, users: tuple[User, ...]) -> User | None:
        """Return the first of the users that is visible by now, or None."""
        for user in users:
            if user.visible_at == 0 or user.visible_at <= self.now():
                return user
        return None


Handler = Callable[[Context, Request, Identity | None], Answer]
