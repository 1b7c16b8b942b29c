"""Settlement commands: equal bodies have equal hashes, statuses only move forward."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.settlement_commands import (
    MAX_DEADLINE,
    CommandBody,
    CommandKind,
    CommandRefusedError,
    CommandStatus,
    CommandStatusError,
    accept,
    command_id,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "0x" + "ab" * 20
BODY = CommandBody(1, CommandKind.VAULT_BORROW, {"asset": ACCOUNT, "amount": "5"}, NOW + timedelta(hours=1))


def test_the_hash_is_that_of_the_body_and_of_nothing_else() -> None:
    same = CommandBody(
        1,
        CommandKind.VAULT_BORROW,
        {"amount": "5", "asset": ACCOUNT},
        (NOW + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5))),
    )
    assert same.hash == BODY.hash
    others = [
        replace(BODY, chain_id=2),
        replace(BODY, kind=CommandKind.VAULT_REPAY),
        replace(BODY, arguments={"asset": ACCOUNT, "amount": "6"}),
        replace(BODY, arguments={"asset": ACCOUNT}),
        replace(BODY, deadline=BODY.deadline + timedelta(microseconds=1)),
    ]
    assert len({BODY.hash, *(other.hash for other in others)}) == 6


@given(st.text("ab\n~|:", max_size=4), st.text("ab\n~|:", max_size=4))
def test_ids_differ_where_account_or_key_does(left: str, right: str) -> None:
    assert (command_id(ACCOUNT, left) == command_id(ACCOUNT, right)) == (left == right)
    assert command_id(ACCOUNT, left) != command_id("0x" + "cd" * 20, left)


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "a\n", "x" * 129])
def test_a_key_that_names_nothing_is_refused(key: str) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        accept(ACCOUNT, key, BODY, NOW)
    assert refused.value.field == "clientKey"


@pytest.mark.parametrize(
    "deadline", [NOW, NOW - timedelta(days=1), NOW + MAX_DEADLINE + timedelta(seconds=1)]
)
def test_a_deadline_that_has_passed_or_is_too_far_is_refused(deadline: datetime) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        accept(ACCOUNT, "key", replace(BODY, deadline=deadline), NOW)
    assert refused.value.field == "deadline"


FOLLOWS = {
    CommandStatus.ACCEPTED: {CommandStatus.SUBMITTED, CommandStatus.REFUSED, CommandStatus.EXPIRED},
    CommandStatus.SUBMITTED: {
        CommandStatus.SUCCEEDED,
        CommandStatus.REVERTED,
        CommandStatus.EXPIRED,
        CommandStatus.FAILED,
    },
}


@pytest.mark.parametrize("before", CommandStatus)
@pytest.mark.parametrize("after", CommandStatus)
def test_statuses_only_move_forward(before: CommandStatus, after: CommandStatus) -> None:
    command = replace(accept(ACCOUNT, "key", BODY, NOW), status=before)
    assert before.final == (before not in FOLLOWS)
    if after in FOLLOWS.get(before, set()):
        assert command.advanced(after).status is after
    else:
        with pytest.raises(CommandStatusError, match="cannot become"):
            command.advanced(after)
