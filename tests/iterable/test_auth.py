from __future__ import annotations

import jwt
import pytest

from reverse_etl.errors import InvalidRow
from reverse_etl.iterable.auth import MOST_CACHED_TOKENS, Authenticator
from reverse_etl.iterable.connection import IterableConnection

SECRET = "a jwt secret of thirty-two letters"
ADA = {"email": "ada@example.com"}


class Clock:
    now = 1_768_320_000.0

    def __call__(self) -> float:
        return self.now


def authenticator(clock: Clock, **settings: int) -> Authenticator:
    return Authenticator(IterableConnection(api_key="key", jwt_secret=SECRET, **settings), clock=clock)  # type: ignore[arg-type]


def claims(headers: dict[str, str]) -> dict[str, object]:
    token = headers["Authorization"].removeprefix("Bearer ")
    decoded: dict[str, object] = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    return decoded


def test_a_token_needs_somebody_it_is_about() -> None:
    with pytest.raises(InvalidRow, match="identifier_missing"):
        authenticator(Clock()).headers({})


def test_without_a_secret_the_key_goes_alone() -> None:
    plain = Authenticator(IterableConnection(api_key="key"))
    assert plain.headers(ADA) == {"Api-Key": "key"}
    assert not plain.uses_jwt


@pytest.mark.parametrize(
    ("identity", "claim"),
    [
        (ADA, {"email": "ada@example.com"}),
        ({"userId": "7"}, {"userId": "7"}),
        ({"email": "ada@example.com", "userId": "7"}, {"email": "ada@example.com"}),
    ],
)
def test_a_token_names_exactly_one_identifier_and_whole_seconds(
    identity: dict[str, str], claim: dict[str, str]
) -> None:
    headers = authenticator(Clock()).headers(identity)
    assert headers["Api-Key"] == "key"
    assert claims(headers) == {**claim, "iat": 1_768_320_000, "exp": 1_768_323_600}


def test_a_token_is_kept_and_renewed_before_it_expires() -> None:
    clock = Clock()
    tokens = authenticator(clock)
    first = tokens.headers(ADA)
    clock.now += 3569
    assert tokens.headers(ADA) == first
    clock.now += 1
    renewed = tokens.headers(ADA)
    assert renewed != first
    assert claims(renewed)["iat"] == int(clock.now)


def test_a_short_lived_token_is_not_renewed_on_every_call() -> None:
    clock = Clock()
    tokens = authenticator(clock, jwt_lifetime=60)
    first = tokens.headers(ADA)
    clock.now += 29
    assert tokens.headers(ADA) == first


def test_people_do_not_share_tokens() -> None:
    tokens = authenticator(Clock())
    assert tokens.headers(ADA) != tokens.headers({"email": "bob@example.com"})


def test_a_refused_token_is_not_used_again() -> None:
    clock = Clock()
    tokens = authenticator(clock)
    first = tokens.headers(ADA)
    tokens.forget(ADA)
    clock.now += 1
    assert tokens.headers(ADA) != first


def test_a_million_people_do_not_fill_the_memory() -> None:
    tokens = authenticator(Clock())
    for number in range(MOST_CACHED_TOKENS + 50):
        tokens.headers({"userId": str(number)})
    assert len(tokens._tokens) == MOST_CACHED_TOKENS


def test_the_vendors_sample_gives_the_vendors_signature() -> None:
    """The sample of the support article "JWT-Enabled API Keys", with its one-second lifetime."""
    payload = {"email": "test@iterable.com", "iat": 1599693218, "exp": 1599693219}
    token = jwt.encode(payload, "2EB6A2F34691492F81A819AEDA32427F", algorithm="HS256", headers={"typ": "JWT"})
    assert token.split(".")[2] == "eDbexB7CnK2jGsXvHfYENrCEkblrLKxgMNbmlfJHXUA"
