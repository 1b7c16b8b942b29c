-- One account's hours in a range, oldest first. An hour of an account is one row.
SELECT
  account_id, hour, last_as_of, collateral_usd, debt_usd, max_collateral_usd, max_debt_usd, min_health_pct
FROM `{dataset}.hourly_exposures`
WHERE account_id = @account_id
  AND hour >= @start
  AND hour < @finish
  AND hour > @after_as_of
ORDER BY hour
LIMIT @row_limit
