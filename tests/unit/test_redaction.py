from __future__ import annotations

import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.redaction import KeyHasher, join_key

SECRET = "a secret of some length"


def test_a_short_secret_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigurationError, match="has 5 characters, at least 16") as caught:
        KeyHasher("short")
    assert "short" not in str(caught.value)


def test_the_same_key_has_the_same_hash_in_every_run() -> None:
    assert KeyHasher(SECRET)((1, "ada@example.com")) == KeyHasher(SECRET)((1, "ada@example.com"))


def test_another_secret_gives_another_hash() -> None:
    assert KeyHasher(SECRET)((1,)) != KeyHasher(SECRET + "!")((1,))


def test_a_hash_shows_nothing_of_the_key() -> None:
    hashed = KeyHasher(SECRET)(("ada@example.com",))
    assert len(hashed) == 32
    assert set(hashed) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("one", "other"), [(("ab", "c"), ("a", "bc")), (("a",), ("a", "")), (("1:a",), ("a",)), ((12,), (1, 2))]
)
def test_different_keys_never_join_to_the_same_bytes(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert join_key(one) != join_key(other)


def test_the_same_call_to_another_account_has_another_fingerprint_and_its_row_the_same_hash() -> None:
    plain = KeyHasher(SECRET)
    one, other = plain.for_account("a" * 32), plain.for_account("b" * 32)
    assert len({hasher.fingerprint(b"{}") for hasher in (plain, one, other)}) == 3
    assert one.for_account("b" * 32).fingerprint(b"{}") == other.fingerprint(b"{}")
    assert plain((1,)) == one((1,)) == other((1,))
