-- One account's transitions and samples in a range, oldest first.
-- The archive may load a row twice after a crash; both carry the same row_id.
SELECT
  row_id, account_id, as_of, kind, state, previous_state, transition_sequence, tick_sequence,
  collateral_usd, debt_usd, health_pct
FROM `{dataset}.margin_history`
WHERE account_id = @account_id
  AND as_of >= @start
  AND as_of < @finish
  AND (as_of > @after_as_of OR (as_of = @after_as_of AND row_id > @after_row_id))
QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
ORDER BY as_of, row_id
LIMIT @row_limit
