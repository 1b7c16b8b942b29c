-- A topic's messages, each once, in order of when they happened, behind a place.
-- An event id may come with two payloads: a block that went and came back is announced under another revision.
WITH log AS (
  SELECT MIN(occurred_at) AS occurred_at, event_id, payload
  FROM `{dataset}.events`
  WHERE topic = @topic AND occurred_at >= @beginning
  GROUP BY event_id, payload
)
SELECT occurred_at, event_id, payload
FROM log
WHERE occurred_at > @after_at
  OR (occurred_at = @after_at AND event_id > @after_id)
  OR (occurred_at = @after_at AND event_id = @after_id AND payload > @after_payload)
ORDER BY occurred_at, event_id, payload
LIMIT @row_limit
