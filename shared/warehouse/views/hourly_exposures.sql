-- What each account held and owed in each hour: the last valued figures, and the extremes.
-- Only aggregates that BigQuery keeps up to date by what is appended, and that a row written twice does not
-- change; CURRENT_TIMESTAMP is not among them, so whoever wants the last 24 hours says since when.
SELECT
  account_id,
  TIMESTAMP_TRUNC(as_of, HOUR) AS hour,
  MAX(as_of) AS last_as_of,
  MAX_BY(collateral_usd, as_of) AS collateral_usd,
  MAX_BY(debt_usd, as_of) AS debt_usd,
  MAX(collateral_usd) AS max_collateral_usd,
  MAX(debt_usd) AS max_debt_usd,
  MIN(health_pct) AS min_health_pct
FROM `{dataset}.margin_history`
WHERE collateral_usd IS NOT NULL
GROUP BY account_id, hour
