"""How a message that could not be processed is kept (attributes on a ``*.dead`` topic)."""

REASON = "dead_letter_reason"
FIELD = "dead_letter_field"
FUNCTION = "dead_letter_function"
SOURCE_TOPIC = "dead_letter_topic"
SOURCE_MESSAGE_ID = "dead_letter_message_id"
