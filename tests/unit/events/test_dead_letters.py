"""The attributes of a dead letter stay within what Pub/Sub takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.events import dead_letters

ATTRIBUTE_BYTES = 1_024
"""https://cloud.google.com/pubsub/quotas#resource_limits"""


@given(st.text(max_size=5_000), st.none() | st.text(max_size=50))
def test_any_reason_fits(reason: str, field: str | None) -> None:
    attributes = dead_letters.describe(reason=reason, field=field, function="f", topic="t", message_id="1")
    assert all(len(value.encode()) <= ATTRIBUTE_BYTES for value in attributes.values())
    assert reason.startswith(attributes[dead_letters.REASON])


def test_a_short_reason_is_kept_whole() -> None:
    attributes = dead_letters.describe(
        reason="must be positive", field="marks.0.price", function="notify", topic="t.v1", message_id="17"
    )
    assert attributes == {
        "dead_letter_reason": "must be positive",
        "dead_letter_field": "marks.0.price",
        "dead_letter_function": "notify",
        "dead_letter_topic": "t.v1",
        "dead_letter_message_id": "17",
    }
