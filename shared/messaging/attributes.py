"""Names of the attributes that our messages carry beside their body."""

EVENT_ID = "event_id"
TRACEPARENT = "traceparent"
ORDERING_KEY = "event_ordering_key"
