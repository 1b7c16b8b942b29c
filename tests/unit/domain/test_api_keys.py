"""API keys: their form, what is kept of them, what they allow."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.api_keys import (
    ApiKey,
    Scope,
    format_key,
    hash_secret,
    matches,
    parse_scopes,
    split_key,
)

MOMENT = datetime(2025, 3, 1, tzinfo=UTC)
SECRET = "A" * 43
KEY = ApiKey(
    key_id="abc123def456",
    secret_hash=hash_secret(SECRET),
    name="a bot",
    scopes=frozenset({Scope.MARKS_READ}),
    accounts=frozenset({"0xaa"}),
    expires_at=None,
    enabled=True,
)

key_ids = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)
secrets = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=43, max_size=43
)


@given(key_ids, secrets)
def test_a_key_comes_apart_as_it_was_put_together(key_id: str, secret: str) -> None:
    assert split_key(format_key(key_id, secret)) == (key_id, secret)


@given(st.text(max_size=80))
def test_nothing_else_is_a_key(presented: str) -> None:
    parts = split_key(presented)
    assert parts is None or format_key(*parts) == presented


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "fp_",
        f"fp_abc123def456_{SECRET}\n",
        f" fp_abc123def456_{SECRET}",
        f"FP_abc123def456_{SECRET}",
        f"fp_ABC123DEF456_{SECRET}",
        f"fp_abc123def456_{SECRET}A",
        f"fp_abc123def45_{SECRET}",
        f"fp_abc123def456_{SECRET[:-1]}=",
    ],
)
def test_what_only_resembles_a_key_is_none(presented: str) -> None:
    assert split_key(presented) is None


@pytest.mark.parametrize(("key_id", "secret"), [("short", SECRET), ("abc123def456", "short"), ("", "")])
def test_parts_that_make_no_key_are_refused(key_id: str, secret: str) -> None:
    with pytest.raises(ValueError, match="12 characters"):
        format_key(key_id, secret)


def test_only_the_secrets_hash_is_kept() -> None:
    assert KEY.secret_hash == hashlib.sha256(SECRET.encode()).hexdigest()
    assert SECRET not in repr(KEY)


@given(secrets)
def test_only_the_secret_matches(other: str) -> None:
    assert matches(KEY, SECRET)
    assert matches(KEY, other) == (other == SECRET)


@pytest.mark.parametrize("scope", Scope)
def test_a_key_allows_its_scopes_only(scope: Scope) -> None:
    assert KEY.allows(scope) == (scope is Scope.MARKS_READ)


def test_a_key_sees_its_accounts_only() -> None:
    assert KEY.sees("0xaa")
    assert not KEY.sees("0xbb")
    assert not replace(KEY, accounts=frozenset()).sees("0xaa")
    assert replace(KEY, accounts=None).sees("0xbb")


def test_a_key_is_valid_until_it_expires_or_is_disabled() -> None:
    expiring = replace(KEY, expires_at=MOMENT)
    assert KEY.valid_at(MOMENT)
    assert expiring.valid_at(MOMENT - timedelta(microseconds=1))
    assert not expiring.valid_at(MOMENT)
    assert not replace(KEY, enabled=False).valid_at(MOMENT)


def test_scopes_have_names() -> None:
    assert parse_scopes([scope.value for scope in Scope]) == frozenset(Scope)
    with pytest.raises(ValueError, match="accounts:write"):
        parse_scopes(["accounts:read", "accounts:write"])
