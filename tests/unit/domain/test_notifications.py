"""The words that people get: right, complete, and the same for every recipient."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from shared.domain.margin import Severity, State, severity
from shared.domain.notifications import (
    Channel,
    Notice,
    delivery_id,
    margin_notice,
    operations_notice,
)

ACCOUNT = "0x" + "a1" * 20
AS_OF = datetime(2025, 3, 1, 13, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=1)))


def _notice(previous: State | None, state: State, **changes: Any) -> Notice:
    words: dict[str, Any] = {
        "account_id": ACCOUNT,
        "previous": previous,
        "state": state,
        "severity": severity(previous, state),
        "collateral_usd": Decimal("1234567.125000"),
        "debt_usd": Decimal("1000000"),
        "health_pct": 23.4567125,
        "marks": {"WBTC": Decimal("0.00000001"), "ETH": Decimal("1833.20000000")},
        "as_of": AS_OF,
    }
    return margin_notice(**{**words, **changes})


def test_a_margin_call_in_full() -> None:
    assert _notice(State.WARNING, State.MARGIN_CALL) == Notice(
        subject=f"[HIGH] Margin call: {ACCOUNT}",
        text=(
            "Margin call\n\n"
            f"Account: {ACCOUNT}\n"
            "State: WARNING -> MARGIN_CALL\n"
            "Margin health: 23.46 %\n"
            "Collateral: 1,234,567.12 USD\n"
            "Debt: 1,000,000.00 USD\n"
            "As of: 2025-03-01T12:30:15.250+00:00\n\n"
            "Marks used:\n"
            "  ETH: 1,833.20000000 USD\n"
            "  WBTC: 0.00000001 USD\n"
        ),
    )


@pytest.mark.parametrize(
    ("previous", "state", "headline"),
    [
        (None, State.WARNING, "Margin warning"),
        (State.WARNING, State.LIQUIDATION, "Liquidation threshold reached"),
        (State.LIQUIDATION, State.INSOLVENT, "Account insolvent"),
        (State.LIQUIDATION, State.MARGIN_CALL, "Margin improved to margin call"),
        (State.WARNING, State.HEALTHY, "Margin improved to healthy"),
        (State.MARGIN_CALL, State.NO_DEBT, "No debt left"),
    ],
)
def test_the_headline_says_which_way_it_went(previous: State | None, state: State, headline: str) -> None:
    notice = _notice(previous, state)
    assert notice.subject.partition("] ")[2] == f"{headline}: {ACCOUNT}"
    assert notice.text.startswith(f"{headline}\n")


@pytest.mark.parametrize(
    ("previous", "state"),
    [
        pair
        for pair in product([None, *State], State)
        if State.UNVALUED not in pair and pair[0] is not pair[1]
    ],
)
def test_every_transition_has_words(previous: State | None, state: State) -> None:
    notice = _notice(previous, state)
    assert "\n" not in notice.subject
    assert f"State: {previous or 'new'} -> {state}\n" in notice.text


def test_without_debt_there_is_no_health() -> None:
    assert "Margin health: no debt\n" in _notice(State.WARNING, State.NO_DEBT, health_pct=None).text


def test_an_operations_alert_in_full() -> None:
    notice = operations_notice(
        subject="ETH",
        severity=Severity.CRITICAL,
        message="ETH has no usable mark",
        details={"tick": "7", "source": "chainlink:1:0xe1"},
        as_of=AS_OF.astimezone(UTC),
    )
    assert notice == Notice(
        subject="[CRITICAL] ETH: ETH has no usable mark",
        text=(
            "ETH has no usable mark\n\nSubject: ETH\nAs of: 2025-03-01T12:30:15.250000+00:00\n"
            "  source: chainlink:1:0xe1\n  tick: 7\n"
        ),
    )


def test_a_delivery_is_one_alert_to_one_recipient_over_one_channel() -> None:
    identifiers = {
        delivery_id(alert, recipient, channel)
        for alert, recipient, channel in product(("a:1", "a:2"), ("a", "operations"), Channel)
    }
    assert len(identifiers) == 8
    assert delivery_id("a:1", "a", Channel.EMAIL) == "a:1~a~email"
