-- Each margin transition once. The archive may load a row twice after a crash; both carry the same row_id.
SELECT
  row_id, account_id, as_of, state, previous_state, transition_sequence, tick_sequence,
  collateral_usd, debt_usd, health_pct
FROM `{dataset}.margin_history`
WHERE kind = 'transition'
QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY as_of) = 1
